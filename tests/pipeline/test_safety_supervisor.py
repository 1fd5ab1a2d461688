"""The supervisor over whole drives: planner and controller obey it, on a kinematic bicycle at 10 Hz."""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Callable, List, Optional, Sequence, Tuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_planning_closed_loop import (
    CONFIG,
    DELAY,
    PERIOD,
    STEP,
    WHEELBASE,
    Actor,
    constant_speed,
    contacts_of,
    offsets,
    s_curve_route,
    straight_route,
    tracks_of,
)

from l4edge_perception.safety_types import AlarmCount, SafetyStatus, SafetyVerdict, State, Verdict
from l4edge_perception.types import MEANINGS, OBJECT_CLASSES, ControlCommand, EgoState, Route, Tracks, Trajectory
from l4edge_pipeline.control import Controller, ControllerConfig
from l4edge_pipeline.planning import Planner
from l4edge_pipeline.planning.route import route_line
from l4edge_pipeline.planning.safe_stop import stop_place
from l4edge_pipeline.safety.config import SupervisorConfig
from l4edge_pipeline.safety.obedience import Obedience
from l4edge_pipeline.safety.supervisor import Supervisor, way_to_command
from l4edge_pipeline.stages import load_stages

SECOND = 1_000_000_000
TABLE = load_stages(monitor=True)
CHAIN = TABLE.chains["sensor_to_command"].stages
COMFORTABLE = CONFIG.comfortable_deceleration_mps2
START_S = 100.0  # stamps of 0 mean nothing

Verdicts = Callable[[float], Optional[SafetyVerdict]]
CLEAN = SafetyVerdict(0, Verdict.CERTIFIED, "agreed", covered=1.0)
ALARM = SafetyVerdict(0, Verdict.ALARM, "disagreed", covered=1.0)


def always(_: float) -> SafetyVerdict:
    return CLEAN


def everything(_: str, __: float) -> bool:
    return True


@dataclass
class Drive:
    """What happened; one entry a frame."""

    egos: List[EgoState] = field(default_factory=list)
    statuses: List[SafetyStatus] = field(default_factory=list)
    trajectories: List[Trajectory] = field(default_factory=list)
    commands: List[ControlCommand] = field(default_factory=list)
    contacts: List[object] = field(default_factory=list)

    def of(self, name: str) -> np.ndarray:
        return np.array([getattr(ego, name) for ego in self.egos])

    @property
    def states(self) -> List[State]:
        return [status.state for status in self.statuses]

    @property
    def hardest(self) -> float:
        """The hardest braking that was commanded, metres per second squared."""
        return -min(command.acceleration for command in self.commands)


