"""Overlaps, gates and the choice of pairs."""

import itertools

import numpy as np
import pytest

from l4edge_perception.tracking.association import assign, similarities, unrivalled
from l4edge_perception.tracking.boxes import centre_size, corners, overlaps
from l4edge_perception.tracking.config import TrackerConfig
from l4edge_perception.tracking.kalman import UNKNOWN
from l4edge_perception.tracking.observations import GROUND, observe
from l4edge_perception.types import OBJECT_CLASSES, Detections

CONFIG = TrackerConfig()
CAR, TRUCK, PEDESTRIAN, CYCLIST, SIGN = (
    OBJECT_CLASSES.index(name) for name in ("car", "truck", "pedestrian", "cyclist", "sign")
)


def seen_at(boxes, class_ids, places=None):
    """Observations at boxes, and where ``places`` are given at these on the ground, give or take 0.3 m."""
    boxes = np.asarray(boxes, np.float32)
    detections = Detections(0, boxes, np.full(len(boxes), 0.9, np.float32), np.asarray(class_ids, np.int32))
    seen, _ = observe(detections, None, None, None, CONFIG)
    if places is not None:
        seen.measured[:, 0, GROUND] = np.transpose(places)
        seen.measured[:, 1:, GROUND] = 0.09 * np.eye(2)[:, :, None]
        seen.located[:] = True
    return seen


def one_similarity(box, seen, class_id=CAR, place=None):
    variance = UNKNOWN if place is None else 0.09
    similarity, possible = similarities(
        boxes=np.array([box], float).T,
        places=np.zeros((2, 1)) if place is None else np.array([place]).T,
        spread=variance * np.eye(2)[:, :, None],
        located=np.array([place is not None]),
        class_ids=np.array([class_id]),
        seen=seen,
        config=CONFIG,
    )
    assert possible[0, 0] or similarity[0, 0] == 0.0
    return similarity[0, 0] if possible[0, 0] else -np.inf


def test_overlaps_by_hand():
    found = overlaps(np.array([[0, 0, 10, 10.0]]).T, np.array([[0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10.0]]).T)
    np.testing.assert_allclose(found, [[1.0, 50 / 150, 0.0]])


def test_centre_size_and_corners_are_inverse():
    boxes = np.array([[1.0, 2.0, 7.0, 11.0], [0.0, 0.0, 0.5, 3.0]]).T
    centre, size = centre_size(boxes)
    np.testing.assert_allclose(centre, [[4.0, 0.25], [6.5, 1.5]])
    np.testing.assert_allclose(size, [[6.0, 0.5], [9.0, 3.0]])
    np.testing.assert_allclose(corners(centre, size), boxes)


@pytest.mark.parametrize("seed", range(20))
def test_assignment_is_the_best_of_all(seed):
    random = np.random.default_rng(seed)
    similarity = random.uniform(-0.2, 2.0, (4, 5))
    possible = random.uniform(size=(4, 5)) >= 0.4
    similarity *= possible
    rows, columns = assign(similarity, possible)
    assert len(set(rows)) == len(rows) and len(set(columns)) == len(columns)
    assert possible[rows, columns].all()
    best = max(similarity[np.arange(4), list(order)].sum() for order in itertools.permutations(range(5), 4))
    assert similarity[rows, columns].sum() == pytest.approx(best)


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (2, 2)])
def test_assignment_of_nothing(shape):
    rows, columns = assign(np.zeros(shape), np.zeros(shape, dtype=bool))
    assert len(rows) == len(columns) == 0


@pytest.mark.parametrize("seed", range(40))
def test_pairs_without_a_rival_are_what_would_be_assigned(seed):
    random = np.random.default_rng(seed)
    possible = random.uniform(size=(3, 4)) < 0.25
    similarity = possible * random.uniform(-0.1, 1.0, (3, 4))
    chosen = (possible.sum(axis=0) > 1).any() or (possible.sum(axis=1) > 1).any() or (similarity < 0.0).any()
    found = unrivalled(similarity, possible)
    assert (found is None) == chosen
    if found is not None:
        assert set(zip(*found)) == set(zip(*assign(similarity, possible)))


@pytest.mark.parametrize(
    ("track_class", "seen_class", "possible"),
    [
        (CAR, CAR, True),
        (CAR, TRUCK, True),
        (PEDESTRIAN, CYCLIST, True),
        (CAR, PEDESTRIAN, False),
        (TRUCK, CYCLIST, False),
        (SIGN, CAR, False),
    ],
)
def test_related_classes_match_at_a_cost(track_class, seen_class, possible):
    box = [100, 100, 150, 140]
    found = one_similarity(box, seen_at([box], [seen_class]), track_class)
    if not possible:
        assert found == -np.inf
    else:
        assert found == pytest.approx(1.0 if track_class == seen_class else 1.0 - CONFIG.relabel_cost)


def test_boxes_that_miss_each_other_match_only_by_the_ground():
    seen_far = seen_at([[200, 100, 220, 115]], [CAR], [[50.0, 0.0]])
    box = [230, 100, 250, 115]
    assert one_similarity(box, seen_far) == -np.inf, "the track's place is unknown"
    assert one_similarity(box, seen_far, place=[50.5, 0.0]) > 0.0
    assert one_similarity(box, seen_far, place=[50.0 + 1.1 * CONFIG.ground_gate_m, 0.0]) == -np.inf


def test_nearness_on_the_ground_adds_to_overlap():
    box = [200, 100, 240, 130]
    seen = seen_at([box], [CAR], [[30.0, 2.0]])
    near, far = (one_similarity(box, seen, place=[x, 2.0]) for x in (30.0, 31.0))
    unlocated = one_similarity(box, seen)
    assert near == pytest.approx(1.0 + CONFIG.ground_weight)
    assert unlocated == pytest.approx(1.0)
    assert unlocated < far < near
