"""Parts of the safety monitor: escalation, pacing, stored crops, file watch, hidden objects, what a run says of it."""

import dataclasses
import os

import numpy as np
import pytest
from safety_factories import CLASSES, crop_of, self_test, tamper, toy_signs, write_toy_package

from l4edge_compression.defense.detectors import MaskedDetector
from l4edge_compression.defense.explaining import ObjectMaskSettings
from l4edge_compression.defense.free_space import ground_cells
from l4edge_compression.defense.objectness import ObjectnessResult
from l4edge_compression.defense.objects import ObjectMasks
from l4edge_compression.defense.positions import CLOSE, FAR, OVER
from l4edge_compression.defense.verdicts import Certificate, Verdict, WindowResult
from l4edge_perception.camera.detector import Detector
from l4edge_perception.errors import InputError
from l4edge_perception.recordings.cameras import pinhole
from l4edge_perception.safety_types import Claim, FreeSpace, Hazard, ObjectVerdict, SafetyVerdict
from l4edge_perception.safety_types import Verdict as Said
from l4edge_perception.types import Detections
from l4edge_pipeline.resources import find_package
from l4edge_pipeline.safety.assembly import FileWatch, PackageConfig, assemble
from l4edge_pipeline.safety.escalation import OperatingPoints, Pacer
from l4edge_pipeline.safety.evaluation import overclaims, verdict_delays
from l4edge_pipeline.safety.hiding import FreeSpaceConfig, HidingInspector, hidden_verdicts, seen_verdicts
from l4edge_pipeline.safety.monitor import Monitor, MonitorConfig
from l4edge_pipeline.safety.scene import Scene
from l4edge_pipeline.safety.self_test import load_self_test, save_self_test
from l4edge_pipeline.safety.self_test_making import make_self_test
from l4edge_pipeline.safety.trials import judge
from l4edge_pipeline.timing.records import Outcome, StageRecord

STOP, LIMIT, PRIORITY = range(3)
MILLISECOND = 1_000_000


def certificate(verdict, label, least, *disagreeing):
    windows = tuple(WindowResult((0, 0, 8, 8), other, confidence) for other, confidence in disagreeing)
    return Certificate(verdict, "", label, None, 1.0, 10, 10, 1.0, windows, 9, least_confidence=least)


MARGIN = 1e-3


@pytest.mark.parametrize(
    ("given", "expected", "reason"),
    [
        (certificate(Verdict.ALARM, LIMIT, 0.1, (PRIORITY, 0.2)), Verdict.UNCERTIFIED, "low_confidence"),
        (certificate(Verdict.ALARM, LIMIT, 0.1, (PRIORITY, 0.4)), Verdict.ALARM, ""),
        (certificate(Verdict.ALARM, LIMIT, 0.1, (STOP, 0.2)), Verdict.ALARM, ""),
        (certificate(Verdict.ALARM, LIMIT, 0.1, (PRIORITY, 0.2), (STOP, 0.1)), Verdict.ALARM, ""),
        (certificate(Verdict.ALARM, STOP, 0.1, (LIMIT, 0.2)), Verdict.UNCERTIFIED, "low_confidence"),
        (certificate(Verdict.CERTIFIED, LIMIT, 0.2), Verdict.UNCERTIFIED, "low_confidence"),
        (certificate(Verdict.CERTIFIED, LIMIT, 0.3), Verdict.UNCERTIFIED, "low_confidence"),
        (certificate(Verdict.CERTIFIED, LIMIT, 0.3 + MARGIN / 5), Verdict.UNCERTIFIED, "margin"),
        (certificate(Verdict.CERTIFIED, LIMIT, 0.3 + MARGIN / 3), Verdict.CERTIFIED, ""),
        (certificate(Verdict.CERTIFIED, STOP, 0.2), Verdict.CERTIFIED, ""),
    ],
)
def test_the_operating_point_is_that_of_what_each_window_reads(given, expected, reason):
    judged = OperatingPoints(0.0, 0.3).judge(given, CLASSES, MARGIN)
    assert (judged.verdict, judged.reason) == (expected, reason)


def test_operating_points_keep_the_guarantee_for_every_label_and_confidence():
    points, chance = OperatingPoints(0.05, 0.3), np.random.default_rng(5)
    certified = 0
    for _ in range(4000):
        label, confidence = int(chance.integers(3)), float(chance.choice([0.06, 0.2, 0.3, 0.3002, 0.31, 0.9]))
        clean = points.judge(certificate(Verdict.CERTIFIED, label, confidence), CLASSES, MARGIN)
        if clean.verdict != Verdict.CERTIFIED:
            continue
        certified += 1
        # A patch turns the copy's own label over, and what windows say that do not hide it. The one that hides it still
        # says what was certified, but for what arithmetic may do to a probability.
        other = (label + int(chance.integers(1, 3))) % 3
        windows = [(int(chance.integers(3)), float(chance.random())) for _ in range(3)]
        windows.append((label, confidence - MARGIN / 4.0 * float(chance.random())))
        copy = certificate(Verdict.ALARM, other, 0.06, *(window for window in windows if window[0] != other))
        assert points.judge(copy, CLASSES, MARGIN).verdict == Verdict.ALARM
    assert certified > 1000


