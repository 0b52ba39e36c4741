# SPDX-License-Identifier: Apache-2.0
"""What happens while the daemon, or the source, is down."""

import json
import os
import signal
import urllib.request

from cdc import Cdc, stack, until
from orders import SIZE, Server, Shape, clean, equal, gone, healthy, load, make, source, target, the_task
from pymilvus import connections, db


def etcd(path: str, body: dict[str, object]) -> dict[str, object]:
    request = urllib.request.Request(f"http://{os.environ['SOURCE_ETCD']}/v3/{path}", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=20) as answer:
        return dict(json.load(answer))


def compact() -> None:
    """Forgets everything but the latest revision of each key, and gives the room back."""
    answer = etcd("kv/range", {"key": "AA==", "range_end": "AA==", "count_only": True})
    revision = dict(answer["header"])["revision"]  # type: ignore[call-overload]
    etcd("kv/compaction", {"revision": revision, "physical": True})
    etcd("maintenance/defragment", {})


def test_dropped_created_both_and_again_while_we_are_down(cdc: Cdc) -> None:
    """With rows not read yet on both sides of each drop; etcd forgets its history meanwhile."""
    task = the_task(cdc)
    wide = Shape(shards=3, dim=8, strings=True)
    kept, dropped, changed, new, brief = names = [
        f"o2_{word}" for word in ("kept", "dropped", "changed", "new", "brief")
    ]
    made = [make(n) for n in (kept, dropped, changed)]
    for c in made:
        c.insert(Shape().rows(0, 20, "before"))
    load(made[0])
    equal([kept])
    until(lambda: target.has(dropped) and target.has(changed), 30, "all arrive")
    cdc.end(signal.SIGKILL)
    for c in made:
        c.insert(Shape().rows(1000, 30, "unread"))
    source.drop(dropped, changed)
    for i in range(3):
        c = make(brief, Shape(shards=1 + i))
        c.insert(Shape().rows(0, 10, "brief"))
        c.create_partition("p")
        source.drop(brief)
    again, created = make(changed, wide), make(new, wide)
    for c in (again, created):
        c.insert(wide.rows(0, 50, "while down"))
    made[0].create_partition("p")
    made[0].insert(Shape().rows(5000, 5, "p"), partition_name="p")
    load(again, created)
    compact()
    cdc.start()
    equal([kept, changed, new], 90)
    gone([dropped, brief])
    healthy(cdc, task)
    clean(*names)


def test_a_new_collection_on_pchannels_that_are_read_far_behind(cdc: Cdc) -> None:
    """Also one of an old name: its drop is in the backlog, its successor's rows are behind that."""
    task = the_task(cdc)
    big, small = Shape(shards=4), Shape(shards=3, strings=True)
    backlog = make("o2_backlog", big)
    again = make("o2_again", small)
    again.insert(small.rows(0, 10, "first"))
    load(backlog)
    until(lambda: target.has("o2_backlog") and target.has("o2_again"), 30, "both arrive")
    cdc.end()
    batch, batches = 10_000, int(12 * SIZE)
    for i in range(batches):
        backlog.insert(big.rows(i * batch, batch, "backlog"))
        if i == batches // 2:
            source.drop("o2_again")
    late = make("o2_late", small)
    late.insert(small.rows(0, 500, "late"))
    again = make("o2_again", big)
    again.insert(big.rows(0, 500, "second"))
    load(late, again)
    backlog.delete(big.list(range(0, 100)))
    cdc.start()
    late.insert(small.rows(500, 10, "later"))
    equal(["o2_late", "o2_again", "o2_backlog"], 120)
    healthy(cdc, task)
    clean("o2_backlog", "o2_late", "o2_again")


def flush_all(server: Server) -> None:
    """A 2.3.5 standalone that is killed loses by itself what it has not flushed."""
    for database in db.list_database(using=server.on()):
        calls = connections._fetch_handler(server.on(database))
        names = [n for n in calls.list_collections() if calls.get_collection_stats(n)]
        if names:
            calls.flush(names, timeout=60)


def test_the_source_is_killed_and_broadcasts_its_drops_again(cdc: Cdc) -> None:
    """Drops of collections and partitions whose names live on: the repeat means the old ones."""
    task = the_task(cdc)
    shape = Shape(shards=3)
    for i in range(3):
        if i:
            source.drop("o2_reborn")
        c = make("o2_reborn", Shape(strings=i == 1, shards=1 + i))
        c.insert(Shape(strings=i == 1).rows(0, 10, f"life{i}-"))
    for i in range(2):
        c.create_partition("p")
        c.insert(shape.rows(100, 10 + i, f"part{i}-"), partition_name="p")
        if not i:
            c.drop_partition("p")
    load(c)
    equal(["o2_reborn"], 60)
    flush_all(source)
    stack("kill", "source")
    stack("start", "source")
    until(lambda: c.insert(shape.rows(200, 10, "after")).insert_count == 10, 60, "the source takes rows again")
    equal(["o2_reborn"], 120)
    c.insert(shape.rows(300, 10, "after"))
    late = make("o2_after")
    late.insert(Shape().rows(0, 10, "new"))
    load(late)
    equal(["o2_reborn", "o2_after"], 60)
    healthy(cdc, task)
    clean("o2_reborn", "o2_after")
