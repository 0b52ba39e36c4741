# SPDX-License-Identifier: Apache-2.0
"""A disk that is full, read-only or closed to us, and the limit of the journal: told, waited for, nothing lost (J8)."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cdc import Cdc, until
from orders import Shape, equal, load, make, source, target
from pymilvus import Collection

SHAPE = Shape(shards=2, dim=64)


def run(*words: str) -> str:
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout


class Disk:
    """What holds the data of a daemon: a file system of that many MB, in memory, or an image with an ext4."""

    def __init__(self, cdc: Cdc, mb: int, image: Path | None = None) -> None:
        self.cdc = cdc
        self.where = cdc.seen(cdc.data)
        self.device = ""
        if image:
            with open(image, "wb") as f:
                f.truncate(mb << 20)
            run("mkfs.ext4", "-q", "-F", str(image))
            self.device = run("losetup", "--find", "--show", str(image)).strip()
            self.mount()
        else:
            cdc.shell(f"mkdir -p {self.where}; mount -t tmpfs -o size={mb}m,mode=0700 cdc-test {self.where}")

    def close(self) -> None:
        self.cdc.shell(f"umount -l {self.where}")
        if self.device:
            run("losetup", "--detach", self.device)

    def mount(self) -> None:
        number = os.stat(self.device).st_rdev
        node = f"test -b {self.device} || mknod {self.device} b {os.major(number)} {os.minor(number)}"
        self.cdc.shell(f"{node}; mkdir -p {self.where}; mount -o errors=remount-ro {self.device} {self.where}")

    def fail(self) -> None:
        """As the kernel does when it meets an error of the file system: read-only from now on."""
        Path(f"/sys/fs/ext4/{Path(self.device).name}/trigger_fs_error").write_text("a test")

    def mend(self) -> None:
        """With the daemon stopped, as an operator does."""
        self.cdc.shell(f"umount {self.where}")
        subprocess.run(["e2fsck", "-fy", self.device], stdout=subprocess.DEVNULL)  # 1: errors were corrected
        self.mount()

    def fill(self) -> Path:
        """A foreign file takes what is left."""
        path = self.cdc.mounted() / "foreign"
        with open(path, "wb", buffering=0) as f:
            while True:
                try:
                    f.write(b"x" * 65536)
                except OSError:
                    return path


def status(s: Cdc, task: str) -> str:
    h = s.get(task)["health"]
    return f"{h['status']} {h.get('error', '')} {h.get('reason', '')}"


@contextmanager
def small(
    cdc: Cdc, mb: int, name: str, extra: str = "", image: bool = False
) -> Iterator[tuple[Cdc, Disk, str, Collection]]:
    """A daemon with such a disk, and a level task of one collection on it."""
    for task in cdc.ask("list")[1]["data"]["tasks"]:
        cdc.delete(task["task_id"])
    cdc.end()
    for side in (source, target):
        if side.has(name):
            side.drop(name)
    s = cdc.another(name)
    s.write_config(extra)
    disk = Disk(s, mb, s.folder / "image" if image else None)
    try:
        s.start()
        c = make(name, SHAPE)
        load(c)
        task = s.create([name])
        c.insert(SHAPE.rows(0, 500, "w"))
        equal([name])
        yield s, disk, task, c
        if s.process is None or s.process.poll() is not None:
            s.start()
        s.delete(task)
        for side in (source, target):
            side.drop(name)
    finally:
        if s.process:
            s.end()
        disk.close()


def test_J8_a_full_disk_is_told_and_waited_for(cdc: Cdc) -> None:
    with small(cdc, 48, "f3_full") as (s, disk, task, c):
        s.pause(task)
        c.insert(SHAPE.rows(1000, 2000, "kept"))
        until(lambda: s.progress(task)["journaled"] >= 2500, 30, "captured")
        foreign = disk.fill()
        for first in range(10_000, 30_000, 2_000):
            c.insert(SHAPE.rows(first, 2_000, "full"))
        text = until(lambda: "JOURNAL_" in status(s, task) and status(s, task), 30, "it is told: " + status(s, task))
        print(f"# {text}")
        assert "retrying JOURNAL_FULL" in text or "retrying JOURNAL_IO" in text, text
        s.end()  # and a restart onto a full disk comes up and says the same
        s.start()
        until(lambda: "JOURNAL_" in status(s, task) or "STATE_IO" in status(s, task), 30, "told after a restart")
        foreign.unlink()
        s.resume(task)
        equal(["f3_full"], 90)
        until(lambda: status(s, task).startswith("ok"), 30, "ok again")


def test_J8_a_disk_that_turns_read_only_is_told_and_a_mended_one_goes_on(cdc: Cdc) -> None:
    with small(cdc, 64, "f3_readonly", image=True) as (s, disk, task, c):
        disk.fail()
        for first in range(10_000, 16_000, 2_000):
            c.insert(SHAPE.rows(first, 2_000, "ro"))
        text = until(lambda: "_IO" in status(s, task) and status(s, task), 30, "it is told: " + status(s, task))
        print(f"# {text}")
        assert text.startswith("retrying"), text
        s.end()
        told = s.refuses(1)
        cause = [line for line in told.splitlines() if "ead-only" in line]
        assert cause, told
        print(f"# {cause[0]}")
        disk.mend()
        c.insert(SHAPE.rows(20_000, 500, "after"))
        s.start()
        equal(["f3_readonly"], 90)
        until(lambda: status(s, task).startswith("ok"), 30, "ok again")


def test_J8_at_the_journals_limit_reading_waits_and_applying_goes_on(cdc: Cdc) -> None:
    limit = "journal:\n  segmentSize: 1MiB\n  maxSize: 4MiB\n"
    with small(cdc, 128, "f3_limit", limit) as (s, disk, task, c):
        s.pause(task)
        total = 500
        for first in range(10_000, 50_000, 4_000):
            c.insert(SHAPE.rows(first, 4_000, "much"))
            total += 4_000
        text = until(lambda: "JOURNAL_FULL" in status(s, task) and status(s, task), 40, "it is told: " + status(s, task))
        print(f"# {text}")
        assert s.progress(task)["journaled"] < total, "reading waits"
        used = sum(f.stat().st_size for f in s.mounted().rglob("*") if f.is_file())
        assert used < 16 << 20, f"{used} bytes at a limit of 4 MB"
        s.resume(task)
        equal(["f3_limit"], 120)
        until(lambda: status(s, task).startswith("ok"), 30, "ok again")


def as_an_ordinary_user(s: Cdc) -> None:
    """From its next start. root may do everything; a unit is an ordinary user anyway."""
    if os.geteuid() != 0 or s.mounted().stat().st_uid != 0:
        return
    user = 65534
    for path in [s.data, *s.data.rglob("*")]:
        os.chown(path, user, user)
    for path in (s.folder, *s.folder.parents):
        path.chmod(path.stat().st_mode | 0o055)
    s.config.chmod(0o644)
    wrapper, program = s.folder / "as-user", os.path.abspath(s.program)
    wrapper.write_text(
        f'#!/bin/sh\nexec setpriv --reuid {user} --regid {user} --clear-groups {program} "$@"\n'
    )
    wrapper.chmod(0o755)
    s.program = str(wrapper)


def test_permissions_taken_away_are_told_and_given_back_it_goes_on(cdc: Cdc) -> None:
    """The folder of a task's journal is closed, and its newest file; then both are opened again."""
    with small(cdc, 64, "f3_closed") as (s, disk, task, c):
        s.end()
        as_an_ordinary_user(s)
        journal = s.mounted() / "tasks" / task / "journal"
        mode = journal.stat().st_mode
        journal.chmod(0o500)
        newest = sorted(journal.glob("*.db"))[-1]
        newest.chmod(0)
        s.start()
        c.insert(SHAPE.rows(10_000, 500, "closed"))
        text = until(lambda: "_IO" in status(s, task) and status(s, task), 30, "it is told: " + status(s, task))
        print(f"# {text}")
        assert text.startswith("retrying") and "ermission" in text, text
        newest.chmod(0o640)
        journal.chmod(mode)
        equal(["f3_closed"], 90)
