# SPDX-License-Identifier: Apache-2.0
"""Passwords, TLS and client certificates against real servers, and what is said when they are wrong.

Runs on a stack of its own, which it starts itself: run.py takes this file only when it is named. The
tests build on each other, each changes what it must of the servers.
"""

import base64
import re

from cdc import SOURCE, TARGET, Cdc, stack, until
from pymilvus import utility
from secure import ETCD, ETCD_TLS, KAFKA, KAFKA_EXPIRED, KAFKA_MTLS, KAFKA_SASL, KAFKA_SASL_TLS, NAME, World

READER, ETCD_ROOT = "etcd-reader-1f7c", "etcd-root-9b2e"
SCRAM_256, SCRAM_512 = "scram-256-77aa", "scram-512-88bb"
WRONG = "wrong-5e0d"
worlds: list[World] = []


def world(cdc: Cdc) -> World:
    if not worlds:
        w = World(cdc)
        w.up(TARGET_AUTH="true", TARGET_TLS="2", ETCD_TLS="1", KAFKA_SECURE="true", SOURCE_AUTH="false")
        w.make()
        w.scram(w.secret(SCRAM_256), "SCRAM-SHA-256")
        w.scram(w.secret(SCRAM_512), "SCRAM-SHA-512")
        worlds.append(w)
    return worlds[0]


def test_files_that_are_missing_or_no_use_are_told_at_start(cdc: Cdc) -> None:
    w = world(cdc)
    cdc.end()
    at = "sourceConfig.etcd.tlsKeyPath"
    tls = w.etcd_tls("client")
    w.refuses_to_start(at, "/no/such.key", "No such file", etcd=tls.replace(w.key("client"), "/no/such.key"))
    w.refuses_to_start(at, "is not the key of", etcd=tls.replace(w.key("client"), w.key("milvus")))
    w.refuses_to_start("tlsCACertPath", "directory", etcd=tls.replace(w.pem("ca"), cdc.seen(w.files.folder)))
    w.refuses_to_start("tlsCertPath", "no certificate", etcd=tls.replace(w.pem("client"), w.key("client")))
    sasl = w.kafka("SASL_SSL", "PLAIN", client="client")
    w.refuses_to_start("ssl.tlsCACert", "No such file", kafka=sasl.replace(w.pem("ca"), "/no/ca.pem"))
    by_file = re.sub("Password: .*", "PasswordFile: /no/pw", sasl)
    w.refuses_to_start("saslPasswordFile", "cannot read /no/pw", kafka=by_file)
    w.refuses_to_start("passwordFile", "/no/pw", etcd="    enableAuth: true\n    username: x\n    passwordFile: /no/pw\n")
    w.configure()


def test_etcd_with_TLS(cdc: Cdc) -> None:
    w = world(cdc)
    w.run(etcd=w.etcd_tls(), etcd_at=ETCD_TLS)
    w.works()
    w.files.put("etcd-expired", instead_of="etcd")
    w.refused(503, ETCD_TLS, "expired", "renew the server's certificate")
    w.files.put("etcd-good", instead_of="etcd")
    w.run(etcd=w.etcd_tls(ca="foreign-ca"), etcd_at=ETCD_TLS)
    w.refused(503, ETCD_TLS, "certificate is refused", "check the CA file")
    w.run(etcd=w.etcd_tls(), etcd_at=ETCD_TLS.replace("127.0.0.1", "localhost"))
    w.refused(503, "localhost", "'localhost'", "set the server name")
    w.run(etcd=w.etcd_tls() + "    tlsServerName: 127.0.0.1\n", etcd_at=ETCD_TLS.replace("127.0.0.1", "localhost"))
    w.works()
    w.run(etcd_at=ETCD_TLS)
    w.refused(503, ETCD_TLS, "the server wants TLS")
    w.run(etcd=w.etcd_tls())
    w.refused(503, ETCD, "the server does not use TLS")


def test_kafka_with_passwords_and_TLS(cdc: Cdc) -> None:
    w = world(cdc)
    good = {
        KAFKA_SASL: [
            re.sub("Password: .*", f"PasswordFile: {w.seen('kafka.password')}", w.kafka("SASL_PLAINTEXT", "PLAIN")),
            w.kafka("SASL_PLAINTEXT", "SCRAM-SHA-256", SCRAM_256),
        ],
        KAFKA_SASL_TLS: [w.kafka("SASL_SSL", "PLAIN"), w.kafka("SASL_SSL", "SCRAM-SHA-512", SCRAM_512)],
        KAFKA_MTLS: [w.kafka("SSL", client="client")],
    }
    for at, kafkas in good.items():
        for kafka in kafkas:
            w.run(kafka=kafka, kafka_at=at)
            w.works()


