# SPDX-License-Identifier: Apache-2.0
"""Names that move between collections: renames, swaps, aliases, at once and while the daemon is down (R9)."""

import signal

from cdc import Cdc
from orders import Shape, clean, equal, gone, healthy, load, make, source, the_task
from pymilvus import Collection, utility

NUMBERS, STRINGS = Shape(), Shape(strings=True, dim=8, shards=3)


def rename(old: str, new: str) -> None:
    utility.rename_collection(old, new, using=source.on())


def orders(names: list[str], word: str) -> None:
    """Of three new collections a, b, c: a's name goes to another one at once, b and c are swapped."""
    a, b, c, spare = names
    shapes = {a: NUMBERS, b: NUMBERS, c: STRINGS}
    made = {n: make(n, shape) for n, shape in shapes.items()}
    for n in made:
        made[n].insert(shapes[n].rows(0, 10, f"{word} first {n} "))
    load(*made.values())
    utility.create_alias(a, f"{a}_alias", using=source.on())
    utility.create_alias(b, f"{b}_alias", using=source.on())
    rename(a, spare)
    fresh = make(a, STRINGS)
    fresh.insert(STRINGS.rows(0, 15, f"{word} fresh "))
    load(fresh)
    rename(b, f"{b}_swap")
    rename(c, b)
    rename(f"{b}_swap", c)
    utility.alter_alias(b, f"{a}_alias", using=source.on())
    utility.drop_alias(f"{b}_alias", using=source.on())
    utility.create_alias(spare, f"{b}_alias", using=source.on())
    for n, shape in ((spare, NUMBERS), (c, NUMBERS), (b, STRINGS)):
        Collection(n, using=source.on()).insert(shape.rows(100, 5, f"{word} moved "))


def test_names_move_at_once(cdc: Cdc) -> None:
    task = the_task(cdc)
    names = [f"o6_{n}" for n in ("a", "b", "c", "spare")]
    orders(names, "live")
    equal(names, 90)
    healthy(cdc, task)
    clean(*names)


def test_names_move_while_we_are_down(cdc: Cdc) -> None:
    task = the_task(cdc)
    names = [f"o6_{n}" for n in ("down_a", "down_b", "down_c", "down_spare")]
    cdc.end(signal.SIGKILL)
    orders(names, "down")
    cdc.start()
    equal(names, 90)
    cdc.end(signal.SIGKILL)
    rename(names[3], "o6_last")
    source.drop(names[0])
    rename("o6_last", names[0])
    cdc.start()
    equal(names[:3], 90)
    gone([names[3], "o6_last"])
    healthy(cdc, task)
    clean(*names[:3])
