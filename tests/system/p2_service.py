# SPDX-License-Identifier: Apache-2.0
"""Start, stop, reload, status, exit codes, credentials, instances; and the main job inside the closed unit."""

import os
import subprocess
import time
from typing import TYPE_CHECKING

from cdc import Load, compare, until
from machine import CONFIG, Service

if TYPE_CHECKING:
    from run import World


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
    Load(rows=2_000, seed=61, seconds=4).wait()
    assert "all equal" in compare(60)
    until(lambda: cdc.line().startswith("1 task running; lag "), 15, "the status line: " + cdc.line())
    assert "; journal " in cdc.line()
    assert cdc.get(task)["health"]["status"] == "ok"


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
    load = Load(rows=2_000, seed=62, seconds=4)
    start = cdc.progress(task)["journaled"]
    until(lambda: cdc.progress(task)["journaled"] > start or load.over(), 30, "rows flow")
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
    load.wait()
    assert "all equal" in compare(60)


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


def test_passwords_come_from_credentials(world: "World") -> None:
    """An etcd of the test's own that wants a password: the right one from LoadCredential gets past the login, a
    wrong one is refused, and so is an encrypted one."""
    m = world.machine
    other = Service(m, world.folder / "cred", "milvus-cdc@cred", 93)
    port = int(other.address.rsplit(":", 1)[1])
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

    def answer() -> str:
        body = {"milvus_connect_param": {"uri": os.environ["TARGET_URI"], "token": "root:Milvus", "connect_timeout": 10},
                "collection_infos": [{"name": "*"}]}
        return str(other.ask("create", body)[1])

    try:
        until(lambda: ctl("endpoint", "health"), 30, "etcd answers")
        assert ctl("user", "add", "root:right") and ctl("user", "grant-role", "root", "root") and ctl("auth", "enable")
        os.environ["SOURCE_ETCD"], kept = uri, os.environ["SOURCE_ETCD"]
        other.configure("/etc/milvus-cdc/cred.yaml", etcd="enableAuth: true\nusername: root\npasswordFile: etcd-password\n")
        os.environ["SOURCE_ETCD"] = kept
        assert m.status("systemctl start milvus-cdc@cred") != 0, "without it"
        assert "etcd-password" in m.show("StatusText", other.unit)
        for password, line in (
            ("wrong", "LoadCredential=etcd-password:/root/etcd-password"),
            ("right", "LoadCredential=etcd-password:/root/etcd-password"),
            ("right", "LoadCredentialEncrypted=etcd-password:/root/etcd-password.cred"),
        ):
            m.write("/root/etcd-password", password + "\n")
            m.sh("rm -f /root/etcd-password.cred; "
                 "systemd-creds encrypt --name=etcd-password /root/etcd-password /root/etcd-password.cred")
            m.write("/etc/systemd/system/milvus-cdc@cred.service.d/c.conf", f"[Service]\n{line}\n")
            m.sh("systemctl daemon-reload; systemctl reset-failed milvus-cdc@cred")
            other.systemctl("restart")
            told = answer()
            assert ("SOURCE_AUTH" in told) == (password == "wrong"), f"{line} {password}: {told}"
            assert password not in m.sh("journalctl --no-pager -u milvus-cdc@cred").replace("wrong '", "")
        other.systemctl("stop")
    finally:
        etcd.terminate()
        etcd.wait()
