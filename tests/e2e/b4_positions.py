# SPDX-License-Identifier: Apache-2.0
"""Where the rows of a task begin: earliest, a time, positions; and a log that does not reach back."""

import base64
import contextlib
import signal
import sqlite3
import struct
import time
from datetime import datetime, timezone
from typing import Any

from broker import EARLIEST, LATEST, delete_records, offset
from cdc import TARGET, Cdc, until
from orders import Shape, differences, equal, gone, load, make, source, target
from pymilvus import connections

WIDE = Shape(shards=2)


def fresh(cdc: Cdc, *names: str) -> None:
    """No task, and none of these collections on either side."""
    for task in cdc.ask("list")[1]["data"]["tasks"]:
        cdc.delete(task["task_id"])
    for server in (source, target):
        for name in set(server.names()) & set(names):
            server.drop(name)
    gone(list(names))


def create(cdc: Cdc, infos: list[dict[str, Any]], **more: Any) -> tuple[int, dict[str, Any]]:
    where = {"uri": TARGET, "token": "root:Milvus", "connect_timeout": 10}
    return cdc.ask("create", {"milvus_connect_param": where, "collection_infos": infos} | more)


def made(answer: tuple[int, dict[str, Any]]) -> str:
    assert answer[0] == 200, answer
    return str(answer[1]["data"]["task_id"])


def keys(name: str) -> set[int]:
    calls = connections._fetch_handler(target.on())
    found = calls.query(name, "id >= 0", ["id"], consistency_level="Eventually", timeout=10)
    assert len({r["id"] for r in found}) == len(found), "a row is there twice"
    return {r["id"] for r in found}


def arrive(name: str, want: set[int], seconds: float = 60) -> None:
    try:
        until(lambda: keys(name) == want, seconds, f"{len(want)} rows of {name}")
    except AssertionError as e:
        have = keys(name)
        raise AssertionError(f"{e}: missing {sorted(want - have)[:5]}, too many {sorted(have - want)[:5]}") from None


