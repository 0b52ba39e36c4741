# SPDX-License-Identifier: Apache-2.0
"""Upgrade with a journal full of entries that are not applied; remove; purge, which asks.

The older package holds the program of the version before, PROGRAM_OLDER (older.sh builds it), or where that is not set
another build of this one: the one of the tests. All else in it is this package's; there was none before.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from cdc import compare, stack, until
from machine import Rows, Service, run

if TYPE_CHECKING:
    from run import World

VERSION = "dpkg-query -W -f '${Version}' milvus-cdc"
DATA = "/var/lib/milvus-cdc"
ASKED = "Remove changes that are not on the target yet?"


def older(world: "World") -> Path:
    program = os.environ.get("PROGRAM_OLDER")
    version = run(program, "--version").split()[1] if program else "0.0.1"
    print(f"# the older package holds {version if program else 'a test build'}", flush=True)
    to = world.folder / "older"
    run("dpkg-deb", "-R", world.deb, to)
    control = to / "DEBIAN/control"
    control.write_text(re.sub(r"(?m)^Version: .*", f"Version: {version}", control.read_text()))
    shutil.copy(program or world.program_test, to / "usr/bin/milvus-cdc")
    return Path(run("dpkg-deb", "--root-owner-group", "-b", to, world.folder).split("'")[-2])


def running(world: "World") -> str:
    """Digest of the program that runs."""
    return world.machine.sh(f"sha256sum /proc/{world.cdc.pid()}/exe").split()[0]


def waiting(world: "World") -> str:
    """What an operator is told of the journals; empty: all of it is on the target."""
    words = [str(world.program_test), "journal", "--pending", str(world.machine.root / DATA.lstrip("/"))]
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout


def install(world: "World", package: str = "/root/new.deb") -> None:
    world.machine.sh("apt-get -y install " + package, seconds=300)


def test_an_upgrade_with_pending_entries_applies_them_once(world: "World") -> None:
    m, cdc = world.machine, world.cdc
    cdc.configure()
    cdc.systemctl("restart")
    cdc.over()
    m.sh("apt-get -y purge milvus-cdc")
    m.copy(older(world), "/root/older.deb")
    install(world, "/root/older.deb")
    cdc.configure()
    cdc.systemctl("restart")
    task = cdc.the_task()
    rows = Rows()
    rows.more()
    rows.equal(60)
    stack("freeze", "target")
    try:
        start = cdc.progress(task)["journaled"]
        for _ in range(50):
            rows.more()
        until(lambda: cdc.progress(task)["journaled"] >= start + 1_000, 60, "rows are in the journal")
        assert cdc.progress(task)["applied"] <= start, "and not applied"
        assert task in waiting(world), waiting(world)
        before, number = running(world), m.sh(VERSION)
        m.write("/etc/milvus-cdc/cdc.yaml", (m.root / "etc/milvus-cdc/cdc.yaml").read_text() + "# mine\n")
        install(world)
        assert m.sh(VERSION) != number, "the new package is installed"
        assert running(world) != before, "the new program runs"
        assert task in waiting(world), "what was pending is pending still"
        assert (m.root / "etc/milvus-cdc/cdc.yaml").read_text().endswith("# mine\n"), "the configuration is kept"
    finally:  # within the target's own patience: its session in etcd ends after some 20 s
        stack("thaw", "target")
    rows.equal(90)
    until(lambda: not waiting(world), 10, "all of it is applied")


def test_an_upgrade_restarts_the_instances_that_run_and_no_others(world: "World") -> None:
    m = world.machine
    runs, fails = (Service(m, world.folder / name, f"milvus-cdc@{name}", 94) for name in ("runs", "fails"))
    m.write("/etc/milvus-cdc/runs.yaml", f"address: {runs.address}\n")
    m.write("/etc/milvus-cdc/fails.yaml", "address: nowhere\n")
    runs.start()
    assert m.status("systemctl start milvus-cdc@fails") != 0
    tried = m.show("InvocationID", fails.unit)
    m.sh("apt-get -y --reinstall install /root/new.deb", seconds=300)  # for dpkg an upgrade as any other
    assert m.show("ActiveState", runs.unit) == "active"
    assert m.sh(f"readlink /proc/{runs.pid()}/exe").strip() == "/usr/bin/milvus-cdc", "not one that is deleted"
    assert m.show("ActiveState", fails.unit) == "failed" and m.show("InvocationID", fails.unit) == tried
    runs.systemctl("stop")
    m.sh("systemctl reset-failed milvus-cdc@fails; rm /etc/milvus-cdc/runs.yaml /etc/milvus-cdc/fails.yaml")


def pending(world: "World") -> str:
    """Something that is in the journal and not on the target; of the task that is returned."""
    cdc = world.cdc
    task = cdc.the_task()
    cdc.pause(task)
    start = cdc.progress(task)["journaled"]
    Rows().more()
    until(lambda: cdc.progress(task)["journaled"] > start, 30, "rows are in the journal")
    return task


def kept(world: "World") -> bool:
    return world.machine.status(f"test -e {DATA}/control.db") == 0


def test_remove_keeps_the_data_and_a_purge_that_is_answered_no(world: "World") -> None:
    m = world.machine
    task = pending(world)
    m.sh("apt-get -y remove milvus-cdc")
    assert m.status("test -e /usr/bin/milvus-cdc") != 0 and m.status("pgrep -x milvus-cdc") != 0
    assert kept(world) and m.status("test -e /etc/milvus-cdc/cdc.yaml") == 0
    assert task in m.sh(f"cat {DATA}/unapplied"), "what is pending is written down"
    told = m.dialog("apt-get -y purge milvus-cdc", (ASKED, "no"))
    assert task in told, "it says what would be lost: " + told
    assert f"{DATA} is kept" in told and kept(world), told


def test_an_installation_over_kept_data_goes_on(world: "World") -> None:
    cdc = world.cdc
    install(world)
    cdc.configure()
    cdc.systemctl("restart")
    cdc.resume(cdc.the_task())
    assert "all equal" in compare(90)


def test_a_purge_that_nobody_can_answer_keeps_what_is_pending(world: "World") -> None:
    pending(world)
    told = world.machine.sh("apt-get -y purge milvus-cdc")
    assert f"{DATA} is kept" in told and kept(world), told


def test_a_purge_that_is_answered_yes_removes_all(world: "World") -> None:
    m = world.machine
    install(world)
    m.dialog("apt-get -y purge milvus-cdc", (ASKED, "yes"))
    for path in (DATA, DATA + "-b", "/etc/milvus-cdc/cdc.yaml"):
        assert m.status(f"test -e {path}") != 0, path
    Rows.forget()


def test_root_neither_writes_nor_reads_through_a_link_in_the_data_directory(world: "World") -> None:
    m = world.machine
    install(world)
    m.sh("systemctl stop milvus-cdc; echo s3cret-91b7 >/root/secret; chmod 600 /root/secret")
    link = f"runuser -u milvus-cdc -- ln -sf /root/%s {DATA}/%s"
    m.sh(link % ("planted", "unapplied.new") + ";" + link % ("secret", "unapplied"))
    m.sh("apt-get -y remove milvus-cdc")
    assert m.status("test -e /root/planted") != 0 and m.sh("cat /root/secret") == "s3cret-91b7\n"
    assert m.sh(f"stat -c '%U %F' {DATA}/unapplied").strip() == "milvus-cdc regular empty file"
    m.sh(link % ("secret", "unapplied"))
    told = m.dialog("apt-get -y purge milvus-cdc", (ASKED, "no"))
    assert "s3cret" not in told and "unknown" in told, "what is not known is asked about: " + told
    assert kept(world)


def test_a_disk_without_room_does_not_stop_the_removal(world: "World") -> None:
    m, full = world.machine, DATA + "-full"
    install(world)
    assert m.status(f"test -L {DATA}/unapplied") != 0, "what a removal before wrote down, or was put there, is gone"
    m.sh(f"mkdir {full}; mount -t tmpfs -o nr_inodes=2,mode=700,uid=$(id -u milvus-cdc) tmpfs {full}; : >{full}/control.db")
    try:
        told = m.sh("apt-get -y remove milvus-cdc")
        assert f"{full}/unapplied cannot be written, so a purge will ask" in told, told
        told = m.sh("apt-get -y purge milvus-cdc")
        assert f"{full} is kept" in told and m.status(f"test -e {full}/control.db") == 0, told
        assert not kept(world), "the other one has nothing that is pending"
    finally:
        m.sh(f"umount {full}; rmdir {full}")


def test_purge_without_pending_entries_does_not_ask(world: "World") -> None:
    m = world.machine
    install(world)
    assert ASKED not in m.dialog("apt-get -y purge milvus-cdc")
    assert m.status(f"test -e {DATA}") != 0
