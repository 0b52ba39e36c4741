# SPDX-License-Identifier: Apache-2.0
"""What was tried and what came of it: fault x times x rows compared x lost x doubled, and how long it took until
all went on. Kept as a file of JSON lines, one a fault and run; docs/reliability.md is made from such files."""

import json
import subprocess
import sys
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path

import second_look
from cdc import LIB, ROOT, SOURCE, TARGET

COUNTS = ("rows", "lost", "doubled", "wrong", "hidden")
WITHIN = 5.0  # seconds, of a recovery


class Tally:
    def __init__(self, mode: str, file: Path) -> None:
        self.mode, self.file = mode, file
        self.times: Counter[str] = Counter()
        self.counts = {name: Counter[str]() for name in COUNTS}
        self.recoveries: dict[str, list[float]] = defaultdict(list)
        self.fresh: Counter[str] = Counter()

    def add(self, fault: str, recovered: float | None = None) -> None:
        self.times[fault] += 1
        self.fresh[fault] += 1
        if recovered is not None:
            self.recoveries[fault].append(round(recovered, 2))

    def compared(self, **found: int) -> None:
        """What a comparison found counts for each fault since the one before."""
        for fault in self.fresh:
            for name, n in found.items():
                self.counts[name][fault] += n
        self.fresh.clear()

    def check(self, patience: int = 120, rows: int | None = None) -> bool:
        """Compares everything; an equal result is looked at twice, nothing may arrive later. Rows that only are
        missing on the target may be out of sight there: they count as hidden if a load brings them all back."""
        equal, found, names = self.look(patience, rows)
        if not equal and names and not found["doubled"] and not found["wrong"]:
            second_look.load_all_again(names)
            equal, after, _ = self.look(60, rows)
            if equal:
                found = after | {"hidden": found["lost"]}
        self.compared(**found)
        return equal

    def look(self, patience: int, rows: int | None) -> tuple[bool, dict[str, int], list[str]]:
        """Also returns what was found, and the collections of which count(*) differs."""
        words = [sys.executable, str(LIB / "compare.py"), "--source", SOURCE, "--target", TARGET]
        words += ["--plain-target"] if self.mode == "upsert" else ["--target-eventually"]
        if rows is not None:
            words += ["--rows", str(rows)]
        for seconds in (patience, 0):
            run = subprocess.run([*words, "--timeout", str(seconds)], capture_output=True, text=True)
            lines = run.stdout.strip().splitlines()
            if run.returncode:
                break
        print("# " + "\n# ".join(lines if run.returncode else lines[-1:]), run.stderr[-1000:], flush=True)
        return run.returncode == 0, differences(lines), counted(lines)

    def save(self, **run: object) -> None:
        """Appends what was found; run: seed, commit and the like."""
        about = {"date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"), "version": version(), "mode": self.mode} | run
        with open(self.file, "a") as out:
            for fault in sorted(self.times):
                found = {name: self.counts[name][fault] for name in COUNTS}
                line = about | {"fault": fault, "times": self.times[fault]} | found
                print(json.dumps(line | {"recovered": self.recoveries[fault]}), file=out)

    def show(self) -> None:
        print(f"{'fault':44}{'times':>7}{'rows compared':>15}", *(f"{name:>8}" for name in (*COUNTS[1:], "recovered")))
        for fault in sorted(self.times):
            rows, *counts = (self.counts[name][fault] for name in COUNTS)
            slowest = f"{max(self.recoveries[fault]):.1f} s" if self.recoveries[fault] else ""
            print(f"{fault:44}{self.times[fault]:>7}{rows:>15,}", *(f"{n:>8,}" for n in counts), f"{slowest:>9}")
        print(f"{'all':44}{sum(self.times.values()):>7}", flush=True)


def number(text: str) -> int:
    return int(text.replace(",", "").split()[0])


def counted(lines: list[str]) -> list[str]:
    """The collections, as DB.NAME, of which the comparer says that count(*) differs."""
    return [line.strip().split(" count(*): ")[0] for line in lines if " count(*): source " in line]


