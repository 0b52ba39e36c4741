#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Figures of a running replication between two real Milvus servers.

    bench.py --source URI --target URI --pid PID [--rows N] [--probes N] [--only latency,level,idle]

latency: from the acknowledgement of a one-row insert on the source to its visibility on the target
(query by key, Eventually). level: N rows of 128 dimensions at full speed, 5,000 a call; how long after
the last insert the target has them all, and how long the source itself took. memory: the greatest
resident size of the replicator meanwhile. idle: its processor time over a quiet while.
"""

import argparse
import logging
import os
import random
import statistics
import sys
import threading
import time

from pymilvus import CollectionSchema, Collection, DataType, FieldSchema, connections, utility

logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # what is not there yet is polled for
NAME = "bench"
DIM = 128
CALL = 5000
QUIET = threading.Event()  # never set: a measured pause


class Replicator:
    """Processor time and memory of a process, from /proc."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.peak = 0
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def resident(self) -> int:
        with open(f"/proc/{self.pid}/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def cpu(self) -> float:
        with open(f"/proc/{self.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def watch(self) -> None:
        while not self.done.wait(0.05):
            self.peak = max(self.peak, self.resident())


def count(alias: str, expr: str = "") -> int:
    rows = connections._fetch_handler(alias).query(
        NAME, expr, ["count(*)"], consistency_level="Eventually", timeout=30
    )
    return rows[0]["count(*)"]


def wait_until(what, deadline: float) -> None:
    end = time.monotonic() + deadline
    while True:
        try:
            if what():
                return
        except Exception:  # not there, not loaded: not yet
            pass
        QUIET.wait(0.02)
        if time.monotonic() > end:
            raise SystemExit(f"not within {deadline} s: {what.__doc__ or what}")


def prepare() -> Collection:
    if utility.has_collection(NAME, using="source"):
        utility.drop_collection(NAME, using="source")
    schema = CollectionSchema(
        [
            FieldSchema("id", DataType.INT64, is_primary=True),
            FieldSchema("v", DataType.FLOAT_VECTOR, dim=DIM),
        ]
    )
    collection = Collection(NAME, schema, using="source", shards_num=2)
    collection.create_index("v", {"index_type": "FLAT", "metric_type": "L2", "params": {}})
    collection.load()
    wait_until(lambda: utility.has_collection(NAME, using="target") and count("target") == 0, 60)
    return collection


def latency(collection: Collection, probes: int) -> None:
    rnd = random.Random(1)
    handler = connections._fetch_handler("target")
    seen = []
    for i in range(probes):
        key = 10_000_000 + i
        QUIET.wait(rnd.uniform(0, 0.2))  # not in step with the source's ticks
        collection.insert([[key], [[rnd.random() for _ in range(DIM)]]])
        start = time.monotonic()
        while not handler.query(NAME, f"id == {key}", ["id"], consistency_level="Eventually"):
            if time.monotonic() - start > 30:
                raise SystemExit(f"row {key} does not arrive")
        seen.append((time.monotonic() - start) * 1000)
    seen.sort()
    p99 = seen[min(len(seen) - 1, int(len(seen) * 0.99))]
    print(
        f"latency: p50 {statistics.median(seen):.0f} ms, p99 {p99:.0f} ms, max {seen[-1]:.0f} ms"
        f" over {probes} one-row inserts (wanted: p50 <= 700, p99 <= 1500)"
    )


def level(collection: Collection, rows: int) -> None:
    rnd = random.Random(2)
    vectors = [[rnd.random() for _ in range(DIM)] for _ in range(CALL)]
    before = count("target")
    start = time.monotonic()
    for first in range(0, rows, CALL):
        collection.insert([list(range(first, first + CALL)), vectors])
    inserted = time.monotonic()
    wait_until(lambda: count("target") >= before + rows, 120)
    now = time.monotonic()
    print(
        f"level: {rows:,} rows of {DIM} dimensions inserted in {inserted - start:.1f} s"
        f" ({rows / (inserted - start):,.0f} rows/s); target level {now - inserted:.2f} s after the last"
        f" insert (wanted: <= 2)"
    )


def idle(replicator: Replicator, seconds: float) -> None:
    before, start = replicator.cpu(), time.monotonic()
    QUIET.wait(seconds)
    share = (replicator.cpu() - before) / (time.monotonic() - start)
    print(f"idle: {share:.2%} of a core over {seconds:.0f} s (wanted: < 1 %)")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--probes", type=int, default=200)
    parser.add_argument("--quiet-seconds", type=float, default=20)
    parser.add_argument("--only", default="latency,level,idle")
    args = parser.parse_args()
    connections.connect("source", uri=args.source)
    connections.connect("target", uri=args.target)
    replicator = Replicator(args.pid)
    collection = prepare()
    if "latency" in args.only:
        latency(collection, args.probes)
    if "level" in args.only:
        level(collection, args.rows)
        print(f"memory: {replicator.peak / 1e6:.0f} MB resident at most (wanted: <= 100 MB)")
    if "idle" in args.only:
        idle(replicator, args.quiet_seconds)
    replicator.done.set()
    utility.drop_collection(NAME, using="source")
    return 0


if __name__ == "__main__":
    sys.exit(main())
