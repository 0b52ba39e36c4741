# SPDX-License-Identifier: Apache-2.0
"""One name, many owners: what is dropped and made again at once, in bursts, with whole databases."""

import random

from cdc import Cdc, until
from orders import SIZE, Shape, clean, differences, equal, gone, healthy, load, make, side_by_side, source, target, the_task
from pymilvus import connections, db


def test_a_name_is_dropped_and_made_again_many_times_in_a_row(cdc: Cdc) -> None:
    """Rows on both sides of each drop, under the same keys; another schema and shard count each time."""
    task = the_task(cdc)
    rnd = random.Random(41)
    names = ["o1_again", "o1_again_too"]
    rounds = int(6 * SIZE)
    for i in range(rounds):
        for name in names:
            if i:
                source.drop(name)
            shape = Shape.any(rnd)
            c = make(name, shape)
            if i == rounds - 1 or rnd.random() < 0.3:
                load(c)
            c.insert(shape.rows(0, 20 + i, f"round{i}-"))
            c.delete(shape.list(range(0, 3)))
            if rnd.random() < 0.5:
                c.create_partition("p")
                c.insert(shape.rows(1000, 10, f"part{i}-"), partition_name="p")
    equal(names, 90)
    healthy(cdc, task)
    clean(*names)


def test_a_burst_of_collections(cdc: Cdc) -> None:
    """Some are dropped again at once, some dropped and made again."""
    task = the_task(cdc)
    count = int(40 * SIZE)  # a hundred: ORDERS_SIZE=2.5
    names = [f"o1_burst_{i}" for i in range(count)]

    def one(i: int) -> None:
        shape = Shape(strings=i % 2 == 0, shards=1 + i % 3)
        c = make(names[i], shape)
        c.insert(shape.rows(i, 5, "first"))
        if i % 5 == 0:
            source.drop(names[i])
        if i % 10 == 0:
            c = make(names[i], Shape(strings=i % 4 == 0, dim=2, shards=1))
            c.insert(Shape(strings=i % 4 == 0, dim=2).rows(0, 7, "again"))
        if i % 20 in (1, 10):
            load(c)

    side_by_side([lambda i=i: one(i) for i in range(count)], 4)
    kept = [n for i, n in enumerate(names) if i % 5 or i % 10 == 0]
    until(lambda: {n for n in target.names() if n.startswith("o1_burst_")} == set(kept), 90, "all have come")
    equal([n for i, n in enumerate(names) if i % 20 in (1, 10)], 60)
    assert [d for d in differences(kept) if "rows not read" not in d] == []
    healthy(cdc, task)
    side_by_side([lambda n=n: source.drop(n) for n in kept], 4)
    gone(kept, 90)


def test_a_database_is_dropped_right_after_its_collections_and_made_again(cdc: Cdc) -> None:
    task = the_task(cdc)
    for i in range(3):
        db.create_database("o1_db", using=source.on())
        source.dbs.discard("o1_db")
        shapes = [Shape(shards=1 + i, dim=4 + 4 * i), Shape(strings=True)]
        made = [make(name, shape, db="o1_db") for name, shape in zip(["a", "b"], shapes)]
        for c, shape in zip(made, shapes):
            c.insert(shape.rows(0, 10 + i, f"round{i}-"))
        if i == 2:
            break
        source.drop("a", "b", db="o1_db")
        db.drop_database("o1_db", using=source.on())
    load(*made)
    equal(["o1_db.a", "o1_db.b"], 90)
    source.drop("a", "b", db="o1_db")
    db.drop_database("o1_db", using=source.on())
    until(lambda: "o1_db" not in db.list_database(using=target.on()), 60, "the database goes")
    target.dbs.discard("o1_db")
    healthy(cdc, task)
