from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from l4edge_perception.camera.detector import Detector
from l4edge_perception.camera.preprocessing import Preprocessor, place
from l4edge_perception.errors import InputError
from l4edge_perception.metrics.detection import average_precision
from l4edge_perception.packages import InputSpec, load_package
from l4edge_perception.recordings.events import FrameEvent, GroundTruthEvent
from l4edge_perception.recordings.reader import open_recording

DEMO_DRIVE = Path(__file__).resolve().parents[2] / "examples" / "demo_drive"

PICTURE = np.zeros((8, 8, 3), np.uint8)


def yolov8_answer(*objects):
    """A (1, 4 + 6, 5) output with objects of (centre x, centre y, width, height, class, score)."""
    output = np.zeros((1, 10, 5), np.float32)
    for column, (x, y, width, height, class_id, score) in enumerate(objects):
        output[0, :4, column] = (x, y, width, height)
        output[0, 4 + class_id, column] = score
    return output


@pytest.fixture
def make_detector(tmp_path, tiny_graphs):
    def make(*objects, score_threshold=None, **more):
        package = tiny_graphs.detector(tmp_path / "package", {"full": yolov8_answer(*objects)}, **more)
        return Detector(package, score_threshold=score_threshold)

    return make


def test_objects_come_with_the_stamp_and_best_first(make_detector):
    found = make_detector((4, 4, 2, 4, 3, 0.5), (6, 2, 4, 4, 0, 0.9)).detect(PICTURE, 42)
    assert found.stamp_ns == 42
    np.testing.assert_allclose(found.boxes, [[4, 0, 8, 4], [3, 2, 5, 6]])
    np.testing.assert_allclose(found.scores, [0.9, 0.5])
    assert found.class_ids.tolist() == [0, 3]
    assert (found.boxes.dtype, found.scores.dtype, found.class_ids.dtype) == (np.float32, np.float32, np.int32)


@pytest.mark.parametrize(("threshold", "count"), [(None, 1), (0.1, 2), (0.95, 0)])
def test_threshold_of_the_package_and_of_the_caller(make_detector, threshold, count):
    detector = make_detector(
        (4, 4, 2, 4, 3, 0.5),
        (6, 2, 4, 4, 0, 0.9),
        score_threshold=threshold,
        parameters={"score_threshold": 0.6},
    )
    assert len(detector.detect(PICTURE, 0)) == count


def test_classes_are_mapped_and_unknown_ones_dropped(make_detector):
    detector = make_detector(
        (4, 4, 2, 4, 0, 0.5), (6, 2, 4, 4, 1, 0.9), (2, 2, 2, 2, 5, 0.7), class_map=(2, -1, 0, 0, 0, 5)
    )
    assert detector.detect(PICTURE, 0).class_ids.tolist() == [5, 2]


@pytest.mark.parametrize(
    ("resize", "picture", "expected"),
    [
        ("stretch", (80, 160), [40, 20, 120, 60]),
        ("letterbox", (80, 160), [40, 0, 120, 80]),  # 8 x 8 input: rows 2 to 6 are the picture
        ("letterbox", (8, 8), [2, 2, 6, 6]),
        ("letterbox", (4, 8), [2, 0, 6, 4]),
    ],
)
def test_boxes_are_in_pixels_of_the_picture(make_detector, resize, picture, expected):
    detector = make_detector((4, 4, 4, 4, 0, 0.9), input={"resize": resize})
    found = detector.detect(np.zeros((*picture, 3), np.uint8), 0)
    np.testing.assert_allclose(found.boxes, [expected])


def test_boxes_are_clipped_and_those_outside_dropped(make_detector):
    detector = make_detector((0, 4, 4, 40, 0, 0.9), (-20, -20, 4, 4, 1, 0.8))
    np.testing.assert_allclose(detector.detect(PICTURE, 0).boxes, [[0, 0, 2, 8]])


def test_nothing_found(make_detector):
    found = make_detector().detect(PICTURE, 7)
    assert len(found) == 0 and found.boxes.shape == (0, 4) and found.stamp_ns == 7


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((0, 8, 3), np.uint8),
        np.zeros((8, 0, 3), np.uint8),
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8, 3), np.float32),
        [[1, 2, 3]],
        None,
    ],
)
def test_what_is_no_picture_is_an_input_error(make_detector, pixels):
    with pytest.raises(InputError, match="camera picture"):
        make_detector().detect(pixels, 0)


