"""The planner frame by frame: reasons, obstacles, faults, and what every trajectory must keep."""

import dataclasses
import math
from typing import Any, Optional, Tuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l4edge_perception.types import OBJECT_CLASSES, EgoState, Route, Tracks, Trajectory
from l4edge_pipeline.planning import Planner, PlannerConfig
from l4edge_pipeline.planning.reasons import REASONS
from l4edge_pipeline.planning.speed import following_acceleration

CONFIG = PlannerConfig()
CAR, PEDESTRIAN, SIGN = (OBJECT_CLASSES.index(name) for name in ("car", "pedestrian", "sign"))
SECOND = 1_000_000_000


def straight(limit: float = 14.0, length: float = 400.0) -> Route:
    x = np.arange(-50.0, length, 5.0)
    return Route(np.column_stack([x, np.zeros(len(x))]), np.full(len(x), limit), np.full(len(x), 3.5))


def waves() -> Route:
    x = np.arange(-50.0, 400.0, 2.0)
    return Route(np.column_stack([x, 6 * np.sin(x / 20)]), np.full(len(x), 20.0), np.full(len(x), 3.5))


def tracks(*objects: Tuple[Any, ...], stamp_ns: int = SECOND, unseen: float = 0.0) -> Tracks:
    """Each object: class id, x, y of its near side, and optionally velocities along x and y."""
    rows = [(*row, 0.0, 0.0)[:5] for row in objects]
    values = np.array([row[1:] for row in rows], np.float64).reshape(-1, 4)
    count = len(rows)
    return Tracks(
        stamp_ns=stamp_ns,
        ids=np.arange(count, dtype=np.int64) + 7,
        boxes=np.zeros((count, 4), np.float32),
        scores=np.ones(count, np.float32),
        class_ids=np.array([row[0] for row in rows], np.int32),
        ages_s=np.ones(count, np.float32),
        unseen_s=np.full(count, unseen, np.float32),
        positions=values[:, :2],
        velocities=values[:, 2:],
        sizes=np.full((count, 3), np.nan, np.float32),
    )


def ego(speed: float = 10.0, **changes: Any) -> EgoState:
    return dataclasses.replace(EgoState(SECOND, 0.0, 0.0, 0.0, speed), **changes)


def plan(*objects: Tuple[Any, ...], speed: float = 10.0, route: Optional[Route] = None, **options: Any) -> Trajectory:
    return Planner(CONFIG).plan(tracks(*objects, **options), ego(speed), route or straight())


def check(trajectory: Trajectory) -> None:
    """What every trajectory must keep, whatever went in."""
    count = len(CONFIG.times)
    np.testing.assert_allclose(trajectory.times, CONFIG.times)
    steps = np.diff(trajectory.times)
    assert trajectory.positions.shape == (count, 2)
    for values in (trajectory.positions, trajectory.yaws, trajectory.speeds, trajectory.accelerations):
        assert len(values) == count and np.isfinite(values).all()
    assert trajectory.reason in REASONS
    assert trajectory.speeds.min() >= 0
    assert trajectory.accelerations.min() >= -CONFIG.emergency_deceleration_mps2 - 1e-9
    assert trajectory.accelerations.max() <= CONFIG.maximum_acceleration_mps2 + 1e-9
    # Speeds are the integral of the accelerations, and positions are driven with these speeds along these yaws.
    np.testing.assert_allclose(np.diff(trajectory.speeds), trajectory.accelerations[:-1] * steps, atol=1e-9)
    moved = np.diff(trajectory.positions, axis=0)
    driven = (trajectory.speeds[1:] + trajectory.speeds[:-1]) / 2 * steps
    np.testing.assert_allclose(np.hypot(*moved.T), driven, atol=0.02, rtol=0.03)
    middles = (trajectory.yaws[1:] + trajectory.yaws[:-1]) / 2
    across = moved[:, 1] * np.cos(middles) - moved[:, 0] * np.sin(middles)
    along = moved[:, 0] * np.cos(middles) + moved[:, 1] * np.sin(middles)
    assert along.min() >= -1e-9
    assert np.abs(across).max() <= 0.06 * driven.max() + 1e-6


