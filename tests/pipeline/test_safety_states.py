"""The machine of safety states: one-way escalation, return by hysteresis, and what each watch asks for."""

import dataclasses
import math
from typing import Any, List, Optional, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l4edge_perception.errors import InputError
from l4edge_perception.safety_types import AlarmCount, ObjectVerdict, SafetyVerdict, State, Verdict
from l4edge_perception.types import EgoState
from l4edge_pipeline.safety.config import SupervisorConfig
from l4edge_pipeline.safety.health import LocalizationWatch, SensorWatch, StageWatch, VerdictWatch
from l4edge_pipeline.safety.states import (
    ALARM,
    LOCALIZATION,
    MONITOR,
    SENSOR,
    Demand,
    Inputs,
    SafetyState,
    advance,
)

CONFIG = SupervisorConfig()
SECOND = 1_000_000_000
PERIOD = SECOND // 10
START = 100 * SECOND
CAUSES = (ALARM, MONITOR, SENSOR, LOCALIZATION, "stage detection")
STATES = (State.CAUTION, State.DEGRADED, State.MINIMAL_RISK_MANOEUVRE)


def asking(cause: str, state: State) -> Inputs:
    return Inputs((Demand(cause, state, "word"),), frames=1)


def calm(state: SafetyState, frames: int, now_ns: int, standing: bool = False, certified: bool = True) -> SafetyState:
    """Frames without a demand, one each tenth of a second from ``now_ns`` on."""
    for frame in range(1, frames + 1):
        inputs = Inputs((), 1, int(certified), standing)
        state = advance(state, inputs, now_ns + frame * PERIOD, CONFIG)
    return state


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize("wanted", STATES)
def test_a_cause_escalates_at_once_and_returns_one_state_at_a_time(cause: str, wanted: State):
    state = advance(SafetyState(), asking(cause, wanted), START, CONFIG)
    assert state.state == wanted and state.reasons == (f"{cause}: word",)
    now = START
    for held in range(wanted, State.NOMINAL, -1):
        frames, wait_ns = CONFIG.hysteresis(State(held))
        needed = max(frames, math.ceil(wait_ns / PERIOD))
        state = calm(state, needed - 1, now, standing=True)
        assert state.state == held
        now += (needed - 1) * PERIOD
        state = calm(state, 1, now, standing=True)
        now += PERIOD
        assert state.state == held - 1
    assert state == SafetyState()


def test_the_vehicle_is_in_the_highest_state_of_all_causes_and_names_them():
    demands = (Demand(SENSOR, State.CAUTION, "silent"), Demand(ALARM, State.DEGRADED, "confirmed"))
    state = advance(SafetyState(), Inputs(demands), START, CONFIG)
    assert state.state == State.DEGRADED
    assert state.reasons == ("alarm: confirmed", "sensor: silent")


def test_a_weaker_demand_neither_lowers_the_state_nor_lets_the_way_back_begin():
    state = advance(SafetyState(), asking(ALARM, State.DEGRADED), START, CONFIG)
    for frame in range(1, 200):
        state = advance(state, asking(ALARM, State.CAUTION), START + frame * PERIOD, CONFIG)
    assert state.state == State.DEGRADED and state.held[0].clean == 0


def test_time_alone_does_not_lead_back_and_frames_alone_neither():
    state = advance(SafetyState(), asking(ALARM, State.CAUTION), START, CONFIG)
    assert advance(state, Inputs(), START + 1000 * SECOND, CONFIG).state == State.CAUTION
    many = Inputs((), 1000, 1000)
    assert advance(state, many, START + SECOND, CONFIG).state == State.CAUTION
    assert advance(state, many, START + 1000 * SECOND, CONFIG).state == State.NOMINAL


def test_only_certified_frames_clear_what_the_monitor_has_said():
    state = advance(SafetyState(), asking(ALARM, State.CAUTION), START, CONFIG)
    assert calm(state, 500, START, certified=False).state == State.CAUTION
    state = advance(SafetyState(), asking(SENSOR, State.CAUTION), START, CONFIG)
    assert calm(state, 500, START, certified=False).state == State.NOMINAL


