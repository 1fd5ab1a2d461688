"""The safety monitor: what it certifies, what it refuses to, and that no fault ever ends in a certificate."""

import dataclasses

import numpy as np
import pytest
from safety_factories import (
    GREEN,
    PATCH,
    SIZE,
    detections,
    picture,
    scene,
    self_test,
    tamper,
    toy_signs,
    tracks,
    write_toy_package,
)

from l4edge_compression.defense.verdicts import uncertified
from l4edge_perception.recordings.cameras import pinhole
from l4edge_perception.safety_types import Claim, Hazard, Verdict
from l4edge_perception.types import MEANINGS
from l4edge_pipeline.safety.monitor import Monitor, MonitorConfig
from l4edge_pipeline.safety.summing_up import too_late, track_names

DEADLINE_MS = 100.0
MILLISECOND = 1_000_000


class Clock:
    """Moves on by a fixed time with each question."""

    def __init__(self, step_ms=0.0):
        self.now_ns, self.step_ns = 0, int(step_ms * MILLISECOND)

    def __call__(self):
        self.now_ns += self.step_ns
        return self.now_ns


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    folder = tmp_path_factory.mktemp("package") / "toy"
    write_toy_package(folder)
    return folder


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def monitor(package, clock):
    made = Monitor(toy_signs(package), None, self_test(), MonitorConfig(), DEADLINE_MS, clock, clock)
    made.check()
    assert made.finding == ""
    return made


def test_a_clean_sign_is_certified_with_all_that_was_assumed(monitor):
    verdict = monitor.examine(scene())
    (sign,) = verdict.objects
    assert (verdict.verdict, verdict.reason, verdict.claim) == (
        Verdict.CERTIFIED, "agreed", Claim.NO_SINGLE_REGION_CAUSE
    )
    assert verdict.covered == 1.0
    assert verdict.passes_done == verdict.passes_required == sign.passes_done
    assert verdict.self_test_passed
    assert (verdict.patch.height_px, verdict.patch.width_px, verdict.patch.count) == (PATCH, PATCH, 1)
    assert len(verdict.patch.model_hash) == 64
    assert (sign.object_id, sign.hazard, sign.label) == (7, Hazard.LABEL, MEANINGS.index("stop"))
    assert sign.largest_patch_px == PATCH
    assert verdict.smallest_margin > 0


def test_a_patched_sign_raises_an_alarm_that_names_the_place_and_the_label_without_it(monitor):
    verdict = monitor.examine(scene(pixels=picture(patch=GREEN), seen=detections(1_000, "speed_80")))
    (sign,) = verdict.objects
    assert (verdict.verdict, sign.verdict, sign.reason) == (Verdict.ALARM, Verdict.ALARM, "disagreed")
    assert sign.label == MEANINGS.index("speed_80")
    assert sign.recovered_label == MEANINGS.index("stop")
    assert sign.largest_patch_px == 0
    assert any(
        window.window[0] <= 108 and window.window[1] <= 76 and window.window[2] >= 115 and window.window[3] >= 83
        for window in sign.disagreeing
    )
    assert verdict.alarm_count.alarms == 1
    assert not verdict.alarm_count.confirmed


def test_alarms_are_confirmed_by_m_of_n_and_fall_back(monitor):
    attacked = [monitor.examine(scene(stamp, pixels=picture(patch=GREEN))) for stamp in (1_000, 2_000, 3_000, 4_000)]
    assert [verdict.alarm_count.confirmed for verdict in attacked] == [False, False, False, True]
    clean = [monitor.examine(scene(stamp)) for stamp in (5_000, 6_000, 7_000)]
    assert [verdict.alarm_count.alarms for verdict in clean] == [4, 4, 3]
    assert not clean[-1].alarm_count.confirmed


def test_a_sign_that_the_pipeline_reads_otherwise_is_an_alarm_not_a_certificate(monitor):
    (sign,) = monitor.examine(scene(seen=detections(1_000, "speed_80"))).objects
    assert (sign.verdict, sign.recovered_label) == (Verdict.ALARM, MEANINGS.index("stop"))


