"""What the tracker promises: identities, time in seconds, classes, refusals."""

from dataclasses import replace

import numpy as np
import pytest

from l4edge_perception.errors import InputError
from l4edge_perception.tracking import Detections3D, StampError, Tracker, TrackerConfig
from l4edge_perception.types import OBJECT_CLASSES, Detections, EgoState

CAR, TRUCK, PEDESTRIAN, CYCLIST = (
    OBJECT_CLASSES.index(name) for name in ("car", "truck", "pedestrian", "cyclist")
)
START_NS = 1_700_000_000_000_000_000


def frame(seconds, boxes, scores=0.9, class_ids=CAR):
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    return Detections(
        stamp_ns=START_NS + round(seconds * 1e9),
        boxes=boxes,
        scores=np.broadcast_to(np.float32(scores), len(boxes)).copy(),
        class_ids=np.broadcast_to(np.int32(class_ids), len(boxes)).copy(),
    )


def car_at(seconds, left=300.0, speed=40.0):
    """A box that moves to the right, pixels per second."""
    x = left + speed * seconds
    return [x, 200.0, x + 60.0, 245.0]


def crossing(rate_hz, hidden=(), duration=3.0):
    """Frames of one car that crosses the image; nothing is seen of it from ``hidden[0]`` to ``hidden[1]`` seconds."""
    for index in range(round(duration * rate_hz)):
        seconds = index / rate_hz
        seen = not hidden or not hidden[0] <= seconds < hidden[1]
        yield frame(seconds, [car_at(seconds)] if seen else [])


def assert_same(first, second):
    for name in first.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)


def test_one_object_keeps_its_identity_and_is_told_as_it_is():
    tracker = Tracker()
    for detections in crossing(10.0):
        tracks = tracker.update(detections)
        assert tracks.ids.tolist() == [0]
        assert tracks.stamp_ns == detections.stamp_ns
    np.testing.assert_allclose(tracks.boxes[0], car_at(2.9), atol=1.0)
    assert tracks.ages_s[0] == pytest.approx(2.9)
    assert tracks.unseen_s[0] == 0.0
    assert tracks.class_ids[0] == CAR
    assert np.isnan(tracks.positions).all() and np.isnan(tracks.velocities).all() and np.isnan(tracks.sizes).all()
    assert tracks.boxes.dtype == np.float32 and tracks.ids.dtype == np.int64 and tracks.class_ids.dtype == np.int32


@pytest.mark.parametrize("rate_hz", [10.0, 30.0])
@pytest.mark.parametrize(("gap", "survives"), [(0.8, True), (1.3, False)])
def test_buffers_are_seconds_at_every_rate(rate_hz, gap, survives):
    tracker = Tracker(TrackerConfig(lost_buffer_s=1.0))
    seen = [tracker.update(detections) for detections in crossing(rate_hz, hidden=(1.0, 1.0 + gap))]
    identities = [tracks.ids.tolist() for tracks in seen]
    assert identities[round(0.9 * rate_hz)] == [0]
    assert identities[-1] == [0 if survives else 1]


@pytest.mark.parametrize("rate_hz", [10.0, 30.0])
def test_unseen_objects_are_told_for_a_while_where_they_should_be(rate_hz):
    tracker = Tracker(TrackerConfig(publish_unseen_s=0.3))
    unseen = [
        (tracks.unseen_s[0], tracks.boxes[0])
        for tracks in (tracker.update(detections) for detections in crossing(rate_hz, hidden=(2.0, 9.0)))
        if len(tracks) and tracks.unseen_s[0] > 0
    ]
    assert unseen[-1][0] == pytest.approx(0.3, abs=0.51 / rate_hz)
    np.testing.assert_allclose(unseen[-1][1], car_at(2.0 - 1.0 / rate_hz + unseen[-1][0]), atol=3.0)


@pytest.mark.parametrize("rate_hz", [10.0, 30.0])
def test_belief_follows_scores_in_seconds(rate_hz):
    """A doubtful object is told after the same time at every rate, and falls silent after the same time."""
    tracker = Tracker(TrackerConfig(memory_s=0.5, first_sighting_discount=2.0))
    told = []
    for index in range(round(3.0 * rate_hz)):
        seconds = index / rate_hz
        tracks = tracker.update(frame(seconds, [car_at(seconds)], scores=0.7 if seconds < 2.0 else 0.15))
        told.append(len(tracks) > 0)
    first = told.index(True) / rate_hz
    last = (len(told) - told[::-1].index(True)) / rate_hz
    # Log odds go from 0.85 - 2 towards 0.85 and pass 0 after 0.5 s * ln(2 / 0.85), then from 0.85 towards -1.73 and
    # pass -0.2 after 0.5 s * ln(2.58 / 1.53).
    assert first == pytest.approx(0.43, abs=1.01 / rate_hz)
    assert last == pytest.approx(2.26, abs=1.01 / rate_hz)


