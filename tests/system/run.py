#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the tests of the appliance; see run.sh, which prepares what they need.

Test files are p[0-9]*.py in this folder, in order of name; tests are functions called test_*, in order of
definition, and get the shared World. Prints TAP; a failed test does not stop the run.
"""

import importlib.util
import os
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e/lib")]

from machine import Machine, Rows, Service, run  # noqa: E402

# by a run before, perhaps a killed one
LEFT = ("root", "tree", "older", "etcd", "certificates", "again", "source", "broken", "tried", "notified")


class World:
    """The container, the packages, and milvus-cdc in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.deb = Path(os.environ["DEB"]).resolve()
        self.program_test = Path(os.environ["PROGRAM_TEST"]).resolve()
        for left in LEFT:
            shutil.rmtree(folder / left, ignore_errors=True)
        Rows.forget()
        self.machine = Machine(os.environ["ROOT_CACHED"], folder)
        self.cdc = Service(self.machine, folder / "cdc")

    def tree(self) -> Path:
        """The package's files."""
        to = self.folder / "tree"
        if not to.exists():
            run("dpkg-deb", "-x", self.deb, to)
        return to


def main() -> int:
    only = sys.argv[2:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the container must not outlive us
    world = World(Path(sys.argv[1]))
    count = failed = 0
    try:
        world.machine.boot()
        for path in sorted(HERE.glob("p[0-9]*.py")):
            spec = importlib.util.spec_from_file_location(path.stem, path)
            assert spec and spec.loader
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            for name, test in list(vars(module).items()):
                if not name.startswith("test_") or (only and not any(o in path.stem + "." + name for o in only)):
                    continue
                count += 1
                start = time.monotonic()
                try:
                    test(world)
                    verdict = "ok"
                except Exception:
                    failed += 1
                    verdict = "not ok"
                    for line in traceback.format_exc().splitlines():
                        print("#", line)
                    for line in world.cdc.tail().splitlines():
                        print("# log:", line)
                print(f"{verdict} {count} - {path.stem}.{name} # {time.monotonic() - start:.1f} s", flush=True)
    finally:
        world.machine.end()
        shutil.rmtree(world.machine.root, ignore_errors=True)
    print(f"1..{count}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