def test_the_manoeuvre_ends_at_a_standstill_only():
    state = advance(SafetyState(), asking(SENSOR, State.MINIMAL_RISK_MANOEUVRE), START, CONFIG)
    rolling = calm(state, 500, START, standing=False)
    assert rolling.state == State.MINIMAL_RISK_MANOEUVRE
    assert calm(rolling, 1, START + 600 * PERIOD, standing=True).state == State.DEGRADED


def test_a_clock_that_runs_back_holds_the_state():
    state = advance(SafetyState(), asking(ALARM, State.CAUTION), START, CONFIG)
    assert advance(state, Inputs((), 1000, 1000), START - SECOND, CONFIG).state == State.CAUTION


steps = st.lists(
    st.tuples(st.lists(st.tuples(st.sampled_from(CAUSES), st.sampled_from(STATES)), max_size=3), st.booleans()),
    max_size=60,
)


@settings(max_examples=100, deadline=None)
@given(steps)
def test_a_state_never_falls_while_it_is_asked_for_and_never_rises_by_itself(history: Sequence):
    state, now = SafetyState(), START
    for wishes, standing in history:
        now += PERIOD
        demands = tuple(Demand(cause, wanted, "word") for cause, wanted in wishes)
        before, state = state, advance(state, Inputs(demands, 1, 1, standing), now, CONFIG)
        asked = max((wanted for _, wanted in wishes), default=State.NOMINAL)
        assert state.state >= asked
        assert state.state <= max(asked, before.state)
        assert before.state - state.state <= 1 or asked > State.NOMINAL
        assert len({entry.cause for entry in state.held}) == len(state.held)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"alarm_count": 11}, "alarm_count"), ({"late_caution": 9}, "late_caution"),
        ({"silence_s": 0.1}, "sensor_caution"), ({"degraded_speed_mps": 9.0}, "degraded_speed"),
        ({"period_s": 0.0}, "period_s"), ({"jump_m": math.nan}, "jump_m"),
    ],
)  # fmt: skip
def test_numbers_that_cannot_be_are_named(changes: dict, name: str):
    with pytest.raises(InputError, match=name):
        SupervisorConfig(**changes)


# The watches


def camera(frames: int = 1) -> SensorWatch:
    """A camera whose last frame came at START."""
    watch = SensorWatch(PERIOD)
    for frame in range(frames):
        moment = START - (frames - 1 - frame) * PERIOD
        watch = watch.frame(moment, moment, CONFIG)
    return watch


def state_of(demand: Optional[Demand]) -> State:
    return State.NOMINAL if demand is None else demand.state


def test_a_camera_that_falls_silent_or_freezes_is_told():
    watch = camera()
    assert state_of(watch.demand(START + 2 * PERIOD, CONFIG)) == State.NOMINAL
    assert state_of(watch.demand(START + 4 * PERIOD, CONFIG)) == State.CAUTION
    assert state_of(watch.demand(START + 6 * PERIOD, CONFIG)) == State.MINIMAL_RISK_MANOEUVRE
    frozen = watch
    for frame in range(1, 7):
        frozen = frozen.frame(START, START + frame * PERIOD, CONFIG)
    assert state_of(frozen.demand(START + 6 * PERIOD, CONFIG)) == State.MINIMAL_RISK_MANOEUVRE
    assert state_of(SensorWatch(PERIOD).demand(START, CONFIG)) == State.NOMINAL  # nobody drives yet


def test_a_recording_that_starts_again_is_a_camera_that_works():
    watch = camera().frame(SECOND, START + PERIOD, CONFIG)
    assert watch.stamp_ns == SECOND and watch.stamp_now(START + 2 * PERIOD) == SECOND + PERIOD


def test_a_silent_stage_is_told_unless_it_gets_nothing_to_work_on():
    watch = StageWatch("detection").ended(True, False, START, CONFIG)
    fed = START - SECOND
    assert state_of(watch.demand(fed, START + 4 * PERIOD, CONFIG)) == State.NOMINAL
    assert state_of(watch.demand(fed, START + 6 * PERIOD, CONFIG)) == State.MINIMAL_RISK_MANOEUVRE
    assert state_of(watch.demand(None, START + 6 * PERIOD, CONFIG)) == State.NOMINAL
    # After a gap of its predecessor it has the same time again.
    assert state_of(watch.demand(START + 5 * PERIOD, START + 6 * PERIOD, CONFIG)) == State.NOMINAL


