# SPDX-License-Identifier: Apache-2.0
"""R33: whatever of ours hangs is killed and restarted by systemd; a peer that hangs is no reason for it."""

import time
from typing import TYPE_CHECKING

from cdc import Load, compare, stack, until

if TYPE_CHECKING:
    from run import World

DROP_IN = "/etc/systemd/system/milvus-cdc.service.d/watchdog.conf"
WATCHDOG_S = 3
SILENT_S = 10  # supervisor.c: from then on the watchdog is not fed


def prepare(world: "World") -> None:
    """The test build, a short watchdog, and a file that says once where to hang."""
    m = world.machine
    m.copy(world.program_test, "/usr/local/bin/milvus-cdc-test")
    m.write(
        DROP_IN,
        "[Service]\nExecStart=\nExecStart=/usr/local/bin/milvus-cdc-test --config /etc/milvus-cdc/cdc.yaml\n"
        f"WatchdogSec={WATCHDOG_S}\nLimitCORE=0\nRestartSec=100ms\nEnvironmentFile=-/root/hang\n"
        "ExecStartPost=+/bin/rm -f /root/hang\n",
    )
    m.sh("systemctl daemon-reload")


def hang(world: "World", point: str, seed: int) -> None:
    m, cdc = world.machine, world.cdc
    prepare(world)
    m.write("/root/hang", f"CDC_HANG={point}\n")
    cdc.systemctl("restart")
    task = cdc.the_task()
    before = cdc.restarts()
    load = Load(rows=1_500, seed=seed, seconds=12)
    until(lambda: cdc.restarts() > before, SILENT_S + WATCHDOG_S + 20, "systemd restarts it")
    said = m.journal("-u", "milvus-cdc", "MESSAGE_ID=627bf3225fac4cb6a34acb115ee347dd")
    assert said, "the silent worker is told"
    assert "watchdog timeout" in m.sh("journalctl --no-pager -u milvus-cdc -n 40").lower()
    load.wait()
    assert "all equal" in compare(60)
    assert cdc.get(task)["health"]["status"] == "ok"


def test_a_reader_that_hangs_is_restarted(world: "World") -> None:
    hang(world, "reader_step:40", 71)


def test_an_applier_that_hangs_is_restarted(world: "World") -> None:
    hang(world, "applier_step:40", 72)


def test_a_lane_that_hangs_is_restarted(world: "World") -> None:
    hang(world, "lane:3", 73)


def test_a_look_at_etcd_that_hangs_is_restarted(world: "World") -> None:
    hang(world, "catalog_fence:20", 74)


def test_a_disk_that_hangs_is_restarted(world: "World") -> None:
    hang(world, "journal_written:5", 75)


def frozen(world: "World", parts: list[str], seed: int) -> None:
    cdc = world.cdc
    prepare(world)
    cdc.systemctl("restart")
    task = cdc.the_task()
    before, pid = cdc.restarts(), cdc.pid()
    load = Load(rows=1_500, seed=seed, seconds=3)
    start = cdc.progress(task)["journaled"]
    until(lambda: cdc.progress(task)["journaled"] > start or load.over(), 30, "rows flow")
    if "kafka" in parts or "source-etcd" in parts:
        load.wait()
    for part in parts:
        stack("freeze", part)
    began = time.monotonic()
    try:
        until(lambda: time.monotonic() - began > SILENT_S + WATCHDOG_S + 3, 60, "longer than the watchdog")
    finally:
        for part in parts:
            stack("thaw", part)
    assert (cdc.restarts(), cdc.pid()) == (before, pid), "the same process goes on"
    load.wait()
    assert "all equal" in compare(90)


def test_a_frozen_target_and_a_frozen_queue_are_no_hang(world: "World") -> None:
    frozen(world, ["target", "kafka"], 76)
    told = world.machine.journal("-u", "milvus-cdc", f"CDC_TASK={world.cdc.the_task()}")
    lost = [e for e in told if e.get("MESSAGE_ID") == "7f453a0ef5094b4f95de6e91074206e2"]
    assert lost, "the journal finds by CDC_TASK that the target was lost"
    assert lost[-1]["CDC_WORKER"] == "applier" and lost[-1]["PRIORITY"] == "4", lost[-1]


def test_a_frozen_etcd_is_no_hang(world: "World") -> None:
    frozen(world, ["source-etcd"], 77)


def test_the_released_program_is_back(world: "World") -> None:
    world.machine.sh(f"rm {DROP_IN}; systemctl daemon-reload")
    world.cdc.systemctl("restart")
    assert "all equal" in compare(60)
