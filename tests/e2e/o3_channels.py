# SPDX-License-Identifier: Apache-2.0
"""Physical channels: shared, many, silent, and another number of them on the other side.

The last tests run on a second stack, whose source has 16 and whose target first 4, then 16 of them; the
first stack has 4. Its number: STACK + 30; it lives in the folder of the run and is wiped at its end.
"""

import atexit
import os
import shutil
import signal
import subprocess
from typing import Any

from cdc import ROOT, Cdc, addresses, until
from orders import Server, Shape, clean, equal, gone, healthy, load, make, side_by_side, source, the_task

NUMBER = (int(os.environ.get("STACK", "0")) + 30) % 100


def test_collections_share_pchannels_and_one_has_them_all(cdc: Cdc) -> None:
    """Written side by side; more collections than pchannels, some with a shard on each."""
    task = the_task(cdc)
    shapes = [Shape(shards=1), Shape(shards=1, strings=True)] * 3 + [Shape(shards=4), Shape(shards=4, strings=True)]
    names = [f"o3_shared_{i}" for i in range(len(shapes))]
    made = [make(name, shape) for name, shape in zip(names, shapes)]
    load(*made)

    def write(i: int) -> None:
        for k in range(10):
            made[i].insert(shapes[i].rows(k * 20, 20, "row"))
            made[i].delete(shapes[i].list(range(k * 20, k * 20 + 3)))
            made[i].upsert(shapes[i].rows(k * 20 + 10, 5, "again"))

    side_by_side([lambda i=i: write(i) for i in range(len(made))], 4)
    equal(names, 60)
    healthy(cdc, task)
    clean(*names)


# --- another stack -------------------------------------------------------------------------------


class Other:
    """The second stack, and a daemon that reads its source."""

    def __init__(self, cdc: Cdc) -> None:
        self.cdc = cdc.another("channels")
        folder = self.cdc.folder
        self.settings = os.environ | {"STACK": str(NUMBER), "CDC_STACK_DIR": str(folder / "stack")}
        self.call("wipe")  # of an earlier run
        shutil.rmtree(self.cdc.data, ignore_errors=True)
        atexit.register(self.end)
        self.call("up", SOURCE_CHANNELS="16", TARGET_CHANNELS="4")
        self.env = addresses(self.call("env"))
        self.source, self.target = Server(self.env["SOURCE_URI"]), Server(self.env["TARGET_URI"])
        self.cdc.address = self.env["CDC_ADDRESS"]
        mine = {k: os.environ[k] for k in ("SOURCE_ETCD", "KAFKA", "SOURCE_ROOT")}
        os.environ.update({k: self.env[k] for k in mine})
        self.cdc.write_config()
        os.environ.update(mine)
        self.cdc.start()
        self.task = self.cdc.create(uri=self.target.uri)

    def call(self, *words: str, **settings: str) -> str:
        done = subprocess.run(
            [str(ROOT / "tests/stack/stack.sh"), *words], env=self.settings | settings, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def end(self) -> None:
        if self.cdc.process:
            self.cdc.end(signal.SIGKILL)
        self.call("wipe")

    def sides(self) -> dict[str, Server]:
        return {"a": self.source, "b": self.target}


other: Other | None = None


def the_other(cdc: Cdc) -> Other:
    global other
    if not other:
        other = Other(cdc)
    return other


def fill(server: Server, names: list[str], shapes: list[Shape]) -> list[Any]:
    made = [make(name, shape, server=server) for name, shape in zip(names, shapes)]
    load(*made)
    for c, shape in zip(made, shapes):
        c.insert(shape.rows(0, 200, "row"))
        c.delete(shape.list(range(5, 15)))
        c.upsert(shape.rows(100, 20, "again"))
    return made


def test_pchannels_fall_silent_and_come_back(cdc: Cdc) -> None:
    """16 at the source, 4 on the target. First some, then all are without a collection; also while down."""
    o = the_other(cdc)
    shape = Shape(shards=4)
    names = [f"o3_silent_{i}" for i in range(4)]  # least used first: each has four pchannels of its own
    made = fill(o.source, names, [shape] * 4)
    equal(names, 60, **o.sides())
    o.source.drop(*names[2:])
    gone(names[2:], b=o.target)
    made[0].insert(shape.rows(1000, 100, "beside silence"))
    equal(names[:2], 30, **o.sides())
    o.source.drop(*names[:2])
    gone(names, b=o.target)
    fill(o.source, names[:2], [Shape(shards=4, strings=True)] * 2)
    equal(names[:2], 60, **o.sides())
    o.source.drop(*names[:2])
    o.cdc.end()
    made = fill(o.source, names[:3], [Shape(shards=4, dim=2)] * 3)
    o.source.drop(names[2])
    o.cdc.start()
    equal(names[:2], 60, **o.sides())
    gone(names[2:], b=o.target)
    healthy(o.cdc, o.task)
    clean(*names, a=o.source, b=o.target)


def test_16_pchannels_to_4(cdc: Cdc) -> None:
    """A collection with more shards than the target has pchannels cannot be there: held, in words."""
    o = the_other(cdc)
    names = [f"o3_less_{i}" for i in range(8)]
    fill(o.source, names, [Shape(shards=1 + i % 4, strings=i % 2 == 0) for i in range(8)])
    wide = make("o3_wide", Shape(shards=8), server=o.source)
    wide.insert(Shape(shards=8).rows(0, 10, "wide"))
    equal(names, 60, **o.sides())
    until(lambda: o.cdc.progress(o.task)["held_collections"] == 1, 10, "the wide one is held at once")
    reason = o.cdc.get(o.task)["health"]["reason"]
    assert "default.o3_wide" in reason and "shard num (8) exceeds" in reason and "dmlChannelNum" in reason, reason
    o.source.drop("o3_wide")
    until(lambda: o.cdc.progress(o.task)["held_collections"] == 0, 60, "and its hold ends with it")
    clean(*names, a=o.source, b=o.target)
    healthy(o.cdc, o.task)
    o.cdc.delete(o.task)
    o.cdc.end()


def test_4_pchannels_to_16(cdc: Cdc) -> None:
    """From the first source to the second target, beside the first task."""
    o = the_other(cdc)
    o.call("stop", "target")
    o.call("start", "target", TARGET_CHANNELS="16")
    # it answers health probes a moment before it takes connections
    task = until(lambda: cdc.create(uri=o.target.uri), 60, "the target takes connections")
    names = [f"o3_more_{i}" for i in range(6)]
    fill(source, names, [Shape(shards=1 + i % 4, strings=i % 2 == 0) for i in range(6)])
    equal(names, 60, b=o.target)
    equal(names, 60)
    healthy(cdc, task)
    clean(*names)
    gone(names, b=o.target)
    cdc.delete(task)
    o.end()
