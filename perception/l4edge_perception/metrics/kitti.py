"""Reads the KITTI tracking benchmark: labels, and PointRCNN's detections as AB3DMOT publishes them.

A sequence is a drive at 10 Hz. Labels have 17 columns separated by spaces (frame, identity, type, truncation,
occlusion, alpha, box in the image, height width length, position, yaw); detections 15 separated by commas (frame, type,
box in the image, score, height width length, position, yaw, alpha). Positions are the centre of the lower face in
KITTI's camera frame: x right, y down, z forward.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Tuple

import numpy as np

from l4edge_perception.errors import InputError
from l4edge_perception.metrics.tracking import LabelledFrame
from l4edge_perception.tracking import Detections3D
from l4edge_perception.types import OBJECT_CLASSES, Detections

FRAME_NS = 100_000_000
"""Nanoseconds from frame to frame."""

CLASSES = {"Car": "car", "Pedestrian": "pedestrian", "Cyclist": "cyclist"}
"""Classes with detections: KITTI's name, this project's name."""

DISTRACTORS = {"Car": ["Van"], "Pedestrian": ["Person", "Person_sitting"], "Cyclist": []}
"""What looks so much like a class that finding it is neither right nor wrong."""

LEAST_HEIGHT = 25.0
"""Tracks that match nothing count as false only above this height, pixels."""

MOST_OCCLUSION = 2
MOST_TRUNCATION = 0
"""Objects occluded or cut more than this need not be found."""

CAMERA_HEIGHT = 1.65
"""Of KITTI's cameras above the ground, metres."""

@dataclass(frozen=True)
class Labels:
    """All labels of a sequence, a row each.

    Attributes:
        frames: (N,) int64. ids: (N,) int64, -1 for regions. types: (N,) words.
        truncations, occlusions: (N,) int64. boxes: (N, 4) float64, corners, pixels.
    """

    frames: np.ndarray
    ids: np.ndarray
    types: np.ndarray
    truncations: np.ndarray
    occlusions: np.ndarray
    boxes: np.ndarray


