#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Random faults on the real stack, and every kill point of the data path under load.

    chaos.py FOLDER --seed N --minutes M [--program PATH]     random faults, round after round
    chaos.py FOLDER --points [--program PATH]                 each CRASH_POINT, at its 1st, 2nd, 5th time

The stack's variables are in the environment (stack.sh env) and STACK is its number. A round is the mixed
workload with a seed of its own (from the second half on several clients at once), faults until it is over,
a few more while the backlog drains, then every value of every row compared. The same seed gives the same
choices; what they hit depends on timing. Not among the faults: killing a Milvus, a 2.3.5 loses unflushed
rows by itself. --points needs a program made with VARIANT=test. The first difference ends the run; FOLDER
keeps the data directory and the log.
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from threading import Event, Timer

HERE = Path(__file__).resolve().parent
LIB = HERE.parent / "e2e/lib"
sys.path.insert(0, str(LIB))

from cdc import ROOT, SOURCE, TARGET, Cdc, stack, until  # noqa: E402
from pymilvus import Collection, CollectionSchema, DataType, FieldSchema, connections, db, utility  # noqa: E402
from workload import BATCH, SECOND_DB, Table, Workload, count  # noqa: E402

TIMES = (1, 2, 5)
DATA_POINTS = [
    "reader_appended",
    "journal_written",
    "journal_committed",
    "journal_built",
    "journal_renamed",
    "journal_sealing",
    "journal_removed",
    "apply_committed",
    "applier_intent",
    "applier_sent",
    "applier_marked",
    "applier_ticked",
]
REPLAY_POINTS = ["replay_intent", "replay_sent", "replay_marked"]
# files as small as they can be, so that there are many windows and many segments
SMALL = "journal:\n  segmentSize: 1MiB\n  keep: {keep}\napply:\n  windowSize: 64KiB\n"
_pause = Event()


def wait(seconds: float) -> None:
    _pause.wait(seconds)


class Client(Workload):
    """A further client beside the mixed workload, on collections of its own."""

    def __init__(self, prefix: str, seed: int) -> None:
        super().__init__(SOURCE, seed)
        self.prefix = prefix
        for table in self.tables:
            table.name = prefix + table.name

    def halves(self) -> None:
        pass

    def scratch(self, dim: int) -> None:
        pass

    def check(self) -> int:
        total = 0
        for table in self.loaded():
            rows = count(table.name, table.database)
            assert rows == len(table.live), f"{table.name}: {rows} rows, not {len(table.live)}"
            total += rows
        return total

    def drop(self) -> None:
        for table in self.tables:
            if utility.has_collection(table.name, using=table.database):
                utility.drop_collection(table.name, using=table.database)

    def loaded(self) -> list[Table]:
        return [table for table in self.tables if table.loaded]