@pytest.mark.parametrize(
    ("expected", "objects", "speed"),
    [
        ("cruise", [], 10.0),
        ("cruise", [(SIGN, 20.0, 0.0)], 10.0),
        ("cruise", [(CAR, 20.0, 3.5)], 10.0),
        ("cruise", [(CAR, 20.0, -3.0, 10.0, 0.0)], 10.0),
        ("cruise", [(CAR, -15.0, 0.0, 5.0, 0.0)], 10.0),
        ("cruise", [(CAR, 140.0, 0.0)], 5.0),
        ("cruise", [(CAR, 40.0, 3.5, -12.0, 0.0)], 10.0),
        ("follow", [(CAR, 20.0, 0.0, 9.0, 0.0)], 10.0),
        ("follow", [(CAR, 20.0, 0.0, 9.0, 0.0), (CAR, 60.0, 0.0)], 10.0),
        ("stop", [(CAR, 40.0, 0.5)], 10.0),
        ("stop", [(CAR, 40.0, 0.5, math.nan, math.nan)], 10.0),
        ("stop", [(PEDESTRIAN, 25.0, 1.5)], 10.0),
        ("cruise", [(PEDESTRIAN, 25.0, 3.5)], 10.0),
        ("yield", [(PEDESTRIAN, 25.0, 3.5, 0.0, -1.4)], 10.0),
        ("cruise", [(PEDESTRIAN, 25.0, 3.5, 0.0, 1.4)], 10.0),
        ("cruise", [(PEDESTRIAN, 25.0, 9.0, 0.0, -1.4)], 10.0),  # enters in more than the horizon
        ("cruise", [(PEDESTRIAN, 6.0, 4.5, 0.0, -1.0)], 14.0),  # the vehicle has long passed by then
        ("yield", [(CAR, 20.0, 3.0, 8.0, -1.5)], 10.0),
        ("cruise", [(CAR, 5.0, 3.2, 4.0, -1.0)], 10.0),  # would enter beside the vehicle
    ],
)
def test_reasons(expected: str, objects: list, speed: float):
    trajectory = plan(*objects, speed=speed)
    check(trajectory)
    assert trajectory.reason == expected
    assert trajectory.obstacle_id == (None if expected == "cruise" else 7)
    if expected in ("stop", "yield"):
        assert trajectory.speeds[-1] < speed


def test_a_curve_ahead_and_the_end_of_the_route_are_reasons():
    assert plan(speed=14.0, route=waves()).reason == "curve"
    assert plan(speed=14.0, route=straight(length=50.0)).reason == "arrive"
    assert plan(speed=0.0, route=straight(length=5.0)).reason == "arrive"


def test_a_standing_object_is_stopped_for_at_the_gap():
    trajectory = plan((CAR, 40.0, 0.0), speed=10.0)
    gap = 40.0 - trajectory.positions[-1, 0] - CONFIG.front_m
    assert trajectory.speeds[-1] < 1.5
    assert CONFIG.standstill_gap_m * 0.9 < gap < 8.0


def test_a_standing_vehicle_waits_behind_a_standing_one_and_follows_when_it_leaves():
    waiting = plan((CAR, CONFIG.front_m + CONFIG.standstill_gap_m + 0.5, 0.0), speed=0.0)
    assert waiting.speeds.max() == 0 and waiting.reason == "stop"
    leaving = plan((CAR, CONFIG.front_m + CONFIG.standstill_gap_m + 0.5, 0.0, 3.0, 0.0), speed=0.0)
    assert leaving.speeds[-1] > 1.0


def test_the_nearest_binding_object_is_named():
    trajectory = plan((CAR, 60.0, 0.0, 9.0, 0.0), (CAR, 25.0, 0.0, 9.0, 0.0))
    assert trajectory.obstacle_id == 8


def test_a_standing_car_behind_a_fast_one_is_seen_in_time():
    trajectory = plan((CAR, 25.0, 0.0, 14.0, 0.0), (CAR, 45.0, 0.0))
    assert (trajectory.reason, trajectory.obstacle_id) == ("stop", 8)


def test_the_way_back_to_the_line_decides_what_is_in_the_way():
    beside_the_line, on_the_line = tracks((CAR, 10.0, 2.8)), tracks((CAR, 10.0, -1.0))
    for objects, expected in ((beside_the_line, 7), (on_the_line, None)):
        trajectory = Planner(CONFIG).plan(objects, ego(8.0, y=2.5), straight())
        assert trajectory.obstacle_id == expected


def test_a_car_coming_past_and_over_is_let_in_without_braking_hard():
    trajectory = plan((CAR, 3.2, 1.3, 14.0, -1.5), speed=12.0)
    assert trajectory.reason == "yield"
    assert trajectory.accelerations.min() >= -CONFIG.comfortable_deceleration_mps2 - 1e-9


def test_somebody_walking_at_the_vehicles_side_is_not_driven_past():
    assert plan((PEDESTRIAN, 3.0, 2.6, 0.0, -1.4), speed=2.0).reason == "yield"


def test_a_jump_along_the_route_is_found_again():
    """Behind a bow of the route the vehicle is on the straight continuation of where it was, but further by the bow."""
    x = np.arange(-50.0, 400.0, 2.0)
    bow = np.where((x > 60) & (x < 160), 20 * np.sin((x - 60) / 100 * math.pi) ** 2, 0.0)
    route = Route(np.column_stack([x, bow]), np.full(len(x), 10.0), np.full(len(x), 3.5))
    jumped, fresh = Planner(CONFIG), Planner(CONFIG)
    jumped.plan(tracks(), ego(), route)
    for planner in (jumped, fresh):
        planner.plan(tracks(), ego(x=250.0), route)
    assert jumped.state.arc_length == fresh.state.arc_length > 300 + 5


