"""A drive's frames with what the shipped detector sees in them, to be played to a monitor under test."""

from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Tuple

import numpy as np

from l4edge_perception.camera.classifier import SignClassifier
from l4edge_perception.camera.detector import Detector
from l4edge_perception.packages import load_package
from l4edge_perception.recordings.events import CameraEvent, FrameEvent
from l4edge_perception.recordings.reader import open_recording
from l4edge_perception.types import CameraModel, Detections
from l4edge_pipeline.resources import find_package

FRAMES = 40
"""Drawn evenly from the drive."""


@dataclass(frozen=True)
class Playlist:
    """What is played, over and over, with new stamps.

    Attributes:
        frames: (H, W, 3) uint8 RGB each. seen: detections of each.
        camera: of all frames, or None.
        rate_hz: of the frames.
    """

    frames: Tuple[np.ndarray, ...]
    seen: Tuple[Detections, ...]
    camera: Optional[CameraModel]
    rate_hz: float


def make_playlist(recording: Path, rate_hz: float) -> Playlist:
    """What the shipped detector and classifier see in a drive.

    Raises:
        InputError: the recording or a package cannot be read.
    """
    drive = open_recording(recording)
    step = max(1, drive.frame_count // FRAMES)
    detector = Detector(load_package(find_package("detector")))
    classifier = SignClassifier(load_package(find_package("sign_classifier")))
    frames: List[np.ndarray] = []
    seen: List[Detections] = []
    camera: Optional[CameraModel] = None
    for event in drive.events():
        if isinstance(event, CameraEvent):
            camera = event.camera
        elif isinstance(event, FrameEvent) and event.sequence % step == 0:
            pixels = event.decode()
            frames.append(pixels)
            seen.append(classifier.classify(pixels, detector.detect(pixels, event.stamp_ns)))
    return Playlist(tuple(frames), tuple(seen), camera, rate_hz)
