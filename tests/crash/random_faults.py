# SPDX-License-Identifier: Apache-2.0
"""Random faults under mixed load, round after round: SIGKILLs above all, at random moments."""

import random
import signal
import time
from collections.abc import Callable

from cdc import SOURCE, stack
from pymilvus import connections, db
from soak import create_shared, make_readable
from tally import Tally
from victim import Loads, Victim, clear, fresh, wait
from workload import SECOND_DB


class Chaos:
    def __init__(self, cdc: Victim, rnd: random.Random, tally: Tally) -> None:
        self.cdc, self.rnd, self.tally = cdc, rnd, tally
        self.loads = Loads(cdc.folder)
        self.kills = 0
        self.servers_left = 0  # kills of etcd or Kafka in this round

    # --- faults ----------------------------------------------------------------------------------

    def kill(self, name: str = "SIGKILL at a random moment") -> None:
        wait(self.rnd.uniform(0.1, 3))
        self.cdc.hit(signal.SIGKILL)
        self.kills += 1
        self.tally.add(name)
        self.cdc.launch()

    def early(self) -> None:
        """Dies again while it starts."""
        for _ in range(self.rnd.randrange(2, 5)):
            wait(self.rnd.uniform(0.01, 0.4))
            self.cdc.hit(signal.SIGKILL)
            self.kills += 1
            self.tally.add("SIGKILL while starting")
            self.cdc.launch()

    def term(self) -> None:
        wait(self.rnd.uniform(0.2, 3))
        self.cdc.hit(signal.SIGTERM)
        self.tally.add("SIGTERM")
        self.cdc.launch()

    def pause(self) -> None:
        self.cdc.answers()
        self.cdc.pause(self.cdc.task)
        if self.rnd.random() < 0.5:
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
        self.tally.add(f"{part} frozen for moments")

    def outage(self, part: str) -> None:
        if not self.servers_left:
            return self.kill()
        self.servers_left -= 1
        stack("kill", part)
        if self.rnd.random() < 0.5:
            self.kill(f"SIGKILL while {part} is away")
        stack("start", part)
        self.tally.add(f"{part} killed and started at once")

    def fault(self) -> None:
        faults: list[tuple[int, Callable[[], None]]] = [
            (50, self.kill),
            (8, self.early),
            (6, self.term),
            (10, self.pause),
            (8, lambda: self.freeze("kafka")),
            (8, lambda: self.freeze("target")),
            (5, lambda: self.outage("source-etcd")),
            (5, lambda: self.outage("kafka")),
        ]
        self.rnd.choices([f for _, f in faults], [share for share, _ in faults])[0]()

    # --- rounds ----------------------------------------------------------------------------------

    def start_loads(self, seed: int, seconds: float, rows: int) -> bool:
        """Is it the model's load?"""
        if self.rnd.random() < 0.5:
            create_shared()
            for number in range(self.rnd.choice([2, 3])):
                self.loads.model(number, seed, seconds)
            return True
        if SECOND_DB not in db.list_database():  # two clients would both make it
            db.create_database(SECOND_DB)
        self.loads.mixed(rows, seed, seconds)
        for i in range(self.rnd.choice([0, 1, 2])):
            self.loads.further(f"d{i}_", rows // 2, seed + i, seconds)
        return False

    def round(self, seed: int) -> bool:
        self.servers_left = 1 if self.rnd.random() < 0.5 else 0
        rows, seconds = self.rnd.randrange(2_000, 6_000), self.rnd.uniform(15, 30)
        clear(SOURCE)
        model = self.start_loads(seed, seconds, rows)
        while not self.loads.over():
            self.fault()
        known = self.loads.rows()
        for _ in range(self.rnd.randrange(3)):  # while the backlog drains
            self.kill("SIGKILL while draining")
        if model:
            make_readable()
        return self.tally.check(rows=None if model else known)


def run(cdc: Victim, tally: Tally, seed: int, minutes: float, kills: int, rounds: int = 1000) -> bool:
    """At least so many minutes and so many kills, at most so many rounds."""
    chaos = Chaos(cdc, random.Random(seed), tally)
    fresh(cdc)
    start, n, equal = time.monotonic(), 0, True
    try:
        while equal and n < rounds and (time.monotonic() - start < minutes * 60 or chaos.kills < kills):
            n += 1
            print(f"# round {n}, seed {seed * 1000 + n}, {chaos.kills} kills so far", flush=True)
            equal = chaos.round(seed * 1000 + n)
    finally:
        chaos.loads.end()
        if cdc.process:
            cdc.end(signal.SIGKILL)
    print(f"# {n} rounds, {chaos.kills} kills, {cdc.alone} ends by itself", flush=True)
    return equal and not cdc.alone
