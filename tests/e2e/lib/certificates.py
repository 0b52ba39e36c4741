# SPDX-License-Identifier: Apache-2.0
"""Short-lived certificates for the tests of secure links, made with the openssl command.

A folder as tests/stack/secure.sh wants it, and client certificates: good, expired, of a foreign CA.
"""

import secrets
import subprocess
from pathlib import Path

YESTERDAY = ("20200101000000Z", "20200102000000Z")  # from, to: a pair that is over
HERE = "IP:127.0.0.1"


class Certificates:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.kafka_password = secrets.token_hex(12)
        (folder / "kafka.password").write_text(self.kafka_password)
        self._ca("ca")
        self._ca("foreign-ca")
        for name, names in (("etcd", HERE), ("kafka", HERE), ("target", "DNS:target.test")):
            self.make(f"{name}-good", names=names)
            self.put(f"{name}-good", instead_of=name)
            self.make(f"{name}-expired", names=names, dates=YESTERDAY)
        for name in ("kafka", "kafka-expired"):  # Kafka wants both in one file
            both = self.path(f"{name}.key").read_text() + self.path(f"{name}.pem").read_text()
            self.path(f"{name}.pem").write_text(both)
        self.make("milvus", cn="root")
        self.make("client", cn="cdc")
        self.make("client-expired", cn="cdc", dates=YESTERDAY)
        self.make("client-foreign", ca="foreign-ca", cn="cdc")

    def path(self, name: str) -> Path:
        return self.folder / name

    def put(self, name: str, instead_of: str) -> None:
        """The files of one certificate in the place of another's."""
        for kind in ("pem", "key"):
            new = self.path(f"{instead_of}.{kind}.new")
            new.write_bytes(self.path(f"{name}.{kind}").read_bytes())
            new.rename(self.path(f"{instead_of}.{kind}"))

    def make(
        self, name: str, ca: str = "ca", cn: str = "", names: str = "", dates: tuple[str, str] | None = None
    ) -> None:
        self._openssl("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes", "-subj", f"/CN={cn or name}",
                      "-keyout", f"{name}.key", "-out", f"{name}.csr")  # fmt: skip
        extension = self.path(f"{name}.ext")
        extension.write_text(f"subjectAltName={names}\n" if names else "basicConstraints=CA:FALSE\n")
        when = ["-startdate", dates[0], "-enddate", dates[1]] if dates else ["-days", "2"]
        self._openssl("ca -batch -notext -config", f"{ca}.cnf", "-in", f"{name}.csr", "-out", f"{name}.pem",
                      "-extfile", extension.name, *when)  # fmt: skip

    def _ca(self, name: str) -> None:
        self._openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2", "-subj",
                      f"/CN=test {name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")  # fmt: skip
        self.path(f"{name}.index").touch()
        self.path(f"{name}.cnf").write_text(
            f"[ca]\ndefault_ca=it\n[it]\ndatabase={name}.index\nnew_certs_dir=.\ncertificate={name}.pem\n"
            f"private_key={name}.key\nrand_serial=yes\ndefault_md=sha256\nunique_subject=no\npolicy=any\n"
            "[any]\ncommonName=supplied\n"
        )

    def _openssl(self, words: str, *more: str) -> None:
        run = subprocess.run(["openssl", *words.split(), *more], cwd=self.folder, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
