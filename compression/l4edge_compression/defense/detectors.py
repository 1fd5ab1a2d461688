"""Detectors that can look at the same picture again with a part of it erased.

Everything that :mod:`.objects` guarantees begins at the tensor that is erased here: the input of the network. What
spreads a patch before that (resizing, the lens, a lossy codec) has to be added to the patch's size;
:func:`patch_in_input` does so for the resizing.
"""

import math
from typing import Callable, Optional, Sequence, Tuple

import numpy as np

from l4edge_compression.defense.verdicts import Window
from l4edge_perception.camera.decoders import Candidates
from l4edge_perception.camera.detector import Detector
from l4edge_perception.camera.preprocessing import Placement
from l4edge_perception.errors import InputError
from l4edge_perception.types import Detections


class View:
    """One picture as a network's input, to be looked at whole or with a window of it erased.

    Attributes:
        size: (height, width) of the network's input.
        region: where the picture itself lies in the input; the rest is padding, which nobody can put a patch on.
        picture: (height, width) of the picture.
    """

    def __init__(
        self, size: Tuple[int, int], picture: Tuple[int, int], placement: Placement, look: Callable[..., Candidates]
    ) -> None:
        self.size = size
        self.picture = picture
        self._scale = np.tile(np.asarray(placement.scale, np.float64), 2)
        self._offset = np.tile(np.asarray(placement.offset, np.float64), 2)
        corners = np.array([0, 0, picture[1], picture[0]]) * self._scale + self._offset
        self.region: Window = (
            math.floor(corners[0] + 1e-6),
            math.floor(corners[1] + 1e-6),
            math.ceil(corners[2] - 1e-6),
            math.ceil(corners[3] - 1e-6),
        )
        self._look = look

    def look(self, erased: Optional[Window] = None) -> Candidates:
        """Objects in sight, boxes in pixels of the network's input and inside the picture, best first."""
        found = self._look(erased)
        x_min, y_min, x_max, y_max = self.region
        boxes = np.clip(found.boxes, (x_min, y_min, x_min, y_min), (x_max, y_max, x_max, y_max))
        seen = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        return Candidates(boxes[seen], found.scores[seen], found.class_ids[seen])

    def to_input(self, boxes: np.ndarray) -> np.ndarray:
        """(N, 4) boxes of the picture in pixels of the network's input, float64."""
        return np.asarray(boxes, np.float64).reshape(-1, 4) * self._scale + self._offset

    def to_picture(self, boxes: np.ndarray) -> np.ndarray:
        """(N, 4) boxes of the network's input in pixels of the picture and inside it, float32."""
        moved = (np.asarray(boxes, np.float64).reshape(-1, 4) - self._offset) / self._scale
        height, width = self.picture
        return np.clip(moved, 0, (width, height, width, height)).astype(np.float32)


class MaskedDetector:
    """A detector package whose input can be erased in part. Not to be used by two threads at once.

    Args:
        detector: the package, ready.
        fill: red, green, blue of an erased half plane, 0 to 255. Black by default: what detectors know from the bars of
            letterboxed pictures. Windows inside the picture are not filled but continued from their surroundings, see
            :func:`continued`: this project's detector takes a black rectangle for a truck.
    """

    def __init__(self, detector: Detector, fill: Sequence[int] = (0, 0, 0)) -> None:
        if len(fill) != 3 or not all(0 <= int(value) <= 255 for value in fill):
            raise InputError(f"fill {tuple(fill)}: must be red, green, blue from 0 to 255")
        self._detector = detector
        self._colour = np.array(fill, np.uint8)
        self._rows_first = detector.session.package.input.layout == "NHWC"
        self._picture = (0, 0)
        self._blank = np.zeros(0)
        self._work = np.zeros(0)

    def view(self, pixels: np.ndarray) -> View:
        """A (H, W, 3) uint8 RGB picture, ready to be looked at; it stays valid when the next one is made.

        Raises:
            InputError: the picture is empty or of another type.
        """
        tensor, placement = self._detector.prepare(pixels)
        tensor = tensor.copy()
        if pixels.shape[:2] != self._picture:
            # An erased pixel is what a picture of one colour gives there, whatever the package does to its input.
            self._picture = pixels.shape[:2]
            self._blank = self._detector.prepare(np.broadcast_to(self._colour, pixels.shape).copy())[0].copy()
        blank = self._blank
        size = (tensor.shape[1], tensor.shape[2]) if self._rows_first else (tensor.shape[2], tensor.shape[3])

        def look(erased: Optional[Window]) -> Candidates:
            if erased is None:
                return self._detector.find(tensor)
            if self._work.shape != tensor.shape:
                self._work = np.empty_like(tensor)
            np.copyto(self._work, tensor)
            columns, rows = slice(erased[0], erased[2]), slice(erased[1], erased[3])
            place = (slice(None), rows, columns) if self._rows_first else (slice(None), slice(None), rows, columns)
            x_min, y_min, x_max, y_max = view.region
            if erased[2] - erased[0] == x_max - x_min or erased[3] - erased[1] == y_max - y_min:
                self._work[place] = blank[place]
            else:
                picture = tensor[0] if self._rows_first else tensor[0].transpose(1, 2, 0)
                filled = continued(picture, erased, view.region)
                self._work[place] = filled if self._rows_first else filled.transpose(2, 0, 1)
            return self._detector.find(self._work)

        view = View(size, pixels.shape[:2], placement, look)
        return view