@pytest.mark.parametrize(("critical", "other"), [(-0.1, 0.3), (0.4, 0.3), (0.0, 1.0)])
def test_operating_points_out_of_range_are_refused(critical, other):
    with pytest.raises(InputError, match="operating points"):
        OperatingPoints(critical, other)


def test_a_step_is_begun_only_if_the_longest_so_far_would_end_in_time():
    now = [0]
    pacer = Pacer(100, 10, lambda: now[0])
    assert pacer.more_time()
    now[0] = 40
    assert pacer.more_time()
    now[0] = 61
    assert not pacer.more_time(), "the last step took 40, 39 are left"
    fresh = Pacer(100, 10, lambda: 91)
    assert not fresh.more_time()


def test_stored_crops_survive_and_broken_ones_are_refused(tmp_path):
    save_self_test(tmp_path / "crops.npz", self_test())
    stored = load_self_test(tmp_path / "crops.npz")
    np.testing.assert_array_equal(stored.clean, self_test().clean)
    np.testing.assert_array_equal(stored.attacked, self_test().attacked)
    (tmp_path / "text.npz").write_text("no crops")
    np.savez(tmp_path / "partial.npz", clean=stored.clean)
    np.savez(tmp_path / "shapes.npz", clean=stored.clean, attacked=stored.clean[:8])
    for name in ("missing", "text", "partial", "shapes"):
        with pytest.raises(InputError, match=name):
            load_self_test(tmp_path / (name + ".npz"))


def test_a_pair_of_crops_is_found_without_gradients(tmp_path):
    write_toy_package(tmp_path / "toy")
    signs = toy_signs(tmp_path / "toy")
    crops = [crop_of((110, 97, 60)), crop_of((100, 97, 60)), crop_of((40, 200, 40))]
    found = make_self_test(signs, crops, seed=1, tries=200)
    assert found.run(lambda crop: signs.crop_certificate(crop, lambda: True, False)) == ""
    changed = (found.clean != found.attacked).any(axis=2)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert max(rows[-1] - rows[0], columns[-1] - columns[0]) < signs.patch.height_px
    with pytest.raises(InputError, match="certified"):
        make_self_test(signs, [crop_of((98, 98, 98))])


def test_a_file_watch_notices_changes_that_keep_the_size(tmp_path):
    path = tmp_path / "graph"
    path.write_bytes(b"abc")
    watch = FileWatch([tmp_path])
    assert not watch.changed()
    status = path.stat()
    path.write_bytes(b"abd")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert watch.changed()
    assert not watch.changed()
    path.unlink()
    assert watch.changed()


def assembled(folder, **changes):
    return assemble(
        PackageConfig(signs=str(folder), detector="off", **changes), None, MonitorConfig(), FreeSpaceConfig(), 100.0, 1
    )


def with_manifest(folder):
    """The toy package with the manifest of a classifier beside it."""
    write_toy_package(folder)
    for path in find_package("sign_classifier").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    save_self_test(folder / "self_test.npz", self_test())
    return folder


def test_a_monitor_is_put_together_from_a_package(tmp_path):
    monitor, watch, refused = assembled(with_manifest(tmp_path / "toy"))
    monitor.check()
    assert (refused, monitor.finding, watch.changed()) == ("", "", False)


@pytest.mark.parametrize("how", ["graph", "settings", "missing"])
def test_a_package_with_a_wrong_hash_leaves_a_monitor_that_certifies_nothing(tmp_path, how):
    tamper(with_manifest(tmp_path / "toy"), how)
    monitor, _, refused = assembled(tmp_path / "toy")
    assert refused
    monitor.check()
    pixels = np.zeros((64, 64, 3), np.uint8)
    verdict = monitor.examine(Scene(1, 0, pixels, Detections.empty(1)))
    assert (verdict.verdict, verdict.reason) == (Said.UNCERTIFIED, "model")


def test_no_package_and_no_crops_are_refusals_too(tmp_path):
    assert assembled(tmp_path)[2]
    (with_manifest(tmp_path / "toy") / "self_test.npz").unlink()
    assert "self_test.npz" in assembled(tmp_path / "toy")[2]


