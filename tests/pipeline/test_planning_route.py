"""Route coordinates, allowed speed and the way back to the centre line."""

import math

import numpy as np
import pytest

from l4edge_perception.types import Route
from l4edge_pipeline.planning import PlannerConfig
from l4edge_pipeline.planning.path import drive_path, lateral_return
from l4edge_pipeline.planning.route import RouteLine, route_line
from l4edge_pipeline.planning.speed import allowed_speed

CONFIG = PlannerConfig()


def route(points: np.ndarray, limits: object = 15.0) -> Route:
    points = np.asarray(points, np.float64)
    return Route(points, np.broadcast_to(np.asarray(limits, np.float64), len(points)), np.full(len(points), 3.5))


def circle(radius: float, angle: float = math.pi, spacing: float = 1.0) -> np.ndarray:
    angles = np.linspace(0.0, angle, round(radius * angle / spacing) + 1)
    return radius * np.column_stack([np.sin(angles), 1 - np.cos(angles)])


def resampled(points: np.ndarray, limits: object = 15.0) -> RouteLine:
    line = route_line(route(points, limits), CONFIG.maximum_speed_mps, CONFIG.curvature_window_m)
    assert line is not None
    return line


STRAIGHT = np.column_stack([np.arange(0.0, 101.0, 5.0), np.zeros(21)])


@pytest.mark.parametrize("spacing", [0.1, 1.0, 3.0, 8.0])
def test_a_circle_keeps_its_length_and_curvature(spacing: float):
    line = resampled(circle(30.0, spacing=spacing))
    assert line.length == pytest.approx(30 * math.pi, rel=1e-3)
    np.testing.assert_allclose(np.hypot(line.positions[:, 0], line.positions[:, 1] - 30), 30.0, atol=0.02)
    np.testing.assert_allclose(line.curvatures, 1 / 30, rtol=0.05)


def test_long_pieces_stay_straight():
    line = resampled(np.array([[0.0, 0.0], [60.0, 0.0], [60.0, 60.0]]))
    corner = np.hypot(*(line.positions - [60, 0]).T) < 12
    away = np.minimum(np.abs(line.positions[:, 1]), np.abs(line.positions[:, 0] - 60))
    assert away[~corner].max() < 0.1
    assert away[corner].max() < 1.5


def test_a_centimetre_of_survey_noise_causes_no_curve():
    noise = np.random.default_rng(0).normal(0, 0.01, (200, 2))
    line = resampled(np.column_stack([np.arange(200), np.zeros(200)]) + noise)
    assert np.abs(line.curvatures).max() < CONFIG.lateral_acceleration_mps2 / 14.0**2


@pytest.mark.parametrize(
    ("points", "limits"),
    [
        pytest.param(np.zeros((0, 2)), 10.0, id="no point"),
        pytest.param([[1.0, 2.0]], 10.0, id="one point"),
        pytest.param([[1.0, 2.0]] * 5, 10.0, id="one place"),
        pytest.param([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]], 10.0, id="there and back"),
        pytest.param([[0.0, 0.0], [math.nan, 0.0], [20.0, 0.0]], 10.0, id="NaN position"),
        pytest.param([[0.0, 0.0], [math.inf, 0.0]], 10.0, id="infinite position"),
        pytest.param([[0.0, 0.0], [20.0, 0.0]], math.nan, id="NaN limit"),
        pytest.param([[0.0, 0.0, 0.0], [20.0, 0.0, 0.0]], 10.0, id="three coordinates"),
    ],
)
def test_a_route_that_cannot_be_driven_is_none(points: object, limits: float):
    assert route_line(route(points, limits), 30.0, 6.0) is None


@pytest.mark.parametrize("count", [2, 3, 4])
def test_few_points_are_enough(count: int):
    line = resampled(np.column_stack([np.linspace(0, 9, count), np.zeros(count)]))
    assert line.length == pytest.approx(9.0)
    np.testing.assert_allclose(line.positions[:, 1], 0.0, atol=1e-9)


@pytest.mark.parametrize("points", [STRAIGHT, circle(30.0), circle(12.0, 5.0)], ids=["straight", "bend", "loop"])
def test_projection_inverts_poses(points: np.ndarray):
    line = resampled(points)
    generator = np.random.default_rng(1)
    s, offset = generator.uniform(0, line.length, 200), generator.uniform(-4, 4, 200)
    centre, yaws, _ = line.poses(s)
    places = centre + offset[:, None] * np.column_stack([-np.sin(yaws), np.cos(yaws)])
    found_s, found_offset = line.project(places)
    np.testing.assert_allclose(found_offset, offset, atol=0.03)
    np.testing.assert_allclose(found_s, s, atol=0.2)


