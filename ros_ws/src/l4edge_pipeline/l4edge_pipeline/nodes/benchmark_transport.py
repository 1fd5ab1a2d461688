"""Two nodes that pass 1080p images from one process to another, as a plain topic and as shared frames, and time it.

The clock starts when a frame is complete in the publisher's memory, and stops when the subscriber has an array in
hand and has verified that it holds the frame: one number out of every 16th row, and a shared frame's intactness.
Then, off the clock, it looks at every byte.
"""

import array
import dataclasses
import functools
import gc
import os
import time
from multiprocessing.connection import Connection
from typing import Dict, List

import numpy as np
import rclpy
from l4edge_msgs.msg import SharedFrame
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import Image

from l4edge_perception.recordings.messages import make, make_header, stamp_of
from l4edge_perception.recordings.topics import CAMERA_FRAME
from l4edge_pipeline.nodes.quality import NEWEST, SENSOR
from l4edge_pipeline.nodes.wire import decode, encode
from l4edge_pipeline.transport.crashes import descriptors
from l4edge_pipeline.transport.frames import FrameHandle, FrameReader, FrameUnavailable, FrameWriter
from l4edge_pipeline.transport.memory import identify

HEIGHT, WIDTH, ENCODING = 1080, 1920, "rgb8"
STEP = WIDTH * 3
ROWS_BETWEEN_SAMPLES = 16