SETTINGS = ObjectMaskSettings(columns=0, rows=0, window_columns=2, window_rows=1, patches=(16,), masked_score=0.99)


@pytest.fixture(scope="module")
def inspector():
    from l4edge_perception.packages import load_package

    return HidingInspector(load_package(find_package("detector")), "rmsmp", SETTINGS, FreeSpaceConfig())


def test_nothing_is_claimed_free_that_was_not_looked_at(inspector):
    pixels = np.full((360, 640, 3), 90, np.uint8)
    camera = pinhole(640, 360, 1.1)
    for passes in range(3):
        left = iter([True] * passes + [False] * 10)
        found, _, free = inspector.inspect(pixels, Detections.empty(5), camera, lambda left=left: next(left))
        assert found.passes == min(passes, found.passes_required)
        assert found.verdict != Verdict.CERTIFIED or found.passes == found.passes_required
        assert free.certified.shape == (9, 5)
        assert not free.certified.any(), "masks alone make no ground free"
    _, _, nowhere = inspector.inspect(pixels, Detections.empty(5), None, lambda: True)
    assert nowhere.certified.size == 0


def test_only_masks_make_ground_free_and_only_at_every_place_of_the_patch():
    from l4edge_perception.packages import load_package

    detector, objectness = (load_package(find_package(name)) for name in ("detector", "objectness"))
    pixels, camera, none = np.full((360, 640, 3), 90, np.uint8), pinhole(640, 360, 1.1), Detections.empty(5)
    windows = dataclasses.replace(SETTINGS, window_columns=6, window_rows=4)
    for settings, width, height, some in ((SETTINGS, 1.6, 1.4, False), (windows, 8.0, 4.0, True)):
        grid = FreeSpaceConfig(object_width_m=width, object_height_m=height)
        inspector = HidingInspector(detector, "rmsmp", settings, grid, objectness=objectness)
        _, looked, free = inspector.inspect(pixels, none, camera, lambda: True)
        assert looked is not None and not looked.alert, "objectness has no objection, which makes nothing free"
        cells = ground_cells(camera, grid.rows(), grid.columns(), width, height)
        masks = ObjectMasks(MaskedDetector(Detector(detector, "rmsmp")), settings)
        proven = masks.inspect(pixels, none, cells=cells, free_classes=(FAR, CLOSE, OVER)).free
        np.testing.assert_array_equal(free.certified.ravel(), proven)
        assert free.certified.any() == some
        box = cells.boxes[np.flatnonzero(cells.in_sight)[0]]
        there = Detections(5, box[None].astype(np.float32), np.ones(1, np.float32), np.zeros(1, np.int32))
        occupied = inspector.inspect(pixels, there, camera, lambda: True)[2]
        assert not occupied.certified.ravel()[np.flatnonzero(cells.in_sight)[0]]


def test_the_files_of_the_detector_are_watched_by_their_hash(inspector):
    assert inspector.verify()
    before = inspector._level
    inspector._level = dataclasses.replace(before, sha256="0" * 64)
    assert not inspector.verify()
    inspector._level = before


def test_an_object_that_only_masked_views_show_is_an_alarm_without_a_name(inspector):
    pixels = np.full((360, 640, 3), 90, np.uint8)
    one = Detections(5, np.array([[100, 100, 160, 150]], np.float32), np.ones(1, np.float32), np.zeros(1, np.int32))
    found, _, _ = inspector.inspect(pixels, one, None, lambda: True)
    hidden = dataclasses.replace(found, hidden=one, witnesses=np.array([[80, 80, 200, 200]], np.float32))
    (alarm,) = hidden_verdicts(hidden)
    assert (alarm.object_id, alarm.hazard, alarm.verdict) == (None, Hazard.HIDING, Said.ALARM)
    assert alarm.disagreeing[0].window == (80.0, 80.0, 200.0, 200.0)
    (seen,) = seen_verdicts(found, [3], 10)
    assert (seen.object_id, seen.verdict) == (3, Said.UNCERTIFIED), "the detector shows nothing there when masked"


def test_a_frame_that_was_looked_at_whole_is_certified_and_a_cut_one_is_not(inspector):
    now = [0]

    def clock():
        now[0] += step[0]
        return now[0]

    step = [0]
    monitor = Monitor(None, inspector, None, MonitorConfig(), 100.0, clock, clock)
    monitor.check()
    scene = Scene(5, 0, np.full((360, 640, 3), 90, np.uint8), Detections.empty(5))
    whole = monitor.examine(scene)
    assert whole.passes_done == whole.passes_required == 2
    # Nothing is claimed about hidden objects while no ground is certified.
    assert (whole.verdict, whole.claim) == (Said.CERTIFIED, Claim.NO_SINGLE_REGION_CAUSE)
    step[0] = 30 * MILLISECOND
    cut = monitor.examine(dataclasses.replace(scene, stamp_ns=6, detections=Detections.empty(6), arrived_ns=now[0]))
    assert cut.passes_done < cut.passes_required
    assert (cut.verdict, cut.reason, cut.claim) == (Said.UNCERTIFIED, "deadline", Claim.NO_CLAIM)
    assert overclaims(cut) == 0


