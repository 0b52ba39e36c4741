# SPDX-License-Identifier: Apache-2.0
"""milvus-cdc doctor and milvus-cdc journal beside the running service: a line for each part, right and wrong."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

from cdc import ROOT, TARGET, Cdc, stack, until
from certificates import Certificates
from pymilvus import Collection, CollectionSchema, DataType, FieldSchema, connections, utility

NAME = "d1_doctor"
held: dict[str, str] = {}


def run(cdc: Cdc, *words: str | Path) -> tuple[int, str]:
    done = cdc.run(*words)
    return done.returncode, done.stdout + done.stderr


def doctor(cdc: Cdc, config: Path | None = None) -> tuple[int, list[str]]:
    code, text = run(cdc, "doctor", "--config", config or cdc.config)
    return code, text.splitlines()


def changed(cdc: Cdc, name: str, *changes: tuple[str, str]) -> Path:
    """The configuration with other values, in a file of its own."""
    text = cdc.config.read_text()
    for old, new in changes:
        assert old in text, (old, text)
        text = text.replace(old, new)
    path = cdc.folder / name
    path.write_text(text)
    return path


def line(lines: list[str], what: str) -> str:
    found = [l for l in lines if l[6:].startswith(what + ": ")]
    assert len(found) == 1, (what, lines)
    return found[0]


def failed(lines: list[str]) -> list[str]:
    return [l for l in lines if l.startswith("FAIL")]


def the_task(cdc: Cdc) -> str:
    if NAME not in held:
        connections.connect("default", uri=os.environ["SOURCE_URI"])
        if utility.has_collection(NAME):
            utility.drop_collection(NAME)
        fields = [FieldSchema("pk", DataType.INT64, is_primary=True), FieldSchema("v", DataType.FLOAT_VECTOR, dim=2)]
        rows = Collection(NAME, CollectionSchema(fields), shards_num=2)
        held[NAME] = cdc.create([NAME])
        rows.insert([list(range(100)), [[0.5, 1.0]] * 100])
        rows.flush()
    task = held[NAME]
    until(lambda: cdc.progress(task)["applied"] == Collection(NAME).num_entities >= 100, 30, "rows arrive")
    return task


def test_all_is_well_while_the_service_runs(cdc: Cdc) -> None:
    task = the_task(cdc)
    code, lines = doctor(cdc)
    assert code == 0 and not failed(lines), lines
    assert f"in use by the service (process {cdc.seen_pid()})" in line(lines, "data directory")
    for what, found in {
        "SQLite": "thread-safe",
        "disk speed": "a synced write takes",
        "disk space": "the journals of 1 task may grow",
        "etcd": "at ",
        "etcd metadata": "1 database",
        "Kafka": "answers",
        "topics": "all there",
        "message size": "we take 100.0 MB",
        "source's ticks": "ttMsgEnabled: true",
        "clock": "within 0.",
        f"task {task}, journal": "0 collections on hold",
        f"task {task}, log": "Kafka holds our positions on",
        f"task {task}, target": "takes replicated messages (ttMsgEnabled: false), mode replicate",
        f"task {task}, only writer": "it is ours",
    }.items():
        assert line(lines, what).startswith("ok  ") and found in line(lines, what), (what, found, lines)
    assert lines[-1] == "0 failed, 0 warnings", lines


def test_the_files_are_as_before(cdc: Cdc) -> None:
    """A directory whose service was killed: logs and indexes of SQLite lie about, and stay as they are."""
    the_task(cdc)
    cdc.end(signal.SIGKILL)
    data = cdc.data
    files = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in data.rglob("*") if p.is_file()}
    assert any(p.name.endswith("-wal") and c for p, (_, c) in files.items()), "a log is there"
    code, lines = doctor(cdc)
    assert code == 0, lines
    assert "the service is not running" in line(lines, "data directory")
    assert "task" in run(cdc, "journal", data)[1]
    after = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in data.rglob("*") if p.is_file()}
    assert after == files, {p for p in after.keys() | files.keys() if after.get(p) != files.get(p)}
    cdc.start()


def test_journal_tells_what_is_not_on_the_target(cdc: Cdc) -> None:
    task = the_task(cdc)
    data = cdc.data
    until(lambda: run(cdc, "journal", "--pending", data) == (0, ""), 10, "nothing is pending")
    cdc.pause(task)
    Collection(NAME).insert([list(range(100, 140)), [[0.5, 1.0]] * 40])
    Collection(NAME).flush()
    until(lambda: cdc.progress(task)["journaled"] == 140, 20, "rows are in the journal")
    code, text = run(cdc, "journal", "--pending", data)
    assert code == 1 and f"{task}: " in text and "(40 rows) not on the target" in text, (code, text)
    assert len(text.splitlines()) == 1
    code, text = run(cdc, "journal", "--config", cdc.config)
    assert code == 0 and f"task {task}" in text and " 40 rows" in text and "on hold      0" in text, text
    code, text = run(cdc, "journal", data / "tasks" / task, "--tail", "2")
    assert code == 0 and len(text.splitlines()) == 2 and f"|insert|default.{NAME}|" in text, text
    copy = cdc.folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)  # of an earlier run
    shutil.copytree(data / "tasks", copy / "tasks", ignore=shutil.ignore_patterns("*-shm"))
    code, text = run(cdc, "journal", "--pending", copy)
    assert code == 1 and "(40 rows) not on the target" in text, "a copy without SQLite's indexes: " + text
    cdc.resume(task)
    until(lambda: run(cdc, "journal", "--pending", data) == (0, ""), 20, "all is applied")
    assert run(cdc, "journal", cdc.folder / "nowhere")[0] == 1


def test_no_source(cdc: Cdc) -> None:
    config = cdc.folder / "none.yaml"
    config.write_text(f"dataDir: {cdc.seen(cdc.data)}\n")
    code, lines = doctor(cdc, config)
    told = line(lines, "source")
    assert code == 1 and told.startswith("FAIL") and str(config) in told, lines
    assert "sourceConfig.etcd.address and sourceConfig.kafka.address are not set" in told


def test_wrong_root_path(cdc: Cdc) -> None:
    root = os.environ["SOURCE_ROOT"]
    code, lines = doctor(cdc, changed(cdc, "root.yaml", (f"rootPath: {root}", "rootPath: elsewhere")))
    told = line(lines, "etcd metadata")
    assert code == 1 and told.startswith("FAIL") and "elsewhere/meta" in told and "rootPath" in told, lines


def test_wrong_ports(cdc: Cdc) -> None:
    """Nobody listens: in words, and soon."""
    config = changed(cdc, "ports.yaml", (os.environ["SOURCE_ETCD"], "127.0.0.1:1"), (os.environ["KAFKA"], "127.0.0.1:2"))
    code, lines = doctor(cdc, config)
    assert code == 1 and "127.0.0.1:1" in line(lines, "etcd") and "127.0.0.1:2" in line(lines, "Kafka"), lines
    assert line(lines, "etcd").startswith("FAIL") and line(lines, "Kafka").startswith("FAIL")


def test_expired_certificate(cdc: Cdc) -> None:
    files = Certificates(cdc.folder / "secure")
    tls = "    enableTLS: true\n" + "".join(
        f"    {key}: {files.path(name)}\n"
        for key, name in (("tlsCACertPath", "ca.pem"), ("tlsCertPath", "client-expired.pem"), ("tlsKeyPath", "client-expired.key"))
    )
    root = f"    rootPath: {os.environ['SOURCE_ROOT']}\n"
    code, lines = doctor(cdc, changed(cdc, "expired.yaml", (root, root + tls)))
    told = line(lines, "etcd, our certificate")
    assert code == 1 and told.startswith("FAIL") and "expired on" in told, lines
    assert line(lines, "etcd").startswith("FAIL"), "an etcd without TLS"


def test_open_data_directory_is_a_warning(cdc: Cdc) -> None:
    the_task(cdc)
    cdc.data.chmod(0o755)
    code, lines = doctor(cdc)
    cdc.data.chmod(0o700)
    assert code == 0 and line(lines, "data directory").startswith("warn") and "chmod 700" in line(lines, "data directory")


def test_killed_parts_are_told_and_the_others_are_still_looked_at(cdc: Cdc) -> None:
    task = the_task(cdc)
    stack("kill", "kafka")
    code, lines = doctor(cdc)
    assert code == 1 and line(lines, "Kafka").startswith("FAIL"), lines
    assert os.environ["KAFKA"] in line(lines, "Kafka") and line(lines, "etcd").startswith("ok"), lines
    assert line(lines, f"task {task}, target").startswith("ok"), lines
    stack("start", "kafka")
    until(lambda: doctor(cdc)[0] == 0, 60, "well again")
    stack("freeze", "source")
    code, lines = doctor(cdc)
    stack("thaw", "source")
    told = line(lines, "source's ticks")
    assert code == 1 and told.startswith("FAIL") and "ttMsgEnabled must be true" in told, lines


def test_target_with_the_other_door(cdc: Cdc) -> None:
    """The target was started anew as an ordinary Milvus."""
    task = the_task(cdc)
    stack("stop", "target")
    code, lines = doctor(cdc)
    assert code == 1 and line(lines, f"task {task}, target").startswith("FAIL"), lines
    try:
        with_tt = os.environ | {"TARGET_TT": "true"}
        subprocess.run([ROOT / "tests/stack/stack.sh", "start", "target"], check=True, env=with_tt, stdout=subprocess.DEVNULL)
        code, lines = doctor(cdc)
        told = line(lines, f"task {task}, target")
        assert code == 1 and told.startswith("FAIL"), lines
        assert "is an ordinary one (ttMsgEnabled: true), but the mode of the task is replicate" in told
        assert TARGET.split("//")[1] in told
    finally:
        stack("stop", "target")
        without = os.environ | {"TARGET_TT": "false"}
        subprocess.run([ROOT / "tests/stack/stack.sh", "start", "target"], check=True, env=without, stdout=subprocess.DEVNULL)
    until(lambda: doctor(cdc)[0] == 0, 60, "well again")
    cdc.delete(held.pop(NAME))
    utility.drop_collection(NAME)