def test_a_sure_object_is_told_at_once_and_a_doubtful_one_is_not():
    tracks = Tracker().update(frame(0.0, [[0, 0, 50, 50], [200, 0, 250, 50]], scores=[0.95, 0.55]))
    assert len(tracks) == 1
    np.testing.assert_allclose(tracks.boxes[0], [0, 0, 50, 50])


def test_low_scores_continue_tracks_but_begin_none():
    tracker = Tracker()
    tracker.update(frame(0.0, [car_at(0.0)]))
    tracks = tracker.update(frame(0.1, [car_at(0.1), [500, 100, 560, 150]], scores=0.2))
    assert tracks.ids.tolist() == [0] and tracks.unseen_s[0] == 0.0
    for index in range(2, 20):
        tracks = tracker.update(frame(0.1 * index, [[500, 100, 560, 150]], scores=0.2))
    assert len(tracks) == 0


def test_sure_detections_choose_first():
    """A doubtful detection that lies better does not take a track from a sure one."""
    tracker = Tracker()
    tracker.update(frame(0.0, [[100, 100, 160, 150]]))
    tracks = tracker.update(frame(0.1, [[110, 100, 170, 150], [100, 100, 160, 150]], scores=[0.9, 0.2]))
    assert tracks.ids.tolist() == [0]
    assert tracks.scores[0] == pytest.approx(0.9)


def test_identities_are_never_used_again():
    tracker = Tracker(TrackerConfig(lost_buffer_s=0.15, publish_unseen_s=0.0))
    seen = []
    for index in range(30):
        left = 100.0 * (index % 10)
        for identity in tracker.update(frame(0.1 * index, [[left, 100, left + 40, 150]])).ids:
            assert identity not in seen[:-1], "an identity came back after its track was gone"
            seen.append(identity)
    assert len(set(seen)) == 30 and max(seen) == 29


def test_class_is_what_most_scores_voted_for():
    tracker = Tracker()
    named = []
    for index in range(20):
        class_id = TRUCK if index in (7, 12, 13) else CAR
        tracks = tracker.update(frame(0.1 * index, [car_at(0.1 * index)], class_ids=class_id))
        named.append(tracks.class_ids.tolist())
    assert named == [[CAR]] * 20
    votes = tracker.class_probabilities()
    assert votes.shape == (1, len(OBJECT_CLASSES))
    assert votes[0, CAR] == pytest.approx(17 / 20) and votes[0, TRUCK] == pytest.approx(3 / 20)


def test_unrelated_classes_are_different_objects():
    tracker = Tracker()
    tracker.update(frame(0.0, [car_at(0.0)], class_ids=CAR))
    tracks = tracker.update(frame(0.1, [car_at(0.1)], class_ids=PEDESTRIAN))
    assert tracks.ids.tolist() == [0, 1]
    assert tracks.class_ids.tolist() == [CAR, PEDESTRIAN]


def test_no_detections():
    tracker = Tracker()
    for index in range(3):
        tracks = tracker.update(Detections.empty(START_NS + index))
        assert len(tracks) == 0 and tracks.boxes.shape == (0, 4) and tracks.positions.shape == (0, 2)
    assert tracker.class_probabilities().shape == (0, len(OBJECT_CLASSES))


def scene(index, random):
    """Eight objects of several classes that move, with noise and misses."""
    seen = random.uniform(size=8) < 0.9
    left = 120.0 * np.arange(8) + 3.0 * index * np.sin(np.arange(8))
    boxes = np.stack((left, np.full(8, 100.0), left + 60.0, np.full(8, 150.0)), axis=1) + random.normal(0, 1, (8, 4))
    scores = random.uniform(0.15, 0.98, 8)
    return frame(0.1 * index, boxes[seen], scores[seen], np.array([0, 1, 2, 3, 4, 5, 0, 0])[seen])


@pytest.mark.parametrize("shuffled", [False, True])
def test_same_frames_give_same_tracks_in_any_order(shuffled):
    random = np.random.default_rng(1)
    one, other = Tracker(), Tracker()
    for index in range(30):
        detections = scene(index, random)
        order = random.permutation(len(detections)) if shuffled else np.arange(len(detections))
        assert_same(one.update(detections), other.update(detections.select(order)))
    assert one.class_probabilities().tolist() == other.class_probabilities().tolist()


@pytest.mark.parametrize("step_s", [0.0, -0.1])
def test_frames_that_are_not_newer_change_nothing(step_s):
    tracker, untouched = Tracker(), Tracker()
    for each in (tracker, untouched):
        each.update(frame(1.0, [car_at(0.0)]))
    with pytest.raises(StampError, match="does not lie behind"):
        tracker.update(frame(1.0 + step_s, [car_at(0.5), [500, 100, 560, 150]]))
    later = frame(1.1, [car_at(0.1)])
    assert_same(tracker.update(later), untouched.update(later))