def test_certificates_are_history_in_the_next_frame_and_no_more(monitor):
    monitor.examine(scene(1_000_000_000))
    later = monitor.examine(scene(1_500_000_000, pixels=picture(patch=GREEN), seen=detections(1_500_000_000, "")))
    (sign,) = later.objects
    assert sign.verdict == Verdict.ALARM
    assert sign.certified_age_s == pytest.approx(0.5)


@pytest.mark.parametrize("step_ms", [0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0, 55.0])
def test_a_deadline_cut_never_certifies_more_than_was_covered(package, step_ms):
    clock = Clock()
    monitor = Monitor(toy_signs(package), None, self_test(), MonitorConfig(), DEADLINE_MS, clock, clock)
    monitor.check()
    clock.step_ns = int(step_ms * MILLISECOND)
    many = detections(1_000, "stop", count=6)
    verdict = monitor.examine(scene(arrived_ns=clock.now_ns, seen=many))
    assert len(verdict.objects) == 6
    for sign in verdict.objects:
        assert (sign.verdict == Verdict.CERTIFIED) <= (sign.covered == 1.0)
        assert (sign.verdict == Verdict.CERTIFIED) <= (sign.passes_done == sign.passes_required > 0)
    whole = all(sign.verdict == Verdict.CERTIFIED for sign in verdict.objects)
    assert (verdict.verdict == Verdict.CERTIFIED) == whole
    if not whole:
        assert (verdict.reason, verdict.claim) == ("deadline", Claim.NO_CLAIM)
    if step_ms >= 5.0:
        assert not whole
    if step_ms <= 0.5:
        assert whole


def test_work_ends_before_the_deadline_and_a_late_verdict_takes_its_certificates_back(package):
    clock = Clock()
    monitor = Monitor(toy_signs(package), None, self_test(), MonitorConfig(), DEADLINE_MS, clock, clock)
    monitor.check()
    certified = monitor.examine(scene(arrived_ns=clock.now_ns))
    assert certified.verdict == Verdict.CERTIFIED
    late = too_late(certified)
    assert (late.verdict, late.reason, late.claim) == (Verdict.UNCERTIFIED, "deadline", Claim.NO_CLAIM)
    assert all(sign.verdict == Verdict.UNCERTIFIED and sign.largest_patch_px == 0 for sign in late.objects)
    clock.now_ns += int(200 * MILLISECOND)
    assert monitor.examine(scene(2_000, arrived_ns=0)).verdict == Verdict.UNCERTIFIED


def without(value, **changes):
    return dataclasses.replace(value, **changes)


def nan_boxes():
    seen = detections(1_000)
    seen.boxes[0, 2] = np.nan
    return seen


def nan_meanings():
    seen = detections(1_000)
    seen.meanings[0, 0] = np.nan
    return seen


def camera(**changes):
    return dataclasses.replace(pinhole(240, 160, 1.1), **changes)


