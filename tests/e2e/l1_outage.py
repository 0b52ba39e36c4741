# SPDX-License-Identifier: Apache-2.0
"""A long outage of the target: the journal grows on disk, memory does not, a deleted task frees its place, the
backlog drains while new rows arrive. OUTAGE_ROWS=2000000 for the long form."""

import os
import time
from pathlib import Path
from threading import Event, Thread

import numpy
from cdc import Cdc, stack, until
from orders import FLAT, source, target
from pymilvus import Collection, CollectionSchema, DataType, FieldSchema, connections

ROWS = int(os.environ.get("OUTAGE_ROWS", "100000"))
BATCH = 5000
MEMORY_MB = 150
DIM = 8


class Memory(Thread):
    """The most that the daemon had resident, looked at all the while."""

    def __init__(self, cdc: Cdc) -> None:
        super().__init__(daemon=True)
        assert cdc.process
        self.path, self.most, self.over = Path(f"/proc/{cdc.process.pid}/status"), 0.0, Event()
        self.start()

    def run(self) -> None:
        while not self.over.wait(0.2):
            for line in self.path.read_text().splitlines():
                if line.startswith("VmRSS"):
                    self.most = max(self.most, int(line.split()[1]) / 1024)

    def end(self) -> float:
        self.over.set()
        self.join()
        return self.most


def insert(c: Collection, first: int, count: int) -> None:
    c.insert([list(range(first, first + count)), list(numpy.full((count, DIM), first, dtype=numpy.float32))])


def size(path: Path) -> int:
    return sum(f.stat().st_size for f in path.rglob("*") if f.is_file())


def count(name: str) -> int:
    calls = connections._fetch_handler(target.on())
    return int(calls.query(name, "", ["count(*)"], consistency_level="Eventually", timeout=20)[0]["count(*)"])


def test_a_long_outage_of_the_target(cdc: Cdc) -> None:
    for task in cdc.ask("list")[1]["data"]["tasks"]:
        cdc.delete(task["task_id"])
    for side in (source, target):
        side.drop(*[n for n in ("l1_rows", "l1_small") if side.has(n)])
    fields = [FieldSchema("id", DataType.INT64, is_primary=True), FieldSchema("v", DataType.FLOAT_VECTOR, dim=DIM)]
    made = [Collection(n, CollectionSchema(fields), using=source.on(), num_shards=2) for n in ("l1_rows", "l1_small")]
    for c in made:
        c.create_index("v", FLAT, index_name="by_v")
        c.load()
    cdc.end()
    cdc.start()
    memory = Memory(cdc)
    task = cdc.create(["l1_rows"])
    doomed = cdc.create(["l1_rows", "l1_small"], name_mapping=[
        {"source_db": "default", "target_db": "default",
         "collection_mapping": {"l1_rows": "l1_rows_again"}}])
    until(lambda: target.has("l1_rows") and target.has("l1_rows_again") and count("l1_rows") == 0, 40, "both arrive")
    until(lambda: 0 <= cdc.progress(task)["lag_ms"] < 3000, 30, "level")
    # what the target itself would lose by a kill is nothing yet: it has no rows
    stack("kill", "target")
    began = time.monotonic()
    for first in range(0, ROWS, BATCH):
        insert(made[0], first, BATCH)
    until(lambda: cdc.progress(task)["journaled"] >= ROWS, 120, "all is captured")
    until(lambda: cdc.progress(doomed)["journaled"] >= ROWS, 120, "by the other task, too")
    took = time.monotonic() - began
    folder = cdc.data
    before = size(folder)
    print(f"# outage: {ROWS} rows in {took:.0f} s, the journals have {before >> 20} MiB, resident {memory.most:.0f} MiB")
    start = time.monotonic()
    cdc.delete(doomed)
    assert time.monotonic() - start < 3, "a delete does not wait for the target"
    until(lambda: size(folder) < before * 0.6, 10, "a delete frees its place at once")
    starting = Thread(target=stack, args=("start", "target"))
    starting.start()
    began, first, new = time.monotonic(), (0.0, 0), 0
    while (applied := cdc.progress(task)["applied"]) < ROWS:
        insert(made[0], ROWS + new, 100)
        new += 100
        if applied and not first[1]:
            first = (time.monotonic(), applied)
        assert time.monotonic() - began < 400, f"the backlog drains: {applied} of {ROWS}"
    starting.join()
    if first[1]:
        rate = (applied - first[1]) / (time.monotonic() - first[0])
        print(f"# drained at {rate:,.0f} rows/s while {new} new rows arrived")
    until(lambda: 0 <= cdc.progress(task)["lag_ms"] < 3000, 60, "lag returns to normal")
    until(lambda: count("l1_rows") == ROWS + new, 60, "every row is there, once")
    most = memory.end()
    print(f"# resident at most {most:.0f} MiB")
    assert most < MEMORY_MB, f"{most:.0f} MiB resident"
    cdc.delete(task)
    source.drop("l1_rows", "l1_small")
    target.drop(*[n for n in ("l1_rows", "l1_small", "l1_rows_again") if target.has(n)])
