# SPDX-License-Identifier: Apache-2.0
"""Start, stop, reload, status, exit codes, credentials, instances; and the main job inside the closed unit."""

import os
import re
import subprocess
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from cdc import ROOT, Load, compare, stack, until
from certificates import Certificates
from machine import CONFIG, Rows, Service

if TYPE_CHECKING:
    from run import World

OWN = "SYSLOG_IDENTIFIER=milvus-cdc"  # lines of the service itself, without those of systemd about it


def test_a_wrong_configuration_is_told_and_not_tried_again(world: "World") -> None:
    m = world.machine
    m.sh("systemctl stop milvus-cdc")
    m.sh(f"cp {CONFIG} /root/cdc.yaml.orig")
    m.write(CONFIG, "address: nowhere\n")
    assert m.status("systemctl start milvus-cdc") != 0
    assert m.show("ExecMainStatus") == "78" and m.show("NRestarts") == "0"
    assert m.show("ActiveState") == "failed"
    assert f"{CONFIG}:1: address: must be host:port" in m.show("StatusText")
    assert m.show("StatusErrno") == "22"
    said = m.journal("-u", "milvus-cdc", "MESSAGE_ID=f5ec52ed0108447592e1bc7656670b14")
    assert said and said[-1]["PRIORITY"] == "3"
    assert "must be host:port" in m.sh(f"milvus-cdc --config {CONFIG} --check-config", fail=False)
    m.sh("systemctl reset-failed milvus-cdc")


def test_the_main_job_runs_inside_the_unit(world: "World") -> None:
    cdc = world.cdc
    cdc.configure()
    cdc.systemctl("restart")
    assert world.machine.show("ActiveState") == "active"
    task = cdc.the_task()
    before = len(world.machine.journal(OWN))
    assert before, "its start, at least"
    Load(rows=2_000, seed=61, seconds=4).wait()
    assert "all equal" in compare(60)
    said = len(world.machine.journal(OWN)) - before
    assert said < 20, f"{said} lines for 2000 rows"
    until(lambda: cdc.line().startswith("1 task running; lag "), 15, "the status line: " + cdc.line())
    assert "; journal " in cdc.line()
    assert cdc.get(task)["health"]["status"] == "ok"


def told_room_ms(line: str) -> float:
    found = re.search(r", room for (\d+) (s|min|h|days)\b", line)
    return float(found[1]) * {"s": 1e3, "min": 60e3, "h": 3600e3, "days": 86400e3}[found[2]] if found else 0


def test_the_status_line_says_for_how_long_there_is_room(world: "World") -> None:
    """While the target is away the journal grows: what is told is what is left, divided by that."""
    cdc, size = world.cdc, 64 << 20
    cdc.configure(more=f"journal:\n  segmentSize: {16 << 20}\n  maxSize: {size}\n")
    cdc.systemctl("restart")
    task = cdc.the_task()
    rows = Rows()
    bytes_now: Callable[[], int] = lambda: cdc.progress(task)["journal_bytes"]
    stack("freeze", "target")
    try:
        start, at = bytes_now(), time.monotonic()
        until(lambda: rows.more(2_000) and time.monotonic() - at > 11 and told_room_ms(cdc.line()), 20, cdc.line())
        told, took, used = told_room_ms(cdc.line()), time.monotonic() - at, bytes_now()
    finally:  # within the target's own patience, see p4
        stack("thaw", "target")
    right = (size - used) / ((used - start) / took) * 1e3
    assert right / 3 < told < right * 3, f"{told} ms are told, {right} are right: {start} to {used} in {took} s"
    rows.equal(60)
    cdc.configure()
    cdc.systemctl("restart")