def test_what_objectness_objects_to_is_uncertified_and_an_alarm_only_where_it_lasts(inspector, monkeypatch):
    looks = iter([True, False, True, True, True, False])
    whole = inspector.inspect

    def objecting(*arguments):
        found, _, free = whole(*arguments)
        regions = np.array([[100, 100, 160, 150]] if next(looks) else np.zeros((0, 4)), np.float32)
        cells = np.zeros((1, 1), bool)
        return found, ObjectnessResult(Verdict.ALARM, "disagreed", cells, cells, regions), free

    monkeypatch.setattr(inspector, "inspect", objecting)
    monitor = Monitor(None, inspector, None, MonitorConfig(), 100.0, lambda: 0, lambda: 0)
    monitor.check()
    pixels = np.full((360, 640, 3), 90, np.uint8)
    said = [monitor.examine(Scene(stamp, 0, pixels, Detections.empty(stamp))) for stamp in range(1, 7)]
    doubt, alarm, clean = (Said.UNCERTIFIED, "low_confidence"), (Said.ALARM, "disagreed"), (Said.CERTIFIED, "agreed")
    assert [(one.verdict, one.reason) for one in said] == [doubt, clean, doubt, alarm, alarm, clean]
    assert [len(one.objects) for one in said] == [1, 0, 1, 1, 1, 0]


def sound():
    box = (0.0, 0.0, 1.0, 1.0)
    sign = ObjectVerdict(1, Hazard.LABEL, box, 4, 0.9, Said.CERTIFIED, "agreed", 1.0, 9, 9, largest_patch_px=10)
    free = FreeSpace(1.0, 1.0, 1.0, 1.0, np.ones((1, 1), bool))
    return SafetyVerdict(1, Said.CERTIFIED, "agreed", Claim.HIDING_OR_ALERT, 1.0, 9, 9, self_test_passed=True,
                         objects=(sign,), free_space=free)


@pytest.mark.parametrize(
    "changes",
    [
        {"covered": 0.99}, {"passes_done": 8}, {"self_test_passed": False},
        {"objects": (dataclasses.replace(sound().objects[0], covered=0.5),)},
        {"objects": (dataclasses.replace(sound().objects[0], passes_done=8),)},
        {"objects": (dataclasses.replace(sound().objects[0], verdict=Said.ALARM),)},
    ],
)
def test_a_claim_beyond_what_was_covered_is_counted(changes):
    assert overclaims(sound()) == 0
    assert overclaims(dataclasses.replace(sound(), **changes)) > 0


def record(stage, stamp_ns, received_ms, published_ms):
    moments = [int(value * MILLISECOND) for value in (received_ms, received_ms, published_ms, published_ms)]
    return StageRecord(stage, "/" + stage, stamp_ns, "", 0, 0, Outcome.PROCESSED, "", *moments)


def test_a_frame_without_a_verdict_is_one_that_was_late():
    records = [record("sensing", 1, 10, 12), record("sensing", 2, 110, 112), record("safety", 1, 14, 80)]
    assert verdict_delays(records, 0) == [pytest.approx(70.0), None]
    assert verdict_delays(records, 0, "safety") == [pytest.approx(66.0)]


@dataclasses.dataclass(frozen=True)
class Heard:
    heard_ns: int
    verdict: int
    reason: str = "deadline"


def test_a_trial_is_passed_only_by_going_uncertified_in_time_and_staying_so():
    def heard(*pairs):
        return [Heard(int(ms * MILLISECOND), verdict) for ms, verdict in pairs]

    passed = judge("killed", 0, heard((40, 0), (90, 0), (140, 1), (240, 1)), 200.0)
    assert (passed.after_ms, passed.in_time(100.0)) == (140.0, True)
    assert not judge("killed", 0, heard((40, 0), (240, 1)), 200.0).in_time(100.0)
    assert not judge("killed", 0, heard((140, 1), (240, 0)), 200.0).in_time(100.0)
    assert not judge("killed", 0, [], 200.0).in_time(100.0)
    assert judge("killed", 100 * MILLISECOND, heard((90, 1), (150, 2)), 200.0).after_ms == 50.0