def test_a_bend_does_not_turn_oncoming_traffic_into_obstacles():
    """The other lane's car points at our lane, straight ahead, but follows its own."""
    angles = np.linspace(0, 1.5, 100)
    route = Route(60 * np.column_stack([np.sin(angles), 1 - np.cos(angles)]), np.full(100, 9.0), np.full(100, 3.5))
    angle = 35 / 60
    x, y = (60 - 3.5) * math.sin(angle), 60 - (60 - 3.5) * math.cos(angle)
    near = (x - 2.3 * math.cos(angle), y - 2.3 * math.sin(angle))
    car = (CAR, *near, -10 * math.cos(angle), -10 * math.sin(angle))
    assert Planner(CONFIG).plan(tracks(car), ego(9.0), route).obstacle_id is None


def test_unseen_tracks_are_taken_to_be_larger():
    beside = (CAR, 20.0, 2.5)
    assert plan(beside).obstacle_id is None
    assert plan(beside, unseen=1.5).obstacle_id == 7
    lead = (CAR, 20.0, 0.0, 10.0, 0.0)
    assert plan(lead, unseen=2.0).speeds[10] < plan(lead).speeds[10]


def test_objects_without_a_position_are_left_out_and_counted():
    planner = Planner(CONFIG)
    nowhere = tracks((CAR, math.nan, 0.0), (CAR, 20.0, math.inf), (SIGN, math.nan, math.nan), (CAR, 20.0, 30.0))
    assert planner.plan(nowhere, ego(), straight()).reason == "cruise"
    assert planner.state.unplaced_objects == 2
    planner.plan(tracks(), ego(), straight())
    assert planner.state.unplaced_objects == 0


@pytest.mark.parametrize(
    ("reason", "state", "route"),
    [
        ("no_odometry", None, straight()),
        ("no_odometry", ego(x=math.nan), straight()),
        ("no_odometry", ego(speed=math.inf), straight()),
        ("stale_odometry", ego(stamp_ns=0), straight()),
        ("stale_odometry", ego(stamp_ns=3 * SECOND), straight()),
        ("no_route", ego(), None),
        ("no_route", ego(), Route(np.zeros((0, 2)), np.zeros(0), np.zeros(0))),
        ("no_route", ego(), Route(np.full((9, 2), np.nan), np.ones(9), np.ones(9))),
        ("off_route", ego(y=6.0), straight()),
        ("off_route", ego(yaw=2.0), straight()),
        ("off_route", ego(x=500.0), straight()),
        ("off_route", ego(x=-500.0), straight()),
    ],
)
def test_faults_brake_comfortably_to_a_standstill(reason: str, state: Optional[EgoState], route: Optional[Route]):
    trajectory = Planner(CONFIG).plan(tracks(), state, route)
    check(trajectory)
    assert trajectory.reason == reason
    assert trajectory.accelerations.max() <= 0
    assert trajectory.accelerations.min() >= -CONFIG.comfortable_deceleration_mps2 - 1e-9
    assert trajectory.speeds[-1] < 0.5
    if reason != "no_odometry":
        assert trajectory.speeds[0] == pytest.approx(10.0)


def test_braking_without_a_route_still_heeds_what_is_ahead():
    free, blocked = (Planner(CONFIG).plan(objects, ego(), None) for objects in (tracks(), tracks((CAR, 15.0, 0.0))))
    assert free.reason == blocked.reason == "no_route"
    assert blocked.positions[-1, 0] + CONFIG.front_m < 15.0 < free.positions[-1, 0]


