# SPDX-License-Identifier: Apache-2.0
"""What all the tests before have left in the journal: every line has the fields that the table of events says."""

import re
from typing import TYPE_CHECKING, Any

from cdc import ROOT
from machine import run

if TYPE_CHECKING:
    from run import World

FIELDS = {"task", "worker", "collection", "channel", "seq", "lag_ms"}


def kinds() -> dict[str, tuple[str, list[str]]]:
    """By message ID: name, fields. clang-format may break a line between any two of them."""
    table = (ROOT / "include/cdc/log_events.h").read_text()
    found = re.findall(r'EVENT\((\w+),\s*\w+,\s*"([0-9a-f]{32})",\s*"([^"]*)"', table)
    return {identity: (name, fields.split()) for name, identity, fields in found}


def of_older_versions(entries: list[dict[str, Any]], version: str) -> set[str]:
    """The processes that an upgrade began with."""
    told = {e["_PID"]: re.match(r"milvus-cdc (\S+): API on", e["MESSAGE"]) for e in entries if "API on" in e["MESSAGE"]}
    return {pid for pid, said in told.items() if said and said[1] != version}


def test_every_line_has_the_fields_of_its_kind(world: "World") -> None:
    table, seen, wrong = kinds(), set(), []
    entries = world.machine.journal("_COMM=milvus-cdc", "+", "_COMM=milvus-cdc-test", "+", "CDC_WORKER=reader",
                                    "+", "CDC_WORKER=applier")  # fmt: skip
    older = of_older_versions(entries, run(world.program_test, "--version").split()[1])
    for entry in entries:
        if entry["_PID"] in older:
            continue
        has = {field[4:].lower() for field in entry if field.startswith("CDC_")}
        identity = entry.get("MESSAGE_ID", "")
        if identity not in table:  # a line without a kind is for debugging only
            if int(entry["PRIORITY"]) < 7:
                wrong.append(f"no kind: {entry['MESSAGE']}")
            continue
        name, fields = table[identity]
        lack = {f for f in fields if not f.endswith("?")} - has
        more = has - {f.rstrip("?") for f in fields}
        if lack or more:
            wrong.append(f"{name}: lacks {lack}, has {more}: {entry['MESSAGE']}")
        seen |= {name} | has
    assert not wrong, "\n".join(sorted(set(wrong)))
    assert {"STARTED", "STOPPED", "TASK_CREATED", "TARGET_LOST", "WORKER_RECOVERED", "WORKER_STUCK"} <= seen, seen
    assert {"task", "worker", "channel", "seq", "lag_ms"} <= seen <= FIELDS | {n for n, _ in table.values()}, seen
