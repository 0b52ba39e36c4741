# SPDX-License-Identifier: Apache-2.0
"""A Debian 12 in a container of its own (systemd-nspawn) that shares the host's network, and milvus-cdc in it.

The root is a copy of the cached one; systemd is PID 1 in it. Commands run inside by nsenter. Nothing of the
host's own systemd is needed or touched.
"""

import json
import os
import pty
import select
import shlex
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from cdc import SOURCE, TARGET, Cdc, compare, until  # tests/e2e/lib
from pymilvus import Collection, CollectionSchema, DataType, FieldSchema, connections, utility

UNIT = "milvus-cdc"
CONFIG = "/etc/milvus-cdc/cdc.yaml"


def run(*words: str | Path) -> str:
    """Output of a command that must not fail; stdout and stderr together."""
    done = subprocess.run([str(w) for w in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, f"{words}: {done.stdout[-3000:]}"
    return done.stdout


class Machine:
    def __init__(self, cached: str, folder: Path, *shared: Path) -> None:
        """shared: folders of the host that have the same name inside."""
        self.root = folder / "root"
        self.log = folder / "console.log"
        self.shared = shared
        subprocess.run(["cp", "-a", "--reflink=auto", cached, str(self.root)], check=True)
        # as the installer of Debian writes it; debootstrap does not
        self.write("/etc/hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
        self.nspawn: subprocess.Popen[bytes] | None = None
        self.pid = 0

    def boot(self) -> None:
        name = f"milvus-cdc-{os.getpid()}"
        spawn = (
            "mount -t tmpfs tmpfs /run; exec systemd-nspawn -q -D " + shlex.quote(str(self.root))
            + f" --machine={name} --register=no --keep-unit -b --console=pipe"
            + "".join(" " + shlex.quote(f"--bind={path}") for path in self.shared)
        )
        self.nspawn = subprocess.Popen(
            ["unshare", "-m", "--propagation", "private", "sh", "-c", spawn],
            stdin=subprocess.DEVNULL,
            stdout=open(self.log, "wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.pid = until(self.init, 60, "the container starts")
        up = ("running", "degraded")
        until(lambda: self.sh("systemctl is-system-running", fail=False).strip() in up, 60, "systemd is up")

    def init(self) -> int:
        """PID 1 of the container as the host sees it; 0: not yet."""
        assert self.nspawn
        children = Path(f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children").read_text().split()
        return next((int(c) for c in children if Path(f"/proc/{c}/comm").read_text() == "systemd\n"), 0)

    def sh(self, command: str, fail: bool = True, seconds: float = 120) -> str:
        """Output of a shell command inside; stdout and stderr together."""
        run = subprocess.run(
            self.inside(command, DEBIAN_FRONTEND="noninteractive"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
        )
        if fail and run.returncode:
            raise AssertionError(f"{command}: status {run.returncode}: {run.stdout[-3000:]}")
        return run.stdout

    def inside(self, command: str, **variables: str) -> list[str]:
        return (
            ["nsenter", "-t", str(self.pid), "-a", "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root",
             "SYSTEMD_COLORS=0", "LC_ALL=C.UTF-8", "SYSTEMD_PAGER=cat"]
            + [f"{key}={value}" for key, value in variables.items()]
            + [f"{key}={value}" for key, value in os.environ.items() if key.lower().endswith("_proxy")]
            + ["sh", "-c", command]
        )

    def dialog(self, command: str, *answers: tuple[str, str], seconds: float = 120) -> str:
        """A command at a terminal, and who sits there: answers are (what to wait for, what to type)."""
        words = self.inside(command, DEBIAN_FRONTEND="readline", TERM="dumb")
        child, terminal = pty.fork()
        if child == 0:
            os.execvp(words[0], words)
        text, read, left, end = "", 0, list(answers), time.monotonic() + seconds
        while time.monotonic() < end:
            if not select.select([terminal], [], [], 1)[0]:
                continue
            try:
                text += os.read(terminal, 4096).decode(errors="replace")
            except OSError:  # the other side of the terminal is closed
                break
            if left and left[0][0] in text[read:]:
                read = len(text)
                os.write(terminal, (left.pop(0)[1] + "\n").encode())
        else:
            os.kill(child, signal.SIGKILL)
        os.close(terminal)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status == 0 and not left, f"{command}: status {status}, not asked: {left}: {text[-3000:]}"
        return text

    def status(self, command: str) -> int:
        return int(self.sh(f"{{ {command}; }} >/dev/null 2>&1; echo $?").strip())

    def write(self, path: str, text: str) -> None:
        to = self.root / path.lstrip("/")
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(text)

    def copy(self, file: Path, to: str) -> None:
        subprocess.run(["cp", str(file), str(self.root / to.lstrip("/"))], check=True)

    def show(self, prop: str, unit: str = UNIT) -> str:
        return self.sh(f"systemctl show -P {prop} {unit}").strip()

    def journal(self, *matches: str) -> list[dict[str, Any]]:
        """Structured entries."""
        lines = self.sh("journalctl --no-pager -o json " + " ".join(map(shlex.quote, matches)))
        return [json.loads(line) for line in lines.splitlines() if line.startswith("{")]

    def end(self) -> None:
        if not self.nspawn:
            return
        try:
            if self.pid:  # 0: it did not come up
                os.kill(self.pid, signal.SIGRTMIN + 4)  # systemd: power off
            self.nspawn.wait(20 if self.pid else 0)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(self.nspawn.pid, signal.SIGKILL)
            self.nspawn.wait(20)
        self.nspawn = None


class Service(Cdc):
    """milvus-cdc as a unit of the machine. The calls of the API are the same as of a plain process."""

    def __init__(self, machine: Machine, folder: Path, unit: str = UNIT, port_offset: int = 0) -> None:
        self.machine = machine
        self.unit = unit
        super().__init__(folder)
        host, port = self.address.rsplit(":", 1)
        self.address = f"{host}:{int(port) + port_offset}"

    def configure(
        self, path: str = CONFIG, more: str = "", etcd: str = "", kafka: str = "", etcd_at: str = "", kafka_at: str = ""
    ) -> None:
        """Of the whole stack, or of servers elsewhere. more: top level; etcd, kafka: lines below these."""
        root = os.environ["SOURCE_ROOT"]

        def below(text: str) -> str:
            return "".join(f"    {line}\n" for line in text.splitlines())

        self.machine.write(
            path,
            f"address: {self.address}\nsourceConfig:\n  etcd:\n    address: [\"{etcd_at or os.environ['SOURCE_ETCD']}\"]\n"
            f"    rootPath: {root}\n{below(etcd)}  kafka:\n    address: {kafka_at or os.environ['KAFKA']}\n{below(kafka)}"
            f"  replicateChan: {root}-replicate-msg\n{more}",
        )

    def systemctl(self, verb: str, seconds: float = 60) -> str:
        return self.machine.sh(f"systemctl {verb} {self.unit}", seconds=seconds)

    def start(self) -> None:
        self.systemctl("start")

    def pid(self) -> int:
        return int(self.machine.show("MainPID", self.unit))

    def line(self) -> str:
        """The line of systemctl status."""
        return self.machine.show("StatusText", self.unit)

    def restarts(self) -> int:
        return int(self.machine.show("NRestarts", self.unit))

    def tail(self) -> str:
        return self.machine.sh(f"journalctl --no-pager -n 8 -u {self.unit}", fail=False)

    def the_task(self) -> str:
        tasks = self.ask("list")[1]["data"]["tasks"]
        return str(tasks[0]["task_id"]) if tasks else self.create(uri=TARGET)

    def over(self) -> None:
        """No tasks: the next test begins with a clean service."""
        for task in self.ask("list")[1]["data"]["tasks"]:
            self.delete(task["task_id"])


class Rows:
    """A collection that gets a few rows whenever one asks for it."""

    def __init__(self) -> None:
        connections.connect("default", uri=SOURCE)
        fields = [
            FieldSchema("id", DataType.INT64, is_primary=True),
            FieldSchema("v", DataType.FLOAT_VECTOR, dim=8),
        ]
        self.collection = Collection("watched", CollectionSchema(fields), shards_num=2)
        if not self.collection.indexes:
            self.collection.create_index("v", {"index_type": "FLAT", "metric_type": "L2", "params": {}})
            self.collection.load()
        self.next = time.time_ns()

    @staticmethod
    def forget() -> None:
        """On both sides: what was purged while it was pending never arrives."""
        for alias, uri in (("default", SOURCE), ("target", TARGET)):
            connections.connect(alias, uri=uri)
            if utility.has_collection("watched", using=alias):
                utility.drop_collection("watched", using=alias)

    def more(self, n: int = 20) -> bool:
        keys = list(range(self.next, self.next + n))
        self.next += n
        self.collection.insert([keys, [[float(k % 1000)] * 8 for k in keys]])
        return True

    def equal(self, seconds: float) -> None:
        assert "all equal" in compare(seconds, ["default.watched"])
