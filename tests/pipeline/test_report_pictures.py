"""Annotated frames: sizes, projection, and that what should be drawn is drawn."""

from dataclasses import replace

import numpy as np
import pytest
from report_factories import make_tracks, make_trajectory, make_truth, stamp_of

from l4edge_perception.recordings.cameras import pinhole
from l4edge_perception.types import CameraModel, ControlCommand, EgoState, Tracks
from l4edge_pipeline.report.gallery import PICTURE_BYTES, ego_at, encode, spread
from l4edge_pipeline.report.pictures import STRIP_HEIGHT, draw_scene
from l4edge_pipeline.report.scene import Scene, dense, project, to_base

CAMERA = pinhole(320, 180, 1.2)
EGO = EgoState(stamp_of(0), 0, 0, 0, 10)


def grey(width=320, height=180):
    return np.full((height, width, 3), 100, np.uint8)


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [(320, 180, (360, 640)), (640, 480, (480, 640)), (960, 540, (540, 960)), (1920, 1080, (540, 960))],
)
def test_pictures_have_a_legible_size(width, height, expected):
    picture = draw_scene(grey(width, height), Scene(0, 0.0), birdseye=False)
    assert picture.shape == (expected[0] + STRIP_HEIGHT, expected[1], 3)


def test_the_image_itself_stays_as_it_was():
    image = grey()
    draw_scene(image, Scene(0, 0.0, tracks=make_tracks(0)), birdseye=True)
    assert (image == 100).all()


def changed(scene, birdseye=False):
    """Which pixels differ from the frame without results, the line below left out."""
    plain = draw_scene(grey(), Scene(0, 0.0), birdseye)[:-STRIP_HEIGHT]
    return (draw_scene(grey(), scene, birdseye)[:-STRIP_HEIGHT] != plain).any(axis=2)


def test_each_result_leaves_its_mark_where_it_belongs():
    truth = make_truth(0)
    left, top, right, bottom = (2 * truth.boxes[0]).astype(int)  # a width of 320 is enlarged to 640
    outline = changed(Scene(0, 0.0, ground_truth=truth))[top : bottom + 1, left : right + 1]
    assert outline[0].any() and outline[-1].any() and outline[:, 0].any() and outline[:, -1].any()
    assert not outline[5:-5, 5:-5].any()
    assert not changed(Scene(0, 0.0, ground_truth=replace(truth, ignore=np.ones(2, bool)))).any()
    assert changed(Scene(0, 0.0, tracks=make_tracks(0)))[top, left:right].all()


def test_the_ribbon_lies_on_the_road_ahead():
    ribbon = changed(Scene(0, 0.0, trajectory=make_trajectory(0), ego=EGO, camera=CAMERA))
    rows, columns = np.nonzero(ribbon)
    assert rows.min() >= 180  # below the horizon of a level camera
    assert abs(columns.mean() - 320) < 3
    assert not changed(Scene(0, 0.0, trajectory=make_trajectory(0), camera=CAMERA)).any()


def test_the_view_from_above_shows_what_is_located():
    known = changed(Scene(0, 0.0, tracks=make_tracks(0), ego=EGO), birdseye=True)[:, 640:]
    lost = replace(make_tracks(0), positions=np.full((2, 2), np.nan))
    unknown = changed(Scene(0, 0.0, tracks=lost, ego=EGO), birdseye=True)[:, 640:]
    assert known.sum() > unknown.sum()


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e12, 1e12])
def test_impossible_boxes_do_no_harm(value):
    tracks = replace(make_tracks(0), boxes=np.full((2, 4), value, np.float32))
    draw_scene(grey(), Scene(0, 0.0, tracks=tracks), birdseye=True)


