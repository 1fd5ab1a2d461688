# ruff: noqa: E402 - what needs torch is imported once torch is known to be there
import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("pycocotools")

from click.testing import CliRunner

from l4edge_perception.camera.decoders import cell_grid, grid
from l4edge_perception.camera.detector import Detector
from l4edge_perception.errors import InputError
from l4edge_perception.models.detector import (
    DIVISIONS,
    STRIDES,
    DeployedDetector,
    DetectorConfig,
    DetectorNetwork,
    fold_normalization,
)
from l4edge_perception.models.export import check_parity, export_graph
from l4edge_perception.packages import load_package
from l4edge_perception.training.augmentation import AugmentationConfig
from l4edge_perception.training.batches import training_batches
from l4edge_perception.training.calibration import Scaling, fit_scaling, scaled
from l4edge_perception.training.dataset import read_split
from l4edge_perception.training.detector import (
    TrainingConfig,
    command,
    learning_rate,
    load_checkpoint,
    new_state,
    save_checkpoint,
    train,
)
from l4edge_perception.training.detector_loss import DetectorLoss, LossConfig, Targets, complete_overlap, plain_overlap
from l4edge_perception.training.detector_result import evaluate_network
from l4edge_perception.types import Detections

SMALL = DetectorConfig(height=64, width=96, channels=(16, 32, 32, 32), head_channels=32)
UNCHANGED = AugmentationConfig(flip=0, zoom=0, colour=0, fault=0)
COLOURS = ((255, 60, 60), (60, 255, 60), (60, 60, 255), (255, 255, 60), (255, 60, 255), (60, 255, 255))


@pytest.fixture(autouse=True)
def one_thread():
    """Networks this small gain nothing from more, and wait for each other where the machine is busy."""
    torch.set_num_threads(1)


