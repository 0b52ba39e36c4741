# SPDX-License-Identifier: Apache-2.0
"""The source's log has expired while we were away: noticed before a later record is applied, held, told (R11)."""

import contextlib
import json
import re
import signal
import sqlite3
import time
from datetime import datetime, timezone

from b4_positions import arrive, keys
from broker import EARLIEST, LATEST, delete_records, offset
from cdc import Cdc, until
from orders import Shape, equal, load, make, source, target
from pymilvus import Collection

SHAPE = Shape(shards=1)


def fresh(cdc: Cdc, name: str) -> tuple[str, Collection]:
    """No task but one of this new, level collection."""
    for task in cdc.ask("list")[1]["data"]["tasks"]:
        cdc.delete(task["task_id"])
    for side in (source, target):
        if side.has(name):
            side.drop(name)
    c = make(name, SHAPE)
    load(c)
    task = cdc.create([name])
    c.insert(SHAPE.rows(0, 200, "w"))
    equal([name])
    return task, c


def read_to(cdc: Cdc, task: str) -> tuple[str, int]:
    """The pchannel of its only shard, and where the journal reads on; the daemon is down."""
    first, *rest = sorted((cdc.data / "tasks" / task / "journal").glob("*.db"))
    ask = "SELECT pchannel FROM entry WHERE rows > 0 LIMIT 1"
    for path in (first, *rest):
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            topic = db.execute(ask).fetchone()
            if topic:
                at = db.execute("SELECT next_lo FROM position WHERE pchannel = ?", topic).fetchone()[0]
    return str(topic[0]), int(at)


def held(cdc: Cdc, task: str, topic: str) -> str:
    def reason() -> str | None:
        health = cdc.get(task)["health"]
        return str(health["reason"]) if health["status"] == "held" else None

    text = until(reason, 40, "the task is held: " + json.dumps(cdc.get(task)["health"]))
    assert topic in text, text
    assert cdc.get(task)["health"]["error"] == "POSITION_GONE", cdc.get(task)
    print(f"# {text}")
    return text


def span(text: str) -> tuple[float, float]:
    found = re.findall(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text)
    assert len(found) == 2, text
    a, b = (datetime.strptime(f, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc).timestamp() for f in found)
    return a, b


def nothing_later(cdc: Cdc, task: str, name: str, before: int) -> None:
    """A resume does not help, a restart says the same, and not one later row is on the target."""
    cdc.resume(task)
    cdc.end()
    cdc.start()
    until(lambda: cdc.get(task)["health"]["status"] == "held", 40, "held after a restart")
    assert cdc.progress(task)["applied"] == before, cdc.progress(task)
    assert keys(name) == set(range(200)), "later rows were applied"


def anew(cdc: Cdc, task: str, c: Collection) -> None:
    """What the text says helps: a new task, whose later rows arrive."""
    cdc.delete(task)
    target.drop(c.name)
    again = cdc.create([c.name])
    c.insert(SHAPE.rows(90_000, 100, "new"))
    arrive(c.name, set(range(90_000, 90_100)))
    cdc.delete(again)
    for side in (source, target):
        side.drop(c.name)


def test_R11_records_deleted_while_we_were_down(cdc: Cdc) -> None:
    task, c = fresh(cdc, "g1_deleted")
    before = cdc.progress(task)["applied"]
    cdc.end(signal.SIGKILL)
    down = time.time()
    topic, at = read_to(cdc, task)
    for first in range(1000, 2000, 200):
        c.insert(SHAPE.rows(first, 200, "lost"))
    until(lambda: offset(topic, LATEST) > at + 3, 20, "they are in the log")
    end = offset(topic, LATEST)
    delete_records(topic, end)
    until(lambda: offset(topic, LATEST) > end, 20, "ticks go on")
    c.insert(SHAPE.rows(5000, 200, "later"))
    cdc.start()
    text = held(cdc, task, topic)
    assert str(at) in text and str(end) in text and "retention" in text and "create it anew" in text, text
    begin, until_ = span(text)
    assert down - 5 < begin <= until_ < time.time() + 1 and until_ >= down - 1, text
    nothing_later(cdc, task, "g1_deleted", before)
    anew(cdc, task, c)


def test_R11_records_deleted_up_to_our_position_are_no_gap(cdc: Cdc) -> None:
    task, c = fresh(cdc, "g1_edge")
    cdc.end()
    topic, at = read_to(cdc, task)
    until(lambda: offset(topic, LATEST) > at, 20, "ticks go on")
    delete_records(topic, at)
    assert offset(topic, EARLIEST) == at
    c.insert(SHAPE.rows(1000, 200, "w"))
    cdc.start()
    equal(["g1_edge"])
    cdc.delete(task)
    for side in (source, target):
        side.drop("g1_edge")


def test_R11_records_deleted_while_it_reads_what_it_has_is_applied(cdc: Cdc) -> None:
    """Paused: what the journal has is applied although the source has lost it meanwhile."""
    task, c = fresh(cdc, "g1_journal")
    cdc.pause(task)
    c.insert(SHAPE.rows(1000, 1000, "kept"))
    until(lambda: cdc.progress(task)["journaled"] >= 1200, 30, "captured")
    cdc.end()
    topic, at = read_to(cdc, task)
    c.insert(SHAPE.rows(3000, 200, "lost"))
    until(lambda: offset(topic, LATEST) > at + 2, 20, "in the log")
    delete_records(topic, offset(topic, LATEST))
    cdc.start()
    held(cdc, task, topic)
    cdc.resume(task)
    arrive("g1_journal", set(range(200)) | set(range(1000, 2000)))
    anew(cdc, task, c)
