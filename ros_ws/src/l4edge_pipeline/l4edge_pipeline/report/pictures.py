"""Draws what the pipeline saw, planned and commanded into the camera image."""

import math
from typing import List, Optional, Sequence, Tuple

import cv2
import numpy as np

from l4edge_perception.types import CameraModel, ControlCommand, EgoState, Tracks, Trajectory
from l4edge_pipeline.report import canvas
from l4edge_pipeline.report.birdseye import draw_birdseye
from l4edge_pipeline.report.canvas import Colour, Rectangle
from l4edge_pipeline.report.scene import Scene, class_name, dense, project, to_base

SMALLEST_WIDTH, LARGEST_WIDTH = 640, 960
"""Pixels; smaller images are enlarged, so that labels do not cover them, and larger ones reduced."""

STRIP_HEIGHT = 30
RIBBON_HALF_WIDTH = 0.9
"""Metres; about that of a car."""

TEAL, RED, AMBER, WHITE, GREY = (64, 224, 196), (255, 84, 84), (255, 190, 60), (255, 255, 255), (178, 184, 194)


def draw_scene(image: np.ndarray, scene: Scene, birdseye: bool) -> np.ndarray:
    """The annotated frame.

    Args:
        image: (height, width, 3) uint8, RGB; stays as it is.
        scene: what to draw.
        birdseye: add the view from above at the right; it stays empty while the vehicle's pose is unknown.

    Returns:
        (height + STRIP_HEIGHT, width, 3) uint8, RGB, scaled to a width within SMALLEST_WIDTH..LARGEST_WIDTH, and
        wider by the view from above.
    """
    scale = _scale(image.shape[1])
    picture = image.copy()
    if scale != 1:
        area = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        picture = cv2.resize(image, None, fx=scale, fy=scale, interpolation=area)
    if scene.trajectory is not None and scene.ego is not None and scene.camera is not None:
        _draw_ribbon(picture, scene.trajectory, scene.ego, scene.camera, scale)
    if scene.ground_truth is not None:
        for box in scene.ground_truth.boxes[~scene.ground_truth.ignore]:
            canvas.dashed_rectangle(picture, _corners(box, scale), WHITE)
    if scene.detections is not None:
        for box in scene.detections.boxes:
            cv2.rectangle(picture, *_corners(box, scale), GREY, 1)
    if scene.tracks is not None:
        _draw_tracks(picture, scene.tracks, scene.ego, scale)
    if birdseye:
        picture = np.hstack([picture, draw_birdseye(picture.shape[0], scene)])
    return np.vstack([picture, _strip(picture.shape[1], scene)])


def _scale(width: int) -> float:
    return min(max(width, SMALLEST_WIDTH), LARGEST_WIDTH) / width


def _corners(box: np.ndarray, scale: float) -> Tuple[Tuple[int, int], Tuple[int, int]]:
    # A track's box may reach far outside of the image; OpenCV draws garbage beyond 16 bits.
    x_min, y_min, x_max, y_max = (int(value) for value in np.clip(np.nan_to_num(box), -4096, 8192) * scale)
    return (x_min, y_min), (x_max, y_max)


def _draw_tracks(picture: np.ndarray, tracks: Tracks, ego: Optional[EgoState], scale: float) -> None:
    corners = [_corners(box, scale) for box in tracks.boxes]
    taken: List[Rectangle] = [(*low, *high) for low, high in corners]
    for track, (low, high) in enumerate(corners):
        colour = canvas.colour_of(int(tracks.ids[track]))
        # Two pixels would fill a box of a few pixels.
        thickness = 2 if min(high[0] - low[0], high[1] - low[1]) >= 16 else 1
        if tracks.unseen_s[track] > 0:
            canvas.dashed_rectangle(picture, (low, high), colour)
        else:
            cv2.rectangle(picture, low, high, colour, thickness)
    # Near objects first: where labels compete for room, theirs stay closest to their boxes.
    for track in np.argsort(-tracks.boxes[:, 3]):
        label = _label(tracks, int(track), ego)
        colour = canvas.colour_of(int(tracks.ids[track]))
        taken.append(canvas.tag(picture, label, corners[track], colour, taken))


def _label(tracks: Tracks, track: int, ego: Optional[EgoState]) -> str:
    words = [f"#{tracks.ids[track]}", class_name(int(tracks.class_ids[track]))]
    if ego is not None and np.isfinite(tracks.positions[track]).all():
        east, north = tracks.positions[track] - (ego.x, ego.y)
        words.append(f"{math.hypot(east, north):.0f} m")
    if np.isfinite(tracks.velocities[track]).all():
        words.append(f"{np.hypot(*tracks.velocities[track]):.0f} m/s")
    return " ".join(words)


def _draw_ribbon(picture: np.ndarray, trajectory: Trajectory, ego: EgoState, camera: CameraModel, scale: float) -> None:
    positions = dense(trajectory.positions)
    if len(positions) < 2:
        return
    along = np.gradient(positions, axis=0)
    lengths = np.linalg.norm(along, axis=1, keepdims=True)
    left = np.stack([-along[:, 1], along[:, 0]], axis=1) / np.maximum(lengths, 1e-9) * RIBBON_HALF_WIDTH
    edges = [project(to_base(positions + side, ego), camera) * scale for side in (left, -left)]
    overlay = picture.copy()
    for start in range(len(positions) - 1):
        corners = np.array([edges[0][start], edges[0][start + 1], edges[1][start + 1], edges[1][start]])
        if np.isfinite(corners).all() and np.abs(corners).max() < 16384:
            cv2.fillConvexPoly(overlay, corners.astype(np.int32), TEAL)
    cv2.addWeighted(overlay, 0.4, picture, 0.6, 0, dst=picture)


def _strip(width: int, scene: Scene) -> np.ndarray:
    """The line below the image: what the vehicle did with this frame, and how long that took."""
    strip = np.full((STRIP_HEIGHT, width, 3), (22, 26, 33), np.uint8)
    words: List[Tuple[str, Colour]] = [(f"frame {scene.index}  {scene.seconds:.2f} s", GREY)]
    if scene.ego is not None:
        words.append((f"{scene.ego.speed:.1f} m/s", WHITE))
    words += _plan_words(scene.trajectory, scene.command)
    if scene.latency_ms is None:
        words.append(("no command from this frame", AMBER))
    else:
        colour = TEAL if scene.latency_ms <= scene.budget_ms else RED
        words.append((f"chain {scene.latency_ms:.1f} ms", colour))
    place = 10
    for text, colour in words:
        place = canvas.text(strip, text, (place, STRIP_HEIGHT - 10), colour) + 22
    return strip


def _plan_words(trajectory: Optional[Trajectory], command: Optional[ControlCommand]) -> Sequence[Tuple[str, Colour]]:
    words: List[Tuple[str, Colour]] = []
    if trajectory is not None and trajectory.reason:
        yields = "" if trajectory.obstacle_id is None else f" #{trajectory.obstacle_id}"
        words.append((trajectory.reason + yields, TEAL))
    if command is not None:
        words.append((f"steer {math.degrees(command.steering_angle):+.1f} deg", WHITE))
        words.append((f"{command.acceleration:+.1f} m/s2", WHITE))
        if command.emergency:
            words.append(("EMERGENCY STOP", RED))
    return words
