"""The judgement of a drive: scenes whose answer can be worked out by hand."""

import json
import math
from typing import Any, List, Optional, Sequence, Tuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l4edge_perception.types import OBJECT_CLASSES, ControlCommand, EgoState, GroundTruth, Route, Trajectory
from l4edge_pipeline.planning.footprints import rectangles_overlap
from l4edge_pipeline.report.driving import judge_driving

SECOND = 1_000_000_000
CAR, SIGN = OBJECT_CLASSES.index("car"), OBJECT_CLASSES.index("sign")


def trajectory(stamp: float, x: float = 0.0, speed: float = 10.0, y: float = 0.0, reason: str = "cruise") -> Trajectory:
    times = np.arange(61) * 0.1
    positions = np.column_stack([x + speed * times, np.full(61, y)])
    return Trajectory(round(stamp * SECOND), times, positions, np.zeros(61), np.full(61, speed), np.zeros(61), reason)


Thing = Tuple[int, float, float, float]  # id, x, y, speed along x


def truth(stamp: float, things: Sequence[Thing], class_id: int = CAR, ignore: bool = False) -> GroundTruth:
    values = np.array([thing[1:] for thing in things], np.float64).reshape(-1, 3)
    count = len(things)
    return GroundTruth(
        stamp_ns=round(stamp * SECOND),
        ids=np.array([thing[0] for thing in things], np.int64),
        class_ids=np.full(count, class_id, np.int32),
        boxes=np.zeros((count, 4), np.float32),
        visibilities=np.ones(count, np.float32),
        positions=np.column_stack([values[:, :2], np.zeros(count)]),
        yaws=np.zeros(count),
        velocities=np.column_stack([values[:, 2], np.zeros(count)]),
        sizes=np.tile(np.array([4.0, 2.0, 1.5], np.float32), (count, 1)),
        ignore=np.full(count, ignore),
        attributes=("",) * count,
    )


def moving(x: float, speed: float, y: float = 0.0, seconds: float = 6.0, **options: Any) -> List[GroundTruth]:
    """One object with constant speed, seen ten times a second."""
    stamps = np.arange(round(seconds * 10) + 1) / 10
    return [truth(stamp, [(1, x + speed * stamp, y, speed)], **options) for stamp in stamps]


def judge(planned: Any, truths: Sequence[GroundTruth] = (), **options: Any) -> dict:
    planned = [planned] if isinstance(planned, Trajectory) else planned
    return judge_driving(planned, truths, options.pop("egos", ()), **options)


@pytest.mark.parametrize(
    ("truths", "collisions", "min_ttc"),
    [
        # The front bumper, 3.7 m ahead of base_link, reaches the rear of a standing car whose centre is at x.
        pytest.param(moving(20.7, 0.0), 1, 1.5, id="standing, reached after 1.5 s"),
        pytest.param(moving(40.7, 0.0), 0, 3.5, id="standing, reached after the collision horizon"),
        pytest.param(moving(60.7, 0.0), 0, None, id="standing, reached after all horizons"),
        pytest.param(moving(20.7, 10.0), 0, None, id="as fast"),
        pytest.param(moving(20.0, 5.0), 1, 2.9, id="half as fast"),
        pytest.param(moving(50.7, -10.0), 1, 2.3, id="oncoming"),
        pytest.param(moving(20.7, 0.0, y=1.96), 0, None, id="just beside"),
        pytest.param(moving(20.7, 0.0, y=1.94), 1, 1.5, id="just touching"),
        pytest.param(moving(20.7, 0.0, class_id=SIGN), 0, None, id="a sign"),
        pytest.param(moving(20.7, 0.0, ignore=True), 0, None, id="to be ignored"),
    ],
)
def test_one_plan_and_one_object(truths: List[GroundTruth], collisions: int, min_ttc: Optional[float]):
    result = judge(trajectory(0.0), truths)
    assert result["collisions"] == collisions
    assert result["min_ttc_s"] == (None if min_ttc is None else pytest.approx(min_ttc, abs=0.11))
    assert result["judged_frames"] == 1 and result["frames"] == 1


def test_the_recorded_future_counts_for_collisions_and_constant_velocity_for_time_to_collision():
    """The car ahead stands at first but is 100 m further after one second."""
    leaving = [truth(stamp, [(1, 20.7 + max(stamp - 0.9, 0.0) * 1000, 0.0, 0.0)]) for stamp in np.arange(40) / 10]
    result = judge(trajectory(0.0), leaving)
    assert result["collisions"] == 0
    assert result["min_ttc_s"] == pytest.approx(1.5, abs=0.11)


def test_a_follower_running_into_a_slow_plan_is_told_apart():
    result = judge(trajectory(0.0, speed=2.0), moving(-20.0, 12.0))
    assert (result["collisions"], result["collisions_by_contact"]) == (1, {"front": 0, "side": 0, "rear": 1})
    assert result["min_ttc_s"] is None


