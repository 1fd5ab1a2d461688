"""Datasets: whole drives, resumed where they were left, readable without pickles."""

import json

import cv2
import numpy as np
import pytest

from l4edge_perception.errors import InputError
from l4edge_perception.types import GroundTruth
from l4edge_simulation.dataset import ARRAYS, Task, missing_drives, pack, write_drive

SIZE = (320, 180)


def truth(stamp_ns, count):
    return GroundTruth(
        stamp_ns=stamp_ns,
        attributes=("speed_50",) * count,
        **{name: np.ones((count, *shape[1:]), kind) for name, (shape, kind) in ARRAYS.items()},
    )


@pytest.mark.parametrize("counts", [[2, 0, 3], [0, 0], []])
def test_rows_know_their_image(tmp_path, counts):
    (tmp_path / "truth.npz").write_bytes(pack([truth(7 + number, count) for number, count in enumerate(counts)]))
    with np.load(tmp_path / "truth.npz", allow_pickle=False) as arrays:
        assert arrays["stamps_ns"].tolist() == [7 + number for number in range(len(counts))]
        assert arrays["frame"].tolist() == [number for number, count in enumerate(counts) for _ in range(count)]
        for name, (shape, kind) in ARRAYS.items():
            assert arrays[name].shape == (sum(counts), *shape[1:])
            assert arrays[name].dtype == kind
        assert arrays["attributes"].tolist() == ["speed_50"] * sum(counts)


@pytest.fixture(scope="module")
def dataset(renderer, tmp_path_factory):
    """A dataset of one drive with three images."""
    out = tmp_path_factory.mktemp("dataset")
    (task,) = missing_drives(out, {"validation": (1, 3)}, SIZE)
    write_drive(task)
    return out


def test_a_drive_holds_images_truth_and_description(dataset):
    folder = dataset / "validation" / "drive_000000"
    assert sorted(path.name for path in (folder / "images").iterdir()) == [f"{n:06d}.jpg" for n in range(3)]
    assert cv2.imread(str(folder / "images" / "000002.jpg")).shape == (180, 320, 3)
    drive = json.loads((folder / "drive.json").read_text())
    assert (drive["seed"], drive["split"], drive["frames"]) == (1_000_000, "validation", 3)
    assert np.array(drive["camera"]["intrinsics"]).shape == (3, 3)
    with np.load(folder / "ground_truth.npz", allow_pickle=False) as arrays:
        assert len(arrays["stamps_ns"]) == 3
        assert set(ARRAYS) | {"frame", "stamps_ns", "attributes"} == set(arrays.files)


def test_a_drive_is_written_again_to_the_same_bytes(dataset, tmp_path):
    task = Task(tmp_path / "again", "validation", 0, 3, *SIZE)
    write_drive(task)
    for name in ("images/000000.jpg", "images/000002.jpg", "ground_truth.npz", "drive.json"):
        assert (task.folder / name).read_bytes() == (dataset / "validation" / "drive_000000" / name).read_bytes()


def test_what_is_there_is_kept(dataset):
    assert missing_drives(dataset, {"validation": (1, 3)}, SIZE) == []
    (task,) = missing_drives(dataset, {"validation": (2, 3)}, SIZE)
    assert task.folder.name == "drive_000001"


@pytest.mark.parametrize(("frames", "size"), [(4, SIZE), (3, (640, 360))])
def test_drives_of_another_kind_are_not_mixed_in(dataset, frames, size):
    with pytest.raises(InputError, match="drive_000000"):
        missing_drives(dataset, {"validation": (1, frames)}, size)


def test_a_failed_drive_leaves_nothing(renderer, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("l4edge_simulation.dataset.pack", fail)
    task = Task(tmp_path / "drive", "validation", 0, 1, *SIZE)
    with pytest.raises(OSError, match="disk full"):
        write_drive(task)
    assert list(tmp_path.iterdir()) == []


def test_visits_show_every_state_of_lights_that_a_drive_has(renderer):
    from l4edge_simulation.appearance import stream
    from l4edge_simulation.simulation import Simulation
    from l4edge_simulation.visits import visit

    simulation = Simulation(5, "train", 10.0, renderer)
    assert simulation.world.state.layout.lights
    rng = stream(5, "sampling")
    seen = set()
    for _ in range(25):
        visit(simulation, rng)
        truth = simulation.observe().ground_truth
        seen |= {word for word, ignore in zip(truth.attributes, truth.ignore, strict=True) if not ignore and word}
    assert {"red", "amber", "green", "off"} <= seen
    assert {"stop", "yield", "priority"} & seen
