# SPDX-License-Identifier: Apache-2.0
"""The target has a collection of that name already: another one, or one of somebody else (R23, R26)."""

from cdc import Cdc, until
from orders import Shape, clean, differences, equal, healthy, load, make, source, target, the_task


def test_another_schema_is_told_in_words_and_held_until_it_is_gone(cdc: Cdc) -> None:
    """The others go on. The operator drops the wrong one; all rows come, also those of meanwhile."""
    task = the_task(cdc)
    until(lambda: cdc.progress(task)["held_collections"] == 0, 60, "nothing is held yet")
    make("o5_wrong", Shape(dim=8, strings=True, extra="a"), server=target)
    make("o5_foreign", Shape(), server=target)
    mine = make("o5_wrong", Shape(dim=4, extra="b"))
    beside = make("o5_beside")
    for c, shape in ((mine, Shape(extra="b")), (beside, Shape())):
        c.insert(shape.rows(0, 30, "row"))
    load(mine, beside)
    equal(["o5_beside"])
    until(lambda: cdc.progress(task)["held_collections"] == 1, 60, "it is held")
    answer = cdc.get(task)
    assert answer["state"] == "Running", answer
    reason = answer["health"]["reason"]
    for words in ("default.o5_wrong", "another schema", "field id: Int64, on the target VarChar", "dim"):
        assert words in reason, reason
    mine.create_partition("p")
    mine.insert(Shape(extra="b").rows(100, 20, "meanwhile"), partition_name="p")
    mine.delete(Shape().list(range(0, 5)))
    beside.insert(Shape().rows(100, 20, "meanwhile"))
    equal(["o5_beside"])
    assert target.has("o5_foreign")
    target.drop("o5_wrong")
    cdc.pause(task)
    cdc.resume(task)  # else it is tried once a minute
    equal(["o5_wrong", "o5_beside"], 60)
    mine.insert(Shape(extra="b").rows(200, 20, "after"))
    equal(["o5_wrong"])
    healthy(cdc, task)
    assert target.has("o5_foreign") and not source.has("o5_foreign")
    target.drop("o5_foreign")
    clean("o5_wrong", "o5_beside")


def test_the_same_schema_is_adopted_and_keeps_its_data(cdc: Cdc) -> None:
    task = the_task(cdc)
    make("o5_same", server=target)
    made = make("o5_same")
    made.insert(Shape().rows(0, 20, "row"))
    load(made)
    equal(["o5_same"])
    assert not differences(["o5_same"])
    healthy(cdc, task)
    clean("o5_same")