def write_drives(folder, drives, frames, seed):
    """Drives of 64 x 96 images with one to three coloured rectangles; the colour is the class."""
    generator = np.random.default_rng(seed)
    for drive in range(drives):
        path = folder / f"drive_{drive:06d}"
        (path / "images").mkdir(parents=True)
        frame, class_ids, boxes = [], [], []
        for number in range(frames):
            image = generator.integers(90, 120, (64, 96, 3), dtype=np.uint8)
            for column in generator.permutation(3)[: generator.integers(1, 4)]:
                class_id = int(generator.integers(6))
                width, height = generator.integers(10, 26, 2)
                x, y = 32 * column + generator.integers(0, 6), generator.integers(2, 64 - height)
                image[y : y + height, x : x + width] = COLOURS[class_id]
                frame.append(number)
                class_ids.append(class_id)
                boxes.append((x, y, x + width, y + height))
            cv2.imwrite(str(path / "images" / f"{number:06d}.jpg"), image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
        count = len(frame)
        np.savez(
            path / "ground_truth.npz",
            frame=np.array(frame, np.int32),
            ids=np.arange(count),
            class_ids=np.array(class_ids, np.int32),
            boxes=np.array(boxes, np.float32),
            visibilities=np.ones(count, np.float32),
            positions=np.zeros((count, 3)),
            yaws=np.zeros(count),
            velocities=np.zeros((count, 2)),
            sizes=np.ones((count, 3), np.float32),
            ignore=np.zeros(count, bool),
            attributes=np.array([""] * count),
            stamps_ns=np.arange(frames) * 100_000_000,
        )


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dataset")
    for seed, split in enumerate(("train", "validation", "test")):
        write_drives(folder / split, 2, 8, seed)
    return folder


def small_config(**more):
    more = {"batch_size": 8, "warm_up_steps": 10, "average_decay": 0.9, **more}
    return TrainingConfig(network=SMALL, band_height=64, augmentation=UNCHANGED, **more)


def test_the_loop_learns_a_small_set_by_heart(dataset):
    torch.manual_seed(0)
    frames = read_split(dataset, "train")
    config = small_config(epochs=30, batch_size=4, learning_rate=5e-3)
    state = new_state(config, torch.device("cpu"))
    train(frames, config, state, lambda state: None)
    losses = [entry["loss"] for entry in state.history]
    assert losses[-1] < 0.5 * losses[0]
    assert evaluate_network(state.average, frames).ap50 > 0.9


def test_a_resumed_run_ends_like_an_unbroken_one(dataset, tmp_path):
    frames = read_split(dataset, "train")
    config = small_config(epochs=2)

    def run(state, stop_after=None):
        def stop(state):
            save_checkpoint(tmp_path / "checkpoint.pt", state, config)
            if state.epoch == stop_after:
                raise KeyboardInterrupt

        train(frames, config, state, stop)
        return state.network.state_dict()

    unbroken = run(new_state(config, torch.device("cpu")))
    with pytest.raises(KeyboardInterrupt):
        run(new_state(config, torch.device("cpu")), stop_after=1)
    state = new_state(config, torch.device("cpu"))
    load_checkpoint(tmp_path / "checkpoint.pt", state)
    assert (state.epoch, state.step, len(state.history)) == (1, 2, 1)
    resumed = run(state)
    for name, values in unbroken.items():
        torch.testing.assert_close(resumed[name], values, msg=name)


@pytest.mark.parametrize(("content", "message"), [(None, "no checkpoint"), (b"nonsense", "not a checkpoint")])
def test_a_checkpoint_that_cannot_be_used(tmp_path, content, message):
    path = tmp_path / "checkpoint.pt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_checkpoint(path, new_state(small_config(), torch.device("cpu")))


def test_the_command_writes_a_package_and_a_result(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("l4edge_perception.training.detector.TrainingConfig", small_config_class())
    arguments = ["--data", str(dataset), "--out", str(tmp_path / "run"), "--epochs", "1", "--seed", "3"]
    arguments += ["--pass-images", "8"]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    record = json.loads((tmp_path / "run" / "result.json").read_text())
    assert record["seed"] == 3 and record["test"]["images"] == 16 and record["history"][0]["step"] == 1
    package = load_package(tmp_path / "run" / "package")
    assert package.levels[0].accuracy.metrics == {
        "AP50": round(record["test"]["ap50"], 4),
        "AP": round(record["test"]["ap"], 4),
    }
    assert package.provenance["dataset"]["train"]["frames"] == 16
    Detector(package).detect(np.zeros((360, 640, 3), np.uint8), 0)


def small_config_class():
    """``TrainingConfig`` with a small network, for the command."""

    def make(batch_size, **more):
        return small_config(**more)

    return make


def test_too_few_images_are_an_input_error(dataset):
    config = small_config()
    with pytest.raises(InputError, match="do not fill one batch"):
        train(read_split(dataset, "train")[:5], config, new_state(config, torch.device("cpu")), lambda state: None)


def test_learning_rate_rises_and_falls():
    config = TrainingConfig(learning_rate=1.0, warm_up_steps=10)
    assert learning_rate(config, 0, 0.0) == pytest.approx(0.1)
    assert learning_rate(config, 9, 0.0) == pytest.approx(1.0)
    assert learning_rate(config, 500, 0.5) == pytest.approx(0.505)
    assert learning_rate(config, 999, 1.0) == pytest.approx(0.01)


def test_a_time_limit_ends_the_training(dataset):
    config = small_config(epochs=1000, time_limit_s=0.5)
    state = new_state(config, torch.device("cpu"))
    train(read_split(dataset, "train"), config, state, lambda state: None)
    assert 1 <= state.epoch < 1000


def test_batches_do_not_depend_on_threads(dataset):
    frames = read_split(dataset, "train")
    runs = [
        list(training_batches(frames, 4, (64, 96), 32, (1, 2), AugmentationConfig(), threads=threads))
        for threads in (1, 3)
    ]
    assert len(runs[0]) == 4
    for first, second in zip(*runs, strict=True):
        assert first.pixels.shape == (4, 32, 96, 3)
        assert torch.equal(first.pixels, second.pixels)
        assert all(torch.equal(a, b) for a, b in zip(first.targets, second.targets, strict=True))


def small_network():
    """A network whose normalizations have seen something."""
    torch.manual_seed(1)
    network = DetectorNetwork(SMALL)
    with torch.no_grad():
        for _ in range(3):
            network(torch.rand(2, 3, 64, 96) * 255)
    return network.eval()


def test_outputs_have_one_column_per_cell():
    cells = cell_grid(64, 96, STRIDES, DIVISIONS)
    assert small_network()(torch.zeros(2, 3, 64, 96)).shape == (2, 10, len(cells.strides))


def test_columns_are_where_the_cells_are():
    """A change of the picture far from a cell must not reach it, one on it must."""
    network = small_network()
    # Without context only the finest grid sees locally.
    network.lateral32 = torch.nn.Sequential(network.lateral32, Zero())
    network.merge16 = torch.nn.Sequential(network.merge16, Zero())
    picture = torch.zeros(1, 3, 64, 96)
    changed = picture.clone()
    changed[:, :, 8:16, 80:88] = 255
    with torch.no_grad():
        difference = (network(picture) - network(changed)).abs().amax(dim=(0, 1))
    cells = cell_grid(64, 96, STRIDES, DIVISIONS)
    fine = cells.strides == 4
    distance = np.abs(cells.centres[fine] - (84, 12)).max(axis=1)
    assert (difference[fine][distance < 4] > 0).all()
    assert (difference[fine][distance > 64] == 0).all()


class Zero(torch.nn.Module):
    """Nothing of what comes in."""

    def forward(self, features):
        return features * 0


def test_folding_changes_nothing():
    network = small_network()
    picture = torch.rand(1, 3, 64, 96) * 255
    with torch.no_grad():
        torch.testing.assert_close(fold_normalization(network)(picture), network(picture), rtol=1e-4, atol=1e-4)


def test_the_exported_graph_agrees_with_torch_or_is_refused():
    model = DeployedDetector(small_network())
    pictures = [np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3), dtype=np.uint8)]
    graph = export_graph(model, torch.from_numpy(pictures[0]), "image", "predictions")
    assert check_parity(model, graph, pictures) < 1e-3
    with torch.no_grad():
        model.network.outputs[0].bias += 0.1
    with pytest.raises(RuntimeError, match=r"differs from torch by 0\.1"):
        check_parity(model, graph, pictures)


