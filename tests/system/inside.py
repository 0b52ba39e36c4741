# SPDX-License-Identifier: Apache-2.0
"""The end-to-end tests against milvus-cdc as it is installed: a unit of systemd, closed in as the package has it.

tests/e2e/run.py takes this one instead of a plain process when CDC_INSIDE=unit is set. A Debian 12 in a container is
booted, the package is installed there by apt, and the daemon is milvus-cdc.service; a second one that a test
starts is an instance of milvus-cdc@.service. Nothing of the units is changed but Restart=no: the tests kill the
daemon and start it themselves. What a test runs beside it (doctor, journal, a second daemon on the same
directory) runs in the container as root, as an operator's would. Certificates and passwords are files in
/etc/milvus-cdc that root owns and the group of the service may read. Servers, workloads and the comparer stay
outside; so do, as plain processes, the daemons of tests/crash.

DEB names a package that is there already; without it one is built. Needs root and `deps.sh all`.
"""

import atexit
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

from cdc import ROOT, Cdc, until  # tests/e2e/lib
from machine import UNIT, Machine, run

RESTART = "[Service]\nRestart=no\n"


class Main:
    """The main process of a unit that runs. Its numbers are those of the host."""

    def __init__(self, machine: Machine, unit: str) -> None:
        self.machine = machine
        self.unit = unit
        self.inner = int(machine.show("MainPID", unit))
        assert self.inner, f"{unit} has no main process"
        self.pid = self.of_the_host(self.inner)
        self.handle = os.pidfd_open(self.pid)
        self.returncode: int | None = None

    def of_the_host(self, inner: int) -> int:
        """Of all processes with that number, the one in the container's namespace."""
        space = os.readlink(f"/proc/{self.machine.pid}/ns/pid")
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                told = re.search(r"^NSpid:.*\t(\d+)$", (entry / "status").read_text(), re.M)
                if told and int(told[1]) == inner and os.readlink(entry / "ns/pid") == space:
                    return int(entry.name)
            except OSError:  # it ended meanwhile
                continue
        raise AssertionError(f"{self.unit}: process {inner} of the container is not there")

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self.handle], [], [], 0)[0]:
            self.wait(20)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self.handle], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.unit, timeout or 0)
            ended = ("inactive", "failed")
            until(lambda: self.machine.show("ActiveState", self.unit) in ended, 20, f"systemd has {self.unit} as ended")
            code, status = (int(self.machine.show(f"ExecMain{what}", self.unit)) for what in ("Code", "Status"))
            self.returncode = status if code == os.CLD_EXITED else -status
            os.close(self.handle)
        return self.returncode

    def send_signal(self, sig: int) -> None:
        """A TERM is systemd's, as it is when an operator stops the unit."""
        if self.poll() is not None:
            return
        if sig == signal.SIGTERM:
            self.machine.sh(f"systemctl stop --no-block {self.unit}")
        else:
            signal.pidfd_send_signal(self.handle, sig)


class Inside(Cdc):
    """The daemon as a unit of the machine; without a name the one of the package, with one an instance."""

    def __init__(self, machine: Machine, folder: Path, name: str = "") -> None:
        self.machine = machine
        self.name = name
        self.unit = f"{UNIT}@{name}" if name else UNIT
        config = machine.root / "etc/milvus-cdc" / f"{name or 'cdc'}.yaml"
        data = machine.root / "var/lib" / (f"{UNIT}-{name}" if name else UNIT)
        super().__init__(folder, "/usr/bin/milvus-cdc", config, data)
        machine.sh(f"chgrp milvus-cdc {self.seen(self.config)}; chmod 640 {self.seen(self.config)}")

    def start(self) -> None:
        self.nobody_answers()
        try:
            self.machine.sh(f"systemctl start {self.unit}")
        except AssertionError as e:
            raise AssertionError(f"{e}: {self.tail()}") from None
        self.process = Main(self.machine, self.unit)
        self.answers()

    def said(self) -> str:
        # a process that has ended may be ahead of the journal
        return self.machine.sh(f"journalctl --sync; journalctl -q -o cat -u {self.unit}")

    def tail(self) -> str:
        return self.machine.sh(f"journalctl -q -o cat -n 8 -u {self.unit}", fail=False)

    def another(self, name: str) -> Cdc:
        return Inside(self.machine, self.folder / name, name)

    def seen(self, path: Path) -> str:
        root = self.machine.root
        return f"/{path.relative_to(root)}" if path.is_relative_to(root) else str(path)

    def seen_pid(self) -> int:
        assert isinstance(self.process, Main)
        return self.process.inner

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        told = [self.program] + [self.seen(w) if isinstance(w, Path) else w for w in words]
        command = self.machine.inside(f"exec {shlex.join(told)}")
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90)

    def mounted(self) -> Path:
        return Path(f"/proc/{self.machine.pid}/root{self.seen(self.data)}")

    def refuses(self, status: int) -> str:
        before = len(self.said())
        assert self.machine.status(f"systemctl start {self.unit}"), f"{self.unit} has started"
        told, ended = self.said()[before:], int(self.machine.show("ExecMainStatus", self.unit))
        assert ended == status, (ended, told)
        return told

    def keep(self, name: str) -> Path:
        folder = self.config.parent / name
        folder.mkdir(parents=True, exist_ok=True)
        self.readable(folder)
        return folder

    def readable(self, folder: Path) -> None:
        self.machine.sh(f"chgrp -R milvus-cdc {self.seen(folder)}; chmod -R u=rwX,g=rX,o= {self.seen(folder)}")

    def shell(self, command: str) -> None:
        self.machine.sh(f"set -e; {command}")


def installed(folder: Path) -> Inside:
    """Boots, installs, and leaves the service stopped; all of it goes when the run ends."""
    folder = folder.resolve()
    files, system = folder / "files", folder / "machine"
    shutil.rmtree(system, ignore_errors=True)  # of a run before, perhaps a killed one
    files.mkdir(parents=True, exist_ok=True)
    system.mkdir()
    machine = Machine(run(ROOT / "tests/system/root.sh").splitlines()[-1], system, files)

    def over() -> None:
        machine.end()
        shutil.rmtree(machine.root, ignore_errors=True)

    atexit.register(over)
    # the servers listen there only; with ::1 beside it an error may be that of either
    machine.write("/etc/hosts", "127.0.0.1\tlocalhost\n")
    machine.copy(package(system), "/root/new.deb")
    for unit in (UNIT, f"{UNIT}@"):
        machine.write(f"/etc/systemd/system/{unit}.service.d/tests.conf", RESTART)
    # the network is the host's: the package's own address may be that of somebody else
    machine.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n")
    (machine.root / "usr/sbin/policy-rc.d").chmod(0o755)
    machine.boot()
    machine.sh("apt-get -y install /root/new.deb", seconds=300)
    assert machine.show("ActiveState") == "inactive", machine.sh(f"systemctl status {UNIT}", fail=False)
    return Inside(machine, files)


def package(folder: Path) -> Path:
    if "DEB" not in os.environ:
        run(ROOT / "packaging/deb.sh", folder / "deb")
    return Path(os.environ.get("DEB") or next((folder / "deb").glob("milvus-cdc_*.deb")))
