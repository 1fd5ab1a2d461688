"""A video or a folder of images as a recording."""

import re
from pathlib import Path
from typing import Iterator, List, Optional, Sequence, Tuple, Union

import cv2
import numpy as np

from l4edge_perception.errors import InputError
from l4edge_perception.recordings.events import (
    FIRST_STAMP_NS,
    Event,
    FrameEvent,
    Recording,
    RejectedEvent,
)
from l4edge_perception.recordings.images import FrameError, Image

VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".m4v", ".webm")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
ASSUMED_RATE_HZ = 10.0


def open_video(path: Path, rate_hz: Optional[float] = None) -> Recording:
    """Open a video file; see :func:`.reader.open_recording`."""
    capture = _capture(path)
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    rate = rate_hz or capture.get(cv2.CAP_PROP_FPS)
    readable, pixels = capture.read()
    if readable and count <= 0:  # a live recording without a table of contents
        count = 1
        while capture.grab():
            count += 1
    capture.release()
    if not readable:
        raise InputError(f"{path}: no frame of this video can be decoded")
    if not (np.isfinite(rate) and rate > 0):
        raise InputError(f"{path}: the video does not say its frame rate; give it with --rate")

    def read() -> Iterator[Event]:
        capture = _capture(path)
        try:
            sequence = 0
            while True:
                readable, pixels = capture.read()
                if not readable:
                    break
                yield FrameEvent(stamp_of_frame(sequence, rate), sequence, Image("bgr8", pixels))
                sequence += 1
        finally:
            capture.release()
        for missing in range(sequence, count):
            reason = f"the video breaks off after {sequence} of {count} frames"
            yield RejectedEvent(stamp_of_frame(missing, rate), str(path), missing, True, reason)

    height, width = pixels.shape[:2]
    return Recording(path, "video", width, height, count, rate, (count - 1) / rate, read)


def _capture(path: Path) -> cv2.VideoCapture:
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise InputError(f"{path}: not a readable video; it is damaged, cut off or of an unknown format")
    return capture


def open_images(path: Path, rate_hz: Optional[float] = None) -> Recording:
    """Open a folder of images, in the order of the numbers in their names; see :func:`.reader.open_recording`."""
    files = image_files(path)
    rate = rate_hz or ASSUMED_RATE_HZ
    stamps = [stamp_of_frame(sequence, rate) for sequence in range(len(files))]
    width, height = first_size(path, files)
    assumptions = () if rate_hz else (f"{rate:g} images a second",)

    def read() -> Iterator[Event]:
        for sequence, (file, stamp_ns) in enumerate(zip(files, stamps)):
            yield read_frame(file, stamp_ns, sequence)

    return Recording(
        path, "images", width, height, len(files), rate, (len(files) - 1) / rate, read, assumptions=assumptions
    )


def image_files(folder: Path) -> List[Path]:
    """The images of ``folder``, by the numbers in their names, then by name."""
    files = [entry for entry in folder.iterdir() if entry.suffix.lower() in IMAGE_SUFFIXES]
    return sorted(files, key=lambda entry: (_natural(entry.stem), entry.name))


def _natural(name: str) -> List[Tuple[int, Union[int, str]]]:
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", name) if part]


def read_frame(file: Path, stamp_ns: int, sequence: int) -> Event:
    """The frame of one image file, still encoded."""
    try:
        content = file.read_bytes()
    except OSError as error:
        return RejectedEvent(stamp_ns, str(file), sequence, True, str(error.strerror))
    return FrameEvent(stamp_ns, sequence, Image("compressed", np.frombuffer(content, np.uint8)))


def first_size(folder: Path, files: Sequence[Path]) -> Tuple[int, int]:
    """Width and height of the first image that can be decoded."""
    for file in files:
        try:
            height, width = Image("compressed", np.fromfile(str(file), np.uint8)).decode().shape[:2]
            return width, height
        except (FrameError, OSError):
            continue
    raise InputError(f"{folder}: none of its {len(files)} images can be decoded")


def stamp_of_frame(sequence: int, rate_hz: float) -> int:
    """Stamp of a frame of a recording without a clock, nanoseconds."""
    return FIRST_STAMP_NS + round(sequence * 1e9 / rate_hz)
