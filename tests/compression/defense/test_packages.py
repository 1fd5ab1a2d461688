"""A certified package is read whole, with its hash, or not at all."""

import json

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from l4edge_compression.defense import packages
from l4edge_compression.defense.linear_head import LinearHead
from l4edge_compression.defense.masking import DoubleMask, MaskSettings, OneMask
from l4edge_compression.defense.packages import linear_part, load_certified, write_certified
from l4edge_compression.defense.scalecert import ScaleCert
from l4edge_perception.errors import InputError
from tests.compression.defense.small_networks import Pixels, blobs, settings_for, small_head, small_stem, to_graph

CLASSES = ("red", "green", "blue", "yellow")


@pytest.fixture(scope="module")
def graphs():
    return {
        "stem": to_graph(small_stem(), np.zeros((1, 24, 24, 3), np.uint8)),
        "head": to_graph(small_head(), np.zeros((1, 8, 12, 12), np.float32)),
    }


@pytest.fixture
def folder(tmp_path, graphs):
    write_certified(tmp_path / "signs", "scalecert", settings_for(graphs["stem"]), graphs, CLASSES)
    return tmp_path / "signs"


def change(folder, **fields):
    file = folder / packages.FILE
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


def test_what_was_written_is_read(folder, graphs):
    package = load_certified(folder)
    assert package.settings == settings_for(graphs["stem"])
    assert (package.patch, package.classes, package.level) == ((5, 5), CLASSES, None)
    assert package.verify()
    certifier = package.certifier(batch=4)
    assert isinstance(certifier, ScaleCert)
    found = certifier.certify(blobs(1, 24, 4, 0)[0][0])
    assert found.covered == 1.0


def test_the_hash_is_of_what_decides(tmp_path, graphs):
    settings = settings_for(graphs["stem"])
    first = write_certified(tmp_path, "scalecert", settings, graphs, CLASSES)
    assert write_certified(tmp_path, "scalecert", settings, graphs, CLASSES, measured={"clean": 0.9}).hash == first.hash
    others = [
        write_certified(tmp_path, "scalecert", settings_for(graphs["stem"], patch=(6, 5)), graphs, CLASSES),
        write_certified(tmp_path, "scalecert", settings_for(graphs["stem"], confidence=0.5), graphs, CLASSES),
        write_certified(tmp_path, "scalecert", settings, graphs, CLASSES[::-1]),
        write_certified(
            tmp_path, "scalecert", settings,
            {**graphs, "head": to_graph(small_head(seed=5), np.zeros((1, 8, 12, 12), np.float32))}, CLASSES,
        ),
    ]
    assert len({first.hash, *(package.hash for package in others)}) == 5
    assert not first.verify()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "certified_head.onnx").write_bytes(b"other"), "sha256 differs"),
        (lambda folder: (folder / "certified_stem.onnx").unlink(), "cannot be read"),
        (lambda folder: change(folder, hash="0" * 64), "field hash"),
        (lambda folder: change(folder, classes=["a", "b", "c", "d"]), "field hash"),
        (lambda folder: change(folder, version=2), "version"),
        (lambda folder: change(folder, method="magic"), "method"),
        (lambda folder: change(folder, extra=1), "unknown"),
        (lambda folder: (folder / packages.FILE).write_text("{"), "JSON"),
        (lambda folder: (folder / packages.FILE).unlink(), "no such file"),
    ],
)
def test_damage_is_refused_and_noticed_later(folder, damage, words):
    package = load_certified(folder)
    damage(folder)
    with pytest.raises(InputError, match=words) as caught:
        load_certified(folder)
    assert str(folder) in str(caught.value)
    assert words == "unknown" or not package.verify()  # a further field decides about nothing


def rehashed(folder, **fields):
    """A file that says something else and has a hash that fits."""
    content = {**json.loads((folder / packages.FILE).read_text()), **fields}
    content["hash"] = packages._hash(content)
    (folder / packages.FILE).write_text(json.dumps(content))


