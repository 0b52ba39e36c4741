# SPDX-License-Identifier: Apache-2.0
"""Rows in races: a partition that is dropped under them, one key many times within one tick."""

import random
import threading
from typing import Any

from cdc import Cdc
from orders import SIZE, Shape, clean, equal, healthy, load, make, side_by_side, the_task
from pymilvus import MilvusException


def test_a_partition_is_dropped_and_made_again_with_rows_in_flight(cdc: Cdc) -> None:
    """Two writers never stop; the partition is another one each time, of the same name."""
    task = the_task(cdc)
    shape = Shape(shards=4)
    c = make("o4_partitions", shape)
    over = threading.Event()
    c.create_partition("p")

    def write(first: int) -> int:
        done = 0
        while not over.is_set():
            rows = shape.rows(first + 5 * done, 5, "row")
            try:
                c.insert(rows, partition_name="p" if done % 3 else "_default")
                if done % 4 == 0:
                    c.delete(shape.list(range(first + 5 * done, first + 5 * done + 2)))
                done += 1
            except MilvusException as e:
                assert "partition" in str(e).lower(), e
        return done

    def drop() -> None:
        try:
            for _ in range(int(8 * SIZE)):
                before = c.num_entities  # a call of the server's length, for rows in between
                assert before >= 0
                c.drop_partition("p")
                c.create_partition("p")
                c.insert(shape.rows(10_000_000, 100, "mine"), partition_name="p")
        finally:
            over.set()

    done = side_by_side([lambda: write(0), lambda: write(1_000_000), drop], 3)
    assert min(done[:2]) > 3, done
    load(c)
    equal(["o4_partitions"], 60)
    healthy(cdc, task)
    clean("o4_partitions")


def hammer(c: Any, shape: Shape, seed: int, rounds: int) -> None:
    """Few keys, each changed many times within one tick of the source."""
    rnd = random.Random(seed)
    for i in range(rounds):
        first = rnd.randrange(4)
        if rnd.random() < 0.4:
            c.delete(shape.list(range(first, first + rnd.randint(1, 3))))
        else:
            c.upsert(shape.rows(first, rnd.randint(1, 3), f"s{seed}r{i}-"))


def test_upserts_and_deletes_of_one_key_within_one_tick(cdc: Cdc) -> None:
    task = the_task(cdc)
    names = ["o4_numbers", "o4_strings"]
    shapes = [Shape(shards=2), Shape(shards=2, strings=True)]
    made = [make(name, shape) for name, shape in zip(names, shapes)]
    load(*made)
    for c, shape in zip(made, shapes):
        c.insert(shape.rows(0, 6, "first"))
    rounds = int(150 * SIZE)
    side_by_side(
        [lambda c=c, s=s, n=n: hammer(c, s, n, rounds) for c, s in zip(made, shapes) for n in (1, 2)], 4
    )
    equal(names, 60)
    healthy(cdc, task)
    clean(*names)
