# SPDX-License-Identifier: Apache-2.0
"""The second door (R28): an ordinary target (TARGET_TT=true), written by Upsert and Delete. Strong reads on it."""

import signal
import subprocess
import sys
import time
from typing import Any

from b2_operations import FLAT, data, has, make
from cdc import LIB, SOURCE, TARGET, Cdc, Load, stack, until
from pymilvus import Collection, CollectionSchema, DataType, FieldSchema, connections, utility

LEAST = -(2**63)


def equal(timeout: float = 60) -> None:
    """The independent comparer, with strong reads of the target: it moves its clock by itself."""
    run = subprocess.run(
        [sys.executable, str(LIB / "compare.py"), "--source", SOURCE, "--target", TARGET, "--plain-target"]
        + ["--timeout", str(timeout)],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-2000:]


def the_task(cdc: Cdc) -> str:
    tasks = cdc.ask("list")[1]["data"]["tasks"]
    return str(tasks[0]["task_id"]) if tasks else cdc.create()


def found(name: str, expr: str = "", partition: str | None = None, alias: str = "target") -> list[dict[str, Any]]:
    handler = connections._fetch_handler(alias)
    return list(
        handler.query(
            name, expr or "id >= 0", ["*"], [partition] if partition else None, consistency_level="Strong", timeout=10
        )
    )


def count(name: str, alias: str = "target") -> int:
    handler = connections._fetch_handler(alias)
    return int(handler.query(name, "", ["count(*)"], consistency_level="Strong", timeout=10)[0]["count(*)"])


def test_an_ordinary_target_is_recognised_and_told(cdc: Cdc) -> None:
    task = the_task(cdc)
    assert cdc.get(task)["mode"] == "upsert", cdc.get(task)


def test_every_type_and_operation(cdc: Cdc) -> None:
    """Generated keys, a partition key, explicit partitions, varchar keys, deletes by key and by range."""
    the_task(cdc)
    Load(rows=8_000, seed=31, seconds=10).wait()
    equal(90)


def test_R28_rows_are_where_the_source_has_them(cdc: Cdc) -> None:
    """Upserts into other partitions, deletes in one and in all, changed partition keys, strange keys."""
    the_task(cdc)
    c = make("u1_moves")
    for name in ("a", "b"):
        c.create_partition(name)
    c.create_index("v", FLAT)
    c.load()
    c.insert(data(0, 100, "default"))
    c.upsert(data(0, 50, "a"), partition_name="a")  # the rows of _default stay, at the source, too
    c.upsert(data(20, 50, "b"), partition_name="b")
    c.delete("id in [0, 1, 2]", partition_name="a")
    c.delete("id in [20, 21, 22]")
    c.upsert(data(21, 1, "again"), partition_name="b")
    c.delete("id in [1000000]")
    c.delete("id in [3]", partition_name="_default")
    c.upsert(data(3, 1, "moved"), partition_name="b")
    ends = [[LEAST, LEAST + 1, 2**63 - 1, -1], ["end"] * 4, [[0.0] * 4] * 4]
    c.insert(ends)
    c.upsert(ends)
    c.delete("id in [-9223372036854775807 - 1, -1]")  # the least number has no literal

    utility.drop_collection("u1_keyed", using="source")
    schema = CollectionSchema(
        [
            FieldSchema("id", DataType.VARCHAR, is_primary=True, max_length=64),
            FieldSchema("tenant", DataType.INT64, is_partition_key=True),
            FieldSchema("v", DataType.FLOAT_VECTOR, dim=4),
        ],
        enable_dynamic_field=True,
    )
    k = Collection("u1_keyed", schema, using="source", shards_num=2, num_partitions=7)
    k.create_index("v", FLAT)
    k.load()
    words = ["", "'", '"', "\\", "a\nb", "\t", "\x00\x01", "日本", "\\n", "%s", "🙂", "\x7f"]
    for tenant in range(5):  # each time another partition
        k.upsert([{"id": w, "tenant": tenant * 7 + i, "v": [0.5] * 4, "more": w} for i, w in enumerate(words)])
    k.delete('id in ["\\"", "a\\nb", "\\000\\001"]')
    equal(60)
    assert count("u1_keyed") == len(words) - 3


def test_R28_a_burst_on_one_key_ends_with_the_last_operation(cdc: Cdc) -> None:
    """Paused, so that all of it is in one window; then the same again without a pause."""
    task = the_task(cdc)
    c = make("u1_burst")
    c.create_index("v", FLAT)
    c.load()
    for pause in (True, False):
        if pause:
            cdc.pause(task)
        for i in range(30):
            c.upsert(data(0, 20, f"{pause}{i} "))
            c.delete(f"id in [{i % 20}]")
            if i % 2:
                c.insert(data(i % 20, 1, "back"))
        if pause:
            cdc.resume(task)
        equal(60)


def test_a_key_inserted_twice_is_there_once_with_the_last_values(cdc: Cdc) -> None:
    the_task(cdc)
    c = make("u1_twice")
    c.create_index("v", FLAT)
    c.load()
    c.insert(data(0, 100, "first"))
    c.insert(data(0, 100, "second"))
    c.insert(data(50, 1, "third"))
    until(lambda: [r["s"] for r in found("u1_twice", "id == 50")] == ["third0"], 30, "the last one wins")
    assert count("u1_twice") == 100, "one row a key"
    assert {r["s"] for r in found("u1_twice", "id != 50")} == {f"second{i}" for i in range(100) if i != 50}
    c.delete(f"id in {list(range(100))}")  # by a condition 2.3.5 itself finds each key only once
    until(lambda: count("u1_twice") == 0, 30, "the delete hits them")
    equal(30)


