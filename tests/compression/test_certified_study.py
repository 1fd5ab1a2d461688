"""The certification study end to end on a few pictures: two trainings, a package, the table, the bench, the page."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from l4edge_compression.defense.packages import load_certified
from l4edge_compression.studies import (
    certification_bench,
    certification_page,
    certified,
    certified_pictures,
    certified_table,
    pictures,
    training,
)
from l4edge_compression.studies.certified_methods import Methods
from l4edge_perception.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures of two classes that differ in colour."""
    root = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    for split, count in (("train", 24), ("test", 8)):
        for label, colour in (("blue", (40, 40, 200)), ("red", (200, 40, 40))):
            (root / split / label).mkdir(parents=True)
            for index in range(count):
                picture = np.clip(np.array(colour) + generator.integers(-30, 30, (32, 32, 3)), 0, 255)
                (root / split / label / f"{index:04}.png").write_bytes(pictures.image_file(picture.astype(np.uint8)))
    return root


def run(command, *arguments):
    result = CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):
    """Runs and package of a network trained for a moment."""
    root = tmp_path_factory.mktemp("study")
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(training, "BATCH", 8)
        run(certified.command, "--data", folder, "--method", "float", "--epochs", 2, "--out", root / "float")
        run(
            certified.command, "--data", folder, "--method", "scalecert", "--epochs", 1, "--out", root / "sparse",
            "--start", root / "float" / "checkpoint.pt", "--package", root / "package", "--note", "tiny",
        )
    return root


def test_a_run_says_how_it_was_made_and_its_package_certifies(trained, folder):
    result = json.loads((trained / "sparse" / "result.json").read_text())
    assert (result["method"], result["seed"], result["notes"]) == ("scalecert", 0, ["tiny"])
    assert result["threshold"] > 0
    assert result["config"]["patch"] == [5, 5]
    package = load_certified(trained / "package")
    assert package.settings.patch == (5, 5)
    assert package.settings.keep == pytest.approx(result["threshold"])
    assert package.settings.saliency_margin > 0
    assert sum(path.stat().st_size for path in (trained / "package").iterdir()) < 2e6
    test = certified_table.shuffled(pictures.read_pictures(folder)["test"])
    assert set(test.labels[:8].tolist()) == {0, 1}
    labels = package.certifier().undefended(certified_table.pixels(test))
    assert (labels == test.labels.numpy()).mean() == pytest.approx(result["top1"], abs=0.1)


