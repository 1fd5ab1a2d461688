"""The closed loop around the simulated vehicle, what is read off it, and the demonstration's page."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from l4edge_perception.errors import InputError
from l4edge_perception.safety_types import Hazard, ObjectVerdict, SafetyStatus, SafetyVerdict, State, Verdict
from l4edge_perception.types import (
    MEANINGS,
    OBJECT_CLASSES,
    ControlCommand,
    Detections,
    EgoState,
    GroundTruth,
    Tracks,
    Trajectory,
)
from l4edge_pipeline.demonstration.loop import Frame, Networks, Pipeline, drive
from l4edge_pipeline.demonstration.outcomes import MISSED, answer, escalations, judge
from l4edge_pipeline.demonstration.page import render
from l4edge_pipeline.demonstration.requirements import requirements
from l4edge_pipeline.demonstration.results_page import tables
from l4edge_pipeline.demonstration.scenes import (
    ATTACKED,
    CLEAN,
    GUARDED,
    STANDING,
    STOP,
    Target,
    stage,
)
from l4edge_pipeline.demonstration.settings import PRINTS, SCENES
from l4edge_pipeline.demonstration.stickers import Print, load_print
from l4edge_pipeline.demonstration.stories import Story

REPOSITORY = Path(__file__).parents[2]

BOX = (100.0, 50.0, 130.0, 80.0)
SIGN = Target(3, 7, 100.0, 0.7, 0.7, (0.0, 0.0, 2.2), 1)
VEHICLE = replace(SIGN, width=1.9, height=1.4, facing=-1)


@pytest.fixture(scope="session")
def renderer():
    if importlib.util.find_spec("mujoco") is None:
        pytest.skip("needs the extra simulation")
    from l4edge_simulation.rendering.renderer import Renderer

    try:
        return Renderer(320, 180)
    except InputError as error:
        pytest.skip(str(error))


def frame(
    speed=10.0, word="stop", box=BOX, kind="sign", state=None, alarm=None, contacts=(), truth_box=BOX, reason="cruise"
):
    """One period; ``alarm``: box under an alarm. ``word`` "" leaves the sign unread, ``box`` None the object unseen."""
    zeros, stamp = np.zeros(2), 100
    detections = Detections.empty(stamp)
    if box is not None:
        meanings = np.zeros((1, len(MEANINGS)), np.float32)
        if word:
            meanings[0, MEANINGS.index(word)] = 0.9
        class_ids = np.array([OBJECT_CLASSES.index(kind)], np.int32)
        detections = Detections(stamp, np.array([box], np.float32), np.array([0.8], np.float32), class_ids, meanings)
    truth = GroundTruth(
        stamp, np.array([7]), np.array([4], np.int32), np.array([truth_box], np.float32), np.ones(1, np.float32),
        np.zeros((1, 3)), zeros[:1], np.zeros((1, 2)), np.ones((1, 3), np.float32), np.zeros(1, bool), ("stop",),
    )
    count = len(detections)
    tracks = Tracks(
        stamp, np.arange(count), detections.boxes, detections.scores, detections.class_ids, np.ones(count),
        np.zeros(count), np.zeros((count, 2)), np.zeros((count, 2)), np.ones((count, 3)),
    )
    verdict = status = None
    if state is not None:
        objects = () if alarm is None else (
            ObjectVerdict(1, Hazard.LABEL, alarm, 4, 0.8, Verdict.ALARM, "disagreed"),
            ObjectVerdict(None, Hazard.HIDING, alarm, 255, 0.0, Verdict.ALARM, "disagreed"),  # of no known class
        )
        said = Verdict.ALARM if alarm is not None else Verdict.CERTIFIED
        verdict = SafetyVerdict(stamp, said, "disagreed" if alarm else "agreed", objects=objects)
        status = SafetyStatus(stamp, state)
    jpeg = cv2.imencode(".jpg", np.full((90, 160, 3), 90, np.uint8))[1].tobytes()
    return Frame(
        jpeg, EgoState(stamp, 0.0, 0.0, 0.0, speed, 0.0, -1.0), truth, detections, tracks,
        Trajectory(stamp, zeros, np.zeros((2, 2)), zeros, zeros, zeros, reason), ControlCommand(stamp, 0.0, 0.0, 0.0),
        list(contacts), verdict, status,
    )


def test_an_answer_is_right_wrong_missed_or_too_small():
    assert answer(frame(), STOP, SIGN).right is True
    assert answer(frame(word="speed_80"), STOP, SIGN).word == "speed_80"
    assert answer(frame(word="speed_80"), STOP, SIGN).right is False
    assert answer(frame(word=""), STOP, SIGN).right is None
    missed = answer(frame(box=None), STOP, SIGN)
    assert missed.word == MISSED and missed.right is False
    assert answer(frame(box=None, truth_box=(100, 50, 108, 58)), STOP, SIGN).right is None
    assert answer(frame(kind="car"), STANDING, VEHICLE).right is True
    assert answer(frame(kind="sign"), STANDING, VEHICLE).right is False
    assert answer(frame(box=(300, 50, 330, 80), kind="car"), STANDING, VEHICLE).right is False
    remembered = replace(frame(box=None), tracks=frame(kind="car").tracks)
    assert answer(remembered, STANDING, VEHICLE).word == MISSED and answer(remembered, STANDING, VEHICLE).right is True


def test_a_drive_past_the_sign_is_no_stop():
    stations = [90.0, 95.0, 97.0, 101.0]
    outcome = judge([frame(word="speed_80")] * 4, stations, STOP, SIGN)
    assert not outcome.stopped and outcome.passed_mps == 10.0 and outcome.target_wrong == 4
    assert outcome.words == {"speed_80": 4} and outcome.alarm_delay is None


def test_standing_far_before_a_sign_counts_only_where_the_safety_state_ends_the_drive():
    stations = [60.0, 60.0]
    assert not judge([frame(speed=0.0)] * 2, stations, STOP, SIGN).stopped
    assert judge([frame(speed=0.0)] * 2, [90.0, 90.0], STOP, SIGN).stopped
    assert judge([frame(speed=0.0, state=State.DEGRADED)] * 2, stations, STOP, SIGN).stopped


def test_an_alarm_about_something_else_is_not_one_about_the_target():
    elsewhere = (10.0, 10.0, 20.0, 20.0)
    frames = [
        frame(state=State.NOMINAL),
        frame(word="yield", state=State.NOMINAL, alarm=elsewhere),
        frame(word="yield", state=State.CAUTION, alarm=BOX),
        frame(word="yield", state=State.DEGRADED, alarm=BOX),
    ]
    outcome = judge(frames, [50.0, 51.0, 52.0, 53.0], STOP, SIGN)
    assert outcome.first_wrong == 1 and outcome.first_alarm == 2 and outcome.alarm_delay == 1
    assert outcome.alarms == 3 and outcome.alarms_elsewhere == 1 and outcome.first_degraded == 3
    assert outcome.highest_state == "DEGRADED"


def test_the_alarms_delay_counts_from_the_size_at_which_the_monitor_judges():
    far = (100.0, 50.0, 118.0, 68.0)
    frames = [frame(word="yield", state=State.NOMINAL, box=far, truth_box=far)] * 4
    frames += [frame(word="yield", state=State.NOMINAL), frame(word="yield", state=State.CAUTION, alarm=BOX)]
    outcome = judge(frames, [50.0] * 6, STOP, SIGN, judged_px=24.0)
    assert (outcome.first_wrong, outcome.first_judged, outcome.first_alarm, outcome.alarm_delay) == (0, 4, 5, 1)
    assert judge(frames, [50.0] * 6, STOP, SIGN).alarm_delay == 5


def test_contact_is_no_stop_however_long_it_stands_afterwards():
    frames = [frame(kind="car"), frame(contacts=["+1/1"]), frame(speed=0.0)]
    outcome = judge(frames, [90.0, 96.2, 96.2], STANDING, VEHICLE)
    assert outcome.contact_mps == 10.0 and not outcome.stopped and not outcome.safe


def test_false_alarms_are_counted_per_hour():
    calm = judge([frame(state=State.NOMINAL)] * 36, [0.0] * 36, "traffic", None)
    alarmed = judge([frame(state=State.DEGRADED, alarm=BOX)] * 36, [0.0] * 36, "traffic", None)
    found = escalations([calm, alarmed])
    assert found["above_caution"] == 1 and found["drives"] == 2
    assert found["alarms_per_hour"] == pytest.approx(36 / (7.2 / 3600))


def outcome_json(**changes):
    given = judge([frame(speed=0.0, state=State.DEGRADED)], [90.0], STOP, SIGN).to_json()
    return {**given, "alarm_delay": 1, "hardest_mps2": 2.0, **changes}


def test_requirements_notice_what_does_not_hold():
    scenes = {STOP: {
        CLEAN: outcome_json(), ATTACKED: outcome_json(stopped=False, passed_mps=12.0), GUARDED: outcome_json(),
    }}
    assert all(row["held"] for row in requirements(scenes, {}))
    for change in (
        {"alarm_delay": 3}, {"alarm_delay": None}, {"highest_state": "CAUTION"}, {"stopped": False},
        {"contact_mps": 1.0}, {"hardest_mps2": 5.0}, {"gap_m": -1.0},
    ):
        worse = {STOP: {**scenes[STOP], GUARDED: outcome_json(**change)}}
        assert not all(row["held"] for row in requirements(worse, {}) if row["required"])
        told = requirements({STANDING: {GUARDED: outcome_json(**change)}}, {})
        assert not all(row["held"] for row in told) and not any(row["required"] for row in told)
    assert not requirements({STOP: {ATTACKED: outcome_json()}}, {})[0]["held"]
    above = {"drives": 2, "above_caution": 1, "alarms_per_hour": 4.0}
    assert not requirements({}, above)[0]["held"]


def test_the_documentation_holds_what_was_measured():
    kept = REPOSITORY / "docs/results/demonstration.json"
    page = (REPOSITORY / "docs/attack_demonstration.md").read_text(encoding="utf-8")
    assert tables(json.loads(kept.read_text(encoding="utf-8"))) in page


@pytest.mark.parametrize("name", sorted(set(PRINTS.values())))
def test_shipped_stickers_say_where_they_go_and_against_what_they_were_made(name):
    sticker = load_print(name)
    assert sticker.texture.ndim == 3 and 0 < sticker.area <= 1
    assert sticker.made["against"] in ("detector", "sign_classifier") and len(sticker.made["graph_sha256"]) == 64


def test_a_missing_sticker_names_its_file(tmp_path):
    with pytest.raises(InputError, match=r"none\.png"):
        load_print("none", tmp_path)


def test_the_page_shows_every_drive(tmp_path):
    pytest.importorskip("jinja2", reason="needs the extra report")
    frames = [frame(word="speed_80", state=State.DEGRADED, alarm=BOX, reason="<b>")] * 3
    answers = [answer(each, STOP, SIGN) for each in frames]
    sticker = Print("<i>", np.zeros((4, 4, 3), np.uint8), 0.3, 0.3, 0.0, 0.0, {"steps": 5})
    story = Story(
        SCENES[STOP], GUARDED, sticker, SIGN, frames, answers, [90.0] * 3, judge(frames, [90.0] * 3, STOP, SIGN)
    )
    results = {
        "passed": False, "requirements": [{"words": "w", "value": "v", "held": False, "required": True}],
        "honesty": ["one line"],
        "clean_drives": {}, "made": {"date": "2026-01-01", "machine": "m"},
    }
    page = render(results, [story])
    assert page.count("data:image/jpeg") >= 2 and "speed_80" in page and "not held" in page
    assert "<i>" not in page and "http:" not in page and "https:" not in page
    json.dumps(results)


@pytest.mark.parametrize("kind", [STOP, STANDING])
def test_a_sticker_changes_only_the_side_that_it_is_on(renderer, kind):
    simulation, target = stage(replace(SCENES[kind], distance_m=14.0), renderer)
    plain = simulation.observe()
    simulation.stickers.append(target.sticker(np.full((8, 8, 3), (250, 0, 250), np.uint8), 0.5, 0.5))
    stuck = simulation.observe()
    row = int(np.flatnonzero(plain.ground_truth.ids == target.identity)[0])
    box = plain.ground_truth.boxes[row].astype(int)
    # The camera's noise differs from picture to picture, but not as much as the sticker's colour.
    rows, columns = np.nonzero(np.abs(stuck.image.astype(int) - plain.image.astype(int)).max(axis=2) > 90)
    assert len(rows) > 10
    inside = (columns >= box[0] - 1) & (columns <= box[2]) & (rows >= box[1] - 1) & (rows <= box[3])
    assert inside.mean() > 0.95


def test_the_vehicle_follows_the_commands_and_sees_what_stands_in_its_way(renderer):
    simulation, target = stage(replace(SCENES[STANDING], distance_m=16.0), renderer)
    pipeline = Pipeline(Networks(), simulation.route(), simulation.camera_model())
    frames = drive(simulation, pipeline, 12, until=lambda driven: driven[-1].ego.speed < 6.0)
    assert answer(frames[-1], STANDING, target).right is True
    assert frames[-1].trajectory.reason == "stop" and frames[-1].command.acceleration < -2.0
    assert frames[-1].ego.speed < frames[1].ego.speed - 0.5
    assert not any(each.contacts for each in frames) and frames[0].jpeg[:2] == b"\xff\xd8"
