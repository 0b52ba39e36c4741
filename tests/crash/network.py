# SPDX-License-Identifier: Apache-2.0
"""The daemon in a network namespace of its own, behind a wire that is cut, loses, delays or slows; and a clock that
jumps. Needs root. Kafka gets one more listener, which is known by the address of the wire's near end."""

import os
import random
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from cdc import TARGET, stack
from recovery import Outages
from tally import Tally
from victim import Victim
from wire import Wire

HERE = Path(__file__).resolve().parent


VIA, TARGET_VIA = 40, 41  # Kafka's further listener (stack.sh), a Milvus has its port on every address: from Kafka's on


def port(address: str) -> int:
    return int(address.rsplit(":", 1)[1])


class Network(Outages):
    def __init__(self, cdc: Victim, tally: Tally, seed: int, wire: Wire) -> None:
        super().__init__(cdc, tally, seed)
        self.wire = wire
        self.rnd = random.Random(seed)

    def bad(self, fault: str, seconds: float, load: float = 0, **wire: float | bool) -> bool:
        return self.during(fault, lambda: self.wire.set(**wire), self.wire.set, seconds, load, ticking=False)

    def half_open(self, fault: str, seconds: float) -> bool:
        def begin() -> None:
            self.wire.set(cut=True)
            self.wire.forget()

        return self.during(fault, begin, self.wire.set, seconds, ticking=False)

    def forgotten(self, fault: str) -> bool:
        """Every connection is reset, again and again."""

        def begin() -> None:
            for _ in range(5):
                self.wire.forget()

        return self.during(fault, begin, self.wire.forget, 1, ticking=False)

    # --- the clock -------------------------------------------------------------------------------

    def jump(self, fault: str, seconds: int) -> bool:
        """While all goes well, and back again in a short outage."""
        shift = self.cdc.folder / "shift"

        def back() -> None:
            set_shift(shift, 0)
            self.wire.set()

        ok = self.during(fault, lambda: set_shift(shift, seconds), lambda: None, 5)
        ok = ok and self.during(fault + ", and back", lambda: self.wire.set(cut=True), back, 3)
        assert not re.search("recovered after .* in -", self.cdc.log.read_text()), "a time that was measured by the clock"
        return ok

    def applied_at(self) -> tuple[bool, float]:
        """The daemon's lag is by its own clock, and so has the shift in it."""
        ok, at = super().applied_at()
        return ok, at + float((self.cdc.folder / "shift").read_text())

    def faults(self) -> list[tuple[str, Callable[[], bool]]]:
        each: list[tuple[str, Callable[[str], bool]]] = [
            ("network cut for 3 s", lambda f: self.bad(f, 3, cut=True)),
            ("network cut for 25 s", lambda f: self.bad(f, 25, cut=True)),
            ("network half-open after 2 s", lambda f: self.half_open(f, 2)),
            ("network half-open after 15 s", lambda f: self.half_open(f, 15)),
            ("network: all connections reset", self.forgotten),
            ("network delayed by 200 ms each way", lambda f: self.bad(f, 15, delay=0.2)),
            ("network loses 3 % of packets", lambda f: self.bad(f, 15, loss=0.03)),
            ("network loses 15 % of packets", lambda f: self.bad(f, 15, loss=0.15)),
            ("network slow: 1 MB/s", lambda f: self.bad(f, 20, rate=1e6)),
            ("clock jumps an hour ahead", lambda f: self.jump(f, 3600)),
            ("clock jumps an hour back", lambda f: self.jump(f, -3600)),
        ]
        return [(name, lambda name=name, fault=fault: fault(name)) for name, fault in each]


SHORT = ["half-open after 2", "hour back"]


def set_shift(file: Path, seconds: int) -> None:
    new = file.with_suffix(".new")
    new.write_text(str(seconds))
    new.rename(file)


def through(wire: Wire, cdc: Victim) -> None:
    """The daemon's configuration, with every address at the near end of the wire."""
    etcd, api = port(os.environ["SOURCE_ETCD"]), port(cdc.address)
    text = cdc.config.read_text()
    text = text.replace(os.environ["SOURCE_ETCD"], f"{wire.near}:{etcd}")
    text = text.replace(os.environ["KAFKA"], f"{wire.near}:{port(os.environ['KAFKA']) + VIA}")
    text = text.replace(cdc.address, f"{wire.api}:{api}")
    cdc.config.write_text(text)
    cdc.address = f"{wire.api}:{api}"
    cdc.inside = ["ip", "netns", "exec", wire.namespace]
    library, shift = cdc.folder / "clock_shift.so", cdc.folder / "shift"
    compiler = os.environ.get("CC", "gcc")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(HERE / "clock_shift.c")], check=True)
    set_shift(shift, 0)
    cdc.environment = {"LD_PRELOAD": str(library), "CDC_CLOCK_SHIFT": str(shift)}
    cdc.uri = f"http://{wire.near}:{port(os.environ['KAFKA']) + TARGET_VIA}"


def run(cdc: Victim, tally: Tally, seed: int, short: bool, only: list[str] | None) -> bool:
    etcd, kafka = port(os.environ["SOURCE_ETCD"]), port(os.environ["KAFKA"])
    wire = Wire(int(os.environ["STACK"]), {etcd: etcd, kafka + VIA: kafka + VIA, kafka + TARGET_VIA: port(TARGET)})
    try:
        os.environ["KAFKA_VIA"] = wire.near
        stack("stop", "kafka")
        stack("start", "kafka")
        through(wire, cdc)
        network = Network(cdc, tally, seed, wire)
        return network.run(network.faults(), only or (SHORT if short else None))
    finally:
        if cdc.process:
            cdc.end()
        wire.close()
