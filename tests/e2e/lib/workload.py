#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Drives a Milvus with a mixed, repeatable workload, as a client would.

Two databases; collections with int64, varchar and generated keys, with a dynamic field, with a
partition key; every field type of the server; inserts, upserts, deletes by key and by range,
partitions and collections created and dropped on the way, indexes, load, flush. The same seed
gives the same operations (only generated keys differ), and the run ends with an exact number of
rows, which is checked at the end.

A 2.3.5 server takes float16 vectors through and through, though pymilvus 2.3.7 has no such type
and cannot even describe a collection with one: Workload.halves() speaks to the server's stub.
bfloat16 is half there (a collection can be created, index and insert are refused): not in here.

Its query node ends for good, though, when two inserts of them into one segment arrive within a tick:
--no-float16 where an insert may be repeated, as after a crash of the replicator of an ordinary target.

    workload.py --uri URI [--rows N] [--seed N] [--seconds S] [--no-float16]

runs in the foreground and prints its progress; start it with & to have it in the background.
"""

import argparse
import math
import random
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pymilvus import (
    Collection,
    CollectionSchema,
    DataType,
    FieldSchema,
    connections,
    db,
    utility,
)
from pymilvus.client.utils import check_status
from pymilvus.grpc_gen import milvus_pb2, schema_pb2

Row = dict[str, Any]
Rows = list[Row]

SECOND_DB = "shop"
BATCH = 200  # rows of an insert at most
DIM = 8
FLOAT16_VECTOR = 102
HALVES = 10  # rows with float16 vectors
WORDS = ["north", "South West", "", "'quoted\"", "back\\slash", "žluťoučký", "日本", "🙂", "x" * 60]


def float32(value: float) -> float:
    """Rounded to what a float field holds."""
    return struct.unpack("f", struct.pack("f", value))[0]


def vector(rnd: random.Random) -> list[float]:
    return [float32(rnd.uniform(-1, 1)) for _ in range(DIM)]


def json_value(rnd: random.Random) -> Any:
    return {
        "n": rnd.randrange(-1000, 1000),
        "deep": {"list": [1, 2.5, None, rnd.choice(WORDS)], "flag": rnd.random() < 0.5},
    }


@dataclass
class Table:
    """A collection: how it is made, how its rows look, and which rows it has."""

    name: str
    fields: list[FieldSchema]
    make: Callable[[random.Random], Row]  # the fields other than the key
    vector: str
    index: dict[str, Any]
    share: int  # of the rows of all collections, in percent
    database: str = "default"
    options: dict[str, Any] = field(default_factory=dict)
    schema: dict[str, Any] = field(default_factory=dict)
    partitions: list[str] = field(default_factory=lambda: ["_default"])
    scalar_indexes: dict[str, dict[str, str]] = field(default_factory=dict)
    loaded: bool = True
    live: dict[Any, str] = field(default_factory=dict)  # key -> partition
    used: int = 0  # keys given out

    @property
    def primary(self) -> FieldSchema:
        return self.fields[0]

    @property
    def keyed(self) -> bool:
        return any(f.is_partition_key for f in self.fields)

    def key(self) -> Any:
        self.used += 1
        if self.primary.dtype == DataType.VARCHAR:
            return f"{WORDS[self.used % 8]}{self.used}"
        return (self.used - 500) * 7  # negative ones as well

    def server(self) -> Collection:
        return Collection(self.name, using=self.database)


def orders_row(rnd: random.Random) -> Row:
    return {
        "paid": rnd.random() < 0.5,
        "tiny": rnd.randrange(-128, 128),
        "small": rnd.randrange(-(2**15), 2**15),
        "qty": rnd.randrange(-(2**31), 2**31),
        "big": rnd.randrange(-(2**63), 2**63),
        "price": rnd.choice([0.0, -0.0, math.nan, -math.inf, float32(rnd.gauss(0, 1e6))]),
        "exact": rnd.choice([rnd.gauss(0, 1e12), 1e-300, 1.7e308, math.nan]),
        "note": rnd.choice(WORDS),
        "embedding": vector(rnd),
        # not in the schema: kept in the dynamic field
        **({"color": rnd.choice(WORDS), "tags": [rnd.random(), "a"]} if rnd.random() < 0.7 else {}),
    }


def people_row(rnd: random.Random) -> Row:
    def some(make: Callable[[], Any]) -> list[Any]:
        return [make() for _ in range(rnd.randrange(0, 5))]

    return {
        "doc": rnd.choice([json_value(rnd), {}, {"only": rnd.choice(WORDS)}]),
        "bools": some(lambda: rnd.random() < 0.5),
        "int8s": some(lambda: rnd.randrange(-128, 128)),
        "int16s": some(lambda: rnd.randrange(-(2**15), 2**15)),
        "int32s": some(lambda: rnd.randrange(-(2**31), 2**31)),
        "int64s": some(lambda: rnd.randrange(-(2**63), 2**63)),
        "floats": some(lambda: float32(rnd.gauss(0, 1))),
        "doubles": some(lambda: rnd.gauss(0, 1)),
        "strings": some(lambda: rnd.choice(WORDS)),
        "face": vector(rnd),
    }


def events_row(rnd: random.Random) -> Row:
    return {"kind": rnd.choice(WORDS), "bits": rnd.randbytes(8)}


def tenants_row(rnd: random.Random) -> Row:
    return {
        "tenant": f"tenant {rnd.randrange(40)}",
        "at": rnd.randrange(2**40),
        "spot": vector(rnd),
        "extra": json_value(rnd),  # dynamic
    }


def log_row(rnd: random.Random) -> Row:
    return {"line": rnd.choice(WORDS) * rnd.randrange(1, 30), "v": vector(rnd)}


def array(name: str, element: DataType, **more: Any) -> FieldSchema:
    return FieldSchema(name, DataType.ARRAY, element_type=element, max_capacity=8, **more)


def tables() -> list[Table]:
    f, t = FieldSchema, DataType
    return [
        Table(
            "orders",
            [
                f("id", t.INT64, is_primary=True),
                f("paid", t.BOOL),
                f("tiny", t.INT8),
                f("small", t.INT16),
                f("qty", t.INT32),
                f("big", t.INT64),
                f("price", t.FLOAT),
                f("exact", t.DOUBLE),
                f("note", t.VARCHAR, max_length=256, description="free text"),
                f("embedding", t.FLOAT_VECTOR, dim=DIM),
            ],
            orders_row,
            "embedding",
            {"index_type": "HNSW", "metric_type": "L2", "params": {"M": 8, "efConstruction": 64}},
            40,
            options={"num_shards": 2, "consistency_level": "Strong"},
            schema={"enable_dynamic_field": True, "description": "all scalar types"},
            partitions=["_default", "north", "south"],
            scalar_indexes={"qty": {"index_type": "STL_SORT"}, "note": {"index_type": "Trie"}},
        ),
        Table(
            "people",
            [
                f("name", t.VARCHAR, is_primary=True, max_length=128),
                f("doc", t.JSON),
                array("bools", t.BOOL),
                array("int8s", t.INT8),
                array("int16s", t.INT16),
                array("int32s", t.INT32),
                array("int64s", t.INT64),
                array("floats", t.FLOAT),
                array("doubles", t.DOUBLE),
                array("strings", t.VARCHAR, max_length=128),
                f("face", t.FLOAT_VECTOR, dim=DIM),
            ],
            people_row,
            "face",
            {"index_type": "IVF_FLAT", "metric_type": "IP", "params": {"nlist": 16}},
            20,
            options={"num_shards": 2, "consistency_level": "Session"},
        ),
        Table(
            "events",
            [
                f("id", t.INT64, is_primary=True, auto_id=True),
                f("kind", t.VARCHAR, max_length=64),
                f("bits", t.BINARY_VECTOR, dim=64),
            ],
            events_row,
            "bits",
            {"index_type": "BIN_FLAT", "metric_type": "HAMMING", "params": {}},
            10,
            database=SECOND_DB,
            options={"num_shards": 1, "properties": {"collection.ttl.seconds": 30 * 86400}},
        ),
        Table(
            "tenants",
            [
                f("id", t.INT64, is_primary=True),
                f("tenant", t.VARCHAR, max_length=64, is_partition_key=True),
                f("at", t.INT64),
                f("spot", t.FLOAT_VECTOR, dim=DIM),
            ],
            tenants_row,
            "spot",
            {"index_type": "FLAT", "metric_type": "COSINE", "params": {}},
            20,
            database=SECOND_DB,
            options={"num_shards": 3, "num_partitions": 8, "consistency_level": "Eventually"},
            schema={"enable_dynamic_field": True},
        ),
        Table(
            "log",
            [
                f("id", t.VARCHAR, is_primary=True, auto_id=True, max_length=64),
                f("line", t.VARCHAR, max_length=4096),
                f("v", t.FLOAT_VECTOR, dim=DIM),
            ],
            log_row,
            "v",
            {"index_type": "AUTOINDEX", "metric_type": "L2", "params": {}},
            10,
            options={"num_shards": 1},
        ),
        Table(
            "archive",
            [f("id", t.INT64, is_primary=True), f("v", t.FLOAT_VECTOR, dim=DIM)],
            lambda rnd: {"v": vector(rnd)},
            "v",
            {"index_type": "FLAT", "metric_type": "L2", "params": {}},
            0,
            loaded=False,
        ),
    ]


class Workload:
    """One run. `ops` counts what was done; `stop` ends it early, between two operations."""

    def __init__(
        self,
        uri: str,
        seed: int = 1,
        say: Callable[[str], None] = lambda line: None,
        float16: bool = True,
    ) -> None:
        self.rnd = random.Random(seed)
        self.say = say
        self.half_rows = HALVES if float16 else 0
        self.stop = threading.Event()
        self.tables = tables()
        self.ops = {"insert": 0, "upsert": 0, "delete": 0}
        connections.connect("default", uri=uri, timeout=30)
        if SECOND_DB not in db.list_database():
            db.create_database(SECOND_DB)
        connections.connect(SECOND_DB, uri=uri, db_name=SECOND_DB, timeout=30)

    def create(self) -> None:
        self.drop()
        for table in self.tables:
            self.create_table(table)
        if self.half_rows:
            self.halves()
        for table in self.tables:  # they load side by side
            if table.loaded:
                utility.wait_for_loading_complete(table.name, using=table.database)
        self.say("loaded all")

    def create_table(self, table: Table) -> None:
        schema = CollectionSchema(table.fields, **table.schema)
        collection = Collection(table.name, schema, using=table.database, **table.options)
        for partition in table.partitions[1:]:
            collection.create_partition(partition)
        collection.create_index(table.vector, table.index, index_name=f"by_{table.vector}")
        for name, params in table.scalar_indexes.items():
            collection.create_index(name, params, index_name=f"by_{name}")
        if table.loaded:
            collection.load(_async=True)
        self.say(f"created {table.database}.{table.name}")

    # --- operations ------------------------------------------------------------------------------

    def insert(self, table: Table, count: int) -> None:
        partition = self.rnd.choice(table.partitions)
        rows = [table.make(self.rnd) for _ in range(count)]
        keys = None
        if not table.primary.auto_id:
            keys = [table.key() for _ in rows]
            rows = [{table.primary.name: key} | row for key, row in zip(keys, rows)]
        result = table.server().insert(rows, partition_name=self.named(table, partition))
        table.live |= dict.fromkeys(keys or result.primary_keys, partition)
        self.ops["insert"] += count

    def upsert(self, table: Table, count: int) -> None:
        """New values for rows that are there, within their partition."""
        partition, keys = self.pick(table, count)
        rows = [{table.primary.name: key} | table.make(self.rnd) for key in keys]
        table.server().upsert(rows, partition_name=self.named(table, partition))
        self.ops["upsert"] += len(rows)

    def delete(self, table: Table, count: int) -> None:
        partition, keys = self.pick(table, count)
        name = self.named(table, partition) if self.rnd.random() < 0.5 else None
        listed = ", ".join(quoted(key) if isinstance(key, str) else str(key) for key in keys)
        table.server().delete(f"{table.primary.name} in [{listed}]", partition_name=name)
        for key in keys:
            del table.live[key]
        self.ops["delete"] += len(keys)

    def delete_range(self, table: Table, count: int) -> None:
        """By a condition that the server resolves itself; it needs a loaded collection."""
        keys = sorted(table.live)[:count]
        table.server().delete(f"{table.primary.name} <= {keys[-1]}", consistency_level="Strong")
        for key in keys:
            del table.live[key]
        self.ops["delete"] += len(keys)

    def pick(self, table: Table, count: int) -> tuple[str, list[Any]]:
        partition = table.live[self.rnd.choice(list(table.live))]
        keys = [key for key, where in table.live.items() if where == partition]
        return partition, self.rnd.sample(keys, min(count, len(keys)))

    @staticmethod
    def named(table: Table, partition: str) -> str | None:
        return None if table.keyed else partition

    def step(self, table: Table, goal: int) -> None:
        """One operation that moves the table towards its goal; the last insert meets it exactly."""
        missing = goal - len(table.live)
        chance = self.rnd.random()
        generated = table.primary.auto_id  # such rows can be neither upserted nor repeated
        if missing <= 0 or (chance < 0.15 and len(table.live) > 2 * BATCH // 10):
            count = self.rnd.randint(1, BATCH // 10)
            if missing < 0:
                count = min(count, -missing)
            numbers = table.primary.dtype == DataType.INT64 and not generated
            if numbers and chance < 0.05:
                self.delete_range(table, count)
            else:
                self.delete(table, count)
        elif chance < 0.4 and table.live and not generated:
            self.upsert(table, self.rnd.randint(1, BATCH // 4))
        else:
            self.insert(table, min(missing, self.rnd.randint(1, BATCH)))

    # --- structure changing on the way -----------------------------------------------------------

    def add_partition(self) -> None:
        table = self.tables[0]
        table.server().create_partition("west")
        table.partitions.append("west")
        self.say("created partition west")

    def drop_partition(self) -> None:
        table = self.tables[0]
        partition = table.server().partition("south")
        partition.release()
        partition.drop()
        table.partitions.remove("south")
        table.live = {key: where for key, where in table.live.items() if where != "south"}
        self.say("dropped partition south with its rows")

    def scratch(self, dim: int) -> None:
        """A collection of the same name again and again, each time another one."""
        if utility.has_collection("scratch"):
            utility.drop_collection("scratch")
        fields = [
            FieldSchema("id", DataType.INT64, is_primary=True),
            FieldSchema("v", DataType.FLOAT_VECTOR, dim=dim),
        ]
        collection = Collection("scratch", CollectionSchema(fields), num_shards=2)
        collection.insert([{"id": i, "v": [float32(i / dim)] * dim} for i in range(dim)])
        collection.create_index("v", {"index_type": "FLAT", "metric_type": "L2", "params": {}})
        collection.load(_async=True)
        self.say(f"created scratch with {dim} dimensions")

    def halves(self) -> None:
        """A collection with float16 vectors, by requests of our own."""
        stub = connections._fetch_handler("default")._stub
        schema = schema_pb2.CollectionSchema(name="halves")
        schema.fields.add(fieldID=100, name="id", is_primary_key=True, data_type=DataType.INT64)
        vectors = schema.fields.add(fieldID=101, name="v", data_type=FLOAT16_VECTOR)
        vectors.type_params.add(key="dim", value=str(DIM))
        index = {"index_type": "FLAT", "metric_type": "L2"}
        ids = schema_pb2.ScalarField(long_data=schema_pb2.LongArray(data=range(HALVES)))
        floats = (self.rnd.uniform(-1, 1) for _ in range(HALVES * DIM))
        packed = struct.pack(f"{HALVES * DIM}e", *floats)
        data = [
            schema_pb2.FieldData(type=DataType.INT64, field_name="id", scalars=ids),
            schema_pb2.FieldData(
                type=FLOAT16_VECTOR,
                field_name="v",
                vectors=schema_pb2.VectorField(dim=DIM, float16_vector=packed),
            ),
        ]
        name = {"collection_name": "halves"}
        for status in (
            stub.CreateCollection(
                milvus_pb2.CreateCollectionRequest(
                    **name, schema=schema.SerializeToString(), shards_num=1
                )
            ),
            stub.CreateIndex(
                milvus_pb2.CreateIndexRequest(
                    **name,
                    field_name="v",
                    index_name="by_v",
                    extra_params=[{"key": k, "value": v} for k, v in index.items()],
                )
            ),
            stub.LoadCollection(milvus_pb2.LoadCollectionRequest(**name, replica_number=1)),
            stub.Insert(
                milvus_pb2.InsertRequest(**name, num_rows=HALVES, fields_data=data)
            ).status,
        ):
            check_status(status)
        self.say("created default.halves")

    def run(self, rows: int, seconds: float = 0) -> int:
        """Works until there are exactly that many rows, for at least that many seconds; returns
        the number of rows there are."""
        goals = [rows * table.share // 100 for table in self.tables]
        scratch_dims = [2, 4, 16]
        goals[0] += rows - sum(goals) - scratch_dims[-1] - self.half_rows
        steps = [
            (0.1, lambda: self.scratch(scratch_dims[0])),
            (0.3, self.add_partition),
            (0.4, lambda: self.scratch(scratch_dims[1])),
            (0.5, self.drop_partition),
            (0.6, self.flush),
            (0.8, lambda: self.scratch(scratch_dims[2])),
        ]
        start, said = time.monotonic(), 0
        while not self.stop.is_set():
            done = sum(len(table.live) for table in self.tables) / max(1, sum(goals))
            while steps and done >= steps[0][0]:
                steps.pop(0)[1]()
            unfinished = [i for i, t in enumerate(self.tables) if len(t.live) != goals[i]]
            if not unfinished:
                break
            i = self.rnd.choice(unfinished)
            self.step(self.tables[i], goals[i])
            if int(done * 10) > said:
                said = int(done * 10)
                self.say(f"{done:4.0%}, " + ", ".join(f"{n:,} {op}s" for op, n in self.ops.items()))
            ahead = start + seconds * min(1, done) - time.monotonic()
            if ahead > 0:
                self.stop.wait(ahead)
        return self.check()

    def flush(self) -> None:
        for database in ("default", SECOND_DB):
            names = [table.name for table in self.tables if table.database == database]
            connections._fetch_handler(database).flush(names)
        self.say("flushed all")

    def check(self) -> int:
        """Counts all rows on the server; raises if a table has not what it was given."""
        total = count("halves", "default") if self.half_rows else 0
        if utility.has_collection("scratch"):
            utility.wait_for_loading_complete("scratch")
            total += count("scratch", "default")
        for table in self.tables:
            if table.loaded:
                rows = count(table.name, table.database)
                if rows != len(table.live):
                    raise AssertionError(f"{table.name}: {rows} rows, not {len(table.live)}")
                total += rows
        return total

    def drop(self) -> None:
        """Removes all that create and run made, also in an earlier run."""
        for table in self.tables:
            if utility.has_collection(table.name, using=table.database):
                utility.drop_collection(table.name, using=table.database)
        left = set(utility.list_collections())
        for name in ("scratch", "halves"):
            if name in left:
                utility.drop_collection(name)


def count(name: str, database: str) -> int:
    rows = connections._fetch_handler(database).query(
        name, "", ["count(*)"], consistency_level="Strong", timeout=60
    )
    return rows[0]["count(*)"]


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def seed_small(uri: str, seed: int = 1) -> Workload:
    """Every kind of collection with a few rows each: 600 in all."""
    workload = Workload(uri, seed)
    workload.create()
    workload.run(600)
    return workload


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--uri", required=True)
    parser.add_argument("--rows", type=int, default=25_000, help="at the end (25000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0, help="spread the work over that time")
    parser.add_argument("--no-float16", action="store_true", help="without float16 vectors")
    args = parser.parse_args()
    if args.rows < 200:
        parser.error("--rows: at least 200")
    workload = Workload(
        args.uri, args.seed, lambda line: print(line, flush=True), not args.no_float16
    )
    workload.create()
    rows = workload.run(args.rows, args.seconds)
    print(f"{rows:,} rows; " + ", ".join(f"{n:,} {op}s" for op, n in workload.ops.items()))
    return 0 if rows == args.rows else 1


if __name__ == "__main__":
    sys.exit(main())
