# SPDX-License-Identifier: Apache-2.0
"""Upgrade with a journal full of entries that are not applied; remove; purge, which asks."""

from typing import TYPE_CHECKING

from cdc import compare, stack, until
from machine import Rows

if TYPE_CHECKING:
    from run import World


def version(world: "World") -> str:
    return world.machine.sh("dpkg-query -W -f '${Version}' milvus-cdc").strip()


def test_an_upgrade_with_pending_entries_applies_them_once(world: "World") -> None:
    m, cdc = world.machine, world.cdc
    old = version(world)
    task = cdc.the_task()
    rows = Rows()
    rows.equal(60)
    stack("freeze", "target")
    try:
        start = cdc.progress(task)["journaled"]
        for _ in range(50):
            rows.more()
        until(lambda: cdc.progress(task)["journaled"] >= start + 1_000, 60, "rows are in the journal")
        assert cdc.progress(task)["applied"] <= start, "and not applied"
        pid = cdc.pid()
        m.write("/etc/milvus-cdc/cdc.yaml", (m.root / "etc/milvus-cdc/cdc.yaml").read_text() + "# mine\n")
        m.sh("apt-get -y install /root/new.deb", seconds=300)
        assert version(world) != old
        assert cdc.pid() != pid, "the new program runs"
        assert (m.root / "etc/milvus-cdc/cdc.yaml").read_text().endswith("# mine\n"), "the configuration is kept"
    finally:  # within the target's own patience: its session in etcd ends after some 20 s
        stack("thaw", "target")
    rows.equal(90)


def pending(world: "World") -> str:
    """Something that is in the journal and not on the target; of the task that is returned."""
    cdc = world.cdc
    task = cdc.the_task()
    cdc.pause(task)
    start = cdc.progress(task)["journaled"]
    Rows().more()
    until(lambda: cdc.progress(task)["journaled"] > start, 30, "rows are in the journal")
    return task


def preseed(world: "World", answer: str) -> None:
    world.machine.sh(f"echo 'milvus-cdc milvus-cdc/purge-unapplied boolean {answer}' | debconf-set-selections")


def test_remove_keeps_the_data_and_purge_keeps_what_is_pending(world: "World") -> None:
    m = world.machine
    task = pending(world)
    m.sh("apt-get -y remove milvus-cdc")
    assert m.status("test -e /usr/bin/milvus-cdc") != 0 and m.status("pgrep -x milvus-cdc") != 0
    assert m.status("test -e /var/lib/milvus-cdc/control.db") == 0
    assert m.status("test -e /etc/milvus-cdc/cdc.yaml") == 0
    assert task in m.sh("cat /var/lib/milvus-cdc/unapplied"), "what is pending is written down"
    preseed(world, "false")
    told = m.sh("apt-get -y purge milvus-cdc")
    assert "/var/lib/milvus-cdc is kept" in told, told
    assert m.status("test -e /var/lib/milvus-cdc/control.db") == 0


def test_an_installation_over_kept_data_goes_on(world: "World") -> None:
    m, cdc = world.machine, world.cdc
    m.sh("apt-get -y install /root/new.deb", seconds=300)
    cdc.configure()
    cdc.systemctl("restart")
    cdc.resume(cdc.the_task())
    assert "all equal" in compare(90)


def test_purge_removes_all_when_told_so(world: "World") -> None:
    m = world.machine
    pending(world)
    preseed(world, "true")
    m.sh("apt-get -y purge milvus-cdc")
    for path in ("/var/lib/milvus-cdc", "/var/lib/milvus-cdc-b", "/etc/milvus-cdc/cdc.yaml"):
        assert m.status(f"test -e {path}") != 0, path
    Rows.forget()


def test_purge_without_pending_entries_does_not_ask(world: "World") -> None:
    m = world.machine
    m.sh("apt-get -y install /root/new.deb", seconds=300)
    preseed(world, "false")
    m.sh("apt-get -y purge milvus-cdc")
    assert m.status("test -e /var/lib/milvus-cdc") != 0
