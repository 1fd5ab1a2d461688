"""Pictures for the certification bench where no data set is at hand: a recorded drive's signs, and made-up scenes."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from l4edge_perception.camera.classifier import READABLE, crop
from l4edge_perception.errors import InputError
from l4edge_perception.recordings.events import FrameEvent, GroundTruthEvent
from l4edge_perception.recordings.reader import open_recording
from l4edge_perception.types import OBJECT_CLASSES

LEAST_HEIGHT_PX = 12.0


def sign_crops(recording: Path, count: int, size: int, enlargement: float = 1.25, seed: int = 0) -> np.ndarray:
    """(N, size, size, 3) uint8 of a simulated drive's signs and lights, boxes moved and scaled as detectors do.

    Args:
        recording: with pictures and ground truth.
        count: of crops wanted; signs are gone through as often as that takes.
        size: edge in pixels.
        enlargement: edge of a crop over the longer edge of its box.
        seed: of moves and scales.

    Raises:
        InputError: no sign or light in it is large enough.
    """
    seen = list(_signs(recording))
    if not seen:
        raise InputError(
            f"{recording}: shows no sign or light of at least {LEAST_HEIGHT_PX:g} pixels; give a simulated drive"
        )
    generator = np.random.default_rng(seed)
    crops = []
    for number in range(count):
        pixels, box = seen[number % len(seen)]
        edges = np.tile(box[2:] - box[:2], 2)
        moved = box + generator.normal(0.0, 0.06, 4) * edges
        crops.append(crop(pixels, moved[None], size, enlargement)[0])
    return np.stack(crops)


def _signs(recording: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    pictures: dict[int, FrameEvent] = {}
    for event in open_recording(recording).events():
        if isinstance(event, FrameEvent):
            pictures = {event.stamp_ns: event}
        elif isinstance(event, GroundTruthEvent) and event.stamp_ns in pictures:
            truth = event.truth
            known = truth.class_ids < len(OBJECT_CLASSES)
            wanted = known & READABLE[np.minimum(truth.class_ids, len(OBJECT_CLASSES) - 1)] & ~truth.ignore
            wanted &= truth.boxes[:, 3] - truth.boxes[:, 1] >= LEAST_HEIGHT_PX
            if wanted.any():
                pixels = pictures[event.stamp_ns].decode()
                for box in truth.boxes[wanted].astype(np.float64):
                    yield _around(pixels, box)


def _around(pixels: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The part of a picture that crops of a box can reach, so that whole pictures need not be kept."""
    reach = 1.5 * max(box[2] - box[0], box[3] - box[1])
    left, top = (max(0, int(low - reach)) for low in box[:2])
    right, bottom = (int(np.ceil(high + reach)) for high in box[2:])
    return pixels[top:bottom, left:right].copy(), box - [left, top, left, top]


def scenes(count: int, size: int, seed: int = 0) -> np.ndarray:
    """(N, size, size, 3) uint8: a few bright shapes before a blurred ground. What they show means nothing."""
    generator = np.random.default_rng(seed)
    pictures = []
    for _ in range(count):
        ground = generator.integers(0, 256, (3, 3, 3)).astype(np.uint8)
        picture = cv2.resize(ground, (size, size), interpolation=cv2.INTER_CUBIC)
        for _ in range(int(generator.integers(1, 5))):
            colour = tuple(int(value) for value in generator.integers(0, 256, 3))
            middle = tuple(int(value) for value in generator.integers(0, size, 2))
            axes = tuple(int(value) for value in generator.integers(size // 8, size // 2, 2))
            cv2.ellipse(picture, middle, axes, float(generator.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA)
        noisy = picture + generator.normal(0, 6, picture.shape)
        pictures.append(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))
    return np.stack(pictures)
