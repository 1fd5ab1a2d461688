"""What is known of one frame, and where its points lie as seen from the vehicle and from its camera."""

import math
from dataclasses import dataclass
from typing import Optional

import cv2
import numpy as np

from l4edge_perception.types import (
    OBJECT_CLASSES,
    CameraModel,
    ControlCommand,
    Detections,
    EgoState,
    GroundTruth,
    Route,
    Tracks,
    Trajectory,
)

NEAREST_DEPTH = 0.5
"""Metres in front of the camera; what lies nearer cannot be projected in a stable way."""


@dataclass(frozen=True)
class Scene:
    """All that is known of one frame; None where the run has no such result.

    Attributes:
        seconds: since the first frame.
        index: of the frame in the recording, from 0.
        ego: at the stamp of the frame.
        latency_ms, budget_ms: of the whole chain; latency None where the frame gave no command.
    """

    index: int
    seconds: float
    detections: Optional[Detections] = None
    tracks: Optional[Tracks] = None
    ground_truth: Optional[GroundTruth] = None
    trajectory: Optional[Trajectory] = None
    command: Optional[ControlCommand] = None
    ego: Optional[EgoState] = None
    camera: Optional[CameraModel] = None
    route: Optional[Route] = None
    latency_ms: Optional[float] = None
    budget_ms: float = math.inf


def class_name(class_id: int) -> str:
    """The word for a class id."""
    return OBJECT_CLASSES[class_id] if 0 <= class_id < len(OBJECT_CLASSES) else "unknown"


def dense(positions: np.ndarray, step: float = 0.5) -> np.ndarray:
    """Points along a polyline (T, 2) at most ``step`` metres apart; fewer than 2 points where it has no length."""
    lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(positions, axis=0), axis=1))])
    rising = np.concatenate([[True], np.diff(lengths) > 1e-6])[: len(positions)]
    positions, lengths = positions[rising], lengths[: len(rising)][rising]
    if len(positions) < 2 or not np.isfinite(lengths[-1]):
        return positions[:0]
    at = np.linspace(0, lengths[-1], 1 + math.ceil(min(lengths[-1], 500.0) / step))
    return np.stack([np.interp(at, lengths, positions[:, axis]) for axis in (0, 1)], axis=1)


def to_base(positions: np.ndarray, ego: EgoState) -> np.ndarray:
    """Points (N, 2) of the ``map`` frame as seen from ``base_link``."""
    cosine, sine = math.cos(ego.yaw), math.sin(ego.yaw)
    return (positions - (ego.x, ego.y)) @ np.array([[cosine, -sine], [sine, cosine]])


def project(ground: np.ndarray, camera: CameraModel) -> np.ndarray:
    """Points on the ground (N, 2), ``base_link``, to pixels (N, 2); NaN where not in front of the camera."""
    points = np.column_stack([ground, np.zeros(len(ground)), np.ones(len(ground))]) @ camera.camera_from_base.T
    visible = points[:, 2] > NEAREST_DEPTH
    pixels = np.full((len(ground), 2), np.nan)
    if visible.any():
        lens = camera.distortion if len(camera.distortion) else None
        still = np.zeros(3)
        projected, _ = cv2.projectPoints(points[visible, :3], still, still, camera.intrinsics, lens)
        pixels[visible] = projected.reshape(-1, 2)
    return pixels