def test_both_ends_go_straight_on():
    line = resampled(STRAIGHT)
    s, offset = line.project(np.array([[-7.0, 1.0], [110.0, -2.0]]))
    np.testing.assert_allclose(s, [-7.0, 110.0])
    np.testing.assert_allclose(offset, [1.0, -2.0])
    positions, yaws, curvatures = line.poses(np.array([-7.0, 110.0]))
    np.testing.assert_allclose(positions, [[-7.0, 0.0], [110.0, 0.0]], atol=1e-9)
    assert not yaws.any() and not curvatures.any()


def test_a_window_tells_two_passes_of_one_place_apart():
    """A figure of eight crosses itself; the window around the last arc length decides for one of the two."""
    angles = np.linspace(0.1, 2 * math.pi + 0.1, 300)
    line = resampled(60 * np.column_stack([np.sin(angles), np.sin(angles) * np.cos(angles)]))
    crossings = np.flatnonzero(np.hypot(*line.positions.T) < 1.0)
    first, last = crossings[0] * line.step, crossings[-1] * line.step
    assert last - first > 100
    for s in (first, last):
        found, _ = line.project(np.zeros((1, 2)), s - 20, s + 20)
        assert found[0] == pytest.approx(s, abs=2.0)


def test_limits_hold_from_their_point_on():
    limits = np.where(STRAIGHT[:, 0] >= 50, 5.0, 15.0)
    line = resampled(STRAIGHT, limits)
    s = np.arange(len(line.positions)) * line.step
    np.testing.assert_array_equal(line.speed_limits, np.where(s > 50 - 1e-6, 5.0, 15.0))


def test_allowed_speed_brakes_ahead_of_limits_curves_and_the_end():
    arc = circle(20.0, math.pi / 2)
    before = np.column_stack([np.arange(-150.0, 0.0, 5.0), np.zeros(30)])
    behind = arc[-1] + np.column_stack([np.zeros(30), np.arange(5.0, 155.0, 5.0)])
    line = resampled(np.concatenate([before, arc, behind]))
    allowed = allowed_speed(line, CONFIG)
    s = np.arange(len(allowed.speeds)) * allowed.step
    in_curve = math.sqrt(CONFIG.lateral_acceleration_mps2 * 20)
    assert allowed.speeds[0] == 15.0
    assert allowed.speeds[(s > 155) & (s < 175)] == pytest.approx(in_curve, rel=0.05)
    assert allowed.speeds[-1] == 0.0
    # Nowhere does it ask for more than the anticipated deceleration.
    slopes = np.diff(allowed.speeds**2) / (2 * allowed.step)
    assert slopes.min() >= -CONFIG.anticipated_deceleration_mps2 - 1e-9
    causes = ["cruise", "curve", "arrive"]
    words = [causes[cause] for cause in allowed.causes]
    assert words[0] == "cruise" and words[int(140 / allowed.step)] == "curve" and words[-2] == "arrive"


@pytest.mark.parametrize("speed", [0.0, 3.0, 10.0, 25.0])
@pytest.mark.parametrize(("offset", "error"), [(0.0, 0.0), (1.5, 0.0), (-3.0, 0.5), (2.0, 0.9), (0.0, -0.9)])
@pytest.mark.parametrize("points", [np.column_stack([np.arange(0, 900, 3.0), np.zeros(300)]), circle(300.0)])
def test_the_way_back_ends_on_the_line_within_its_bounds(points, offset: float, error: float, speed: float):
    line = resampled(points)
    curvature = float(line.curvatures[20])
    back = lateral_return(20.0, offset, error, curvature, speed, CONFIG)
    path = drive_path(line, back, back.distance + 10)
    centre, yaws, _ = line.poses(np.array([20.0]))
    start = centre[0] + offset * np.array([-math.sin(yaws[0]), math.cos(yaws[0])])
    np.testing.assert_allclose(path.positions[0], start, atol=1e-9)
    assert path.yaws[0] == pytest.approx(yaws[0] + error, abs=1e-9)
    assert back.offsets(np.array([20.0 + back.distance]))[0] == pytest.approx(0.0, abs=1e-9)
    assert back.slopes(np.array([20.0 + back.distance]))[0] == pytest.approx(0.0, abs=1e-9)
    # Yaws are those of the curve that the positions lie on.
    pieces = np.diff(path.positions, axis=0)
    lengths = np.hypot(*pieces.T)
    np.testing.assert_allclose(np.diff(path.distances), lengths)
    middles = (path.yaws[1:] + path.yaws[:-1]) / 2
    directions = np.column_stack([np.cos(middles), np.sin(middles)])
    np.testing.assert_allclose(pieces / lengths[:, None], directions, atol=0.02)
    curvatures = np.abs(np.diff(path.yaws) / lengths)
    assert curvatures.max() < abs(curvature) + CONFIG.maximum_curvature_1pm / 2 * 1.3
    if abs(offset) < 2 and error == 0:
        comfortable = CONFIG.return_acceleration_mps2 / max(speed, 3.0) ** 2
        assert curvatures.max() < abs(curvature) + comfortable * 1.1
    assert np.abs(back.offsets(path.s)).max() < abs(offset) + 4 / 27 * abs(back.slope) * back.distance + 1e-9
