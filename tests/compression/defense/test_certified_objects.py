"""The study of certified objects: counting, the two cases checked by hand, and the page that shows the results."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from l4edge_compression.defense.detectors import PictureDetector
from l4edge_compression.defense.objectness import Objectness, ObjectnessSettings
from l4edge_compression.studies.certified_objects import hand_checked, objects_table
from l4edge_compression.studies.certified_objects_page import command
from l4edge_compression.studies.objects_judging import MASKS, Scene, judge, make_variants, passes
from l4edge_perception.packages import load_package
from l4edge_perception.types import OBJECT_CLASSES, Detections
from tests.conftest import REPOSITORY

PAGE = "docs/objects_certification.md"


def test_the_two_cases_checked_by_hand():
    assert hand_checked() == {"hidden_behind_every_mask": False, "always_in_sight": True}


def test_counting():
    """A detector that always sees one of two cars: half of the objects are certified everywhere, the other nowhere."""
    car, other = (100.0, 70, 200, 160), (300.0, 70, 400, 160)
    known = Detections(0, np.array([car], np.float32), np.array([0.9], np.float32), np.zeros(1, np.int32))
    pixels = np.full((360, 640, 3), 90, np.uint8)
    scene = Scene(pixels, np.array([car, other]), np.zeros(2, np.int64), np.array([car, other]))
    variants = {name: chosen for name, chosen in make_variants([0.5]).items() if name.startswith("lines 5")}

    result = judge(PictureDetector(lambda _: known), iter([scene, scene]), None, 0.4, variants, lambda _: None)
    assert (result["frames"], result["objects"], result["undefended_recall"]) == (2, 4, 0.5)
    entry = result["variants"]["lines 5, 0.5"]
    assert entry["passes"] == 20
    assert entry["objects"] == {"all": 4, "large": 4}
    assert entry["frames_alarmed"] == 0
    assert entry["certified"]["all"]["16"]["far"] == 0.5
    assert entry["positions"]["16"]["far"] == 0.5


def test_objectness_counts_road_users_alone():
    """A car that is seen and a sign that is not: half of the objects, but all road users, are found."""
    car, sign = (100.0, 70, 200, 160), (300.0, 70, 320, 90)
    known = Detections(0, np.array([car], np.float32), np.array([0.9], np.float32), np.zeros(1, np.int32))
    labels = np.array([0, OBJECT_CLASSES.index("sign")])
    scene = Scene(np.full((360, 640, 3), 90, np.uint8), np.array([car, sign]), labels, np.array([car, sign]))
    guard = Objectness(load_package(REPOSITORY / "models" / "objectness"), ObjectnessSettings())

    result = judge(PictureDetector(lambda _: known), iter([scene]), guard, 0.4, {}, lambda _: None)
    assert (result["objects"], result["undefended_recall"]) == (2, 0.5)
    assert result["objectness"]["objects"]["all"] == 1
    assert result["objectness"]["undefended_recall"] == 1.0


def test_passes_of_the_variants():
    assert [passes(settings) for settings in make_variants([0.5]).values()] == [4, 8, 20, 12, 24]
    assert len(make_variants([0.4, 0.6])) == 2 * len(MASKS)


def test_the_page_shows_the_results(tmp_path):
    """Figures on the page are those of the files; made again, it does not change."""
    results = REPOSITORY / "docs/results/certification"
    if not list(results.glob("objects-*.json")):
        pytest.skip("no result files")
    copy = tmp_path / "page.md"
    before = (REPOSITORY / PAGE).read_text(encoding="utf-8")
    copy.write_text(before, encoding="utf-8")
    outcome = CliRunner().invoke(command, [str(results), str(copy)])
    assert outcome.exit_code == 0, outcome.output
    assert copy.read_text(encoding="utf-8") == before
    rows = objects_table(results)
    assert {row["patch_px"] for row in rows} == {16, 32}
    for path in results.glob("objects-*.json"):
        checked = json.loads(path.read_text(encoding="utf-8"))["hand_checked"]
        assert checked == {"hidden_behind_every_mask": False, "always_in_sight": True}


def test_without_results_it_says_so(tmp_path):
    outcome = CliRunner().invoke(command, [str(tmp_path), str(REPOSITORY / PAGE)])
    assert "no objects-*.json" in str(outcome.exception)