class Process:
    """A workload as a process; its last line tells the number of rows."""

    def __init__(self, words: list[str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def over(self) -> bool:
        return self.process.poll() is not None

    def rows(self) -> int | None:
        """None: the client failed, so nobody knows how many rows there should be."""
        out, _ = self.process.communicate(timeout=300)
        if self.process.returncode == 0:
            return int(out.strip().splitlines()[-1].split(" rows")[0].replace(",", ""))
        print("# client failed:", out.strip().splitlines()[-1][:300], flush=True)
        return None


def start_load(rows: int, seed: int, seconds: float) -> Process:
    words = [str(LIB / "workload.py"), "--uri", SOURCE, "--rows", str(rows)]
    return Process([*words, "--seed", str(seed), "--seconds", str(seconds)])


def start_client(prefix: str, rows: int, seed: int, seconds: float) -> Process:
    words = [str(HERE / "chaos.py"), "--client", prefix, "--rows", str(rows)]
    return Process([*words, "--seed", str(seed), "--seconds", str(seconds)])


class Victim(Cdc):
    """The daemon, started without waiting; notices when it ends by itself."""

    def __init__(self, folder: Path, program: str, keep: str) -> None:
        super().__init__(folder, program)
        self.write_config(SMALL.format(keep=keep))
        self.task = ""
        self.alone = 0  # ends that nobody asked for

    def launch(self, crash: str = "") -> None:
        with open(self.log, "ab") as log:
            log.write(f"--- start {crash}\n".encode())
            log.flush()
            self.process = subprocess.Popen(
                [self.program, "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=os.environ | ({"CDC_CRASH": crash} if crash else {}),
            )

    def answers(self) -> None:
        until(lambda: self.http("GET", "/healthz")[0] in (200, 503), 20, "milvus-cdc answers: " + self.tail())

    def hit(self, sig: int) -> None:
        assert self.process
        if self.process.poll() is not None:
            self.alone += 1
            print(f"# ended by itself: {self.process.returncode}: {self.tail()}", flush=True)
            self.process = None
            return
        self.end(sig)


class Tally:
    """fault x times x rows compared x lost x doubled."""

    def __init__(self) -> None:
        self.times: Counter[str] = Counter()
        self.columns = {name: Counter[str]() for name in ("rows", "lost", "doubled", "wrong")}
        self.fresh: Counter[str] = Counter()

    def add(self, fault: str) -> None:
        self.times[fault] += 1
        self.fresh[fault] += 1

    def compared(self, **found: int) -> None:
        """What a comparison found counts for each fault since the one before."""
        for fault in self.fresh:
            for name, n in found.items():
                self.columns[name][fault] += n
        self.fresh.clear()

    def show(self) -> None:
        print(f"{'fault':34}{'times':>7}{'rows compared':>15}" + "".join(f"{n:>9}" for n in list(self.columns)[1:]))
        for fault in sorted(self.times):
            numbers = [self.columns[name][fault] for name in self.columns]
            print(f"{fault:34}{self.times[fault]:>7}{numbers[0]:>15,}" + "".join(f"{n:>9,}" for n in numbers[1:]))
        print(f"{'all':34}{sum(self.times.values()):>7}", flush=True)


def number(text: str) -> int:
    return int(text.replace(",", "").split()[0])


def check(tally: Tally, rows: int | None) -> bool:
    """Compares everything; an equal result is looked at twice, nothing may arrive later."""
    words = [sys.executable, str(LIB / "compare.py"), "--source", SOURCE, "--target", TARGET, "--target-eventually"]
    if rows is not None:
        words += ["--rows", str(rows)]
    for patience in ("120", "0"):
        run = subprocess.run([*words, "--timeout", patience], capture_output=True, text=True)
        lines = run.stdout.strip().splitlines()
        if run.returncode:
            break
    counted, lost, doubled, wrong = 0, 0, 0, 0
    for line in lines:
        if " rows, " in line and line.startswith("source "):
            counted = number(line.removeprefix("source "))
        elif "count(*): source " in line:
            source, target = (number(part.split(" ", 1)[1]) for part in line.split("count(*): ")[1].split(", "))
            lost, doubled = lost + max(0, source - target), doubled + max(0, target - source)
        elif "only on the source" in line:
            lost += 1
        elif "only on the target" in line:
            doubled += 1
        elif line.startswith("  "):
            wrong += 1
    tally.compared(rows=counted, lost=lost, doubled=doubled, wrong=wrong)
    print("# " + "\n# ".join(lines if run.returncode else lines[-1:]), run.stderr[-1000:], flush=True)
    return run.returncode == 0


# --- random faults -------------------------------------------------------------------------------


class Chaos:
    def __init__(self, cdc: Victim, rnd: random.Random) -> None:
        self.cdc, self.rnd, self.tally = cdc, rnd, Tally()
        self.servers_left = 0  # kills of etcd or Kafka in this round

    def again(self) -> None:
        self.cdc.launch()

    def kill(self, name: str = "SIGKILL") -> None:
        wait(self.rnd.uniform(0.2, 4))
        self.cdc.hit(signal.SIGKILL)
        self.tally.add(name)
        self.again()

    def term(self) -> None:
        wait(self.rnd.uniform(0.2, 3))
        self.cdc.hit(signal.SIGTERM)
        self.tally.add("SIGTERM")
        self.again()

    def pause(self) -> None:
        self.cdc.answers()
        self.cdc.pause(self.cdc.task)
        killed = self.rnd.random() < 0.5
        if killed:
            self.kill("SIGKILL while paused")
            self.cdc.answers()
        wait(self.rnd.uniform(0.05, 2))
        self.cdc.resume(self.cdc.task)
        self.tally.add("pause and resume")

    def freeze(self, part: str) -> None:
        stack("freeze", part)
        try:
            if self.rnd.random() < 0.5:
                self.kill(f"SIGKILL while {part} is frozen")
            else:
                wait(self.rnd.uniform(1, 5))
        finally:
            stack("thaw", part)
        self.tally.add(f"freeze and thaw {part}")

    def outage(self, part: str) -> None:
        if not self.servers_left:
            return self.kill()
        self.servers_left -= 1
        stack("kill", part)
        if self.rnd.random() < 0.5:
            self.kill(f"SIGKILL while {part} is away")
        stack("start", part)
        self.tally.add(f"kill and start {part}")

    def fault(self) -> None:
        faults: list[tuple[int, Callable[[], None]]] = [
            (52, self.kill),
            (8, self.term),
            (12, self.pause),
            (8, lambda: self.freeze("kafka")),
            (8, lambda: self.freeze("target")),
            (6, lambda: self.outage("source-etcd")),
            (6, lambda: self.outage("kafka")),
        ]
        self.rnd.choices([f for _, f in faults], [share for share, _ in faults])[0]()

    def round(self, seed: int, clients: int) -> bool:
        self.servers_left = 1 if self.rnd.random() < 0.6 else 0
        rows, seconds = self.rnd.randrange(2_000, 8_000), self.rnd.uniform(10, 30)
        loads = [start_load(rows, seed, seconds)]
        loads += [start_client(f"c{i}_", rows // 2, seed + i, seconds) for i in range(1, clients)]
        while not all(load.over() for load in loads):
            self.fault()
        known = [load.rows() for load in loads]
        for _ in range(self.rnd.randrange(3)):  # while the backlog drains
            self.kill("SIGKILL while draining")
        return check(self.tally, None if None in known else sum(n or 0 for n in known))


def random_faults(cdc: Victim, seed: int, minutes: float) -> int:
    chaos = Chaos(cdc, random.Random(seed))
    connections.connect("default", uri=SOURCE)
    if SECOND_DB not in db.list_database():
        db.create_database(SECOND_DB)
    cdc.launch()
    cdc.answers()
    cdc.task = cdc.create()
    start, n, equal = time.monotonic(), 0, True
    try:
        while equal and time.monotonic() - start < minutes * 60:
            late = time.monotonic() - start > minutes * 30
            clients = chaos.rnd.choice([2, 3]) if late else 1
            n += 1
            print(f"# round {n}, seed {seed * 1000 + n}, {clients} clients", flush=True)
            equal = chaos.round(seed * 1000 + n, clients)
    finally:
        chaos.tally.show()
        if cdc.process:
            cdc.end()
    print(f"{n} rounds, {cdc.alone} ends by itself, {'all equal' if equal else 'DIFFERENT, see ' + str(cdc.folder)}")
    return 0 if equal and not cdc.alone else 1


# --- kill points ---------------------------------------------------------------------------------


class Points:
    def __init__(self, cdc: Victim) -> None:
        self.cdc, self.tally = cdc, Tally()
        self.load: Process | None = None
        self.seed = 0
        self.missed: list[str] = []
        self.filled = 0
        schema = CollectionSchema([field("id"), FieldSchema("v", DataType.FLOAT_VECTOR, dim=128)])
        if utility.has_collection("fat", using="source"):
            utility.drop_collection("fat", using="source")
        self.fill = Collection("fat", schema, using="source", num_shards=1)
        self.fill.create_index("v", {"index_type": "FLAT", "metric_type": "L2", "params": {}})
        self.fill.load()

    def under_load(self) -> None:
        if self.load and self.load.over():
            self.load.rows()
            self.load = None
        if not self.load:
            self.seed += 1
            self.load = start_load(6_000, self.seed, 25)

    def dies(self, point: str, seconds: float, meanwhile: Callable[[], None] = lambda: None) -> None:
        """The daemon runs until it passes the point; a call in flight at that moment fails."""
        self.cdc.launch(point)
        process = self.cdc.process
        assert process
        timer = Timer(seconds, process.terminate)
        timer.start()
        with contextlib.suppress(Exception):
            self.cdc.answers()
            meanwhile()
        timer.cancel()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            self.missed.append(point)
        else:
            if process.returncode == 0:  # the timer's SIGTERM
                self.missed.append(point)
            else:
                assert process.returncode == -signal.SIGKILL, f"{point}: {process.returncode} {self.cdc.tail()}"
                self.tally.add(point)
        self.cdc.process = None

    def fat(self) -> None:
        """A megabyte at a time, so that segments come and go."""
        process = self.cdc.process
        assert process
        while process.poll() is None:
            self.fill.insert([[*range(self.filled, self.filled + 2_000)], [[1.0 / (self.filled + 1)] * 128] * 2_000])
            self.filled += 2_000

    def walk(self, n: int) -> bool:
        for point in DATA_POINTS:
            self.under_load()
            if point.startswith("journal_") and point not in ("journal_written", "journal_committed"):
                self.dies(f"{point}:{n}", 25, self.fat)
            else:
                self.dies(f"{point}:{n}", 25)
        self.cdc.launch()
        if self.load:
            self.load.rows()
            self.load = None
        return check(self.tally, None)

    def retry(self) -> None:
        """The operator's way to have collections on hold tried at once."""
        self.cdc.pause(self.cdc.task)
        self.cdc.resume(self.cdc.task)

    def replay(self, n: int) -> bool:
        """A name taken on the target puts the collection on hold; with the name free again it is replayed."""
        for point in REPLAY_POINTS:
            name = f"held_{point}_{n}"
            if utility.has_collection(name, using="source"):
                utility.drop_collection(name, using="source")
            other = CollectionSchema([field("key"), FieldSchema("w", DataType.FLOAT_VECTOR, dim=2)])
            Collection(name, other, using="target")
            schema = CollectionSchema([field("id"), FieldSchema("v", DataType.FLOAT_VECTOR, dim=64)])
            held = Collection(name, schema, using="source", num_shards=2)
            held.create_index("v", {"index_type": "FLAT", "metric_type": "L2", "params": {}})
            held.load()
            for first in range(0, 2_000, BATCH):
                held.insert([[*range(first, first + BATCH)], [[float(first + i)] * 64 for i in range(BATCH)]])
            held.delete(f"id in [{', '.join(map(str, range(0, 2_000, 7)))}]")
            self.cdc.launch()
            self.cdc.answers()
            until(lambda name=name: name in str(self.cdc.get(self.cdc.task)["health"]), 60, f"{name} is on hold")
            utility.drop_collection(name, using="target")
            self.cdc.end(signal.SIGKILL)
            self.dies(f"{point}:{n}", 20, self.retry)
        self.cdc.launch()
        self.cdc.answers()
        self.retry()
        return check(self.tally, None)

    def create(self, point: str) -> None:
        """A task whose making was cut short is there in full or not at all (R30)."""
        self.dies(f"{point}:1", 20, lambda: setattr(self.cdc, "task", self.cdc.create()))
        self.cdc.launch()
        self.cdc.answers()
        for task in self.cdc.ask("list")[1]["data"]["tasks"]:
            self.cdc.delete(str(task["task_id"]))
        self.cdc.end()

    def delete(self, point: str) -> None:
        self.cdc.launch()
        self.cdc.answers()
        tasks = self.cdc.ask("list")[1]["data"]["tasks"]
        task = str(tasks[0]["task_id"]) if tasks else self.cdc.create()
        self.cdc.end()
        self.dies(f"{point}:1", 20, lambda: self.cdc.delete(task))
        self.cdc.launch()
        self.cdc.answers()
        assert not self.cdc.ask("list")[1]["data"]["tasks"], f"{point}: the task is still there"
        self.cdc.end()


def field(name: str) -> FieldSchema:
    return FieldSchema(name, DataType.INT64, is_primary=True)


def all_points(cdc: Victim, times: list[int]) -> int:
    connections.connect("source", uri=SOURCE)
    connections.connect("target", uri=TARGET)
    points = Points(cdc)
    equal = True
    try:
        for point in ("task_row", "task_folder"):
            points.create(point)
        cdc.launch()
        cdc.answers()
        cdc.task = cdc.create()
        cdc.end(signal.SIGKILL)
        for n in times:
            equal = equal and points.walk(n)
            cdc.end(signal.SIGKILL)
            equal = equal and points.replay(n)
            cdc.end(signal.SIGKILL)
        for point in ("task_deleting", "task_trashed") if equal else ():
            points.delete(point)
    finally:
        points.tally.show()
        if points.load:
            points.load.process.kill()
        if cdc.process:
            cdc.end(signal.SIGKILL)
    print("not reached:", ", ".join(points.missed) or "none")
    print("all equal" if equal else f"DIFFERENT, see {cdc.folder}")
    return 0 if equal else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--points", action="store_true")
    parser.add_argument("--times", type=int, nargs="+", default=TIMES, help="of --points")
    parser.add_argument("--program", default=str(ROOT / "build/test/milvus-cdc"))
    parser.add_argument("--client", metavar="PREFIX", help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, default=2_000, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.client:
        client = Client(args.client, args.seed)
        client.create()
        print(f"{client.run(args.rows, args.seconds)} rows")
        return 0
    if not args.folder:
        parser.error("FOLDER is missing")
    if args.points:
        return all_points(Victim(args.folder.resolve(), args.program, "0s"), args.times)
    return random_faults(Victim(args.folder.resolve(), args.program, "7d"), args.seed, args.minutes)


if __name__ == "__main__":
    sys.exit(main())
