# SPDX-License-Identifier: Apache-2.0
"""Several tasks side by side, towards several targets: one that takes replicated messages and an ordinary one.

The second target is that of stack number STACK + 31, which lives in the folder of the run and is wiped at its end.
"""

import os
import signal
import subprocess
from pathlib import Path

from cdc import ROOT, TARGET, Cdc, addresses, until
from orders import Server, Shape, equal, gone, healthy, load, make, source, target

NUMBER = (int(os.environ.get("STACK", "0")) + 31) % 100
NAMES = ["b7_first", "b7_both", "b7_second"]


class Ordinary:
    """A target alone: its etcd and itself."""

    def __init__(self, folder: Path) -> None:
        self.settings = os.environ | {"STACK": str(NUMBER), "CDC_STACK_DIR": str(folder), "TARGET_TT": "true"}
        self.call("wipe")  # of an earlier run

    def call(self, *words: str) -> str:
        done = subprocess.run(
            [str(ROOT / "tests/stack/stack.sh"), *words], env=self.settings, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def __enter__(self) -> Server:
        self.call("start", "target-etcd")
        self.call("start", "target")
        return Server(addresses(self.call("env"))["TARGET_URI"])

    def __exit__(self, *error: object) -> None:
        self.call("wipe")


def both_equal(second: Server) -> None:
    equal(NAMES[:2])
    equal(NAMES[1:], b=second)
    assert not target.has("b7_second") and not second.has("b7_first"), "each has what its task selects"


def test_tasks_feed_targets_of_both_doors_and_do_not_disturb_each_other(cdc: Cdc) -> None:
    ordinary = Ordinary(cdc.folder / "second")
    with ordinary as second:
        shapes = [Shape(), Shape(strings=True), Shape(shards=1)]
        made = [make(name, shape) for name, shape in zip(NAMES, shapes)]
        load(*made)
        one = cdc.create(NAMES[:2], TARGET)
        two = cdc.create(NAMES[1:], second.uri)
        assert (cdc.get(one)["mode"], cdc.get(two)["mode"]) == ("replicate", "upsert")

        def write(first: int) -> None:
            for c, shape in zip(made, shapes):
                c.insert(shape.rows(first, 100, "row"))
                c.delete(shape.list(range(first, first + 7)))
                c.upsert(shape.rows(first + 50, 10, "again"))

        write(0)
        both_equal(second)
        ordinary.call("freeze", "target")
        write(200)
        equal(NAMES[:2])  # while the other target does not answer
        ordinary.call("thaw", "target")
        both_equal(second)
        cdc.pause(one)
        write(400)
        equal(NAMES[1:], b=second)  # while the other task rests
        cdc.end(signal.SIGKILL)
        cdc.start()
        cdc.resume(one)
        both_equal(second)
        healthy(cdc, one)
        healthy(cdc, two)
        cdc.delete(one)
        write(600)
        equal(NAMES[1:], b=second)
        until(lambda: cdc.progress(two)["lag_ms"] < 5000, 30, "the one that is left is level")
        source.drop(*NAMES)
        gone(NAMES[1:], b=second)
        cdc.delete(two)
        target.drop(*NAMES[:2])
