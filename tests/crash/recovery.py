# SPDX-License-Identifier: Apache-2.0
"""How soon all goes on after a part answers again: the frame of each fault that is an outage."""

import time
from collections.abc import Callable

import broker
from cdc import until
from tally import WITHIN, Tally
from victim import Loads, Victim, fresh, reload_source, wait

PATIENCE = 120  # seconds, until a part that was ended answers, and until the daemon goes on


class Outages:
    """One fault after another, each under load, each followed by a comparison."""

    def __init__(self, cdc: Victim, tally: Tally, seed: int) -> None:
        self.cdc, self.tally, self.seed = cdc, tally, seed
        self.loads = Loads(cdc.folder)
        self.slow: list[str] = []
        self.parts = 0

    # --- what is looked at -----------------------------------------------------------------------

    def applied_at(self) -> tuple[bool, float]:
        """Is the task well, and how new its target is (source time, in s)."""
        status, answer = self.cdc.ask("get", {"task_id": self.cdc.task})
        task = answer["data"]["task"]
        return task["health"]["status"] == "ok", time.time() - task["progress"]["lag_ms"] / 1000

    def ticks(self) -> None:
        """The source itself works again: its ticks arrive in Kafka."""
        topic = "by-dev-rootcoord-dml_0"
        before = until(lambda: broker.offset(topic, broker.LATEST), PATIENCE, "Kafka answers")
        until(lambda: broker.offset(topic, broker.LATEST) > before + 1, PATIENCE, "the source sends ticks")

    def goes_on(self, since: float, before: float) -> float:
        """Seconds from since until the task is well and its target newer than before."""

        def well() -> bool:
            ok, at = self.applied_at()
            return ok and at > before + 0.2

        until(well, PATIENCE, f"the task goes on: {self.cdc.tail()}")
        return time.monotonic() - since

    # --- the frame -------------------------------------------------------------------------------

    def load(self, seconds: float) -> None:
        self.seed += 1
        self.loads.mixed(800, self.seed, seconds)

    def flowing(self) -> None:
        start = self.cdc.progress(self.cdc.task)["applied"]
        until(lambda: self.cdc.progress(self.cdc.task)["applied"] > start + 200, 300, "rows flow")

    def during(
        self,
        fault: str,
        begin: Callable[[], None],
        end: Callable[[], None],
        seconds: float,
        load: float = 0,
        ticking: bool = True,
    ) -> bool:
        """A fault of so many seconds. end() returns when the part answers a real call."""
        print(f"# {fault}", flush=True)
        self.load(load or seconds + 8)
        self.flowing()
        begin()
        wait(seconds)
        _, before = self.applied_at()
        end()
        if ticking:
            self.ticks()
        return self.back(fault, time.monotonic(), before)

    def back(self, fault: str, since: float, before: float) -> bool:
        took = self.goes_on(since, before)
        print(f"#   goes on after {took:.1f} s", flush=True)
        self.tally.add(fault, took)
        if took > WITHIN:
            self.slow.append(f"{fault}: {took:.1f} s")
        if not self.loads.rows():  # nobody wrote, or who did has failed: the source may have ended, too
            reload_source()
        return self.tally.check(150)

    def run(self, faults: list[tuple[str, Callable[[], bool]]], only: list[str] | None) -> bool:
        equal = True
        try:
            fresh(self.cdc)
            for name, fault in faults:
                if equal and (only is None or any(word in name for word in only)):
                    self.parts += 1
                    equal = fault()
        finally:
            self.loads.end()
        assert self.parts, f"nothing is called {only}: {', '.join(name for name, _ in faults)}"
        print("# slower than", WITHIN, "s:", "; ".join(self.slow) or "none", flush=True)
        return equal and not self.slow
