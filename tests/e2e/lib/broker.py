# SPDX-License-Identifier: Apache-2.0
"""Kafka's own requests for the ends of a topic and for cutting its log: a client of a few lines."""

import os
import socket
import struct

LIST_OFFSETS, DELETE_RECORDS = 2, 21
EARLIEST, LATEST = -2, -1


def _text(s: str) -> bytes:
    return struct.pack(">h", len(s)) + s.encode()


def _ask(key: int, version: int, body: bytes) -> bytes:
    host, port = os.environ["KAFKA"].rsplit(":", 1)
    message = struct.pack(">hhi", key, version, 7) + _text("e2e") + body
    with socket.create_connection((host, int(port)), timeout=20) as s:
        s.sendall(struct.pack(">i", len(message)) + message)
        stream = s.makefile("rb")
        (size,) = struct.unpack(">i", stream.read(4))
        answer = stream.read(size)
    assert answer[:4] == struct.pack(">i", 7), "the answer is of another request"
    return answer[4:]


def offset(topic: str, time: int) -> int:
    """EARLIEST, LATEST or ms: the first message of then."""
    one = struct.pack(">i", 1)
    body = struct.pack(">i", -1) + one + _text(topic) + one + struct.pack(">iq", 0, time)
    answer = _ask(LIST_OFFSETS, 1, body)
    at = 4 + 2 + len(topic) + 4
    _, error, _, found = struct.unpack(">ihqq", answer[at : at + 22])
    assert error == 0, f"{topic}: Kafka's error {error}"
    return int(found)


def delete_records(topic: str, before: int) -> None:
    """As retention does it: what is below the offset is gone."""
    one = struct.pack(">i", 1)
    body = one + _text(topic) + one + struct.pack(">iq", 0, before) + struct.pack(">i", 10000)
    answer = _ask(DELETE_RECORDS, 0, body)
    at = 4 + 4 + 2 + len(topic) + 4
    _, low, error = struct.unpack(">iqh", answer[at : at + 14])
    assert error == 0 and low == before, f"{topic}: Kafka's error {error}, it begins at {low}"
