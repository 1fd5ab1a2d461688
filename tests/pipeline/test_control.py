"""The controller command by command: steering, speed law, limits and the watchdog."""

import dataclasses
import math
from typing import Any, Optional

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l4edge_perception.types import ControlCommand, EgoState, Trajectory
from l4edge_pipeline.control import Controller, ControllerConfig
from l4edge_pipeline.control.steering import nearest_point

CONFIG = ControllerConfig()
SECOND = 1_000_000_000
START = 10 * SECOND


def arc(speed: float = 10.0, curvature: float = 0.0, acceleration: float = 0.0, **changes: Any) -> Trajectory:
    """Six seconds from the origin along an arc, with constant acceleration, at rest once that stops the vehicle."""
    times = np.arange(61) * 0.1
    speeds = np.maximum(speed + acceleration * times, 0.0)
    distances = np.concatenate([[0.0], np.cumsum((speeds[1:] + speeds[:-1]) / 2 * 0.1)])
    yaws = curvature * distances
    if curvature:
        positions = np.column_stack([np.sin(yaws), 1 - np.cos(yaws)]) / curvature
    else:
        positions = np.column_stack([distances, np.zeros(61)])
    accelerations = np.where(speeds > 0, acceleration, 0.0)
    return dataclasses.replace(Trajectory(START, times, positions, yaws, speeds, accelerations, "cruise"), **changes)


def ego(speed: float = 10.0, **changes: Any) -> EgoState:
    return dataclasses.replace(EgoState(START, 0.0, 0.0, 0.0, speed), **changes)


def unhurried(trajectory: Trajectory, state: EgoState, **parameters: float) -> ControlCommand:
    """The first command of a controller whose rates are not limited."""
    config = dataclasses.replace(CONFIG, maximum_steering_rate_radps=1e3, maximum_jerk_mps3=1e3, **parameters)
    return Controller(config).command(trajectory, state, START)


@pytest.mark.parametrize("curvature", [-0.1, -0.02, 0.0, 0.05, 0.15])
def test_on_the_path_it_steers_the_paths_curvature(curvature: float):
    delay = CONFIG.actuation_delay_s
    state = ego(5.0, yaw_rate=5.0 * curvature)
    command = unhurried(arc(5.0, curvature), state)
    assert math.tan(command.steering_angle) / CONFIG.wheelbase_m == pytest.approx(curvature, abs=2e-3 + delay * 1e-2)


@pytest.mark.parametrize(("y", "yaw", "sign"), [(1.0, 0.0, -1), (-1.0, 0.0, 1), (0.0, 0.1, -1), (0.0, -0.1, 1)])
def test_it_steers_back_to_the_path(y: float, yaw: float, sign: int):
    assert unhurried(arc(), ego(y=y, yaw=yaw)).steering_angle * sign > 0.01


def test_it_steers_for_where_the_vehicle_will_be_when_the_command_acts():
    """Turned away from the path, the vehicle will be further off when the command acts later."""
    soon, late = (unhurried(arc(), ego(yaw=0.05), actuation_delay_s=delay) for delay in (0.1, 0.3))
    assert late.steering_angle < soon.steering_angle < 0


@pytest.mark.parametrize(
    ("x", "y", "distance", "offset"),
    [(10.0, 2.0, 2.0, 2.0), (10.0, -2.0, 2.0, -2.0), (-3.0, 0.0, 3.0, 0.0), (63.0, 4.0, 5.0, 4.0)],
)
def test_nearest_point(x: float, y: float, distance: float, offset: float):
    point = nearest_point(arc().positions, arc().yaws, ego(x=x, y=y), 1.0)
    assert point.distance == pytest.approx(distance)
    assert point.offset == pytest.approx(offset)
    assert point.curvature == pytest.approx(0.0)


def test_nearest_point_turns_over_the_seam_of_the_angle():
    positions = np.column_stack([-np.arange(10.0), np.zeros(10)])
    yaws = np.array([math.pi, -math.pi] * 5)
    point = nearest_point(positions, yaws, ego(x=-3.0, yaw=-3.1), 1.0)
    assert point.heading_error == pytest.approx(2 * math.pi - 3.1 - math.pi)
    assert point.curvature == pytest.approx(0.0)


def test_a_path_without_length_has_no_curvature_and_keeps_the_steering():
    controller = Controller(CONFIG)
    angle = controller.command(arc(5.0, 0.1), ego(5.0, yaw_rate=0.5), START).steering_angle
    assert angle > 0.2
    stamp = START + SECOND // 10
    standing = arc(0.0, stamp_ns=stamp)
    assert controller.command(standing, ego(0.0, stamp_ns=stamp), stamp).steering_angle == angle


