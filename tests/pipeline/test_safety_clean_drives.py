"""Drives without an attack: what is counted of them, and that the page says what was measured."""

import json
from pathlib import Path

import pytest

from l4edge_perception.errors import InputError
from l4edge_perception.safety_types import AlarmCount, Hazard, ObjectVerdict, SafetyVerdict, State, Verdict
from l4edge_pipeline.safety.clean_drives import BEGIN, END, on_page, outcomes, summary

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "docs" / "results" / "certification" / "clean-drives.json"
BOX = (0.0, 0.0, 30.0, 30.0)


def frame(verdict, reason="agreed", hazards=(), count=0):
    objects = tuple(ObjectVerdict(None, hazard, BOX, 0, 0.9, Verdict.ALARM, "disagreed") for hazard in hazards)
    return SafetyVerdict(1, verdict, reason, objects=objects, alarm_count=AlarmCount(count, 2, 4, count >= 2))


FRAMES = (
    frame(Verdict.CERTIFIED),
    frame(Verdict.ALARM, "disagreed", (Hazard.LABEL, Hazard.HIDING), 1),
    frame(Verdict.ALARM, "disagreed", (Hazard.LABEL,), 2),
    frame(Verdict.UNCERTIFIED, "size"),
)
STATES = (State.NOMINAL, State.CAUTION, State.DEGRADED, State.CAUTION)


def test_every_alarm_is_counted_before_and_after_it_is_confirmed():
    drive = outcomes("one", FRAMES, STATES, ["alarm: raised"] * 3, 0.1)
    assert (drive.frames, drive.seconds, drive.certified, drive.uncertified) == (4, 0.4, 1, {"size": 1})
    assert (drive.alarms, drive.labels, drive.hiding, drive.confirmed, drive.most) == (2, 2, 1, 1, 2)
    assert (drive.state, drive.caution_s, drive.causes) == ("DEGRADED", pytest.approx(0.3), {"alarm: raised": 3})
    calm = outcomes("two", FRAMES[:1] * 4, STATES[:1] * 4, [], 0.1)
    whole = summary([drive, calm])
    assert (whole["frames_alarmed"], whole["frames_certified"], whole["above_caution"]) == (0.25, 0.625, 1)
    assert whole["alarms_per_hour"] == pytest.approx(2 / 0.8 * 3600)
    assert whole["confirmed_per_hour"] == pytest.approx(1 / 0.8 * 3600)


def test_the_page_says_what_was_measured():
    page = (ROOT / "docs" / "safety.md").read_text(encoding="utf-8")
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    assert on_page(page, result) == page
    assert result["summary"]["drives"] == len(result["drives"]) >= 10
    with pytest.raises(InputError, match=r"lines .* are missing"):
        on_page(END + BEGIN, result)


def test_no_clean_drive_goes_above_caution():
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    assert {drive["state"] for drive in result["drives"]} <= {"NOMINAL", "CAUTION"}
    assert result["summary"]["certificates_beyond_covered"] == 0
    assert all(drive["alarms"] >= drive["confirmed"] for drive in result["drives"])