def drive(
    route: Route,
    seconds: float,
    speed: float,
    verdicts: Verdicts = always,
    actors: Sequence[Actor] = (),
    alive: Callable[[str, float], bool] = everything,
    supervised: bool = True,
    see: Callable[[Sequence[Actor], float, EgoState], Tracks] = tracks_of,
) -> Drive:
    """Run the loop: camera, stages, monitor and supervisor.

    Args:
        verdicts: of the monitor at a time in seconds; the stamp is filled in.
        alive: whether the stage, "monitor" or "supervisor" works at a time in seconds.
        supervised: False: planner and controller are told of no status.
    """
    planner, controller = Planner(CONFIG), Controller(ControllerConfig())
    supervisor, obedience = Supervisor(TABLE, SupervisorConfig()), Obedience()
    x = y = yaw = acceleration = steering = 0.0
    acting, waiting, result = ControlCommand(0, 0.0, 0.0, speed), [], Drive()
    status: Optional[SafetyStatus] = None
    trajectory: Optional[Trajectory] = None
    for step in range(round(seconds / STEP)):
        time = step * STEP
        if step % round(PERIOD / STEP) == 0:
            stamp = round((time + START_S) * SECOND)
            ego = EgoState(stamp, x, y, yaw, speed, speed * math.tan(steering) / WHEELBASE, acceleration)
            held = obedience.obeyed(status, stamp) if supervised else None
            reached = [all(alive(one, time) for one in CHAIN[: number + 1]) for number in range(len(CHAIN))]
            working = [name for name, works in zip(CHAIN, reached) if works]
            if "planning" in working:
                tracks = dataclasses.replace(see(actors, time, ego), stamp_ns=stamp)
                trajectory = planner.plan(tracks, ego, route, held)
            halt = held is not None and held.state == State.MINIMAL_RISK_MANOEUVRE
            command = controller.command(trajectory, ego, stamp, halt)
            for name in working:
                supervisor.take_pass(name, 0, stamp, 1.0, stamp)
            supervisor.take_ego(ego, stamp)
            said = verdicts(time) if alive("monitor", time) else None
            if said is not None:
                supervisor.take_verdict(dataclasses.replace(said, stamp_ns=stamp), stamp)
            if alive("supervisor", time):
                status = supervisor.status(stamp)
            waiting.append((step + round(DELAY / STEP), command))
            result.egos.append(ego)
            result.commands.append(command)
            result.statuses.append(held or SafetyStatus(stamp))
            if trajectory is not None:
                result.trajectories.append(trajectory)
        if waiting and waiting[0][0] <= step:
            acting = waiting.pop(0)[1]
        steering = acting.steering_angle
        acceleration += (acting.acceleration - acceleration) * STEP / 0.15
        moved = max(speed + acceleration * STEP, 0.0)
        yaw += (speed + moved) / 2 * math.tan(steering) / WHEELBASE * STEP
        x += (speed + moved) / 2 * math.cos(yaw) * STEP
        y += (speed + moved) / 2 * math.sin(yaw) * STEP
        speed = moved
        if actors and step % 5 == 0:
            result.contacts += contacts_of(len(result.egos) - 1, (x, y, yaw), actors, time + STEP)
    return result


def between(start: float, end: float, during: Optional[SafetyVerdict], otherwise: SafetyVerdict = CLEAN) -> Verdicts:
    return lambda time: during if start <= time < end else otherwise


def test_a_clean_drive_is_nominal_and_the_same_as_without_a_supervisor():
    route, lead = s_curve_route(40.0), [Actor(constant_speed(25.0, 0.0, 7.0))]
    supervised = drive(route, 8.0, 8.0, actors=lead)
    alone = drive(route, 8.0, 8.0, actors=lead, supervised=False)
    assert set(supervised.states) == {State.NOMINAL}
    assert supervised.commands == alone.commands
    assert supervised.statuses[-1].verdict == Verdict.CERTIFIED


def test_one_alarm_slows_down_gently_and_is_forgotten_after_clean_frames():
    result = drive(straight_route(limit=13.0), 14.0, 13.0, between(3.0, 3.1, ALARM))
    assert max(result.states) == State.CAUTION and result.states[-1] == State.NOMINAL
    assert 25 < result.states.count(State.CAUTION) < 40
    assert result.of("speed").min() < 10.0 and result.egos[-1].speed > 11.5
    assert "caution" in {trajectory.reason for trajectory in result.trajectories}
    assert result.hardest < 1.2 * CONFIG.anticipated_deceleration_mps2


def test_caution_holds_the_speed_cap_and_the_larger_headway():
    lead = [Actor(constant_speed(30.0, 0.0, 7.0))]
    result = drive(straight_route(limit=13.0), 25.0, 10.0, between(1.0, 30.0, ALARM, CLEAN), lead, see=tracks_of)
    assert State.DEGRADED in result.states  # it lasts: here only what CAUTION does before that matters
    rare = drive(straight_route(limit=13.0), 25.0, 10.0, lambda t: ALARM if round(t * 10) % 5 == 0 else CLEAN, lead)
    assert set(rare.states[10:]) == {State.CAUTION}
    gap = lead[0].motion(25.0)[0] - 2.25 - rare.egos[-1].x - CONFIG.front_m
    assert gap == pytest.approx(CONFIG.standstill_gap_m + 7 * SupervisorConfig().caution_time_gap_s, abs=1.5)
    assert rare.egos[-1].speed < 8.1


