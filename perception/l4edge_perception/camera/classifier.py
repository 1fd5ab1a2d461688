"""Reads signs and lights: what detections of a picture mean, all of them in one run of a classifier."""

from typing import Optional

import cv2
import numpy as np

from l4edge_perception.errors import InputError
from l4edge_perception.inference import Session
from l4edge_perception.packages import ModelPackage
from l4edge_perception.types import LIGHT_STATES, MEANINGS, OBJECT_CLASSES, SIGN_MEANINGS, Detections, unread

READABLE = np.array([name in ("sign", "light") for name in OBJECT_CLASSES])
"""(classes,) which objects mean something."""

DEFAULTS = {"enlargement": 1.25, "least_height_px": 12.0, "limit": 8, "temperature": 1.0}
"""Used where a package's output parameters do not say otherwise."""

LARGEST = {"enlargement": 10.0, "least_height_px": 1e4, "limit": 1000, "temperature": 100.0}
"""Upper ends of their ranges, which begin above 0."""

IMPOSSIBLE = {"sign": LIGHT_STATES, "light": SIGN_MEANINGS}
"""Object class: what an object of it cannot mean."""


class SignClassifier:
    """A classifier package, ready to read signs and lights. Not to be used by two threads at once."""

    def __init__(
        self, package: ModelPackage, level: Optional[str] = None, threads: int = 1, engine: str = "cpu"
    ) -> None:
        """Load and warm all levels.

        Args:
            package: of task ``classification``, its classes among ``MEANINGS``, its batch of any size.
            level: to begin with, or None for the first.
            threads: CPU threads of the network.
            engine: what the network runs on.

        Raises:
            InputError: another task, other classes, an input that is no batch of square uint8 crops, a parameter out
                of its range, an unknown level or engine.
        """
        if package.task != "classification":
            raise InputError(f"{package.path}: task is {package.task}, not classification")
        unknown = [name for name in package.classes if name not in MEANINGS]
        if unknown:
            raise InputError(f"{package.path}: class {unknown[0]!r} is none of {', '.join(MEANINGS)}")
        given = package.input
        if given.shape[0] != -1 or given.dtype != "uint8" or given.layout != "NHWC" or given.size[0] != given.size[1]:
            raise InputError(f"{package.path}: input must be uint8 NHWC, square, of any batch (-1)")
        parameters = dict(DEFAULTS, **package.output.parameters)
        for name, largest in LARGEST.items():
            if not isinstance(parameters[name], (int, float)) or not 0 < parameters[name] <= largest:
                raise InputError(f"{package.path}: {name} {parameters[name]!r} is no number above 0 up to {largest}")
        self.enlargement = float(parameters["enlargement"])
        self.least_height_px = float(parameters["least_height_px"])
        self.limit = int(parameters["limit"])
        self._temperature = float(parameters["temperature"])
        self._size = given.size[0]
        self._columns = np.array([MEANINGS.index(name) for name in package.classes])
        self._possible = np.ones((len(OBJECT_CLASSES), len(MEANINGS)), bool)
        for kind, words in IMPOSSIBLE.items():
            self._possible[OBJECT_CLASSES.index(kind), [MEANINGS.index(word) for word in words]] = False
        self.session = Session(package, level=level, engine=engine, threads=threads)

    def classify(self, pixels: np.ndarray, detections: Detections) -> Detections:
        """The same detections with the ``meanings`` of those signs and lights that are large enough to be read.

        Of more than ``limit`` of them the tallest are read.

        Args:
            pixels: (H, W, 3) uint8 RGB, the picture that the detections are of.
            detections: boxes in its pixels.
        """
        heights = detections.boxes[:, 3] - detections.boxes[:, 1]
        rows = np.flatnonzero(READABLE[detections.class_ids] & (heights >= self.least_height_px))
        if len(rows) > self.limit:
            rows = rows[np.argsort(-heights[rows], kind="stable")[: self.limit]]
        meanings = unread(len(detections))
        if len(rows):
            crops = crop(pixels, detections.boxes[rows], self._size, self.enlargement)
            meanings[rows] = self.probabilities(crops, detections.class_ids[rows])
        return Detections(detections.stamp_ns, detections.boxes, detections.scores, detections.class_ids, meanings)

    def probabilities(self, crops: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
        """(K, size, size, 3) uint8 crops of objects of K classes to (K, len(MEANINGS)) float32 probabilities."""
        logits = self.session.run(crops)[0].astype(np.float64) / self._temperature
        spread = np.full((len(crops), len(MEANINGS)), -np.inf)
        spread[:, self._columns] = logits
        spread[~self._possible[class_ids]] = -np.inf
        shares = np.exp(spread - spread.max(axis=1, keepdims=True))
        return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)


def crop(pixels: np.ndarray, boxes: np.ndarray, size: int, enlargement: float) -> np.ndarray:
    """Squares around boxes, (K, size, size, 3) uint8, bilinear; beyond the picture its border goes on.

    Args:
        pixels: (H, W, 3) uint8.
        boxes: (K, 4) corners in its pixels.
        size: edge of the crops in pixels.
        enlargement: edge of a square over the longer edge of its box.
    """
    crops = np.empty((len(boxes), size, size, 3), np.uint8)
    for target, (x_min, y_min, x_max, y_max) in zip(crops, boxes.tolist()):
        edge = max(x_max - x_min, y_max - y_min, 1.0) * enlargement
        scale = edge / size
        # OpenCV counts from the middle of the first pixel, boxes from its corner.
        left = 0.5 * (x_min + x_max - edge) + 0.5 * scale - 0.5
        top = 0.5 * (y_min + y_max - edge) + 0.5 * scale - 0.5
        cv2.warpAffine(
            pixels,
            np.array([[scale, 0.0, left], [0.0, scale, top]]),
            (size, size),
            dst=target,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
    return crops
