"""The client's way to an offload node: requests out, answers and signs of life in, tensors in shared memory."""

import contextlib
import random
import time
from typing import Any, List, Optional

import numpy as np
from rclpy.node import Node

from l4edge_accel.offload.client import Link, OffloadClient, OffloadConfig, Reply
from l4edge_accel.offload.queue import Outcome
from l4edge_accel.offload.service import Condition
from l4edge_perception.camera.classifier import SignClassifier
from l4edge_perception.errors import InputError
from l4edge_perception.recordings.messages import make, make_header
from l4edge_pipeline.nodes.interfaces import MESSAGE_TYPES
from l4edge_pipeline.nodes.parameters import configure
from l4edge_pipeline.nodes.polling import PolledSubscription
from l4edge_pipeline.nodes.quality import LOG, NEWEST
from l4edge_pipeline.nodes.wire import decode, encode
from l4edge_pipeline.stages import OFFLOAD, Service, load_stages
from l4edge_pipeline.transport import tensors
from l4edge_pipeline.transport.frames import FrameReader, FrameUnavailable, FrameWriter

RUN, CANCEL = 0, 1
"""Actions of l4edge_msgs/OffloadRequest."""

SILENCE_NS = 400_000_000
"""Without a status for so long a node counts as gone; it says something every 100 ms."""

SLOTS = 64
"""Requests whose tensors lie in shared memory at a time; a node that looks later finds its input gone."""


def offload_service(stages_file: Optional[str]) -> Service:
    """The entry of the offload node in the table of stages.

    Raises:
        InputError: the table has none.
    """
    services = load_stages(stages_file or None, offload=True).services
    if OFFLOAD not in services:
        raise InputError(f"{stages_file}: services.{OFFLOAD}: missing, so nothing can be offloaded")
    return services[OFFLOAD]


class NodeLink(Link):
    """A link of a ROS node; for one thread.

    Args:
        node: that asks.
        network: SHA-256 of the graph it wants run.

    Attributes:
        status: what the offload node said last, an l4edge_msgs/OffloadStatus, or None.
        modelled_s, wall_s: of the last answer that was read.
    """

    def __init__(self, node: Node, service: Service, network: str) -> None:
        self.client = random.SystemRandom().getrandbits(63)
        self.status: Any = None
        self.modelled_s = self.wall_s = 0.0
        self._network = network
        topic = service.inputs["offload_request"]
        self._requests = node.create_publisher(MESSAGE_TYPES["offload_request"], topic, LOG)
        self._answers, self._statuses = (
            PolledSubscription(node, MESSAGE_TYPES[role], service.outputs[role], quality)
            for role, quality in (("offload_answer", LOG), ("offload_status", NEWEST))
        )
        self._writer, self._reader = FrameWriter(SLOTS), FrameReader()
        self._heard_ns: Optional[int] = None

    def alive(self) -> bool:
        """Whether the node has said lately that it works, and with this network."""
        for serialized, arrived_ns in self._statuses.take_with_arrivals():
            self.status = decode(serialized, self._statuses.message_type)
            self._heard_ns = arrived_ns
        if self._heard_ns is None or time.time_ns() - self._heard_ns > SILENCE_NS:
            return False
        if not self._requests.get_subscription_count():
            return False  # it is heard, but does not hear yet
        return self.status.state in (Condition.READY, Condition.FULL) and self.status.network == self._network

    def send(self, number: int, tensor: np.ndarray, deadline_ns: int) -> None:
        """Put the tensor into shared memory and ask; without memory no answer will come."""
        with contextlib.suppress(FrameUnavailable):
            self._say(number, RUN, deadline_ns, tensors.put(self._writer, tensor))

    def cancel(self, number: int) -> None:
        """Take a request back."""
        self._say(number, CANCEL, 0, tensors.nothing())

    def replies(self) -> List[Reply]:
        """The answers to this client since the last look."""
        found = []
        for serialized, arrived_ns in self._answers.take_with_arrivals():
            if addressee(serialized) == self.client:
                message = decode(serialized, self._answers.message_type)
                found.append(self._reply(message, arrived_ns + time.monotonic_ns() - time.time_ns()))
        return found

    def _reply(self, message: Any, arrived_ns: int) -> Reply:
        outcome = Outcome(message.outcome)
        outputs = None
        if outcome is Outcome.ANSWERED:
            self.modelled_s, self.wall_s = message.modelled, message.wall
            try:
                outputs = [tensors.get(self._reader, entry) for entry in message.outputs]
            except FrameUnavailable:
                outputs = None  # the node has ended since
        return Reply(int(message.request), outcome, arrived_ns, message.reason, outputs)

    def _say(self, number: int, action: int, deadline_ns: int, tensor: Any) -> None:
        self._requests.publish(encode(make(
            "l4edge_msgs/msg/OffloadRequest", header=make_header(0, ""), action=action, client=self.client,
            request=number, network=self._network, deadline_steady_ns=deadline_ns, input=tensor,
        )))


def addressee(serialized: bytes) -> int:
    """The client that an OffloadAnswer is for, without reading the rest: most answers are for others."""
    order: Any = "little" if serialized[1] & 1 else "big"  # second byte of the CDR encapsulation
    body = serialized[4:]
    end = 12 + int.from_bytes(body[8:12], order)  # stamp, length of frame_id, frame_id
    begin = -(-end // 8) * 8
    return int.from_bytes(body[begin : begin + 8], order)


def offload_signs(node: Node, classifier: SignClassifier, stages_file: Optional[str]) -> OffloadClient:
    """Have the offload node run the network of ``classifier``, and its own session where that fails.

    Both give the same integers, so nobody sees from the results who did the work.
    """
    session = classifier.session
    link = NodeLink(node, offload_service(stages_file), session.level.sha256)
    client = OffloadClient(link, session.run, configure(node, OffloadConfig))
    session.run = client.run  # type: ignore[method-assign, assignment]
    return client