def test_what_kafka_refuses_is_told_with_what_to_set(cdc: Cdc) -> None:
    w = world(cdc)
    plain = w.kafka("SASL_SSL", "PLAIN")
    for at, kafka, words in (
        (KAFKA_SASL, w.kafka("SASL_PLAINTEXT", "PLAIN", WRONG), ("Invalid username or password", "saslPassword")),
        (KAFKA_SASL, w.kafka("SASL_PLAINTEXT", "SCRAM-SHA-256", WRONG, "nobody"), ("invalid credentials", "saslUser")),
        (KAFKA_EXPIRED, plain, ("certificate has expired", "renew the broker's certificate")),
        (KAFKA_SASL_TLS, w.kafka("SASL_SSL", "PLAIN", ca="foreign-ca"), ("certificate is refused", "tlsCACert")),
        (KAFKA_SASL_TLS.replace("127.0.0.1", "localhost"), plain, ("mismatch", "names in their certificates")),
        (KAFKA_MTLS, w.kafka("SSL"), ("wants a client certificate", "ssl.tlsCert")),
        (KAFKA_MTLS, w.kafka("SSL", client="client-expired"), ("our client certificate", "expired on 2020-01-02")),
        (KAFKA_MTLS, w.kafka("SSL", client="client-foreign"), ("refuses our client certificate", "ssl.tlsCert")),
        (KAFKA_SASL_TLS, w.kafka("SASL_PLAINTEXT", "PLAIN"), ("check sourceConfig.kafka.securityProtocol",)),
        (KAFKA_SASL, plain, ("may not use TLS on this port", "securityProtocol")),
        (KAFKA_SASL, w.kafka("PLAINTEXT"), ("might require SASL", "securityProtocol")),
        (KAFKA, w.kafka("SASL_PLAINTEXT", "PLAIN"), ("SASL", "securityProtocol")),
    ):
        w.run(kafka=kafka, kafka_at=at)
        w.refused(503, "Kafka " + at, *words)


def test_what_the_target_refuses_is_told_with_what_to_set(cdc: Cdc) -> None:
    w = world(cdc)
    w.run()
    at = TARGET.split("//")[1]
    t = w.target
    w.works(t(token="", username="root", password="Milvus"))
    for target, words in (
        (t(token="root:" + w.secret(WRONG)), ("UNAUTHENTICATED", "check user, password or token")),
        (t(token="nobody:" + WRONG), ("UNAUTHENTICATED", "check user, password or token")),
        (t(token=w.secret("api-key-44c1")), ("api key", "check user, password or token")),
        (t(token=""), ("missing authorization", "check user, password or token")),
        (t(ca="foreign-ca"), ("certificate is refused", "check the CA file")),
        (t(name="other.test"), ("'other.test'", "set the server name")),
        (t(client=""), ("wants a client certificate", "set a certificate")),
        (t(client="client-expired"), ("refuses our client certificate", "expired on 2020-01-02")),
        (t(client="client-foreign"), ("refuses our client certificate", w.pem("client-foreign"))),
        (t(uri=TARGET), ("the server wants TLS",)),
    ):
        w.refused(502, "target: " + at, *words, target=target)
    plain = SOURCE.split("//")[1]  # a Milvus without TLS
    w.refused(502, "target: " + plain, "the server does not use TLS", target=t(uri=f"https://{plain}"))
    for key, path, words in (
        ("client_key_path", "/no/such.key", ("No such file",)),
        ("client_pem_path", w.pem("milvus"), ("is not the key of",)),
        ("ca_pem_path", w.key("ca"), ("no certificate",)),
    ):
        target = t()
        target["dial_config"][key] = path
        w.refused(400, "milvus_connect_param.dial_config.", path, *words, target=target)