def test_a_confirmed_alarm_stops_comfortably_and_clean_frames_let_the_vehicle_go_on():
    result = drive(straight_route(limit=13.0), 40.0, 13.0, between(2.0, 9.0, ALARM))
    assert State.DEGRADED in result.states and State.MINIMAL_RISK_MANOEUVRE not in result.states
    first = result.states.index(State.DEGRADED)
    assert 0.4 <= first * PERIOD - 2.0 <= 0.8  # six alarms
    assert result.of("speed").min() < 0.05
    assert result.hardest <= COMFORTABLE
    assert "safe_stop" in {trajectory.reason for trajectory in result.trajectories}
    assert result.states[-1] == State.NOMINAL and result.egos[-1].speed > 4.0
    order = [state for before, state in zip(result.states, result.states[1:]) if state != before]
    assert order == [State.CAUTION, State.DEGRADED, State.CAUTION, State.NOMINAL]


def test_an_alarm_that_lasts_ends_in_the_manoeuvre_and_stays_there():
    result = drive(straight_route(limit=13.0), 25.0, 13.0, between(2.0, 60.0, ALARM))
    assert result.states[-1] == State.MINIMAL_RISK_MANOEUVRE
    assert result.egos[-1].speed < 0.05 and result.hardest <= COMFORTABLE


runs = st.lists(
    st.tuples(
        st.sampled_from([
            CLEAN, ALARM, None, dataclasses.replace(ALARM, alarm_count=AlarmCount(3, 3, 5, True)),
            *(SafetyVerdict(0, Verdict.UNCERTIFIED, reason) for reason in ("size", "deadline", "model", "margin")),
        ]),
        st.integers(1, 40),
    ),
    min_size=1, max_size=6,
)  # fmt: skip


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(runs, st.sampled_from([14.0, 9.0]), st.booleans())
def test_whatever_the_monitor_says_nobody_brakes_harder_than_comfortably(
    history: Sequence[Tuple[Optional[SafetyVerdict], int]], speed: float, straight: bool
):
    """An alarm alone must not become the attack: stages are healthy, nothing is in the way."""
    said = [verdict for verdict, count in history for _ in range(count)]
    route = straight_route(limit=speed) if straight else s_curve_route(100.0)
    result = drive(route, 0.1 * len(said) + 4.0, speed, lambda time: said[min(round(time * 10), len(said) - 1)])
    assert result.hardest <= COMFORTABLE + 1e-6
    assert result.of("acceleration").min() >= -COMFORTABLE - 1e-6
    assert all(trajectory.accelerations.min() >= -COMFORTABLE - 1e-6 for trajectory in result.trajectories)
    assert np.abs(offsets(result, route)).max() < 0.5  # type: ignore[arg-type]


@pytest.mark.parametrize("stage", ["detection", "tracking", "planning"])
def test_a_stage_that_dies_leads_to_the_manoeuvre_along_the_last_trajectory(stage: str):
    route = s_curve_route(40.0)
    result = drive(route, 16.0, 8.0, alive=lambda name, time: name != stage or time < 6.0)
    first = result.states.index(State.MINIMAL_RISK_MANOEUVRE)
    assert 6.4 <= first * PERIOD <= 6.9
    assert result.statuses[first].reasons == (f"stage {stage}: silent",)
    assert result.egos[-1].speed < 0.05 and all(command.emergency for command in result.commands[first:])
    assert result.hardest <= COMFORTABLE + 0.1
    assert np.abs(offsets(result, route)).max() < 0.5  # type: ignore[arg-type]


