# SPDX-License-Identifier: Apache-2.0
"""Random collections and rows for the model workload: every type that a 2.3.5 server and pymilvus take."""

import math
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pymilvus import DataType as T
from pymilvus import FieldSchema

Row = dict[str, Any]

WORDS = ["north", "South West", "", "'quoted\"", "back\\slash", "žluťoučký", "日本", "🙂", "x" * 60, "%s\n\t"]
MONTH = 30 * 86400


def float32(value: float) -> float:
    return struct.unpack("f", struct.pack("f", value))[0]


def integer(bits: int) -> Callable[[random.Random], int]:
    half = 1 << (bits - 1)
    return lambda rnd: rnd.choice([0, -1, half - 1, -half, rnd.randrange(-half, half)])


def document(rnd: random.Random) -> Any:
    return rnd.choice([{}, {"n": rnd.randrange(-1000, 1000), "deep": {"list": [1, 2.5, None, rnd.choice(WORDS)]}}])


SCALARS: dict[T, Callable[[random.Random], Any]] = {
    T.BOOL: lambda rnd: rnd.random() < 0.5,
    T.INT8: integer(8),
    T.INT16: integer(16),
    T.INT32: integer(32),
    T.INT64: integer(64),
    T.FLOAT: lambda rnd: rnd.choice([0.0, -0.0, math.nan, -math.inf, float32(rnd.gauss(0, 1e6))]),
    T.DOUBLE: lambda rnd: rnd.choice([rnd.gauss(0, 1e12), 1e-300, 1.7e308, math.nan]),
    T.VARCHAR: lambda rnd: rnd.choice(WORDS) * rnd.randrange(1, 4),
}


def values(kind: T, rnd: random.Random) -> Any:
    return SCALARS[kind](rnd)


@dataclass
class Shape:
    """How a collection is made and how its rows look."""

    fields: list[FieldSchema]
    makers: dict[str, Callable[[random.Random], Any]]
    vector: str
    binary: bool
    keyed: bool
    dynamic: bool
    shards: int
    consistency: str
    properties: dict[str, Any] = field(default_factory=dict)

    @property
    def primary(self) -> FieldSchema:
        return self.fields[0]

    @property
    def strings(self) -> bool:
        return self.primary.dtype == T.VARCHAR

    @property
    def generated(self) -> bool:
        return bool(self.primary.auto_id)

    def row(self, rnd: random.Random) -> Row:
        row = {name: make(rnd) for name, make in self.makers.items()}
        if self.dynamic and rnd.random() < 0.6:
            row["color"] = rnd.choice(WORDS)
            row["extra"] = document(rnd)
        return row

    def index(self, rnd: random.Random) -> dict[str, Any]:
        if self.binary:
            return {"index_type": "BIN_FLAT", "metric_type": rnd.choice(["HAMMING", "JACCARD"]), "params": {}}
        return rnd.choice(
            [
                {"index_type": "FLAT", "metric_type": "COSINE", "params": {}},
                {"index_type": "HNSW", "metric_type": "L2", "params": {"M": 8, "efConstruction": 32}},
                {"index_type": "IVF_FLAT", "metric_type": "IP", "params": {"nlist": 8}},
                {"index_type": "AUTOINDEX", "metric_type": "L2", "params": {}},
            ]
        )

    def scalar_indexes(self) -> list[str]:
        kinds = (T.INT8, T.INT16, T.INT32, T.INT64, T.VARCHAR)
        return [f.name for f in self.fields[1:] if f.dtype in kinds]


def shape(rnd: random.Random) -> Shape:
    fields: list[FieldSchema] = []
    makers: dict[str, Callable[[random.Random], Any]] = {}
    generated = rnd.random() < 0.25
    if rnd.random() < 0.4:
        fields.append(FieldSchema("id", T.VARCHAR, is_primary=True, auto_id=generated, max_length=128))
    else:
        fields.append(FieldSchema("id", T.INT64, is_primary=True, auto_id=generated))
    keyed = rnd.random() < 0.25
    for i, kind in enumerate(rnd.sample(list(SCALARS), rnd.randrange(1, 5))):
        more: dict[str, Any] = {"max_length": 512} if kind == T.VARCHAR else {}
        fields.append(FieldSchema(f"f{i}", kind, **more))
        makers[f"f{i}"] = SCALARS[kind]
    if keyed:
        fields.append(FieldSchema("tenant", T.INT64, is_partition_key=True))
        makers["tenant"] = lambda r: r.randrange(30)
    if rnd.random() < 0.4:
        element = rnd.choice([T.BOOL, T.INT8, T.INT32, T.INT64, T.FLOAT, T.DOUBLE, T.VARCHAR])
        more = {"max_length": 512} if element == T.VARCHAR else {}
        fields.append(FieldSchema("list", T.ARRAY, element_type=element, max_capacity=6, **more))
        makers["list"] = lambda r: [SCALARS[element](r) for _ in range(r.randrange(5))]
    if rnd.random() < 0.4:
        fields.append(FieldSchema("doc", T.JSON))
        makers["doc"] = document
    binary = rnd.random() < 0.25
    dim = rnd.choice([8, 16, 32])
    if binary:
        fields.append(FieldSchema("v", T.BINARY_VECTOR, dim=dim))
        makers["v"] = lambda r: r.randbytes(dim // 8)
    else:
        fields.append(FieldSchema("v", T.FLOAT_VECTOR, dim=dim))
        makers["v"] = lambda r: [float32(r.uniform(-1, 1)) for _ in range(dim)]
    return Shape(
        fields,
        makers,
        "v",
        binary,
        keyed,
        rnd.random() < 0.4,
        rnd.randrange(1, 4),
        rnd.choice(["Strong", "Bounded", "Session", "Eventually"]),
        {"collection.ttl.seconds": MONTH * rnd.randrange(1, 9)} if rnd.random() < 0.2 else {},
    )
