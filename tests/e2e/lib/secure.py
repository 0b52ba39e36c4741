# SPDX-License-Identifier: Apache-2.0
"""A stack whose servers want passwords and certificates, and the daemon's configuration for it.

The stack is one of its own: it is started and restarted with other settings all the time.
"""

import os
import subprocess
from pathlib import Path
from typing import Any

from cdc import ROOT, SOURCE, TARGET, Cdc, etcdctl, stack, until
from certificates import Certificates
from pymilvus import Collection, CollectionSchema, DataType, FieldSchema, connections, utility

HOST = "127.0.0.1"
BASE = int(os.environ["CDC_ADDRESS"].rsplit(":", 1)[1])
ETCD, ETCD_TLS = os.environ["SOURCE_ETCD"], f"{HOST}:{BASE + 40}"
KAFKA, KAFKA_SASL, KAFKA_SASL_TLS, KAFKA_MTLS, KAFKA_EXPIRED = (
    os.environ["KAFKA"],
    *(f"{HOST}:{BASE + i}" for i in (41, 42, 43, 44)),
)
NAME = "s1_rows"


class World:
    """The servers, the files and every secret that was ever used."""

    def __init__(self, cdc: Cdc) -> None:
        self.cdc = cdc
        self.files = Certificates(cdc.keep("secure"))
        cdc.readable(self.files.folder)
        self.secrets = {"Milvus", self.files.kafka_password}
        self.told: list[str] = []  # every answer of the API
        self.next_id = 0
        ask = cdc.http

        def listen(method: str, path: str, body: bytes | None = None) -> tuple[int, dict[str, str], str]:
            answer = ask(method, path, body)
            self.told.append(answer[2])
            return answer

        setattr(cdc, "http", listen)

    def seen(self, name: str) -> str:
        """What the daemon calls a file."""
        return self.cdc.seen(self.files.path(name))

    def pem(self, name: str) -> str:
        return self.seen(name + ".pem")

    def key(self, name: str) -> str:
        return self.seen(name + ".key")

    def secret(self, text: str) -> str:
        self.secrets.add(text)
        return text

    # --- servers

    def up(self, **settings: str) -> None:
        stack("wipe")
        os.environ.update(settings | {"SECURE_DIR": str(self.files.folder)})
        stack("up")

    def restart(self, *parts: str, **settings: str) -> None:
        os.environ.update(settings)
        for part in reversed(parts):
            stack("stop", part)
        for part in parts:
            stack("start", part)

    def etcdctl(self, *words: str, user: str = "") -> None:
        etcdctl(f"http://{ETCD}", *words, *(["--user", user] if user else []))

    def change_users(self, *changes: tuple[str, ...], root: str) -> None:
        """Not while the source Milvus writes: the etcd client of 2.3.5, logged in by its certificate, crashes
        when a change of users overtakes one of its requests ("revision of auth store is old")."""
        stack("freeze", "source")
        try:
            for words in changes:
                self.etcdctl("user", *words, user="root:" + root)
        finally:
            stack("thaw", "source")

    def scram(self, password: str, mechanism: str) -> None:
        parts = subprocess.run([ROOT / "tests/stack/parts.sh", "path"], capture_output=True, text=True, check=True)
        run = subprocess.run(
            ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
            + ["-cp", next(Path(parts.stdout.strip()).glob("kafka-*")).as_posix() + "/lib/*"]
            + ["kafka.admin.ConfigCommand", "--bootstrap-server", KAFKA, "--alter", "--entity-type", "users"]
            + ["--entity-name", "cdc", "--add-config", f"{mechanism}=[iterations=4096,password={password}]"],
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, run.stdout + run.stderr

    # --- the daemon

    def configure(self, etcd: str = "", kafka: str = "", etcd_at: str = ETCD, kafka_at: str = KAFKA) -> None:
        root = os.environ["SOURCE_ROOT"]
        self.cdc.config.write_text(
            f"address: {self.cdc.address}\ndataDir: {self.cdc.seen(self.cdc.data)}\nsourceConfig:\n"
            f"  etcd:\n    address: ['{etcd_at}']\n    rootPath: {root}\n{etcd}"
            f"  kafka:\n    address: '{kafka_at}'\n{kafka}"
            f"  replicateChan: {root}-replicate-msg\n"
        )

    def run(self, **where: str) -> None:
        """The daemon with another configuration."""
        if self.cdc.process:
            self.cdc.end()
        self.configure(**where)
        self.cdc.start()

    def refuses_to_start(self, *words: str, **where: str) -> None:
        self.configure(**where)
        text = self.cdc.refuses(78)
        self.told.append(text)
        assert all(w in text for w in words), (words, text)

    def login(self, user: str = "cdc", password: str = "") -> str:
        return f"    enableAuth: true\n    username: {user}\n    password: '{self.secret(password)}'\n"

    def etcd_tls(self, client: str = "", ca: str = "ca") -> str:
        text = f"    enableTLS: true\n    tlsCACertPath: {self.pem(ca)}\n"
        return text + (f"    tlsCertPath: {self.pem(client)}\n    tlsKeyPath: {self.key(client)}\n" if client else "")

    def kafka(
        self, protocol: str, mechanism: str = "", password: str = "", user: str = "cdc", ca: str = "ca", client: str = ""
    ) -> str:
        text = f"    securityProtocol: {protocol}\n"
        if mechanism:
            password = self.secret(password or self.files.kafka_password)
            text += f"    saslMechanisms: {mechanism}\n    saslUsername: {user}\n    saslPassword: '{password}'\n"
        if "SSL" in protocol:
            text += f"    ssl:\n      tlsCACert: {self.pem(ca)}\n"
            text += f"      tlsCert: {self.pem(client)}\n      tlsKey: {self.key(client)}\n" if client else ""
        return text

    def target(self, client: str = "client", ca: str = "ca", name: str = "target.test", **more: Any) -> dict[str, Any]:
        dial = {"server_name": name, "ca_pem_path": self.pem(ca)}
        if client:
            dial |= {"client_pem_path": self.pem(client), "client_key_path": self.key(client)}
        param: dict[str, Any] = {"uri": TARGET.replace("http:", "https:"), "token": "root:Milvus", "dial_config": dial}
        return param | {"connect_timeout": 5} | more

    def create(self, target: dict[str, Any] | None = None) -> tuple[int, str]:
        """Status, and the task or the refusal."""
        status, answer = self.cdc.ask(
            "create",
            {"milvus_connect_param": target or self.target(), "collection_infos": [{"name": "*"}]},
        )
        return status, answer["data"]["task_id"] if status == 200 else answer["message"]

    def refused(self, status: int, *words: str, target: dict[str, Any] | None = None) -> None:
        got, text = self.create(target)
        if got == 200:
            self.cdc.delete(text)
        assert got == status and all(w in text for w in words), (status, words, got, text)

    def works(self, target: dict[str, Any] | None = None) -> None:
        """Rows get through, all the way."""
        status, task = self.create(target)
        assert status == 200, task
        try:
            self.insert(20)
            # a source Milvus that was restarted sends no ticks until its old session has ended
            until(lambda: self.cdc.progress(task)["applied"] >= 20, 40, "rows arrive")
            assert self.cdc.get(task)["health"]["status"] == "ok"
        finally:
            self.cdc.delete(task)

    def suffers(self, task: str, *words: str) -> None:
        def told() -> bool:
            health = self.cdc.get(task)["health"]
            return health["status"] == "retrying" and all(w in health["reason"] for w in words)

        until(told, 20, f"health tells {words}: {self.cdc.get(task)['health']}")

    def recovers(self, task: str) -> None:
        p = self.cdc.progress
        until(
            lambda: self.cdc.get(task)["health"]["status"] == "ok" and p(task)["applied"] == p(task)["captured"],
            30,
            f"it goes on by itself: {self.cdc.get(task)}",
        )

    # --- rows

    def make(self) -> None:
        connections.connect("default", uri=SOURCE)
        fields = [FieldSchema("pk", DataType.INT64, is_primary=True), FieldSchema("v", DataType.FLOAT_VECTOR, dim=2)]
        c = Collection(NAME, CollectionSchema(fields))
        c.create_index("v", {"index_type": "FLAT", "metric_type": "L2", "params": {}})
        c.load()

    def insert(self, n: int) -> None:
        ids = list(range(self.next_id, self.next_id + n))
        Collection(NAME).insert([ids, [[float(i), 1.0] for i in ids]])
        self.next_id += n

    def connect_target(self, password: str = "Milvus") -> None:
        connections.disconnect("target")
        connections.connect(
            "target", host=HOST, port=str(TARGET.rsplit(":", 1)[1]), secure=True, user="root", password=password,
            server_name="target.test",
            **{f"{kind}_path": str(self.files.path(name)) for kind, name in
               (("ca_pem", "ca.pem"), ("client_pem", "client.pem"), ("client_key", "client.key"))},
        )  # fmt: skip

    def change_target_password(self, old: str, new: str) -> None:
        self.connect_target(old)
        utility.reset_password("root", old, self.secret(new), using="target")
        os.environ["TARGET_PASSWORD"] = new

    def ids_of(self, using: str) -> list[int]:
        rows = Collection(NAME, using=using).query("pk >= 0", output_fields=["pk"], consistency_level="Eventually")
        return sorted(r["pk"] for r in rows)