def test_etcd_with_users_and_client_certificates(cdc: Cdc) -> None:
    """Its own Milvus gets in by its certificate, whose CN is the user root."""
    w = world(cdc)
    stack("stop", "source")
    w.restart("source-etcd", ETCD_TLS="2")
    for words in (
        ("user", "add", "root:" + w.secret(ETCD_ROOT)),
        ("user", "grant-role", "root", "root"),
        ("user", "add", "cdc:" + w.secret(READER)),
        ("role", "add", "reader"),
        ("role", "grant-permission", "--prefix=true", "reader", "read", "by-dev/"),
        ("user", "grant-role", "cdc", "reader"),
        ("user", "add", "stranger:" + READER),
        ("auth", "enable"),
    ):
        w.etcdctl(*words)
    stack("start", "source")
    w.run(etcd=w.login(password=READER))
    w.works()
    w.run(etcd=w.login(password=READER) + w.etcd_tls("client"), etcd_at=ETCD_TLS)
    w.works()
    w.run(etcd=w.etcd_tls("client"), etcd_at=ETCD_TLS)
    w.works()
    for etcd, at, words in (
        (w.login(password=WRONG), ETCD, ("user 'cdc' is refused", "check sourceConfig.etcd.username")),
        (w.login("nobody", READER), ETCD, ("user 'nobody' is refused", "check sourceConfig.etcd.username")),
        (w.login("stranger", READER), ETCD, ("permission denied", "grant this user")),
        ("", ETCD, ("set sourceConfig.etcd.enableAuth",)),
        (w.etcd_tls(), ETCD_TLS, ("wants a client certificate",)),
        (w.etcd_tls("client-expired"), ETCD_TLS, ("our client certificate", "expired on 2020-01-02")),
        (w.etcd_tls("client-foreign"), ETCD_TLS, ("our client certificate", w.pem("client-foreign"))),
    ):
        w.run(etcd=etcd, etcd_at=at)
        w.refused(503, at, *words)


def test_what_changes_under_way_is_told_and_recovers_by_itself(cdc: Cdc) -> None:
    w = world(cdc)
    w.run(
        etcd=w.login(password=READER),
        kafka=w.kafka("SASL_SSL", "SCRAM-SHA-512", SCRAM_512),
        kafka_at=KAFKA_SASL_TLS,
    )
    status, task = w.create()
    assert status == 200, task
    w.insert(50)
    w.recovers(task)

    w.change_target_password("Milvus", "changed-61d3")
    w.insert(50)
    w.suffers(task, "UNAUTHENTICATED", "check user, password or token")
    w.change_target_password("changed-61d3", "Milvus")
    w.recovers(task)

    w.change_users(("delete", "cdc"), root=ETCD_ROOT)
    w.insert(50)
    w.suffers(task, "user 'cdc' is refused", "check sourceConfig.etcd.username")
    w.change_users(("add", "cdc:" + READER), ("grant-role", "cdc", "reader"), root=ETCD_ROOT)
    w.recovers(task)

    w.scram(w.secret("changed-scram"), "SCRAM-SHA-512")
    w.insert(50)
    w.suffers(task, KAFKA_SASL_TLS, "invalid credentials", "saslPassword")
    w.scram(SCRAM_512, "SCRAM-SHA-512")
    w.recovers(task)

    w.files.put("target-expired", instead_of="target")
    w.restart("target", TARGET_TLS="1")
    w.insert(50)
    w.suffers(task, "expired", "renew the server's certificate")
    w.files.put("target-good", instead_of="target")
    w.restart("target")
    w.recovers(task)
    w.connect_target()
    until(lambda: str(utility.load_state(NAME, using="target")) == "Loaded", 60, "the target has it loaded")
    until(lambda: w.ids_of("target") == w.ids_of("default"), 60, "every row, once")
    assert len(w.ids_of("target")) == w.next_id
    cdc.delete(task)
    w.works(w.target(client=""))  # tlsMode 1 asks for no certificate


def test_no_secret_is_in_a_log_an_answer_or_a_metric(cdc: Cdc) -> None:
    w = world(cdc)
    cdc.http("GET", "/metrics")
    check = cdc.run("--config", cdc.config, "--check-config")
    texts = {"log": cdc.said(), "answers": "\n".join(w.told), "--check-config": check.stdout + check.stderr}
    assert "refuse" in texts["log"] and len(w.told) > 50 and "ok" in check.stdout
    for secret in w.secrets - {"Milvus"}:
        for form in (secret, base64.b64encode(secret.encode()).decode().rstrip("=")):
            for where, text in texts.items():
                assert form not in text, f"{secret} is in {where}"
    for form in ("root:Milvus", base64.b64encode(b"root:Milvus").decode(), base64.b64encode(b"root:" + WRONG.encode()).decode()):
        for where, text in texts.items():
            assert form not in text, f"{form} is in {where}"
