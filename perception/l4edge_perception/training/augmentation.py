"""Changes to a labelled image that leave its labels true: place, size, side, light and the camera's faults."""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from l4edge_perception.camera.preprocessing import Placement, place
from l4edge_perception.types import GroundTruth


@dataclass(frozen=True)
class AugmentationConfig:
    """How strongly and how often images are changed. All shares are probabilities, 0..1.

    Attributes:
        flip: mirror left and right. Mirrored symbols on signs do no harm: every sign has the one class "sign".
        zoom: share of images that are scaled and moved. zoom_range: smallest and largest scale.
        colour: share with changed gain, gamma and saturation.
        fault: share, each for itself, of blur, noise and JPEG artefacts.
        smallest_side: objects that end up with a shorter side in pixels are ignored regions.
        smallest_part: so are objects of which a smaller share stays in the picture.
    """

    flip: float = 0.5
    zoom: float = 0.6
    zoom_range: tuple[float, float] = (0.65, 1.6)
    colour: float = 0.8
    fault: float = 0.1
    smallest_side: float = 3.0
    smallest_part: float = 0.35


@dataclass(frozen=True)
class Labels:
    """Objects of one training image. M objects.

    Attributes:
        boxes: (M, 4) float32, pixels. class_ids: (M,) int64. ignore: (M,) bool.
    """

    boxes: np.ndarray
    class_ids: np.ndarray
    ignore: np.ndarray

    @staticmethod
    def of(truth: GroundTruth) -> "Labels":
        """The labels that a detector learns from."""
        return Labels(truth.boxes.astype(np.float32), truth.class_ids.astype(np.int64), truth.ignore.astype(bool))


def augment(
    pixels: np.ndarray,
    labels: Labels,
    canvas: tuple[int, int],
    generator: np.random.Generator,
    config: AugmentationConfig,
) -> tuple[np.ndarray, Labels]:
    """A changed copy of an image, placed on a canvas that is black where the image does not reach.

    Args:
        pixels: (H, W, 3) uint8.
        labels: its objects.
        canvas: height and width of the result, in which the image is letterboxed.
        generator: the only source of chance.
        config: how strongly.
    """
    size = pixels.shape[:2]
    whole = place(size, canvas, "letterbox")
    window = Window(*whole.offset, size[1] * whole.scale[0], size[0] * whole.scale[1])
    matrix = _placement(whole, window, generator, config)
    result = cv2.warpAffine(pixels, matrix, (canvas[1], canvas[0]), flags=cv2.INTER_LINEAR)
    labels = _moved(labels, matrix, window, config)
    if generator.random() < config.colour:
        result = _recolour(result, generator)
    result = _spoil(result, generator, config.fault)
    # The bars beside a letterboxed picture are black when the network drives: no zoom and no colour may fill them.
    left, top, right, bottom = (int(value) for value in window.corners)
    for bar in (result[:top], result[bottom:], result[:, :left], result[:, right:]):
        bar[:] = 0
    return result, labels


class Window(NamedTuple):
    """The part of the canvas that a picture fills, pixels."""

    left: float
    top: float
    width: float
    height: float

    @property
    def corners(self) -> tuple[float, float, float, float]:
        """left, top, right, bottom."""
        return self.left, self.top, self.left + self.width, self.top + self.height


def _placement(
    whole: Placement, window: Window, generator: np.random.Generator, config: AugmentationConfig
) -> np.ndarray:
    """(2, 3) affine from picture to canvas: scale, a move that keeps the window filled or the picture whole, side."""
    zoom, move = 1.0, np.zeros(2)
    if generator.random() < config.zoom:
        zoom = float(np.exp(generator.uniform(*np.log(config.zoom_range))))
        move = generator.uniform(size=2) * (window.width, window.height) * (1 - zoom)
    scale = np.multiply(whole.scale, zoom)
    # OpenCV counts from pixel centres, labels from the outer corner: half a pixel lies between the two.
    offset = whole.offset + move + (scale - 1) / 2
    matrix = np.array([[scale[0], 0, offset[0]], [0, scale[1], offset[1]]])
    if generator.random() < config.flip:
        matrix[0] = -matrix[0]
        matrix[0, 2] += 2 * window.left + window.width - 1
    return matrix


def _moved(labels: Labels, matrix: np.ndarray, window: Window, config: AugmentationConfig) -> Labels:
    corners = labels.boxes.reshape(-1, 2, 2) - 0.5
    corners = corners @ matrix[:, :2].T + matrix[:, 2] + 0.5
    low, high = corners.min(axis=1), corners.max(axis=1)
    return _clipped(low, high, labels, window.corners, config)


def _clipped(
    low: np.ndarray,
    high: np.ndarray,
    labels: Labels,
    corners: tuple[float, float, float, float],
    config: AugmentationConfig,
) -> Labels:
    """Labels for boxes between (M, 2) corners, cut off at left, top, right and bottom."""
    whole = (high - low).prod(axis=1)
    low, high = np.maximum(low, corners[:2]), np.minimum(high, corners[2:])
    sides = np.maximum(high - low, 0)
    present = sides.min(axis=1) > 0
    part = sides.prod(axis=1) / np.maximum(whole, 1e-9)
    ignore = labels.ignore | (part < config.smallest_part) | (sides.min(axis=1) < config.smallest_side)
    boxes = np.concatenate([low, high], axis=1).astype(np.float32)
    return Labels(boxes[present], labels.class_ids[present], ignore[present])


def cut_band(
    pixels: np.ndarray, labels: Labels, height: int, generator: np.random.Generator, config: AugmentationConfig
) -> tuple[np.ndarray, Labels]:
    """A random band of ``height`` rows of an image, and its labels."""
    top = int(generator.integers(0, len(pixels) - height + 1))
    low, high = labels.boxes[:, :2] - (0, top), labels.boxes[:, 2:] - (0, top)
    return pixels[top : top + height], _clipped(low, high, labels, (0, 0, pixels.shape[1], height), config)


def _recolour(pixels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Gain per channel, contrast, brightness and gamma in one table; then less or more saturation."""
    levels = np.arange(256) / 255.0
    gamma = np.exp(generator.uniform(-0.35, 0.35))
    contrast, brightness = generator.uniform(0.7, 1.3), generator.uniform(-0.12, 0.12)
    gains = contrast * generator.uniform(0.9, 1.1, size=3)
    table = levels[:, None] ** gamma * gains + brightness
    pixels = cv2.LUT(pixels, np.clip(table * 255, 0, 255).astype(np.uint8).reshape(1, 256, 3))
    if generator.random() < 0.4:
        grey = cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        saturation = generator.uniform(0.2, 1.4)
        pixels = cv2.addWeighted(pixels, saturation, grey, 1 - saturation, 0)
    return pixels


def _spoil(pixels: np.ndarray, generator: np.random.Generator, share: float) -> np.ndarray:
    blur, noise, jpeg = generator.random(3) < share
    if blur:
        pixels = cv2.GaussianBlur(pixels, (0, 0), generator.uniform(0.4, 1.4))
    if noise:
        grain = generator.integers(-20, 21, size=pixels.shape, dtype=np.int8)
        pixels = cv2.add(pixels, (grain * generator.uniform(0.2, 1.0)).astype(np.int16), dtype=cv2.CV_8U)
    if jpeg:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(generator.integers(30, 90))]
        pixels = np.asarray(cv2.imdecode(cv2.imencode(".jpg", pixels, quality)[1], cv2.IMREAD_COLOR))
    return pixels
