"""What tracks make of what their detections mean."""

import numpy as np
import pytest

from l4edge_perception.tracking import Tracker
from l4edge_perception.tracking.meanings import no_evidence, probabilities_of, with_sightings
from l4edge_perception.types import MEANINGS, OBJECT_CLASSES, Detections, unread

BOX = np.array([[100.0, 80.0, 120.0, 100.0]], np.float32)
SIGN, LIGHT = OBJECT_CLASSES.index("sign"), OBJECT_CLASSES.index("light")


def reading(word=None, probability=0.6):
    row = unread(1)
    if word:
        row[:] = (1.0 - probability) / (len(MEANINGS) - 1)
        row[0, MEANINGS.index(word)] = probability
    return row


def follow(class_id, readings, period_s=0.1):
    """The tracks after each reading of one object that stands still."""
    tracker, result = Tracker(), []
    for number, row in enumerate(readings):
        stamp = round(1e9 * (1 + period_s * number))
        ids = np.array([class_id], np.int32)
        result.append(tracker.update(Detections(stamp, BOX, np.array([0.9], np.float32), ids, row)))
    assert {len(tracks) for tracks in result} == {1}
    return result


def meaning(tracks):
    return MEANINGS[tracks.meanings[0].argmax()]


def test_sightings_of_a_sign_add_up():
    tracks = follow(SIGN, [reading("stop")] * 5)
    probabilities = [one.meanings[0, MEANINGS.index("stop")] for one in tracks]
    assert probabilities[0] == pytest.approx(0.6, abs=1e-6)
    assert probabilities == sorted(probabilities) and probabilities[-1] > 0.99
    np.testing.assert_allclose([one.meanings.sum() for one in tracks], 1.0, rtol=1e-5)


def test_one_wrong_sighting_does_not_change_a_sign():
    tracks = follow(SIGN, [reading("speed_50")] * 6 + [reading("speed_80", 0.9)] + [reading()] * 10)
    assert [meaning(one) for one in tracks[7:]] == ["speed_50"] * 10
    assert tracks[-1].meanings.max() > 0.9


@pytest.mark.parametrize("seen", [5, 300])
def test_a_light_changes_within_half_a_second_however_long_it_was_red(seen):
    tracks = follow(LIGHT, [reading("red", 0.97)] * seen + [reading("green", 0.97)] * 5)
    assert meaning(tracks[seen - 1]) == "red"
    assert meaning(tracks[-1]) == "green" and tracks[-1].meanings.max() > 0.8


def test_what_was_seen_of_a_light_fades_and_of_a_sign_stays():
    rows = [reading("red", 0.97)] * 3 + [reading()] * 20
    light, sign = follow(LIGHT, rows)[-1], follow(SIGN, rows)[-1]
    assert light.meanings.max() < 0.3
    assert sign.meanings.max() > 0.95


def test_nobody_has_read_it():
    assert not follow(SIGN, [reading()] * 3)[-1].meanings.any()
    assert not probabilities_of(with_sightings(no_evidence(2), unread(2).T)).any()
