"""Drives as bags: what the pipeline reads is what the simulation knew."""

from collections import Counter

import numpy as np
import pytest

from l4edge_perception.recordings import topics
from l4edge_perception.recordings.convert import write_recording
from l4edge_perception.recordings.events import CameraEvent, EgoEvent, FrameEvent, GroundTruthEvent, RouteEvent
from l4edge_perception.recordings.reader import open_recording
from l4edge_pipeline.cli import main
from l4edge_simulation.bag import record

SEED, SPLIT = 2_000_002, "test"


@pytest.fixture(scope="module")
def bag(renderer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bags") / "drive"
    write_recording(record(SEED, SPLIT, 1.0, 10.0, renderer, start_s=1.0), folder)
    return open_recording(folder)


def events(bag, kind):
    return [event for event in bag.events() if isinstance(event, kind)]


def test_a_bag_has_all_topics_at_their_rates(bag):
    counts = {topic.name: topic.count for topic in bag.topics}
    assert counts == {
        topics.COMPRESSED_IMAGE: 10,
        topics.CAMERA_INFO: 10,
        topics.ODOMETRY: 50,
        topics.GROUND_TRUTH: 10,
        topics.ROUTE: 1,
        topics.STATIC_TRANSFORMS: 1,
    }
    assert bag.assumptions == ()


def test_ground_truth_has_the_stamps_of_images(bag):
    frames, truths = events(bag, FrameEvent), events(bag, GroundTruthEvent)
    assert [event.stamp_ns for event in frames] == [event.truth.stamp_ns for event in truths]
    assert np.diff([event.stamp_ns for event in frames]).tolist() == [100_000_000] * 9
    assert any(len(event.truth) for event in truths)


def test_the_camera_survives(bag, simulate):
    expected, read = simulate(SEED).camera_model(), events(bag, CameraEvent)[0].camera
    assert (read.width, read.height) == (expected.width, expected.height)
    assert read.intrinsics == pytest.approx(expected.intrinsics)
    assert read.camera_from_base == pytest.approx(expected.camera_from_base, abs=1e-9)


def test_odometry_follows_the_route(bag):
    route = events(bag, RouteEvent)[0].route
    states = [event.ego for event in events(bag, EgoEvent)]
    for ego in states[::10]:
        assert np.linalg.norm(route.centre_line - [ego.x, ego.y], axis=1).min() < 2.0
    way = np.hypot(states[-1].x - states[0].x, states[-1].y - states[0].y)
    assert way == pytest.approx(np.mean([ego.speed for ego in states]) * 0.98, abs=0.7)


def test_a_bag_is_made_by_one_command(renderer, tmp_path, capsys):
    arguments = ["simulate", "drive", "--seed", "2", "--duration", "0.4", "--rate", "5", "--size", "320x180"]
    with pytest.raises(SystemExit) as caught:
        main([*arguments, "--out", str(tmp_path / "bag")])
    assert not caught.value.code
    kinds = Counter(type(event).__name__ for event in open_recording(tmp_path / "bag").events())
    assert kinds["FrameEvent"] == 2 and kinds["EgoEvent"] == 20
    with pytest.raises(SystemExit) as caught:
        main([*arguments, "--out", str(tmp_path / "bag")])
    assert caught.value.code == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong", [["--size", "640"], ["--size", "1x1"], ["--seed", "-1"], ["--rate", "3"], ["--look", "snow"]]
)
def test_wrong_options_are_refused(tmp_path, wrong):
    with pytest.raises(SystemExit) as caught:
        main(["simulate", "drive", "--out", str(tmp_path / "bag"), *wrong])
    assert caught.value.code == 2
    assert list(tmp_path.iterdir()) == []
