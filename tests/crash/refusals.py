# SPDX-License-Identifier: Apache-2.0
"""The target refuses: a proxy in front of it passes each call on as it came, or answers itself, in a target's words.

Only calls that change something are refused, as a target does it that is full, read-only or has taken a right away.
"""

import os
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
from cdc import TARGET, until
from pymilvus.grpc_gen import common_pb2, milvus_pb2
from recovery import Outages
from tally import Tally
from victim import Victim

OFFSET = 42  # of the proxy's port, from Kafka's on; before it are those of network.py
SERVICE = "/milvus.proto.milvus.MilvusService/"
ROWS = {
    "ReplicateMessage": milvus_pb2.ReplicateMessageResponse,
    "Insert": milvus_pb2.MutationResult,
    "Upsert": milvus_pb2.MutationResult,
    "Delete": milvus_pb2.MutationResult,
}
LIMITS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]

Call = Callable[[], bytes]
Rule = Callable[[str, Call, grpc.ServicerContext], bytes]


def passed_on(_: str, call: Call, __: grpc.ServicerContext) -> bytes:
    return call()


def said(code: int, legacy: int, reason: str) -> Rule:
    """Each call for rows gets this status."""

    def rule(method: str, call: Call, _: grpc.ServicerContext) -> bytes:
        if method not in ROWS:
            return call()
        status = common_pb2.Status(code=code, error_code=legacy, reason=reason)
        return bytes(ROWS[method](status=status).SerializeToString())

    return rule


def denied(code: grpc.StatusCode, words: str, all_calls: bool) -> Rule:
    """As its interceptors say it, before the call is looked at."""

    def rule(method: str, call: Call, context: grpc.ServicerContext) -> bytes:
        if all_calls or method in ROWS:
            context.abort(code, words)
        return call()

    return rule


def answer_lost(share: float) -> Rule:
    """The call is done, its caller does not hear of it."""
    rnd = random.Random(1)

    def rule(_: str, call: Call, context: grpc.ServicerContext) -> bytes:
        answer = call()
        if rnd.random() < share:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the connection is gone")
        return answer

    return rule


class Proxy(grpc.GenericRpcHandler):
    def __init__(self, port: int) -> None:
        self.rule: Rule = passed_on
        self.hits = 0  # calls that met a rule
        self.channel = grpc.insecure_channel(TARGET.removeprefix("http://"), options=LIMITS)
        self.server = grpc.server(ThreadPoolExecutor(32), handlers=[self], options=LIMITS)
        assert self.server.add_insecure_port(f"127.0.0.1:{port}") == port, f"port {port} is taken"
        self.server.start()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """Bytes in, bytes out."""
        target = self.channel.unary_unary(details.method)

        def handle(request: bytes, context: grpc.ServicerContext) -> bytes:
            def call() -> bytes:
                words = [(k, v) for k, v in context.invocation_metadata() if not k.startswith(("grpc-", "user-agent"))]
                try:
                    return bytes(target(request, metadata=words, timeout=context.time_remaining()))
                except grpc.RpcError as e:
                    context.abort(e.code(), e.details())
                    raise  # abort has raised

            rule = self.rule
            self.hits += rule is not passed_on
            return rule(details.method.removeprefix(SERVICE), call, context)

        return grpc.unary_unary_rpc_method_handler(handle)

    def close(self) -> None:
        self.server.stop(0).wait()
        self.channel.close()


class Refusals(Outages):
    def __init__(self, cdc: Victim, tally: Tally, seed: int, proxy: Proxy, seconds: float) -> None:
        super().__init__(cdc, tally, seed)
        self.proxy, self.seconds = proxy, seconds

    def refusing(self, fault: str, rule: Rule, is_told: bool) -> bool:
        """is_told: the task's health says it, and nothing is put on hold for it."""

        def begin() -> None:
            self.proxy.hits, self.proxy.rule = 0, rule
            until(lambda: self.proxy.hits > 2, 30, f"{fault}: calls meet it")
            if is_told:
                until(lambda: not self.applied_at()[0], 30, f"{fault}: it is told in health")

        def end() -> None:
            self.proxy.rule = passed_on
            held = self.cdc.progress(self.cdc.task)["held_collections"]
            assert not held, f"{fault}: it passes by itself, yet {held} collections are on hold"

        return self.during(fault, begin, end, self.seconds, ticking=False)

    def faults(self) -> list[tuple[str, Callable[[], bool]]]:
        gone = grpc.StatusCode.PERMISSION_DENIED
        each: list[tuple[str, Rule, bool]] = [
            ("target refuses: out of memory", said(3, 53, "memory quota exceeded, please allocate more"), True),
            ("target refuses: its disk is full", said(7, 54, "disk quota exceeded, please allocate more"), True),
            ("target refuses: read-only", said(9, 48, "deny to write: the limit is set to 0"), True),
            ("target refuses: rate limit", said(8, 49, "request is rejected by grpc RateLimiter middleware"), True),
            ("target refuses: privilege revoked", denied(gone, "PrivilegeInsert: permission deny", False), True),
            ("target refuses: login", denied(grpc.StatusCode.UNAUTHENTICATED, "auth check failure", True), True),
            ("target's answers are lost, all", answer_lost(1), True),
            ("target's answers are lost, one in three", answer_lost(1 / 3), False),
        ]
        return [(name, lambda args=(name, rule, told): self.refusing(*args)) for name, rule, told in each]


SHORT = ["out of memory", "one in three"]


def run(cdc: Victim, tally: Tally, seed: int, short: bool, only: list[str] | None) -> bool:
    port = int(os.environ["KAFKA"].rsplit(":", 1)[1]) + OFFSET
    proxy = Proxy(port)
    try:
        cdc.uri = f"http://127.0.0.1:{port}"
        refusals = Refusals(cdc, tally, seed, proxy, 4 if short else 12)
        return refusals.run(refusals.faults(), only or (SHORT if short else None))
    finally:
        if cdc.process:
            cdc.end()
        proxy.close()
