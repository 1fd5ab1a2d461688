"""Walks through the recording once, for its ground truth and for the pictures of the page."""

import bisect
from dataclasses import dataclass, field
from typing import Callable, Dict, List, Mapping, Optional, Sequence, Set, Tuple

import cv2
import numpy as np

from l4edge_perception.recordings.events import CameraEvent, FrameEvent, GroundTruthEvent, Recording, RejectedEvent
from l4edge_perception.recordings.images import FrameError
from l4edge_perception.types import CameraModel, EgoState, GroundTruth
from l4edge_pipeline.report.latency import chain_passes, slowest_frames
from l4edge_pipeline.report.lives import Life
from l4edge_pipeline.report.outputs import Outputs
from l4edge_pipeline.report.pictures import draw_scene
from l4edge_pipeline.report.scene import Scene
from l4edge_pipeline.stages import StageTable

EVENLY_SPREAD = 110
"""Pictures spread over the recording; those of the slowest frames come on top."""

PICTURE_BYTES = 80_000
"""Aim for one picture: 120 of them, in base64, leave a page below 15 MB."""

QUALITIES = (70, 55, 40, 25)
"""Of JPEG, tried until a picture meets the aim."""

LONGEST_GAP_NS = 500_000_000
"""From a known pose; further away the vehicle's pose counts as unknown."""

CROP_HEIGHT = 56


@dataclass(frozen=True)
class Picture:
    """One annotated frame."""

    index: int
    stamp_ns: int
    jpeg: bytes


@dataclass(frozen=True)
class Walk:
    """What a recording gave.

    Attributes:
        stamps_ns: of all frames, in order.
        rejected: frames that the recording holds but that cannot be read.
        truths: ground truth by stamp.
        pictures: in order; empty where none were asked for.
        crops: track id -> JPEG of the object.
    """

    stamps_ns: Tuple[int, ...]
    rejected: int
    truths: Mapping[int, GroundTruth]
    pictures: Sequence[Picture] = ()
    crops: Mapping[int, bytes] = field(default_factory=dict)


class Drawing:
    """Decides which frames are shown, and draws them.

    Args:
        outputs: what to draw into the frames.
        table: its first chain gives the latency of each frame.
        frame_count: of the recording.
        lives: tracks to cut out where they are seen best.
    """

    def __init__(self, outputs: Outputs, table: StageTable, frame_count: int, lives: Sequence[Life]) -> None:
        self.pictures: List[Picture] = []
        self.crops: Dict[int, bytes] = {}
        self._outputs = outputs
        self._latencies: Dict[int, float] = {}
        self._budget_ms = float("inf")
        self._indices = spread(frame_count)
        self._stamps: Set[int] = set()
        for chain in list(table.chains.values())[:1]:
            passes = chain_passes(outputs.records, chain)
            self._budget_ms = chain.budget_ms
            self._latencies = dict(zip(passes.stamps_ns.tolist(), passes.latencies_ms.tolist()))
            self._stamps = set(passes.stamps_ns[slowest_frames(passes)].tolist())
        self._cuts: Dict[int, List[int]] = {}
        for life in lives:
            self._cuts.setdefault(life.best_view_ns, []).append(life.track)

    def take(self, frame: FrameEvent, index: int, first_stamp_ns: int, camera: Optional[CameraModel]) -> None:
        """Draw a frame if it is to be shown."""
        stamp_ns = frame.stamp_ns
        shown = index in self._indices or stamp_ns in self._stamps
        if not shown and stamp_ns not in self._cuts:
            return
        try:
            image = frame.decode()
        except FrameError:
            return  # sensing dropped it too, which the accounting says
        for track in self._cuts.get(stamp_ns, ()):
            self.crops[track] = _cut(image, self._outputs, stamp_ns, track)
        if shown:
            outputs = self._outputs
            scene = Scene(
                index=index,
                seconds=(stamp_ns - first_stamp_ns) * 1e-9,
                detections=outputs.detections.get(stamp_ns),
                tracks=outputs.tracks.get(stamp_ns),
                ground_truth=outputs.ground_truth.get(stamp_ns),
                trajectory=outputs.trajectories.get(stamp_ns),
                command=outputs.commands.get(stamp_ns),
                ego=ego_at(stamp_ns, outputs.ego),
                camera=camera,
                route=outputs.route,
                latency_ms=self._latencies.get(stamp_ns),
                budget_ms=self._budget_ms,
            )
            picture = draw_scene(image, scene, birdseye=bool(outputs.ego))
            self.pictures.append(Picture(index, stamp_ns, encode(picture)))


