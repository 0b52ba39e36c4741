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


class Small(Cdc):
    """A daemon whose folder is a file system of that many MB of its own: in memory, or an image with an ext4."""

    def __init__(self, folder: Path, mb: int, extra: str = "", image: bool = False) -> None:
        super().__init__(folder / "conf")
        self.data = folder / "disk"
        self.data.mkdir(exist_ok=True)
        self.image = folder / "image" if image else None
        if self.image:
            with open(self.image, "wb") as f:
                f.truncate(mb << 20)
            run("mkfs.ext4", "-q", "-F", str(self.image))
            self.mount()
        else:
            run("mount", "-t", "tmpfs", "-o", f"size={mb}m,mode=0700", "cdc-test", str(self.data))
        text = self.config.read_text().replace(str(self.folder / "data"), str(self.data / "data"))
        self.config.write_text(text + extra)

    def close(self) -> None:
        if self.process:
            self.end()
        run("umount", "-l", str(self.data))

    def mount(self) -> None:
        run("mount", "-o", "loop,errors=remount-ro", str(self.image), str(self.data))

    def fail(self) -> None:
        """As the kernel does when it meets an error of the file system: read-only from now on."""
        device = Path(run("findmnt", "-no", "SOURCE", str(self.data)).strip()).name
        Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("a test")

    def mend(self) -> None:
        """With the daemon stopped, as an operator does."""
        run("umount", str(self.data))
        subprocess.run(["e2fsck", "-fy", str(self.image)], stdout=subprocess.DEVNULL)  # 1: errors were corrected
        self.mount()

    def status(self, task: str) -> str:
        h = self.get(task)["health"]
        return f"{h['status']} {h.get('error', '')} {h.get('reason', '')}"


@contextmanager
def small(cdc: Cdc, mb: int, name: str, extra: str = "", image: bool = False) -> Iterator[tuple[Small, str, Collection]]:
    """A level task of one collection on it."""
    for task in cdc.ask("list")[1]["data"]["tasks"]:
        cdc.delete(task["task_id"])
    cdc.end()
    for side in (source, target):
        if side.has(name):
            side.drop(name)
    s = Small(cdc.folder / name, mb, extra, image)
    try:
        s.start()
        c = make(name, SHAPE)
        load(c)
        task = s.create([name])
        c.insert(SHAPE.rows(0, 500, "w"))
        equal([name])
        yield s, task, c
        if s.process is None or s.process.poll() is not None:
            s.start()
        s.delete(task)
        for side in (source, target):
            side.drop(name)
    finally:
        s.close()


def fill(s: Small) -> Path:
    """A foreign file takes what is left of the disk."""
    path = s.data / "foreign"
    with open(path, "wb", buffering=0) as f:
        while True:
            try:
                f.write(b"x" * 65536)
            except OSError:
                return path


def test_J8_a_full_disk_is_told_and_waited_for(cdc: Cdc) -> None:
    with small(cdc, 48, "f3_full") as (s, task, c):
        s.pause(task)
        c.insert(SHAPE.rows(1000, 2000, "kept"))
        until(lambda: s.progress(task)["journaled"] >= 2500, 30, "captured")
        foreign = fill(s)
        for first in range(10_000, 30_000, 2_000):
            c.insert(SHAPE.rows(first, 2_000, "full"))
        text = until(lambda: "JOURNAL_" in s.status(task) and s.status(task), 30, "it is told: " + s.status(task))
        print(f"# {text}")
        assert "retrying JOURNAL_FULL" in text or "retrying JOURNAL_IO" in text, text
        s.end()  # and a restart onto a full disk comes up and says the same
        s.start()
        until(lambda: "JOURNAL_" in s.status(task) or "STATE_IO" in s.status(task), 30, "told after a restart")
        foreign.unlink()
        s.resume(task)
        equal(["f3_full"], 90)
        until(lambda: s.status(task).startswith("ok"), 30, "ok again")


def test_J8_a_disk_that_turns_read_only_is_told_and_a_mended_one_goes_on(cdc: Cdc) -> None:
    with small(cdc, 64, "f3_readonly", image=True) as (s, task, c):
        s.fail()
        for first in range(10_000, 16_000, 2_000):
            c.insert(SHAPE.rows(first, 2_000, "ro"))
        text = until(lambda: "_IO" in s.status(task) and s.status(task), 30, "it is told: " + s.status(task))
        print(f"# {text}")
        assert text.startswith("retrying"), text
        s.end()
        start = subprocess.run([s.program, "--config", str(s.config)], capture_output=True, text=True, timeout=20)
        assert start.returncode != 0 and "ead-only" in start.stderr, start
        print(f"# {start.stderr.strip().splitlines()[-1]}")
        s.mend()
        c.insert(SHAPE.rows(20_000, 500, "after"))
        s.start()
        equal(["f3_readonly"], 90)
        until(lambda: s.status(task).startswith("ok"), 30, "ok again")


def test_J8_at_the_journals_limit_reading_waits_and_applying_goes_on(cdc: Cdc) -> None:
    limit = "journal:\n  segmentSize: 1MiB\n  maxSize: 4MiB\n"
    with small(cdc, 128, "f3_limit", limit) as (s, task, c):
        s.pause(task)
        total = 500
        for first in range(10_000, 50_000, 4_000):
            c.insert(SHAPE.rows(first, 4_000, "much"))
            total += 4_000
        text = until(lambda: "JOURNAL_FULL" in s.status(task) and s.status(task), 40, "it is told: " + s.status(task))
        print(f"# {text}")
        assert s.progress(task)["journaled"] < total, "reading waits"
        used = sum(f.stat().st_size for f in (s.data / "data").rglob("*") if f.is_file())
        assert used < 16 << 20, f"{used} bytes at a limit of 4 MB"
        s.resume(task)
        equal(["f3_limit"], 120)
        until(lambda: s.status(task).startswith("ok"), 30, "ok again")


def test_permissions_taken_away_are_told_and_given_back_it_goes_on(cdc: Cdc) -> None:
    """As an ordinary user: root may do everything. The folder of one task is closed; the other one flows."""
    if os.geteuid() != 0:
        return
    with small(cdc, 64, "f3_closed") as (s, task, c):
        s.end()
        user = 65534
        for path in [s.data, *s.data.rglob("*")]:
            os.chown(path, user, user)
        for path in (s.folder, *s.folder.parents):
            path.chmod(path.stat().st_mode | 0o055)
        s.config.chmod(0o644)
        as_user = s.folder / "as-user"
        as_user.write_text(f"#!/bin/sh\nexec setpriv --reuid {user} --regid {user} --clear-groups {os.path.abspath(s.program)} \"$@\"\n")
        as_user.chmod(0o755)
        own, s.program = s.program, str(as_user)
        journal = s.data / "data" / "tasks" / task / "journal"
        mode = journal.stat().st_mode
        journal.chmod(0o500)
        newest = sorted(journal.glob("*.db"))[-1]
        newest.chmod(0)
        s.start()
        c.insert(SHAPE.rows(10_000, 500, "closed"))
        text = until(lambda: "_IO" in s.status(task) and s.status(task), 30, "it is told: " + s.status(task))
        print(f"# {text}")
        assert text.startswith("retrying") and "ermission" in text, text
        newest.chmod(0o640)
        journal.chmod(mode)
        equal(["f3_closed"], 90)
        s.end()
        s.program = own
