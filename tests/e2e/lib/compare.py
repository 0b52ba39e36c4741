#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares two Milvus servers: everything a client can see, down to each value of each row.

Independent of the product: it asks both servers as any client would and shares no code with it.
Compared are databases, collections, schemas, aliases, partitions, indexes, load states, and of every
collection loaded on the source count(*) and all rows of all partitions with all fields. Rows of a
collection that is not loaded cannot be read; of those the metadata is compared, and said so.

Exit status: 0 equal, 1 different (the first differences are printed), 64 wrong usage.
"""

import argparse
import json
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from google.protobuf.json_format import MessageToDict
from pymilvus import connections
from pymilvus.client.prepare import Prepare
from pymilvus.client.types import LoadState

CALL_TIMEOUT = 30.0  # seconds, of one call
PAGE_BYTES = 4 << 20
PAGE_ROWS = 2000
SHOWN = 20  # differences
FEW = 5  # rows of a partition where count(*) tells how many there are
BETWEEN_LOOKS = threading.Event()  # never set

Row = dict[str, Any]


EVENTUALLY = 1  # the guarantee timestamp that asks for what is there


class Server:
    """One side. Its reads see all that was written before now() was called, or what is there."""

    def __init__(self, name: str, uri: str, eventually: bool) -> None:
        self.name = name
        self.uri = uri
        self.eventually = eventually
        self.guarantee = EVENTUALLY

    def in_db(self, db: str) -> "Database":
        alias = f"{self.name}/{db}"
        if not connections.has_connection(alias):
            connections.connect(alias, uri=self.uri, db_name=db, timeout=CALL_TIMEOUT)
        return Database(connections._fetch_handler(alias), self.guarantee)

    def now(self) -> None:
        if not self.eventually:
            self.guarantee = self.in_db("default").calls.alloc_timestamp(timeout=CALL_TIMEOUT)

    def databases(self) -> list[str]:
        return sorted(self.in_db("default").calls.list_database(timeout=CALL_TIMEOUT))


class Database:
    def __init__(self, calls: Any, guarantee: int) -> None:
        self.calls = calls
        self.guarantee = guarantee

    def collections(self) -> list[str]:
        return sorted(self.calls.list_collections(timeout=CALL_TIMEOUT))

    def schema(self, name: str) -> dict[str, Any]:
        """The server's own answer, less what differs between any two servers."""
        answer = self.calls._stub.DescribeCollection(
            Prepare.describe_collection_request(name), timeout=CALL_TIMEOUT
        )
        if answer.status.code or answer.status.error_code:
            raise RuntimeError(f"describe {name}: {answer.status.reason}")
        told = MessageToDict(answer, preserving_proto_field_name=True)
        kept = ("schema", "shards_num", "consistency_level", "properties", "num_partitions")
        schema = {key: told.get(key) for key in kept}
        for field in schema["schema"].get("fields", []):
            field.pop("state", None)
            for params in ("type_params", "index_params"):
                field[params] = {p["key"]: p.get("value") for p in field.get(params, [])}
        schema["properties"] = {p["key"]: p.get("value") for p in schema["properties"] or []}
        schema["aliases"] = sorted(told.get("aliases", []))
        return schema

    def partitions(self, name: str) -> list[str]:
        return sorted(self.calls.list_partitions(name, timeout=CALL_TIMEOUT))

    def indexes(self, name: str) -> dict[str, Any]:
        return {
            index.index_name: {
                "field": index.field_name,
                "params": {param.key: param.value for param in index.params},
            }
            for index in self.calls.list_indexes(name, timeout=CALL_TIMEOUT)
        }

    def load_states(self, name: str, partitions: list[str]) -> dict[str, str]:
        def of(names: list[str]) -> str:
            return LoadState(self.calls.get_load_state(name, names, timeout=CALL_TIMEOUT)).name

        return {"collection": of([])} | {partition: of([partition]) for partition in partitions}

    def query(
        self, name: str, expr: str, outputs: list[str], partitions: list[str] | None = None, **more: Any
    ) -> list[Row]:
        """Takes the answer apart itself: pymilvus drops values of types that it does not know."""
        request = Prepare.query_request(
            name, expr, outputs, partitions, consistency_level="Customized",
            guarantee_timestamp=self.guarantee, **more,
        )
        answer = self.calls._stub.Query(request, timeout=CALL_TIMEOUT)
        if answer.status.code or answer.status.error_code:
            raise RuntimeError(f"query {name}: {answer.status.reason}")
        columns = {f.field_name: column(f) for f in answer.fields_data}
        if len({len(values) for values in columns.values()}) > 1:
            raise RuntimeError(f"query {name}: columns of different length")
        return [dict(zip(columns, values)) for values in zip(*columns.values())]

    def count(self, name: str) -> int:
        return self.query(name, "", ["count(*)"])[0]["count(*)"]

    def rows(self, name: str, schema: dict[str, Any], partition: str | None) -> Iterator[Row]:
        """All rows of a partition (None: of all), sorted by primary key, read page by page."""
        fields = schema["schema"]["fields"]
        primary = next(f for f in fields if f.get("is_primary_key"))
        key, strings = primary["name"], primary["data_type"] == "VarChar"
        outputs = [f["name"] for f in fields]
        if schema["schema"].get("enable_dynamic_field"):
            outputs.append("$meta")
        limit = max(16, min(PAGE_ROWS, PAGE_BYTES // sum(map(bytes_of, fields))))
        partitions = [partition] if partition else None
        # the empty expression stands for "from the least number": that literal does not parse
        expr = f'{key} >= ""' if strings else ""
        while page := self.query(name, expr, outputs, partitions, limit=limit):
            page.sort(key=lambda row: row[key])
            yield from page
            last = page[-1][key]
            expr = f"{key} > {quoted(last) if strings else last}"


def column(data: Any) -> list[Any]:
    """The values of a FieldData, one for each row."""
    kind = data.WhichOneof("field")
    values = getattr(data, kind) if kind else None
    kind = values.WhichOneof("data") if values is not None else None
    if kind is None:
        return []
    if data.HasField("scalars"):
        values = getattr(values, kind).data
        if kind == "array_data":
            return [items(value) for value in values]
        return [json.loads(v) for v in values] if kind == "json_data" else list(values)
    dim, values = values.dim, getattr(values, kind)
    if kind == "float_vector":
        return chunks(list(values.data), dim)
    return chunks(values, dim // 8 if kind == "binary_vector" else 2 * dim)


def items(array: Any) -> list[Any]:
    kind = array.WhichOneof("data")
    return list(getattr(array, kind).data) if kind else []


def chunks(values: Any, size: int) -> list[Any]:
    return [values[at : at + size] for at in range(0, len(values), size)]


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def bytes_of(field: dict[str, Any]) -> int:
    """How large a value may be, roughly."""
    params = field["type_params"]
    dim = int(params.get("dim", 0))
    if dim:
        return dim // 8 if field["data_type"] == "BinaryVector" else 4 * dim
    return min(int(params.get("max_length", 64)), 512) * int(params.get("max_capacity", 1))


def same(a: Any, b: Any) -> bool:
    """Equal, where NaN equals NaN and 0.0 does not equal -0.0."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if type(a) is not type(b):
        return False
    if a != b:
        return a != a and b != b
    return a != 0 or isinstance(a, (str, bytes)) or math.copysign(1, a) == math.copysign(1, b)


class Differences(list[str]):
    """thorough: also which rows differ where count(*) does, which may take minutes."""

    thorough = False

    def check(self, what: str, a: Any, b: Any) -> bool:
        """Notes where two values differ, as deep inside as they have common structure."""
        if isinstance(a, dict) and isinstance(b, dict):
            keys = sorted(a.keys() | b.keys())
            return all([self.check(f"{what}.{k}", a.get(k), b.get(k)) for k in keys])
        if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
            return all([self.check(f"{what}[{i}]", *ab) for i, ab in enumerate(zip(a, b))])
        if not same(a, b):
            self.append(f"{what}: source {short(a)}, target {short(b)}")
            return False
        return True

    def check_names(self, what: str, a: list[str], b: list[str]) -> list[str]:
        """Notes names that only one side has, returns the others."""
        for side, only in (("source", set(a) - set(b)), ("target", set(b) - set(a))):
            self.extend(f"{what} {name}: only on the {side}" for name in sorted(only))
        return [name for name in a if name in b]


def short(value: Any) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 200 else text[:200] + "..."


def compare_rows(
    what: str, primary: str, source: Iterator[Row], target: Iterator[Row]
) -> Iterator[str]:
    """Walks both sides in the order of the primary key."""
    a, b = next(source, None), next(target, None)
    while a is not None or b is not None:
        if b is None or (a is not None and a[primary] < b[primary]):
            yield f"{what} row {a[primary]!r}: only on the source"
            a = next(source, None)
        elif a is None or b[primary] < a[primary]:
            yield f"{what} row {b[primary]!r}: only on the target"
            b = next(target, None)
        else:
            if not same(a, b):
                found = Differences()
                found.check(f"{what} row {a[primary]!r}", a, b)
                yield from found
            a, b = next(source, None), next(target, None)


def keyless(schema: dict[str, Any]) -> dict[str, Any]:
    """Without the word that keys are generated: an ordinary target is given those of the source."""
    told: dict[str, Any] = json.loads(json.dumps(schema))
    for part in (told["schema"], *told["schema"].get("fields", [])):
        for word in ("autoID", "auto_id"):
            part.pop(word, None)
    return told


def compare_collection(
    what: str, name: str, source: Database, target: Database, found: Differences, plain: bool,
    target_name: str = "",
) -> tuple[int, int, str]:
    """Returns both counts and a line about the collection; target_name: what it is called there."""
    before = len(found)
    target_name = target_name or name
    schema = source.schema(name)
    twin = target.schema(target_name)
    if twin["schema"].get("name") == target_name:
        twin["schema"]["name"] = schema["schema"]["name"]
    found.check(what, keyless(schema) if plain else schema, keyless(twin) if plain else twin)
    partitions = source.partitions(name)
    found.check_names(f"{what} partition", partitions, target.partitions(target_name))
    found.check(f"{what} index", source.indexes(name), target.indexes(target_name))
    if len(found) > before:
        return 0, 0, f"{what}: metadata differs, rows not read"
    states = source.load_states(name, partitions)
    if not found.check(f"{what} load state", states, target.load_states(target_name, partitions)):
        return 0, 0, f"{what}: load state differs, rows not read"
    if states["collection"] != "Loaded":
        return 0, 0, f"{what}: metadata equal, rows not read: not loaded on the source"

    counts = source.count(name), target.count(target_name)
    level = found.check(f"{what} count(*)", *counts)
    told = f"{what}: source {counts[0]:,} rows, target {counts[1]:,} rows"
    if not level and not found.thorough:
        return *counts, told
    # with a partition key the server takes no partition names; the key decides the partition
    keyed = any(field.get("is_partition_key") for field in schema["schema"]["fields"])
    loaded = [None] if keyed else [p for p in partitions if states[p] == "Loaded"]
    primary = next(f["name"] for f in schema["schema"]["fields"] if f.get("is_primary_key"))
    for partition in loaded:
        sides = (source.rows(name, schema, partition), target.rows(target_name, schema, partition))
        where = f"{what}/{partition}" if partition else what
        found.extend(islice(compare_rows(where, primary, *sides), SHOWN if level else FEW))
    if not level:
        return *counts, told
    verdict = "equal" if len(found) == before else "rows differ"
    shards = schema["shards_num"]
    return *counts, (
        f"{what}: {counts[0]:,} rows, {len(partitions)} partitions, {shards} shards, {verdict}"
    )


def compare_pair(
    pair: str, source: Server, target: Server, found: Differences, plain: bool
) -> tuple[int, int, str]:
    """DB.COLLECTION=DB.COLLECTION: what has another name on the target."""
    (from_db, _, name), (to_db, _, twin) = (side.partition(".") for side in pair.split("="))
    return compare_collection(pair, name, source.in_db(from_db), target.in_db(to_db), found, plain, twin)


def compare(
    source: Server, target: Server, only: list[str], rows: int | None, plain: bool,
    say: Callable[[str], None], pairs: Sequence[str] = (), thorough: bool = False,
) -> Differences:
    """One pass over everything; the returned list is empty if all is equal."""
    found = Differences()
    found.thorough = thorough
    totals = [0, 0]
    source.now()
    target.now()
    for pair in pairs:
        rows_a, rows_b, line = compare_pair(pair, source, target, found, plain)
        totals[0] += rows_a
        totals[1] += rows_b
        say(line)
    databases = source.databases(), target.databases()
    if only or pairs:
        wanted = {name.partition(".")[0] for name in only}
        databases = tuple([db for db in side if db in wanted] for side in databases)
    for db in found.check_names("database", *databases):
        sides = source.in_db(db), target.in_db(db)
        names = [side.collections() for side in sides]
        if only or pairs:
            names = [[n for n in side if f"{db}.{n}" in only] for side in names]
        for name in found.check_names(f"collection in {db}:", *names):
            rows_a, rows_b, line = compare_collection(f"{db}.{name}", name, *sides, found, plain)
            totals[0] += rows_a
            totals[1] += rows_b
            say(line)
    relation = "=" if totals[0] == totals[1] else "!="
    if rows not in (None, totals[0]):
        found.append(f"source has {totals[0]:,} rows in loaded collections, not {rows:,}")
    verdict = "DIFFERENT" if found else "all equal"
    say(f"source {totals[0]:,} rows {relation} target {totals[1]:,} rows, {verdict}")
    return found


def attempt(
    source: Server, target: Server, only: list[str], rows: int | None, plain: bool,
    pairs: Sequence[str] = (), thorough: bool = False,
) -> tuple[list[str], Differences]:
    """A comparison and its lines. A server that does not answer is a difference, too."""
    lines: list[str] = []
    try:
        return lines, compare(source, target, only, rows, plain, lines.append, pairs, thorough)
    except Exception as error:  # pymilvus lets many kinds through
        return lines, Differences([f"cannot compare: {type(error).__name__}: {error}"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", required=True, metavar="URI")
    parser.add_argument("--target", required=True, metavar="URI")
    parser.add_argument(
        "--timeout", type=float, default=0, metavar="S", help="repeat until equal, at most S seconds"
    )
    parser.add_argument(
        "--target-eventually", action="store_true",
        help="read what the target has; needed where only replication moves its clock",
    )
    parser.add_argument(
        "--plain-target", action="store_true",
        help="an ordinary target, written by upserts: generated keys are given keys there",
    )
    parser.add_argument(
        "--only", action="append", default=[], metavar="DB.COLLECTION", help="may be repeated"
    )
    parser.add_argument(
        "--map", action="append", default=[], metavar="DB.COLLECTION=DB.COLLECTION",
        help="a collection and what it is called on the target; like --only, may be repeated",
    )
    parser.add_argument(
        "--rows", type=int, metavar="N",
        help="what the source must hold: right after a restart a server may show less",
    )
    try:
        args = parser.parse_args()
    except SystemExit as done:
        return 64 if done.code else 0
    source = Server("source", args.source, False)
    target = Server("target", args.target, args.target_eventually)
    deadline = time.monotonic() + args.timeout
    while True:
        lines, found = attempt(source, target, args.only, args.rows, args.plain_target, args.map)
        if not found or time.monotonic() >= deadline:
            break
        BETWEEN_LOOKS.wait(0.3)  # the loop ends by equality or deadline
    if found:
        lines, found = attempt(source, target, args.only, args.rows, args.plain_target, args.map, True)
    print("\n".join(lines))
    for difference in found[:SHOWN]:
        print("  " + difference)
    if len(found) > SHOWN:
        print(f"  and {len(found) - SHOWN} more")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
