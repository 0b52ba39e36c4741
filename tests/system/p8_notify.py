# SPDX-License-Identifier: Apache-2.0
"""What the program itself tells systemd, message by message, at a socket of ours; and how it ends.

No container: systemd shows only what comes of these messages, not when they came and what stood in them.
"""

import errno
import os
import signal
import socket
import sqlite3
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from cdc import ROOT, until
from machine import run

if TYPE_CHECKING:
    from run import World

Message = dict[str, str]


class Notified:
    """A program with the socket, an empty configuration but for what is given, and a data directory of its own."""

    def __init__(self, world: "World", name: str, more: str = "") -> None:
        self.program = world.tree() / "usr/bin/milvus-cdc"
        self.folder = world.folder / "notified" / name
        self.folder.mkdir(parents=True)
        self.config, self.data = self.folder / "cdc.yaml", self.folder / "data"
        host, port = world.cdc.address.rsplit(":", 1)
        self.address = f"{host}:{int(port) + 94}"
        self.configure(more)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.folder / "notify"))
        self.process: subprocess.Popen[bytes] | None = None

    def configure(self, more: str = "") -> None:
        self.config.write_text(f"address: {self.address}\ndataDir: {self.data}\n{more}")

    def start(self) -> None:
        self.process = subprocess.Popen(
            [self.program, "--config", self.config],
            env=os.environ | {"NOTIFY_SOCKET": str(self.folder / "notify"), "WATCHDOG_USEC": "4000000"},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(self.folder / "log", "wb"),
        )  # fmt: skip

    def fill(self) -> int:
        """So full that whoever sends to it has to wait until it is read; the number of messages in it."""
        n, sender = 0, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sender.setblocking(False)
        try:
            while True:
                sender.sendto(b"", str(self.folder / "notify"))
                n += 1
        except BlockingIOError:
            return n
        finally:
            sender.close()

    def next(self, seconds: float = 20) -> Message:
        self.socket.settimeout(seconds)
        text = self.socket.recv(65536).decode()
        return dict(line.split("=", 1) for line in text.splitlines())

    def wait_for(self, key: str) -> Message:
        """The next message with it; those before are of no interest."""
        while key not in (message := self.next()):
            pass
        return message

    def told(self) -> list[Message]:
        """All that is left, of a program that has ended."""
        found: list[Message] = []
        try:
            while True:
                found.append(self.next(0))
        except BlockingIOError:
            return found

    def answers(self) -> bool:
        with urllib.request.urlopen(f"http://{self.address}/healthz", timeout=5) as answer:
            return bool(answer.status == 200)

    def __enter__(self) -> "Notified":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.socket.close()


def version(database: Path) -> int:
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def test_READY_is_told_when_the_data_are_migrated_and_the_API_answers(world: "World") -> None:
    """While the socket is full the program is held at its first message: what is done by then, is done before it."""
    n = Notified(world, "ready", "sourceConfig: {etcd: {address: ['127.0.0.1:1']}, kafka: {address: '127.0.0.1:1'}}\n")
    run("tar", "-xzf", ROOT / "tests/fixtures/data-0.1.0.tar.gz", "-C", n.folder)
    before = version(n.data / "control.db")
    full = n.fill()
    with n:
        until(n.answers, 20, "the API answers")
        assert version(n.data / "control.db") > before
        for _ in range(full):
            assert n.next() == {}
        assert n.next() == {"READY": "1"}


def test_the_status_line_and_signs_of_life_are_told_again_and_again(world: "World") -> None:
    with Notified(world, "status") as n:
        assert n.next() == {"READY": "1"}
        at, alive = [], 0
        while len(at) < 2:
            message = n.next()
            alive += message == {"WATCHDOG": "1"}
            if "STATUS" in message:
                assert message == {"STATUS": "no source configured; no tasks"}
                at.append(time.monotonic())
        assert at[1] - at[0] < 8 and alive >= 3


def test_RELOADING_has_the_time_and_is_followed_by_READY(world: "World") -> None:
    with Notified(world, "reload") as n:
        n.wait_for("READY")
        for more in ("logLevel: debug\n", "logLevel: loud\n"):  # a wrong file, too
            n.configure(more)
            since = time.monotonic_ns() // 1_000
            assert n.process
            n.process.send_signal(signal.SIGHUP)
            message = n.wait_for("RELOADING")
            assert message.keys() == {"RELOADING", "MONOTONIC_USEC"} and message["RELOADING"] == "1"
            # ours is of milliseconds
            assert since - 1_000 <= int(message["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1_000
            assert n.next() == {"READY": "1"}


def test_STOPPING_is_the_last_that_is_told(world: "World") -> None:
    with Notified(world, "stop") as n:
        n.wait_for("READY")
        assert n.process
        n.process.send_signal(signal.SIGTERM)
        assert n.process.wait(2) == 0
        assert n.told()[-1] == {"STOPPING": "1"}


def ended(n: Notified) -> tuple[int, int, str]:
    """Exit status, ERRNO and STATUS of a program that cannot start."""
    with n:
        assert n.process
        status = n.process.wait(20)
        told = n.told()
    assert not any("READY" in message for message in told), told
    return status, int(told[-1]["ERRNO"]), told[-1]["STATUS"]


def test_a_failed_start_ends_with_a_status_an_ERRNO_and_the_reason(world: "World") -> None:
    status, number, why = ended(Notified(world, "wrong", "logLevel: loud\n"))
    assert (status, number) == (78, errno.EINVAL) and "logLevel" in why, why

    with Notified(world, "first") as first:
        first.wait_for("READY")
        status, number, why = ended(Notified(world, "port"))
        assert (status, number) == (1, errno.EADDRINUSE) and first.address in why, why
        second = Notified(world, "locked")
        second.data = first.data
        second.configure()
        status, number, why = ended(second)
        assert (status, number) == (75, errno.EBUSY) and str(first.data) in why, why

    newer = Notified(world, "newer")
    run("tar", "-xzf", ROOT / "tests/fixtures/data-0.1.0.tar.gz", "-C", newer.folder)
    with sqlite3.connect(newer.data / "control.db") as db:
        db.execute("PRAGMA user_version = 99")
    status, number, why = ended(newer)
    assert (status, number) == (1, errno.EPROTONOSUPPORT) and "newer" in why, why

    nowhere = Notified(world, "nowhere")
    nowhere.data = nowhere.config / "data"
    nowhere.configure()
    status, number, why = ended(nowhere)
    assert (status, number) == (1, errno.ENOTDIR) and str(nowhere.data) in why, why