def test_a_stopped_run_goes_on_as_if_it_had_not(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "BATCH", 8)
    base = ["--data", folder, "--method", "float", "--pass-images", 16]
    run(certified.command, *base, "--epochs", 2, "--out", tmp_path / "whole")

    def stop(pictures_, run_, state, after_epoch, *rest):
        def after_one(state):
            after_epoch(state)
            raise KeyboardInterrupt

        return training.train(pictures_, run_, state, after_one, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(certified, "train", stop)
        CliRunner().invoke(certified.command, [*map(str, base), "--epochs", "2", "--out", str(tmp_path / "cut")])
    run(certified.command, *base, "--epochs", 2, "--out", tmp_path / "cut", "--resume")
    losses = [json.loads((tmp_path / name / "result.json").read_text())["history"] for name in ("whole", "cut")]
    assert losses[0] == losses[1]


def test_contradictions_are_named(folder, tmp_path):
    for arguments, words in (
        (["--method", "scalecert"], "--start"), (["--method", "float", "--package", tmp_path], "--package"),
    ):
        with pytest.raises(InputError, match=words):
            run(certified.command, "--data", folder, "--out", tmp_path, *arguments)


def test_the_table_adds_up(trained, folder):
    methods = Methods(load_certified(trained / "package"), certified_table.FILL)
    test = certified_table.shuffled(pictures.read_pictures(folder)["test"])
    images, labels = certified_table.pixels(test, 3), test.labels[:3].numpy()
    found = certified_table.measure(methods, images, labels, 1, {"levels": [2, 6], "trust": 0.6})
    for row in found["rows"]:
        if "certified" in row:
            assert row["alarm"] + row["uncertified"] + row["certified"] + row["certified_wrong"] == pytest.approx(1)
            assert row["clean"] <= found["rows"][0]["clean"]
    passes = {(row["method"], row["windows"]): row.get("passes") for row in found["rows"]}
    assert passes["one-mask", "6 x 6"] == 37
    assert passes["scalecert", "6 x 6"] <= 26
    assert 0 < methods.network(images).shape[1] == 2
    chosen = certified_table.choose_trust(methods, images, labels)
    assert chosen["trust"] in certified_table.TRUSTS
    kept = certified_table.kept_sweep(methods, images, images, labels)
    assert [row["kept"] for row in kept] == list(certified_table.KEPT)
    assert kept[0]["passes"] <= kept[-1]["passes"] <= 37, "what keeps no cell is skipped"
    assert all(row["certified"] <= row["undefended"] for row in kept)


def row(method, windows, certified_share, passes):
    return {"method": method, "windows": windows, "clean": 0.8, "certified": certified_share, "passes": passes}


def test_the_ratio_is_taken_at_equal_certified_accuracy():
    rows = [row("undefended", "", 0.0, 1.0), row("scalecert", "6 x 6", 0.70, 12.0), row("one-mask", "2 x 2", 0.5, 5.0),
            row("one-mask", "4 x 4", 0.70, 17.0), row("one-mask", "6 x 6", 0.72, 37.0)]
    found = certified_table.compared(rows)
    assert found["certified_share"] == pytest.approx(0.875)
    assert found["passes_ratio"]["cheapest"]["ratio"] == pytest.approx(17 / 12)
    assert found["passes_ratio"]["usual"] is None
    beyond = certified_table.compared([rows[0], row("scalecert", "", 0.75, 10.0), *rows[2:]])["passes_ratio"]
    assert (beyond["cheapest"]["reached"], beyond["cheapest"]["against"]) == (False, "6 x 6")
    assert beyond["usual"]["ratio"] == pytest.approx(3.7)


def test_mutants_of_the_window_rule_are_caught():
    found = certification_bench.covering(certification_bench.Budget(settings=400))
    assert found["covering_violations"] == 0
    assert all(count > 0 for count in found["covering_mutants"].values())


def test_made_up_scenes_and_crops_of_the_demo_drive():
    scenes = certified_pictures.scenes(4, 32)
    assert (scenes.shape, scenes.dtype) == ((4, 32, 32, 3), np.uint8)
    assert scenes.std() > 20
    crops = certified_pictures.sign_crops(REPOSITORY / "examples" / "demo_drive", 5, 64)
    assert crops.shape == (5, 64, 64, 3)
    assert len({crop.tobytes() for crop in crops}) == 5


def test_the_page_holds_what_the_result_files_say():
    folder, page = REPOSITORY / "docs" / "results" / "certification", REPOSITORY / "docs" / "certification_results.md"
    text = page.read_text(encoding="utf-8")
    assert certification_page.updated(text, certification_page.figures(folder), str(page)) == text
    table = json.loads((folder / "table.json").read_text())
    assert table["package"]["hash"] == load_certified(REPOSITORY / "models" / "cifar10_certified").hash
    attacks = json.loads((folder / "attacks.json").read_text())
    assert attacks["silent_wrong_labels"] == 0
    assert attacks["naive_order_caught"]
    assert attacks["networks"]["CIFAR-10"]["package"] == table["package"]["hash"]
    assert not re.search(r"\bnan\b", text)


def test_results_of_others_are_refused(tmp_path):
    with pytest.raises(InputError, match="no result file"):
        certification_page.figures(tmp_path)
    (tmp_path / "table.json").write_text(json.dumps({"made_by": "someone"}))
    with pytest.raises(InputError, match="not made by"):
        certification_page.figures(tmp_path)