def test_with_every_network_dead_the_vehicle_stops_where_its_last_trajectory_would_have():
    """A standing car 34 m ahead of a vehicle at 12 m/s takes more than comfortable braking; nobody sees it later."""
    car = [Actor(constant_speed(34.0, 0.0, 0.0))]
    result = drive(
        straight_route(limit=13.0), 10.0, 12.0, actors=car,
        alive=lambda name, time: time < 0.35 or name not in ("detection", "monitor", "tracking", "planning"),
    )  # fmt: skip
    assert result.states[-1] == State.MINIMAL_RISK_MANOEUVRE
    assert not result.contacts and result.egos[-1].speed < 0.05


def test_a_supervisor_that_dies_stops_the_vehicle():
    result = drive(straight_route(limit=13.0), 14.0, 10.0, alive=lambda name, time: name != "supervisor" or time < 5.0)
    first = result.states.index(State.MINIMAL_RISK_MANOEUVRE)
    assert 5.3 <= first * PERIOD <= 5.7 and result.statuses[first].reasons == ("supervisor: silent",)
    assert result.egos[-1].speed < 0.05 and result.hardest <= COMFORTABLE + 0.1


def test_a_supervisor_that_never_comes_up_stops_the_vehicle_after_the_time_to_start():
    result = drive(straight_route(limit=10.0), 8.0, 5.0, alive=lambda name, _: name != "supervisor")
    assert result.states[40] == State.NOMINAL and result.states[-1] == State.MINIMAL_RISK_MANOEUVRE


def test_a_monitor_that_dies_is_uncertified_within_two_periods_and_degraded_after_a_while():
    result = drive(straight_route(limit=13.0), 20.0, 10.0, alive=lambda name, time: name != "monitor" or time < 5.0)
    verdicts = [status.verdict for status in result.statuses]
    lost = verdicts.index(Verdict.UNCERTIFIED, 5) * PERIOD
    assert 5.0 < lost <= 5.3  # the status that says so is obeyed with the frame after it
    caution, degraded = (result.states.index(state) * PERIOD for state in (State.CAUTION, State.DEGRADED))
    assert 6.0 <= caution <= 6.5 and 10.0 <= degraded <= 10.5
    assert "monitor: missing" in result.statuses[-1].reasons
    assert result.egos[-1].speed < 0.05 and result.hardest <= COMFORTABLE


def test_lost_localization_ends_in_the_manoeuvre():
    supervisor = Supervisor(TABLE, SupervisorConfig())
    states = []
    for frame in range(40):
        now = round((START_S + frame * PERIOD) * SECOND)
        for name in CHAIN:
            supervisor.take_pass(name, 0, now, 1.0, now)
        supervisor.take_verdict(dataclasses.replace(CLEAN, stamp_ns=now), now)
        lost = frame >= 20
        supervisor.take_ego(EgoState(now, math.nan if lost else frame * 1.0, 0.0, 0.0, 10.0), now)
        states.append(supervisor.status(now).state)
    assert set(states[:20]) == {State.NOMINAL} and states[20] == State.CAUTION
    assert states[-1] == State.MINIMAL_RISK_MANOEUVRE


def test_late_stages_are_told_only_where_time_means_something():
    for timed, expected in ((True, State.DEGRADED), (False, State.NOMINAL)):
        supervisor = Supervisor(TABLE, SupervisorConfig(), timed)
        for frame in range(20):
            now = round((START_S + frame * PERIOD) * SECOND)
            for name in CHAIN:
                supervisor.take_pass(name, 0, now, 500.0, now)
            supervisor.take_verdict(dataclasses.replace(CLEAN, stamp_ns=now), now)
            supervisor.take_ego(EgoState(now, frame * 1.0, 0.0, 0.0, 10.0), now)
            state = supervisor.status(now).state
        assert state == expected


