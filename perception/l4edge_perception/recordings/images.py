"""Camera images as files, messages and pixels."""

from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple

import cv2
import numpy as np

from l4edge_perception.recordings.messages import make, make_header
from l4edge_perception.recordings.topics import CAMERA_FRAME

_TO_RGB: Dict[str, Tuple[int, Optional[int]]] = {
    "rgb8": (3, None),
    "bgr8": (3, cv2.COLOR_BGR2RGB),
    "mono8": (1, cv2.COLOR_GRAY2RGB),
    "rgba8": (4, cv2.COLOR_RGBA2RGB),
    "bgra8": (4, cv2.COLOR_BGRA2RGB),
}
"""Encoding of ``sensor_msgs/Image``: (bytes of a pixel, how OpenCV makes RGB of it)."""


class FrameError(Exception):
    """One image cannot be used; the drive goes on without it."""


@dataclass(frozen=True)
class Image:
    """One image as it was recorded.

    Attributes:
        encoding: ``compressed`` (JPEG, PNG and whatever else OpenCV reads), or that of ``sensor_msgs/Image``.
        data: (bytes,) uint8 of the file, or (height, width, channels) uint8 pixels, possibly a view with longer rows.
    """

    encoding: str
    data: np.ndarray

    def decode(self) -> np.ndarray:
        """The pixels: (height, width, 3) uint8, RGB.

        Raises:
            FrameError: the bytes are no image.
        """
        pixels = self.open()
        rgb = np.empty(pixels.shape, np.uint8)
        pixels.write_rgb(rgb)
        return rgb

    def open(self) -> "Pixels":
        """The image's size, and its pixels on their way to RGB.

        Raises:
            FrameError: the bytes are no image.
        """
        if self.encoding == "compressed":
            return Pixels(self._decompressed(), "bgr8")
        return Pixels(self.data, self.encoding)

    def _decompressed(self) -> np.ndarray:
        try:
            pixels = cv2.imdecode(self.data, cv2.IMREAD_COLOR) if len(self.data) else None
        except cv2.error:
            pixels = None
        if pixels is None:
            raise FrameError(f"{len(self.data)} bytes that are no readable image")
        return pixels


class Pixels:
    """An image that has been decompressed and is still in the order of colours of its source.

    Attributes:
        shape: (height, width, 3), of what :meth:`write_rgb` writes.
    """

    def __init__(self, data: np.ndarray, encoding: str):
        self.shape = (data.shape[0], data.shape[1], 3)
        self._data = data
        self._conversion = _TO_RGB[encoding][1]

    def write_rgb(self, target: np.ndarray) -> None:
        """Write the pixels into ``target``, uint8 of :attr:`shape`, contiguous."""
        # Given a target that does not fit, OpenCV would leave it alone and allocate.
        if target.dtype != np.uint8 or not target.flags.c_contiguous or target.shape != self.shape:
            raise ValueError(f"the target must be contiguous, of type uint8 and of shape {self.shape}")
        if self._conversion is None:
            np.copyto(target, self._data)
        else:
            cv2.cvtColor(self._data, self._conversion, dst=target)


def encode(rgb: np.ndarray, encoding: str = "jpeg", quality: int = 90) -> bytes:
    """The image file of ``rgb`` (height, width, 3) uint8.

    Args:
        rgb: the pixels.
        encoding: ``jpeg``, or ``png`` for no loss.
        quality: of JPEG, 1..100.
    """
    # Strong compression of PNG costs much time and saves little on camera images.
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality] if encoding == "jpeg" else [cv2.IMWRITE_PNG_COMPRESSION, 1]
    _, content = cv2.imencode("." + encoding, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), settings)
    return content.tobytes()


def to_image_message(rgb: np.ndarray, stamp_ns: int, frame_id: str = CAMERA_FRAME) -> Any:
    """A ``sensor_msgs/Image`` of ``rgb`` (height, width, 3) uint8."""
    height, width = rgb.shape[:2]
    return make(
        "sensor_msgs/msg/Image",
        header=make_header(stamp_ns, frame_id),
        height=height,
        width=width,
        encoding="rgb8",
        is_bigendian=0,
        step=3 * width,
        data=np.ascontiguousarray(rgb).reshape(-1),
    )


def to_compressed_message(content: bytes, encoding: str, stamp_ns: int, frame_id: str = CAMERA_FRAME) -> Any:
    """A ``sensor_msgs/CompressedImage`` of an image file's bytes; ``encoding`` is ``jpeg`` or ``png``."""
    return make(
        "sensor_msgs/msg/CompressedImage",
        header=make_header(stamp_ns, frame_id),
        format=encoding,
        data=np.frombuffer(content, np.uint8),
    )


def from_image_message(message: Any) -> Image:
    """The image of a ``sensor_msgs/Image`` or ``sensor_msgs/CompressedImage``, without a copy.

    Raises:
        FrameError: the image is empty, its fields contradict each other, or its encoding is not read.
    """
    data = np.frombuffer(message.data, np.uint8)
    if not hasattr(message, "encoding"):
        if not len(data):
            raise FrameError("an image of 0 bytes")
        return Image("compressed", data)
    height, width, step = int(message.height), int(message.width), int(message.step)
    if not height or not width:
        raise FrameError(f"an image of {width} x {height} pixels")
    if message.encoding not in _TO_RGB:
        raise FrameError("encoding {!r}; readable are {}".format(message.encoding, ", ".join(sorted(_TO_RGB))))
    if message.is_bigendian and message.encoding != "mono8":
        raise FrameError("big-endian pixels")
    channels = _TO_RGB[message.encoding][0]
    if step < width * channels or len(data) < step * (height - 1) + width * channels:
        raise FrameError(f"{len(data)} bytes for {height} rows of {step} bytes, {width} pixels each")
    pixels = np.lib.stride_tricks.as_strided(data, (height, width, channels), (step, channels, 1), writeable=False)
    return Image(message.encoding, pixels)