@pytest.mark.parametrize(
    ("planned", "speed", "low", "high"),
    [
        pytest.param(1.0, 10.0, 0.99, 1.01, id="feed-forward"),
        pytest.param(-2.0, 10.0, -2.01, -1.99, id="feed-forward braking"),
        pytest.param(0.0, 9.0, 0.55, 0.75, id="too slow"),
        pytest.param(0.0, 11.0, -0.75, -0.55, id="too fast"),
        pytest.param(-5.0, 15.0, -6.0, -6.0, id="limited braking"),
        pytest.param(1.5, 5.0, 2.0, 2.0, id="limited acceleration"),
    ],
)
def test_speed_law(planned: float, speed: float, low: float, high: float):
    assert low - 1e-9 <= unhurried(arc(10.0, 0.0, planned), ego(speed)).acceleration <= high + 1e-9


def test_the_integral_takes_away_a_lasting_error_and_does_not_wind_up():
    """A drive train that loses 0.3 m/s^2 ends at the wanted speed; a slope too steep for the limits adds nothing."""
    controller, speed = Controller(CONFIG), 10.0
    for frame in range(400):
        stamp = START + frame * SECOND // 10
        command = controller.command(arc(stamp_ns=stamp), ego(speed, stamp_ns=stamp), stamp)
        speed += (command.acceleration - 0.3) * 0.1
    assert speed == pytest.approx(10.0, abs=0.05)

    integral = controller.state.integral
    for frame in range(400, 600):
        stamp = START + frame * SECOND // 10
        controller.command(arc(stamp_ns=stamp), ego(2.0, stamp_ns=stamp), stamp)
    assert controller.state.integral == integral


def test_it_holds_at_standstill_until_the_trajectory_moves_off():
    controller = Controller(CONFIG)
    held = controller.command(arc(0.0), ego(0.0), START)
    assert held.acceleration == -CONFIG.holding_deceleration_mps2 and not held.emergency
    stamp = START + SECOND // 10
    moving = controller.command(arc(0.0, 0.0, 1.0, stamp_ns=stamp), ego(0.0, stamp_ns=stamp), stamp)
    assert moving.acceleration > 0 and moving.speed > 0


BAD = {
    "none": None,
    "old": arc(stamp_ns=START - SECOND),
    "from the future": arc(stamp_ns=START + SECOND),
    "NaN position": arc(positions=np.full((61, 2), math.nan)),
    "NaN speed": arc(speeds=np.full(61, math.nan)),
    "infinite acceleration": arc(accelerations=np.full(61, math.inf)),
    "times that stand still": arc(times=np.zeros(61)),
    "elsewhere": arc(positions=arc().positions + [0.0, 5.0]),
    "one point": Trajectory(START, *(np.zeros(shape) for shape in (1, (1, 2), 1, 1, 1))),
    "no point": Trajectory(START, *(np.zeros(shape) for shape in (0, (0, 2), 0, 0, 0))),
}


@pytest.mark.parametrize("trajectory", BAD.values(), ids=BAD.keys())
def test_an_unusable_trajectory_stops_the_vehicle_comfortably_and_holds_it(trajectory: Optional[Trajectory]):
    controller, speed = Controller(CONFIG), 10.0
    good = controller.command(arc(), ego(), START)
    assert not good.emergency and good.stamp_ns == START
    for frame in range(1, 80):
        stamp = START + frame * SECOND // 10
        shown = trajectory
        if trajectory is not None:
            shown = dataclasses.replace(trajectory, stamp_ns=trajectory.stamp_ns + stamp - START)
        command = controller.command(shown, ego(speed, stamp_ns=stamp, x=0.0), stamp)
        assert command.emergency and command.stamp_ns == stamp and command.speed == 0
        assert -CONFIG.safe_stop_deceleration_mps2 <= command.acceleration < 0
        speed = max(speed + command.acceleration * 0.1, 0.0)
    assert speed == 0 and command.acceleration == -CONFIG.holding_deceleration_mps2

    stamp += SECOND // 10
    recovered = controller.command(arc(5.0, 0.0, 1.0, stamp_ns=stamp), ego(5.0, stamp_ns=stamp), stamp)
    assert not recovered.emergency and recovered.acceleration > 0


@pytest.mark.parametrize("state", [None, ego(x=math.nan), ego(stamp_ns=START - SECOND), ego(speed=math.inf)])
def test_an_unusable_ego_state_stops_the_vehicle(state: Optional[EgoState]):
    command = Controller(CONFIG).command(arc(), state, START)
    assert command.emergency and math.isfinite(command.steering_angle) and command.acceleration < 0


def test_age_is_measured_by_stamps():
    edge = round(CONFIG.maximum_trajectory_age_s * 1e9)
    for age, emergency in ((edge, False), (edge + 1, True)):
        command = Controller(CONFIG).command(arc(), ego(stamp_ns=START + age, x=5.0), START + age)
        assert command.emergency == emergency