@dataclass(frozen=True)
class RawDetections:
    """All detections of one class in a sequence, a row each, as their detector gave them.

    Attributes:
        frames: (N,) int64. boxes: (N, 4) float64, corners, pixels. scores: (N,) float64, the detector's own scale.
        sizes: (N, 3) float64, length width height in metres. positions: (N, 3) float64, metres, camera frame.
        yaws: (N,) float64, radians about the camera's y axis.
    """

    frames: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    sizes: np.ndarray
    positions: np.ndarray
    yaws: np.ndarray

    @property
    def ranges(self) -> np.ndarray:
        """(N,) distances ahead of the camera, metres."""
        return self.positions[:, 2]

    def take(self, rows: np.ndarray) -> "RawDetections":
        """The detections at ``rows`` (a mask or integer indices)."""
        return RawDetections(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Sequence:
    """One drive. ``detections`` by KITTI's name of the class."""

    name: str
    length: int
    labels: Labels
    detections: Dict[str, RawDetections]


def read_sequences(folder: Path) -> List[Sequence]:
    """All sequences with labels in ``folder/label`` and detections in ``folder/detection/CLASS``.

    Raises:
        InputError: there are none, or a file is missing or not as described above.
    """
    label_files = sorted((Path(folder) / "label").glob("*.txt"))
    if not label_files:
        raise InputError(f"{folder}: no label/*.txt; give the folder that holds label/ and detection/")
    sequences = []
    for path in label_files:
        labels = read_labels(path)
        detections = {name: read_detections(Path(folder) / "detection" / name / path.name) for name in CLASSES}
        frames = [labels.frames, *(raw.frames for raw in detections.values())]
        last = int(np.concatenate(frames).max(initial=-1))
        sequences.append(Sequence(path.stem, last + 1, labels, detections))
    return sequences


def read_labels(path: Path) -> Labels:
    """Labels of one sequence.

    Raises:
        InputError: the file is missing or not as described above.
    """
    rows = _rows(path, r"\s+", 17)
    words = [row.pop(2) for row in rows]
    table = _numbers(path, rows, 16)
    return Labels(
        frames=table[:, 0].astype(np.int64),
        ids=table[:, 1].astype(np.int64),
        types=np.array(words, dtype=str),
        truncations=table[:, 2].astype(np.int64),
        occlusions=table[:, 3].astype(np.int64),
        boxes=table[:, 5:9],
    )


def read_detections(path: Path) -> RawDetections:
    """Detections of one class in one sequence.

    Raises:
        InputError: the file is missing or not as described above.
    """
    table = _numbers(path, _rows(path, r"\s*,\s*", 15), 15)
    return RawDetections(
        frames=table[:, 0].astype(np.int64),
        boxes=table[:, 2:6],
        scores=table[:, 6],
        sizes=table[:, [9, 8, 7]],
        positions=table[:, 10:13],
        yaws=table[:, 13],
    )


def stage_inputs(
    raw: RawDetections, probabilities: np.ndarray, boxes: np.ndarray, class_name: str, length: int
) -> List[Tuple[Detections, Detections3D]]:
    """What the tracker takes in at each of ``length`` frames.

    Args:
        raw: N detections.
        probabilities: (N,) their scores as probabilities.
        boxes: (N, 4) their boxes, corners, pixels.
        class_name: KITTI's name of their class.
        length: number of frames.
    """
    positions = np.stack(
        (raw.positions[:, 2], -raw.positions[:, 0], CAMERA_HEIGHT - raw.positions[:, 1]), axis=1
    )
    class_ids = np.full(len(raw.scores), OBJECT_CLASSES.index(CLASSES[class_name]), dtype=np.int32)
    result = []
    for frame in range(length):
        rows = np.flatnonzero(raw.frames == frame)
        detections = Detections(
            stamp_ns=frame * FRAME_NS,
            boxes=boxes[rows].astype(np.float32),
            scores=probabilities[rows].astype(np.float32),
            class_ids=class_ids[rows],
        )
        yaws = -raw.yaws[rows] - 0.5 * np.pi
        result.append((detections, Detections3D(positions[rows], raw.sizes[rows], yaws)))
    return result


def labelled_frames(
    sequence: Sequence, class_name: str, tracked: List[Tuple[np.ndarray, np.ndarray]]
) -> List[LabelledFrame]:
    """One class of a sequence for the metric, by KITTI's rules of what counts.

    Args:
        sequence: with the labels.
        class_name: KITTI's name of the class.
        tracked: identities (M,) and boxes (M, 4) of the tracks in each frame.
    """
    labels = sequence.labels
    region = labels.types == "DontCare"
    mistakable = np.isin(labels.types, DISTRACTORS[class_name])
    own = labels.types == class_name
    visible = (labels.occlusions <= MOST_OCCLUSION) & (labels.truncations <= MOST_TRUNCATION)
    frames = []
    for frame, (track_ids, track_boxes) in enumerate(tracked):
        here = labels.frames == frame
        rows = np.flatnonzero(here & (own | mistakable))
        frames.append(
            LabelledFrame(
                ids=labels.ids[rows],
                boxes=labels.boxes[rows],
                counted=(own & visible)[rows],
                ignored_regions=labels.boxes[here & region],
                track_ids=track_ids,
                track_boxes=track_boxes,
            )
        )
    return frames


def _rows(path: Path, separator: str, columns: int) -> List[List[str]]:
    """The fields of every line that is not empty."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            fields = re.split(separator, line.strip())
            if len(fields) != columns:
                raise InputError(f"{path}, line {number}: {len(fields)} columns, not {columns}")
            rows.append(fields)
    return rows


def _numbers(path: Path, rows: List[List[str]], columns: int) -> np.ndarray:
    """(N, columns) float64 of numbers written as text."""
    try:
        table = np.array(rows, dtype=np.float64).reshape(-1, columns)
    except ValueError as error:
        raise InputError(f"{path}: a field is not a number ({error})") from error
    if not np.isfinite(table).all() or (table[:, 0] < 0).any():
        raise InputError(f"{path}: a number is not finite, or a frame is negative")
    return table
