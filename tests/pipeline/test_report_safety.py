"""The section of a summary that tells of monitor and supervisor."""

import pytest
from report_factories import PERIOD_NS, make_run, stamp_of, write_run

from l4edge_perception.recordings.messages import to_message
from l4edge_perception.recordings.writer import BagWriter
from l4edge_perception.safety_types import SafetyStatus, SafetyVerdict, State, Verdict
from l4edge_pipeline.report.outputs import read_outputs
from l4edge_pipeline.report.requirements import known_paths, parse_requirements
from l4edge_pipeline.report.safety import SAFETY_KEYS, judge_safety
from l4edge_pipeline.report.tables import flatten, quality_tables
from l4edge_pipeline.stages import load_stages

FRAMES = 20


def status(frame: int, state: State) -> SafetyStatus:
    reasons = ("alarm: raised",) if state else ()
    return SafetyStatus(stamp_of(frame), state, reasons, 8.0, 2.5, Verdict.CERTIFIED, "agreed", (7,))


def verdict(frame: int) -> SafetyVerdict:
    kind, reason = (Verdict.ALARM, "disagreed") if frame in (5, 6) else (Verdict.CERTIFIED, "agreed")
    return SafetyVerdict(stamp_of(frame), *((Verdict.UNCERTIFIED, "size") if frame == 9 else (kind, reason)))


STATES = [State.NOMINAL] * 5 + [State.CAUTION] * 5 + [State.DEGRADED] * 5 + [State.CAUTION] * 2 + [State.NOMINAL] * 3
STATUSES = [SafetyStatus(0), *(status(frame, state) for frame, state in enumerate(STATES))]
VERDICTS = {stamp_of(frame): verdict(frame) for frame in range(FRAMES - 1)}
STAMPS = [stamp_of(frame) for frame in range(FRAMES)]


def test_states_escalations_and_verdicts_are_counted():
    found = judge_safety(STATUSES, VERDICTS, STAMPS)
    seconds = {"nominal": 0.7, "caution": 0.7, "degraded": 0.5, "minimal_risk_manoeuvre": 0.0}
    assert found["states"] == pytest.approx(seconds)
    assert found["highest_state"] == State.DEGRADED
    rises = [(rise["from"], rise["to"]) for rise in found["escalations"]]
    assert rises == [("nominal", "caution"), ("caution", "degraded")]
    assert found["escalations"][0]["seconds"] == pytest.approx(0.5)
    assert found["escalations"][0]["reasons"] == ["alarm: raised"]
    assert found["verdicts"] == {"certified": 16, "uncertified": 1, "alarm": 2}
    assert found["uncertified_reasons"] == {"size": 1}
    assert (found["alarms"], found["frames_without_verdict"]) == (2, 1)
    assert found["alarms_per_hour"] == pytest.approx(2 / 1.9 * 3600)


def test_what_comes_after_the_last_frame_does_not_count():
    after = [status(FRAMES + 6, State.MINIMAL_RISK_MANOEUVRE)]
    assert judge_safety([*STATUSES, *after], VERDICTS, STAMPS) == judge_safety(STATUSES, VERDICTS, STAMPS)


def test_a_gap_between_statuses_is_not_time_in_a_state():
    found = judge_safety([status(0, State.CAUTION), status(500, State.NOMINAL)], {}, [])
    assert found["states"]["caution"] == 1.0 and found["alarms_per_hour"] is None


def test_every_number_can_be_limited_in_a_run_with_the_monitor():
    table = load_stages(monitor=True)
    numbers = {path for path, _ in flatten(judge_safety(STATUSES, VERDICTS, STAMPS))}
    assert {path for path in numbers if not path.startswith("uncertified_reasons")} == set(SAFETY_KEYS)
    assert parse_requirements(["safety.highest_state<=1"], table)[0].limit == 1
    assert not [path for path in known_paths(load_stages()) if path.startswith("safety")]


def test_a_run_is_read_and_shown(tmp_path):
    table = load_stages(monitor=True)
    write_run(tmp_path, load_stages(), range(3), make_run(["sensing"], 3))
    with BagWriter(tmp_path / "more") as bag:
        for value in (*STATUSES[1:], *VERDICTS.values()):
            message = to_message(value)
            topic = "/safety/status" if isinstance(value, SafetyStatus) else "/safety/verdict"
            bag.write(topic, message.__msgtype__, value.stamp_ns, message)
    (tmp_path / "bag").rename(tmp_path / "without")
    (tmp_path / "more").rename(tmp_path / "bag")
    outputs = read_outputs(tmp_path, table)
    assert list(outputs.statuses) == STATUSES[1:]
    assert {stamp: (one.verdict, one.reason) for stamp, one in outputs.verdicts.items()} == {
        stamp: (one.verdict, one.reason) for stamp, one in VERDICTS.items()
    }
    absent = dict.fromkeys(("detection", "tracking", "driving"), "not here")
    summary = {"absent": absent, "safety": judge_safety(outputs.statuses, outputs.verdicts, STAMPS)}
    part = quality_tables(summary)[-1]
    assert part.title == "Safety" and part.rows[0][1:4] == ["degraded", "2", "2"]
    assert "caution 0.7" in part.words and "size 1" in part.words
    assert "nominal to caution: alarm: raised" in part.notes[0]
    assert quality_tables({"absent": absent})[-1].title == "Driving"


def test_without_a_monitor_nothing_is_said(tmp_path):
    write_run(tmp_path, load_stages(), range(3), make_run(["sensing"], 3))
    outputs = read_outputs(tmp_path, load_stages())
    assert not outputs.statuses and not outputs.verdicts


def test_a_status_keeps_its_values_as_a_message():
    from l4edge_perception.recordings.messages import from_message

    for value in (
        SafetyStatus(1),
        SafetyStatus(5 * PERIOD_NS, State.DEGRADED, ("a: b", "c: d"), 5.0, 2.5, Verdict.ALARM, "disagreed", (3, 2**40)),
    ):
        assert from_message(to_message(value, sequence=4)) == value
    message = to_message(SafetyStatus(1))
    message.state = 9
    with pytest.raises(ValueError, match="9"):
        from_message(message)
    message = to_message(SafetyStatus(1, speed_cap=float("nan")))
    with pytest.raises(ValueError, match="speed_cap"):
        from_message(message)
