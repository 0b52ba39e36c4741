# SPDX-License-Identifier: Apache-2.0
"""Every operation, seen on the target by an independent client."""

from typing import Any

from cdc import SOURCE, TARGET, Cdc, compare, until
from pymilvus import Collection, CollectionSchema, DataType, FieldSchema, connections, db, utility

connections.connect("source", uri=SOURCE)
connections.connect("target", uri=TARGET)
connections.connect("default", uri=SOURCE)
FLAT: dict[str, Any] = {"index_type": "FLAT", "metric_type": "L2", "params": {}}
task = ""


def rows(name: str, expr: str, alias: str = "target", fields: list[str] | None = None) -> list[dict[str, Any]]:
    handler = connections._fetch_handler(alias)
    return list(handler.query(name, expr, fields or ["*"], consistency_level="Eventually", timeout=10))


def make(name: str, using: str = "source", **more: Any) -> Collection:
    if utility.has_collection(name, using=using):
        utility.drop_collection(name, using=using)
    schema = CollectionSchema(
        [
            FieldSchema("id", DataType.INT64, is_primary=True),
            FieldSchema("s", DataType.VARCHAR, max_length=64),
            FieldSchema("v", DataType.FLOAT_VECTOR, dim=4),
        ],
        **more,
    )
    return Collection(name, schema, using=using, shards_num=2)


def data(first: int, n: int, word: str = "x") -> list[Any]:
    return [list(range(first, first + n)), [f"{word}{i}" for i in range(n)], [[float(i)] * 4 for i in range(n)]]


def has(name: str, alias: str = "target") -> bool:
    return bool(utility.has_collection(name, using=alias))


def test_R3_what_exists_is_made_on_the_target_and_followed_from_now(cdc: Cdc) -> None:
    global task
    old = make("b2_old")
    old.create_partition("p1")
    old.insert(data(0, 10))
    old.create_index("v", FLAT)
    old.load()
    task = cdc.create()
    old.insert(data(100, 5, "new"))  # acknowledged after create: must arrive
    until(lambda: len(rows("b2_old", "id >= 100")) == 5, 30, "rows after the start arrive")
    assert rows("b2_old", "id < 100") == [], "rows from before the start are not copied"
    assert utility.has_partition("b2_old", "p1", using="target")
    utility.drop_collection("b2_old", using="source")
    until(lambda: not has("b2_old"), 30, "the drop arrives")


def test_create_collection_insert_index_load_are_seen(cdc: Cdc) -> None:
    c = make("b2", enable_dynamic_field=True)
    until(lambda: has("b2"), 30, "the collection arrives")
    c.create_index("v", {"index_type": "IVF_FLAT", "metric_type": "L2", "params": {"nlist": 7}}, index_name="vi")
    c.load()
    c.insert(data(0, 1000))
    until(lambda: len(rows("b2", "id >= 0", fields=["id"])) == 1000, 30, "the rows arrive")
    (index,) = Collection("b2", using="target").indexes
    assert index.params["index_type"] == "IVF_FLAT" and index.params["params"]["nlist"] == 7, index.params
    assert rows("b2", "id == 5")[0]["s"] == "x5"


def test_delete_by_key_and_by_expression(cdc: Cdc) -> None:
    c = Collection("b2", using="source")
    c.delete("id in [1, 2, 3]")
    c.delete("id in [10, 11]", partition_name="_default")
    until(lambda: len(rows("b2", "id < 20", fields=["id"])) == 15, 30, "the deletes arrive")


def test_upsert_replaces_and_keeps_one_row_a_key(cdc: Cdc) -> None:
    c = Collection("b2", using="source")
    for word in ("first", "second", "third"):
        c.upsert(data(20, 10, word))
    until(lambda: {r["s"][:5] for r in rows("b2", "id >= 20 and id < 30")} == {"third"}, 30, "the last one wins")
    assert len(rows("b2", "id >= 20 and id < 30")) == 10
    counted = connections._fetch_handler("target").query("b2", "", ["count(*)"], consistency_level="Eventually")
    assert counted[0]["count(*)"] == 995, counted