def differences(lines: list[str]) -> dict[str, int]:
    """The comparer's words, counted; where count(*) differs it says how many, and the rows that follow say which."""
    rows, lost, doubled, wrong = 0, 0, 0, 0
    known = tuple(f"  {name}{after}" for name in counted(lines) for after in ("/", " row "))
    for line in lines:
        if line.startswith(known):
            continue
        if " rows, " in line and line.startswith("source "):
            rows = number(line.removeprefix("source "))
        elif "count(*): source " in line:
            source, target = (number(part.split(" ", 1)[1]) for part in line.split("count(*): ")[1].split(", "))
            lost, doubled = lost + max(0, source - target), doubled + max(0, target - source)
        elif "only on the source" in line:
            lost += 1
        elif "only on the target" in line:
            doubled += 1
        elif line.startswith("  ") and not line.startswith("  and "):
            wrong += 1
    return {"rows": rows, "lost": lost, "doubled": doubled, "wrong": wrong, "hidden": 0}


def version() -> str:
    """Of the newest entry in the change log, with the commit where there is one."""
    for line in (ROOT / "CHANGELOG.md").read_text().splitlines():
        if line.startswith("## "):
            break
    git = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True)
    return line[3:].split()[0] + (f" ({commit.stdout.strip()})" if commit.returncode == 0 else "")


# --- the table -----------------------------------------------------------------------------------

HEAD = """# Reliability

Made by `make chaos`, never by hand. Each line is a fault that was brought about on real servers (two etcd, Kafka,
two Milvus) while several clients wrote, changed, deleted and altered; afterwards every value of every row and
count(*) of every collection were compared. *Rows compared* is the sum over the comparisons that followed the fault.
*Hidden* are rows that the target had and did not show until the collection was released and loaded there: Milvus
before July 2024 may merge two readers of a channel of which neither has met a time tick yet, and passes over what
lies between (its pull request 34562); it takes a machine that is too busy, or a target without ticks.
*Recovered* is the longest time from the moment the part answered a real call again until the task was well and its
target newer than before, without any API call; a dash where nothing has to come back. The same seed makes the same
choices; what they hit depends on timing. A difference is counted whatever its cause, also one of the servers themselves
or one that a later commit mended; a run that was ended before its comparison has compared 0 rows.

"""


def merged(files: list[Path]) -> tuple[list[dict[str, object]], dict[tuple[str, str], dict[str, object]]]:
    runs: list[dict[str, object]] = []
    table: dict[tuple[str, str], dict[str, object]] = {}
    for line in (json.loads(text) for file in files for text in file.read_text().splitlines()):
        run = {key: line[key] for key in ("date", "version", "part", "mode", "seed")}
        if run not in runs:
            runs.append(run)
        sums = table.setdefault((line["fault"], line["mode"]), dict.fromkeys(("times", *COUNTS), 0) | {"recovered": []})
        for key in ("times", *COUNTS):
            sums[key] += line.get(key, 0)
        sums["recovered"] += line["recovered"]
    return runs, table


def report(files: list[Path], to: Path) -> None:
    runs, table = merged(files)
    text = HEAD + "| run | version | what | mode | seed |\n|---|---|---|---|---|\n"
    for run in runs:
        text += f"| {run['date']} UTC | {run['version']} | {run['part']} | {run['mode']} | {run['seed']} |\n"
    text += "\n| fault | mode | times | rows compared | lost | doubled | wrong | hidden | recovered |\n"
    text += "|---|---|--:|--:|--:|--:|--:|--:|--:|\n"
    for (fault, mode), sums in sorted(table.items()):
        slowest = f"{max(sums['recovered']):.1f} s" if sums["recovered"] else "–"
        counts = " | ".join(f"{sums[name]:,}" for name in COUNTS)
        text += f"| {fault} | {mode} | {sums['times']:,} | {counts} | {slowest} |\n"
    total = " | ".join(f"{sum(sums[name] for sums in table.values()):,}" for name in COUNTS[1:])
    text += f"| all | | {sum(sums['times'] for sums in table.values()):,} | | {total} | |\n"
    to.parent.mkdir(exist_ok=True)
    to.write_text(text)
