# SPDX-License-Identifier: Apache-2.0
"""What a task selects, excludes and maps to other names, and several tasks side by side to one target."""

import os
from typing import Any

from cdc import TARGET, Cdc, compare, stack, until
from orders import FLAT, Shape, gone, make, source, target
from pymilvus import Collection, connections, db, utility

ONE = {"uri": TARGET, "token": "root:Milvus", "connect_timeout": 10}


def database(name: str) -> None:
    """At the source, once."""
    if name not in db.list_database(using=source.on()):
        db.create_database(name, using=source.on())


def ready(c: Collection) -> Collection:
    c.create_index("v", FLAT, index_name="by_v")
    c.load()
    return c


def equal(pairs: dict[str, str], rows: int, seconds: float = 60) -> None:
    """Metadata and every row of these, whose names differ; rows: how many the source holds in all."""
    last = compare(seconds, pairs=pairs)
    assert last == f"source {rows:,} rows = target {rows:,} rows, all equal", last


def drop_databases(names: list[str]) -> None:
    for name in names:
        for server in (source, target):
            if name not in db.list_database(using=server.on()):
                continue
            server.drop(*server.names(name), db=name)
            db.drop_database(name, using=server.on())


def refused(cdc: Cdc, status: int, words: list[str], data: dict[str, Any]) -> None:
    got, answer = cdc.ask("create", {"milvus_connect_param": ONE} | data)
    assert got == status and all(word in answer["message"] for word in words), answer


def idle(cdc: Cdc) -> None:
    """No task of an earlier file writes to the target."""
    for shown in cdc.ask("list")[1]["data"]["tasks"]:
        cdc.delete(shown["task_id"])


def test_two_sources_on_one_name_are_refused_at_create(cdc: Cdc) -> None:
    idle(cdc)
    both = [{"name": "b3_a"}, {"name": "b3_b"}]
    refused(cdc, 400, ["default.b3_a", "default.b3_b", "default.b3_x"], {
        "collection_infos": both,
        "name_mapping": [{"collection_mapping": {"b3_a": "b3_x", "b3_b": "b3_x"}}],
    })
    refused(cdc, 400, ["default.b3_a", "default.b3_b"], {
        "collection_infos": both,
        "name_mapping": [{"source_db": "default", "target_db": "default", "collection_mapping": {"b3_a": "b3_b"}}],
    })
    refused(cdc, 400, ["default.*", "b3_shop.*"], {
        "collection_infos": [{"name": "*"}],
        "name_mapping": [{"source_db": "b3_shop", "target_db": "default"}],
    })
    refused(cdc, 400, ["b3_q"], {
        "collection_infos": both, "name_mapping": [{"collection_mapping": {"b3_q": "b3_r"}}],
    })
    assert cdc.ask("list")[1]["data"]["tasks"] == []


def test_several_names_are_one_task_and_what_is_excluded_stays_away(cdc: Cdc) -> None:
    idle(cdc)
    database("b3_shop")
    wanted = [ready(make("b3_a")), ready(make("b3_b"))]
    others = [ready(make("b3_other")), ready(make("b3_tmp", db="b3_shop"))]
    shop = ready(make("b3_events", db="b3_shop"))
    task = cdc.create(
        ["b3_a", "b3_b"], db_collections={"b3_shop": [{"name": "*"}]},
        exclude_collections=[{"db": "b3_shop", "name": "b3_tmp"}, {"db": "*", "name": "b3_later_tmp"}],
    )
    shown = cdc.get(task)
    assert shown["mode"] == "replicate" and shown["exclude_collections"][0] == {"db": "b3_shop", "name": "b3_tmp"}
    for c in wanted + others + [shop]:
        c.insert(Shape().rows(0, 100, "x"))
    later, left = make("b3_later", db="b3_shop"), make("b3_later_tmp", db="b3_shop")
    ready(later).insert(Shape().rows(0, 50, "y"))
    left.insert(Shape().rows(0, 50, "y"))
    names = ["default.b3_a", "default.b3_b", "b3_shop.b3_events", "b3_shop.b3_later"]
    equal({name: name for name in names}, 350)
    assert sorted(target.names("b3_shop")) == ["b3_events", "b3_later"], target.names("b3_shop")
    assert not target.has("b3_other")
    cdc.delete(task)
    for c in wanted + others:
        c.drop()
    target.drop("b3_a", "b3_b")
    drop_databases(["b3_shop"])


