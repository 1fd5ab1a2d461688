"""``l4edge compress`` as its users call it, on a small network and pictures of two colours."""

import json

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from l4edge_compression.command import command, read_settings
from l4edge_perception.errors import InputError
from l4edge_perception.packages import load_package

NETWORK = """
import torch
from torch import nn

def make():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 24, 3, 2, 1), nn.BatchNorm2d(24), nn.ReLU(), nn.Conv2d(24, 32, 3, 2, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 2),
    )
    # Its classes are red and blue: the head reads what the first layer makes of the two colours.
    with torch.no_grad():
        network[0].weight.zero_()
        network[0].weight[:12, 0, 1, 1] = 1.0
        network[0].weight[12:, 2, 1, 1] = 1.0
        network[3].weight.zero_()
        for channel in range(24):
            network[3].weight[channel, channel, 1, 1] = 1.0
        network[7].weight.zero_()
        network[7].weight[0, 12:24] = 1.0
        network[7].weight[1, :12] = 1.0
        network[7].bias.zero_()
    return network

def broken():
    raise RuntimeError("no weights here")
"""


@pytest.fixture
def pictures(tmp_path):
    """Pictures that are blue or red, with noise."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 6), ("test", 5)):
        for name, channel in (("blue", 0), ("red", 2)):  # OpenCV writes blue first
            folder = tmp_path / "pictures" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 60, (32, 32, 3), dtype=np.uint8)
                pixels[:, :, channel] += 150
                cv2.imwrite(str(folder / f"{number}.png"), pixels)
    return tmp_path / "pictures"


@pytest.fixture
def run(tmp_path, monkeypatch, pictures):
    """Call the command in a folder that holds ``colours.py``."""
    (tmp_path / "colours.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()

    def call(*arguments, model="colours:make"):
        fixed = ("--model", model, "--data", str(pictures), "--out", "made", "--size", "32", "--threads", "1")
        return CliRunner().invoke(command, [*arguments, *fixed])

    yield call
    torch.set_num_threads(threads)


@pytest.mark.parametrize("method", ["rmsmp", "ilmpq", "esb", "fixed", "pot", "apot"])
def test_a_network_becomes_a_package_of_two_levels(run, tmp_path, method):
    result = run("--method", method, "--json")
    assert result.exit_code == 0, result.output + str(result.exception)
    report = json.loads(result.stdout)
    package = load_package(tmp_path / "made")
    assert [level.name for level in package.levels] == ["full", method]
    assert report["before"]["top-1"] == 1.0
    assert report["after"]["top-1"] >= 0.9
    assert report["mismatches"] == 0 and report["compared"] > 0
    assert report["bytes_after"] == package.level(method).bytes
    assert package.level(method).accuracy.metrics == report["after"]
    assert len(package.level(method).schemes) == 3


def test_the_table_names_what_was_measured(run):
    result = run("--method", "fixed", "--set", "weight_bits=8", "--set", "activation_bits=8", "--level", "w8a8")
    assert result.exit_code == 0, result.output + str(result.exception)
    for words in ("top-1", "w8a8", "median run", "pictures, test, 10 pictures", "0 differ"):
        assert words in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--method"),
        (("--method", "rmsmp", "--set", "ratio=[50, 30, 5]"), "ratio"),
        (("--method", "rmsmp", "--set", "activation_bits"), "FIELD=VALUE"),
        (("--method", "rmsmp", "--set", "bits_of_everything=3"), "bits_of_everything"),
        (("--method", "rmsmp", "--config", "nowhere.json"), "nowhere.json"),
    ],
)
def test_settings_that_are_none(run, tmp_path, arguments, words):
    result = run(*arguments)
    assert isinstance(result.exception, InputError) and words in str(result.exception)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("colours:broken", "no weights here"),
        ("colours:missing", "missing"),
        ("nothing", "MODULE:FUNCTION"),
        ("resnet18", "--weights"),
    ],
)
def test_networks_that_are_none(run, model, words):
    result = run("--method", "fixed", model=model)
    assert isinstance(result.exception, InputError) and words in str(result.exception)


def test_a_file_and_single_settings_go_together(tmp_path):
    file = tmp_path / "method.json"
    file.write_text('{"method": "fixed", "weight_bits": 8, "activation_bits": 8}')
    config = read_settings(None, file, ("activation_bits=6",))
    assert (config.method, config.weight_bits, config.activation_bits) == ("fixed", 8, 6)
    with pytest.raises(InputError, match="settings of fixed"):
        read_settings("rmsmp", file, ())
