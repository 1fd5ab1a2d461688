"""The accuracy study: its pictures, its recipe, resuming, its result files and the page made from them."""

import json
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from l4edge_compression.api import config_from_json, config_to_json
from l4edge_compression.studies import accuracy_page, cifar10, pictures, recipes, training
from l4edge_perception.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures of two classes that differ in colour: 32 to train on and 16 to test."""
    root = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    for split, count in (("train", 16), ("test", 8)):
        for label, colour in (("blue", (40, 40, 200)), ("red", (200, 40, 40))):
            (root / split / label).mkdir(parents=True)
            for index in range(count):
                noise = generator.integers(-30, 30, (32, 32, 3))
                picture = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
                (root / split / label / f"{index:04}.png").write_bytes(pictures.image_file(picture))
    return root


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(training, "BATCH", 8)
    monkeypatch.setattr(recipes, "VIT", {**recipes.VIT, "patch_size": 8, "width": 24, "depth": 2})


def call(*arguments):
    return CliRunner().invoke(cifar10.command, [str(argument) for argument in arguments])


def test_pictures_are_read_from_a_folder_an_archive_and_a_cache_alike(folder, tmp_path):
    from_folder = pictures.read_pictures(folder)
    with tarfile.open(tmp_path / "all.tar.xz", "w:xz") as archive:
        archive.add(folder, "somewhere")
    from_archive = pictures.read_pictures(tmp_path / "all.tar.xz", tmp_path / "cache")
    (tmp_path / "all.tar.xz").write_bytes(
        (tmp_path / "all.tar.xz").read_bytes()[:100].ljust((tmp_path / "all.tar.xz").stat().st_size, b"\0")
    )
    from_cache = pictures.read_pictures(tmp_path / "all.tar.xz", tmp_path / "cache")  # the archive is damaged by now
    prints = {pictures.fingerprint(each) for each in (from_folder, from_archive, from_cache)}
    assert len(prints) == 1
    training_part = from_folder["train"]
    assert training_part.images.shape == (32, 3, 32, 32) and training_part.classes == ("blue", "red")
    assert training_part.labels.tolist() == [0] * 16 + [1] * 16
    red, green, blue = training_part.images[20].float().mean((1, 2))
    assert red > 150 and green < 60 and blue < 60


def test_sources_that_hold_no_pictures_are_refused(folder, tmp_path):
    with pytest.raises(InputError, match="no such file"):
        pictures.read_pictures(tmp_path / "nothing")
    (tmp_path / "text.tar").write_text("text")
    with pytest.raises(InputError, match=r"text\.tar: not a whole tar archive"):
        pictures.read_pictures(tmp_path / "text.tar")
    with pytest.raises(InputError, match="train/CLASS"):
        pictures.read_pictures(folder / "train")
    (tmp_path / "train" / "cat").mkdir(parents=True)
    (tmp_path / "train" / "cat" / "0.png").write_bytes(pictures.image_file(np.zeros((16, 16, 3), np.uint8)))
    with pytest.raises(InputError, match=r"0\.png: not a picture of 32 x 32"):
        pictures.read_pictures(tmp_path)


def test_training_pictures_are_shifted_by_up_to_four_pixels_and_mirrored():
    images = torch.randint(1, 256, (64, 3, 32, 32), dtype=torch.uint8)
    varied = pictures.varied(images, torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(images, (4, 4, 4, 4))
    seen = set()
    for index in range(64):
        for mirrored in (False, True):
            source = padded[index].flip(2) if mirrored else padded[index]
            seen |= {
                (down, right, mirrored)
                for down in range(9)
                for right in range(9)
                if torch.equal(source[:, down : down + 32, right : right + 32], varied[index])
            }
    assert len(seen) > 40 and {mirrored for *_, mirrored in seen} == {False, True}
    assert {down for down, _, _ in seen} == {right for _, right, _ in seen} == set(range(9))
    again = pictures.varied(images, torch.Generator().manual_seed(0))
    assert torch.equal(again, varied)


def test_the_learning_rate_rises_only_from_scratch_and_ends_at_nothing():
    recipe = recipes.RECIPES["resnet20"]
    assert recipes.rate(recipe, True, 0.1) == pytest.approx(0.1)
    assert recipes.rate(recipe, True, 0.2) == pytest.approx(0.2)
    assert recipes.rate(recipe, False, 0.0) == pytest.approx(0.02)
    for from_scratch in (True, False):
        falling = [recipes.rate(recipe, from_scratch, share) for share in (0.3, 0.6, 0.9, 1.0)]
        assert falling == sorted(falling, reverse=True) and falling[-1] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("network", ["resnet20", "vit"])
def test_settings_of_every_method_survive_json(network):
    kinds = set()
    for method in recipes.METHODS:
        try:
            config = recipes.method_config(network, method, 3)
        except InputError:
            continue
        if config is not None:
            assert config_from_json(config_to_json(config)) == config
            kinds.add(method)
    wanted = {
        "resnet20": {"fixed-w4a4", "pot-w4a4", "rmsmp", "ilmpq", "esb-4-1", "esb-5-2", "w8a8-ptq"},
        "vit": {"w1a32", "w1a8", "w1a6", "progressive", "one-shot", "w8a8-ptq"},
    }
    assert kinds == wanted[network]
    assert set(accuracy_page.LABELS) == set(recipes.METHODS)


def test_scales_have_their_own_learning_rate_and_no_decay(folder, small_batches):
    data = pictures.read_pictures(folder)["train"]
    config = recipes.method_config("resnet20", "rmsmp", 0)
    run = training.Run(recipes.RECIPES["resnet20"], False, config, 1, 32, 0)
    network = cifar10.prepared_network("resnet20", None, run, data, torch.device("cpu"))
    decayed, free, scales = training.new_state(network, run).optimizer.param_groups
    assert {len(parameter.shape) for parameter in decayed["params"]} == {2, 4}
    assert free["weight_decay"] == scales["weight_decay"] == 0
    learned = {id(each) for name, each in network.named_parameters() if name.endswith("scale") and each.requires_grad}
    assert {id(each) for each in scales["params"]} == learned and len(learned) > 22


@pytest.mark.parametrize(("network", "method"), [("resnet20", "rmsmp"), ("vit", "w1a8"), ("vit", "fp32-longer")])
def test_a_resumed_run_ends_like_one_that_was_not_stopped(folder, tmp_path, small_batches, network, method):
    start = tmp_path / "start.pt"
    torch.manual_seed(5)
    torch.save(recipes.make_network(network, 2).state_dict(), start)
    data = pictures.read_pictures(folder)["train"]
    config = recipes.method_config(network, method, 0)
    run = training.Run(recipes.RECIPES[network], False, config, 3, 8, 0)

    def begun():
        return training.new_state(cifar10.prepared_network(network, start, run, data, torch.device("cpu")), run)

    whole = begun()
    saved = []

    def keep(state):
        training.save_state(tmp_path / f"{state.epoch}.pt", state)
        saved.append(state.epoch)

    training.train(data, run, whole, keep)
    assert saved == [1, 2, 3]
    resumed = begun()
    training.load_state(tmp_path / "2.pt", resumed)
    training.train(data, run, resumed, lambda state: None)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name
    assert resumed.history == whole.history
    with pytest.raises(InputError, match="no checkpoint"):
        training.load_state(tmp_path / "9.pt", resumed)
    with pytest.raises(InputError, match="not a checkpoint of this run"):
        training.load_state(start, resumed)


def test_binary_weights_become_more_through_the_second_stage(folder, small_batches):
    data = pictures.read_pictures(folder)["train"]
    config = recipes.method_config("vit", "progressive", 0)
    run = training.Run(recipes.RECIPES["vit"], False, config, 5, 32, 0)
    network = cifar10.prepared_network("vit", None, run, data, torch.device("cpu"))
    shares = []

    def keep(state):
        masks = [value.float().mean() for name, value in state.network.state_dict().items() if name.endswith("mask")]
        shares.append(float(torch.stack(masks).mean()))

    training.train(data, run, training.new_state(network, run), keep)
    assert shares == pytest.approx([1 / 3, 2 / 3, 1, 1, 1], abs=0.01)


def test_the_command_trains_quantizes_and_writes_results(folder, tmp_path, small_batches):
    common = ("--data", folder, "--network", "resnet20", "--pass-images", 8)
    first = call(*common, "--method", "fp32", "--epochs", 2, "--out", tmp_path / "fp32", "--note", "of a test")
    assert first.exit_code == 0, first.output
    result = json.loads((tmp_path / "fp32" / "result.json").read_text())
    assert result["notes"] == ["of a test"] and result["bits_per_weight"] == 32 and len(result["history"]) == 2
    start = tmp_path / "fp32" / "checkpoint.pt"
    second = call(*common, "--method", "rmsmp", "--epochs", 1, "--start", start, "--out", tmp_path / "rmsmp")
    assert second.exit_code == 0, second.output
    result = json.loads((tmp_path / "rmsmp" / "result.json").read_text())
    assert 4.1 < result["bits_per_weight"] < 4.5
    assert result["correct"] / 16 == result["top1"]
    assert config_from_json(result["config"]) == recipes.method_config("resnet20", "rmsmp", 0)
    third = call(*common, "--method", "w8a8-ptq", "--start", start, "--out", tmp_path / "ptq")
    assert third.exit_code == 0, third.output
    result = json.loads((tmp_path / "ptq" / "result.json").read_text())
    assert result["epochs"] == 0 and result["history"] == [] and result["bits_per_weight"] == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--network", "resnet20", "--method", "rmsmp"), "--start"),
        (("--network", "resnet20", "--method", "w1a8", "--start", "x"), "--method w1a8: not for resnet20"),
        (("--network", "resnet20", "--method", "fp32", "--pass-images", "2"), "does not fill one batch"),
        (("--network", "vit", "--method", "w1a8", "--start", "x"), "x: no such file"),
    ],
)
def test_what_cannot_be_done_is_refused(folder, tmp_path, arguments, message):
    result = call("--data", folder, "--out", tmp_path / "run", *arguments)
    assert isinstance(result.exception, InputError) and message in str(result.exception)


def made_up(method, correct, seed=0, network="resnet20"):
    return {
        "made_by": "python -m l4edge_compression.studies.cifar10",
        "data": {"name": "CIFAR-10", "sha256": "0" * 64, "test_images": 10_000},
        "network": network,
        "method": method,
        "bits_per_weight": 4.2,
        "seed": seed,
        "correct": correct,
        "epochs": 4,
        "pass_images": 1000,
        "processor_seconds": 90.0,
        "device": "machine",
        "torch": "2",
        "notes": [],
    }


def written(folder, *records):
    for number, record in enumerate(records):
        (folder / f"{number}.json").write_text(json.dumps(record))
    return accuracy_page.read_results(folder)


def test_tables_and_verdicts_follow_from_the_result_files(tmp_path):
    results = written(
        tmp_path,
        made_up("rmsmp", 8850),
        made_up("fp32-longer", 9000),
        made_up("fp32-longer", 9020, seed=1),
        made_up("fixed-w4a4", 8900),
        made_up("pot-w4a4", 8700),
    )
    lines = accuracy_page.table(results, "resnet20")
    assert [line.split("|")[1].strip() for line in lines[2:]] == [
        "FP32 trained on",
        "Fixed-W4A4",
        "PoT-W4A4",
        "RMSMP 65:30:5",
    ]
    assert "90.10 ± 0.30" in lines[2] and "0: 90.00, 1: 90.20" in lines[2]
    assert "| 88.50 ± 0.32 | -1.60 |" in lines[5]
    cells = [line.split("|") for line in accuracy_page.claims(results, "resnet20")]
    verdicts = {claim.strip(): holds.strip() for _, claim, _, holds, _ in cells}
    assert verdicts["RMSMP within 0.5 points of FP32 trained on"] == "**no** (noise ± 0.87)"
    assert verdicts["RMSMP not below Fixed-W4A4"] == "no, though within noise (± 0.89)"
    assert verdicts["RMSMP not below PoT-W4A4"] == "yes"
    assert "ILMPQ not below Fixed-W4A4" not in verdicts


def test_results_that_are_none_are_refused(tmp_path):
    with pytest.raises(InputError, match="no result files"):
        accuracy_page.read_results(tmp_path)
    record = made_up("rmsmp", 1)
    del record["correct"]
    with pytest.raises(InputError, match=r"0\.json: not a result of the study"):
        written(tmp_path, record)


def test_a_page_without_its_marks_is_refused(tmp_path):
    results = written(tmp_path, made_up("rmsmp", 8850))
    with pytest.raises(InputError, match=r"page\.md: the lines <!-- resnet20"):
        accuracy_page.updated("text", accuracy_page.figures(results), "page.md")


def test_the_page_shows_what_the_result_files_say():
    page = REPOSITORY / "docs" / "quantization_accuracy.md"
    text = page.read_text(encoding="utf-8")
    results = accuracy_page.read_results(REPOSITORY / "docs" / "results" / "quantization")
    assert accuracy_page.updated(text, accuracy_page.figures(results), str(page)) == text
    assert re.search(r"\| RMSMP 65:30:5 \| 4\.\d", text)
