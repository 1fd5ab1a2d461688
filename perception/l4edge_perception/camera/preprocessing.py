"""From a camera picture to the tensor a network wants, in buffers that are allocated once."""

from typing import NamedTuple, Tuple

import cv2
import numpy as np

from l4edge_perception.errors import InputError
from l4edge_perception.packages import InputSpec


class Placement(NamedTuple):
    """Where a picture lies in a network's input: input = picture * scale + offset, in pixels, (x, y)."""

    scale: Tuple[float, float]
    offset: Tuple[float, float]


def place(picture: Tuple[int, int], target: Tuple[int, int], resize: str) -> Placement:
    """How a picture of a size (height, width) fits an input of another.

    ``stretch`` fills the input; ``letterbox`` keeps the aspect and centres. Letterboxed sizes and offsets are whole
    pixels, as the resized picture itself has to be.
    """
    scale_x, scale_y = target[1] / picture[1], target[0] / picture[0]
    if resize == "stretch":
        return Placement((scale_x, scale_y), (0.0, 0.0))
    scale = min(scale_x, scale_y)
    height, width = max(1, round(picture[0] * scale)), max(1, round(picture[1] * scale))
    offset = ((target[1] - width) // 2, (target[0] - height) // 2)
    return Placement((width / picture[1], height / picture[0]), (float(offset[0]), float(offset[1])))


class Preprocessor:
    """Turns pictures of one size after another into input tensors; the returned tensor is reused."""

    def __init__(self, spec: InputSpec) -> None:
        self.spec = spec
        self._picture_size = (0, 0)
        self._placement = Placement((1.0, 1.0), (0.0, 0.0))
        height, width = spec.size
        self._canvas = np.full((height, width, 3), spec.padding, np.uint8)
        self._window = self._canvas
        self._tensor = np.empty(spec.shape, np.dtype(spec.dtype))
        # (pixel * scale - mean) / std = pixel * gain + bias
        std = np.array(spec.std, np.float32)
        self._gain = np.float32(spec.scale) / std
        self._bias = -np.array(spec.mean, np.float32) / std
        self._plain = bool(np.all(self._gain == 1) and np.all(self._bias == 0))

    def __call__(self, pixels: np.ndarray) -> Tuple[np.ndarray, Placement]:
        """(H, W, 3) uint8 RGB to the tensor and the placement of the picture in it."""
        _check_picture(pixels)
        if pixels.shape[:2] != self._picture_size:
            self._prepare(pixels.shape[:2])
        image = pixels
        if pixels.shape[:2] != self._window.shape[:2]:
            # Bilinear also when shrinking: five times as fast as averaging, and what detectors are trained with.
            cv2.resize(pixels, self._window.shape[1::-1], dst=self._window, interpolation=cv2.INTER_LINEAR)
            image = self._canvas
        elif self._window is not self._canvas:
            self._window[:] = pixels
            image = self._canvas
        return self._to_tensor(image), self._placement

    def _prepare(self, size: Tuple[int, int]) -> None:
        self._picture_size = size
        self._placement = place(size, self.spec.size, self.spec.resize)
        (scale_x, scale_y), (left, top) = self._placement
        height, width = round(size[0] * scale_y), round(size[1] * scale_x)
        self._canvas[:] = self.spec.padding
        whole = (height, width) == self.spec.size
        self._window = (
            self._canvas if whole else self._canvas[int(top) : int(top) + height, int(left) : int(left) + width]
        )

    def _to_tensor(self, image: np.ndarray) -> np.ndarray:
        if self.spec.colour_order == "BGR":
            image = image[:, :, ::-1]
        if self.spec.layout == "NHWC" and self.spec.dtype == "uint8":
            return image[None]
        target = self._tensor[0].transpose(1, 2, 0) if self.spec.layout == "NCHW" else self._tensor[0]
        np.copyto(target, image, casting="unsafe")
        if not self._plain:
            target *= self._gain
            target += self._bias
        return self._tensor


def _check_picture(pixels: np.ndarray) -> None:
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        seen = "{} {}".format(getattr(pixels, "dtype", type(pixels).__name__), list(getattr(pixels, "shape", [])))
        raise InputError(f"camera picture: must be (height, width, 3) uint8 RGB, is {seen}")
    if pixels.size == 0:
        raise InputError(f"camera picture: is empty, {list(pixels.shape)}")
