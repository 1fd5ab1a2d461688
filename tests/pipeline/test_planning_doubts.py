"""Signs that alarms are about: how the vehicle comes up to them while nobody knows yet what they say."""

import dataclasses
from typing import Callable, Sequence

import numpy as np
import pytest
from test_planning_closed_loop import CONFIG, Actor, straight_route
from test_safety_supervisor import ALARM, CLEAN, COMFORTABLE, SECOND, drive, sign_tracks

from l4edge_perception.safety_types import AlarmCount, Hazard, ObjectVerdict, SafetyVerdict, State, Verdict
from l4edge_perception.types import EgoState, Tracks
from l4edge_pipeline.planning.doubts import approach
from l4edge_pipeline.planning.route import route_line
from l4edge_pipeline.planning.signals import Place
from l4edge_pipeline.safety.config import SupervisorConfig
from l4edge_pipeline.safety.health import VerdictWatch

SIGN_M = 40.0
TRACK = 0  # what sign_tracks calls its first sign


def alarmed(count: int, confirmed: bool = False, hazard: Hazard = Hazard.LABEL) -> SafetyVerdict:
    sign = ObjectVerdict(TRACK, hazard, (0.0, 0.0, 30.0, 30.0), 4, 0.9, Verdict.ALARM, "disagreed")
    return dataclasses.replace(ALARM, objects=(sign,), alarm_count=AlarmCount(count, 4, 6, confirmed))


def see(_: Sequence[Actor], __: float, ego: EgoState) -> Tracks:
    """A sign read as a limit; in view until the camera has nearly reached it."""
    return sign_tracks((SIGN_M, -3.0)) if ego.x < SIGN_M - 4.0 else sign_tracks()


def said(since: float, until: float, confirms: bool) -> Callable[[float], SafetyVerdict]:
    """Alarms between two times; after the fourth they are confirmed, or never."""

    def verdict(time: float) -> SafetyVerdict:
        if not since <= time < until:
            return CLEAN
        count = 1 + round((time - since) / 0.1)
        return alarmed(min(count, 6) if confirms else min(count, 3), confirms and count >= 4)

    return verdict


def test_a_misread_stop_sign_is_stopped_for_though_its_alarm_comes_late():
    """22 m before the sign at 8 m/s: to wait for the confirmation would be too late for comfort."""
    attacked = drive(straight_route(limit=8.0), 20.0, 8.0, said(1.8, 99.0, confirms=True), see=see)
    assert attacked.egos[18].x + CONFIG.front_m == pytest.approx(SIGN_M - 22.0, abs=0.5)
    assert attacked.egos[-1].speed < 0.05 and attacked.egos[-1].x + CONFIG.front_m < SIGN_M
    assert attacked.hardest <= COMFORTABLE + 1e-6
    assert "doubted_sign" in {trajectory.reason for trajectory in attacked.trajectories}
    assert State.DEGRADED in attacked.states
    unwatched = drive(straight_route(limit=8.0), 8.0, 8.0, see=see)
    assert unwatched.egos[-1].x > SIGN_M + 5.0


def test_alarms_that_are_never_confirmed_cost_time_and_no_more():
    doubted = drive(straight_route(limit=8.0), 20.0, 8.0, said(1.8, 2.2, confirms=False), see=see)
    assert max(doubted.states) == State.CAUTION
    assert doubted.hardest <= COMFORTABLE + 1e-6
    assert doubted.of("speed").min() < 6.0
    assert doubted.egos[-1].x > SIGN_M + 5.0 and doubted.egos[-1].speed > 6.0


def test_a_sign_out_of_view_is_stopped_for_although_alarms_are_over():
    """Alarms end where the sign leaves the picture; the vehicle stands before it as before a stop sign."""

    def until_near(time: float) -> SafetyVerdict:
        return said(1.8, 99.0, confirms=True)(time) if time < 4.0 else CLEAN

    def seen(_: Sequence[Actor], time: float, ego: EgoState) -> Tracks:
        return see(_, time, ego) if time < 4.0 else sign_tracks()

    attacked = drive(straight_route(limit=8.0), 30.0, 8.0, until_near, see=seen)
    speeds, fronts = attacked.of("speed"), attacked.of("x") + CONFIG.front_m
    assert speeds[fronts < SIGN_M].min() < 0.3, "it stands before the sign"
    assert fronts[-1] > SIGN_M and attacked.hardest <= COMFORTABLE + 1e-6


def test_an_alarm_that_does_not_count_is_no_doubt():
    """Too small, or nothing dangerous at stake: the monitor says so by not counting it."""
    uncounted = drive(straight_route(limit=8.0), 8.0, 8.0, lambda t: alarmed(0) if 1.8 <= t < 2.4 else CLEAN, see=see)
    assert "doubted_sign" not in {trajectory.reason for trajectory in uncounted.trajectories}
    assert State.CAUTION in uncounted.states


def test_a_sign_that_is_too_near_for_comfort_is_driven_past():
    late = drive(straight_route(limit=8.0), 8.0, 8.0, said(3.5, 3.9, confirms=False), see=see)
    assert late.hardest <= COMFORTABLE + 1e-6
    assert "doubted_sign" not in {trajectory.reason for trajectory in late.trajectories}


def test_suspects_are_signs_under_alarm_and_kept_until_alarms_are_over():
    config, watch = SupervisorConfig(), VerdictWatch()
    for count, expected in ((0, ()), (1, (TRACK,))):
        verdict = dataclasses.replace(alarmed(count), stamp_ns=(100 + count) * SECOND)
        watch = watch.heard(verdict, verdict.stamp_ns, config)
        assert watch.suspects == expected
    clean = dataclasses.replace(CLEAN, stamp_ns=103 * SECOND)
    assert watch.heard(clean, clean.stamp_ns, config).suspects == (TRACK,)
    assert watch.cleared().suspects == ()
    hidden = dataclasses.replace(alarmed(2, hazard=Hazard.HIDING), stamp_ns=101 * SECOND)
    assert VerdictWatch().heard(hidden, hidden.stamp_ns, config).suspects == ()


def test_a_doubt_is_remembered_out_of_view_and_forgotten_when_it_is_over():
    line = route_line(straight_route(), CONFIG.maximum_speed_mps, CONFIG.curvature_window_m)
    assert line is not None
    place, nothing = Place(30.0, 28.0, 8.0), sign_tracks()
    beside = sign_tracks((40.0, -3.0), (60.0, -30.0))
    doubts, stops = approach((), (0, 1), beside, line, place, CONFIG)
    assert [doubt.track_id for doubt in doubts] == [0], "a sign of another road is none"
    assert len(stops) == 1 and stops[0].deceleration == COMFORTABLE
    assert np.isclose(doubts[0].s, 60.0), "the route begins 20 m behind the origin"
    for suspects in ((0,), ()):
        kept, _ = approach(doubts, suspects, nothing, line, place, CONFIG)
        assert kept == doubts, "nobody can object to what is out of view"
    assert approach(doubts, (), beside, line, place, CONFIG) == ((), []), "in view, and nobody objects"
    assert approach(doubts, (0,), nothing, line, place._replace(front=61.0), CONFIG) == ((), [])
