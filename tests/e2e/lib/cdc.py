# SPDX-License-Identifier: Apache-2.0
"""The daemon under test and the stack around it, for the end-to-end tests."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any, Protocol

ROOT = Path(__file__).resolve().parents[3]
LIB = Path(__file__).resolve().parent
_never = Event()

SOURCE = os.environ["SOURCE_URI"]
TARGET = os.environ["TARGET_URI"]


def until(what: Callable[[], Any], seconds: float, why: str) -> Any:
    """Polls until what() is true (its value is returned); an exception in it counts as not yet."""
    end = time.monotonic() + seconds
    last: Exception | None = None
    while True:
        try:
            value = what()
            if value:
                return value
        except Exception as e:  # the other side is down, not loaded, not there: not yet
            last = e
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {why}" + (f" (last: {last})" if last else ""))
        _never.wait(0.05)


def stack(*words: str) -> None:
    subprocess.run([str(ROOT / "tests/stack/stack.sh"), *words], check=True, stdout=subprocess.DEVNULL)


def etcdctl(address: str, *words: str) -> str:
    """Its answer; bytes that are no text are replaced."""
    run = subprocess.run(
        ["etcdctl", "--endpoints", address, *words],
        env=os.environ | {"ETCDCTL_API": "3"}, capture_output=True, text=True, errors="replace",
    )  # fmt: skip
    assert run.returncode == 0, f"etcdctl {words[0]}: {run.stderr}"
    return run.stdout


def addresses(told: str) -> dict[str, str]:
    """What stack.sh env prints for a shell, by name."""
    return dict(line.removeprefix("export ").split("=", 1) for line in told.splitlines())


class Process(Protocol):
    """What is asked of the daemon's process: a child of ours, or the main process of a unit."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> Any: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, sig: int) -> None: ...