def test_a_stage_that_never_answers_is_told_after_the_time_to_start():
    watch = StageWatch("detection")
    assert state_of(watch.demand(START, START + 10 * SECOND, CONFIG)) == State.NOMINAL
    assert state_of(watch.demand(START, START + 21 * SECOND, CONFIG)) == State.MINIMAL_RISK_MANOEUVRE


@pytest.mark.parametrize(("late", "state"), [(3, 0), (4, 1), (7, 1), (8, 2), (10, 2)])
def test_late_passes_count_within_the_last_ten(late: int, state: int):
    watch = StageWatch("planning")
    for number in range(25):
        watch = watch.ended(True, number >= 25 - late, START, CONFIG)
    assert state_of(watch.demand(START, START, CONFIG)) == state
    for _ in range(10):
        watch = watch.ended(True, False, START, CONFIG)
    assert watch.demand(START, START, CONFIG) is None


def ego(stamp_ns: int = START, x: float = 0.0, **changes: float) -> EgoState:
    return dataclasses.replace(EgoState(stamp_ns, x, 0.0, 0.0, 10.0), **changes)


def localization(*messages: Optional[EgoState], now_ns: int = START) -> LocalizationWatch:
    watch = LocalizationWatch()
    for message in messages:
        watch = watch.heard(message, now_ns, CONFIG)
    return watch


@pytest.mark.parametrize(
    ("second", "state"),
    [
        (ego(START, 1.0), State.NOMINAL),
        (ego(START, 1.0, speed=9.0, yaw=0.05), State.NOMINAL),
        (ego(START, 3.0), State.DEGRADED),
        (ego(START, 1.0, y=1.5), State.DEGRADED),
        (ego(START, 1.0, yaw=0.5), State.DEGRADED),
        (ego(START, 1.0, yaw=2 * math.pi), State.NOMINAL),
        (ego(START, math.nan), State.CAUTION),
        (ego(START, 1.0, speed=math.inf), State.CAUTION),
        (None, State.CAUTION),
    ],
)
def test_odometry_that_jumps_or_is_no_number_is_told(second: Optional[EgoState], state: State):
    watch = localization(ego(START - PERIOD, 0.0), second)
    assert state_of(watch.demand(camera(), START, CONFIG)) == state


def test_old_odometry_is_told_by_its_stamp_and_by_its_silence():
    assert state_of(localization(ego()).demand(camera(), START, CONFIG)) == State.NOMINAL
    assert state_of(localization(ego(START - 4 * PERIOD)).demand(camera(), START, CONFIG)) == State.CAUTION
    old = localization(ego(START - 6 * PERIOD)).demand(camera(), START, CONFIG)
    assert state_of(old) == State.MINIMAL_RISK_MANOEUVRE
    watch, sensor = localization(ego(), now_ns=START), camera(20)
    for frame in range(1, 7):
        sensor = sensor.frame(START + frame * PERIOD, START + frame * PERIOD, CONFIG)
        watch = watch.heard(ego(START + frame * PERIOD, math.nan), START + frame * PERIOD, CONFIG)
    assert state_of(watch.demand(sensor, START + 6 * PERIOD, CONFIG)) == State.MINIMAL_RISK_MANOEUVRE
    assert state_of(LocalizationWatch().demand(camera(), START + PERIOD, CONFIG)) == State.NOMINAL  # just started


def verdict(
    kind: Verdict = Verdict.CERTIFIED, reason: str = "agreed", stamp_ns: int = START, **changes: Any
) -> SafetyVerdict:
    return SafetyVerdict(stamp_ns, kind, reason, **changes)


def heard(kinds: List[SafetyVerdict], now_ns: int = START) -> VerdictWatch:
    watch = VerdictWatch()
    for entry in kinds:
        watch = watch.heard(entry, now_ns, CONFIG)
    return watch