def test_names_are_mapped_for_rows_partitions_indexes_and_drops(cdc: Cdc) -> None:
    idle(cdc)
    database("b3_shop")
    shape = Shape(strings=True, shards=2)
    c = make("b3_m", shape)
    c.create_partition("p1")
    ready(c)
    task = cdc.create(
        ["b3_m"], db_collections={"b3_shop": [{"name": "*"}]},
        name_mapping=[
            {"source_db": "default", "target_db": "b3_market", "collection_mapping": {"b3_m": "b3_goods"}},
            {"source_db": "b3_shop", "target_db": "b3_market"},
            {"source_db": "b3_shop", "target_db": "b3_own", "collection_mapping": {"b3_special": "b3_one"}},
        ],
    )
    c.insert(shape.rows(0, 300, "a"))
    c.insert(shape.rows(300, 100, "p"), partition_name="p1")
    c.create_partition("p2")
    c.insert(shape.rows(400, 100, "q"), partition_name="p2")
    c.delete(shape.list(range(0, 20)))
    c.upsert(shape.rows(20, 20, "new"))
    whole = ready(make("b3_events", db="b3_shop"))
    whole.insert(Shape().rows(0, 70, "e"))
    special = ready(make("b3_special", db="b3_shop"))
    special.insert(Shape().rows(0, 30, "s"))
    c.load()  # with the new partition
    pairs = {
        "default.b3_m": "b3_market.b3_goods",
        "b3_shop.b3_events": "b3_market.b3_events",
        "b3_shop.b3_special": "b3_own.b3_one",
    }
    equal(pairs, 580)
    assert not target.has("b3_m") and "b3_shop" not in db.list_database(using=target.on())

    # a drop under the source's name takes the target's; the same name again is another collection
    c.release()
    c.drop_partition("p2")
    c.load()
    equal(pairs, 480)
    c.release()
    c.drop_index(index_name="by_v")
    until(lambda: not Collection("b3_goods", using=target.on("b3_market")).indexes, 30, "the index goes")
    c.drop()
    other = Shape(strings=False, dim=8, shards=1)
    again = ready(make("b3_m", other))
    again.insert(other.rows(0, 40, "again"))
    equal(pairs, 140)
    # our memory of names is durable
    cdc.end()
    cdc.start()
    again.insert(other.rows(40, 10, "after"))
    equal(pairs, 150)
    again.drop()
    gone(["b3_goods"], db="b3_market")
    cdc.delete(task)
    drop_databases(["b3_shop", "b3_market", "b3_own"])


