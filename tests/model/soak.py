#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The model workload against the daemon: several clients at once, a pause and a SIGKILL on the way, then
everything compared.

    soak.py FOLDER [--seeds 1,2,3 | --seeds 50] [--seconds 60] [--clients 3] [--plain]

The stack's variables are in the environment (stack.sh env). A round is one seed. It ends with three
comparisons by the independent comparer: as the clients left it; after every collection was given an index
and loaded, so that the rows of all can be read; after everything was dropped. --plain: the target is an
ordinary Milvus (mode upsert). The first difference ends the run; FOLDER keeps data directory and log.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from threading import Event

HERE = Path(__file__).resolve().parent
LIB = HERE.parent / "e2e/lib"
sys.path.insert(0, str(LIB))

from cdc import SOURCE, TARGET, Cdc, until  # noqa: E402
from clean import empty  # noqa: E402
from client import create_shared  # noqa: E402
from pymilvus import Collection, DataType, connections, db, utility  # noqa: E402

_pause = Event()


class Clients:
    def __init__(self, seed: int, count: int, seconds: float, plain: bool, folder: Path) -> None:
        self.logs = [folder / f"client-{seed}-{k}.log" for k in range(count)]
        self.processes = [
            subprocess.Popen(
                [sys.executable, str(HERE / "client.py"), "--uri", SOURCE, "--seed", str(seed), "--number", str(k)]
                + ["--seconds", str(seconds)]
                + (["--plain"] if plain else []),
                stdout=open(log, "w"),
                stderr=subprocess.STDOUT,
            )
            for k, log in enumerate(self.logs)
        ]

    def wait(self, seconds: float) -> Counter[str]:
        ops: Counter[str] = Counter()
        for process, log in zip(self.processes, self.logs):
            process.wait(seconds)
            lines = log.read_text().strip().splitlines() or ["nothing"]
            assert process.returncode == 0, f"the client failed on the source: {lines[-1][:500]}"
            ops.update(json.loads(lines[-1]))
        return ops


def compare(plain: bool, timeout: float) -> str:
    words = [sys.executable, str(LIB / "compare.py"), "--source", SOURCE, "--target", TARGET]
    words += ["--plain-target"] if plain else ["--target-eventually"]
    run = subprocess.run([*words, "--timeout", str(timeout)], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
    return run.stdout.strip().splitlines()[-1]


def every_collection() -> list[tuple[str, str]]:
    found = []
    for database in db.list_database():
        if not connections.has_connection(f"soak/{database}"):
            connections.connect(f"soak/{database}", uri=SOURCE, db_name=database, timeout=60)
        found += [(f"soak/{database}", name) for name in utility.list_collections(using=f"soak/{database}")]
    return found


def make_readable() -> None:
    """An index for every vector, and every collection loaded as a whole."""
    for alias, name in every_collection():
        c = Collection(name, using=alias)
        indexed = {index.field_name for index in c.indexes}
        for f in c.schema.fields:
            if f.dtype in (DataType.FLOAT_VECTOR, DataType.BINARY_VECTOR) and f.name not in indexed:
                binary = f.dtype == DataType.BINARY_VECTOR
                params = {"index_type": "BIN_FLAT", "metric_type": "HAMMING"} if binary else {"index_type": "FLAT"}
                c.create_index(f.name, {"metric_type": "L2", "params": {}} | params, index_name="read")
        c.load(_async=True)
    for alias, name in every_collection():
        utility.wait_for_loading_complete(name, using=alias, timeout=120)


def drop_everything() -> None:
    for alias in [name for name, _ in connections.list_connections() if name.startswith("soak/")]:
        connections.disconnect(alias)
    empty("source", SOURCE)


def disturb(cdc: Cdc, task: str, rnd: random.Random, seconds: float) -> None:
    """A pause and a SIGKILL, at moments of the seed's choice."""
    begin = time.monotonic()

    def at(share: float) -> None:
        _pause.wait(max(0.0, begin + share * seconds - time.monotonic()))

    at(rnd.uniform(0.1, 0.4))
    cdc.pause(task)
    at(rnd.uniform(0.42, 0.5))
    if rnd.random() < 0.5:
        cdc.end(signal.SIGKILL)
        cdc.start()
    cdc.resume(task)
    at(rnd.uniform(0.6, 0.9))
    cdc.end(signal.SIGKILL)
    cdc.start()


def the_task(cdc: Cdc) -> str:
    tasks = cdc.ask("list")[1]["data"]["tasks"]
    return str(tasks[0]["task_id"]) if tasks else cdc.create()


def one_round(cdc: Cdc, seed: int, seconds: float, count: int, plain: bool) -> str:
    rnd = random.Random(seed)
    if not connections.has_connection("default"):
        connections.connect("default", uri=SOURCE, timeout=60)
    task = the_task(cdc)
    drop_everything()
    create_shared()
    clients = Clients(seed, count, seconds, plain, cdc.folder)
    try:
        disturb(cdc, task, rnd, seconds)
        ops = clients.wait(seconds + 120)
    finally:
        for process in clients.processes:
            process.kill()
    first = compare(plain, 90)
    make_readable()
    second = compare(plain, 90)
    drop_everything()
    compare(plain, 60)
    health = until(lambda: cdc.get(task)["health"], 10, "health")
    assert health["status"] == "ok", health
    return f"{sum(ops.values())} operations of {len(ops)} kinds; {first.split(', ')[0]}; loaded: {second}"


def seeds_of(text: str) -> list[int]:
    return [int(s) for s in text.split(",") if s] if "," in text else list(range(1, int(text) + 1))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", default="3", help="a number, or a list as 7,8,9")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=3)
    parser.add_argument("--plain", action="store_true")
    args = parser.parse_args()
    cdc = Cdc(args.folder.resolve())
    cdc.start()
    try:
        for seed in seeds_of(args.seeds):
            print(f"seed {seed}: {one_round(cdc, seed, args.seconds, args.clients, args.plain)}", flush=True)
    except AssertionError as e:
        print(f"seed {seed}: DIFFERENT, see {cdc.folder}\n{e}")
        return 1
    finally:
        if cdc.process:
            cdc.end()
    return 0


if __name__ == "__main__":
    os.environ.setdefault("STACK", "0")
    sys.exit(main())
