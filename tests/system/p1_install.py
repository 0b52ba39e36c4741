# SPDX-License-Identifier: Apache-2.0
"""The package as it is, its installation, and the first start with the configuration that comes with it."""

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from cdc import ROOT, until
from machine import CONFIG, run

if TYPE_CHECKING:
    from run import World


def test_lintian_finds_nothing_at_pedantic(world: "World") -> None:
    found = run("lintian", "--allow-root", "--pedantic", "--fail-on", "error,warning,info,pedantic", world.deb)
    assert not found.strip(), found


def test_the_program_is_hardened(world: "World") -> None:
    program = world.tree() / "usr/bin/milvus-cdc"
    dynamic = run("readelf", "-W", "-d", "-h", "-l", program)
    assert "DYN (Position-Independent Executable" in dynamic, "PIE"
    assert re.search(r"FLAGS_1.*NOW", dynamic) and "GNU_RELRO" in dynamic, "RELRO, bound at the start"
    assert re.search(r"GNU_STACK\s.*\sRW\s", dynamic), "no executable stack"
    symbols = run("readelf", "-W", "--dyn-syms", program)
    assert "__stack_chk_fail" in symbols, "stack protector"
    assert re.search(r"__(snprintf|vsnprintf|fprintf|printf|memcpy)_chk", symbols), "fortified"
    assert not re.search(r"crash_point|hang_point", run("strings", program)), "no points of the tests"


def test_the_units_share_one_sandbox(world: "World") -> None:
    def body(name: str) -> list[str]:
        lines = (ROOT / "systemd" / name).read_text().splitlines()
        own = ("Description", "ExecStart=", "StateDirectory=", "#")
        return [line for line in lines if not line.startswith(own)]

    assert body("milvus-cdc.service") == body("milvus-cdc@.service")


def test_apt_install_pulls_all_it_needs_and_starts_it(world: "World") -> None:
    m = world.machine
    m.copy(world.deb, "/root/new.deb")
    assert m.status("ls /usr/lib/*/librdkafka.so.1") != 0, "what it needs is not there yet"
    m.sh("apt-get -y install /root/new.deb", seconds=300)
    assert "not found" not in m.sh("ldd /usr/bin/milvus-cdc")
    until(lambda: m.show("ActiveState") == "active", 30, "the service is started by installing it")
    assert m.sh("systemctl is-enabled milvus-cdc").strip() == "enabled"
    assert m.sh(f"stat -c '%U %G %a' {CONFIG} /etc/milvus-cdc /var/lib/milvus-cdc").split("\n")[:3] == [
        "root milvus-cdc 640",
        "root milvus-cdc 750",
        "milvus-cdc milvus-cdc 700",
    ]
    assert CONFIG in m.sh("cat /var/lib/dpkg/info/milvus-cdc.conffiles")
    for page in ("man8/milvus-cdc.8.gz", "man5/cdc.yaml.5.gz"):
        assert m.status(f"test -s /usr/share/man/{page}") == 0, page
    assert m.status("test -s /usr/share/bash-completion/completions/milvus-cdc") == 0


def test_the_default_configuration_starts_and_says_what_is_missing(world: "World") -> None:
    m = world.machine
    assert m.show("StatusText") == "no source configured; no tasks"
    said = [e for e in m.journal("-u", "milvus-cdc") if "no source is configured" in str(e.get("MESSAGE"))]
    assert said, world.cdc.tail()
    assert "sourceConfig.etcd.address and sourceConfig.kafka.address are not set in " + CONFIG in said[0]["MESSAGE"]
    explained = m.sh("journalctl --no-pager -x -u milvus-cdc MESSAGE_ID=" + said[0]["MESSAGE_ID"])
    assert "Subject: No source is configured" in explained and "milvus-cdc doctor checks them" in explained


def test_systemd_analyze_finds_the_units_right_and_closed(world: "World") -> None:
    m = world.machine
    for unit in ("milvus-cdc.service", "milvus-cdc@a.service"):
        found = m.sh(f"systemd-analyze verify --man=no /lib/systemd/system/{unit.replace('@a', '@')}", fail=False)
        assert "milvus-cdc" not in found, found
        told = m.sh(f"systemd-analyze security --no-pager {unit}", fail=False)
        level = re.search(r"Overall exposure level for \S+: ([\d.]+)", told)
        assert level and float(level[1]) <= 1.5, told


def test_the_message_catalog_explains_every_event(world: "World") -> None:
    table = (ROOT / "include/cdc/log_events.h").read_text()
    events = re.findall(r'EVENT\((\w+),\s*\w+,\s*"([0-9a-f]{32})"', table)
    assert len(events) >= 40
    assert len({identity for _, identity in events}) == len(events)
    known = world.machine.sh("journalctl --list-catalog")
    assert [name for name, identity in events if identity not in known] == []
