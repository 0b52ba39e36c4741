# SPDX-License-Identifier: Apache-2.0
"""One writer: two daemons on one folder, two daemons or two tasks towards one target (R21, R22, R32)."""

import contextlib
import os
import random
import signal
import sqlite3
import time

from cdc import Cdc, stack, until
from orders import Shape, equal, load, make, source, target
from pymilvus import Collection

SHAPE = Shape(shards=2)


def beside(cdc: Cdc) -> Cdc:
    """Another daemon: its own folder and port, the same source."""
    second = cdc.another("second")
    host, port = second.address.rsplit(":", 1)
    second.address = f"{host}:{int(port) + 50}"
    second.write_config()
    return second


def insert(c: Collection, first: int, count: int, word: str = "w") -> None:
    c.insert(SHAPE.rows(first, count, word))


def captured(cdc: Cdc, task: str, rows: int) -> None:
    """The reader has all of a collection that only was inserted into."""
    until(lambda: cdc.progress(task)["journaled"] >= rows, 60, f"{rows} rows are captured")


def no_tasks(cdc: Cdc) -> None:
    for task in cdc.ask("list")[1]["data"]["tasks"]:
        cdc.delete(task["task_id"])


def forget(cdc: Cdc, *names: str) -> None:
    """No task follows any more: both sides are cleaned."""
    no_tasks(cdc)
    for side in (source, target):
        side.drop(*[name for name in names if side.has(name)])


def sent_up_to(cdc: Cdc, task: str) -> int:
    """The time that the last rows had when they were sent; unix ms."""
    path = f"file:{cdc.data}/tasks/{task}/apply.db?mode=ro"
    with contextlib.closing(sqlite3.connect(path, uri=True)) as db:
        return int(db.execute("SELECT applied_out >> 18 FROM mark").fetchone()[0])


def health(cdc: Cdc, task: str) -> str:
    h = cdc.get(task)["health"]
    return f"{h['status']}: {h.get('reason', '')}"


def waits(cdc: Cdc, task: str) -> None:
    until(lambda: "another milvus-cdc writes to target" in health(cdc, task), 15, "it waits for the other")
    assert health(cdc, task).startswith("retrying"), health(cdc, task)


def test_R32_a_second_daemon_on_the_same_folder_ends_with_75(cdc: Cdc) -> None:
    second = cdc.run("--config", cdc.config)
    assert second.returncode == 75, second
    assert "another" in second.stderr and cdc.seen(cdc.data) in second.stderr, second.stderr


def test_R32_two_daemons_towards_one_target(cdc: Cdc) -> None:
    forget(cdc, "w1_a", "w1_b")
    a, b = make("w1_a", SHAPE), make("w1_b", SHAPE)
    load(a, b)
    task_a = cdc.create(["w1_a"])
    insert(a, 0, 1000)
    equal(["w1_a"])
    second = beside(cdc)
    second.start()
    try:
        no_tasks(second)
        task_b = second.create(["w1_b"])
        waits(second, task_b)
        # its rows grow old while the first one's ticks go on: what is sent below a tick would be lost (R21)
        for i in range(10):
            insert(b, 300 * i, 300)
            insert(a, 1000 + 10 * i, 10)
        b.delete(SHAPE.list(range(0, 50)))
        captured(second, task_b, 3050)
        equal(["w1_a"])
        assert not target.has("w1_b"), "the second has written"
        killed = int(time.time() * 1000)
        cdc.end(signal.SIGKILL)
        gone = time.monotonic()
        until(lambda: target.has("w1_b"), 30, "the second goes on")
        print(f"# after a SIGKILL the second went on in {time.monotonic() - gone:.1f} s")
        equal(["w1_b"])
        assert sent_up_to(second, task_b) >= killed - 1000, "rows were sent below ticks of the first (R21)"

        cdc.start()
        waits(cdc, task_a)
        for i in range(10):
            insert(a, 2000 + 100 * i, 100, "later")
            insert(b, 5000 + 10 * i, 10)
        a.delete(SHAPE.list(range(0, 20)))
        captured(cdc, task_a, 2120)
        equal(["w1_b"])
        left = time.monotonic()
        second.end()
        until(lambda: health(cdc, task_a).startswith("ok"), 10, "a clean stop lets the first one on at once")
        print(f"# after a clean stop the other went on in {time.monotonic() - left:.1f} s")
        equal(["w1_a"])
        assert "asking" not in cdc.said() + second.said()
        # and the other way round: a delete of its last task gives a target up, too
        second.start()
        waits(second, task_b)
        insert(b, 6000, 200)
        cdc.delete(task_a)
        until(lambda: health(second, task_b).startswith("ok"), 10, "a deleted task gives its target up")
        equal(["w1_b"])
    finally:
        if second.process:
            second.end()
    forget(cdc, "w1_a", "w1_b")


