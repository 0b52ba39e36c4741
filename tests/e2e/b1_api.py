# SPDX-License-Identifier: Apache-2.0
"""The six API calls word for word as the Milvus documentation has them, and what is wrong about others."""

import json
import os
import time

from cdc import SOURCE, TARGET, Cdc
from orders import Shape, make, source


def curl(cdc: Cdc, body: str) -> tuple[int, dict]:
    status, _, text = cdc.http("POST", "/cdc", body.encode())
    return status, json.loads(text)


def test_the_documented_calls_in_their_order(cdc: Cdc) -> None:
    status, answer = curl(
        cdc,
        """{
          "request_type": "create",
          "request_data": {
            "milvus_connect_param": {
              "uri": "%s",
              "token":"root:Milvus",
              "connect_timeout": 10
            },
            "collection_infos": [
              {
                "name": "*"
              }
            ]
          }
        }"""
        % TARGET,
    )
    assert status == 200 and answer["code"] == 200 and list(answer["data"]) == ["task_id"], answer
    task = answer["data"]["task_id"]

    status, answer = curl(cdc, '{"request_type": "list"}')
    assert status == 200, answer
    (shown,) = answer["data"]["tasks"]
    assert shown["task_id"] == task
    assert shown["milvus_connect_param"]["uri"] == TARGET
    assert shown["milvus_connect_param"]["connect_timeout"] == 10
    assert shown["collection_infos"][0]["name"] == "*"
    assert shown["state"] == "Running", shown
    assert shown["mode"] == "replicate", shown

    status, answer = curl(cdc, '{"request_type": "pause", "request_data": {"task_id": "%s"}}' % task)
    assert (status, answer) == (200, {"code": 200, "data": {}}), answer
    assert cdc.get(task)["state"] == "Paused"
    status, answer = curl(cdc, '{"request_type": "resume", "request_data": {"task_id": "%s"}}' % task)
    assert (status, answer) == (200, {"code": 200, "data": {}}), answer

    status, answer = curl(cdc, '{"request_type": "get", "request_data": {"task_id": "%s"}}' % task)
    assert status == 200 and answer["data"]["Task"] == answer["data"]["task"], answer
    assert answer["data"]["Task"]["state"] == "Running"
    assert set(answer["data"]["Task"]["progress"]) >= {"captured", "journaled", "applied", "lag_ms"}
    assert set(answer["data"]["Task"]["health"]) >= {"status", "reason", "since"}

    status, answer = curl(cdc, '{"request_type": "delete", "request_data": {"task_id": "%s"}}' % task)
    assert (status, answer) == (200, {"code": 200, "data": {}}), answer
    assert curl(cdc, '{"request_type": "list"}')[1]["data"]["tasks"] == []


def test_pause_and_resume_are_idempotent_and_answer_at_once(cdc: Cdc) -> None:
    task = cdc.create()
    for call in (cdc.pause, cdc.pause, cdc.resume, cdc.resume):
        start = time.monotonic()
        call(task)
        assert time.monotonic() - start < 0.1, "pause and resume answer in under 100 ms"
    cdc.delete(task)


def test_a_wish_survives_a_restart(cdc: Cdc) -> None:
    task = cdc.create()
    cdc.pause(task)
    took = cdc.end()
    assert took < 2, f"SIGTERM took {took:.1f} s"
    cdc.start()
    assert cdc.get(task)["state"] == "Paused"
    cdc.resume(task)
    cdc.end()
    cdc.start()
    assert cdc.get(task)["state"] == "Running"
    cdc.delete(task)


def test_a_second_task_for_the_same_collections_is_refused_however_the_target_is_spelled(cdc: Cdc) -> None:
    task = cdc.create()
    port = TARGET.rsplit(":", 1)[1]
    for uri in (TARGET, f"http://localhost:{port}"):
        status, answer = cdc.ask(
            "create", {"milvus_connect_param": {"uri": uri}, "collection_infos": [{"name": "*"}]}
        )
        assert status == 409, answer
    cdc.delete(task)


def test_the_source_as_its_own_target_is_refused(cdc: Cdc) -> None:
    status, answer = cdc.ask(
        "create", {"milvus_connect_param": {"uri": SOURCE}, "collection_infos": [{"name": "*"}]}
    )
    assert status == 400 and "source" in answer["message"], answer


def test_R31_a_source_that_has_only_dropped_collections_is_still_known(cdc: Cdc) -> None:
    """They stay in its etcd for a while, where no client sees them."""
    make("b1_brief").insert(Shape().rows(0, 1, "x"))
    source.drop("b1_brief")
    status, answer = cdc.ask(
        "create", {"milvus_connect_param": {"uri": SOURCE}, "collection_infos": [{"name": "*"}]}
    )
    assert status == 400 and "source" in answer["message"], answer


def test_insisting_on_the_other_mode_is_refused_with_what_to_set(cdc: Cdc) -> None:
    status, answer = cdc.ask(
        "create",
        {"milvus_connect_param": {"uri": TARGET}, "collection_infos": [{"name": "*"}], "mode": "upsert"},
    )
    assert status == 502 and "common.ttMsgEnabled: true" in answer["message"], answer
    assert cdc.ask("list")[1]["data"]["tasks"] == []


def test_targets_that_cannot_be_reached_or_are_no_milvus(cdc: Cdc) -> None:
    for uri, word in (("http://127.0.0.1:1", "127.0.0.1:1"), (f"http://{os.environ['TARGET_ETCD']}", "Milvus")):
        status, answer = cdc.ask(
            "create",
            {"milvus_connect_param": {"uri": uri, "connect_timeout": 3}, "collection_infos": [{"name": "*"}]},
        )
        assert status == 502 and word in answer["message"], answer
    assert cdc.ask("list")[1]["data"]["tasks"] == []


def test_what_the_caller_got_wrong_is_400_and_names_the_field(cdc: Cdc) -> None:
    for data, word in (
        ({}, "milvus_connect_param"),
        ({"milvus_connect_param": {"uri": TARGET}}, "collection_infos"),
        ({"milvus_connect_param": {"uri": 5}, "collection_infos": [{"name": "*"}]}, "uri"),
        ({"milvus_connect_param": {"host": "127.0.0.1"}, "collection_infos": [{"name": "*"}]}, "port"),
        ({"milvus_connect_param": {"uri": TARGET}, "collection_infos": [{"name": "x" * 300}]}, "name"),
    ):
        status, answer = cdc.ask("create", data)
        assert status == 400 and word in answer["message"], answer
    status, answer = curl(cdc, '{"request_type":\n "list" xx}')
    assert status == 400 and "line 2" in answer["message"], answer
    assert cdc.ask("get", {"task_id": "nope"})[0] == 404
    status, headers, _ = cdc.http("GET", "/cdc")
    assert status == 405 and "POST" in headers.get("Allow", ""), headers
    assert cdc.http("POST", "/cdc", b"x" * (1 << 20) + b"xx")[0] == 413
