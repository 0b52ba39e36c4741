# SPDX-License-Identifier: Apache-2.0
"""What the tests of orders share: collections of many shapes, and a comparison of just those."""

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import compare as comparer
from cdc import SOURCE, TARGET, Cdc, until
from pymilvus import Collection, CollectionSchema, DataType, FieldSchema, connections, utility

FLAT: dict[str, Any] = {"index_type": "FLAT", "metric_type": "L2", "params": {}}
SIZE = float(os.environ.get("ORDERS_SIZE", "1"))  # a factor of what the heavy tests do


def the_task(cdc: Cdc) -> str:
    """The task of everything towards the target; made if there is none."""
    tasks = cdc.ask("list")[1]["data"]["tasks"]
    return str(tasks[0]["task_id"]) if tasks else cdc.create()


@dataclass
class Server:
    """One Milvus by its address; a connection for each of its databases."""

    uri: str
    dbs: set[str] = field(default_factory=set)

    def on(self, db: str = "default") -> str:
        alias = f"{self.uri}/{db}"
        if db not in self.dbs:
            connections.connect(alias, uri=self.uri, db_name=db, timeout=30)
            self.dbs.add(db)
        return alias

    def has(self, name: str, db: str = "default") -> bool:
        return name in self.names(db)

    def names(self, db: str = "default") -> list[str]:
        return list(connections._fetch_handler(self.on(db)).list_collections(timeout=10))

    def drop(self, *names: str, db: str = "default") -> None:
        for name in names:
            utility.drop_collection(name, using=self.on(db))


source, target = Server(SOURCE), Server(TARGET)


@dataclass
class Shape:
    """A schema. Rows of one shape are refused by another one."""

    strings: bool = False  # the primary key
    dim: int = 4
    shards: int = 2
    extra: str = ""  # a further field of numbers

    @staticmethod
    def any(rnd: random.Random, most_shards: int = 4) -> "Shape":
        return Shape(rnd.random() < 0.5, rnd.choice([2, 4, 8, 16]), rnd.randint(1, most_shards), rnd.choice(["", "a", "b"]))

    def fields(self) -> list[FieldSchema]:
        key = {"dtype": DataType.VARCHAR, "max_length": 64} if self.strings else {"dtype": DataType.INT64}
        extra = [FieldSchema(self.extra, DataType.INT64)] if self.extra else []
        return [
            FieldSchema("id", is_primary=True, **key),
            FieldSchema("word", DataType.VARCHAR, max_length=256),
            *extra,
            FieldSchema("v", DataType.FLOAT_VECTOR, dim=self.dim),
        ]

    def key(self, i: int) -> Any:
        return f"k{i}" if self.strings else i

    def rows(self, first: int, count: int, word: str) -> list[Any]:
        ids = range(first, first + count)
        extra = [[i * 7 for i in ids]] if self.extra else []
        return [[self.key(i) for i in ids], [f"{word}{i}" for i in ids], *extra, [[float(i)] * self.dim for i in ids]]

    def list(self, keys: range) -> str:
        """An expression that names these keys."""
        return "id in [" + ", ".join(f'"{self.key(i)}"' if self.strings else str(i) for i in keys) + "]"


def make(name: str, shape: Shape | None = None, server: Server = source, db: str = "default", **more: Any) -> Collection:
    """A new one; what an earlier run has left is dropped first."""
    shape = shape or Shape()
    if server.has(name, db):
        server.drop(name, db=db)
    schema = CollectionSchema(shape.fields(), description=f"{name}, dim {shape.dim}")
    return Collection(name, schema, using=server.on(db), num_shards=shape.shards, **more)


def load(*collections: Collection) -> None:
    """Asks for an index and a load, so that the comparer can read the rows; waits for neither."""
    for c in collections:
        calls = connections._fetch_handler(c._using)
        calls.create_index(c.name, "v", FLAT, index_name="by_v", sync=False)
        c.load(_async=True)


def differences(names: list[str], a: Server = source, b: Server = target) -> list[str]:
    """Of these collections ("name" or "db.name"): everything a client can see, every row."""
    only = [n if "." in n else f"default.{n}" for n in names]
    # the names are those of its connections
    sides = comparer.Server(f"source {a.uri}", a.uri, False), comparer.Server(f"target {b.uri}", b.uri, True)
    lines, found = comparer.attempt(*sides, only, None, False)
    seen = [line for line in lines if ": " in line]
    unread = [line for line in seen if "rows not read" in line]
    if not found and len(seen) != len(only):
        return [f"{len(seen)} of {len(only)} compared: {lines}"]
    return list(found) + unread


def equal(names: list[str], seconds: float = 60, a: Server = source, b: Server = target) -> None:
    """All of them are there, loaded, and equal row by row."""
    last: list[str] = []

    def none() -> bool:
        nonlocal last
        last = differences(names, a, b)
        return not last

    try:
        until(none, seconds, "equal")
    except AssertionError as e:
        raise AssertionError(f"{e}: " + "\n".join(last[:10])) from None


def gone(names: list[str], seconds: float = 60, db: str = "default", b: Server = target) -> None:
    until(lambda: not set(names) & set(b.names(db)), seconds, f"{names} go")


def clean(*names: str, a: Server = source, b: Server = target) -> None:
    """Drops what is left of them at the source, waits until the target follows."""
    there = set(a.names())
    a.drop(*[n for n in names if n in there])
    gone(list(names), b=b)


def healthy(cdc: Cdc, task: str, seconds: float = 30) -> None:
    until(lambda: cdc.get(task)["health"]["status"] == "ok", seconds, "health is ok")


def side_by_side(jobs: list[Callable[[], Any]], threads: int) -> list[Any]:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(threads) as pool:
        return [job.result() for job in [pool.submit(job) for job in jobs]]