FAULTS = {
    "no pixels": (lambda: without(scene(), pixels=None), "input"),
    "no detections": (lambda: without(scene(), detections=None), "input"),
    "detections of another frame": (lambda: scene(seen=detections(999)), "input"),
    "a box that is not a number": (lambda: scene(seen=nan_boxes()), "input"),
    "a meaning that is not a number": (lambda: scene(seen=nan_meanings()), "input"),
    "grey pixels": (lambda: scene(pixels=np.zeros((160, 240), np.uint8)), "size"),
    "pixels that are not numbers": (lambda: scene(pixels=np.full((160, 240, 3), np.nan)), "size"),
    "empty pixels": (lambda: scene(pixels=np.zeros((0, 240, 3), np.uint8)), "size"),
    "another size than the camera's": (lambda: scene(camera=camera(height=161)), "size"),
    "a camera that is not a number": (lambda: scene(camera=camera(intrinsics=np.full((3, 3), np.nan))), "input"),
    "a sign at the edge": (lambda: scene(seen=detections(1_000, box=(0.0, 60.0, 40.0, 100.0))), "size"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_of_the_input_ends_uncertified_with_its_reason(monitor, name):
    make, reason = FAULTS[name]
    verdict = monitor.examine(make())
    assert (verdict.verdict, verdict.reason, verdict.claim) == (Verdict.UNCERTIFIED, reason, Claim.NO_CLAIM)
    assert all(sign.verdict != Verdict.CERTIFIED for sign in verdict.objects)
    assert monitor.examine(scene(2_000)).verdict == Verdict.CERTIFIED, "the next frame is none the worse"


def test_an_exception_ends_uncertified(package, clock):
    signs = toy_signs(package)
    monitor = Monitor(signs, None, self_test(), MonitorConfig(), DEADLINE_MS, clock, clock)
    monitor.check()
    signs.certify = lambda *_: 1 / 0
    verdict = monitor.examine(scene())
    assert (verdict.verdict, verdict.reason) == (Verdict.UNCERTIFIED, "fault")
    assert "ZeroDivisionError" in monitor.finding


def test_logits_that_are_no_numbers_end_uncertified(package, clock):
    class Broken:
        confidence = 0.0
        margin = 1e-3

        def certify(self, image, more_time, escalate):
            return dataclasses.replace(uncertified("margin"), margin=float("nan"))

    signs = toy_signs(package)
    signs._certifier = Broken()
    assert signs.crop_certificate(np.zeros((SIZE, SIZE, 3), np.uint8), lambda: True).reason == "input"


@pytest.mark.parametrize("how", ["graph", "settings", "missing"])
def test_a_package_that_changes_under_the_monitor_ends_uncertified(tmp_path, clock, how):
    write_toy_package(tmp_path / "toy")
    monitor = Monitor(toy_signs(tmp_path / "toy"), None, self_test(), MonitorConfig(), DEADLINE_MS, clock, clock)
    monitor.check()
    assert monitor.examine(scene()).verdict == Verdict.CERTIFIED
    tamper(tmp_path / "toy", how)
    assert not monitor.verify_files()
    verdict = monitor.examine(scene(2_000))
    assert (verdict.verdict, verdict.reason) == (Verdict.UNCERTIFIED, "model")
    assert verdict.objects == ()


def test_a_refused_package_never_certifies_whatever_is_checked_later(clock):
    monitor = Monitor(None, None, None, MonitorConfig(), DEADLINE_MS, clock, clock, refused="wrong hash")
    monitor.check()
    assert monitor.examine(scene()).reason == "model"
    assert monitor.finding == "wrong hash"


def test_signs_that_nothing_can_certify_keep_a_frame_uncertified(clock):
    monitor = Monitor(None, None, None, MonitorConfig(), DEADLINE_MS, clock, clock)
    monitor.check()
    assert monitor.examine(scene()).reason == "model"
    assert monitor.examine(scene(2_000, seen=detections(2_000, ""))).verdict == Verdict.CERTIFIED


@pytest.mark.parametrize("clean", [True, False])
def test_a_failed_self_test_ends_uncertified_until_one_passes(package, clock, clean):
    stored = self_test()
    broken = dataclasses.replace(stored, **({"clean": stored.attacked} if clean else {"attacked": stored.clean}))
    monitor = Monitor(toy_signs(package), None, broken, MonitorConfig(), DEADLINE_MS, clock, clock)
    assert monitor.examine(scene()).reason == "self_test", "nothing is certified before the first test"
    monitor.check()
    verdict = monitor.examine(scene(2_000))
    assert (verdict.verdict, verdict.reason, verdict.self_test_passed) == (Verdict.UNCERTIFIED, "self_test", False)
    monitor._self_test = stored
    monitor.check()
    assert monitor.examine(scene(3_000)).verdict == Verdict.CERTIFIED


def test_no_stored_crops_are_a_failed_self_test(package, clock):
    monitor = Monitor(toy_signs(package), None, None, MonitorConfig(), DEADLINE_MS, clock, clock)
    monitor.check()
    assert monitor.examine(scene()).reason == "self_test"


def test_detections_get_the_names_of_the_tracks_they_lie_on():
    seen = detections(1_000, count=2)
    seen.boxes[1] += 200
    assert track_names(seen, tracks(1_000), 0.5) == [7, None]
    assert track_names(seen, None, 0.5) == [None, None]
    elsewhere = dataclasses.replace(tracks(1_000), class_ids=np.array([0], np.int32))
    assert track_names(seen, elsewhere, 0.5) == [None, None]
