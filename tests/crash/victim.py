# SPDX-License-Identifier: Apache-2.0
"""The daemon that the faults hit, and the load beside it."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Event

from cdc import LIB, ROOT, SOURCE, TARGET, Cdc, until
from pymilvus import connections, db, utility
from pymilvus.client.prepare import Prepare
from workload import Table, Workload, count

HERE = Path(__file__).resolve().parent
MODEL = ROOT / "tests/model"
sys.path.insert(0, str(MODEL))

MODE = "upsert" if os.environ.get("TARGET_TT") == "true" else "replicate"
# files as small as they can be, so that there are many windows and many segments
SMALL = "journal:\n  segmentSize: 1MiB\n  keep: {keep}\napply:\n  windowSize: 64KiB\n"
_pause = Event()


def wait(seconds: float) -> None:
    """Of a fault's choice: how long it lasts, or when it comes. Never for a state."""
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
    """A workload as a process; the last line of the mixed one tells the number of rows."""

    def __init__(self, words: list[str], log: Path) -> None:
        self.log = log
        with open(log, "w") as out:
            self.process = subprocess.Popen([sys.executable, *words], stdout=out, stderr=subprocess.STDOUT)

    def over(self) -> bool:
        return self.process.poll() is not None

    def last(self) -> str:
        lines = self.log.read_text().strip().splitlines()
        return lines[-1][:300] if lines else "nothing"

    def rows(self) -> int | None:
        """None: nobody knows how many rows there should be, a client of the model or one that failed."""
        self.process.wait(300)
        if self.process.returncode:
            print("# client failed:", self.last(), flush=True)
        elif not self.last().startswith("{"):
            return int(self.last().split(" rows")[0].replace(",", ""))
        return None


class Loads:
    """Several clients at once, until they are over or ended."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.running = folder, list[Process]()

    def add(self, name: str, words: list[str]) -> Process:
        self.running.append(Process(words, self.folder / f"{name}.log"))
        return self.running[-1]

    def mixed(self, rows: int, seed: int, seconds: float) -> Process:
        words = [str(LIB / "workload.py"), "--uri", SOURCE, "--rows", str(rows)]
        words += ["--no-float16"] if MODE == "upsert" else []
        return self.add("mixed", [*words, "--seed", str(seed), "--seconds", str(seconds)])

    def further(self, prefix: str, rows: int, seed: int, seconds: float) -> Process:
        words = [str(HERE / "chaos.py"), "--client", prefix, "--rows", str(rows)]
        return self.add(prefix, [*words, "--seed", str(seed), "--seconds", str(seconds)])

    def model(self, number: int, seed: int, seconds: float) -> Process:
        """Every operation there is, auto-ID and several rows of one key among them."""
        words = [str(MODEL / "client.py"), "--uri", SOURCE, "--seed", str(seed), "--number", str(number)]
        words += ["--seconds", str(seconds)] + (["--plain"] if MODE == "upsert" else [])
        return self.add(f"model{number}", words)

    def over(self) -> bool:
        return all(load.over() for load in self.running)

    def rows(self) -> int | None:
        known = [load.rows() for load in self.running]
        self.running.clear()
        return None if None in known else sum(n or 0 for n in known)

    def end(self) -> None:
        for load in self.running:
            load.process.kill()
            load.process.wait()
        self.running.clear()


class Victim(Cdc):
    """The daemon, started without waiting; notices when it ends by itself."""

    def __init__(self, folder: Path, program: str, keep: str = "7d") -> None:
        self.inside: list[str] = []  # a command in front, as of a network namespace
        self.environment: dict[str, str] = {}
        super().__init__(folder, program)
        self.write_config(SMALL.format(keep=keep))
        self.task = ""
        self.uri = TARGET
        self.alone = 0  # ends that nobody asked for

    def launch(self, crash: str = "") -> None:
        assert not self.process, "one process at a time"
        env = os.environ | self.environment | ({"CDC_CRASH": crash} if crash else {})
        with open(self.log, "ab") as log:
            log.write(f"--- start {crash}\n".encode())
            log.flush()
            self.process = subprocess.Popen(
                [*self.inside, self.program, "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=env,
            )

    def started(self) -> str:
        """Runs, with a task for everything."""
        self.launch()
        self.answers()
        tasks = self.ask("list")[1]["data"]["tasks"]
        self.task = str(tasks[0]["task_id"]) if tasks else self.create(uri=self.uri)
        assert self.get(self.task)["mode"] == MODE, f"TARGET_TT does not fit the target: {self.get(self.task)}"
        return self.task

    def hit(self, sig: int) -> None:
        assert self.process
        if self.process.poll() is not None:
            self.alone += 1
            print(f"# ended by itself: {self.process.returncode}: {self.tail()}", flush=True)
            self.process = None
            return
        self.end(sig)


def clear(uri: str) -> None:
    """Everything on a server is dropped. By its plain calls: pymilvus cannot describe half-precision vectors."""
    connections.connect("clear", uri=uri, timeout=60)
    for database in db.list_database(using="clear"):
        alias = f"clear/{uri}/{database}"
        if not connections.has_connection(alias):
            connections.connect(alias, uri=uri, db_name=database, timeout=60)
        calls = connections._fetch_handler(alias)
        for name in calls.list_collections():
            for other in calls._stub.DescribeCollection(Prepare.describe_collection_request(name)).aliases:
                calls.drop_alias(other)
            calls.drop_collection(name)
        if database != "default":
            connections.disconnect(alias)
            db.drop_database(database, using="clear")
    connections.disconnect("clear")


def reload_source() -> None:
    """A source whose etcd went away in the middle of a release shows fewer rows than its metadata says are loaded, and
    one that was killed may go on loading for ever."""
    for database in db.list_database():
        connections.connect("reload", uri=SOURCE, db_name=database, timeout=60)
        calls = connections._fetch_handler("reload")
        for name in calls.list_collections():
            if calls.get_load_state(name).name in ("Loaded", "Loading"):
                calls.release_collection(name)
                calls.load_collection(name, timeout=120)
        connections.disconnect("reload")


def fresh(cdc: Victim) -> None:
    """Both servers are empty before there is a task: what an older one has left is nobody's."""
    connect()
    clear(SOURCE)
    if not (cdc.folder / "data").exists():
        clear(TARGET)
    cdc.started()


def connect() -> None:
    for alias in ("default", "source"):
        if not connections.has_connection(alias):
            connections.connect(alias, uri=SOURCE, timeout=60)
