"""Flat pictures stuck onto objects: drawn into the clean image, so that the camera's noise comes on top of them."""

from dataclasses import dataclass

import cv2
import numpy as np

from l4edge_simulation.appearance import Look

SUPERSAMPLING = 4  # a sticker far away is smaller than its texture's details
NEAREST_M = 0.5


@dataclass(frozen=True)
class Sticker:
    """A rectangle of printed foil on one side of an object.

    Attributes:
        item: index into ``Scene.items`` of what it sticks to.
        texture: (h, w, 3) uint8 red green blue, as printed.
        centre: of the rectangle in the object's frame (x forward, y left, z up), metres.
        width, height: metres, across and up.
        facing: 1 for the object's front (signs face their readers), -1 for its rear.
    """

    item: int
    texture: np.ndarray
    centre: tuple[float, float, float]
    width: float
    height: float
    facing: int = 1

    def corners(self) -> np.ndarray:
        """(4, 3) in the object's frame, clockwise as seen by its reader, beginning at the texture's first pixel."""
        across = np.array([0.0, 0.5 * self.facing * self.width, 0.0])  # to the reader's right
        up = np.array([0.0, 0.0, 0.5 * self.height])
        return np.array(self.centre) + np.array([up - across, up + across, across - up, -up - across])

    def lit(self, look: Look, yaw: float) -> np.ndarray:
        """(3,) share of its colours that the light of a look brings out when the object points to ``yaw``."""
        normal = self.facing * np.array([np.cos(yaw), np.sin(yaw), 0.0])
        towards_sun = max(0.0, float(-normal @ np.array(look.sun_direction)))
        return np.clip(np.array(look.ambient) + towards_sun * np.array(look.sun), 0.0, 1.0)


def project(points: np.ndarray, x: float, y: float, yaw: float, camera: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """(N, 3) points of an object at a pose to (N, 3): pixels x and y, and the depth in metres.

    Args:
        camera: its (3, 3) intrinsics and its (4, 4) pose ``map_from_camera``.
    """
    turn = np.array([[np.cos(yaw), -np.sin(yaw), 0.0], [np.sin(yaw), np.cos(yaw), 0.0], [0.0, 0.0, 1.0]])
    intrinsics, pose = camera
    seen = (points @ turn.T + [x, y, 0.0] - pose[:3, 3]) @ pose[:3, :3]
    depth = np.maximum(seen[:, 2:], 1e-6)
    return np.column_stack([(seen / depth @ intrinsics.T)[:, :2], seen[:, 2]])


def stick(
    image: np.ndarray, mask: np.ndarray, corners: np.ndarray, texture: np.ndarray, light: np.ndarray
) -> np.ndarray:
    """An image with a sticker drawn into it, anti-aliased; the image itself where none of it is to be seen.

    Args:
        image: (H, W, 3) uint8, without camera noise.
        mask: (H, W) bool, where the object that it sticks to is visible.
        corners: (4, 3) of :func:`project`.
        texture: (h, w, 3) uint8. light: (3,) factors of its colours.
    """
    if corners[:, 2].min() < NEAREST_M:
        return image
    height, width = image.shape[:2]
    low = np.clip(np.floor(corners[:, :2].min(0)).astype(int) - 1, 0, [width, height])
    high = np.clip(np.ceil(corners[:, :2].max(0)).astype(int) + 1, 0, [width, height])
    if (high <= low).any():
        return image
    print_, coverage = warp(texture, (corners[:, :2] - low).astype(np.float32), tuple(high - low))
    window = (slice(low[1], high[1]), slice(low[0], high[0]))
    coverage = coverage * mask[window]
    drawn = image.copy()
    below = image[window].astype(np.float32)
    mixed = below + coverage[..., None] * (print_ * light.astype(np.float32) - below)
    drawn[window] = np.clip(np.round(mixed), 0, 255).astype(np.uint8)
    return drawn


def warp(texture: np.ndarray, corners: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A texture in perspective: its (H, W, 3) float32 colours and the (H, W) float32 share of each pixel it covers.

    Args:
        corners: (4, 2) float32, pixels of the result. size: (W, H) of the result.
    """
    columns, rows = size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING
    # More details than the supersampled result can show would flicker.
    edges = np.linalg.norm(corners - np.roll(corners, -1, axis=0), axis=1) * SUPERSAMPLING
    wide = int(np.clip(np.ceil(max(edges[0], edges[2])), 1, texture.shape[1]))
    tall = int(np.clip(np.ceil(max(edges[1], edges[3])), 1, texture.shape[0]))
    small = cv2.resize(texture, (wide, tall), interpolation=cv2.INTER_AREA).astype(np.float32)
    frame = np.array([[0, 0], [wide, 0], [wide, tall], [0, tall]], np.float32)
    # OpenCV counts from the middle of the first pixel, this project from its corner.
    matrix = _shifted(-0.5) @ cv2.getPerspectiveTransform(frame, corners * SUPERSAMPLING) @ _shifted(0.5)
    colours = cv2.warpPerspective(small, matrix, (columns, rows), borderMode=cv2.BORDER_REPLICATE)
    # Which samples lie on the sticker: those whose nearest texel is one of its own.
    whole = np.ones((tall, wide), np.float32)
    weight = cv2.warpPerspective(whole, matrix, (columns, rows), flags=cv2.INTER_NEAREST)
    coverage = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    summed = cv2.resize(colours * weight[..., None], size, interpolation=cv2.INTER_AREA)
    return summed / np.maximum(coverage, 1e-6)[..., None], coverage


def _shifted(by: float) -> np.ndarray:
    return np.array([[1.0, 0.0, by], [0.0, 1.0, by], [0.0, 0.0, 1.0]])
