"""Puts an offload node under load, and keeps the books of whoever asks: each request has one end, seen from outside."""

import time
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Dict, List, Tuple

import numpy as np
import rclpy
from rclpy.node import Node

from l4edge_accel.offload.client import Reply
from l4edge_accel.offload.queue import Outcome
from l4edge_perception.inference import Session
from l4edge_perception.packages import load_package
from l4edge_pipeline.nodes.interfaces import MESSAGE_TYPES
from l4edge_pipeline.nodes.offload_link import NodeLink, offload_service
from l4edge_pipeline.nodes.wire import prepare

LOOK_S = 0.002
BATCHES = 8
"""Different inputs, whose outputs are known."""

GRACE_NS = 500_000_000
"""So long after its deadline a request without a word counts as timed out: whoever should have answered is gone."""

NO_WORD = "no word from the node"


@dataclass(frozen=True)
class Load:
    """What is asked for.

    Attributes:
        package, level: of the network.
        batch: crops in a request.
        deadline_ms: of a request, from now.
        stages_file: the table with the node's topics.
    """

    package: str
    level: str
    batch: int
    deadline_ms: float
    stages_file: str


@dataclass
class Books:
    """What became of the requests.

    Attributes:
        sent: all.
        ends: how they ended; a request that nobody answered has timed out here.
        reasons: of all that were not answered.
        wrong: answers that differ from the CPU's in any bit.
        late_words: answers to requests that had already been given up here.
        modelled_s, wall_s, latency_ms: of those answered.
    """

    sent: int = 0
    ends: Dict[str, int] = field(default_factory=Counter)
    reasons: Dict[str, int] = field(default_factory=Counter)
    wrong: int = 0
    late_words: int = 0
    modelled_s: List[float] = field(default_factory=list)
    wall_s: List[float] = field(default_factory=list)
    latency_ms: List[float] = field(default_factory=list)


def play(connection: Connection, load: Load) -> None:
    """Run until told ``end``; answers with the books.

    Understands ``ready`` (answers with the node's status fields, or None), ``rate HZ`` (0: none), and ``burst N``.
    """
    rclpy.init()
    player = _Player(load)
    try:
        while True:
            while connection.poll():
                command, _, argument = connection.recv().partition(" ")
                if command == "end":
                    player.settle()
                    connection.send(player.books)
                    return
                if command == "ready":
                    connection.send(player.status())
                elif command == "burst":
                    player.burst(int(argument))
                else:
                    player.rate(float(argument))
            player.step()
            time.sleep(LOOK_S)
    finally:
        player.node.destroy_node()
        rclpy.try_shutdown()


class _Player:
    def __init__(self, load: Load) -> None:
        prepare(MESSAGE_TYPES.values())
        self.node = Node("benchmark_offload")
        session = Session(load_package(load.package), load.level)
        shape = (load.batch, *session.package.input.shape[1:])
        self._inputs = [np.random.default_rng(seed).integers(0, 256, shape, np.uint8) for seed in range(BATCHES)]
        self._expected = [[np.array(output) for output in session.run(tensor)] for tensor in self._inputs]
        self._link = NodeLink(self.node, offload_service(load.stages_file), session.level.sha256)
        self._load = load
        self._open: Dict[int, Tuple[int, int]] = {}
        self._period_ns = 0
        self._next_ns = 0
        self.books = Books()

    def status(self) -> Any:
        """What the node says of itself, or None while it is not there."""
        if not self._link.alive():
            return None
        status = self._link.status
        return {name: getattr(status, name) for name in ("backend", "modelled", "queue_limit", "state", "reason")}

    def rate(self, rate_hz: float) -> None:
        """Ask so often from now on."""
        self._period_ns = round(1e9 / rate_hz) if rate_hz > 0 else 0
        self._next_ns = time.monotonic_ns()

    def burst(self, count: int) -> None:
        """Ask so often at once, with the time for all of them: what is refused then is refused for want of room."""
        for _ in range(count):
            self._ask(self._load.deadline_ms * (1 + count))

    def step(self) -> None:
        """Ask when it is time to, and take what has come."""
        now = time.monotonic_ns()
        while self._period_ns and now >= self._next_ns:
            self._ask(self._load.deadline_ms)
            # What a busy machine made this process miss is asked for late rather than never.
            self._next_ns += self._period_ns
        for reply in self._link.replies():
            self._take(reply)
        for number, (_, deadline_ns) in list(self._open.items()):
            if time.monotonic_ns() > deadline_ns + GRACE_NS:
                self._end(number, Outcome.TIMED_OUT, NO_WORD)

    def settle(self) -> None:
        """Wait for the end of everything that is still open."""
        self._period_ns = 0
        while self._open:
            self.step()
            time.sleep(LOOK_S)

    def _ask(self, deadline_ms: float) -> None:
        now, number = time.monotonic_ns(), self.books.sent
        deadline_ns = now + round(deadline_ms * 1e6)
        self.books.sent += 1
        self._open[number] = (now, deadline_ns)
        self._link.send(number, self._inputs[number % BATCHES], deadline_ns)

    def _take(self, reply: Reply) -> None:
        if reply.number not in self._open:
            self.books.late_words += 1
            return
        began_ns, _ = self._open[reply.number]
        if reply.outcome is Outcome.ANSWERED:
            if reply.outputs is None:  # the memory went with the node
                self._end(reply.number, Outcome.TIMED_OUT, NO_WORD)
                return
            expected = self._expected[reply.number % BATCHES]
            same = all(np.array_equal(one, other) for one, other in zip(reply.outputs, expected))
            self.books.wrong += not (same and len(expected) == len(reply.outputs))
            self.books.latency_ms.append((reply.arrived_ns - began_ns) * 1e-6)
            self.books.modelled_s.append(self._link.modelled_s)
            self.books.wall_s.append(self._link.wall_s)
        self._end(reply.number, reply.outcome, reply.reason)

    def _end(self, number: int, outcome: Outcome, reason: str) -> None:
        del self._open[number]
        self.books.ends[outcome.name.lower()] += 1
        if reason:
            self.books.reasons[reason] += 1