def test_tasks_side_by_side_to_one_target_do_not_disturb_each_other(cdc: Cdc) -> None:
    idle(cdc)
    a, b = ready(make("b3_a")), ready(make("b3_b"))
    first, second = cdc.create(["b3_a"]), cdc.create(["b3_b"])
    refused(cdc, 409, [first, "default.b3_a"], {"collection_infos": [{"name": "b3_a"}]})
    refused(cdc, 409, ["default.b3_a"], {
        "collection_infos": [{"name": "b3_c"}], "name_mapping": [{"collection_mapping": {"b3_c": "b3_a"}}],
    })
    # one source to two names of one target is fine
    third = cdc.create(["b3_a"], name_mapping=[{"collection_mapping": {"b3_a": "b3_copy"}}])
    for c in (a, b):
        c.insert(Shape().rows(0, 200, "x"))
    equal({"default.b3_a": "default.b3_a", "default.b3_b": "default.b3_b"}, 400)

    cdc.pause(first)
    a.insert(Shape().rows(200, 100, "late"))
    b.insert(Shape().rows(200, 100, "on"))
    b.delete(Shape().list(range(0, 10)))
    equal({"default.b3_b": "default.b3_b"}, 290)
    cdc.resume(first)
    b.upsert(Shape().rows(100, 50, "up"))
    equal({"default.b3_a": "default.b3_a", "default.b3_b": "default.b3_b"}, 590)

    cdc.pause(first)
    a.insert(Shape().rows(300, 50, "paused"))
    cdc.end()
    cdc.start()
    b.insert(Shape().rows(300, 50, "restarted"))
    equal({"default.b3_b": "default.b3_b"}, 340)
    cdc.delete(second)
    cdc.resume(first)
    b.insert(Shape().rows(350, 50, "nobody's"))
    equal({"default.b3_a": "default.b3_a"}, 350)
    equal({"default.b3_a": "default.b3_copy"}, 350)
    handler = connections._fetch_handler(target.on())
    (told,) = handler.query("b3_b", "", ["count(*)"], consistency_level="Eventually", timeout=10)
    assert told["count(*)"] == 340, "a deleted task writes no more"
    cdc.delete(first)
    cdc.delete(third)
    for name in ("b3_a", "b3_b"):
        utility.drop_collection(name, using=source.on())
    target.drop("b3_a", "b3_b", "b3_copy")


def target_door(ordinary: bool) -> None:
    """Restarts the target as an ordinary Milvus or as one that takes replicated messages."""
    before = os.environ.get("TARGET_TT")
    os.environ["TARGET_TT"] = "true" if ordinary else "false"
    try:
        stack("stop", "target")
        stack("start", "target")
    finally:
        if before is None:
            del os.environ["TARGET_TT"]
        else:
            os.environ["TARGET_TT"] = before


def test_a_target_that_becomes_an_ordinary_one_is_told_and_nothing_is_held_or_lost(cdc: Cdc) -> None:
    idle(cdc)
    c = ready(make("b3_door"))
    task = cdc.create(["b3_door"])
    c.insert(Shape().rows(0, 50, "x"))
    equal({"default.b3_door": "default.b3_door"}, 50)
    c.flush()  # a restarted target may lose what it has not flushed
    until(lambda: cdc.progress(task)["lag_ms"] < 2000, 30, "the flush is through")
    try:
        target_door(True)
        c.insert(Shape().rows(50, 50, "y"))

        def told() -> bool:
            health = cdc.get(task)["health"]
            return health["status"] == "retrying" and "common.ttMsgEnabled: false" in health["reason"]

        until(told, 60, "health says what to set")
        assert cdc.progress(task)["held_collections"] == 0
    finally:
        target_door(False)
    equal({"default.b3_door": "default.b3_door"}, 100, 120)
    cdc.delete(task)
    utility.drop_collection("b3_door", using=source.on())
    target.drop("b3_door")


def test_a_collection_whose_name_on_the_target_is_taken_is_held_and_the_others_flow(cdc: Cdc) -> None:
    idle(cdc)
    database("b3_shop")
    a = ready(make("b3_a", db="b3_shop"))
    task = cdc.create(
        [], db_collections={"b3_shop": [{"name": "*"}]},
        name_mapping=[{"source_db": "b3_shop", "target_db": "b3_shop", "collection_mapping": {"b3_a": "b3_b"}}],
    )
    a.insert(Shape().rows(0, 50, "a"))
    b = ready(make("b3_b", db="b3_shop"))  # only a "*" selects it: create could not know
    b.insert(Shape().rows(1000, 30, "b"))

    def held() -> bool:
        shown = cdc.get(task)
        return shown["progress"]["held_collections"] == 1 and "b3_b" in shown["health"]["reason"]

    until(held, 60, "the second one waits, and is named")
    a.insert(Shape().rows(50, 50, "a"))
    a.delete(Shape().list(range(0, 5)))
    equal({"b3_shop.b3_a": "b3_shop.b3_b"}, 95)
    cdc.delete(task)
    drop_databases(["b3_shop"])