def test_a_verdict_is_believed_for_no_longer_than_two_periods():
    watch, sensor = heard([verdict()]), camera()
    for elapsed in range(0, 4 * PERIOD, PERIOD // 10):
        believed = watch.believed(sensor, START + elapsed, CONFIG)
        if believed[0] == Verdict.CERTIFIED:
            # Until the next look it stays believed, so that this must come before the two periods are over.
            assert elapsed + CONFIG.period_s * SECOND <= 2 * PERIOD
        else:
            assert believed == (Verdict.UNCERTIFIED, "missing") and elapsed > PERIOD


def test_a_verdict_that_lags_repeats_or_cannot_be_read_is_none():
    sensor = camera()
    late = heard([verdict(stamp_ns=START - 3 * PERIOD)])
    assert late.believed(sensor, START, CONFIG) == (Verdict.UNCERTIFIED, "missing")
    repeated = heard([verdict()]).heard(verdict(), START + 3 * PERIOD, CONFIG)
    assert repeated.believed(sensor, START + 3 * PERIOD, CONFIG)[0] == Verdict.UNCERTIFIED
    broken = heard([verdict()]).heard(None, START, CONFIG)
    assert broken.believed(sensor, START, CONFIG) == (Verdict.UNCERTIFIED, "fault")
    assert VerdictWatch().believed(sensor, START, CONFIG) == (Verdict.UNCERTIFIED, "missing")


def run(kinds: Sequence[SafetyVerdict]) -> List[State]:
    """The state asked for after each frame, one each tenth of a second."""
    watch, sensor, states = VerdictWatch(), SensorWatch(PERIOD), []
    for frame, entry in enumerate(kinds):
        now = START + frame * PERIOD
        sensor = sensor.frame(now, now, CONFIG)
        watch = watch.heard(dataclasses.replace(entry, stamp_ns=now), now, CONFIG).at(sensor, now, CONFIG)
        states.append(max((demand.state for demand in watch.demands(sensor, now, CONFIG)), default=State.NOMINAL))
    return states


def test_one_alarm_is_caution_six_of_ten_degraded_and_a_lasting_one_the_manoeuvre():
    states = run([verdict(), verdict(Verdict.ALARM, "disagreed"), verdict()])
    assert states == [State.NOMINAL, State.CAUTION, State.NOMINAL]
    states = run([verdict(Verdict.ALARM, "disagreed")] * 100)
    assert states[4] == State.CAUTION and states[5] == State.DEGRADED
    assert states[84] == State.DEGRADED and states[90] == State.MINIMAL_RISK_MANOEUVRE


def test_an_alarm_that_the_monitor_confirms_counts_at_once():
    confirmed = verdict(Verdict.ALARM, "disagreed", alarm_count=AlarmCount(3, 3, 5, True))
    assert run([confirmed]) == [State.DEGRADED]


def test_alarms_that_the_monitor_counts_and_does_not_confirm_stay_at_caution():
    counted = verdict(Verdict.ALARM, "disagreed", alarm_count=AlarmCount(1, 4, 6, False))
    assert set(run([counted] * 100)) == {State.CAUTION}


def test_an_alarm_on_an_object_is_one_of_the_frame():
    suspect = ObjectVerdict(7, 0, (0, 0, 9, 9), 4, 0.9, Verdict.ALARM, "disagreed")  # type: ignore[arg-type]
    untracked = dataclasses.replace(suspect, object_id=None)
    watch = heard([verdict(objects=(suspect, untracked))])
    assert watch.believed(camera(), START, CONFIG)[0] == Verdict.ALARM
    assert watch.suspects == (7,)


@pytest.mark.parametrize(
    ("reason", "highest"),
    [
        ("size", State.CAUTION), ("margin", State.CAUTION), ("low_confidence", State.CAUTION),
        *((reason, State.DEGRADED) for reason in ("deadline", "input", "model", "self_test", "fault")),
    ],
)  # fmt: skip
def test_uncertified_frames_escalate_by_what_they_tell_of(reason: str, highest: State):
    states = run([verdict(Verdict.UNCERTIFIED, reason)] * 100)
    assert states[9] == State.NOMINAL and states[12] == State.CAUTION
    assert states[-1] == max(states) == highest


def test_single_uncertified_frames_ask_for_nothing():
    assert set(run([verdict(), verdict(Verdict.UNCERTIFIED, "deadline")] * 100)) == {State.NOMINAL}
