# SPDX-License-Identifier: Apache-2.0
"""Nothing lost, nothing doubled: pause, SIGKILL, an outage of the target; every row compared each time."""

import signal
import time

from b2_operations import FLAT, data, make
from cdc import TARGET, Cdc, Load, compare, stack, until
from pymilvus import connections, utility


def the_task(cdc: Cdc) -> str:
    tasks = cdc.ask("list")[1]["data"]["tasks"]
    return str(tasks[0]["task_id"]) if tasks else cdc.create()


def test_pause_50000_rows_resume(cdc: Cdc) -> None:
    task = the_task(cdc)
    c = make("f1_paused")
    c.create_index("v", FLAT)
    c.load()
    until(lambda: utility.has_collection("f1_paused", using="target"), 30, "the collection arrives")
    cdc.pause(task)
    applied = cdc.progress(task)["applied"]
    for first in range(0, 50_000, 5_000):
        c.insert(data(first, 5_000))
    until(lambda: cdc.progress(task)["journaled"] >= applied + 50_000, 60, "capture goes on (R29)")
    assert cdc.progress(task)["applied"] < applied + 50_000, "applying waits"
    cdc.resume(task)
    assert "all equal" in compare(90)


def test_SIGKILL_five_times_under_load(cdc: Cdc) -> None:
    task = the_task(cdc)
    start = cdc.progress(task)["journaled"]
    load = Load(rows=12_000, seed=11, seconds=15)
    for i in range(1, 6):
        goal = start + i * 2_200
        until(lambda: cdc.progress(task)["journaled"] >= goal or load.over(), 120, "progress")
        cdc.end(signal.SIGKILL)
        cdc.start()
    load.wait()
    assert "all equal" in compare(90)


def test_the_target_is_frozen_for_20_s_under_load(cdc: Cdc) -> None:
    task = the_task(cdc)
    load = Load(rows=9_000, seed=12, seconds=30)
    start = cdc.progress(task)["journaled"]
    until(lambda: cdc.progress(task)["journaled"] >= start + 2_000 or load.over(), 120, "progress")
    stack("freeze", "target")
    frozen = time.monotonic()
    until(lambda: time.monotonic() - frozen > 20, 30, "20 s")
    assert cdc.get(task)["state"] == "Running", "nothing pauses by itself"
    stack("thaw", "target")
    load.wait()
    assert "all equal" in compare(90)


def test_the_target_is_stopped_for_20_s_under_load(cdc: Cdc) -> None:
    """Killed and started again. What the target held unflushed is flushed first: a 2.3.5 standalone
    loses such rows by itself when it is killed, also without a replicator."""
    task = the_task(cdc)
    assert "all equal" in compare(60)
    handler = connections._fetch_handler("target")
    handler.flush([c for c in utility.list_collections(using="target") if c != "archive"])
    shop = connections.connect("target_shop", uri=TARGET, db_name="shop")  # noqa: F841
    connections._fetch_handler("target_shop").flush(utility.list_collections(using="target_shop"))
    stack("kill", "target")
    down = time.monotonic()
    load = Load(rows=9_000, seed=14, seconds=25)
    until(lambda: cdc.get(task)["health"]["status"] == "retrying", 30, "health tells of it")
    until(lambda: time.monotonic() - down > 20, 30, "20 s")
    assert cdc.get(task)["state"] == "Running", "nothing pauses by itself"
    stack("start", "target")
    load.wait()
    assert "all equal" in compare(150)
    until(lambda: cdc.get(task)["health"]["status"] == "ok", 90, "health is ok again")


def test_SIGTERM_under_load_is_clean_and_quick(cdc: Cdc) -> None:
    task = the_task(cdc)
    load = Load(rows=3_000, seed=13, seconds=6)
    start = cdc.progress(task)["journaled"]
    until(lambda: cdc.progress(task)["journaled"] >= start + 500 or load.over(), 60, "progress")
    took = cdc.end()
    assert took < 2, f"SIGTERM took {took:.1f} s"
    cdc.start()
    load.wait()
    assert "all equal" in compare(60)
