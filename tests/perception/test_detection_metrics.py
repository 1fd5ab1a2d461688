import numpy as np
import pytest

from l4edge_perception.errors import InputError
from l4edge_perception.types import Detections, GroundTruth

pytest.importorskip("pycocotools")

from l4edge_perception.metrics.detection import average_precision, calibration_error, judged, without_ignored

CAR, TRUCK = 0, 1
BOX = (100, 100, 140, 130)
OTHER = (300, 100, 340, 130)


def seen(*objects, stamp_ns=0):
    """Detections of (box, class, score)."""
    boxes, class_ids, scores = zip(*objects) if objects else ((), (), ())
    return Detections(
        stamp_ns,
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(class_ids, np.int32),
    )


def there(*objects, stamp_ns=0):
    """Ground truth of (box, class, ignore)."""
    boxes, class_ids, ignore = zip(*objects) if objects else ((), (), ())
    count = len(objects)
    return GroundTruth(
        stamp_ns=stamp_ns,
        ids=np.arange(count),
        class_ids=np.array(class_ids, np.int32),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        visibilities=np.ones(count, np.float32),
        positions=np.zeros((count, 3)),
        yaws=np.zeros(count),
        velocities=np.zeros((count, 2)),
        sizes=np.ones((count, 3), np.float32),
        ignore=np.array(ignore, bool),
        attributes=("",) * count,
    )


def shifted(box, pixels):
    return (box[0] + pixels, box[1], box[2] + pixels, box[3])


def ap50(found, truth):
    return average_precision([found], [truth]).ap50_by_class["car"]


def test_perfect_detections():
    result = average_precision([seen((BOX, CAR, 0.9), (OTHER, TRUCK, 0.8))], [there((BOX, CAR, 0), (OTHER, TRUCK, 0))])
    assert result.ap50 == pytest.approx(1.0)
    assert result.ap == pytest.approx(1.0)
    assert (result.images, result.objects) == (1, 2)


def test_a_class_without_objects_does_not_count():
    result = average_precision([seen((BOX, CAR, 0.9), (OTHER, TRUCK, 0.8))], [there((BOX, CAR, 0))])
    assert np.isnan(result.ap_by_class["truck"]) and np.isnan(result.ap50_by_class["light"])
    assert result.ap50 == pytest.approx(1.0)


def test_one_of_two_found():
    # Recall 0 ... 0.5 at precision 1: 51 of COCO's 101 recall points.
    assert ap50(seen((BOX, CAR, 0.9)), there((BOX, CAR, 0), (OTHER, CAR, 0))) == pytest.approx(51 / 101)


def test_a_false_detection_above_the_right_one_halves_precision():
    assert ap50(seen((OTHER, CAR, 0.9), (BOX, CAR, 0.8)), there((BOX, CAR, 0))) == pytest.approx(0.5)


def test_a_second_detection_of_one_object_is_false():
    assert ap50(seen((BOX, CAR, 0.9), (BOX, CAR, 0.8), (OTHER, CAR, 0.7)), there((BOX, CAR, 0), (OTHER, CAR, 0))) < 0.9


def test_strict_overlaps_need_tight_boxes():
    # 40 pixels wide, 4 off: an overlap of 36 / 44 = 0.818, enough for 7 of the 10 overlaps.
    result = average_precision([seen((shifted(BOX, 4), CAR, 0.9))], [there((BOX, CAR, 0))])
    assert result.ap50 == pytest.approx(1.0)
    assert result.ap == pytest.approx(0.7)


def test_nothing_found():
    assert ap50(seen(), there((BOX, CAR, 0))) == 0.0