def test_the_side_that_is_touched_is_told():
    crossing = [truth(stamp, [(1, 6.0 + 4.0 * stamp, 6.0 - 3.0 * stamp, 4.0)]) for stamp in np.arange(40) / 10]
    result = judge(trajectory(0.0, speed=6.0), crossing)
    assert result["collisions_by_contact"] == {"front": 0, "side": 1, "rear": 0}
    assert judge(trajectory(0.0), moving(20.0, 0.0))["collisions_by_contact"] == {"front": 1, "side": 0, "rear": 0}


def test_contacts_in_a_row_are_one_episode():
    truths = moving(60.0, 0.0, seconds=20.0)
    stamps = [0.0, 0.1, 0.2, 0.6, 1.2, 1.3, 3.0]
    result = judge([trajectory(stamp, x=40.0) for stamp in stamps], truths)
    assert result["collisions"] == 3
    assert [
        (episode["first_stamp_ns"] / SECOND, episode["last_stamp_ns"] / SECOND)
        for episode in result["collision_episodes"]
    ] == [(0.0, 0.6), (1.2, 1.3), (3.0, 3.0)]
    assert result["collision_episodes"][0]["object_id"] == 1
    assert result["collision_episodes"][0]["object_class"] == "car"
    assert result["collision_episodes"][0]["least_time_to_contact_s"] == pytest.approx(1.5, abs=0.11)


def test_two_objects_are_two_episodes():
    both = [truth(frame.stamp_ns / SECOND, [(1, 20.0, 0.0, 0.0), (2, 26.0, 0.0, 0.0)]) for frame in moving(0.0, 0.0)]
    assert judge(trajectory(0.0), both)["collisions"] == 2


def test_ground_truth_is_interpolated_between_frames_but_not_over_gaps():
    """Labels at 2 Hz still tell of a collision between two of them; labels every 2 s do not."""
    crossing = [truth(stamp, [(1, 20.7, 38.0 - 20.0 * stamp, 0.0)]) for stamp in np.arange(0.0, 5.0, 0.1)]
    for spacing, expected in ((1, 1), (5, 1), (20, 0)):
        assert judge(trajectory(0.0), crossing[::spacing])["collisions"] == expected


def test_yaws_are_interpolated_the_short_way():
    frames = []
    for stamp, yaw in ((0.0, math.pi - 0.01), (0.4, -math.pi + 0.01)):
        frame = truth(stamp, [(1, 2.0, 2.5, 0.0)])
        frames.append(GroundTruth(**{**frame.__dict__, "yaws": np.array([yaw])}))
    assert judge(trajectory(0.0, speed=0.0), frames)["collisions"] == 0


@pytest.mark.parametrize("truths", [[], moving(20.0, 0.0)[50:]], ids=["none", "of another time"])
def test_without_ground_truth_there_is_no_judgement_of_safety(truths: List[GroundTruth]):
    result = judge(trajectory(0.0), truths)
    for name in ("collisions", "collisions_by_contact", "collision_episodes", "min_ttc_s", "ttc_violation_share"):
        assert result[name] is None
    assert result["judged_frames"] == 0


def test_an_empty_world_is_ground_truth_too():
    result = judge(trajectory(0.0), [truth(stamp / 10, []) for stamp in range(40)])
    assert (result["collisions"], result["judged_frames"], result["ttc_violation_share"]) == (0, 1, 0.0)


def test_violations_are_a_share_of_the_judged_frames():
    truths = moving(60.0, 0.0, seconds=10.0)
    planned = [trajectory(0.0, x=x) for x in (0.0, 20.0, 50.0, 54.0)]
    assert judge(planned, truths)["ttc_violation_share"] == 0.5


def test_reasons_and_plans_without_a_place():
    planned = [trajectory(0.0), trajectory(0.1), trajectory(0.2, reason="stop"), trajectory(0.3, reason="no_odometry")]
    result = judge(planned, moving(20.7, 0.0))
    assert result["reasons"] == {"cruise": 0.5, "no_odometry": 0.25, "stop": 0.25}
    assert (result["frames"], result["judged_frames"]) == (4, 3)


def egos(speed: float, seconds: float = 6.0, y: float = 0.0) -> List[EgoState]:
    return [EgoState(round(t * SECOND), speed * t, y, 0.0, speed) for t in np.arange(round(seconds * 20) + 1) / 20]


def test_deviation_from_the_recorded_drive():
    result = judge([trajectory(0.0, y=1.0), trajectory(0.025, x=0.25, y=1.0)], egos=egos(8.0))["deviation"]
    assert [part["horizon_s"] for part in result] == [1.0, 2.0, 3.0]
    for part, ahead in zip(result, (2.0, 4.0, 6.0)):
        assert part["frames"] == 2
        assert part["mean_m"] == pytest.approx(math.hypot(ahead + 0.025, 1.0), abs=0.03)
        assert part["speed_mps"] == pytest.approx(2.0)
    assert judge(trajectory(0.0), egos=egos(8.0, seconds=1.5))["deviation"][-1]["horizon_s"] == 1.0
    assert judge(trajectory(0.0))["deviation"] is None


