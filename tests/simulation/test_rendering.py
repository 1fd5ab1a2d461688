"""What the camera sees, and whether the ground truth says the same."""

import dataclasses
import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

from l4edge_perception.types import OBJECT_CLASSES, ControlCommand, GroundTruth
from l4edge_simulation.scenery.signs import SIGN_KINDS

SPACING_S = 1.5
ATTRIBUTES = {"sign": SIGN_KINDS, "light": ("red", "amber", "green", "off")}


def test_the_same_seed_gives_the_same_bytes(drive, simulate):
    first, again = drive.seen[0], simulate(drive.seed).step(seconds=SPACING_S)
    assert np.array_equal(first.image, again.image)
    assert first.ego == again.ego
    for field in dataclasses.fields(GroundTruth):
        one, other = (getattr(seen.ground_truth, field.name) for seen in (first, again))
        assert np.array_equal(one, other), field.name


@pytest.mark.parametrize("look", ["night", "fog"])
def test_images_have_content_in_bad_light(simulate, look):
    image = simulate(look=look).step(seconds=1.0).image
    assert image.std() > 8.0
    assert 5.0 < image.mean() < 245.0


def test_ground_truth_is_well_formed(drive):
    found = set()
    for truth in (seen.ground_truth for seen in drive.seen):
        boxes = truth.boxes
        assert len(set(truth.ids)) == len(truth) == len(truth.attributes)
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert (boxes >= 0).all() and (boxes[:, 2] <= drive.camera.width).all()
        assert (boxes[:, 3] <= drive.camera.height).all()
        assert ((truth.visibilities > 0.0) & (truth.visibilities <= 1.0)).all()
        for class_id, attribute in zip(truth.class_ids, truth.attributes, strict=True):
            assert attribute in ATTRIBUTES.get(OBJECT_CLASSES[class_id], ("",))
        hidden = truth.visibilities < 0.25
        too_small = (boxes[:, 3] - boxes[:, 1] < 8) | (boxes[:, 2] - boxes[:, 0] < 3)
        assert truth.ignore[hidden | too_small].all()
        found |= set(truth.class_ids[~truth.ignore])
    assert len(found) >= 3


def test_boxes_are_where_positions_and_sizes_project_to(drive):
    """The calibration, the ego's pose and the 3D boxes agree with the pixels that were drawn."""
    compared = 0
    for seen in drive.seen:
        truth = seen.ground_truth
        for row in np.flatnonzero(~truth.ignore & (truth.visibilities > 0.8) & (truth.class_ids < 4)):
            box = truth.boxes[row]
            expected = project_box(drive.camera, seen.true_ego, truth, row)
            size = (drive.camera.width, drive.camera.height)
            if expected is None or (expected[:2] < 0).any() or (expected[2:] > size).any():
                continue  # cut off by the image's edge
            # A round or slanted body does not fill its 3D box, and leaves it by no more than mirrors and arms.
            slack = 2.0 + 0.15 * (expected[2:] - expected[:2])
            assert (box[:2] > expected[:2] - slack).all() and (box[2:] < expected[2:] + slack).all()
            # A person's size is that of a stride, so one who stands is narrower; everybody is as tall as their box.
            narrowest = 0.3 if OBJECT_CLASSES[truth.class_ids[row]] == "pedestrian" else 0.6
            assert box[2] - box[0] > narrowest * (expected[2] - expected[0]), (row, expected, box)
            assert box[3] - box[1] > 0.75 * (expected[3] - expected[1]), (row, expected, box)
            compared += 1
    assert compared >= 5


def project_box(camera, ego, truth, row):
    """x_min y_min x_max y_max of a 3D box's corners, None when it is not all before the camera."""
    signs = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (0, 1)])
    points = (signs * truth.sizes[row]) @ about_z(truth.yaws[row]).T + truth.positions[row]
    base = (points - [ego.x, ego.y, 0.0]) @ about_z(ego.yaw)
    local = base @ camera.camera_from_base[:3, :3].T + camera.camera_from_base[:3, 3]
    if (local[:, 2] < 0.5).any():
        return None
    pixels = local @ camera.intrinsics.T
    pixels = pixels[:, :2] / pixels[:, 2:]
    return np.concatenate([pixels.min(0), pixels.max(0)])


def about_z(angle):
    return np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])


def test_silhouettes_agree_with_drawn_pixels(drive):
    """The best visible objects cover what their silhouettes say: parts are nearly convex."""
    shares = []
    for truth in (seen.ground_truth for seen in drive.seen):
        tall = truth.boxes[:, 3] - truth.boxes[:, 1] > 20
        shares += list(truth.visibilities[tall & (truth.class_ids < 2)])
    assert max(shares) > 0.95


def test_one_lamp_of_a_light_is_lit_and_the_ground_truth_names_it(simulate):
    scene = simulate().scene
    scene.pose()
    lights = [item for item in scene.items if item.member.light >= 0]
    assert lights
    for item in lights:
        lit = [name for name, (geom,) in item.changing.items() if scene.model.geom_rgba[geom, :3].max() > 0.9]
        state = scene.light_state(item.member.light)
        assert lit == ([] if state == "off" else [state])


def test_closed_loop_obeys_the_command(simulate):
    simulation = simulate()
    simulation.advance(6.0, ControlCommand(simulation.stamp_ns, 0.0, -5.0, 0.0))
    seen = simulation.step(ControlCommand(simulation.stamp_ns, 0.0, -5.0, 0.0))
    assert seen.true_ego.speed == 0.0
    assert abs(seen.ego.x - seen.true_ego.x) < 0.5


@pytest.mark.skipif(importlib.util.find_spec("mujoco") is None, reason="needs the extra simulation")
def test_a_machine_without_opengl_is_told_what_to_install(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "l4edge_pipeline.cli", "simulate", "drive", "--out", str(tmp_path / "bag")],
        env={**os.environ, "MUJOCO_GL": "disable"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert "libegl1" in result.stderr and "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []
