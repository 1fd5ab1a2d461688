"""The judgement of tracks: small cases by hand, KITTI's rules against TrackEval's own reader, refusals of bad files."""

import numpy as np
import pytest

from l4edge_perception.errors import InputError
from l4edge_perception.metrics import kitti
from l4edge_perception.metrics.tracking import evaluate_tracks, score, summary
from l4edge_perception.types import OBJECT_CLASSES, GroundTruth, Tracks

pytest.importorskip("trackeval", reason="judging tracks needs trackeval, see scripts/environment.py")

CAR, PEDESTRIAN = OBJECT_CLASSES.index("car"), OBJECT_CLASSES.index("pedestrian")


def truth_at(stamp_ns, rows):
    """Labels of rows (id, class, left, ignore): boxes of 40 by 30 pixels."""
    count = len(rows)
    ids, class_ids, lefts, ignore = (np.array(column) for column in zip(*rows)) if rows else (np.zeros(0),) * 4
    return GroundTruth(
        stamp_ns=stamp_ns,
        ids=ids.astype(np.int64),
        class_ids=class_ids.astype(np.int32),
        boxes=np.stack((lefts, 0 * lefts, lefts + 40, 0 * lefts + 30), axis=1).astype(np.float32),
        visibilities=np.ones(count, np.float32),
        positions=np.zeros((count, 3)),
        yaws=np.zeros(count),
        velocities=np.zeros((count, 2)),
        sizes=np.ones((count, 3), np.float32),
        ignore=ignore.astype(bool),
        attributes=("",) * count,
    )


def tracks_at(stamp_ns, rows):
    """Tracks of rows (id, class, left): boxes of 40 by 30 pixels."""
    count = len(rows)
    ids, class_ids, lefts = (np.array(column) for column in zip(*rows)) if rows else (np.zeros(0),) * 3
    unknown = np.full((count, 2), np.nan)
    return Tracks(
        stamp_ns=stamp_ns,
        ids=ids.astype(np.int64),
        boxes=np.stack((lefts, 0 * lefts, lefts + 40, 0 * lefts + 30), axis=1).astype(np.float32),
        scores=np.ones(count, np.float32),
        class_ids=class_ids.astype(np.int32),
        ages_s=np.zeros(count, np.float32),
        unseen_s=np.zeros(count, np.float32),
        positions=unknown,
        velocities=unknown,
        sizes=np.full((count, 3), np.nan, np.float32),
    )


def drive(truth_rows, track_rows):
    return [
        (truth_at(index, truth), tracks_at(index, tracks))
        for index, (truth, tracks) in enumerate(zip(truth_rows, track_rows))
    ]


def test_perfect_tracks():
    labels = [[(7, CAR, 10.0 * index, False), (8, PEDESTRIAN, 300.0, False)] for index in range(5)]
    tracks = [[(0, CAR, 10.0 * index), (1, PEDESTRIAN, 300.0)] for index in range(5)]
    result = evaluate_tracks(drive(labels, tracks))
    assert set(result) == {"car", "pedestrian", "combined"}
    for row in result.values():
        assert row["hota"] == row["mota"] == row["idf1"] == row["deta"] == row["assa"] == pytest.approx(100.0)
        assert row["id_switches"] == row["false_positives"] == row["misses"] == 0
    assert result["combined"]["objects"] == 10


def test_a_switch_of_identity_halfway():
    labels = [[(7, CAR, 10.0, False)]] * 4
    result = evaluate_tracks(drive(labels, [[(0, CAR, 10.0)]] * 2 + [[(1, CAR, 10.0)]] * 2))["car"]
    assert result["id_switches"] == 1
    assert result["mota"] == pytest.approx(75.0)
    assert result["idf1"] == pytest.approx(50.0)
    assert result["deta"] == pytest.approx(100.0)
    # Each track shares 2 of the 4 boxes of its object: AssA is one half, HOTA the root of DetA times AssA.
    assert result["assa"] == pytest.approx(50.0)
    assert result["hota"] == pytest.approx(100.0 * np.sqrt(0.5))


def test_misses_and_false_alarms_are_counted():
    labels = [[(7, CAR, 10.0, False), (8, CAR, 200.0, False)]] * 2
    result = evaluate_tracks(drive(labels, [[(0, CAR, 10.0), (1, CAR, 500.0)]] * 2))["car"]
    assert (result["misses"], result["false_positives"], result["objects"]) == (2, 2, 4)
    assert result["mota"] == pytest.approx(0.0)


def test_a_wrong_class_is_a_miss_and_a_false_alarm():
    result = evaluate_tracks(drive([[(7, CAR, 10.0, False)]], [[(0, PEDESTRIAN, 10.0)]]))
    assert result["car"]["misses"] == 1 and result["pedestrian"]["false_positives"] == 1
    assert result["combined"]["mota"] == pytest.approx(-100.0)


@pytest.mark.parametrize("ignored_class", [CAR, PEDESTRIAN])
def test_tracks_of_what_is_ignored_do_not_count(ignored_class):
    """A track that matches an ignored object, and one that lies in it, are neither right nor wrong."""
    labels = [[(7, CAR, 10.0, False), (8, ignored_class, 200.0, True)]] * 3
    tracks = [[(0, CAR, 10.0), (1, CAR, 200.0), (2, CAR, 215.0), (3, CAR, 225.0)]] * 3
    result = evaluate_tracks(drive(labels, tracks))["car"]
    assert result["objects"] == 3 and result["misses"] == 0
    assert result["false_positives"] == 3, "only the track that lies outside by more than half"