def test_partitions_come_and_go_also_while_loaded(cdc: Cdc) -> None:
    c = Collection("b2", using="source")
    c.create_partition("p")
    until(lambda: utility.has_partition("b2", "p", using="target"), 30, "the partition arrives")
    c.release()
    c.load()
    c.insert(data(5000, 100), partition_name="p")
    until(lambda: len(rows("b2", "id >= 5000", fields=["id"])) == 100, 30, "its rows arrive")
    c.release()
    c.drop_partition("p")
    c.load()
    until(lambda: not utility.has_partition("b2", "p", using="target"), 30, "the partition goes (R25)")
    until(lambda: len(rows("b2", "id >= 0", fields=["id"])) == 995, 30, "its rows go, the others stay, loaded")


def test_flush_reaches_the_target(cdc: Cdc) -> None:
    Collection("b2", using="source").flush()

    def flushed() -> bool:
        stats = connections._fetch_handler("target").get_collection_stats("b2")
        return int(stats[0].value) > 0

    until(flushed, 60, "flushed rows on the target")


def test_release_index_drop_and_another_index(cdc: Cdc) -> None:
    c = Collection("b2", using="source")
    c.release()

    def released() -> bool:
        return str(utility.load_state("b2", using="target")) == "NotLoad"

    until(released, 30, "released")
    c.drop_index(index_name="vi")
    until(lambda: not Collection("b2", using="target").indexes, 30, "the index goes")
    params = {"index_type": "HNSW", "metric_type": "L2", "params": {"M": 8, "efConstruction": 64}}
    c.create_index("v", params, index_name="again")
    until(lambda: Collection("b2", using="target").indexes[0].params["index_type"] == "HNSW", 30, "the new index")
    c.load()
    until(lambda: len(rows("b2", "id >= 0", fields=["id"])) == 995, 60, "loaded again")


def test_databases_come_and_go(cdc: Cdc) -> None:
    db.create_database("b2_db", using="source")
    until(lambda: "b2_db" in db.list_database(using="target"), 30, "the database arrives")
    connections.connect("source_db", uri=SOURCE, db_name="b2_db")
    c = make("inside", using="source_db")
    c.create_index("v", FLAT)
    c.load()
    c.insert(data(0, 10))
    connections.connect("target_db", uri=TARGET, db_name="b2_db")
    until(lambda: len(rows("inside", "id >= 0", "target_db")) == 10, 30, "rows in another database")
    c.drop()
    db.drop_database("b2_db", using="source")
    until(lambda: "b2_db" not in db.list_database(using="target"), 60, "the database goes")


def test_R9_drop_and_create_of_one_name_at_once(cdc: Cdc) -> None:
    for i in range(3):
        c = make("b2_again")
        c.create_index("v", FLAT)
        c.load()
        c.insert(data(i * 100, 20 + i))
    until(lambda: len(rows("b2_again", "id >= 0")) == 22, 60, "the last one's rows")
    assert min(r["id"] for r in rows("b2_again", "id >= 0")) == 200
    utility.drop_collection("b2_again", using="source")
    until(lambda: not has("b2_again"), 30, "the drop arrives")


def test_R26_a_foreign_collection_of_the_target_is_left_alone(cdc: Cdc) -> None:
    make("foreign", using="target")
    c = make("b2_other")
    c.create_index("v", FLAT)
    c.load()
    c.insert(data(0, 3))
    until(lambda: len(rows("b2_other", "id >= 0")) == 3, 60, "replication goes on beside it")
    assert has("foreign")
    utility.drop_collection("foreign", using="target")
    utility.drop_collection("b2_other", using="source")
    until(lambda: not has("b2_other"), 30, "the drop arrives")


def test_R7_a_collection_created_and_dropped_at_once_leaves_nothing(cdc: Cdc) -> None:
    for i in range(5):
        c = make("b2_brief")
        c.insert(data(0, 10))
        c.drop()
    make("b2_after").insert(data(0, 1))
    until(lambda: has("b2_after"), 30, "later things arrive")
    until(lambda: not has("b2_brief"), 30, "nothing is left")
    utility.drop_collection("b2_after", using="source")
    utility.drop_collection("b2", using="source")
    until(lambda: not has("b2_after") and not has("b2"), 30, "the drops arrive")


def test_everything_is_equal_at_the_end(cdc: Cdc) -> None:
    assert "all equal" in compare(60)
    health = cdc.get(task)["health"]
    assert health["status"] == "ok", health