@pytest.mark.parametrize(
    ("box", "score", "class_id"),
    [
        ([np.nan, 0, 10, 10], 0.9, CAR),
        ([0, 0, np.inf, 10], 0.9, CAR),
        ([0, 0, 10, 10], np.nan, CAR),
        ([10, 0, 10, 10], 0.9, CAR),
        ([10, 0, 5, 10], 0.9, CAR),
        ([0, 0, 10, 10], 0.9, len(OBJECT_CLASSES)),
        ([0, 0, 10, 10], 0.9, -1),
    ],
)
def test_unusable_detections_are_left_out_and_counted(box, score, class_id):
    tracker, clean = Tracker(), Tracker()
    good = car_at(0.0)
    dirty = frame(0.0, [box, good], [score, 0.9], [class_id, CAR])
    assert_same(tracker.update(dirty), clean.update(frame(0.0, [good])))
    assert tracker.unusable_detections == 1 and clean.unusable_detections == 0


def test_objects_seen_in_3d_are_told_in_the_map():
    """A car drives ahead of the vehicle, both to the north; sizes settle on what is measured."""
    tracker = Tracker()
    for index in range(30):
        seconds = 0.1 * index
        ego = EgoState(START_NS + round(seconds * 1e9), x=100.0, y=50.0 + 8.0 * seconds, yaw=np.pi / 2, speed=8.0)
        ahead = 20.0 + 2.0 * seconds
        boxes_3d = Detections3D(np.array([[ahead, 1.0, 0.0]]), np.array([[4.0, 1.8, 1.5]]), np.array([0.0]))
        tracks = tracker.update(frame(seconds, [car_at(seconds)]), ego=ego, boxes_3d=boxes_3d)
    np.testing.assert_allclose(tracks.velocities[0], [0.0, 10.0], atol=0.1)
    # The near side lies half a length nearer along the line of sight.
    np.testing.assert_allclose(tracks.positions[0], [99.0, 50.0 + 8.0 * 2.9 + 20.0 + 2.0 * 2.9 - 2.0], atol=0.15)
    np.testing.assert_allclose(tracks.sizes[0], [4.0, 1.8, 1.5], atol=1e-5)


FAR_AWAY = 5e6
"""Metres: map coordinates of the size that projected world coordinates have."""


def standing_car(tracker, index, ego_known):
    """A car that stands 20 m ahead of a standing vehicle."""
    boxes_3d = Detections3D(np.array([[20.0, 0.0, 0.0]]), np.array([[4.0, 1.8, 1.5]]), np.array([0.0]))
    detections = frame(0.1 * index, [car_at(0.0)])
    ego = EgoState(detections.stamp_ns, x=FAR_AWAY, y=-FAR_AWAY, yaw=0.0, speed=0.0)
    return tracker.update(detections, ego=ego if ego_known else None, boxes_3d=boxes_3d)


def test_places_are_told_from_the_first_ego_pose_on():
    tracker = Tracker()
    for index in range(5):
        assert np.isnan(standing_car(tracker, index, ego_known=False).positions).all()
    for index in range(5, 8):
        tracks = standing_car(tracker, index, ego_known=True)
        np.testing.assert_allclose(tracks.positions, [[FAR_AWAY + 18.0, -FAR_AWAY]], atol=1e-3)
        np.testing.assert_allclose(tracks.velocities, [[0.0, 0.0]], atol=0.01)
    assert tracks.ids.tolist() == [0]


def test_places_outlast_missing_ego_poses():
    tracker = Tracker()
    for index in range(5):
        tracks = standing_car(tracker, index, ego_known=index not in (2, 3))
        np.testing.assert_allclose(tracks.positions, [[FAR_AWAY + 18.0, -FAR_AWAY]], atol=1e-3)
        np.testing.assert_allclose(tracks.velocities, [[0.0, 0.0]], atol=0.01)


def test_what_was_never_located_is_never_told_a_place():
    """However often it was seen: a thousand frames without a camera's geometry are no measurement of a place."""
    tracker = Tracker()
    for index in range(1500):
        detections = frame(0.03 * index, [car_at(0.0)])
        tracks = tracker.update(detections, ego=EgoState(detections.stamp_ns, x=0.0, y=0.0, yaw=0.0, speed=0.0))
    assert tracks.ids.tolist() == [0]
    assert np.isnan(tracks.positions).all() and np.isnan(tracks.velocities).all()


def test_an_object_that_comes_back_after_a_pause_of_the_sensor_is_a_new_one():
    tracker = Tracker(TrackerConfig(lost_buffer_s=1.0))
    tracker.update(frame(0.0, [car_at(0.0)]))
    assert tracker.update(frame(5.0, [car_at(0.0)])).ids.tolist() == [1]


def test_one_stage_when_low_and_high_meet():
    config = replace(TrackerConfig(), low_score=0.35)
    tracker = Tracker(config)
    tracker.update(frame(0.0, [car_at(0.0)]))
    assert tracker.update(frame(0.1, [car_at(0.1)], scores=0.2)).unseen_s.tolist() == pytest.approx([0.1])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("low_score", 0.0),
        ("publish_probability", 1.0),
        ("memory_s", 0.0),
        ("memory_s", np.nan),
        ("lost_buffer_s", -1.0),
    ],
)
def test_values_that_make_no_sense_are_refused_by_name(name, value):
    with pytest.raises(InputError, match=name):
        TrackerConfig(**{name: value})
