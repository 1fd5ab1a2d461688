"""Torch and onnxruntime decide alike in float and in static int8, and the comparison can tell when they do not."""

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from l4edge_compression.defense.attacks.graphs import GraphNetwork
from l4edge_compression.defense.packages import load_certified, write_certified
from l4edge_compression.defense.scalecert import ScaleCert
from l4edge_compression.defense.sessions import graph_runner
from l4edge_compression.studies import certification_page, certified_engines
from l4edge_compression.studies.certified_engines import compared, float_engines, int8_engines
from l4edge_compression.studies.certified_methods import Methods
from l4edge_compression.studies.certified_package import torch_runner
from l4edge_compression.studies.integer_network import IntegerNetwork
from l4edge_compression.studies.static_int8 import quantized
from l4edge_perception.errors import InputError
from tests.compression.defense.small_networks import (
    blobs,
    keep_most_salient,
    settings_for,
    small_head,
    small_stem,
    to_graph,
    train,
)

SIZE, CLASSES, KEPT = 24, 4, 4


@pytest.fixture(scope="module")
def methods(tmp_path_factory):
    """Of a small trained network, as a package."""
    stem, head = small_stem(), small_head()
    train(stem, head, keep_most_salient(KEPT), steps=25)
    graphs = {
        "stem": to_graph(stem, np.zeros((1, SIZE, SIZE, 3), np.uint8)),
        "head": to_graph(head, np.zeros((1, 8, 12, 12), np.float32)),
    }
    folder = tmp_path_factory.mktemp("certified")
    settings = settings_for(graphs["stem"], (5, 5), rule="top_k", keep=KEPT)
    write_certified(folder, "scalecert", settings, graphs, ("red", "green", "blue", "yellow"))
    return Methods(load_certified(folder), (128, 128, 128))


class Residual(nn.Module):
    """Strides, padding, groups, a residual addition, a product and what moves codes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.deep = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1, groups=2)
        self.last = nn.Conv2d(8, 8, 1, bias=False)
        self.linear = nn.Linear(8, 5)
        self.register_buffer("factor", torch.randn(5, 6))

    def forward(self, image):
        begin = torch.relu(self.first(image))
        found = torch.relu(self.last(torch.relu(self.deep(begin))) + begin)
        return self.linear(found.flatten(2).transpose(1, 2)) @ self.factor


@pytest.fixture(scope="module")
def residual():
    tensors = np.random.default_rng(0).normal(size=(24, 3, 12, 12)).astype(np.float32)
    return quantized(to_graph(Residual().eval(), tensors[:1]), tensors[:16]), tensors


def test_integers_in_torch_are_those_of_onnxruntime(residual):
    graph, tensors = residual
    kinds = {node.op_type for node in onnx.load_model_from_string(graph).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear", "Conv", "Add", "MatMul"} <= kinds
    found, session = torch_runner(graph, IntegerNetwork)(tensors), graph_runner(graph)
    assert np.array_equal(found, session(tensors))
    assert np.array_equal(found[5:6], session(tensors[5:6]))
    assert len(np.unique(found)) > 20


def test_int8_is_another_network_near_the_float_one(residual):
    graph, tensors = residual
    of_float = graph_runner(to_graph(Residual().eval(), tensors[:1]))(tensors)
    difference = np.abs(graph_runner(graph)(tensors) - of_float)
    assert 1e-4 < difference.mean() < 0.1 * of_float.std()


def test_a_float_reader_refuses_quantized_graphs(residual):
    with pytest.raises(InputError, match="DequantizeLinear"):
        GraphNetwork(residual[0])


def test_decisions_are_alike_in_both_numbers(methods):
    images, others = blobs(16, SIZE, CLASSES, seed=5)[0], blobs(96, SIZE, CLASSES, seed=99)[0]
    of_float, of_int8 = float_engines(methods, images), int8_engines(methods, images, others)
    assert (of_float["images"], of_float["different"]) == (16, 0)
    assert (of_int8["images"], of_int8["different"]) == (16, 0)
    assert of_int8["certified"] >= 3
    assert of_int8["margin"] >= 4 * of_int8["differences"]["logits"]
    assert of_int8["saliency_margin"] == 4 * of_int8["differences"]["saliency"]
    assert 0 < of_int8["same_as_float"] <= 16


def test_margins_follow_from_what_engines_differ_by(methods, monkeypatch):
    class Disturbed(IntegerNetwork):
        """Logits that are off by up to 0.5, otherwise for each picture."""

        def forward(self, *tensors):
            found = super().forward(*tensors)
            return found if found.ndim > 2 else found + 0.5 * torch.sin(1e3 * found)

    images, others = blobs(16, SIZE, CLASSES, seed=5)[0], blobs(80, SIZE, CLASSES, seed=99)[0]
    before = int8_engines(methods, images, others)
    monkeypatch.setattr(certified_engines, "IntegerNetwork", Disturbed)
    found = int8_engines(methods, images, others)
    assert 0.3 < found["differences"]["logits"] <= 0.51
    assert found["margin"] == pytest.approx(4 * found["differences"]["logits"])
    assert found["different"] == 0
    assert found["uncertified_by_margin"] > before["uncertified_by_margin"]


def test_engines_that_differ_are_counted_unless_a_margin_says_so(methods):
    images = blobs(16, SIZE, CLASSES, seed=5)[0]
    head = methods.head
    right = methods.scalecert().certify_batch(images)
    other = ScaleCert(methods.stem, lambda features: -head(features), methods.settings).certify_batch(images)
    assert compared([right, right])["different"] == 0
    assert compared([right, right, other])["different"] >= 12
    lead = ScaleCert(methods.stem, lambda features: 1e-6 * head(features), methods.settings).certify_batch(images)
    unsure = compared([right, lead])
    assert unsure["uncertified_by_margin"] >= 3
    assert unsure["different"] + unsure["uncertified_by_margin"] <= 16


def test_there_must_be_something_to_calibrate_on(residual):
    with pytest.raises(InputError, match="no inputs"):
        quantized(to_graph(Residual().eval(), residual[1][:1]), residual[1][:0])


def test_the_page_tells_both():
    entry = {
        "images": 48, "different": 1, "uncertified_by_margin": 2, "differences": {"logits": 0.0125, "saliency": 0.0},
        "margin": 0.05, "certified": 21, "certified_float": 23, "same_as_float": 38,
    }
    found = {
        "covering_mutants": {}, "covering_settings": 1, "covering_violations": 0, "machine": {"cpu": "x"},
        "skip": {"different": 0, "images": 1, "passes": 1.0, "passes_without": 2.0}, "seconds": 1.0,
        "engines": {"signs": entry}, "engines_int8": {"signs": entry},
    }
    told = [line for line in certification_page.checks(found) if "signs" in line]
    assert len(told) == 2
    assert "int8" in told[1]
    assert "1 of 48 decisions differ, 2 are uncertified" in told[1]
    assert "the margin is 0.05" in told[1]
