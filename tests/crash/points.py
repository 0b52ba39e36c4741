# SPDX-License-Identifier: Apache-2.0
"""The daemon dies at every named point of its source tree, each at the 1st, 2nd and 5th passing, and again at once.

The names are read from the source, so a new point is tried by itself; one that is never passed fails the run.
"""

import contextlib
import re
import signal
import subprocess
from collections.abc import Callable
from threading import Timer

from cdc import ROOT, SOURCE, TARGET, until
from pymilvus import Collection, CollectionSchema, DataType, FieldSchema, connections, utility
from soak import create_shared, make_readable
from tally import Tally
from victim import Loads, Victim, clear, connect

START = {"flow_store", "flow_opened"}  # each start passes them once
FAT = {"journal_built", "journal_renamed", "journal_sealing", "journal_removed"}
FLAT = {"index_type": "FLAT", "metric_type": "L2", "params": {}}
BATCH = 500
BEHIND = 10_000  # rows that may wait for the target
MORE = 2  # further deaths at once, at the first passing


def names() -> set[str]:
    """Of all points in the source tree."""
    found: set[str] = set()
    for file in (ROOT / "src").rglob("*.c"):
        found |= set(re.findall(r'\bCRASH_POINT\("(\w+)"\)', file.read_text()))
    assert found, "no CRASH_POINT in the source tree"
    return found


def schema(key: str, vector: str, dim: int) -> CollectionSchema:
    primary = FieldSchema(key, DataType.INT64, is_primary=True)
    return CollectionSchema([primary, FieldSchema(vector, DataType.FLOAT_VECTOR, dim=dim)])


