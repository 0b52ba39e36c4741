# SPDX-License-Identifier: Apache-2.0
"""The others die: target, Kafka and etcd of the source are killed, frozen, refuse, or come back as somebody else."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread

import broker
from cdc import ROOT, SOURCE, TARGET, etcdctl, stack, until
from pymilvus import Collection, CollectionSchema, DataType, FieldSchema, connections, db, utility
from recovery import Outages
from tally import Tally
from victim import MODE, Victim, reload_source, wait

RUN = Path(os.environ["RUN_DIR"])
SHORT = ["target frozen for 12", "etcd killed"]
AWAY = ["source-etcd", "target-etcd", "kafka", "source", "target"]
TOPICS = [f"by-dev-rootcoord-dml_{i}" for i in range(4)]  # stack.sh: SOURCE_CHANNELS
REFUSALS = {
    "target refuses: writing denied": "quotaAndLimits/limitWriting/forceDeny",
    "target refuses: password revoked": "common/security/authorizationEnabled",
}


@contextlib.contextmanager
def sessions_kept(etcd: str) -> Iterator[None]:
    """A 2.3.5 that is frozen for longer than its session (30 s) ends when it is thawed: somebody keeps it alive."""
    over = Event()

    def keep() -> None:
        while not over.wait(4):
            for lease in etcdctl(etcd, "lease", "list").split("\n")[1:]:
                if lease:
                    etcdctl(etcd, "lease", "keep-alive", "--once", lease)

    keeper = Thread(target=keep, daemon=True)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()


def source_is_well() -> bool:
    run = subprocess.run([str(ROOT / "tests/stack/stack.sh"), "status"], capture_output=True, text=True)
    return any(line.split()[:2] == ["source", "well"] for line in run.stdout.splitlines())


def flush(side: str, uri: str) -> bool:
    """A 2.3.5 that is killed loses, or does not show, rows that it had not flushed, also without a replicator."""
    for database in db.list_database(using=side):
        alias = f"{side}/{database}"
        if not connections.has_connection(alias):
            connections.connect(alias, uri=uri, db_name=database)
        names = utility.list_collections(using=alias)
        if names:
            connections._fetch_handler(alias).flush(names)
    return True


def target_coordinates() -> bool:
    """Its query coordinator is the last to answer; the window in doubt may be a load or a release."""
    connections.connect("again", uri=TARGET, timeout=5)
    for name in utility.list_collections(using="again", timeout=2):
        connections._fetch_handler("again").get_load_state(name, timeout=2)
    return True


def catalog(alias: str) -> list[tuple[str, list[str]]]:
    """Databases and collections of the target."""
    found = []
    for database in sorted(db.list_database(using=alias)):
        connections.connect(f"look/{database}", uri=TARGET, db_name=database)
        found.append((database, sorted(utility.list_collections(using=f"look/{database}"))))
    return found


class Others(Outages):
    def written(self, seconds: float) -> bool:
        """A load to its end, and everything compared."""
        self.load(seconds)
        return self.compared()

    def settled(self, seconds: float) -> bool:
        """The same, of a task that is seen at work before the load ends."""
        self.load(seconds)
        self.flowing()
        return self.compared()

    def compared(self) -> bool:
        self.loads.rows()
        return self.tally.check(150)

    def source_lives(self) -> None:
        """What lost its etcd or Kafka for long may have ended, or hang while it ends."""
        try:
            until(source_is_well, 20, "the source answers")
        except AssertionError:
            with contextlib.suppress(subprocess.CalledProcessError):  # it has ended
                stack("kill", "source")
            stack("start", "source")
            until(lambda: flush("source", SOURCE), 60, "its data node is there, too")
            reload_source()

    # --- the target ------------------------------------------------------------------------------

    def target_killed(self, fault: str) -> bool:
        """In the middle of a window: it has been sent, and nothing of it is done yet."""
        print(f"# {fault}", flush=True)
        if not self.settled(6):
            return False
        flush("target", TARGET)
        self.cdc.pause(self.cdc.task)
        journaled = self.cdc.progress(self.cdc.task)["journaled"]
        self.load(4)
        until(lambda: self.cdc.progress(self.cdc.task)["journaled"] > journaled + 500, 60, "a backlog")
        stack("freeze", "target")
        self.cdc.resume(self.cdc.task)
        wait(3)
        stack("kill", "target")
        wait(2)
        _, before = self.applied_at()
        stack("start", "target")
        until(target_coordinates, 60, "the target tells what is loaded")
        return self.back(fault, time.monotonic(), before)

    def frozen(self, fault: str, part: str, seconds: float) -> bool:
        with sessions_kept(os.environ["TARGET_ETCD"]):
            begin, end = lambda: stack("freeze", part), lambda: stack("thaw", part)
            return self.during(fault, begin, end, seconds, ticking=part != "target")

    def refusing(self, fault: str) -> bool:
        """A setting of the target, which it takes from its etcd within seconds."""
        etcd, key = os.environ["TARGET_ETCD"], f"by-dev/config/{REFUSALS[fault]}"

        def begin() -> None:
            if MODE != "replicate":  # one that is made meanwhile has no quota for seconds, and would take rows
                fields = [FieldSchema("id", DataType.INT64, is_primary=True)]
                fields.append(FieldSchema("v", DataType.FLOAT_VECTOR, dim=2))
                Collection("probe", CollectionSchema(fields), using="target")
            if "password" in fault:
                utility.update_password("root", "Milvus", "another", using="target")
            etcdctl(etcd, "put", key, "true")
            until(lambda: not self.applied_at()[0], 30, f"{fault}: it is told in health")

        def end() -> None:
            etcdctl(etcd, "del", key)
            until(self.target_takes_rows, 30, "the target takes rows again")

        ok = self.during(fault, begin, end, 10, load=40, ticking=False)  # it may take a while to begin
        if "password" in fault:
            utility.update_password("root", "another", "Milvus", using="target")
        return ok

    def target_takes_rows(self) -> bool:
        """A look is enough to see its users; the quota shows in its own metrics only, so a row of ours: in
        replicate mode there is no quota, and rows of others are refused for ever."""
        if MODE == "replicate":
            return not utility.has_collection("probe", using="target", timeout=2)
        Collection("probe", using="target").insert([[1], [[0.0, 1.0]]], timeout=2)
        utility.drop_collection("probe", using="target")
        return True

    # --- Kafka and etcd --------------------------------------------------------------------------

    def killed(self, fault: str, part: str, seconds: float) -> bool:
        def end() -> None:
            stack("start", part)
            self.source_lives()

        return self.during(fault, lambda: stack("kill", part), end, seconds)

    def at_rest(self) -> bool:
        """A 2.3.5 that loses its etcd for longer than its session ends, and loses what it had not flushed: before
        that, everything is compared and flushed."""
        if not self.settled(5):
            return False
        flush("source", SOURCE)
        flush("target", TARGET)
        return True

    def goes_on_with_rows(self, fault: str, before: float) -> bool:
        """What was there is there, and so is what comes now."""
        return self.back(fault, time.monotonic(), before) and self.written(4)

    def etcd_away(self, fault: str) -> bool:
        print(f"# {fault}", flush=True)
        if not self.at_rest():
            return False
        _, before = self.applied_at()
        stack("kill", "source-etcd")
        wait(60)
        stack("start", "source-etcd")
        self.source_lives()
        self.ticks()
        return self.goes_on_with_rows(fault, before)

    def compacted(self, fault: str) -> bool:
        """While the daemon is down, and while it runs."""
        etcd = os.environ["SOURCE_ETCD"]

        def compact() -> None:
            text = etcdctl(etcd, "endpoint", "status", "-w", "fields")
            revision = next(line.split(":")[1].strip() for line in text.splitlines() if line.startswith('"Revision"'))
            etcdctl(etcd, "compact", revision)
            etcdctl(etcd, "defrag")

        def begin() -> None:
            compact()
            self.cdc.hit(signal.SIGKILL)

        def end() -> None:
            compact()
            self.cdc.launch()
            self.cdc.answers()

        self.load(12)
        self.flowing()
        begin()
        wait(4)
        before = time.time() - 4
        end()
        return self.back(fault, time.monotonic(), before)

    # --- all of them -----------------------------------------------------------------------------

    def all_away(self, fault: str) -> bool:
        """Retries are bounded: hardly any CPU, a line in the log at the 1st, 2nd, 4th, 8th ... failure."""
        print(f"# {fault}", flush=True)
        if not self.at_rest():
            return False
        _, before = self.applied_at()
        for part in AWAY:
            stack("kill", part)
        logged = len(self.cdc.log.read_text())
        wait(10)
        share = self.cpu(50)
        lines = self.cdc.log.read_text()[logged:].splitlines()
        for part in AWAY:
            stack("start", part)
        failures = [int(n) for line in lines for n in re.findall(r"\(failure (\d+), trying on\)", line)]
        print(f"#   {100 * share:.2f} % of a CPU, {len(lines)} lines, failures logged: {sorted(failures)}", flush=True)
        assert share < 0.01, f"{100 * share:.2f} % of a CPU while nothing answers"
        assert failures and all(n & (n - 1) == 0 for n in failures), f"a line at each doubling: {failures}"
        assert max(failures) >= 4, f"it is tried at least each 10 s: {failures}"
        assert len(lines) < 60, f"{len(lines)} lines in a minute"
        self.ticks()
        return self.goes_on_with_rows(fault, before)

    def cpu(self, seconds: float) -> float:
        """The daemon's share of one CPU over that time."""
        assert self.cdc.process
        stat = Path(f"/proc/{self.cdc.process.pid}/stat")

        def used() -> int:
            return sum(int(word) for word in stat.read_text().rsplit(") ", 1)[1].split()[11:13])

        first = used()
        wait(seconds)
        return (used() - first) / os.sysconf("SC_CLK_TCK") / seconds

    # --- somebody else (R6) ----------------------------------------------------------------------

    def other_etcd(self, fault: str, prepare: Callable[[Path], list[str]]) -> bool:
        """The source's etcd makes room for another one at its address, and comes back."""
        print(f"# {fault}", flush=True)
        data, true, other = RUN / "source-etcd/data", RUN / "true-etcd", RUN / "other-etcd"
        options = prepare(other)
        if not self.settled(6):
            return False
        before = catalog("target")
        stack("freeze", "source")
        stack("kill", "source-etcd")
        data.rename(true)
        process = start_etcd(other, options)
        try:
            until(lambda: etcdctl(os.environ["SOURCE_ETCD"], "endpoint", "status"), 30, "the other etcd answers")
            until(lambda: self.held("SOURCE_FOREIGN"), 40, "the task is held with SOURCE_FOREIGN")
            wait(5)
            assert self.held("SOURCE_FOREIGN"), "it stays on hold"
            assert catalog("target") == before, f"{fault}: DDL was written: {before} -> {catalog('target')}"
        finally:
            process.kill()
            process.wait()
            true.rename(data)
            shutil.rmtree(other, ignore_errors=True)
            stack("start", "source-etcd")
            stack("thaw", "source")
        return self.resumed(fault)

    def resumed(self, fault: str) -> bool:
        """What held the task is over; that is for an operator to say."""
        self.tally.add(fault)
        self.source_lives()
        self.ticks()
        self.cdc.resume(self.cdc.task)
        return self.written(4)

    def held(self, error: str) -> bool:
        health = self.cdc.get(self.cdc.task)["health"]
        return health["status"] == "held" and health.get("error") == error

    def foreign(self, fault: str) -> bool:
        """Another cluster, which has no key of ours."""
        return self.other_etcd(fault, lambda folder: ["--initial-cluster-token", "another"])

    def backup(self, fault: str) -> bool:
        """The same cluster, as it was some operations ago."""

        def copy(folder: Path) -> list[str]:
            stack("kill", "source-etcd")
            shutil.copytree(RUN / "source-etcd/data", folder)
            stack("start", "source-etcd")
            self.ticks()
            return []

        return self.other_etcd(fault, copy)

    # --- another log (R11) -----------------------------------------------------------------------

    def other_kafka(self, fault: str, prepare: Callable[[Path], None], fill: Callable[[list[int]], None]) -> bool:
        """Kafka comes back with another log of the same topics, and later with its own."""
        print(f"# {fault}", flush=True)
        data, true, other = RUN / "kafka/data", RUN / "true-kafka", RUN / "other-kafka"
        shutil.rmtree(other, ignore_errors=True)  # of a run that was ended
        prepare(other)
        if not self.settled(6):
            return False
        with sessions_kept(os.environ["SOURCE_ETCD"]):
            stack("freeze", "source")
            ends = [broker.offset(topic, broker.LATEST) for topic in TOPICS]
            stack("kill", "kafka")
            data.rename(true)
            other.rename(data)
            try:
                self.looks_at(lambda: fill(ends))
            finally:
                stack("kill", "kafka")
                shutil.rmtree(data)
                true.rename(data)
                stack("start", "kafka")
                stack("thaw", "source")
        return self.resumed(fault)

    def looks_at(self, fill: Callable[[], None]) -> None:
        """The daemon does not take the other log for its own."""
        applied = self.cdc.progress(self.cdc.task)["applied"]
        stack("start", "kafka")
        fill()
        until(lambda: self.held("POSITION_GONE"), 60, f"the task is held with POSITION_GONE: {self.cdc.tail()}")
        wait(5)
        assert self.held("POSITION_GONE"), "it stays on hold"
        print(f"#   {self.cdc.get(self.cdc.task)['health']['reason']}", flush=True)
        assert self.cdc.progress(self.cdc.task)["applied"] == applied, "something of the other log was applied"

    def kafka_older(self, fault: str) -> bool:
        """Restored from a backup: our offsets are beyond its ends."""

        def copy(folder: Path) -> None:
            self.load(4)  # its topics come with the first collections
            self.loads.rows()
            stack("kill", "kafka")
            shutil.copytree(RUN / "kafka/data", folder)
            stack("start", "kafka")
            self.source_lives()
            self.ticks()

        return self.other_kafka(fault, copy, lambda ends: None)

    def topics_deleted(self, fault: str) -> bool:
        return self.other_kafka(fault, lambda folder: folder.mkdir(), lambda ends: None)

    def topics_made_again(self, fault: str) -> bool:
        """And grown past our offset: only a message that we remember tells."""

        def fill(ends: list[int]) -> None:
            for topic, end in zip(TOPICS, ends, strict=True):
                lines = "".join(f"another message {n}\n" for n in range(end + 100))
                subprocess.run(["kcat", "-P", "-b", os.environ["KAFKA"], "-t", topic], input=lines, text=True, check=True)

        return self.other_kafka(fault, lambda folder: folder.mkdir(), fill)

    def faults(self) -> list[tuple[str, Callable[[], bool]]]:
        each: list[tuple[str, Callable[[str], bool]]] = [
            ("target killed in the middle of a window", self.target_killed),
            ("target frozen for 12 s", lambda f: self.frozen(f, "target", 12)),
            ("target frozen for 45 s", lambda f: self.frozen(f, "target", 45)),
            ("Kafka frozen for 25 s", lambda f: self.frozen(f, "kafka", 25)),
            ("etcd frozen for 18 s", lambda f: self.frozen(f, "source-etcd", 18)),
            ("Kafka killed and restarted", lambda f: self.killed(f, "kafka", 0)),
            ("Kafka away for 60 s", lambda f: self.killed(f, "kafka", 60)),
            ("etcd killed and restarted", lambda f: self.killed(f, "source-etcd", 0)),
            ("etcd away for 60 s", self.etcd_away),
            ("etcd compacted", self.compacted),
            ("everything away for 60 s", self.all_away),
            ("etcd is another cluster (R6)", self.foreign),
            ("etcd restored from an older backup (R6)", self.backup),
            ("Kafka restored from an older backup (R11)", self.kafka_older),
            ("Kafka's topics deleted (R11)", self.topics_deleted),
            ("Kafka's topics deleted, made again and grown (R11)", self.topics_made_again),
            *((name, self.refusing) for name in REFUSALS),
        ]
        if MODE == "replicate":  # its door for replicated messages knows no quota
            each = [one for one in each if "writing denied" not in one[0]]
        return [(name, lambda name=name, fault=fault: fault(name)) for name, fault in each]


def start_etcd(folder: Path, options: list[str]) -> subprocess.Popen[bytes]:
    """At the address of the source's."""
    host, port = os.environ["SOURCE_ETCD"].rsplit(":", 1)
    client, peer = f"http://{host}:{port}", f"http://{host}:{int(port) + 1}"
    words = ["etcd", "--name", "source-etcd", "--data-dir", str(folder), *options]
    words += ["--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer]
    words += ["--initial-advertise-peer-urls", peer, "--initial-cluster", f"source-etcd={peer}"]
    log = open(folder.with_suffix(".log"), "ab")
    process = subprocess.Popen(words, stdout=log, stderr=log)
    return process


def run(cdc: Victim, tally: Tally, seed: int, short: bool, only: list[str] | None) -> bool:
    connections.connect("target", uri=TARGET)
    others = Others(cdc, tally, seed)
    return others.run(others.faults(), only or (SHORT if short else None))
