# SPDX-License-Identifier: Apache-2.0
"""A damaged journal: found before it is used, put aside, read again from the source (J7, R16)."""

from pathlib import Path

from b2_operations import FLAT, data, make
from cdc import Cdc, compare, until
from f1_faults import the_task
from pymilvus import utility


def flip(path: Path) -> None:
    """Bits in the bodies of the second half of the file."""
    path.chmod(0o640)
    with open(path, "r+b") as f:
        size = f.seek(0, 2)
        for at in range(size // 2, size, 4001):
            f.seek(at)
            byte = f.read(1)[0]
            f.seek(at)
            f.write(bytes([byte ^ 0x5A]))


def test_R16_damage_in_what_is_not_applied_is_read_again(cdc: Cdc) -> None:
    task = the_task(cdc)
    c = make("f2_damaged")
    c.create_index("v", FLAT)
    c.load()
    until(lambda: utility.has_collection("f2_damaged", using="target"), 30, "the collection arrives")
    cdc.pause(task)
    before = cdc.progress(task)["journaled"]
    for first in range(0, 20_000, 5_000):
        c.insert(data(first, 5_000))
    c.upsert(data(100, 50, "again"))
    c.delete("id in [1, 2, 3]")
    until(lambda: cdc.progress(task)["journaled"] >= before + 20_103, 60, "all is captured")
    cdc.end()
    journal = cdc.data / "tasks" / task / "journal"
    newest = sorted(journal.glob("*.db"))[-1]
    flip(newest)
    cdc.start()
    cdc.resume(task)
    until(lambda: (journal / "quarantine" / newest.name).exists(), 60, "the damaged file is put aside")
    assert "all equal" in compare(90)
    until(lambda: cdc.get(task)["health"]["status"] == "ok", 30, "health is ok again")
    assert "quarantine" in cdc.said()
