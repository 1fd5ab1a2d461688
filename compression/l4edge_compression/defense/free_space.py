"""Cells in which an object of an assumed size would be detected or alerted, whatever one patch shows.

A cell is certified for a patch position when some mask that erases the patch leaves enough of the assumed object
in view. What the detector then sees of the object is not the patch's doing. Whether it sees it, is the detector's own
recall for objects of which a part is erased: that is measured (docs/objects_certification.md), not proved.
"""

from dataclasses import dataclass
from typing import Optional, Tuple

import cv2
import numpy as np

from l4edge_compression.defense.positions import Masks
from l4edge_perception.errors import InputError
from l4edge_perception.types import CameraModel

NEAREST_M = 0.5
"""In front of the camera; what is nearer has no usable picture."""

SEEN_SHARE = 0.7
"""Of the assumed object's box that must lie inside the picture for its cell to be in sight."""


@dataclass(frozen=True)
class Cells:
    """C cells, row by row.

    Attributes:
        shape: (rows, columns).
        boxes: (C, 4) float64, of the assumed object, pixels of the picture and inside it.
        in_sight: (C,) bool, whether enough of it lies in the picture.
        places: (C, 2) float64, forward and left of ``base_link`` in metres; None for cells of the picture.
    """

    shape: Tuple[int, int]
    boxes: np.ndarray
    in_sight: np.ndarray
    places: Optional[np.ndarray] = None

    def grid(self, values: np.ndarray) -> np.ndarray:
        """(C, ...) values as (rows, columns, ...)."""
        return np.asarray(values).reshape(*self.shape, *np.shape(values)[1:])


def ground_cells(
    camera: CameraModel, forward: np.ndarray, left: np.ndarray, width: float = 0.5, height: float = 1.5
) -> Cells:
    """An upright object of that width and height, metres, at every place of a grid on the ground.

    Args:
        camera: on the vehicle.
        forward: (rows,) metres ahead of ``base_link``.
        left: (columns,) metres to its left.
        width, height: of the smallest object that is to be found; what is larger hides less behind a patch.

    Raises:
        InputError: a size is not above 0.
    """
    if width <= 0 or height <= 0:
        raise InputError(f"free space: an object of {width} x {height} m; both must be above 0")
    x, y = (values.ravel() for values in np.meshgrid(forward, left, indexing="ij"))
    sides = [(side * width / 2, top) for side in (-1, 1) for top in (0.0, height)]
    corners = np.stack([np.stack([x, y + side, np.full(len(x), top)], axis=1) for side, top in sides], axis=1)
    seen = corners @ camera.camera_from_base[:3, :3].T + camera.camera_from_base[:3, 3]
    ahead = seen[:, :, 2].min(axis=1) > NEAREST_M
    # A place behind the camera has no picture; it is moved ahead to be computed and then left out.
    seen[~ahead] = [0.0, 0.0, 1.0]
    pixels = cv2.projectPoints(
        seen.reshape(-1, 1, 3), np.zeros(3), np.zeros(3), camera.intrinsics, _distortion(camera)
    )[0].reshape(-1, 4, 2)
    boxes = np.concatenate([pixels.min(axis=1), pixels.max(axis=1)], axis=1)
    inside = _inside(boxes, (camera.height, camera.width))
    enough = _areas(inside) >= SEEN_SHARE * _areas(boxes)
    return Cells((len(forward), len(left)), inside, ahead & enough & (_areas(inside) > 0), np.stack([x, y], axis=1))


def image_cells(picture: Tuple[int, int], rows: int, columns: int) -> Cells:
    """Equal cells of a picture of a (height, width), each filled by its assumed object; needs no camera model.

    Raises:
        InputError: no cell, or more than there are pixels.
    """
    if not (0 < rows <= picture[0] and 0 < columns <= picture[1]):
        raise InputError(f"free space: {rows} x {columns} cells in a picture of {picture[0]} x {picture[1]} pixels")
    y, x = (np.linspace(0, size, count + 1) for size, count in zip(picture, (rows, columns)))
    top, start = (values.ravel() for values in np.meshgrid(y[:-1], x[:-1], indexing="ij"))
    bottom, end = (values.ravel() for values in np.meshgrid(y[1:], x[1:], indexing="ij"))
    boxes = np.stack([start, top, end, bottom], axis=1)
    return Cells((rows, columns), boxes, np.ones(len(boxes), bool))


def visible_shares(boxes: np.ndarray, masks: Masks) -> np.ndarray:
    """(N, M) share of each of N boxes (pixels of the network's input) that each of M masks leaves in view."""
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    starts = np.maximum(boxes[:, None, :2], masks.windows[None, :, :2])
    ends = np.minimum(boxes[:, None, 2:], masks.windows[None, :, 2:])
    erased = np.maximum(ends - starts, 0.0).prod(axis=2)
    return 1.0 - erased / np.maximum(_areas(boxes)[:, None], 1e-9)


def _distortion(camera: CameraModel) -> np.ndarray:
    return camera.distortion if len(camera.distortion) else np.zeros(4)


def _inside(boxes: np.ndarray, picture: Tuple[int, int]) -> np.ndarray:
    height, width = picture
    return np.clip(boxes, 0, (width, height, width, height))


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
