#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One client of the model workload: random operations of every kind on one Milvus, repeatable by its seed.

    client.py --uri URI --seed N --number K --seconds S [--plain]

The model is what this client knows to be there: its databases, collections, partitions, aliases, indexes,
load states and keys. It chooses what is possible next, so every operation has to succeed; one that does
not ends the client with status 1. Each client works on names of its own (c<K>_...) and on own keys of the
collection "shared", if there is one. --plain leaves out what an ordinary target cannot show in the same
way: several rows of one key. The last line is a JSON object of how often each operation was done.
"""

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import schemas
from pymilvus import Collection, CollectionSchema, connections, db, utility
from schemas import MONTH, Shape

COLLECTIONS = 4  # of one client, at most
PARTITIONS = 4
ROWS = 150  # of an insert, at most
KEYS = 3000  # of a collection, at most


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@dataclass
class Model:
    """A collection as this client knows it."""

    database: str
    name: str
    shape: Shape
    partitions: list[str] = field(default_factory=lambda: ["_default"])
    live: dict[Any, str] = field(default_factory=dict)  # key -> partition
    twice: set[Any] = field(default_factory=set)  # keys that have several rows
    used: int = 0
    indexes: dict[str, str] = field(default_factory=dict)  # field -> index
    loaded: set[str] | None = None  # partitions; None: released
    whole: bool = False  # loaded as a whole
    aliases: list[str] = field(default_factory=list)
    ours: bool = True  # nobody else works on it

    def server(self) -> Collection:
        return Collection(self.name, using=self.database)


class Client:
    def __init__(self, uri: str, seed: int, number: int, plain: bool) -> None:
        self.rnd = random.Random(seed * 1000 + number)
        self.uri, self.number, self.plain = uri, number, plain
        self.prefix = f"c{number}_"
        self.ops: Counter[str] = Counter()
        self.collections: list[Model] = []
        self.databases: list[str] = ["default"]
        self.named = 0
        connections.connect("default", uri=uri, timeout=60)

    # --- helpers ---------------------------------------------------------------------------------

    def name(self, kind: str) -> str:
        self.named += 1
        return f"{self.prefix}{kind}{self.named}"

    def key(self, m: Model) -> Any:
        m.used += 1
        number = self.number * 1_000_000 + m.used
        if m.shape.strings:
            return f"{schemas.WORDS[m.used % 8]}{number}"
        return number * 7919 if m.used % 3 else -number

    def choose(self, wanted: Callable[[Model], bool]) -> Model | None:
        fitting = [m for m in self.collections if wanted(m)]
        return self.rnd.choice(fitting) if fitting else None

    def own(self, wanted: Callable[[Model], bool] = lambda m: True) -> Model | None:
        return self.choose(lambda m: m.ours and wanted(m))

    def pick(self, m: Model, count: int) -> tuple[str, list[Any]]:
        partition = m.live[self.rnd.choice(list(m.live))]
        keys = [key for key, where in m.live.items() if where == partition]
        return partition, self.rnd.sample(keys, min(count, len(keys)))

    @staticmethod
    def partition(m: Model, name: str) -> str | None:
        return None if m.shape.keyed else name

    @staticmethod
    def listed(m: Model, keys: list[Any]) -> str:
        return f"id in [{', '.join(quoted(k) if m.shape.strings else str(k) for k in keys)}]"

    # --- rows ------------------------------------------------------------------------------------

    def insert(self) -> bool:
        m = self.choose(lambda m: len(m.live) < KEYS)
        if not m:
            return False
        partition = self.rnd.choice(m.partitions)
        count = self.rnd.choice([1, 3, self.rnd.randint(1, ROWS)])
        rows = [m.shape.row(self.rnd) for _ in range(count)]
        keys = None
        if not m.shape.generated:
            keys = [self.key(m) for _ in rows]
            rows = [{"id": key} | row for key, row in zip(keys, rows)]
        result = m.server().insert(rows, partition_name=self.partition(m, partition))
        m.live |= dict.fromkeys(keys or result.primary_keys, partition)
        return True

    def insert_twice(self) -> bool:
        """The same row of one key again and again: the server keeps them all, count(*) tells."""
        m = self.choose(lambda m: not m.shape.generated and not m.shape.keyed and len(m.live) < KEYS)
        if self.plain or not m:
            return False
        key, partition = self.key(m), self.rnd.choice(m.partitions)
        row = {"id": key} | m.shape.row(self.rnd)
        for _ in range(self.rnd.randrange(2, 4)):
            m.server().insert([row], partition_name=partition)
        m.live[key] = partition
        m.twice.add(key)
        return True

    def upsert(self) -> bool:
        m = self.choose(lambda m: bool(m.live) and not m.shape.generated)
        if not m:
            return False
        partition, keys = self.pick(m, self.rnd.choice([1, 2, 40]))
        rows = [{"id": key} | m.shape.row(self.rnd) for key in keys]
        m.server().upsert(rows, partition_name=self.partition(m, partition))
        m.twice -= set(keys)
        return True

    def churn(self) -> bool:
        """One key changed again and again, within one tick of the source."""
        m = self.choose(lambda m: not m.shape.generated)
        if not m:
            return False
        key, partition = self.key(m), self.rnd.choice(m.partitions)
        server, where = m.server(), self.partition(m, partition)
        for _ in range(self.rnd.randrange(2, 6)):
            server.upsert([{"id": key} | m.shape.row(self.rnd)], partition_name=where)
            if self.rnd.random() < 0.4:
                server.delete(self.listed(m, [key]), partition_name=where)
                m.live.pop(key, None)
            else:
                m.live[key] = partition
        return True

    def delete(self) -> bool:
        m = self.choose(lambda m: bool(m.live))
        if not m:
            return False
        partition, keys = self.pick(m, self.rnd.choice([1, 5, 60]))
        narrow = not m.shape.keyed and self.rnd.random() < 0.5
        m.server().delete(self.listed(m, keys), partition_name=partition if narrow else None)
        for key in keys:
            del m.live[key]
            m.twice.discard(key)
        return True

    def delete_missing(self) -> bool:
        m = self.choose(lambda m: True)
        if not m:
            return False
        m.server().delete(self.listed(m, [self.key(m) for _ in range(3)]))
        return True

    # --- collections -----------------------------------------------------------------------------

    def make(self, database: str, name: str) -> Model:
        s = schemas.shape(self.rnd)
        options: dict[str, Any] = {"num_shards": s.shards, "consistency_level": s.consistency}
        if s.keyed:
            options["num_partitions"] = self.rnd.randrange(2, 9)
        if s.properties:
            options["properties"] = s.properties
        schema = CollectionSchema(s.fields, enable_dynamic_field=s.dynamic, description=self.rnd.choice(schemas.WORDS))
        Collection(name, schema, using=database, **options)
        m = Model(database, name, s)
        self.collections.append(m)
        return m

    def create(self) -> bool:
        if len([m for m in self.collections if m.ours]) >= COLLECTIONS:
            return False
        m = self.make(self.rnd.choice(self.databases), self.name("t"))
        if self.rnd.random() < 0.8:
            self.index_field(m, m.shape.vector)
            if self.rnd.random() < 0.8:
                self.load_whole(m)
        return True

    def remove(self, m: Model) -> None:
        for alias in list(m.aliases):
            utility.drop_alias(alias, using=m.database)
        utility.drop_collection(m.name, using=m.database)
        self.collections.remove(m)

    def drop(self) -> bool:
        m = self.own()
        if not m:
            return False
        self.remove(m)
        return True

    def recreate(self) -> bool:
        """The same name at once, as another collection."""
        m = self.own()
        if not m:
            return False
        self.remove(m)
        new = self.make(m.database, m.name)
        if self.rnd.random() < 0.5:
            self.index_field(new, new.shape.vector)
        return True

    def rename(self) -> bool:
        m = self.own(lambda m: not m.aliases)
        if not m:
            return False
        old, where = m.name, m.database
        m.name, m.database = self.name("r"), self.rnd.choice(self.databases)
        # without a database 2.3.5 moves it to the default one
        utility.rename_collection(old, m.name, using=where, new_db_name=m.database)
        if self.rnd.random() < 0.3 and len(self.collections) < COLLECTIONS + 2:
            self.make(where, old)
        return True

    def properties(self) -> bool:
        m = self.own()
        if not m:
            return False
        properties = {"collection.ttl.seconds": MONTH * self.rnd.randrange(1, 99)}
        m.server().set_properties(properties)
        m.server().set_properties(properties)  # 2.3.5 writes each change to etcd with the next one
        return True

    # --- aliases ---------------------------------------------------------------------------------

    def alias(self) -> bool:
        m = self.own()
        if not m or len(m.aliases) > 2:
            return False
        name = self.name("a")
        utility.create_alias(m.name, name, using=m.database)
        m.aliases.append(name)
        return True

    def alias_moves(self) -> bool:
        a = self.own(lambda m: bool(m.aliases))
        b = self.own(lambda m: a is not None and m is not a and m.database == a.database)
        if not a or not b:
            return False
        name = a.aliases.pop()
        utility.alter_alias(b.name, name, using=b.database)
        b.aliases.append(name)
        return True

    def alias_ends(self) -> bool:
        m = self.own(lambda m: bool(m.aliases))
        if not m:
            return False
        utility.drop_alias(m.aliases.pop(), using=m.database)
        return True

    # --- partitions ------------------------------------------------------------------------------

    def partition_begins(self) -> bool:
        m = self.own(lambda m: not m.shape.keyed and len(m.partitions) < PARTITIONS)
        if not m:
            return False
        name = self.name("p")
        m.server().create_partition(name)
        m.partitions.append(name)
        return True

    def partition_ends(self) -> bool:
        m = self.own(lambda m: len(m.partitions) > 1)
        if not m:
            return False
        name = self.rnd.choice(m.partitions[1:])
        partition = m.server().partition(name)
        if m.loaded is not None:
            self.release_whole(m)
        partition.drop()
        m.partitions.remove(name)
        m.live = {key: where for key, where in m.live.items() if where != name}
        return True

    # --- indexes and load states -----------------------------------------------------------------

    def index_field(self, m: Model, name: str) -> None:
        index = f"by_{name}_{self.rnd.randrange(3)}"
        params = m.shape.index(self.rnd) if name == m.shape.vector else {}
        m.server().create_index(name, params, index_name=index)
        m.indexes[name] = index

    def index(self) -> bool:
        m = self.own(lambda m: m.loaded is None)
        names = [n for n in [m.shape.vector, *m.shape.scalar_indexes()] if n not in m.indexes] if m else []
        if not m or not names:
            return False
        self.index_field(m, self.rnd.choice(names))
        return True

    def index_ends(self) -> bool:
        m = self.own(lambda m: bool(m.indexes) and m.loaded is None)
        if not m:
            return False
        name = self.rnd.choice(list(m.indexes))
        m.server().drop_index(index_name=m.indexes.pop(name))
        return True

    def load_whole(self, m: Model) -> None:
        m.server().load(timeout=120)
        m.loaded, m.whole = set(m.partitions), True

    def release_whole(self, m: Model) -> None:
        m.server().release(timeout=60)
        m.loaded, m.whole = None, False

    def load(self) -> bool:
        m = self.own(lambda m: m.loaded is None and m.shape.vector in m.indexes)
        if not m:
            return False
        self.load_whole(m)
        return True

    def release(self) -> bool:
        m = self.own(lambda m: m.loaded is not None)
        if not m:
            return False
        self.release_whole(m)
        return True

    def load_some(self) -> bool:
        m = self.own(
            lambda m: not m.whole and not m.shape.keyed and m.shape.vector in m.indexes and len(m.partitions) > 1
        )
        if not m:
            return False
        left = [p for p in m.partitions if p not in (m.loaded or set())]
        if not left:
            return False
        names = self.rnd.sample(left, self.rnd.randint(1, len(left)))
        m.server().load(names, timeout=120)
        m.loaded = (m.loaded or set()) | set(names)
        return True

    def release_some(self) -> bool:
        m = self.own(lambda m: m.loaded is not None and not m.whole and len(m.loaded) > 1)
        if not m or m.loaded is None:
            return False
        name = self.rnd.choice(sorted(m.loaded))
        m.server().partition(name).release(timeout=60)
        m.loaded.discard(name)
        return True

    def flush(self) -> bool:
        m = self.own()
        if not m or self.ops["flush"] >= 4:  # each costs the server seconds
            return False
        m.server().flush(timeout=60)
        return True

    # --- databases -------------------------------------------------------------------------------

    def database(self) -> bool:
        if len(self.databases) > 2:
            return False
        name = self.name("db")
        db.create_database(name)
        connections.connect(name, uri=self.uri, db_name=name, timeout=60)
        self.databases.append(name)
        return True

    def database_ends(self) -> bool:
        if len(self.databases) < 2:
            return False
        name = self.databases.pop()
        for m in [m for m in self.collections if m.database == name]:
            self.remove(m)
        connections.disconnect(name)
        db.drop_database(name)
        return True

    # --- the run ---------------------------------------------------------------------------------

    def chances(self) -> dict[Callable[[], bool], int]:
        return {
            self.insert: 30,
            self.insert_twice: 4,
            self.upsert: 14,
            self.churn: 6,
            self.delete: 10,
            self.delete_missing: 1,
            self.create: 5,
            self.drop: 2,
            self.recreate: 2,
            self.rename: 2,
            self.properties: 1,
            self.alias: 2,
            self.alias_moves: 2,
            self.alias_ends: 1,
            self.partition_begins: 3,
            self.partition_ends: 2,
            self.index: 3,
            self.index_ends: 1,
            self.load: 3,
            self.release: 1,
            self.load_some: 2,
            self.release_some: 2,
            self.flush: 1,
            self.database: 1,
            self.database_ends: 1,
        }

    def adopt_shared(self) -> None:
        if utility.has_collection("shared"):
            m = Model("default", "shared", shared_shape(), ours=False)
            self.collections.append(m)

    def run(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        chances = self.chances()
        self.adopt_shared()
        self.create()
        while time.monotonic() < end:
            op = self.rnd.choices(list(chances), list(chances.values()))[0]
            try:
                done = op()
            except Exception as e:
                raise RuntimeError(f"client {self.number}: {op.__name__}: {e}") from e
            if done:
                self.ops[op.__name__] += 1


def shared_shape() -> Shape:
    """The same for all clients, whatever their seeds."""
    rnd = random.Random(5)
    while (s := schemas.shape(rnd)).keyed or s.generated or s.strings:
        pass
    return s


def create_shared() -> None:
    s = shared_shape()
    c = Collection("shared", CollectionSchema(s.fields, enable_dynamic_field=s.dynamic), num_shards=2)
    c.create_index("v", s.index(random.Random(1)))
    c.load()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--uri", required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--number", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--plain", action="store_true")
    args = parser.parse_args()
    client = Client(args.uri, args.seed, args.number, args.plain)
    client.run(args.seconds)
    print(json.dumps(client.ops))
    return 0


if __name__ == "__main__":
    sys.exit(main())
