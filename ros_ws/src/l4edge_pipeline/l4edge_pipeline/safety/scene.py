"""What the monitor is given of a frame, and when that is fit to be looked at."""

from dataclasses import dataclass
from typing import Optional, Tuple

import numpy as np

from l4edge_perception.types import CameraModel, Detections, Tracks


@dataclass(frozen=True)
class Scene:
    """One frame and what the pipeline knows of it.

    Attributes:
        stamp_ns: of the image.
        arrived_ns: when it arrived, on the monitor's clock.
        pixels: (H, W, 3) uint8 RGB, or None where they cannot be had.
        detections: of this very frame, or None where they did not come in time.
        tracks: the newest there are, to name objects.
        camera: model, or None while unknown.
    """

    stamp_ns: int
    arrived_ns: int
    pixels: Optional[np.ndarray]
    detections: Optional[Detections]
    tracks: Optional[Tracks] = None
    camera: Optional[CameraModel] = None


class Unfit(Exception):  # noqa: N818 (a finding, not a fault of the program)
    """Nothing can be certified of this frame; the message is the reason."""


def usable(scene: Scene) -> Tuple[np.ndarray, Detections]:
    """What can be looked at. Raises Unfit with the reason why it cannot."""
    pixels, detections, camera = scene.pixels, scene.detections, scene.camera
    if pixels is None or detections is None or detections.stamp_ns != scene.stamp_ns:
        raise Unfit("input")
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or 0 in pixels.shape:
        raise Unfit("size")
    if camera is not None:
        if pixels.shape[:2] != (camera.height, camera.width):
            raise Unfit("size")
        if not (np.isfinite(camera.intrinsics).all() and np.isfinite(camera.camera_from_base).all()):
            raise Unfit("input")
    numbers = (detections.boxes, detections.scores, detections.meanings)
    if not all(np.isfinite(values).all() for values in numbers):
        raise Unfit("input")
    return pixels, detections
