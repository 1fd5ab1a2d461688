"""Runs a network on an accelerator for whoever asks, in a process of its own."""

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, List, Optional

from l4edge_accel.configuration import read_configuration
from l4edge_accel.offload.backend import SimulatedBackend, modelled_seconds, quantized_level, small_accelerator
from l4edge_accel.offload.queue import Job, Outcome
from l4edge_accel.offload.service import OffloadService
from l4edge_perception.packages import load_package
from l4edge_perception.recordings.messages import make, make_header
from l4edge_pipeline.nodes.interfaces import MESSAGE_TYPES
from l4edge_pipeline.nodes.offload_link import CANCEL, offload_service
from l4edge_pipeline.nodes.parameters import configure
from l4edge_pipeline.nodes.quality import LOG, NEWEST
from l4edge_pipeline.nodes.runtime import run_node
from l4edge_pipeline.nodes.stage_node import PipelineNode
from l4edge_pipeline.nodes.wire import decode, encode
from l4edge_pipeline.resources import find_package
from l4edge_pipeline.safety.scheduling import stand_back
from l4edge_pipeline.transport import tensors
from l4edge_pipeline.transport.frames import FrameReader, FrameUnavailable, FrameWriter

STATUS_S = 0.1
SLOTS = 32
"""Answers that lie in shared memory at a time."""


@dataclass(frozen=True)
class OffloadNodeConfig:
    """Parameters of the node.

    Attributes:
        package: model package.
        level: of it, quantized; empty: its last quantized one.
        accelerator: configuration as ``l4edge accel compile`` writes it; empty: two small engines on the smallest
            board.
        seconds_per_inference: modelled; 0: worked out from package and accelerator, which needs the library onnx.
        paced: whether answers wait for the modelled time.
        queue_limit: requests that may wait.
        niceness: of this process, above that of whoever started it; a device would take no processor from the
            driving chain.
    """

    package: str = "sign_classifier"
    level: str = ""
    accelerator: str = ""
    seconds_per_inference: float = 0.0
    paced: bool = True
    queue_limit: int = 8
    niceness: int = 5

    def __post_init__(self) -> None:
        if self.queue_limit < 1:
            raise ValueError(f"queue_limit: {self.queue_limit} is less than 1")


class OffloadNode(PipelineNode):
    """Answers every request exactly once, and says several times a second how it is."""

    def __init__(self) -> None:
        super().__init__("offload")
        config = configure(self, OffloadNodeConfig)
        service = offload_service(self.get_parameter("stages_file").value)
        topics = {**service.inputs, **service.outputs}
        self._lock = threading.Lock()  # answers come from the worker and from the executor
        self._writer, self._reader = FrameWriter(SLOTS), FrameReader()
        self._answers = self.create_publisher(MESSAGE_TYPES["offload_answer"], topics["offload_answer"], LOG)
        self._statuses = self.create_publisher(MESSAGE_TYPES["offload_status"], topics["offload_status"], NEWEST)
        self._sequence = 0
        self.service = OffloadService(_backend(config), config.queue_limit, self._answer)
        self.get_logger().info(self.service.backend.name)
        stand_back(min(19, os.nice(0) + config.niceness))
        self._request_type = MESSAGE_TYPES["offload_request"]
        self.create_subscription(self._request_type, topics["offload_request"], self._on_request, LOG, raw=True)
        self.create_timer(STATUS_S, self._say_status)

    def _on_request(self, serialized: bytes) -> None:
        message = decode(serialized, self._request_type)
        client, number = int(message.client), int(message.request)
        if message.action == CANCEL:
            self.service.queue.cancel(client, number)
            return
        try:
            # A copy: the client may use its slot again before the work starts.
            tensor: Any = tensors.get(self._reader, message.input)
        except FrameUnavailable:
            tensor = None
        self.service.submit(client, number, message.network, int(message.deadline_steady_ns), tensor)

    def _answer(self, job: Job, outcome: Outcome, reason: str, result: Any) -> None:
        done, waited_s = result or (None, max(0.0, (time.monotonic_ns() - job.received_ns) * 1e-9))
        with self._lock:
            outputs: List[Any] = []
            try:
                outputs = [tensors.put(self._writer, output) for output in (done.outputs if done else ())]
            except FrameUnavailable:
                self.get_logger().error("no shared memory for answers", once=True)
            self._answers.publish(encode(make(
                "l4edge_msgs/msg/OffloadAnswer", header=make_header(0, ""), client=job.client, request=job.number,
                outcome=int(outcome), reason=reason, outputs=outputs, modelled=done.modelled_s if done else 0.0,
                wall=done.wall_s if done else 0.0, waited=waited_s, queue_length=self.service.queue.counts().waiting,
                queue_limit=self.service.queue.limit,
            )))

    def _say_status(self) -> None:
        health, backend = self.service.health(), self.service.backend
        counts = health.counts
        self._statuses.publish(encode(make(
            "l4edge_msgs/msg/OffloadStatus", header=make_header(time.time_ns(), ""), sequence=self._sequence,
            state=int(health.condition), reason=health.reason, backend=backend.name, network=backend.network,
            modelled=backend.seconds(1), queue_length=counts.waiting, queue_limit=self.service.queue.limit,
            received=counts.received, answered=counts.answered, refused=counts.refused, timed_out=counts.timed_out,
            cancelled=counts.cancelled,
        )))
        self._sequence += 1

    def close(self, _: Any) -> None:
        """Refuse what waits, and end."""
        self.service.close()


def _backend(config: OffloadNodeConfig) -> SimulatedBackend:
    folder = find_package(config.package)
    package = load_package(folder)
    level = quantized_level(package, config.level).name
    accelerator = read_configuration(Path(config.accelerator)) if config.accelerator else small_accelerator()
    seconds = config.seconds_per_inference or modelled_seconds(folder, level, accelerator)
    return SimulatedBackend(package, level, seconds, paced=config.paced, device=accelerator.device)


def main(arguments: Optional[List[str]] = None) -> None:
    """Entry point of the executable ``offload``."""
    run_node(OffloadNode, arguments)


if __name__ == "__main__":
    main()