def stamp(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def pause_of_a_second() -> int:
    """A moment that is clearly after what was written and before what comes; unix ms."""
    begin = time.time()
    until(lambda: time.time() > begin + 1, 5, "a second")
    moment = int(time.time() * 1000)
    until(lambda: time.time() > begin + 2, 5, "another")
    return moment


def position(pchannel: str, at: int, ts: int = 0) -> str:
    """MsgPosition, written by hand."""
    parts = b"\x0a" + bytes([len(pchannel)]) + pchannel.encode() + b"\x12\x08" + struct.pack("<q", at)
    if ts:
        parts += b"\x20"
        while ts > 127:
            parts, ts = parts + bytes([ts & 127 | 128]), ts >> 7
        parts += bytes([ts])
    return base64.b64encode(parts).decode()


def test_earliest_copies_all_that_was_ever_written_also_below_ticks_of_a_task_that_is_no_more(cdc: Cdc) -> None:
    fresh(cdc, "b4_early", "b4_now")
    c, now = make("b4_early", WIDE), make("b4_now", WIDE)
    c.create_partition("p")
    for first in range(0, 3000, 500):
        c.insert(WIDE.rows(first, 500, "w"))
    c.insert(WIDE.rows(10_000, 300, "lost"), partition_name="p")
    c.drop_partition("p")
    c.create_partition("p")
    c.insert(WIDE.rows(20_000, 200, "kept"), partition_name="p")
    c.upsert(WIDE.rows(100, 400, "upserted"))
    c.delete(WIDE.list(range(700, 900)))
    now.insert(WIDE.rows(0, 100, "before"))
    load(c, now)
    # ticks of now reach the target; then nobody remembers how far they went
    other = cdc.create(["b4_nothing"])
    until(lambda: 0 <= cdc.progress(other)["lag_ms"] < 3000, 30, "ticks go")
    cdc.delete(other)
    cdc.end()
    cdc.start()
    before = int(time.time() * 1000)
    answer = create(cdc, [{"name": "b4_early", "use_start_position": True}, {"name": "b4_now"}])
    task = made(answer)
    assert any("bulk-imported" in w for w in answer[1]["warnings"]), answer
    now.insert(WIDE.rows(100, 50, "after"))
    c.insert(WIDE.rows(3000, 50, "after"))
    equal(["b4_early"])
    arrive("b4_now", set(range(100, 150)))
    # R21: below a tick that somebody sent before, a row would be lost with the target's next release
    with contextlib.closing(sqlite3.connect(f"file:{cdc.data}/tasks/{task}/apply.db?mode=ro", uri=True)) as db:
        bound, out = db.execute("SELECT tick_bound >> 18, applied_out >> 18 FROM mark").fetchone()
    assert bound >= before and out >= before, f"{bound} and {out}, made at {before}"
    shown = cdc.get(task)["collection_infos"]
    assert [i["use_start_position"] for i in shown] == [True, False], shown
    assert all(i["positions"] is None for i in shown), shown
    cdc.delete(task)


def test_a_time_brings_exactly_the_later_rows(cdc: Cdc) -> None:
    fresh(cdc, "b4_time", "b4_young")
    c = make("b4_time", WIDE)
    for first in range(0, 1000, 250):
        c.insert(WIDE.rows(first, 250, "before"))
    moment = pause_of_a_second()
    c.delete(WIDE.list(range(0, 100)))  # of rows that the target will never have
    c.insert(WIDE.rows(1000, 500, "after"))
    c.delete(WIDE.list(range(1000, 1010)))
    young = make("b4_young", WIDE)
    young.insert(WIDE.rows(0, 100, "young"))
    load(c, young)
    task = made(create(cdc, [{"name": "b4_time"}, {"name": "b4_young"}], start=stamp(moment)))
    assert cdc.get(task)["start"] == stamp(moment)
    c.insert(WIDE.rows(2000, 10, "now"))
    arrive("b4_time", set(range(1010, 1500)) | set(range(2000, 2010)))
    equal(["b4_young"])
    cdc.delete(task)


def test_positions_of_one_task_are_the_start_of_another(cdc: Cdc) -> None:
    fresh(cdc, "b4_pos", "b4_pos_second")
    c = make("b4_pos", WIDE)
    load(c)
    first = made(create(cdc, [{"name": "b4_pos"}]))
    c.insert(WIDE.rows(0, 500, "one"))
    until(lambda: cdc.progress(first)["journaled"] >= 500, 30, "the first rows are read")
    told = cdc.ask("position", {"task_id": first})[1]["data"]
    positions = {p["vchannel"]: p["msg_id"] for p in told["positions"]}
    assert len(positions) == 2 and {p["collection_name"] for p in told["positions"]} == {"b4_pos"}, told
    assert {p["channel_name"] for p in told["positions"]} == {v.rsplit("_", 1)[0] for v in positions}, told
    assert len(told["target_positions"]) == 2 and told["op_positions"][0]["collection_id"] == -10, told
    c.insert(WIDE.rows(1000, 500, "two"))
    c.upsert(WIDE.rows(1000, 100, "again"))
    mapping = [{"source_db": "default", "target_db": "default", "collection_mapping": {"b4_pos": "b4_pos_second"}}]
    second = made(create(cdc, [{"name": "b4_pos", "positions": positions}], name_mapping=mapping))
    assert cdc.get(second)["collection_infos"][0]["positions"] == positions
    arrive("b4_pos", set(range(0, 500)) | set(range(1000, 1500)))
    arrive("b4_pos_second", set(range(1000, 1500)))
    equal(["b4_pos"])
    cdc.delete(first)
    cdc.delete(second)


def vchannels(cdc: Cdc, name: str) -> dict[str, str]:
    """Of a collection: vchannel -> pchannel. A new one is read a moment after the task was made."""
    task = made(create(cdc, [{"name": name}]))
    told = until(lambda: cdc.ask("position", {"task_id": task})[1]["data"]["positions"], 30, "it is read")
    cdc.delete(task)
    return {p["vchannel"]: p["channel_name"] for p in told}


def test_positions_computed_from_Kafkas_offsets(cdc: Cdc) -> None:
    fresh(cdc, "b4_offset")
    c = make("b4_offset", WIDE)
    load(c)
    shards = vchannels(cdc, "b4_offset")
    c.insert(WIDE.rows(0, 300, "before"))
    at = {v: position(p, offset(p, LATEST)) for v, p in shards.items()}
    c.insert(WIDE.rows(1000, 300, "after"))
    one = dict(list(at.items())[:1])
    status, answer = create(cdc, [{"name": "b4_offset", "positions": one}])
    assert status == 400 and "no position is given" in answer["message"], answer
    foreign = {v.rsplit("_", 1)[0] + "_1v0": p for v, p in at.items()}
    status, answer = create(cdc, [{"name": "b4_offset", "positions": foreign}])
    assert status == 400 and "no vchannel of the collection" in answer["message"], answer
    beyond = {v: position(p, offset(p, LATEST) + 1_000_000) for v, p in shards.items()}
    status, answer = create(cdc, [{"name": "b4_offset", "positions": beyond}])
    assert status == 409 and "the source's log holds only" in answer["message"], answer
    task = made(create(cdc, [{"name": "b4_offset", "positions": at}]))
    arrive("b4_offset", set(range(1000, 1300)))
    cdc.delete(task)


def test_SIGKILL_in_the_middle_of_a_catch_up_is_exact(cdc: Cdc) -> None:
    fresh(cdc, "b4_kill", "b4_kill_now")
    c, now = make("b4_kill", WIDE), make("b4_kill_now", WIDE)
    for first in range(0, 60_000, 1_500):
        c.insert(WIDE.rows(first, 1_500, "w"))
        if first % 15_000 == 0:
            c.delete(WIDE.list(range(first, first + 50)))
            now.insert(WIDE.rows(first, 10, "before"))
    load(c, now)
    cdc.end()
    cdc.start()
    infos = [{"name": "b4_kill", "start": "earliest"}, {"name": "b4_kill_now"}]
    task = made(create(cdc, infos))
    now.insert(WIDE.rows(100_000, 20, "after"))
    for goal in (1_000, 15_000, 30_000, 45_000):
        until(lambda: cdc.progress(task)["applied"] >= goal, 60, "the copy goes on")
        cdc.end(signal.SIGKILL)
        cdc.start()
    equal(["b4_kill"], 90)
    arrive("b4_kill_now", set(range(100_000, 100_020)))
    assert cdc.progress(task)["held_collections"] == 0
    cdc.delete(task)


def test_a_log_that_does_not_reach_back_is_409_at_create_and_a_hold_while_running(cdc: Cdc) -> None:
    fresh(cdc, "b4_cut")
    c = make("b4_cut", WIDE)
    c.insert(WIDE.rows(0, 100, "removed"))
    moment = pause_of_a_second()
    load(c)
    shards = vchannels(cdc, "b4_cut")
    for pchannel in shards.values():
        delete_records(pchannel, offset(pchannel, LATEST))
    held = {p: offset(p, EARLIEST) for p in shards.values()}
    status, answer = create(cdc, [{"name": "b4_cut", "start": "earliest"}])
    assert status == 409 and answer["error"] == "POSITION_GONE", answer
    assert "collection default.b4_cut" in answer["message"] and 'with "now" and copy' in answer["message"], answer
    assert any(f"{p} is wanted" in answer["message"] and f"only offset {o} up to" in answer["message"] for p, o in held.items()), answer
    status, answer = create(cdc, [{"name": "b4_cut", "start": stamp(moment)}])
    assert status == 409 and f"the time from {stamp(moment)[:19]}Z on" in answer["message"], answer
    positions = {v: position(p, held[p] - 1) for v, p in shards.items()}
    status, answer = create(cdc, [{"name": "b4_cut", "positions": positions}])
    assert status == 409 and "is wanted, but the source's log holds only" in answer["message"], answer
    assert cdc.ask("list")[1]["data"]["tasks"] == [], "nothing is left of them"
    task = made(create(cdc, [{"name": "b4_cut"}]))
    c.insert(WIDE.rows(200, 100, "now"))
    arrive("b4_cut", set(range(200, 300)))
    cdc.end()
    c.insert(WIDE.rows(300, 100, "lost to us"))
    for pchannel in shards.values():
        delete_records(pchannel, offset(pchannel, LATEST))
    c.insert(WIDE.rows(400, 100, "behind the gap"))
    cdc.start()
    health = until(lambda: (h := cdc.get(task)["health"])["status"] == "held" and h, 60, "the gap is told")
    assert health["error"] == "POSITION_GONE" and any(p in health["reason"] for p in held), health
    assert "offset" in health["reason"] and "wanted" in health["reason"], health
    assert keys("b4_cut") == set(range(200, 300)), "nothing behind the gap is applied"
    assert cdc.http("GET", "/healthz")[0] == 200
    cdc.delete(task)
    assert differences(["b4_cut"]), "the comparer sees what is missing"