def test_generated_keys_are_kept(cdc: Cdc) -> None:
    the_task(cdc)
    utility.drop_collection("u1_auto", using="source")
    fields = [
        FieldSchema("id", DataType.INT64, is_primary=True, auto_id=True),
        FieldSchema("v", DataType.FLOAT_VECTOR, dim=4),
    ]
    c = Collection("u1_auto", CollectionSchema(fields), using="source")
    c.create_index("v", FLAT)
    c.load()
    keys = sorted(c.insert([[[1.0] * 4 for _ in range(50)]]).primary_keys)
    until(lambda: sorted(r["id"] for r in found("u1_auto")) == keys, 30, "the same keys")
    c.delete(f"id in [{keys[0]}, {keys[49]}]")
    until(lambda: sorted(r["id"] for r in found("u1_auto")) == keys[1:49], 30, "they are deleted by them")


def test_the_target_stays_writable_while_the_source_is_quiet(cdc: Cdc) -> None:
    task = the_task(cdc)
    cdc.pause(task)
    own = make("u1_targets_own", using="target")
    own.create_index("v", FLAT)
    own.load()
    own.insert(data(0, 10))
    assert count("u1_targets_own") == 10, "strong reads need nobody's ticks"
    utility.drop_collection("u1_targets_own", using="target")
    cdc.resume(task)


def test_structure_follows(cdc: Cdc) -> None:
    """Partitions dropped with their rows, the same name again with another schema, databases of the workload."""
    the_task(cdc)
    for dim in (4, 8):
        utility.drop_collection("u1_again", using="source")
        fields = [
            FieldSchema("id", DataType.INT64, is_primary=True),
            FieldSchema("v", DataType.FLOAT_VECTOR, dim=dim),
        ]
        c = Collection("u1_again", CollectionSchema(fields), using="source", shards_num=dim // 4)
        c.create_partition("p")
        c.insert([[1, 2, 3], [[0.5] * dim] * 3], partition_name="p")
        c.insert([[1, 7, 9], [[0.5] * dim] * 3])
        if dim == 8:
            c.create_index("v", FLAT)
            c.load()
            c.partition("p").release()
            c.drop_partition("p")
    equal(60)
    assert count("u1_again") == 3


def test_R23_a_collection_that_was_dropped_on_the_target_is_held_the_others_go_on(cdc: Cdc) -> None:
    task = the_task(cdc)
    utility.drop_collection("u1_lost", using="target")
    lost, other = make("u1_lost"), make("u1_other")
    for c in (lost, other):
        c.create_index("v", FLAT)
        c.load()
        c.insert(data(0, 10))
    until(lambda: count("u1_lost") == count("u1_other") == 10, 30, "both arrive")
    utility.drop_collection("u1_lost", using="target")
    taken = make("u1_lost", using="target")  # by somebody else
    taken.create_index("v", FLAT)
    taken.load()
    until(lambda: lost.insert(data(10, 1)) and cdc.get(task)["health"]["status"] == "held", 60, "it is on hold")
    other.insert(data(10, 10))
    until(lambda: count("u1_other") == 20, 30, "the others go on")
    late = count("u1_lost")
    assert "u1_lost" in str(cdc.get(task)["health"]), cdc.get(task)["health"]
    lost.insert(data(20, 10))
    other.insert(data(20, 10))
    until(lambda: count("u1_other") == 30, 30, "the others go on")
    assert count("u1_lost") == late, "another one's collection is left alone once that is seen"
    utility.drop_collection("u1_lost", using="source")
    until(lambda: cdc.get(task)["health"]["status"] == "ok", 60, "the drop ends the hold")
    assert has("u1_lost"), "and leaves the other one's collection alone"
    utility.drop_collection("u1_lost", using="target")


def test_SIGKILL_three_times_under_load(cdc: Cdc) -> None:
    task = the_task(cdc)
    start = cdc.progress(task)["journaled"]
    load = Load(rows=9_000, seed=32, seconds=12, float16=False)
    for i in range(1, 4):
        goal = start + i * 2_500
        until(lambda: cdc.progress(task)["journaled"] >= goal or load.over(), 120, "progress")
        cdc.end(signal.SIGKILL)
        cdc.start()
    load.wait()
    equal(90)


def test_the_target_is_killed_and_started_again_under_load(cdc: Cdc) -> None:
    """What it held unflushed is flushed first, as in f1."""
    task = the_task(cdc)
    equal(60)
    flush = [c for c in utility.list_collections(using="target") if c != "archive"]
    connections._fetch_handler("target").flush(flush)
    shop = connections.connect("target_shop", uri=TARGET, db_name="shop")  # noqa: F841
    connections._fetch_handler("target_shop").flush(utility.list_collections(using="target_shop"))
    stack("kill", "target")
    load = Load(rows=8_000, seed=33, seconds=15, float16=False)
    until(lambda: cdc.get(task)["health"]["status"] == "retrying", 30, "health tells of it")
    until(load.over, 120, "all of it is in the journal")
    stack("start", "target")
    load.wait()
    equal(150)
    until(lambda: cdc.get(task)["health"]["status"] == "ok", 90, "nothing is on hold")


def test_the_target_is_frozen_for_15_s_under_load(cdc: Cdc) -> None:
    task = the_task(cdc)
    start = cdc.progress(task)["applied"]
    load = Load(rows=8_000, seed=34, seconds=20, float16=False)
    until(lambda: cdc.progress(task)["applied"] >= start + 2_000 or load.over(), 120, "progress")
    stack("freeze", "target")
    frozen = time.monotonic()
    until(lambda: time.monotonic() - frozen > 15, 30, "15 s")
    stack("thaw", "target")
    load.wait()
    equal(120)
