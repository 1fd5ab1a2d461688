"""The detection stage: a picture in, objects out."""

from typing import Optional, Tuple

import numpy as np

from l4edge_perception.camera.decoders import Candidates, make_decoder
from l4edge_perception.camera.preprocessing import Placement, Preprocessor
from l4edge_perception.camera.suppression import suppress
from l4edge_perception.errors import InputError
from l4edge_perception.inference import Session
from l4edge_perception.packages import ModelPackage
from l4edge_perception.types import Detections

DEFAULTS = {"score_threshold": 0.25, "overlap": 0.6, "limit": 100}
"""Used where a package's output parameters do not say otherwise."""

LARGEST = {"score_threshold": 1.0, "overlap": 1.0, "limit": 10000}
"""Upper ends of their ranges, which begin at 0."""


class Detector:
    """A detector package, ready to look at pictures of any size. Not to be used by two threads at once."""

    def __init__(
        self,
        package: ModelPackage,
        level: Optional[str] = None,
        threads: int = 1,
        score_threshold: Optional[float] = None,
        engine: str = "cpu",
    ) -> None:
        """Load and warm all levels.

        Args:
            package: of task ``detection_2d``.
            level: to begin with, or None for the first.
            threads: CPU threads of the network.
            score_threshold: lowest score that counts, or None for the package's own.
            engine: what the network runs on.

        Raises:
            InputError: another task, an unknown decoder, level or engine, or a threshold outside 0..1.
        """
        if package.task != "detection_2d":
            raise InputError(f"{package.path}: task is {package.task}, not detection_2d")
        parameters = dict(DEFAULTS, **package.output.parameters)
        if score_threshold is not None:
            parameters["score_threshold"] = score_threshold
        for name in DEFAULTS:
            if not isinstance(parameters[name], (int, float)) or not 0 <= parameters[name] <= LARGEST[name]:
                raise InputError(f"{package.path}: {name} {parameters[name]!r} is no number from 0 to {LARGEST[name]}")
        self.score_threshold = float(parameters["score_threshold"])
        self._decode = make_decoder(package.output.decoder, package.output.parameters, package.input.size)
        # A graph that suppresses by itself must not be suppressed a second time with another overlap.
        self._overlap = 1.0 if package.output.decoder == "end_to_end" else float(parameters["overlap"])
        self._limit = int(parameters["limit"])
        self._class_map = np.array(package.class_map, np.int32)
        self._preprocess = Preprocessor(package.input)
        self.session = Session(package, level=level, engine=engine, threads=threads)

    def detect(self, pixels: np.ndarray, stamp_ns: int) -> Detections:
        """Objects in one picture.

        Args:
            pixels: (H, W, 3) uint8 RGB, any size.
            stamp_ns: stamp of the picture, passed on.

        Returns:
            Detections: best first, boxes in pixels of the picture and inside it.

        Raises:
            InputError: the picture is empty or of another type.
        """
        tensor, placement = self.prepare(pixels)
        return in_picture(self.find(tensor), placement, pixels.shape[:2], stamp_ns)

    def prepare(self, pixels: np.ndarray) -> Tuple[np.ndarray, Placement]:
        """The network's input for a picture, and where the picture lies in it; the tensor is reused by the next call.

        Raises:
            InputError: the picture is empty or of another type.
        """
        return self._preprocess(pixels)

    def find(self, tensor: np.ndarray) -> Candidates:
        """Objects in one input tensor: best first, after suppression, boxes in pixels of the network's input."""
        candidates = self._decode(self.session.run(tensor)[0], self.score_threshold)
        known = self._class_map[candidates.class_ids]
        if known.min(initial=0) < 0:
            wanted = known >= 0
            candidates = type(candidates)(*(values[wanted] for values in candidates))
            known = known[wanted]
        return suppress(candidates._replace(class_ids=known), self._overlap, self._limit)


def in_picture(found: Candidates, placement: Placement, size: Tuple[int, int], stamp_ns: int) -> Detections:
    """Boxes of a network's input as detections in the picture of that (height, width), clipped to it."""
    height, width = size
    boxes = (found.boxes - np.tile(placement.offset, 2)) / np.tile(placement.scale, 2)
    boxes = np.clip(boxes, 0, (width, height, width, height)).astype(np.float32)
    detections = Detections(
        stamp_ns, boxes, found.scores.astype(np.float32, copy=False), found.class_ids.astype(np.int32, copy=False)
    )
    seen = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    return detections if seen.all() else detections.select(seen)