@pytest.mark.parametrize("threshold", [-0.1, 1.1])
def test_a_threshold_outside_the_scores_is_an_input_error(make_detector, threshold):
    with pytest.raises(InputError, match="score_threshold"):
        make_detector(score_threshold=threshold)


@pytest.mark.parametrize(("name", "value"), [("score_threshold", "low"), ("overlap", 1.5), ("limit", None)])
def test_a_parameter_that_makes_no_sense_is_an_input_error(make_detector, name, value):
    with pytest.raises(InputError, match=name):
        make_detector(parameters={name: value})


def test_another_task_is_an_input_error(make_detector):
    package = make_detector().session.package
    with pytest.raises(InputError, match="task is segmentation"):
        Detector(replace(package, task="segmentation"))


def test_levels_switch_through_the_session(tmp_path, tiny_graphs):
    answers = {"full": yolov8_answer((4, 4, 2, 2, 0, 0.9)), "small": yolov8_answer((4, 4, 2, 2, 1, 0.9))}
    detector = Detector(tiny_graphs.detector(tmp_path / "package", answers), level="small")
    assert detector.detect(PICTURE, 0).class_ids.tolist() == [1]
    detector.session.switch("full")
    assert detector.detect(PICTURE, 0).class_ids.tolist() == [0]


@pytest.mark.parametrize(
    ("picture", "target", "resize", "scale", "offset"),
    [
        ((360, 640), (384, 640), "letterbox", (1, 1), (0, 12)),
        ((720, 1280), (384, 640), "letterbox", (0.5, 0.5), (0, 12)),
        ((100, 50), (100, 100), "letterbox", (1, 1), (25, 0)),
        ((100, 50), (200, 200), "stretch", (4, 2), (0, 0)),
        ((1000, 1), (10, 10), "letterbox", (1, 0.01), (4, 0)),  # never thinner than a pixel
    ],
)
def test_place(picture, target, resize, scale, offset):
    placement = place(picture, target, resize)
    np.testing.assert_allclose(placement.scale, scale)
    np.testing.assert_allclose(placement.offset, offset)


RANDOM = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)


def test_a_picture_of_the_right_size_is_not_copied():
    tensor, _ = Preprocessor(InputSpec("image", (1, 8, 12, 3), "uint8", "NHWC"))(RANDOM)
    assert np.shares_memory(tensor, RANDOM)


def test_normalization_colour_order_and_layout():
    spec = InputSpec(
        "image", (1, 3, 8, 12), "float32", "NCHW", "BGR", scale=1 / 255, mean=(0.1, 0.2, 0.3), std=(0.5, 1.0, 2.0)
    )
    tensor, _ = Preprocessor(spec)(RANDOM)
    expected = (RANDOM[:, :, ::-1].transpose(2, 0, 1) / 255 - np.reshape(spec.mean, (3, 1, 1))) / np.reshape(
        spec.std, (3, 1, 1)
    )
    np.testing.assert_allclose(tensor[0], expected, rtol=1e-4, atol=1e-5)


def test_buffers_are_reused_and_hold_nothing_of_pictures_of_another_shape():
    preprocess = Preprocessor(InputSpec("image", (1, 8, 12, 3), "uint8", "NHWC", resize="letterbox", padding=9))
    tall, _ = preprocess(np.full((16, 8, 3), 200, np.uint8))
    first = tall.copy()
    wide, _ = preprocess(np.full((4, 12, 3), 100, np.uint8))
    assert np.shares_memory(tall, wide)
    assert (first[0, :, 4:8] == 200).all() and (first[0, :, :4] == 9).all() and (first[0, :, 8:] == 9).all()
    assert (wide[0, 2:6] == 100).all() and (wide[0, :2] == 9).all() and (wide[0, 6:] == 9).all()


def test_the_shipped_detector_knows_its_world(shipped_detector):
    pytest.importorskip("pycocotools")
    package = load_package(shipped_detector)
    assert package.levels[0].bytes <= 5_000_000
    detector = Detector(package)
    frames, truths = {}, []
    for event in open_recording(DEMO_DRIVE).events():
        if isinstance(event, FrameEvent):
            frames[event.stamp_ns] = event
        if isinstance(event, GroundTruthEvent):
            truths.append(event.truth)
    truths = truths[::5]
    found = [detector.detect(frames[truth.stamp_ns].decode(), truth.stamp_ns) for truth in truths]
    judged = average_precision(found, truths)
    # 0.73 when it was shipped.
    assert judged.ap50_by_class["car"] > 0.6