@pytest.mark.parametrize(
    ("found", "truth", "expected"),
    [
        # Not to be found.
        (seen((BOX, CAR, 0.5)), there((BOX, CAR, 0), (OTHER, CAR, 1)), 1.0),
        # Nor to be counted as false, however it sits.
        (seen((OTHER, CAR, 0.9), (BOX, CAR, 0.5)), there((BOX, CAR, 0), (OTHER, CAR, 1)), 1.0),
        (seen((shifted(OTHER, 15), CAR, 0.9), (BOX, CAR, 0.5)), there((BOX, CAR, 0), (OTHER, CAR, 1)), 1.0),
        # More than half beside it: false.
        (seen((shifted(OTHER, 25), CAR, 0.9), (BOX, CAR, 0.5)), there((BOX, CAR, 0), (OTHER, CAR, 1)), 0.5),
        # Another class is not excused ...
        (seen((OTHER, CAR, 0.9), (BOX, CAR, 0.5)), there((BOX, CAR, 0), (OTHER, TRUCK, 1)), 0.5),
        # ... unless the region is of no class.
        (seen((OTHER, CAR, 0.9), (BOX, CAR, 0.5)), there((BOX, CAR, 0), (OTHER, -1, 1)), 1.0),
        # An object that counts is found although an ignored one lies over it.
        (seen((BOX, CAR, 0.9)), there((BOX, CAR, 0), (BOX, CAR, 1)), 1.0),
        # The second of two boxes belongs to the ignored object behind.
        (seen((BOX, CAR, 0.9), (BOX, CAR, 0.8), (OTHER, CAR, 0.7)),
         there((BOX, CAR, 0), (BOX, CAR, 1), (OTHER, CAR, 0)), 1.0),
    ],
)  # fmt: skip
def test_ignored_objects_neither_missed_nor_false(found, truth, expected):
    result = average_precision([found], [truth])
    assert result.ap50_by_class["car"] == pytest.approx(expected)
    assert result.ap_by_class["car"] == pytest.approx(expected)


def test_without_ignored_keeps_the_order():
    found = seen((OTHER, CAR, 0.9), (BOX, CAR, 0.5), (OTHER, TRUCK, 0.4))
    kept = without_ignored(found, there((OTHER, CAR, 1)))
    np.testing.assert_array_equal(kept.scores, found.scores[1:])


def test_images_are_judged_each_for_itself():
    found = [seen((BOX, CAR, 0.9), stamp_ns=1), seen((OTHER, CAR, 0.9), stamp_ns=2)]
    truth = [there((OTHER, CAR, 0), stamp_ns=1), there((BOX, CAR, 0), stamp_ns=2)]
    assert average_precision(found, truth).ap50 == 0.0


@pytest.mark.parametrize(
    ("found", "truth", "message"),
    [
        ([seen()], [], "1 images with detections but 0"),
        ([], [], "no images"),
        ([seen(stamp_ns=1)], [there(stamp_ns=2)], "stamp 1 meet truth of 2"),
    ],
)
def test_lists_that_do_not_belong_together(found, truth, message):
    with pytest.raises(InputError, match=message):
        average_precision(found, truth)


@pytest.mark.parametrize(
    ("found", "truth", "right"),
    [
        (seen((BOX, CAR, 0.9), (OTHER, TRUCK, 0.8)), there((BOX, CAR, 0), (OTHER, TRUCK, 0)), [True, True]),
        (seen((BOX, CAR, 0.9), (OTHER, CAR, 0.8)), there((BOX, CAR, 0), (OTHER, TRUCK, 0)), [True, False]),
        (seen((shifted(BOX, 4), CAR, 0.8), (BOX, CAR, 0.9)), there((BOX, CAR, 0)), [False, True]),
        (seen((shifted(BOX, 25), CAR, 0.8)), there((BOX, CAR, 0)), [False]),
        (seen((BOX, CAR, 0.9), (OTHER, CAR, 0.8)), there((BOX, CAR, 1), (OTHER, CAR, 0)), [True]),
        (seen((BOX, CAR, 0.9)), there(), [False]),
        (seen(), there((BOX, CAR, 0)), []),
    ],
    ids=["both", "class", "second box", "beside", "ignored", "no objects", "nothing found"],
)
def test_which_detections_are_right(found, truth, right):
    counted, is_right = judged(found, truth)
    assert len(counted) == len(right)
    assert is_right.tolist() == right


def test_calibration_error():
    scores = np.array([0.9] * 10 + [0.2] * 10)
    right = np.array([True] * 9 + [False] + [True] * 2 + [False] * 8)
    assert calibration_error(scores, right) == pytest.approx(0.0)
    assert calibration_error(scores, ~right) == pytest.approx((0.8 + 0.6) / 2)
    assert calibration_error(np.array([1.0]), np.array([True])) == 0.0
    assert np.isnan(calibration_error(np.zeros(0), np.zeros(0, bool)))