def test_the_plan_starts_where_the_vehicle_is_at_the_image():
    older = ego(10.0, stamp_ns=SECOND - SECOND // 10, yaw=0.1, yaw_rate=0.2)
    trajectory = Planner(CONFIG).plan(tracks(), older, straight())
    np.testing.assert_allclose(trajectory.positions[0], [math.cos(0.11), math.sin(0.11)], atol=1e-6)
    assert trajectory.yaws[0] == pytest.approx(0.12)


def test_the_last_plan_hands_on_its_acceleration_while_the_vehicle_follows_it():
    planner = Planner(CONFIG)
    first = planner.plan(tracks(), ego(10.0), straight())
    for speed, expected in ((first.speeds[1], first.accelerations[1]), (first.speeds[1] + 2.0, None)):
        again = Planner(CONFIG)
        again.state = planner.state
        later = SECOND + SECOND // 10
        second = again.plan(tracks(stamp_ns=later), ego(speed, stamp_ns=later), straight())
        start = CONFIG.comfortable_jerk_mps3 * CONFIG.step_s if expected is None else expected
        assert second.accelerations[0] == pytest.approx(start)


def test_equal_inputs_give_equal_bytes():
    def drive() -> list:
        planner, generator = Planner(CONFIG), np.random.default_rng(3)
        result = []
        for frame in range(20):
            stamp = SECOND + frame * SECOND // 10
            objects = [(CAR, 20 + frame + generator.normal(), 0.3, 8.0, 0.0), (PEDESTRIAN, 40.0, 4.0, 0.0, -0.8)]
            state = ego(9.0, stamp_ns=stamp, x=0.9 * frame, y=6 * math.sin(0.045 * frame))
            trajectory = planner.plan(tracks(*objects, stamp_ns=stamp), state, waves())
            result.append((trajectory.positions.tobytes(), trajectory.speeds.tobytes(), trajectory.reason))
        return result

    assert drive() == drive()


@pytest.mark.parametrize(
    ("speed", "gap", "lead_speed", "low", "high"),
    [
        pytest.param(10.0, 1e6, 10.0, 1.49, 1.5, id="nothing near: full acceleration"),
        pytest.param(10.0, 19.0, 10.0, -0.01, 0.01, id="standstill gap and time gap: keep the speed"),
        pytest.param(0.0, 4.0, 0.0, -0.01, 0.01, id="standing at the standstill gap"),
        pytest.param(15.0, 12.0, 15.0, -2.6, -1.5, id="cut-in at equal speed: comfortable"),
        pytest.param(15.0, 12.0, 25.0, 0.0, 1.5, id="cut-in by a faster one: none"),
        pytest.param(15.0, 12.0, 5.0, -20.0, -4.0, id="cut-in by a much slower one: hard"),
    ],
)
def test_time_gap_law(speed: float, gap: float, lead_speed: float, low: float, high: float):
    assert low <= following_acceleration(speed, gap, lead_speed, CONFIG) <= high


coordinates = st.one_of(st.floats(-200, 400), st.just(math.nan))
velocities = st.one_of(st.floats(-40, 40), st.just(math.nan))
objects_of_any_kind = st.lists(
    st.tuples(st.integers(0, len(OBJECT_CLASSES) - 1), coordinates, coordinates, velocities, velocities), max_size=12
)


@settings(max_examples=150, deadline=None)
@given(
    objects=objects_of_any_kind,
    unseen=st.floats(0, 30),
    x=st.floats(-60, 420),
    y=st.floats(-12, 12),
    yaw=st.floats(-7, 7),
    speed=st.floats(-2, 35),
    yaw_rate=st.floats(-1, 1),
    acceleration=st.floats(-12, 12),
    age=st.integers(-SECOND, SECOND),
    curved=st.booleans(),
)
def test_whatever_goes_in_the_trajectory_is_finite_consistent_and_within_limits(
    objects, unseen, x, y, yaw, speed, yaw_rate, acceleration, age, curved
):
    state = EgoState(SECOND - age, x, y, yaw, speed, yaw_rate, acceleration)
    route = waves() if curved else straight()
    trajectory = Planner(CONFIG).plan(tracks(*objects, unseen=unseen), state, route)
    check(trajectory)
    moving = (trajectory.speeds[1:-1] > 0) & (trajectory.speeds[2:] > 0)  # rest ends an acceleration at once
    changes = (np.abs(np.diff(trajectory.accelerations[:-1])) / np.diff(trajectory.times)[1:])[moving]
    assert changes.max(initial=0.0) <= CONFIG.emergency_jerk_mps3 + 1e-6


@settings(max_examples=100, deadline=None)
@given(
    points=st.lists(st.tuples(st.floats(-80, 80), st.floats(-80, 80)), max_size=8),
    limit=st.sampled_from([0.0, 5.0, 50.0, math.inf, math.nan]),
    speed=st.floats(0, 20),
    yaw=st.floats(-4, 4),
)
def test_whatever_the_route_the_trajectory_is_finite_and_within_limits(points, limit, speed, yaw):
    centre_line = np.array(points, np.float64).reshape(-1, 2)
    route = Route(centre_line, np.full(len(points), limit), np.full(len(points), 3.5))
    trajectory = Planner(CONFIG).plan(
        tracks((CAR, 30.0, 0.0), (PEDESTRIAN, 12.0, 4.0, 0.0, -1.0)), ego(speed, yaw=yaw), route
    )
    for values in (trajectory.positions, trajectory.yaws, trajectory.speeds, trajectory.accelerations):
        assert np.isfinite(values).all()
    assert trajectory.accelerations.min() >= -CONFIG.emergency_deceleration_mps2 - 1e-9
    assert trajectory.reason in REASONS