def targets(*objects, ignored=()):
    """Targets of one image from (box, class) and ignored boxes."""
    boxes, class_ids = zip(*objects, strict=True) if objects else ((), ())
    return Targets(
        torch.zeros(len(boxes), dtype=torch.int64),
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(class_ids, dtype=torch.int64),
        torch.zeros(len(ignored), dtype=torch.int64),
        torch.tensor(ignored, dtype=torch.float32).reshape(-1, 4),
    )


LOSS = DetectorLoss(64, 64, (8, 16), (1, 1), LossConfig())


def answer(box, class_id, cells):
    """Raw outputs (1, 8, N) with C = 4 in which the given cells say exactly ``box`` and ``class_id``, all others no."""
    centre = (torch.tensor(box[:2]) + torch.tensor(box[2:])) / 2
    size = torch.tensor(box[2:]) - torch.tensor(box[:2])
    outputs = torch.full((1, 8, len(LOSS.strides)), -12.0)
    outputs[:, :4] = 0
    for cell in cells:
        outputs[0, :2, cell] = (centre - LOSS.centres[cell]) / LOSS.strides[cell]
        outputs[0, 2:4, cell] = (size / LOSS.strides[cell]).log()
        outputs[0, 4 + class_id, cell] = 12.0
    return outputs


BOX = (10.0, 10.0, 40.0, 30.0)


def cells_inside(box):
    """Indices of cells whose centre lies in a box."""
    low, high = torch.tensor(box[:2]), torch.tensor(box[2:])
    return ((LOSS.centres > low) & (LOSS.centres < high)).all(1).nonzero()[:, 0].tolist()


def test_the_right_answer_costs_nothing():
    config = LossConfig(cells_per_object=1000)
    loss = DetectorLoss(64, 64, (8, 16), (1, 1), config)
    # A cell of stride 8 outside the box may answer as well if the object is near; none is here.
    result = loss(answer(BOX, 2, cells_inside(BOX)), targets((BOX, 2)))
    assert float(result.total) < 1e-3


@pytest.mark.parametrize("fault", ["class", "place", "missed", "invented"])
def test_wrong_answers_cost(fault):
    outputs = {
        "class": answer(BOX, 1, cells_inside(BOX)),
        "place": answer((14.0, 10.0, 44.0, 30.0), 2, cells_inside(BOX)),
        "missed": answer(BOX, 2, []),
        "invented": answer(BOX, 2, cells_inside(BOX)),
    }[fault]
    wanted = targets() if fault == "invented" else targets((BOX, 2))
    assert float(LOSS(outputs, wanted).total) > 0.1