def test_lateral_offset():
    x = np.arange(0.0, 101.0, 5.0)
    route = Route(np.column_stack([x, np.zeros(21)]), np.full(21, 10.0), np.full(21, 3.5))
    result = judge([trajectory(0.0), trajectory(0.1, y=-1.0)], egos=egos(8.0, y=0.5), route=route)["lateral_offset"]
    assert result == {"recorded_mean_m": 0.5, "recorded_max_m": 0.5, "planned_mean_m": 0.5, "planned_max_m": 1.0}
    assert judge(trajectory(0.0))["lateral_offset"] is None
    alone = judge(trajectory(0.0), route=route)["lateral_offset"]
    assert alone["recorded_max_m"] is None and alone["planned_max_m"] == 0.0


def test_comfort():
    times = np.arange(61) * 0.1
    speeds = np.maximum(10.0 - 2.0 * times, 0.0)
    accelerations = np.where(speeds > 0, -2.0, 0.0)
    accelerations[:5] = -1.0
    yaws = 0.02 * times
    planned = Trajectory(0, times, np.zeros((61, 2)), yaws, speeds, accelerations, "stop")
    commands = [
        ControlCommand(round(t * SECOND), steering, acceleration, 5.0, emergency)
        for t, steering, acceleration, emergency in (
            (0.0, 0.0, 1.0, False),
            (0.1, 0.02, -1.0, True),
            (0.1, 0.5, -3.0, True),
            (0.2, 0.02, -3.0, False),
            (0.3, 0.02, -3.0, True),
        )
    ]
    comfort = judge(planned, commands=commands)["comfort"]
    assert comfort["planned"] == {
        "max_acceleration_mps2": 0.0,
        "max_deceleration_mps2": 2.0,
        "max_jerk_mps3": 10.0,
        "max_lateral_acceleration_mps2": pytest.approx(9.9 * 0.02),
    }
    assert comfort["commanded"] == {
        "max_acceleration_mps2": 1.0,
        "max_deceleration_mps2": 3.0,
        "max_jerk_mps3": 20.0,
        "max_steering_rate_radps": pytest.approx(4.8),
        "emergencies": 2,
    }
    assert judge([])["comfort"] == {"planned": None, "commanded": None}


def test_the_judgement_is_json():
    x = np.arange(0.0, 101.0, 5.0)
    route = Route(np.column_stack([x, np.zeros(21)]), np.full(21, 10.0), np.full(21, 3.5))
    result = judge_driving(
        [trajectory(0.0)], moving(20.7, 0.0), egos(8.0), [ControlCommand(0, 0.0, 0.0, 0.0)], route=route
    )
    assert json.loads(json.dumps(result, allow_nan=False)) == result


places, angles, extents = st.floats(-4, 4), st.floats(-7, 7), st.floats(0.5, 5)
rectangles = st.tuples(st.tuples(places, places), angles, st.tuples(extents, extents))


@settings(max_examples=200, deadline=None)
@given(first=rectangles, second=rectangles)
def test_rectangles_overlap_where_sampled_points_of_one_lie_in_the_other(first: tuple, second: tuple):
    grid = np.stack(np.meshgrid(np.linspace(-0.5, 0.5, 41), np.linspace(-0.5, 0.5, 41)), -1).reshape(-1, 2)
    (centre, yaw, size), (other_centre, other_yaw, other_size) = first, second
    turn = np.array([[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]])
    points = np.array(centre) + (grid * size) @ turn.T
    back = np.array([[math.cos(other_yaw), -math.sin(other_yaw)], [math.sin(other_yaw), math.cos(other_yaw)]])
    inside = (np.abs((points - other_centre) @ back) <= np.array(other_size) / 2).all(axis=1).any()
    arguments = [np.array(value) for value in (*first, *second)]
    overlap = bool(rectangles_overlap(*arguments))
    assert overlap == bool(rectangles_overlap(*arguments[3:], *arguments[:3]))
    if inside:
        assert overlap
    elif overlap:
        # The samples may miss a corner by a grid step; a slightly smaller rectangle must then be clear.
        smaller = [*arguments[:2], arguments[2] * 0.9, *arguments[3:5], arguments[5] * 0.85]
        assert not rectangles_overlap(*smaller)


def test_rectangles_broadcast_and_know_nothing_of_nan():
    centres = np.array([[0.0, 0.0], [4.9, 0.0], [5.1, 0.0], [math.nan, 0.0]])
    first = (np.zeros(2), np.array(0.0), np.array([5.0, 2.0]))
    result = rectangles_overlap(*first, centres, np.zeros(4), np.array([5.0, 2.0]))
    np.testing.assert_array_equal(result, [True, True, False, False])