def walk(recording: Recording, drawing: Optional[Drawing], on_frame: Callable[[int], None]) -> Walk:
    """Read the recording from start to end.

    Args:
        drawing: None: no pictures.
        on_frame: called with the number of frames read so far.
    """
    stamps: List[int] = []
    truths: Dict[int, GroundTruth] = {}
    rejected, camera = 0, recording.camera
    for event in recording.events():
        if isinstance(event, GroundTruthEvent):
            truths[event.stamp_ns] = event.truth
        elif isinstance(event, CameraEvent):
            camera = event.camera
        elif isinstance(event, RejectedEvent):
            rejected += event.is_frame
        elif isinstance(event, FrameEvent):
            stamps.append(event.stamp_ns)
            if drawing is not None:
                drawing.take(event, len(stamps) - 1, stamps[0], camera)
            on_frame(len(stamps))
    if drawing is None:
        return Walk(tuple(stamps), rejected, truths)
    return Walk(tuple(stamps), rejected, truths, drawing.pictures, drawing.crops)


def spread(count: int) -> Set[int]:
    """Indices of at most EVENLY_SPREAD frames out of ``count``."""
    return set(np.linspace(0, max(0, count - 1), min(count, EVENLY_SPREAD)).round().astype(int).tolist())


def ego_at(stamp_ns: int, states: Sequence[EgoState]) -> Optional[EgoState]:
    """The vehicle's motion at a moment: between two known states, or that of the only one close by.

    Args:
        stamp_ns: nanoseconds.
        states: with rising stamps.
    """
    after = bisect.bisect_left([state.stamp_ns for state in states], stamp_ns)
    around = states[max(0, after - 1) : after + 1]
    close = [state for state in around if abs(state.stamp_ns - stamp_ns) <= LONGEST_GAP_NS]
    if not close:
        return None
    first, last = close[0], close[-1]
    share = (stamp_ns - first.stamp_ns) / (last.stamp_ns - first.stamp_ns) if last is not first else 0.0
    turn = (last.yaw - first.yaw + np.pi) % (2 * np.pi) - np.pi
    return EgoState(
        stamp_ns,
        first.x + share * (last.x - first.x),
        first.y + share * (last.y - first.y),
        first.yaw + share * turn,
        first.speed + share * (last.speed - first.speed),
    )


def encode(picture: np.ndarray) -> bytes:
    """JPEG of RGB pixels, of the best quality that meets PICTURE_BYTES."""
    pixels = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    for quality in QUALITIES:
        content = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(content) <= PICTURE_BYTES:
            break
    return content


def _cut(image: np.ndarray, outputs: Outputs, stamp_ns: int, track: int) -> bytes:
    """JPEG of a track's box and a margin, CROP_HEIGHT high."""
    tracks = outputs.tracks[stamp_ns]
    box = np.clip(np.nan_to_num(tracks.boxes[np.flatnonzero(tracks.ids == track)[0]]), -1e6, 1e6)
    margin = 0.1 * (box[2:] - box[:2])
    limits = np.array([image.shape[1], image.shape[0]])
    low = np.clip(np.floor(box[:2] - margin), 0, limits - 1).astype(int)
    high = np.clip(np.ceil(box[2:] + margin), low + 1, limits).astype(int)
    part = image[low[1] : high[1], low[0] : high[0]]
    scale = CROP_HEIGHT / part.shape[0]
    width = int(np.clip(part.shape[1] * scale, 8, 3 * CROP_HEIGHT))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return encode(cv2.resize(part, (width, CROP_HEIGHT), interpolation=way))