def test_reload_takes_the_log_level_and_names_the_rest(world: "World") -> None:
    m, cdc = world.machine, world.cdc
    pid = cdc.pid()
    cdc.configure(more="logLevel: debug\nmaxTaskNum: 7\n")
    cdc.systemctl("reload")
    until(lambda: m.journal("-u", "milvus-cdc", "MESSAGE_ID=1dcd327f761e47cbbb7e8913655c1d15"), 10, "it is told")
    said = m.journal("-u", "milvus-cdc", "MESSAGE_ID=1dcd327f761e47cbbb7e8913655c1d15")[-1]["MESSAGE"]
    assert said.endswith("needing a restart: maxTaskNum"), said
    assert m.show("ActiveState") == "active" and cdc.pid() == pid
    m.write(CONFIG, "logLevel: loud\n")
    cdc.systemctl("reload")
    wrong = until(
        lambda: [e for e in m.journal("-u", "milvus-cdc", "-p", "err") if "loud" in e["MESSAGE"] or "logLevel" in e["MESSAGE"]],
        10,
        "a wrong file is told",
    )
    assert "the configuration in use stays" in wrong[-1]["MESSAGE"]
    assert m.show("ActiveState") == "active" and cdc.pid() == pid
    assert cdc.http("GET", "/healthz")[0] == 200
    cdc.configure()
    cdc.systemctl("reload")


def test_stop_takes_less_than_two_seconds_under_load(world: "World") -> None:
    cdc = world.cdc
    task = cdc.the_task()
    rows = Rows()
    start = cdc.progress(task)["journaled"]
    until(lambda: rows.more(2_000) and cdc.progress(task)["journaled"] > start, 30, "rows flow")
    rows.more(2_000)
    began = time.monotonic()
    cdc.systemctl("stop")
    took = time.monotonic() - began
    m = world.machine
    assert m.show("Result") == "success" and m.show("ExecMainStatus") == "0"
    ended = int(m.show("ExecMainExitTimestampMonotonic"))
    stopping = int(m.show("InactiveEnterTimestampMonotonic")) - int(m.show("ActiveExitTimestampMonotonic"))
    assert ended and stopping < 2_000_000, f"{stopping} us, {took:.1f} s with systemctl"
    last = m.journal("-u", "milvus-cdc", "MESSAGE_ID=1509bb0a9bf143318a118783593942a4")[-1]
    assert "CDC_LAG_MS" in last, last
    cdc.start()
    rows.equal(60)


def test_a_second_process_on_the_data_directory_ends_with_75(world: "World") -> None:
    m = world.machine
    other = Service(m, world.folder / "second", "milvus-cdc@second", 91)
    other.configure("/etc/milvus-cdc/second.yaml", more="dataDir: /var/lib/milvus-cdc\n")
    m.write("/etc/systemd/system/milvus-cdc@second.service.d/once.conf", "[Service]\nRestart=no\n"
            "ReadWritePaths=/var/lib/milvus-cdc\n")
    m.sh("systemctl daemon-reload")
    assert m.status("systemctl start milvus-cdc@second") != 0
    assert m.show("ExecMainStatus", other.unit) == "75"
    assert f"process {world.cdc.pid()}" in m.show("StatusText", other.unit), m.show("StatusText", other.unit)
    m.sh("systemctl reset-failed milvus-cdc@second")


def test_an_instance_has_a_data_directory_of_its_own(world: "World") -> None:
    m = world.machine
    other = Service(m, world.folder / "b", "milvus-cdc@b", 92)
    m.write("/etc/milvus-cdc/b.yaml", f"address: {other.address}\n")
    other.start()
    assert other.ask("list")[1]["data"]["tasks"] == []
    assert m.sh("stat -c '%U %a' /var/lib/milvus-cdc-b").strip() == "milvus-cdc 700"
    assert m.status("test -e /var/lib/milvus-cdc-b/control.db") == 0
    assert world.cdc.ask("list")[1]["data"]["tasks"], "the other one goes on"
    other.systemctl("stop")