class Points:
    def __init__(self, cdc: Victim, tally: Tally, more: int) -> None:
        self.cdc, self.tally, self.more = cdc, tally, more
        self.loads = Loads(cdc.folder)
        self.seed = self.client = self.filled = self.held = 0
        self.reached: set[str] = set()
        self.missed: set[str] = set()
        self.fill: Collection | None = None

    # --- dying -----------------------------------------------------------------------------------

    def dies(self, point: str, n: int, meanwhile: Callable[[], None] = lambda: None, seconds: float = 30) -> bool:
        """The daemon runs until it passes the point; a call in flight at that moment fails."""
        self.cdc.launch(f"{point}:{n}")
        process = self.cdc.process
        assert process
        timer = Timer(seconds, process.terminate)
        timer.start()
        with contextlib.suppress(Exception):
            self.cdc.answers()
            meanwhile()
        try:
            process.wait(seconds + 10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        timer.cancel()
        self.cdc.process = None
        if process.returncode == -signal.SIGKILL:
            self.reached.add(point)
            self.tally.add(f"dies at {point}")
            return True
        assert process.returncode in (0, -signal.SIGTERM), f"{point}: {process.returncode} {self.cdc.tail()}"
        self.missed.add(point)  # the timer's SIGTERM
        print(f"# {point}:{n} was not passed within {seconds:.0f} s", flush=True)
        return False

    def several(self, point: str, n: int, meanwhile: Callable[[], None] = lambda: None) -> None:
        if self.dies(point, n, meanwhile) and n == 1:
            for _ in range(self.more):
                self.dies(point, 1, meanwhile)

    # --- under load ------------------------------------------------------------------------------

    def under_load(self) -> None:
        """Operations of every kind until the point is passed."""
        if self.loads.over():
            self.loads.rows()
            self.seed += 1
            for _ in range(2):
                self.client += 1  # names of its own: it may begin with nothing
                self.loads.model(self.client, self.seed, 30)

    def fat(self) -> None:
        """A megabyte at a time, so that segments come and go: what is applied is what can go."""
        process = self.cdc.process
        assert process and self.fill

        def follows() -> bool:
            at = self.cdc.progress(self.cdc.task)
            return at["journaled"] - at["applied"] < BEHIND

        while process.poll() is None:
            rows = 2_000
            self.fill.insert([[*range(self.filled, self.filled + rows)], [[1.0 / (self.filled + 1)] * 128] * rows])
            self.filled += rows
            until(lambda: process.poll() is not None or follows(), 60, "what was written is applied")

    def load_passes(self, point: str, n: int) -> None:
        self.under_load()
        self.several(point, n, self.fat if point in FAT else lambda: None)

    # --- on hold, damaged ------------------------------------------------------------------------

    def retry(self) -> None:
        """The operator's way to have collections on hold tried at once."""
        self.cdc.pause(self.cdc.task)
        self.cdc.resume(self.cdc.task)

    def replay(self, point: str, n: int) -> None:
        """A name taken on the target puts the collection on hold; with the name free again it is replayed."""
        self.held += 1
        name = f"held_{self.held}"
        Collection(name, schema("key", "w", 2), using="target")
        held = Collection(name, schema("id", "v", 64), using="source", num_shards=2)
        held.create_index("v", FLAT)
        held.load()
        for first in range(0, 2_000, BATCH):
            held.insert([[*range(first, first + BATCH)], [[float(first + i)] * 64 for i in range(BATCH)]])
        held.delete(f"id in [{', '.join(map(str, range(0, 2_000, 7)))}]")
        self.cdc.launch()
        self.cdc.answers()
        self.cdc.resume(self.cdc.task)  # it may have died between the two of retry()
        until(lambda: name in str(self.cdc.get(self.cdc.task)["health"]), 90, f"{name} is on hold")
        utility.drop_collection(name, using="target")
        self.cdc.end(signal.SIGKILL)
        self.several(point, n, self.retry)

    def repair(self, point: str, n: int) -> None:
        """Flipped bits in a file that is not applied yet (R16)."""
        self.cdc.launch()
        self.cdc.answers()
        self.cdc.pause(self.cdc.task)
        before = self.cdc.progress(self.cdc.task)["journaled"]
        assert self.fill
        for _ in range(8):
            self.fill.insert([[*range(self.filled, self.filled + 2_000)], [[0.5] * 128] * 2_000])
            self.filled += 2_000
        until(lambda: self.cdc.progress(self.cdc.task)["journaled"] >= before + 16_000, 60, "all is in the journal")
        self.cdc.end()
        file = sorted((self.cdc.folder / "data").rglob("journal/[0-9]*.db"))[-1]  # there is a whole one before it
        file.chmod(0o640)
        content = bytearray(file.read_bytes())
        for at in range(len(content) // 2, len(content), 997):
            content[at] ^= 0x5A
        file.write_bytes(content)
        self.dies(point, n, lambda: self.cdc.resume(self.cdc.task))  # once: it is moved, then
        self.cdc.launch()
        self.cdc.answers()
        self.cdc.resume(self.cdc.task)
        self.cdc.end(signal.SIGKILL)

    # --- tasks and files -------------------------------------------------------------------------

    def create(self, point: str) -> None:
        """A task whose making was cut short is there in full or not at all (R30)."""
        self.dies(point, 1, lambda: setattr(self.cdc, "task", self.cdc.create()))
        self.clear()

    def delete(self, point: str) -> None:
        task = self.cdc.started()
        self.cdc.end()
        self.dies(point, 1, lambda: self.cdc.delete(task))
        self.cdc.launch()
        self.cdc.answers()
        assert not self.cdc.ask("list")[1]["data"]["tasks"], f"{point}: the task is still there"
        self.cdc.end()

    def clear(self) -> None:
        self.cdc.launch()
        self.cdc.answers()
        for task in self.cdc.ask("list")[1]["data"]["tasks"]:
            self.cdc.delete(str(task["task_id"]))
        self.cdc.end()

    def migrate(self, point: str) -> None:
        """The data directory of an older version; each start that dies leaves what the next one can take."""
        data = self.cdc.folder / "data"
        assert not data.exists(), "migration comes first"
        data.mkdir()
        archive = ROOT / "tests/fixtures/data-0.1.0.tar.gz"
        subprocess.run(["tar", "-C", str(data), "--strip-components=1", "-xzf", str(archive)], check=True)
        for _ in range(1 if point == "store_migrated" else 1 + self.more):  # then it is migrated
            self.dies(point, 1)
        self.cdc.launch()
        self.cdc.answers()
        assert self.cdc.ask("list")[1]["data"]["tasks"], f"{point}: the older version's task is not there"
        self.cdc.end()
        self.clear()
        subprocess.run(["rm", "-r", str(data)], check=True)

    # --- all -------------------------------------------------------------------------------------

    def walk(self, points: set[str], n: int) -> bool:
        clear(SOURCE)
        create_shared()
        self.fill = Collection("fat", schema("id", "v", 128), using="source", num_shards=1)
        self.fill.create_index("v", FLAT)
        self.fill.load()
        for point in sorted(points):
            if point.startswith("replay_"):
                self.replay(point, n)
            elif point.startswith("repair_"):
                self.repair(point, 1)
            elif point in START:
                self.several(point, 1)
            else:
                self.load_passes(point, n)
        self.cdc.launch()
        self.cdc.answers()
        self.loads.rows()
        self.retry()
        make_readable()
        equal = self.tally.check(180)
        self.cdc.end(signal.SIGKILL)
        return equal


def run(cdc: Victim, tally: Tally, times: list[int], only: list[str] | None) -> bool:
    connect()
    connections.connect("target", uri=TARGET)
    clear(SOURCE)
    clear(TARGET)
    points = Points(cdc, tally, MORE if len(times) > 1 else 0)
    wanted = names() if only is None else names() & set(only)
    assert wanted, f"no such point; there are {', '.join(sorted(names()))}"
    whole = {p for p in wanted if p.startswith(("task_", "store_"))}
    equal = True
    try:
        for point in sorted(p for p in whole if p.startswith("store_")):
            points.migrate(point)
        for point in sorted(whole & {"task_row", "task_folder"}):
            points.create(point)
        if wanted - whole:
            cdc.started()
            cdc.end(signal.SIGKILL)
        for n in times if wanted - whole else []:
            equal = equal and points.walk(wanted - whole, n)
        for point in sorted(whole & {"task_deleting", "task_trashed"}) if equal else []:  # else its data are looked at
            points.delete(point)
    finally:
        points.loads.end()
    never = wanted - points.reached
    print("# not passed at some time:", ", ".join(sorted(points.missed)) or "none", flush=True)
    print("# never passed:", ", ".join(sorted(never)) or "none", flush=True)
    return equal and not never