def test_a_safe_stop_steers_along_the_last_path():
    """4 m straight, then an arc: the last command before the silence steers straight, those in it steer the arc."""
    distances = 8.0 * 0.1 * np.arange(61)
    yaws = 0.05 * np.maximum(distances - 4.0, 0.0)
    steps = np.diff(distances)[:, None] * np.column_stack([np.cos(yaws), np.sin(yaws)])[:-1]
    path = arc(8.0, positions=np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)]), yaws=yaws)
    controller = Controller(CONFIG)
    assert controller.command(path, ego(8.0), START).steering_angle == pytest.approx(0.0, abs=1e-3)
    stamp = START + SECOND
    pose = {"x": path.positions[10, 0], "y": path.positions[10, 1], "yaw": yaws[10], "yaw_rate": 0.4}
    command = controller.command(None, ego(8.0, stamp_ns=stamp, **pose), stamp)
    assert command.emergency
    assert math.tan(command.steering_angle) / CONFIG.wheelbase_m == pytest.approx(0.05, abs=0.01)


def test_a_safe_stop_does_not_release_an_emergency_braking():
    controller = Controller(CONFIG)
    for frame in range(5):
        stamp = START + frame * SECOND // 10
        hard = controller.command(arc(10.0, 0.0, -5.5, stamp_ns=stamp), ego(stamp_ns=stamp), stamp)
    stamp += SECOND // 10
    assert controller.command(None, ego(8.0, stamp_ns=stamp), stamp).acceleration == hard.acceleration


def test_rates_are_limited_by_the_time_between_stamps():
    controller = Controller(CONFIG)
    first = controller.command(arc(), ego(), START)
    same = controller.command(arc(10.0, 0.15, -6.0), ego(), START)
    assert (same.steering_angle, same.acceleration) == (first.steering_angle, first.acceleration)
    stamp = START + SECOND // 20
    later = controller.command(arc(10.0, 0.15, -6.0), ego(stamp_ns=stamp, x=0.5), stamp)
    assert later.steering_angle == pytest.approx(first.steering_angle + 0.05 * CONFIG.maximum_steering_rate_radps)
    assert later.acceleration == pytest.approx(first.acceleration - 0.05 * CONFIG.maximum_jerk_mps3)


def test_a_stamp_a_little_before_the_last_one_changes_nothing_at_once():
    controller = Controller(CONFIG)
    later = START + SECOND // 5
    silent = controller.command(None, ego(stamp_ns=later), later)
    back = controller.command(arc(10.0, 0.1, 1.0), ego(), START)
    assert not back.emergency
    assert (back.steering_angle, back.acceleration) == (silent.steering_angle, silent.acceleration)
    assert controller.state.stamp_ns == later


def test_a_clock_set_back_starts_anew():
    controller = Controller(CONFIG)
    later = START + 100 * SECOND
    controller.command(arc(stamp_ns=later), ego(stamp_ns=later), later)
    assert controller.command(arc(), ego(), START) == Controller(CONFIG).command(arc(), ego(), START)


numbers = st.one_of(st.floats(-50, 50), st.sampled_from([math.nan, math.inf, 0.0]))


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_whatever_goes_in_commands_are_finite_and_within_limits(data: st.DataObject):
    controller, stamp, last = Controller(CONFIG), START, None
    for _ in range(4):
        elapsed = data.draw(st.integers(0, SECOND // 2))
        stamp += elapsed
        state = None
        if data.draw(st.booleans()):
            values = data.draw(st.tuples(numbers, numbers, numbers, numbers, numbers, numbers))
            state = EgoState(stamp - data.draw(st.integers(-SECOND, SECOND)), *values)
        trajectory = None
        if data.draw(st.booleans()):
            speed, curvature = data.draw(st.floats(0, 30)), data.draw(st.floats(-0.3, 0.3))
            age = data.draw(st.integers(-SECOND, SECOND))
            trajectory = arc(speed, curvature, data.draw(st.floats(-8, 3)), stamp_ns=stamp - age)
        command = controller.command(trajectory, state, stamp)
        assert all(math.isfinite(value) for value in (command.steering_angle, command.acceleration, command.speed))
        assert abs(command.steering_angle) <= CONFIG.maximum_steering_rad + 1e-9
        limits = -CONFIG.maximum_deceleration_mps2 - 1e-9, CONFIG.maximum_acceleration_mps2 + 1e-9
        assert limits[0] <= command.acceleration <= limits[1]
        if last is not None:
            seconds = elapsed / 1e9 + 1e-9
            assert abs(command.steering_angle - last.steering_angle) <= CONFIG.maximum_steering_rate_radps * seconds
            assert abs(command.acceleration - last.acceleration) <= CONFIG.maximum_jerk_mps3 * seconds
        last = command