class Credentials:
    """An instance whose passwords are credentials, and what it says when a task is made."""

    def __init__(self, world: "World") -> None:
        self.machine = world.machine
        self.service = Service(world.machine, world.folder / "cred", "milvus-cdc@cred", 93)

    def configure(self, etcd_at: str = "", kafka_at: str = "", etcd: str = "", kafka: str = "") -> None:
        self.service.configure("/etc/milvus-cdc/cred.yaml", etcd=etcd, kafka=kafka, etcd_at=etcd_at, kafka_at=kafka_at)

    def answer(self, name: str, password: str, sealed: bool = False) -> str:
        m, file = self.machine, f"/root/{name}"
        m.write(file, password + "\n")
        if sealed:
            m.sh(f"rm -f {file}.cred; systemd-creds encrypt --name={name} {file} {file}.cred; rm {file}")
        line = f"LoadCredentialEncrypted={name}:{file}.cred" if sealed else f"LoadCredential={name}:{file}"
        m.write("/etc/systemd/system/milvus-cdc@cred.service.d/c.conf", f"[Service]\n{line}\n")
        m.sh("systemctl daemon-reload; systemctl reset-failed milvus-cdc@cred || true")
        self.service.systemctl("restart")
        body = {"milvus_connect_param": {"uri": os.environ["TARGET_URI"], "token": "root:Milvus", "connect_timeout": 10},
                "collection_infos": [{"name": "*"}]}
        told = str(self.service.ask("create", body)[1])
        assert password not in told + m.sh("journalctl --no-pager -u milvus-cdc@cred"), "a secret is told"
        return told

    def tried(self, name: str, right: str, peer: str) -> None:
        """The right one gets past the login, clear or sealed to the machine; a wrong one is refused."""
        told = self.answer(name, "wr0ng-4f1c")
        assert "SOURCE_AUTH" in told and peer in told, told
        for sealed in (False, True):
            told = self.answer(name, right, sealed)
            assert "SOURCE_AUTH" not in told, told
        self.service.systemctl("stop")


def test_the_password_of_etcd_comes_from_a_credential(world: "World") -> None:
    c, m = Credentials(world), world.machine
    port = int(c.service.address.rsplit(":", 1)[1])
    uri, peer = f"http://127.0.0.1:{port + 1}", f"http://127.0.0.1:{port + 2}"
    etcd = subprocess.Popen(
        ["etcd", "--data-dir", str(world.folder / "etcd"), "--listen-client-urls", uri, "--advertise-client-urls", uri,
         "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(world.folder / "etcd.log", "wb"),
    )  # fmt: skip

    def ctl(*words: str) -> bool:
        done = subprocess.run(["etcdctl", "--endpoints", uri, *words], env=os.environ | {"ETCDCTL_API": "3"},
                              capture_output=True)
        return done.returncode == 0

    try:
        until(lambda: ctl("endpoint", "health"), 30, "etcd answers")
        assert ctl("user", "add", "root:r1ght-8e2a") and ctl("user", "grant-role", "root", "root")
        assert ctl("auth", "enable")
        c.configure(etcd_at=uri, etcd="enableAuth: true\nusername: root\npasswordFile: etcd-password\n")
        assert m.status("systemctl start milvus-cdc@cred") != 0, "without it"
        assert "etcd-password" in m.show("StatusText", c.service.unit)
        c.tried("etcd-password", "r1ght-8e2a", "etcd")
    finally:
        etcd.terminate()
        etcd.wait()


def test_the_password_of_Kafka_comes_from_a_credential(world: "World") -> None:
    """A Kafka beside the stack's that wants SASL; the topics of the source are not on it, which is told then."""
    c = Credentials(world)
    files = Certificates(world.folder / "certificates")
    number = int(os.environ.get("STACK", "0")) + 1
    settings = os.environ | {"STACK": str(number), "CDC_STACK_DIR": str(world.folder / "kafka"), "KAFKA_SECURE": "true",
                             "SECURE_DIR": str(files.folder)}

    def kafka(*words: str) -> None:
        subprocess.run([ROOT / "tests/stack/stack.sh", *words], env=settings, check=True, stdout=subprocess.DEVNULL)

    kafka("start", "kafka")
    at = f"127.0.0.1:{21000 + 100 * number + 41}"
    login = "securityProtocol: SASL_PLAINTEXT\nsaslMechanisms: PLAIN\nsaslUsername: cdc\nsaslPasswordFile: "
    try:
        c.configure(kafka_at=at, kafka=login + "kafka-password\n")
        c.tried("kafka-password", files.kafka_password, "Kafka")
        c.service.configure("/etc/milvus-cdc/doctor.yaml", kafka_at=at, kafka=login + "/root/kafka-password\n")
        for password, told in (("wr0ng-4f1c", "FAIL  Kafka: "), (files.kafka_password, "ok    Kafka: answers at ")):
            c.machine.write("/root/kafka-password", password + "\n")
            lines = c.machine.sh("milvus-cdc doctor --config /etc/milvus-cdc/doctor.yaml", fail=False).splitlines()
            assert [line for line in lines if line.startswith(told)], lines
            assert password not in "\n".join(lines)
    finally:
        kafka("wipe")