class PictureDetector:
    """Any function from a (H, W, 3) uint8 picture to detections; its input is the picture itself."""

    def __init__(self, detect: Callable[[np.ndarray], Detections], fill: Sequence[int] = (0, 0, 0)) -> None:
        self._detect = detect
        self._colour = np.array(fill, np.uint8)

    def view(self, pixels: np.ndarray) -> View:
        """See :meth:`MaskedDetector.view`."""
        kept = pixels.copy()

        def look(erased: Optional[Window]) -> Candidates:
            seen = kept
            if erased is not None:
                seen = kept.copy()
                seen[erased[1] : erased[3], erased[0] : erased[2]] = self._colour
            found = self._detect(seen)
            return Candidates(found.boxes, found.scores, found.class_ids)

        return View(kept.shape[:2], kept.shape[:2], Placement((1.0, 1.0), (0.0, 0.0)), look)


def continued(picture: np.ndarray, window: Window, region: Window) -> np.ndarray:
    """A window's content as its surroundings have it: the four pixels beside it, weighted by the square of nearness.

    Nothing inside the window is read, so a patch that lies inside has no say.

    Args:
        picture: (H, W, C).
        window: smaller than the region on both axes.
        region: of the picture; what lies outside is padding and not continued.

    Returns:
        (h, w, C) of the picture's type.
    """
    x_min, y_min, x_max, y_max = window
    height, width = y_max - y_min, x_max - x_min
    across, down = np.arange(width, dtype=np.float32) + 1, np.arange(height, dtype=np.float32)[:, None] + 1
    total, weights = np.zeros((height, width, picture.shape[2]), np.float32), np.zeros((height, width, 1), np.float32)
    sides = (
        (x_min > region[0], picture[y_min:y_max, x_min - 1 : x_min], across[None]),
        (x_max < region[2], picture[y_min:y_max, x_max : x_max + 1], (width + 1 - across)[None]),
        (y_min > region[1], picture[y_min - 1 : y_min, x_min:x_max], down),
        (y_max < region[3], picture[y_max : y_max + 1, x_min:x_max], height + 1 - down),
    )
    for there, line, distance in sides:
        if there:
            nearness = (1 / distance**2)[:, :, None]
            total += nearness * line
            weights += nearness
    filled = total / weights
    return (np.rint(filled) if picture.dtype == np.uint8 else filled).astype(picture.dtype)


def patch_in_input(patch: int, placement: Placement) -> int:
    """How many pixels of the network's input a patch of that many picture pixels touches at most, per axis.

    Bilinear resizing reads two neighbours along an axis: an input pixel at u (in picture pixels) is touched when
    floor(u) is the patch's first pixel less one, or any of its pixels; u moves by 1 / scale from one input pixel to
    the next. Without resizing nothing spreads.
    """
    return max(patch if scale == 1 else math.ceil((patch + 1) * scale - 1e-9) for scale in placement.scale)
