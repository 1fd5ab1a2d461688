import json

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from l4edge_compression.api import RmsmpConfig, compress_, save_package
from l4edge_compression.quantization import layer_graphs, parity, saving
from l4edge_compression.quantization.integer import arithmetic
from l4edge_perception.errors import InputError
from l4edge_perception.inference import Session
from l4edge_perception.packages import load_package

torch.set_num_threads(1)


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 128, 3, 1, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(128, 4),
    ).eval()


@pytest.fixture
def images():
    return torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def model(images):
    return compress_(network(), RmsmpConfig(calibration="absmax", score="weight"), [images])


def test_arrays_are_counted():
    count = parity.compare_arrays(np.asarray([1, 2, 3], np.uint8), np.asarray([1, 0, 255], np.uint8))
    assert count == parity.Count(3, 2, 252.0)
    numbers = np.asarray([1.0, np.nan, np.inf], np.float32)
    assert parity.compare_arrays(numbers, numbers).mismatches == 0
    assert parity.compare_arrays(numbers, np.asarray([1.0, 0.0, 1.0], np.float32)).mismatches == 2
    with pytest.raises(InputError, match="shapes differ"):
        parity.compare_arrays(numbers, numbers[:2])


def test_the_formulas_hold_here():
    result = parity.self_test()
    assert result.exact
    assert set(result.operators) >= {"Conv", "Gemm", "Add", "GlobalAveragePool", "AveragePool"}
    assert result.integer_outputs > 40_000


@pytest.mark.parametrize(
    ("draw", "formula", "wrong"),
    [
        (layer_graphs.convolution(8, 8, 9, 3), "requantize",
         lambda sums, scale, output, zero: arithmetic.saturate(np.floor(sums * (scale / output)) + zero, zero.dtype)),
        (layer_graphs.joint("Add", (1, 8, 32, 32)), "addition_table",
         lambda a, az, b, bz, s, z: np.zeros((256, 256), z.dtype)),
        (layer_graphs.single("AveragePool", (1, 8, 8, 8), kernel_shape=[2, 2], strides=[2, 2]), "average",
         lambda sums, counts, scale, zero: arithmetic.saturate(np.floor(sums / counts / scale) + zero, zero.dtype)),
    ],
)
def test_a_wrong_formula_is_noticed(draw, formula, wrong, monkeypatch):
    layer = draw(np.random.default_rng(0), "rmsmp")
    assert parity.compare(layer.content, [layer.feeds]).exact
    monkeypatch.setattr(arithmetic, formula, wrong)
    result = parity.compare(layer.content, [layer.feeds])
    assert not result.exact
    assert result.outputs.mismatches > 0


def test_a_difference_counts_where_it_arises(monkeypatch, model, images):
    content = saving.export(model, images[:1]).content
    right = arithmetic.requantize

    def wrong_for_images(sums, scale, output, zero):
        return right(sums + (1000 if sums.ndim == 4 and sums.shape[1] == 8 else 0), scale, output, zero)

    monkeypatch.setattr(arithmetic, "requantize", wrong_for_images)
    result = parity.compare(content, [{"image": images[:1].numpy()}])
    assert result.operators["Conv"].mismatches > 0
    # What follows is computed from onnxruntime's codes, so it does not inherit the difference.
    assert result.operators["Gemm"].mismatches == 0


def test_no_batches_are_refused(model, images):
    with pytest.raises(InputError, match="no batches"):
        parity.compare(saving.export(model, images[:1]).content, [])


def test_a_package_is_written_and_read_back(model, images, tmp_path):
    saved = save_package(model, tmp_path / "net", batches=[images], level="rmsmp")
    package = load_package(tmp_path / "net")
    assert saved.parity.exact
    assert saved.bytes < saved.int8_bytes
    assert saved.float_layers == {}
    level = package.level("rmsmp")
    assert level.schemes["0"] == "pot4 5, fixed4 2, fixed8 1"
    record = package.provenance["quantized"]["rmsmp"]
    assert record["parity"]["exact"] is True
    assert record["config"]["method"] == "rmsmp"
    formats = [levels.name for levels in model[0].row_quantizer.formats]
    expected = [formats[index] for index in model[0].row_quantizer.assignment.tolist()]
    assert saving.read_rows(record["rows"]["0"]) == expected
    assert package.minimum_onnxruntime == "1.16.0"
    json.dumps(record)


def test_a_level_joins_those_that_are_there(model, images, tmp_path):
    save_package(model, tmp_path / "net", batches=[images], level="packed")
    save_package(model, tmp_path / "net", batches=[images], level="plain", storage="int8", keep_levels=True)
    package = load_package(tmp_path / "net")
    assert [level.name for level in package.levels] == ["packed", "plain"]
    assert set(package.provenance["quantized"]) == {"packed", "plain"}
    image = images[:1].numpy()
    packed = Session(package, "packed").run(image)[0].copy()
    assert np.array_equal(packed, Session(package, "plain").run(image)[0])


def test_nothing_is_written_where_parity_fails(model, images, tmp_path, monkeypatch):
    monkeypatch.setattr(
        arithmetic, "requantize",
        lambda sums, scale, output, zero: np.full(sums.shape, 7, zero.dtype),
    )
    with pytest.raises(InputError, match=r"differ in \d+ of \d+ results of Conv, by up to \d+; nothing was written"):
        save_package(model, tmp_path / "net", batches=[images])
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_where_packing_fails(model, images, tmp_path, monkeypatch):
    def corrupt(content):
        altered = onnx.load_from_string(content)
        tensor = next(t for t in altered.graph.initializer if t.data_type == onnx.TensorProto.INT8 and len(t.dims) > 1)
        tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), tensor.name))
        return altered.SerializeToString()

    monkeypatch.setattr(saving, "pack", corrupt)
    with pytest.raises(InputError, match="packed and plain weights differ"):
        save_package(model, tmp_path / "net", batches=[images])
    assert list(tmp_path.iterdir()) == []


def test_bad_requests_are_named(model, images, tmp_path):
    with pytest.raises(InputError, match="batches: empty"):
        save_package(model, tmp_path / "net", batches=[])
    with pytest.raises(InputError, match="storage: is 'int4'"):
        save_package(model, tmp_path / "net", batches=[images], storage="int4")
    with pytest.raises(InputError, match="not compressed"):
        save_package(network(), tmp_path / "net", batches=[images])
