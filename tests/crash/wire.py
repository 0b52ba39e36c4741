# SPDX-License-Identifier: Apache-2.0
"""A network of the test's own: a namespace, and a wire into it that loses, delays, slows and cuts. Root only.

The wire is a pair of TUN devices and a process that carries each packet from one to the other, so it needs nothing
of the kernel but namespaces. The stack listens on 127.0.0.1: forwarders at the near end of the wire reach it. A
second, plain link (veth) carries the daemon's API.

    wire.py NAMESPACE NEAR FAR     the carrying process; its orders come as JSON lines, see Wire.set
"""

import contextlib
import fcntl
import heapq
import json
import os
import random
import selectors
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
MTU = 1400
QUEUE = 4 << 20  # bytes on a slow wire; what is more is lost, as in a router


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


# --- the carrying process ------------------------------------------------------------------------


def tun(name: str) -> int:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    return fd


class Way:
    """One direction: packets in order, each with the moment when it arrives."""

    def __init__(self, to: int) -> None:
        self.to, self.free = to, 0.0
        self.queue: list[tuple[float, int, bytes]] = []
        self.bytes = self.number = 0

    def put(self, packet: bytes, now: float, order: dict[str, float], rnd: random.Random) -> None:
        if order["cut"] or rnd.random() < order["loss"] or self.bytes > QUEUE:
            return
        self.free = max(self.free, now) + (len(packet) / order["rate"] if order["rate"] else 0)
        self.number += 1
        self.bytes += len(packet)
        heapq.heappush(self.queue, (self.free + order["delay"] * rnd.uniform(0.5, 1.5), self.number, packet))

    def deliver(self, now: float) -> None:
        while self.queue and self.queue[0][0] <= now:
            _, _, packet = heapq.heappop(self.queue)
            self.bytes -= len(packet)
            with contextlib.suppress(OSError):  # the device's own queue is full: lost
                os.write(self.to, packet)


def carry(near: int, far: int) -> None:
    order = {"cut": 0.0, "loss": 0.0, "delay": 0.0, "rate": 0.0}
    ways = {near: Way(far), far: Way(near)}
    rnd = random.Random(1)
    orders = selectors.DefaultSelector()
    for fd in (near, far, 0):
        orders.register(fd, selectors.EVENT_READ)
    while True:
        first = min((way.queue[0][0] for way in ways.values() if way.queue), default=None)
        ready = orders.select(None if first is None else max(0.0, first - time.monotonic()))
        for key, _ in ready:
            if key.fd == 0:
                line = os.read(0, 4096)
                if not line:
                    return
                order |= json.loads(line.splitlines()[-1])
                os.write(1, b"done\n")
                continue
            with contextlib.suppress(BlockingIOError):
                for _ in range(64):
                    ways[key.fd].put(os.read(key.fd, 65536), time.monotonic(), order, rnd)
        for way in ways.values():
            way.deliver(time.monotonic())


def main() -> None:
    namespace, near, far = sys.argv[1:]
    number = namespace.removeprefix("cdc")
    ends = [tun(f"cdcn{number}"), tun(f"cdcf{number}")]
    ip("link", "set", f"cdcf{number}", "netns", namespace)
    for name, address, inside in ((f"cdcn{number}", near, []), (f"cdcf{number}", far, ["-n", namespace])):
        peer = far if address == near else near
        ip(*inside, "addr", "add", address, "peer", peer, "dev", name)
        ip(*inside, "link", "set", name, "mtu", str(MTU), "up")
    print("ready", flush=True)
    carry(*ends)


# --- for the tests -------------------------------------------------------------------------------


class Forwarder:
    """Carries connections to an address and port on to 127.0.0.1:server."""

    def __init__(self, address: str, port: int, server: int) -> None:
        self.server = server
        self.lock = threading.Lock()
        self.open: set[socket.socket] = set()
        self.listener = socket.create_server((address, port), backlog=128)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.server), timeout=5)
            except OSError:
                reset(client)  # nobody listens there
                continue
            server.settimeout(None)
            for s in (client, server):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.open |= {client, server}
            threading.Thread(target=self.both, args=(client, server), daemon=True).start()

    def both(self, client: socket.socket, server: socket.socket) -> None:
        back = threading.Thread(target=copy, args=(server, client), daemon=True)
        back.start()
        copy(client, server)
        back.join()
        with self.lock:
            self.open -= {client, server}
        client.close()
        server.close()

    def drop(self) -> None:
        """Forgets all connections, as a router or server that was switched off and on."""
        with self.lock:
            gone, self.open = self.open, set()
        for s in gone:
            reset(s)

    def close(self) -> None:
        self.listener.close()
        self.drop()


def copy(here: socket.socket, there: socket.socket) -> None:
    """Until one side ends, which the other is told."""
    with contextlib.suppress(OSError):
        while data := here.recv(65536):
            there.sendall(data)
    with contextlib.suppress(OSError):
        there.shutdown(socket.SHUT_WR)


def reset(s: socket.socket) -> None:
    """Ends it without a word to who waits for one: data under way is lost, too."""
    with contextlib.suppress(OSError):
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.shutdown(socket.SHUT_RDWR)  # wakes the threads that wait on it
    s.close()


class Wire:
    """The namespace with both links; the stack's servers are at `near`, by ports {there: on 127.0.0.1}."""

    def __init__(self, number: int, ports: dict[int, int]) -> None:
        self.namespace = f"cdc{number}"
        self.near, self.far = f"198.18.{number}.1", f"198.18.{number}.2"
        self.api = f"198.19.{number}.2"
        self.forwarders: list[Forwarder] = []
        self.remove()
        ip("netns", "add", self.namespace)
        ip("-n", self.namespace, "link", "set", "lo", "up")
        outer, inner = f"cdcv{number}", f"cdcw{number}"
        ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", self.namespace)
        ip("addr", "add", f"198.19.{number}.1/30", "dev", outer)
        ip("link", "set", outer, "up")
        ip("-n", self.namespace, "addr", "add", f"{self.api}/30", "dev", inner)
        ip("-n", self.namespace, "link", "set", inner, "up")
        self.carrier = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), self.namespace, self.near, self.far],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.carrier.stdout and self.carrier.stdout.readline() == "ready\n", "no wire: root, /dev/net/tun?"
        self.forwarders = [Forwarder(self.near, port, server) for port, server in ports.items()]

    def set(self, cut: bool = False, loss: float = 0.0, delay: float = 0.0, rate: float = 0.0) -> None:
        """loss: share of packets; delay: seconds one way, varied by half; rate: bytes a second each way."""
        assert self.carrier.stdin and self.carrier.stdout
        print(json.dumps({"cut": cut, "loss": loss, "delay": delay, "rate": rate}), file=self.carrier.stdin, flush=True)
        assert self.carrier.stdout.readline() == "done\n", "the wire ended"

    def forget(self) -> None:
        """With the wire cut: the far side is not told that its connections are gone."""
        for forwarder in self.forwarders:
            forwarder.drop()

    def remove(self) -> None:
        """Also what a run left that was killed. The kernel takes its time for a namespace, not for a link."""
        outer = "cdcv" + self.namespace.removeprefix("cdc")
        for words in (("link", "del", outer), ("netns", "del", self.namespace)):
            subprocess.run(["ip", *words], stderr=subprocess.DEVNULL)

    def close(self) -> None:
        for forwarder in self.forwarders:
            forwarder.close()
        self.carrier.kill()
        self.carrier.wait()
        self.remove()


if __name__ == "__main__":
    main()
