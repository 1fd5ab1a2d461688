import numpy as np
import pytest

from l4edge_perception.camera.decoders import (
    Candidates,
    cell_grid,
    end_to_end,
    fastestdet,
    grid,
    make_decoder,
    yolov5,
    yolov8,
    yolox,
)
from l4edge_perception.camera.suppression import suppress
from l4edge_perception.errors import InputError

BOX = (10.0, 20.0, 50.0, 40.0)  # centre 30, 30; size 40 x 20


def logit(score):
    return np.log(score / (1 - score))


def assert_one(candidates, score, class_id, box=BOX):
    assert len(candidates.scores) == 1
    np.testing.assert_allclose(candidates.boxes[0], box, atol=1e-4)
    np.testing.assert_allclose(candidates.scores[0], score, rtol=1e-5)
    assert candidates.class_ids[0] == class_id


def test_cells_lie_row_by_row_and_grid_by_grid():
    cells = cell_grid(16, 24, (8, 16))
    assert cells.centres.tolist()[:4] == [[4, 4], [12, 4], [20, 4], [4, 12]]
    assert cells.centres.tolist()[6:] == [[8, 8]]
    assert cells.strides.tolist() == [8] * 6 + [16]


def test_divided_cells_come_part_by_part():
    cells = cell_grid(8, 16, (8,), (2,))
    assert cells.centres.tolist() == [[2, 2], [10, 2], [6, 2], [14, 2], [2, 6], [10, 6], [6, 6], [14, 6]]
    assert cells.strides.tolist() == [4] * 8


def test_grid_decoder():
    cells = cell_grid(64, 64, (16,))
    output = np.full((1, 4 + 3, 16), -9.0, np.float32)
    # Cell (1, 1) has its centre at 24, 24.
    output[0, :, 5] = [6 / 16, 6 / 16, np.log(40 / 16), np.log(20 / 16), -3, logit(0.7), logit(0.2)]
    assert_one(grid(output, 0.1, cells), 0.7, 1)
    assert len(grid(output, 0.71, cells).scores) == 0


def test_grid_decoder_survives_an_untrained_network():
    cells = cell_grid(64, 64, (16,))
    output = np.full((1, 5, 16), 1000.0, np.float32)
    with np.errstate(over="raise"):
        assert np.isfinite(grid(output, 0.1, cells).boxes).all()


def test_yolov8_decoder():
    output = np.zeros((1, 4 + 3, 7), np.float32)
    output[0, :, 2] = [30, 30, 40, 20, 0.1, 0.2, 0.9]
    assert_one(yolov8(output, 0.1), 0.9, 2)


@pytest.mark.parametrize(("objectness", "score", "threshold", "count"), [(0.8, 0.5, 0.3, 1), (0.8, 0.5, 0.5, 0)])
def test_yolov5_score_is_objectness_times_class(objectness, score, threshold, count):
    output = np.zeros((1, 7, 5 + 3), np.float32)
    output[0, 4] = [30, 30, 40, 20, objectness, 0, score, 0]
    candidates = yolov5(output, threshold)
    assert len(candidates.scores) == count
    if count:
        assert_one(candidates, objectness * score, 1)


def test_yolox_counts_from_the_corner_of_a_cell():
    cells = cell_grid(64, 64, (16,))
    output = np.zeros((1, 16, 5 + 2), np.float32)
    # Cell (1, 1) has its corner at 16, 16.
    output[0, 5] = [14 / 16, 14 / 16, np.log(40 / 16), np.log(20 / 16), 0.5, 0.1, 0.8]
    before = output.copy()
    assert_one(yolox(output, 0.1, cells), 0.4, 1)
    np.testing.assert_array_equal(output, before)