def test_answers_in_ignored_regions_cost_nothing():
    outputs = answer(BOX, 2, cells_inside(BOX))
    assert float(LOSS(outputs, targets(ignored=[BOX])).total) < 1e-3


def test_an_object_smaller_than_a_cell_is_learnt():
    tiny = (17.0, 17.0, 20.0, 22.0)  # holds no centre of a cell
    pairs = LOSS.assign(torch.rand(1, 80, 4) + 17, torch.zeros(1, 80, 4), targets((tiny, 0)))
    assert len(pairs.cell) > 0
    assert (LOSS.centres[pairs.cell] - 18.5).abs().max() < 8


def test_a_cell_learns_one_object_and_an_object_at_most_so_many():
    boxes = LOSS.decode(torch.zeros(1, 80, 4))
    other = (12.0, 10.0, 42.0, 32.0)
    pairs = LOSS.assign(boxes, torch.zeros(1, 80, 4), targets((BOX, 0), (other, 1)))
    assert len(set(pairs.cell.tolist())) == len(pairs.cell)
    assert torch.bincount(pairs.objects).max() <= LossConfig().cells_per_object
    assert (pairs.score <= pairs.share).all() and (pairs.share <= 1).all()


def test_no_objects_at_all():
    result = LOSS(torch.zeros(2, 8, 80, requires_grad=True), targets())
    result.total.backward()
    assert torch.isfinite(result.total)


def test_loss_and_decoder_mean_the_same_box():
    cells = cell_grid(64, 64, (8, 16))
    outputs = answer(BOX, 2, [30])
    candidates = grid(outputs.numpy(), 0.5, cells)
    np.testing.assert_allclose(candidates.boxes, [BOX], atol=1e-3)
    np.testing.assert_allclose(LOSS.decode(outputs[:, :4].transpose(1, 2))[0, 30], BOX, atol=1e-3)


def test_overlaps():
    first = torch.tensor([BOX, BOX])
    second = torch.tensor([BOX, (40.0, 10.0, 70.0, 30.0)])
    assert plain_overlap(first, second).tolist() == pytest.approx([1, 0])
    # Beside each other: the centres are 30 apart in a hull of 60 x 20.
    assert complete_overlap(first, second).tolist() == pytest.approx([1, -900 / 4000])


def drawn_detections(probability_of, count=4000):
    """Detections of class 1 beside or on their object, right as often as ``probability_of(score)`` says."""
    generator = np.random.default_rng(0)
    scores = generator.uniform(0.05, 0.95, count).astype(np.float32)
    right = generator.random(count) < probability_of(scores)
    found, truths = [], []
    for score, is_right in zip(scores, right, strict=True):
        box = np.array([[10, 10, 30, 30]], np.float32)
        found.append(Detections(0, box, np.array([score]), np.ones(1, np.int32)))
        truths.append(
            SimpleNamespace(boxes=box + (0 if is_right else 50), class_ids=np.ones(1), ignore=np.zeros(1, bool))
        )
    return found, truths


def test_scaling_makes_probabilities_of_scores():
    found, truths = drawn_detections(lambda scores: 1 / (1 + np.exp(-(2 * np.log(scores / (1 - scores)) + 1))))
    scaling = fit_scaling(found, truths, 3)
    np.testing.assert_allclose(scaling.gains, [1, 2, 1], atol=0.15)
    np.testing.assert_allclose(scaling.offsets, [0, 1, 0], atol=0.15)


def test_scores_that_say_nothing_are_left_alone():
    found, truths = drawn_detections(lambda scores: 1 - scores)
    assert fit_scaling(found, truths, 3).gains.tolist() == [1, 1, 1]


def test_a_scaled_network_gives_scaled_logits_and_the_same_boxes():
    network = small_network()
    scaling = Scaling(np.linspace(0.5, 2, 6), np.linspace(-1, 1, 6))
    picture = torch.rand(1, 3, 64, 96) * 255
    with torch.no_grad():
        before, after = network(picture).numpy(), scaled(network, scaling)(picture).numpy()
    np.testing.assert_array_equal(after[:, :4], before[:, :4])
    expected = before[:, 4:] * scaling.gains[:, None] + scaling.offsets[:, None]
    np.testing.assert_allclose(after[:, 4:], expected, rtol=1e-4, atol=1e-4)
