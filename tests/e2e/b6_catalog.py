# SPDX-License-Identifier: Apache-2.0
"""What only etcd tells (R9): names, aliases, properties, partition loads; in the journal and on the target."""

import os
import sqlite3
from typing import Any

from cdc import SOURCE, TARGET, Cdc, compare, etcdctl, until
from pymilvus import Collection, CollectionSchema, DataType, FieldSchema, Partition, connections, db, utility

connections.connect("default", uri=SOURCE)
connections.connect("target", uri=TARGET)
FLAT: dict[str, Any] = {"index_type": "FLAT", "metric_type": "L2", "params": {}}
NAMES = ["b6_a", "b6_b", "b6_c", "b6_p"]
task = ""


def make(name: str) -> Collection:
    schema = CollectionSchema(
        [FieldSchema("id", DataType.INT64, is_primary=True), FieldSchema("v", DataType.FLOAT_VECTOR, dim=4)]
    )
    c = Collection(name, schema, shards_num=1)
    c.create_index("v", FLAT)
    return c


def clean() -> None:
    """What an earlier run left on either side."""
    for using in ("default", "target"):
        handler = connections._fetch_handler(using)
        for name in ("b6_alias", "b6_other"):
            if utility.has_collection(name, using=using) and describe(name, using)["collection_name"] != name:
                handler.drop_alias(name)
        for name in utility.list_collections(using=using):
            if name.startswith("b6_"):
                utility.drop_collection(name, using=using)
        if "b6_db" in db.list_database(using=using):
            inside = f"b6_inside_{using}"
            connections.connect(inside, uri=SOURCE if using == "default" else TARGET, db_name="b6_db")
            for name in utility.list_collections(using=inside):
                utility.drop_collection(name, using=inside)
            db.drop_database("b6_db", using=using)


def insert(name: str, first: int, n: int) -> None:
    Collection(name).insert([list(range(first, first + n)), [[float(i)] * 4 for i in range(n)]])


def journaled(cdc: Cdc, kind: int) -> list[tuple[int, str]]:
    """IDs and names of the journal's entries of one kind, in order."""
    found = []
    for path in sorted(cdc.data.glob(f"**/{task}/**/journal/*.db")):
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as file:
            found += file.execute(
                "SELECT collection_id, collection FROM entry WHERE kind = ? ORDER BY seq", (kind,)
            ).fetchall()
    return found


def describe(name: str, using: str) -> dict[str, Any]:
    return dict(connections._fetch_handler(using).describe_collection(name))


def stored_on_target(name: str) -> str:
    """What its etcd has of the collection."""
    key = f"by-dev/meta/root-coord/database/collection-info/1/{describe(name, 'target')['collection_id']}"
    return etcdctl(os.environ["TARGET_ETCD"], "get", "--print-value-only", key)


def ids(name: str) -> set[int]:
    handler = connections._fetch_handler("target")
    rows = handler.query(name, "id >= 0", ["id"], consistency_level="Eventually", timeout=10)
    return {row["id"] for row in rows}


def loaded(name: str, partition: str, using: str) -> str:
    return str(utility.load_state(name, [partition], using=using))


def test_R9_aliases_and_partition_loads_of_the_start_are_in_the_first_cut(cdc: Cdc) -> None:
    global task
    clean()
    for name in NAMES:
        make(name)
    p = Collection("b6_p")
    for part in ("x", "y", "z"):
        p.create_partition(part)
    p.load(["x", "y"])
    utility.create_alias("b6_a", "b6_alias")
    task = cdc.create([*NAMES, "b6_alias"])
    until(lambda: describe("b6_alias", "target")["collection_name"] == "b6_a", 30, "the alias is on the target")
    until(lambda: loaded("b6_p", "y", "target") == "Loaded", 60, "y is loaded on the target")
    assert loaded("b6_p", "z", "target") == "NotLoad"
    assert len(journaled(cdc, 23)) == 1 and len(journaled(cdc, 28)) == 1 and not journaled(cdc, 18)


def test_R9_partitions_follow_one_by_one_and_the_whole_with_its_exceptions(cdc: Cdc) -> None:
    p = Collection("b6_p")
    Partition(p, "x").release()
    p.load(["z"])
    until(lambda: loaded("b6_p", "z", "target") == "Loaded", 60, "z is loaded")
    until(lambda: loaded("b6_p", "x", "target") == "NotLoad", 60, "x is released")
    assert len(journaled(cdc, 29)) == 1
    p.load()
    until(lambda: loaded("b6_p", "x", "target") == "Loaded", 60, "all is loaded")
    p.create_partition("w")
    until(lambda: loaded("b6_p", "w", "target") == "Loaded", 60, "a new partition of the whole is loaded, too")
    Partition(p, "y").release()
    until(lambda: loaded("b6_p", "y", "target") == "NotLoad", 60, "y is released")
    assert loaded("b6_p", "w", "target") == "Loaded"
    p.load(["y"])
    until(lambda: loaded("b6_p", "y", "target") == "Loaded", 60, "y is loaded again")
    p.release()
    until(lambda: str(utility.load_state("b6_p", using="target")) == "NotLoad", 60, "all is released")