VARIANTS = {
    "plain_reliable": (Image, NEWEST),
    "plain_best_effort": (Image, SENSOR),
    "shared": (SharedFrame, NEWEST),
    "shared_in_place": (SharedFrame, NEWEST),
}
"""Variant, each with a topic of its own: message type, quality of service.

``shared`` copies a frame into the ring, ``shared_in_place`` has it drawn there from the start.
"""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is measured: ``rounds`` times in turn, ``frames`` of each variant, ``rate`` frames a second.

    The first round is warm-up. ``executor`` is ``single`` or ``events``; ``namespace`` and ``domain`` keep the
    benchmark apart from whatever else runs.
    """

    rounds: int
    frames: int
    rate: float
    executor: str
    namespace: str
    domain: int


@dataclasses.dataclass(frozen=True)
class Published:
    """What a publisher had open at its end.

    Attributes:
        inode: of its memory file.
        opened_descriptors: file descriptors that the process had more after the last round than after the first.
    """

    inode: int
    opened_descriptors: int


@dataclasses.dataclass(frozen=True)
class Received:
    """What a subscriber saw.

    Attributes:
        latencies_ms: per variant, one number for each frame after warm-up.
        torn: frames that passed for whole and were not.
        unavailable: shared frames that were refused or overwritten in use.
        opened_descriptors: as in :class:`Published`.
    """

    latencies_ms: Dict[str, List[float]]
    torn: int
    unavailable: int
    opened_descriptors: int


def _numbers(pixels: np.ndarray) -> np.ndarray:
    """Return the first eight bytes of every row as one number, (height,) uint64."""
    return pixels.reshape(HEIGHT, STEP)[:, :8].view(np.uint64)[:, 0]


def _draw(pixels: np.ndarray, number: int) -> None:
    pixels.fill(number % 251)
    _numbers(pixels)[:] = number


def _is_right(pixels: np.ndarray, number: int) -> bool:
    return bool((_numbers(pixels)[::ROWS_BETWEEN_SAMPLES] == number).all())


def _is_whole(pixels: np.ndarray, number: int) -> bool:
    rows = pixels.reshape(HEIGHT, STEP)[:, 8:]
    return bool((_numbers(pixels) == number).all() and (rows == number % 251).all())


def _start(plan: Plan, name: str) -> Node:
    os.environ.update(ROS_DOMAIN_ID=str(plan.domain), ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST")
    rclpy.init()
    return Node(name, namespace=plan.namespace)


def _settle() -> None:
    """Keep the garbage collector out of the measurement, as a stage does."""
    gc.collect()
    gc.freeze()
    gc.disable()


def make_executor(name: str) -> Executor:
    """Return rclpy's ``single`` threaded executor or its ``events`` executor.

    The latter serves nothing unless it is spun with a finite timeout (rclpy 9.1).
    """
    if name == "single":
        return SingleThreadedExecutor()
    from rclpy.experimental import EventsExecutor

    return EventsExecutor()


class _FramePublisher:
    def __init__(self, node: Node):
        self.publishers: Dict[str, Publisher] = {
            variant: node.create_publisher(kind, variant, quality) for variant, (kind, quality) in VARIANTS.items()
        }
        self.writer = FrameWriter(slot_bytes=HEIGHT * STEP)
        self._pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        # The fastest way to fill an Image: one buffer of the type that rclpy takes unchecked, written in place.
        self._image = Image(height=HEIGHT, width=WIDTH, encoding=ENCODING, step=STEP)
        self._image.data = array.array("B", bytes(HEIGHT * STEP))
        self._image_pixels = np.frombuffer(self._image.data, np.uint8).reshape(self._pixels.shape)

    def send(self, variant: str, number: int) -> None:
        """Draw one frame and publish it."""
        if variant == "shared_in_place":
            with self.writer.slot(HEIGHT, WIDTH, ENCODING) as pixels:
                _draw(pixels, number)
                complete_ns = time.monotonic_ns()
        else:
            _draw(self._pixels, number)
            complete_ns = time.monotonic_ns()
        if variant.startswith("plain"):
            np.copyto(self._image_pixels, self._pixels)
            self._image.header.stamp.sec, self._image.header.stamp.nanosec = divmod(complete_ns, 1_000_000_000)
            self._image.header.frame_id = str(number)
            self.publishers[variant].publish(self._image)
            return
        if variant == "shared":
            self.writer.write(self._pixels, ENCODING)
        # As the sensing stage does it.
        header = make_header(complete_ns, CAMERA_FRAME)
        message = make("l4edge_msgs/msg/SharedFrame", header=header, sequence=number, **vars(self.writer.handle))
        self.publishers[variant].publish(encode(message))


def publish(connection: Connection, plan: Plan) -> None:
    """Publish all frames of ``plan``, then send :class:`Published`; end when told so."""
    node = _start(plan, "publisher")
    camera = _FramePublisher(node)
    give_up = time.monotonic() + 30.0
    while any(publisher.get_subscription_count() == 0 for publisher in camera.publishers.values()):
        if time.monotonic() > give_up:
            raise TimeoutError("the benchmark's two nodes did not find each other within 30 s")
        time.sleep(0.05)
    _settle()
    opened, due = 0, time.monotonic()
    for turn in range(plan.rounds):
        for variant in VARIANTS:
            for frame in range(plan.frames):
                due = max(due + 1.0 / plan.rate, time.monotonic())
                time.sleep(max(0.0, due - time.monotonic()))
                camera.send(variant, turn * plan.frames + frame)
        opened = opened or descriptors()
    handle = camera.writer.handle
    connection.send(Published(identify(handle.process_id, handle.file_descriptor), descriptors() - opened))
    connection.recv()
    node.destroy_node()
    rclpy.shutdown()


class _FrameSubscriber:
    def __init__(self, node: Node, plan: Plan):
        self.latencies_ms: Dict[str, List[float]] = {variant: [] for variant in VARIANTS}
        self.torn = self.unavailable = 0
        self.descriptors = 0
        self._warm_up = plan.frames
        self._reader = FrameReader()
        for variant, (kind, quality) in VARIANTS.items():
            receive = functools.partial(self._receive_plain if kind is Image else self._receive_shared, variant)
            node.create_subscription(kind, variant, receive, quality, raw=kind is SharedFrame)

    def _receive_plain(self, variant: str, message: Image) -> None:
        pixels = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)
        number = int(message.header.frame_id)
        sound = _is_right(pixels, number)
        self._note(variant, number, stamp_of(message.header))
        self.torn += not (sound and _is_whole(pixels, number))

    def _receive_shared(self, variant: str, serialized: bytes) -> None:
        message = decode(serialized, SharedFrame)
        try:
            view = self._reader.open(FrameHandle.from_message(message))
        except FrameUnavailable:
            self.unavailable += 1
            return
        number = message.sequence
        sound = _is_right(view.pixels, number)
        if not view.is_intact():
            self.unavailable += 1
            return
        self._note(variant, number, stamp_of(message.header))
        whole = _is_whole(view.pixels, number)
        self.torn += not sound or (view.is_intact() and not whole)

    def _note(self, variant: str, number: int, complete_ns: int) -> None:
        latency_ns = time.monotonic_ns() - complete_ns
        if number >= self._warm_up:
            self.descriptors = self.descriptors or descriptors()
            self.latencies_ms[variant].append(latency_ns / 1e6)


def subscribe(connection: Connection, plan: Plan) -> None:
    """Receive until told to end, then send :class:`Received`."""
    node = _start(plan, "subscriber")
    camera = _FrameSubscriber(node, plan)
    executor = make_executor(plan.executor)
    executor.add_node(node)
    _settle()
    while not connection.poll():
        executor.spin_once(timeout_sec=0.1)
    opened = descriptors() - camera.descriptors
    connection.send(Received(camera.latencies_ms, camera.torn, camera.unavailable, opened))
    executor.shutdown()
    node.destroy_node()
    rclpy.shutdown()