class Cdc:
    """One data directory and at most one process on it: a plain one here, a unit in tests/system/inside.py."""

    def __init__(
        self, folder: Path, program: str | None = None, config: Path | None = None, data: Path | None = None
    ) -> None:
        self.folder = folder
        self.program = program or os.environ.get("PROGRAM", str(ROOT / "build/release/milvus-cdc"))
        self.address = os.environ["CDC_ADDRESS"]
        self.process: Process | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.config = config or folder / "cdc.yaml"
        self.data = data or folder / "data"
        self.log = folder / "cdc.log"
        self.write_config()

    def write_config(self, extra: str = "") -> None:
        root = os.environ["SOURCE_ROOT"]
        self.config.write_text(
            f"address: {self.address}\n"
            f"dataDir: {self.seen(self.data)}\n"
            "sourceConfig:\n"
            "  etcd:\n"
            f"    address: [\"{os.environ['SOURCE_ETCD']}\"]\n"
            f"    rootPath: {root}\n"
            "  kafka:\n"
            f"    address: {os.environ['KAFKA']}\n"
            f"  replicateChan: {root}-replicate-msg\n" + extra
        )

    def nobody_answers(self) -> None:
        try:
            self.http("GET", "/healthz")
        except OSError:
            return
        raise RuntimeError(f"something else answers on {self.address}: a daemon that an earlier run left?")

    def ended(self) -> bool:
        """It runs no more, and nobody has asked for that."""
        return self.process is not None and self.process.poll() is not None

    def answers(self) -> None:
        until(lambda: self.ended() or self.http("GET", "/healthz")[0] in (200, 503), 20, "milvus-cdc answers")
        assert not self.ended(), f"milvus-cdc has ended: {self.tail()}"

    def start(self) -> None:
        self.nobody_answers()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [self.program, "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.answers()

    def end(self, sig: int = signal.SIGTERM) -> float:
        """Seconds until the process was gone."""
        assert self.process
        start = time.monotonic()
        self.process.send_signal(sig)
        self.process.wait(20)
        self.process = None
        return time.monotonic() - start

    def said(self) -> str:
        """All that it has logged."""
        return self.log.read_text() if self.log.exists() else ""

    def tail(self) -> str:
        return "".join(self.said().splitlines(True)[-5:])

    # where it runs need not be where the tests run

    def another(self, name: str) -> "Cdc":
        """One more daemon of the same kind, with a folder of its own; an address of its own is up to the caller."""
        return Cdc(self.folder / name, self.program)

    def seen(self, path: Path) -> str:
        """What the daemon calls a file."""
        return str(path)

    def seen_pid(self) -> int:
        """What the daemon calls itself."""
        assert self.process
        return self.process.pid

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """The program with these arguments, beside the daemon."""
        return subprocess.run([self.program, *words], capture_output=True, text=True, timeout=90)

    def mounted(self) -> Path:
        """The data directory, also when something is mounted on it where the daemon runs."""
        return self.data

    def refuses(self, status: int) -> str:
        """It does not start, and ends with this status: what it says."""
        start = self.run("--config", self.config)
        assert start.returncode == status, start
        return start.stderr

    def keep(self, name: str) -> Path:
        """A new folder for files that the daemon is to read; see readable()."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def readable(self, folder: Path) -> None:
        """After files were put there."""

    def shell(self, command: str) -> None:
        """As root, where the daemon runs."""
        subprocess.run(["sh", "-ec", command], check=True, stdout=subprocess.DEVNULL)

    def http(self, method: str, path: str, body: bytes | None = None) -> tuple[int, dict[str, str], str]:
        request = urllib.request.Request(f"http://{self.address}{path}", data=body, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, dict(answer.headers), answer.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, dict(e.headers), e.read().decode()

    def ask(self, kind: str, data: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        body: dict[str, Any] = {"request_type": kind}
        if data is not None:
            body["request_data"] = data
        status, _, text = self.http("POST", "/cdc", json.dumps(body).encode())
        answer = json.loads(text)
        assert answer["code"] == status, f"HTTP {status}: {text}"
        return status, answer

    def create(self, names: list[str] | None = None, uri: str = TARGET, **more: Any) -> str:
        status, answer = self.ask(
            "create",
            {
                "milvus_connect_param": {"uri": uri, "token": "root:Milvus", "connect_timeout": 10},
                "collection_infos": [{"name": n} for n in (["*"] if names is None else names)],
            }
            | more,
        )
        assert status == 200, answer
        return str(answer["data"]["task_id"])

    def get(self, task: str) -> dict[str, Any]:
        status, answer = self.ask("get", {"task_id": task})
        assert status == 200, answer
        return dict(answer["data"]["task"])

    def progress(self, task: str) -> dict[str, int]:
        return dict(self.get(task)["progress"])

    def pause(self, task: str) -> None:
        assert self.ask("pause", {"task_id": task})[0] == 200

    def resume(self, task: str) -> None:
        assert self.ask("resume", {"task_id": task})[0] == 200

    def delete(self, task: str) -> None:
        assert self.ask("delete", {"task_id": task})[0] == 200


def compare(timeout: float = 60, only: list[str] | None = None, pairs: dict[str, str] | None = None) -> str:
    """The independent comparer; its last line, or an AssertionError with its differences.

    only: these DB.COLLECTION; pairs: these and what they are called on the target.
    """
    more = [word for name in only or [] for word in ("--only", name)]
    more += [word for pair in (pairs or {}).items() for word in ("--map", "=".join(pair))]
    run = subprocess.run(
        [sys.executable, str(LIB / "compare.py"), "--source", SOURCE, "--target", TARGET, "--target-eventually"]
        + ["--timeout", str(timeout)]
        + more,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-2000:]
    return run.stdout.strip().splitlines()[-1]


class Load:
    """The mixed workload as a process beside the test. float16: see workload.py."""

    def __init__(self, rows: int, seed: int, seconds: float, float16: bool = True) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(LIB / "workload.py"), "--uri", SOURCE, "--rows", str(rows)]
            + ["--seed", str(seed), "--seconds", str(seconds)]
            + ([] if float16 else ["--no-float16"]),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def over(self) -> bool:
        return self.process.poll() is not None

    def wait(self, seconds: float = 300) -> None:
        out, _ = self.process.communicate(timeout=seconds)
        assert self.process.returncode == 0, out[-2000:]
