# SPDX-License-Identifier: Apache-2.0
"""R33: whatever of ours hangs is killed and restarted by systemd; a peer that hangs is no reason for it."""

import os
import time
from typing import TYPE_CHECKING

from cdc import compare, stack, until
from machine import Rows

if TYPE_CHECKING:
    from run import World

DROP_IN = "/etc/systemd/system/milvus-cdc.service.d/watchdog.conf"
WATCHDOG_S = int(os.environ.get("WATCHDOG_S", "3"))  # the unit has 30
SILENT_S = 10  # supervisor.c: from then on the watchdog is not fed


def prepare(world: "World") -> None:
    """The test build, a short watchdog, and a file that says once where to hang."""
    m = world.machine
    if not (m.root / "usr/local/bin/milvus-cdc-test").exists():
        m.copy(world.program_test, "/usr/local/bin/milvus-cdc-test")
    m.write(
        DROP_IN,
        "[Service]\nExecStart=\nExecStart=/usr/local/bin/milvus-cdc-test --config /etc/milvus-cdc/cdc.yaml\n"
        f"WatchdogSec={WATCHDOG_S}\nLimitCORE=0\nRestartSec=100ms\nEnvironmentFile=-/root/hang\n"
        "ExecStartPost=+/bin/rm -f /root/hang\n",
    )
    m.sh("systemctl daemon-reload")


def hang(world: "World", point: str, worker: str) -> None:
    m, cdc = world.machine, world.cdc
    prepare(world)
    cdc.configure()
    rows = Rows()
    since = m.sh("date +%s").strip()
    m.write("/root/hang", f"CDC_HANG={point}\n")
    cdc.systemctl("restart")
    task = cdc.the_task()
    before = cdc.restarts()
    until(lambda: rows.more() and cdc.restarts() > before, SILENT_S + WATCHDOG_S + 20, "systemd restarts it")
    told = m.journal("-u", "milvus-cdc", "--since", "@" + since, "MESSAGE_ID=627bf3225fac4cb6a34acb115ee347dd")
    assert [(e["CDC_TASK"], e["CDC_WORKER"]) for e in told] == [(task, worker)], told
    assert "watchdog timeout" in m.sh(f"journalctl --no-pager -u milvus-cdc --since @{since}").lower()
    rows.more()
    rows.equal(60)
    until(lambda: cdc.get(task)["health"]["status"] == "ok", 10, "health")


def test_a_reader_that_hangs_is_restarted(world: "World") -> None:
    hang(world, "reader_step:10", "reader")


def test_an_applier_that_hangs_is_restarted(world: "World") -> None:
    hang(world, "applier_step:10", "applier")


def test_a_lane_that_hangs_is_restarted(world: "World") -> None:
    hang(world, "lane:3", "applier")


def test_a_look_at_etcd_that_hangs_is_restarted(world: "World") -> None:
    hang(world, "catalog_fence:20", "reader")


def test_a_disk_that_hangs_is_restarted(world: "World") -> None:
    hang(world, "journal_written:5", "reader")


def frozen(world: "World", parts: list[str]) -> None:
    cdc = world.cdc
    prepare(world)
    rows = Rows()
    cdc.systemctl("restart")
    task = cdc.the_task()
    before, pid = cdc.restarts(), cdc.pid()
    start = cdc.progress(task)["journaled"]
    until(lambda: rows.more() and cdc.progress(task)["journaled"] > start, 30, "rows flow")
    for part in parts:
        stack("freeze", part)
        if part == "target":  # so that something is being sent to it
            start = cdc.progress(task)["journaled"]
            until(lambda: rows.more() and cdc.progress(task)["journaled"] > start, 30, "rows are read")
    began = time.monotonic()
    try:
        until(lambda: time.monotonic() - began > SILENT_S + WATCHDOG_S + 3, 60, "longer than the watchdog")
    finally:
        for part in parts:
            stack("thaw", part)
    assert (cdc.restarts(), cdc.pid()) == (before, pid), "the same process goes on"
    until(rows.more, 60, "the source takes rows again")
    rows.equal(90)


def test_a_frozen_target_and_a_frozen_queue_are_no_hang(world: "World") -> None:
    frozen(world, ["target", "kafka"])
    told = world.machine.journal("-u", "milvus-cdc", f"CDC_TASK={world.cdc.the_task()}")
    lost = [e for e in told if e.get("MESSAGE_ID") == "7f453a0ef5094b4f95de6e91074206e2"]
    assert lost, "the journal finds by CDC_TASK that the target was lost"
    assert lost[-1]["CDC_WORKER"] == "applier" and lost[-1]["PRIORITY"] == "4", lost[-1]
    assert "-dml_" in lost[-1]["CDC_CHANNEL"] and int(lost[-1]["CDC_LAG_MS"]) > 1_000, lost[-1]
    back = [e for e in told if e.get("MESSAGE_ID") == "9ed89eddd6844325b600e6129ec04ece"]
    assert back and "CDC_LAG_MS" in back[-1] and "CDC_CHANNEL" not in back[-1], back


def test_a_frozen_etcd_is_no_hang(world: "World") -> None:
    frozen(world, ["source-etcd"])


def test_the_released_program_is_back(world: "World") -> None:
    world.machine.sh(f"rm {DROP_IN}; systemctl daemon-reload")
    world.cdc.systemctl("restart")
    assert "all equal" in compare(60)
