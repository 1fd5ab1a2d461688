"""Draws the surroundings from above, the vehicle at the bottom, its front up."""

import math

import cv2
import numpy as np

from l4edge_perception.types import EgoState, GroundTruth, Tracks
from l4edge_pipeline.report import canvas
from l4edge_pipeline.report.scene import Scene, dense, to_base

WIDTH = 220
AHEAD, BEHIND = 70.0, 10.0  # metres
BACKGROUND, GRID, LANE = (30, 34, 42), (52, 58, 68), (104, 112, 126)
EGO, PATH, TRUTH = (235, 238, 242), (64, 224, 196), (255, 255, 255)
VEHICLE = np.array([[3.9, 0.9], [3.9, -0.9], [-0.9, -0.9], [-0.9, 0.9]])  # a car's outline in base_link, metres
ARROW_S = 1.0  # how far a velocity arrow looks ahead


class Ground:
    """A view of the ground around the vehicle, as pixels."""

    def __init__(self, height: int):
        self.pixels = np.full((height, WIDTH, 3), BACKGROUND, np.uint8)
        self.scale = height / (AHEAD + BEHIND)
        self.half_width = 0.5 * WIDTH / self.scale

    def place(self, points: np.ndarray) -> np.ndarray:
        """Pixels (N, 2) int32 of points (N, 2) in ``base_link``."""
        pixels = np.stack([0.5 * WIDTH - points[:, 1] * self.scale, (AHEAD - points[:, 0]) * self.scale], axis=1)
        return np.clip(pixels, -4096, 4096).astype(np.int32)

    def line(self, points: np.ndarray, colour: canvas.Colour, width: int = 1, closed: bool = False) -> None:
        """A polyline through points in ``base_link``."""
        if len(points):
            cv2.polylines(self.pixels, [self.place(points)], closed, colour, width, cv2.LINE_AA)


def draw_birdseye(height: int, scene: Scene) -> np.ndarray:
    """(height, WIDTH, 3) uint8, RGB: lane, planned path, tracks with their way of one second, true outlines."""
    ground = Ground(height)
    for ahead in range(0, int(AHEAD), 10):
        ground.line(np.array([[ahead, -ground.half_width], [ahead, ground.half_width]]), GRID)
        row = int(ground.place(np.array([[ahead, 0.0]]))[0, 1])
        canvas.text(ground.pixels, str(ahead), (4, row - 3), LANE, 0.34)
    ego = scene.ego
    if ego is None:
        canvas.text(ground.pixels, "pose unknown", (60, height // 2), LANE)
        return ground.pixels
    if scene.route is not None:
        _draw_lane(ground, scene.route.centre_line, scene.route.lane_widths, ego)
    if scene.trajectory is not None:
        ground.line(to_base(dense(scene.trajectory.positions), ego), PATH, 3)
    if scene.ground_truth is not None:
        _draw_truth(ground, scene.ground_truth, ego)
    cv2.fillConvexPoly(ground.pixels, ground.place(VEHICLE), EGO, cv2.LINE_AA)
    if scene.tracks is not None:
        _draw_tracks(ground, scene.tracks, ego)
    return ground.pixels


def _draw_lane(ground: Ground, centre_line: np.ndarray, widths: np.ndarray, ego: EgoState) -> None:
    centre = to_base(centre_line, ego)
    near = np.linalg.norm(centre, axis=1) < 2 * AHEAD
    if np.count_nonzero(near) < 2:
        return
    along = np.gradient(centre, axis=0)
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1) / np.maximum(np.linalg.norm(along, axis=1), 1e-9)[:, None]
    half = 0.5 * widths[:, None] * normal
    # A route may pass by more than once: each stretch in reach is a line of its own.
    for stretch in np.split(np.flatnonzero(near), np.flatnonzero(np.diff(np.flatnonzero(near)) > 1) + 1):
        for edge in (centre + half, centre - half):
            ground.line(edge[stretch], LANE)


def _draw_truth(ground: Ground, truth: GroundTruth, ego: EgoState) -> None:
    for index in np.flatnonzero(~truth.ignore):
        length, width = truth.sizes[index, :2]
        cosine, sine = math.cos(truth.yaws[index]), math.sin(truth.yaws[index])
        corners = 0.5 * np.array([[length, width], [length, -width], [-length, -width], [-length, width]])
        outline = corners @ np.array([[cosine, sine], [-sine, cosine]]) + truth.positions[index, :2]
        if np.isfinite(outline).all():
            ground.line(to_base(outline, ego), TRUTH, closed=True)


def _draw_tracks(ground: Ground, tracks: Tracks, ego: EgoState) -> None:
    located = np.flatnonzero(np.isfinite(tracks.positions).all(axis=1))
    ahead = np.where(np.isfinite(tracks.velocities), tracks.velocities, 0.0) * ARROW_S
    for index in located:
        colour = canvas.colour_of(int(tracks.ids[index]))
        ends = ground.place(to_base(np.stack([tracks.positions[index], tracks.positions[index] + ahead[index]]), ego))
        start, end = (tuple(int(value) for value in point) for point in ends)
        length = math.hypot(end[0] - start[0], end[1] - start[1])
        if length > 2:
            cv2.arrowedLine(ground.pixels, start, end, colour, 1, cv2.LINE_AA, tipLength=min(0.5, 8 / length))
        cv2.circle(ground.pixels, start, 5, colour, cv2.FILLED, cv2.LINE_AA)
        canvas.text(ground.pixels, str(tracks.ids[index]), (start[0] + 7, start[1] + 4), colour, 0.38)