def test_fastestdet_decoder():
    output = np.zeros((1, 5 + 3, 4, 5), np.float32)
    # Row 1, column 2 of 4 x 5 cells; the centre half a cell to the right and down.
    output[0, :, 1, 2] = [0.8, np.arctanh(0.5), np.arctanh(0.5), logit(0.25), logit(0.5), 0, 0, 0.3]
    score = 0.8**0.6 * 0.3**0.4
    box = (0.5 - 0.125, 0.375 - 0.25, 0.5 + 0.125, 0.375 + 0.25)
    assert_one(fastestdet(output, 0.1), score, 2, box)
    decode = make_decoder("fastestdet", {}, (80, 100))
    assert_one(decode(output, 0.1), score, 2, np.multiply(box, [100, 80, 100, 80]))


def test_end_to_end_decoder():
    output = np.array([[[*BOX, 0.9, 3], [0, 0, 9, 9, 0.05, 1]]], np.float32)
    assert_one(end_to_end(output, 0.1), 0.9, 3)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("grid", (1, 6, 4)),
        ("yolox", (1, 4, 6)),
        ("yolov5", (1, 4, 6)),
        ("yolov8", (1, 6, 4)),
        ("fastestdet", (1, 6, 2, 2)),
        ("end_to_end", (1, 4, 6)),
        ("end_to_end", (1, 0, 6)),
    ],
)
def test_an_empty_picture_gives_no_candidates(name, shape):
    decode = make_decoder(name, {"strides": [8]}, (16, 16))
    output = np.full(shape, -20.0 if name == "grid" else 0.0, np.float32)
    candidates = decode(output, 0.5)
    assert candidates.boxes.shape == (0, 4)
    assert len(suppress(candidates, 0.5, 10).scores) == 0


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("yolo", {}),
        ("grid", {}),
        ("grid", {"strides": "8"}),
        ("grid", {"strides": [8, 0]}),
        ("grid", {"strides": [8, 16], "divisions": [2]}),
        ("yolox", {"strides": [8.5]}),
    ],
)
def test_decoders_that_cannot_be_made(name, parameters):
    with pytest.raises(InputError, match=name):
        make_decoder(name, parameters, (64, 64))


BOXES = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10], [0, 0, 10, 10]], np.float32)
SCORES = np.array([0.6, 0.9, 0.3, 0.5], np.float32)


@pytest.mark.parametrize(
    ("class_ids", "overlap", "limit", "kept"),
    [
        ([0, 0, 0, 0], 0.5, 10, [1, 2]),
        ([0, 0, 0, 1], 0.5, 10, [1, 3, 2]),  # each class for itself
        ([0, 0, 0, 0], 0.9, 10, [1, 0, 2]),  # 0 and 3 are the same box, 0 and 1 overlap by 0.82
        ([0, 0, 0, 0], 1.0, 10, [1, 0, 3, 2]),
        ([0, 1, 2, 3], 0.5, 2, [1, 0]),
    ],
)
def test_suppression(class_ids, overlap, limit, kept):
    result = suppress(Candidates(BOXES, SCORES, np.array(class_ids)), overlap, limit)
    np.testing.assert_array_equal(result.boxes, BOXES[kept])
    np.testing.assert_array_equal(result.scores, SCORES[kept])
    np.testing.assert_array_equal(result.class_ids, np.array(class_ids)[kept])


def test_suppression_agrees_with_opencv():
    import cv2

    generator = np.random.default_rng(3)
    low = generator.uniform(0, 80, (300, 2))
    boxes = np.concatenate([low, low + generator.uniform(5, 40, (300, 2))], axis=1).astype(np.float32)
    scores = (generator.permutation(300).astype(np.float32) + 1) / 301
    sizes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    expected = np.ravel(cv2.dnn.NMSBoxes(sizes.tolist(), scores.tolist(), 0.0, 0.5))
    result = suppress(Candidates(boxes, scores, np.zeros(300, int)), 0.5, 300)
    np.testing.assert_array_equal(result.scores, scores[expected])


def test_only_the_best_candidates_compete():
    result = suppress(Candidates(BOXES, SCORES, np.arange(4)), 0.5, 10, pool=2)
    np.testing.assert_array_equal(result.scores, np.float32([0.9, 0.6]))