def test_words_beyond_ascii_and_unknown_classes_are_drawn():
    tracks = replace(make_tracks(0), class_ids=np.array([99, -1], np.int32))
    trajectory = replace(make_trajectory(0), reason="kurve→ü", obstacle_id=3)
    command = ControlCommand(0, 0.1, -3, 0, emergency=True)
    draw_scene(grey(), Scene(0, 0.0, tracks=tracks, trajectory=trajectory, command=command), birdseye=False)


def test_projection_agrees_with_the_camera_model():
    pixels = project(np.array([[10.0, 0.0], [10.0, 2.0], [-5.0, 0.0]]), CAMERA)
    focal = CAMERA.intrinsics[0, 0]
    np.testing.assert_allclose(pixels[0], [160, 90 + focal * 1.5 / 10])
    np.testing.assert_allclose(pixels[1], [160 - focal * 2 / 10, 90 + focal * 1.5 / 10])
    assert np.isnan(pixels[2]).all()


def test_projection_bends_with_the_lens():
    bent = CameraModel(320, 180, CAMERA.intrinsics, np.array([-0.2, 0, 0, 0, 0.0]), CAMERA.camera_from_base)
    straight, curved = (project(np.array([[6.0, 3.0]]), camera)[0] for camera in (CAMERA, bent))
    assert abs(curved[0] - 160) < abs(straight[0] - 160)


def test_map_to_vehicle():
    ego = EgoState(0, 10, 20, np.pi / 2, 0)  # looks north
    np.testing.assert_allclose(to_base(np.array([[10.0, 25.0], [7.0, 20.0]]), ego), [[5, 0], [0, 3]], atol=1e-12)


@pytest.mark.parametrize("points", [np.zeros((0, 2)), np.zeros((1, 2)), np.zeros((5, 2)), np.full((3, 2), np.nan)])
def test_a_path_without_length_has_no_points(points):
    assert len(dense(points)) == 0


def test_a_path_is_filled_in():
    points = dense(np.array([[0.0, 0], [0, 0], [3, 0], [3, 4]]), step=0.5)
    assert np.linalg.norm(np.diff(points, axis=0), axis=1).max() <= 0.5 + 1e-9
    np.testing.assert_allclose(points[[0, -1]], [[0, 0], [3, 4]])


@pytest.mark.parametrize(
    ("stamp", "expected_x"),
    [(0, 0.0), (50, 5.0), (100, 10.0), (350, 10.0), (900, None), (-400, 0.0), (-700, None)],
)
def test_the_pose_between_two_known_ones(stamp, expected_x):
    states = [EgoState(0, 0, 0, 3.0, 5), EgoState(100_000_000, 10, 0, -3.0, 7)]
    ego = ego_at(stamp * 1_000_000, states)
    assert (ego.x if ego else None) == (pytest.approx(expected_x) if expected_x is not None else None)
    if stamp == 50:
        assert ego.speed == pytest.approx(6)
        assert np.cos(ego.yaw) == pytest.approx(-1)  # the short way round


@pytest.mark.parametrize("count", [0, 1, 7, 110, 111, 5000])
def test_pictures_are_spread_over_the_whole_recording(count):
    chosen = sorted(spread(count))
    assert len(chosen) == min(count, 110)
    assert not count or (chosen[0], chosen[-1]) == (0, count - 1)


def test_pictures_meet_their_size_as_far_as_quality_allows():
    noise = np.random.default_rng(1).integers(0, 255, (540, 960, 3), np.uint8)
    smooth = grey(960, 540)
    assert len(encode(smooth)) < PICTURE_BYTES
    assert len(encode(noise)) < 4 * PICTURE_BYTES


def test_no_tracks_at_all():
    none = Tracks(
        stamp_of(0), np.zeros(0, np.int64), np.zeros((0, 4), np.float32), *[np.zeros(0)] * 4, np.zeros((0, 2)),
        np.zeros((0, 2)), np.zeros((0, 3)),
    )  # fmt: skip
    draw_scene(grey(), Scene(0, 0.0, tracks=none, ego=EGO), birdseye=True)
