#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The faults on the real stack, whose variables are in the environment (stack.sh env); STACK is its number.

    chaos.py FOLDER --part PART... [--seed N] [--minutes M] [--kills K] [--backlog N] [--results FILE]
             [--program PATH]
    chaos.py FOLDER --short                      a little of each part, with a fixed list of seeds
    chaos.py --report DOCUMENT FILE...           the table of what was tried

PART: random   SIGKILL, SIGTERM, pause, frozen and killed servers, at random moments under load
      points   each CRASH_POINT of the source tree, at its 1st, 2nd and 5th time
      outages  target, Kafka and etcd killed, frozen, refusing, compacted, restored; how soon all goes on
      refusals the target refuses rows or loses answers, in its own words, by a proxy in front of it
      network  cut, delayed, lossy, slow, half-open, in a network namespace (root only); the clock jumps
      backlog  the target is away while BACKLOG rows arrive (not in the short form: the end-to-end tests have one)

Which door is tried follows from TARGET_TT. points needs a program made with VARIANT=test. After each round every
value of every row is compared. The first difference ends the run; FOLDER keeps the data directory and the log.
"""

import argparse
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e/lib"))

from cdc import ROOT  # noqa: E402
from tally import Tally, report  # noqa: E402
from victim import MODE, Client, Victim  # noqa: E402

PARTS = ("random", "points", "outages", "refusals", "network")  # each has a short form
LONG = ("backlog",)


def run_part(part: str, cdc: Victim, tally: Tally, args: argparse.Namespace) -> bool:
    if part == "random":
        import random_faults

        return random_faults.run(cdc, tally, args.seed, args.minutes, args.kills, 1 if args.short else 1000)
    if part == "points":
        import points

        return points.run(cdc, tally, [1] if args.short else args.times, args.only)
    if part == "outages":
        import outages

        return outages.run(cdc, tally, args.seed, args.short, args.only)
    if part == "refusals":
        import refusals

        return refusals.run(cdc, tally, args.seed, args.short, args.only)
    if part == "backlog":
        import backlog

        return backlog.run(cdc, tally, args.backlog)
    import network

    return network.run(cdc, tally, args.seed, args.short, args.only)


def one(part: str, args: argparse.Namespace) -> bool:
    folder = args.folder.resolve() / f"{part}-{MODE}"
    if (folder / "data").exists():  # its task knows nothing of what others did to the target meanwhile
        sys.exit(f"{folder} is that of an earlier run: name a new FOLDER")
    cdc = Victim(folder, args.program, "0s" if part == "points" else "7d")
    tally = Tally(MODE, args.results or args.folder / "results.jsonl")
    equal, began = False, time.monotonic()
    try:
        equal = run_part(part, cdc, tally, args)
    finally:
        tally.show()
        tally.save(part=part, seed=args.seed)
        if cdc.process:
            cdc.end(signal.SIGKILL)
    verdict = "all equal" if equal else f"DIFFERENT, see {folder}"
    print(f"{part}, {MODE}: {verdict}, {time.monotonic() - began:.0f} s", flush=True)
    return equal


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--part", nargs="+", choices=PARTS + LONG, default=PARTS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=5, help="of random")
    parser.add_argument("--kills", type=int, default=0, help="of random, at least")
    parser.add_argument("--backlog", type=int, default=2_000_000, help="rows of backlog")
    parser.add_argument("--times", type=int, nargs="+", default=(1, 2, 5), help="of points")
    parser.add_argument("--only", nargs="+", help="these points, or faults whose name has one of these in it")
    parser.add_argument("--results", type=Path)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--program", default=str(ROOT / "build/test/milvus-cdc"))
    parser.add_argument("--report", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--client", metavar="PREFIX", help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, default=2_000, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.client:
        client = Client(args.client, args.seed)
        client.create()
        print(f"{client.run(args.rows, args.seconds)} rows")
        return 0
    if args.report:
        report(args.report[1:], args.report[0])
        return 0
    if not args.folder:
        parser.error("FOLDER is missing")
    args.folder.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was found is kept, and the daemon ended
    if args.short:
        args.minutes, args.kills = 0, 8
    return 0 if all([one(part, args) for part in args.part]) else 1


if __name__ == "__main__":
    sys.exit(main())