def test_nothing_labelled_and_nothing_tracked():
    assert evaluate_tracks(drive([[], []], [[], []])) == {}
    alone = evaluate_tracks(drive([[], []], [[(0, CAR, 10.0)], []]))
    assert alone["car"]["false_positives"] == 1
    missed = evaluate_tracks(drive([[(7, CAR, 10.0, False)]], [[]]))
    assert missed["car"]["misses"] == 1 and missed["car"]["hota"] == 0.0


def test_labels_and_tracks_of_different_images_are_refused():
    with pytest.raises(ValueError, match="paired"):
        evaluate_tracks([(truth_at(1, []), tracks_at(2, []))])


def random_sequence(folder, class_name):
    """A sequence of noise around cars, vans and people, with regions, in KITTI's files; and tracks of it."""
    random = np.random.default_rng(3)
    types = ["Car", "Car", "Car", "Van", "Pedestrian", "Pedestrian", "Person", "Cyclist", "Truck"]
    labels, tracked = [], []
    for frame in range(40):
        labels.append(f"{frame} -1 DontCare -1 -1 -10 900 100 1100 200 -1 -1 -1 -1000 -1000 -1000 -10")
        ids, boxes = [], []
        for index, word in enumerate(types):
            left, top = 100.0 * index + frame, 120.0
            height = 20.0 + 6.0 * index
            if random.uniform() < 0.9:
                occlusion, truncation = random.integers(0, 4), random.integers(0, 2)
                labels.append(
                    f"{frame} {index} {word} {truncation} {occlusion} 0.1 {left} {top} {left + 60} {top + height}"
                    " 1.5 1.6 3.9 1.0 1.7 20.0 0.1"
                )
            if random.uniform() < 0.9:
                shift = random.normal(0, 6, 4)
                ids.append(index + 100 * (frame > 20 and index == 1))
                boxes.append(np.array([left, top, left + 60, top + height]) + shift)
        for index in range(3):  # False alarms, some in the region, some too low to count.
            x, y = random.uniform(800, 1150), random.uniform(80, 220)
            ids.append(500 + 10 * frame + index)
            boxes.append(np.array([x, y, x + 40, y + random.uniform(15, 40)]))
        tracked.append((np.array(ids), np.array(boxes)))
    (folder / "label").mkdir()
    (folder / "label" / "0000.txt").write_text("\n".join(labels) + "\n")
    for name in kitti.CLASSES:
        (folder / "detection" / name).mkdir(parents=True)
        (folder / "detection" / name / "0000.txt").write_text("")
    return kitti.read_sequences(folder)[0], tracked


def by_trackeval(folder, sequence, tracked, class_name):
    """The same judged by TrackEval from files, as KITTI's own evaluation has them."""
    from trackeval.datasets import Kitti2DBox
    from trackeval.metrics import CLEAR, HOTA, Identity

    (folder / "truth" / "label_02").mkdir(parents=True)
    (folder / "truth" / "label_02" / "0000.txt").write_text((folder / "label" / "0000.txt").read_text())
    (folder / "truth" / "evaluate_tracking.seqmap.training").write_text(f"0000 empty 000000 {sequence.length:06d}\n")
    (folder / "trackers" / "one" / "data").mkdir(parents=True)
    lines = [
        f"{frame} {identity} {class_name} -1 -1 -10 {' '.join(map(repr, map(float, box)))} -1 -1 -1 -1 -1 -1 -1 1"
        for frame, (ids, boxes) in enumerate(tracked)
        for identity, box in zip(ids, boxes)
    ]
    (folder / "trackers" / "one" / "data" / "0000.txt").write_text("\n".join(lines) + "\n")
    dataset = Kitti2DBox({
        "GT_FOLDER": str(folder / "truth"), "TRACKERS_FOLDER": str(folder / "trackers"),
        "CLASSES_TO_EVAL": [class_name.lower()], "SPLIT_TO_EVAL": "training", "PRINT_CONFIG": False,
    })
    data = dataset.get_preprocessed_seq_data(dataset.get_raw_seq_data("one", "0000"), class_name.lower())
    quiet = {"PRINT_CONFIG": False}
    metrics = {"HOTA": HOTA(), "CLEAR": CLEAR(dict(quiet)), "Identity": Identity(dict(quiet))}
    return {name: metric.eval_sequence(data) for name, metric in metrics.items()}


@pytest.mark.parametrize("class_name", ["Car", "Pedestrian"])
def test_rules_of_kitti_are_those_of_trackeval_on_files(tmp_path, class_name):
    sequence, tracked = random_sequence(tmp_path, class_name)
    ours = score(kitti.labelled_frames(sequence, class_name, tracked), kitti.LEAST_HEIGHT)
    theirs = by_trackeval(tmp_path, sequence, tracked, class_name)
    assert summary([ours]) == summary([theirs])
    row = summary([ours])
    assert row["objects"] > 20 and row["false_positives"] > 10 and 10 < row["hota"] < 90, "the case is not trivial"


@pytest.mark.parametrize(
    ("file", "content", "complaint"),
    [
        ("label/0000.txt", "0 1 Car 0 0 0.1 1 2 3\n", r"label/0000.txt, line 1: 9 columns, not 17"),
        ("label/0000.txt", "x 1 Car 0 0 0 1 2 3 4 5 6 7 8 9 10 11\n", "not a number"),
        ("detection/Car/0000.txt", "0,2,1,2,3,4,nan,1,1,1,1,1,1,1,1\n", "not finite"),
        ("detection/Cyclist/0000.txt", None, "cannot be read"),
    ],
)
def test_files_that_cannot_be_used_are_named(tmp_path, file, content, complaint):
    random_sequence(tmp_path, "Car")
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_text(content)
    with pytest.raises(InputError, match=complaint):
        kitti.read_sequences(tmp_path)


def test_a_folder_without_labels_is_named(tmp_path):
    with pytest.raises(InputError, match="no label"):
        kitti.read_sequences(tmp_path)