def test_a_table_without_chains_is_watched_stage_by_stage():
    table = dataclasses.replace(TABLE, chains={})
    assert way_to_command(table) == [name for name in TABLE.stages if name != "safety"]
    rest = dataclasses.replace(table, stages={name: TABLE.stages[name] for name in ("sensing", "planning")})
    supervisor = Supervisor(rest, SupervisorConfig())
    for frame in range(300):
        now = round((START_S + frame * PERIOD) * SECOND)
        supervisor.take_pass("sensing", 0, now, 1.0, now)
        supervisor.take_pass("safety", 0, now, 1.0, now)  # of no account
    assert "stage planning: silent" in supervisor.status(now).reasons


# Where DEGRADED stops


def sign_tracks(*places: Tuple[float, float], meaning: str = "speed_50") -> Tracks:
    """Signs at (x, y), read as something."""
    count = len(places)
    meanings = np.zeros((count, len(MEANINGS)), np.float32)
    meanings[:, MEANINGS.index(meaning)] = 0.99
    none = np.zeros(count, np.float32)
    class_ids = np.full(count, OBJECT_CLASSES.index("sign"), np.int32)
    return Tracks(
        0, np.arange(count), np.zeros((count, 4), np.float32), none + 1, class_ids, none + 1,
        none, np.array(places, np.float64).reshape(-1, 2), np.zeros((count, 2)),
        np.full((count, 3), np.nan, np.float32), meanings,
    )  # fmt: skip


def chosen(route: Route, front: float, speed: float, tracks: Tracks) -> float:
    line = route_line(route, CONFIG.maximum_speed_mps, CONFIG.curvature_window_m)
    assert line is not None
    return stop_place(line, front, speed, tracks, [], CONFIG)


def test_the_first_comfortable_place_is_taken_on_a_free_straight_road():
    place = chosen(straight_route(), 30.0, 9.0, sign_tracks())
    assert place == pytest.approx(30.0 + 9.0 / 2 + 81.0 / 3)


def test_a_place_behind_a_sign_is_no_place_whatever_the_sign_is_read_as():
    free = chosen(straight_route(), 30.0, 9.0, sign_tracks())
    sign = free - 5.0  # arc length; the route starts at x = -20
    place = chosen(straight_route(), 30.0, 9.0, sign_tracks((sign - 20.0, -3.0)))
    assert place > sign + CONFIG.safe_stop_junction_m
    ahead = chosen(straight_route(), 30.0, 9.0, sign_tracks((free + 5.0 - 20.0, -3.0)))
    assert ahead == free
    beside_another_road = chosen(straight_route(), 30.0, 9.0, sign_tracks((sign - 20.0, -30.0)))
    assert beside_another_road == free


def test_no_place_in_a_curve_unless_there_is_no_other():
    route = s_curve_route(40.0)  # straight to 60 m, then curves to about 144 m
    straight_on = chosen(route, 30.0, 6.0, sign_tracks())
    assert straight_on < 60.0
    assert 90.0 < chosen(route, 65.0, 6.0, sign_tracks()) < 105.0  # where the left curve becomes a right one


def test_a_sign_under_attack_is_stopped_for_before_its_line():
    """Read as a speed limit by a network that a patch misleads; the alarm comes early enough for comfort."""
    sign = sign_tracks((80.0, -3.0))

    def see(_: Sequence[Actor], __: float, ego: EgoState) -> Tracks:
        return sign if ego.x < 78.0 else sign_tracks()

    attacked = drive(straight_route(limit=12.0), 14.0, 12.0, lambda t: ALARM if t > 0.9 else CLEAN, see=see)
    unwatched = drive(straight_route(limit=12.0), 14.0, 12.0, see=see)
    assert unwatched.egos[-1].x > 120.0
    assert attacked.egos[-1].speed < 0.05 and attacked.egos[-1].x + CONFIG.front_m < 80.0
    assert attacked.hardest <= COMFORTABLE