def test_settings_out_of_range_are_refused_with_the_file_s_name(folder):
    settings = json.loads((folder / packages.FILE).read_text())["settings"]
    for changed, words in (
        ({"confidence": 1.5}, "confidence"), ({"rule": "best"}, "rule"), ({"patch": [5]}, "patch"),
        ({"input_size": [32, 32]}, "input_size"), ({"keep": "much"}, "keep"),
    ):
        rehashed(folder, settings={**settings, **changed})
        with pytest.raises(InputError, match=words) as caught:
            load_certified(folder)
        assert str(folder) in str(caught.value)


def test_parts_outside_the_package_are_refused(folder):
    parts = json.loads((folder / packages.FILE).read_text())["parts"]
    rehashed(folder, parts={**parts, "stem": {**parts["stem"], "name": "../stem.onnx"}})
    with pytest.raises(InputError, match="inside the package"):
        load_certified(folder)


def test_a_stem_that_sees_more_than_is_said_is_not_written(tmp_path, graphs):
    wide = {**graphs, "stem": to_graph(nn.Sequential(small_stem(), nn.Conv2d(8, 8, 3, 1, 1)),
                                       np.zeros((1, 24, 24, 3), np.uint8))}
    with pytest.raises(InputError, match="receptive_field"):
        write_certified(tmp_path / "signs", "scalecert", settings_for(graphs["stem"]), wide, CLASSES)
    leaking = {**graphs, "stem": to_graph(nn.Sequential(small_stem(), nn.InstanceNorm2d(8)),
                                          np.zeros((1, 24, 24, 3), np.uint8))}
    with pytest.raises(InputError, match="normalizes over space"):
        write_certified(tmp_path / "signs", "scalecert", settings_for(graphs["stem"]), leaking, CLASSES)
    assert not (tmp_path / "signs").exists()


def test_a_head_that_couples_images_is_not_written(tmp_path, graphs):
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 8, 12, 12]) for name in "xy"]
    model = helper.make_model(
        helper.make_graph(nodes, "head", ends[:1], ends[1:]), opset_imports=[helper.make_opsetid("", 13)], ir_version=8
    )
    with pytest.raises(InputError, match="every image of the batch"):
        write_certified(
            tmp_path, "scalecert", settings_for(graphs["stem"]), {**graphs, "head": model.SerializeToString()}, CLASSES
        )


def test_masks_and_linear_heads_have_packages_too(tmp_path, graphs):
    torch.manual_seed(0)
    image = blobs(1, 24, 4, 0)[0][0]
    whole = to_graph(nn.Sequential(small_stem(), small_head()), image[None])
    settings = MaskSettings((24, 24), (5, 5), (3, 3), fill=(128.0, 128.0, 128.0))
    for method, kind in (("one_mask", OneMask), ("double_mask", DoubleMask)):
        package = write_certified(tmp_path / method, method, settings, {"classifier": whole}, CLASSES)
        certifier = package.certifier()
        assert type(certifier) is kind
        assert certifier.certify(image).windows == 9
    linear = nn.Linear(8, 4)
    parts = {"stem": graphs["stem"], "head": linear_part(linear.weight.detach().numpy(), linear.bias.detach().numpy())}
    package = write_certified(tmp_path / "linear", "linear_head", settings_for(graphs["stem"]), parts, CLASSES)
    certifier = package.certifier()
    assert isinstance(certifier, LinearHead)
    with torch.no_grad():
        expected = linear(small_stem()(torch.from_numpy(image[None])).mean((2, 3)))
    assert certifier.certify(image).label == int(expected.argmax())


def test_a_level_must_be_there_and_the_same(tmp_path, graphs):
    with pytest.raises(InputError, match="manifest"):
        write_certified(tmp_path, "scalecert", settings_for(graphs["stem"]), graphs, CLASSES, level="full")


def test_an_unfit_input_is_refused(tmp_path, graphs):
    settings = MaskSettings((32, 32), (5, 5), (3, 3))
    graph = to_graph(Pixels(), np.zeros((1, 24, 24, 3), np.uint8))
    with pytest.raises(InputError, match="input_size"):
        write_certified(tmp_path, "one_mask", settings, {"classifier": graph}, CLASSES)
