# SPDX-License-Identifier: Apache-2.0
"""The target is away while millions of rows arrive: they wait on disk, not in memory, and drain while new ones come."""

import time
from pathlib import Path
from threading import Thread

import numpy
from cdc import TARGET, stack, until
from outages import Others, flush
from pymilvus import Collection, CollectionSchema, DataType, FieldSchema, connections
from tally import WITHIN, Tally
from victim import Victim, fresh

BATCH = 5_000
DIM = 8
MEMORY_MB = 150
NEW = 100  # rows at a time while the backlog drains
LEVEL_MS = 3_000  # as the lag is on an idle stack, with room


class Backlog(Others):
    def __init__(self, cdc: Victim, tally: Tally) -> None:
        super().__init__(cdc, tally, 0)
        fields = [FieldSchema("id", DataType.INT64, is_primary=True)]
        fields.append(FieldSchema("v", DataType.FLOAT_VECTOR, dim=DIM))
        self.rows = Collection("backlog", CollectionSchema(fields), num_shards=2)
        self.rows.create_index("v", {"index_type": "FLAT", "metric_type": "L2", "params": {}})
        self.rows.load()
        self.inserted = 0

    def more(self, count: int) -> None:
        keys = range(self.inserted, self.inserted + count)
        values = numpy.full((count, DIM), self.inserted, dtype=numpy.float32)
        self.rows.insert([list(keys), list(values)])
        self.inserted += count

    def peak_mb(self) -> float:
        """The most that the daemon ever had resident."""
        assert self.cdc.process
        status = Path(f"/proc/{self.cdc.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))

    def level(self) -> bool:
        return 0 <= self.cdc.progress(self.cdc.task)["lag_ms"] < LEVEL_MS

    def arrives(self, count: int) -> float:
        """Rows are in the journal; rows per second."""
        began = time.monotonic()
        while self.inserted < count:
            self.more(BATCH)
        until(lambda: self.cdc.progress(self.cdc.task)["journaled"] >= count, 120, "all is in the journal")
        return count / (time.monotonic() - began)

    def drains(self) -> float:
        """While new rows arrive; rows per second."""
        began, first = time.monotonic(), self.cdc.progress(self.cdc.task)["applied"]
        while not self.level():
            self.more(NEW)
            assert time.monotonic() - began < 900, f"it drains: {self.cdc.progress(self.cdc.task)}"
        return (self.cdc.progress(self.cdc.task)["applied"] - first) / (time.monotonic() - began)

    def outage(self, count: int) -> bool:
        fault = f"target away while {count:,} rows arrive"
        print(f"# {fault}", flush=True)
        until(self.level, 60, "level")
        flush("target", TARGET)
        stack("kill", "target")
        captured = self.arrives(count)
        starting = Thread(target=stack, args=("start", "target"))
        starting.start()
        _, before = self.applied_at()
        starting.join()
        took = self.goes_on(time.monotonic(), before)
        drained, peak = self.drains(), self.peak_mb()
        print(f"#   captured at {captured:,.0f} rows/s, drained at {drained:,.0f} rows/s with {self.inserted - count:,}"
              f" new ones; goes on after {took:.1f} s; {peak:.0f} MiB resident at most", flush=True)
        self.tally.add(fault, took)
        assert peak < MEMORY_MB, f"{peak:.0f} MiB resident"
        return self.tally.check(300) and took <= WITHIN


def run(cdc: Victim, tally: Tally, count: int) -> bool:
    cdc.write_config()  # windows and files as they are by default
    connections.connect("target", uri=TARGET)
    fresh(cdc)
    return Backlog(cdc, tally).outage(count)