def test_R9_names_swapped_and_taken_keep_their_rows(cdc: Cdc) -> None:
    for i, name in enumerate(NAMES[:3]):
        Collection(name).load()
        insert(name, 100 * i, 10)
    utility.rename_collection("b6_a", "b6_t")
    utility.rename_collection("b6_b", "b6_a")
    utility.rename_collection("b6_t", "b6_b")
    insert("b6_a", 1000, 5)
    until(lambda: ids("b6_a") == {*range(100, 110), *range(1000, 1005)}, 60, "b's rows are in a")
    until(lambda: ids("b6_b") == set(range(10)), 60, "a's rows are in b")
    assert describe("b6_alias", "target")["collection_name"] == "b6_b", "the alias goes by ID"
    utility.rename_collection("b6_c", "b6_d")
    make("b6_c").load()
    insert("b6_c", 500, 3)
    until(lambda: ids("b6_c") == {500, 501, 502}, 60, "a new one under the old name")
    until(lambda: ids("b6_d") == set(range(200, 210)), 60, "the old one under its new name")


def test_R9_a_move_to_another_database_and_back(cdc: Cdc) -> None:
    db.create_database("b6_db")
    utility.rename_collection("b6_d", "b6_d", "b6_db")
    until(lambda: not utility.has_collection("b6_d", using="target"), 30, "it has left the old database")
    connections.connect("b6_source", uri=SOURCE, db_name="b6_db")
    connections.connect("b6_target", uri=TARGET, db_name="b6_db")
    until(lambda: utility.has_collection("b6_d", using="b6_target"), 30, "it is in the new one")
    utility.rename_collection("b6_d", "b6_e", "default", using="b6_source")
    until(lambda: utility.has_collection("b6_e", using="target"), 30, "it is back under another name")
    db.drop_database("b6_db")
    until(lambda: "b6_db" not in db.list_database(using="target"), 30, "its database is dropped")


def test_R9_aliases_move_and_go_with_their_collection(cdc: Cdc) -> None:
    utility.alter_alias("b6_a", "b6_alias")
    until(lambda: describe("b6_alias", "target")["collection_name"] == "b6_a", 30, "the alias has moved")
    Collection("b6_a").release()
    utility.drop_collection("b6_a")  # a 2.3.5 leaves the alias in etcd
    until(lambda: not utility.has_collection("b6_a", using="target"), 30, "the drop arrives")
    utility.drop_alias("b6_alias")
    make("b6_alias").load()
    insert("b6_alias", 0, 4)
    until(lambda: ids("b6_alias") == set(range(4)), 60, "a collection under the alias's name")
    utility.create_alias("b6_b", "b6_other")
    until(lambda: describe("b6_other", "target")["collection_name"] == "b6_b", 30, "a new alias")
    utility.drop_alias("b6_other")
    until(lambda: not utility.has_collection("b6_other", using="target"), 30, "the alias is dropped")


def test_R9_properties_of_a_collection_arrive(cdc: Cdc) -> None:
    # a 2.3.5 writes to etcd, with each change, what was before it: so the first shows with the second
    for _ in range(2):
        Collection("b6_b").set_properties({"collection.ttl.seconds": 86400})
    until(lambda: "86400" in str(describe("b6_b", "target").get("properties")), 30, "the property is on the target")
    until(lambda: "86400" in stored_on_target("b6_b"), 10, "the target has written it, too")
    assert len(journaled(cdc, 21)) == 1


def test_R14_a_restart_repeats_none_of_it(cdc: Cdc) -> None:
    before = {kind: len(journaled(cdc, kind)) for kind in range(21, 30)}
    cdc.end()
    cdc.start()
    insert("b6_b", 3000, 3)
    until(lambda: {3000, 3001, 3002} <= ids("b6_b"), 60, "rows after the restart")
    assert {kind: len(journaled(cdc, kind)) for kind in range(21, 30)} == before
    assert compare(60, [f"default.{n}" for n in ("b6_b", "b6_c", "b6_e", "b6_alias", "b6_p")])


def test_cleanup(cdc: Cdc) -> None:
    cdc.delete(task)
    clean()