def test_R32_a_restarted_daemon_takes_over_from_itself_at_once(cdc: Cdc) -> None:
    forget(cdc, "w1_again")
    a = make("w1_again", SHAPE)
    load(a)
    cdc.create(["w1_again"])
    insert(a, 0, 500)
    equal(["w1_again"])
    before = len(cdc.said())
    for i in range(3):
        cdc.end(signal.SIGKILL)
        insert(a, 1000 * (i + 1), 500)
        cdc.start()
        equal(["w1_again"], 15)  # the key of the one that was killed lives 20 s
    assert "another milvus-cdc" not in cdc.said()[before:]
    forget(cdc, "w1_again")


def test_R32_etcd_away_stops_nobody(cdc: Cdc) -> None:
    forget(cdc, "w1_away")
    a = make("w1_away", SHAPE)
    load(a)
    task = cdc.create(["w1_away"])
    insert(a, 0, 100)
    equal(["w1_away"])
    cdc.pause(task)
    insert(a, 1000, 5000)
    captured(cdc, task, 5100)
    cdc.end()
    stack("freeze", "source-etcd")
    try:
        cdc.start()
        cdc.resume(task)
        until(lambda: cdc.progress(task)["applied"] >= 5100, 15, "the journal is applied")
    finally:
        stack("thaw", "source-etcd")
    insert(a, 7000, 100)
    equal(["w1_away"])
    forget(cdc, "w1_away")


def test_R22_two_tasks_towards_one_target_in_every_order(cdc: Cdc) -> None:
    """Pause, resume, SIGKILL and delete of either, rows to both between any two steps, all compared."""
    forget(cdc, "w1_left", "w1_right")
    rnd = random.Random(int(os.environ.get("SEED", "22")))
    names = ["w1_left", "w1_right"]
    c = {name: make(name, SHAPE) for name in names}
    load(*c.values())
    tasks = {name: cdc.create([name]) for name in names}
    key = 0
    for round_ in range(int(os.environ.get("ROUNDS", "10"))):
        paused = {name: rnd.random() < 0.5 for name in names}
        for name in names:
            (cdc.pause if paused[name] else cdc.resume)(tasks[name])
        for name in rnd.sample(names * 2, 4):
            insert(c[name], key, rnd.randint(1, 400), f"r{round_}-")
            if rnd.random() < 0.5:
                first = rnd.randrange(key + 1)
                c[name].delete(SHAPE.list(range(first, first + 20)))
            if rnd.random() < 0.5:
                c[name].upsert(SHAPE.rows(rnd.randrange(key + 1), 30, f"u{round_}-"))
            key += 500
        if rnd.random() < 0.5:
            cdc.end(signal.SIGKILL if rnd.random() < 0.7 else signal.SIGTERM)
            cdc.start()
        running = [name for name in names if not paused[name]]
        if running:
            equal(running)  # a task that rests holds nobody back
        for name in rnd.sample(names, 2):
            cdc.resume(tasks[name])
        equal(names)
        if round_ == 4:  # one of them goes while it is behind; its twin stays right
            cdc.pause(tasks["w1_left"])
            insert(c["w1_left"], key, 300)
            insert(c["w1_right"], key, 300)
            cdc.delete(tasks["w1_left"])
            equal(["w1_right"])
            target.drop("w1_left")
            c["w1_left"] = make("w1_left", SHAPE)
            load(c["w1_left"])
            tasks["w1_left"] = cdc.create(["w1_left"])
    forget(cdc, *names)
