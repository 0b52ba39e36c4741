#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the end-to-end tests on the stack whose variables are in the environment (stack.sh env).

    run.py FOLDER [SUBSTRING...]
    CDC_INSIDE=unit run.py FOLDER [SUBSTRING...]

The daemon is build/release/milvus-cdc (or PROGRAM) as a plain process. With CDC_INSIDE=unit it is the installed
package's hardened unit in a booted container: see tests/system/inside.py, also for what runs where.

Test files are [a-z][0-9]*.py in this folder, in order of name; tests are functions called test_*, in order of
definition, and get the shared Cdc. Prints TAP; a failed test does not stop the run. FOLDER: work files. After each
file all tasks, collections and databases are removed from both sides.
s*.py wipe the stack and start servers with settings of their own: they run only when they are named, alone.
So do u*.py, which want an ordinary target (a fresh stack brought up with TARGET_TT=true): run.py FOLDER u1 m1
"""

import atexit
import importlib.util
import os
import re
import signal
import sys
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "lib"))

from cdc import Cdc  # noqa: E402
from clean import clean  # noqa: E402

OTHER_STACKS = "su"


def the_daemon(folder: Path) -> Cdc:
    kind = os.environ.get("CDC_INSIDE", "")
    if not kind:
        return Cdc(folder)
    if kind != "unit":
        sys.exit(f"run.py: CDC_INSIDE is '{kind}', must be unit or not be set")
    sys.path.append(str(HERE.parent / "system"))
    from inside import installed

    return installed(folder)


def main() -> int:
    only = sys.argv[2:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing that was started is left
    cdc = the_daemon(Path(sys.argv[1]))
    atexit.register(lambda: cdc.process and cdc.end(signal.SIGKILL))
    count = failed = 0
    asked = {o[0] if re.match(f"[{OTHER_STACKS}]\\d", o) else "" for o in only} or {""}
    for path in sorted(HERE.glob("[a-z][0-9]*.py")):
        if (path.name[0] if path.name[0] in OTHER_STACKS else "") not in asked:
            continue
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        before = count
        for name, test in list(vars(module).items()):
            if not name.startswith("test_") or (only and not any(o in path.stem + "." + name for o in only)):
                continue
            count += 1
            start = time.monotonic()
            try:
                if cdc.process is None or cdc.process.poll() is not None:
                    cdc.start()
                test(cdc)
                verdict = "ok"
            except Exception:
                failed += 1
                verdict = "not ok"
                for line in traceback.format_exc().splitlines() + ["log: " + l for l in cdc.tail().splitlines()]:
                    print("#", line)
            print(f"{verdict} {count} - {path.stem}.{name} # {time.monotonic() - start:.1f} s", flush=True)
        if count > before and path.name[0] != "s":
            clean(cdc)
    if cdc.process:
        cdc.end()
    print(f"1..{count}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
