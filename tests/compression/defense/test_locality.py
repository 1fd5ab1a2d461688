"""What is local is measured right, on the engine; what is not is refused by name."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from l4edge_compression.defense.locality import check_head, observed_coupling, observed_leak, stem_locality
from l4edge_compression.defense.sessions import graph_runner
from l4edge_perception.errors import InputError
from tests.compression.defense.small_networks import Pixels, small_head, small_stem, to_graph

SIZE = (26, 30)


class Residual(nn.Module):
    """Two ways of different receptive fields that come together, one with a gate."""

    def __init__(self):
        super().__init__()
        self.wide = nn.Conv2d(3, 4, 5, 2, 2, dilation=1)
        self.narrow = nn.Conv2d(3, 4, 1, 2)
        self.gate = nn.Conv2d(4, 4, (1, 3), 1, (0, 1))

    def forward(self, images):
        wide, narrow = self.wide(images), self.narrow(images)
        joined = torch.cat([wide + narrow, wide * torch.sigmoid(self.gate(narrow))], 1)
        return nn.functional.max_pool2d(nn.functional.hardswish(joined), 3, 2, 1, ceil_mode=True)


class ChannelNorm(nn.Module):
    """Normalization over the channels of each place, as ConvNeXt has it."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 6, 4, 4)
        self.norm = nn.LayerNorm(6)
        self.mix = nn.Linear(6, 5)

    def forward(self, images):
        places = self.norm(self.first(images).permute(0, 2, 3, 1))
        return self.mix(places).permute(0, 3, 1, 2)


class Cut(nn.Module):
    """Padding, cutting and every second place, as slices."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, images):
        padded = nn.functional.pad(images, (2, 1, 3, 0), value=0.5)
        return self.conv(padded)[:, 1:, 2:-1:2, 1::3]


LOCAL = {
    "plain": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, 1, 1, dilation=1)),
    "dilated": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, 1, 2, dilation=2), nn.Conv2d(4, 4, (3, 5), (1, 2), (1, 0))),
    "pools": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1), nn.AvgPool2d(3, 2, 1), nn.MaxPool2d(2, 2, ceil_mode=True)),
    "shuffle": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1, groups=1), nn.Conv2d(4, 8, 2, 2), nn.Softmax(dim=1)),
    "residual": Residual,
    "channel norm": ChannelNorm,
    "cut": Cut,
}


VALUES = (-7.0, 5.0, 11.0)


def changed_cells(run, image, y):
    """(W, H', W') bool: which cells change when one pixel of row y does, tried with three values."""
    width = image.shape[2]
    others = np.repeat(image[None], 1 + width * len(VALUES), axis=0)
    for x in range(width):
        for index, value in enumerate(VALUES):
            others[1 + x * len(VALUES) + index, :, y, x] = value
    found = run(others)
    return (found[1:] != found[0]).any(axis=1).reshape(width, len(VALUES), *found.shape[2:]).any(axis=1)


@pytest.mark.parametrize("name", LOCAL)
def test_derived_receptive_fields_are_those_of_the_engine(name):
    torch.manual_seed(3)
    module = LOCAL[name]().eval()
    random = np.random.default_rng(0)
    image = random.normal(size=(3, *SIZE)).astype(np.float32)
    graph = to_graph(module, image[None])
    found = stem_locality(graph)
    run = graph_runner(graph)
    assert run(image[None]).shape == (1, found.channels, *found.map_size)
    shadows_y, shadows_x = found.shadows((1, 1))
    seen = np.zeros(found.map_size, bool)
    widest = np.zeros(2, int)
    for y in range(SIZE[0]):
        for x, changed in enumerate(changed_cells(run, image, y)):
            allowed = np.zeros(found.map_size, bool)
            allowed[slice(*shadows_y[y]), slice(*shadows_x[x])] = True
            assert not (changed & ~allowed).any(), (y, x)
            rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
            if len(rows):
                widest = np.maximum(widest, [np.ptp(rows) + 1, np.ptp(columns) + 1])
            seen |= changed
    # Not only an upper bound: the largest shadow is reached, and no cell is left out.
    assert seen.all()
    assert tuple(widest) == tuple(int((axis[:, 1] - axis[:, 0]).max()) for axis in (shadows_y, shadows_x))


def test_a_pipeline_from_uint8_pixels_is_measured():
    found = stem_locality(to_graph(small_stem(), np.zeros((1, 24, 24, 3), np.uint8)))
    assert (found.layout, found.input_size, found.map_size) == ("HWC", (24, 24), (12, 12))
    assert (found.receptive_field, found.stride, found.offset) == ((7, 7), (2, 2), (-3, -3))


def test_a_patch_leaks_nothing_on_this_engine():
    random = np.random.default_rng(4)
    images = random.integers(0, 256, (12, 24, 24, 3)).astype(np.uint8)
    graph = to_graph(small_stem(), images[:1])
    assert observed_leak(graph_runner(graph), stem_locality(graph), images, (5, 6), seed=1) == 0


def test_a_leak_is_seen():
    random = np.random.default_rng(4)
    images = random.integers(0, 256, (6, 24, 24, 3)).astype(np.uint8)
    graph = to_graph(small_stem(), images[:1])
    run = graph_runner(graph)

    def leaking(tensors):
        return run(tensors) / (1.0 + 1e-4 * tensors.astype(np.float32).mean(axis=(1, 2, 3), keepdims=True))

    assert observed_leak(leaking, stem_locality(graph), images, (5, 5), seed=1) > 100


class SqueezeExcite(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.gate = nn.Conv2d(3, 4, 3, 1, 1), nn.Conv2d(4, 4, 1)

    def forward(self, images):
        features = self.first(images)
        return features * torch.sigmoid(self.gate(nn.functional.adaptive_avg_pool2d(features, 1)))


class SelfAttention(nn.Module):
    def forward(self, images):
        return torch.softmax(images @ images.transpose(2, 3), 1) @ images


def scaled_by(statistic):
    class Scaled(nn.Module):
        def forward(self, images):
            return images / statistic(images)

    return Scaled


GLOBAL = {
    "instance norm": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4, affine=True)), "Normalization"),
    "group norm": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4)), "group normalization"),
    "layer norm over space": (lambda: nn.LayerNorm([3, *SIZE]), "over axis"),
    "squeeze and excite": (SqueezeExcite, "squeeze and excite"),
    "attention": (SelfAttention, "depends on the image"),
    "global pooling": (lambda: nn.AdaptiveAvgPool2d(1), "global pooling"),
    "flattened": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE[0] * SIZE[1], 4)), "told apart|Shape"),
    "scaled by the maximum": (scaled_by(lambda images: images.amax((1, 2, 3), keepdim=True)), "works over axis|batch"),
    "scaled by the mean": (scaled_by(lambda images: images.mean((2, 3), keepdim=True)), "works over axis"),
    "softmax over space": (lambda: nn.Softmax(dim=3), "works over axis x"),
    "resize": (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), "resizing"),
    "reflected border": (lambda: nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), "seen twice"),
    "repeated border": (lambda: nn.Conv2d(3, 4, 3, padding=1, padding_mode="replicate"), "seen twice"),
    "transposed convolution": (lambda: nn.ConvTranspose2d(3, 4, 2, 2), "not known to be local"),
    "rolled": (scaled_by(lambda images: torch.roll(images, 1, 2)), "spread over|over axis y"),
}


@pytest.mark.parametrize("name", GLOBAL)
def test_global_operations_are_refused_by_name(name):
    make, words = GLOBAL[name]
    graph = to_graph(make(), np.ones((1, 3, *SIZE), np.float32))
    with pytest.raises(InputError, match=words) as caught:
        stem_locality(graph)
    assert "node" in str(caught.value)


def test_a_batch_norm_that_still_learns_is_refused():
    graph = onnx.load_model_from_string(to_graph(nn.BatchNorm2d(3), np.ones((1, 3, *SIZE), np.float32)))
    node = next(node for node in graph.graph.node if node.op_type == "BatchNormalization")
    node.attribute.append(helper.make_attribute("training_mode", 1))
    graph.opset_import[0].version = 15
    # onnxruntime itself may refuse it before.
    with pytest.raises(InputError, match=r"statistics|cannot run"):
        stem_locality(graph.SerializeToString())
    with pytest.raises(InputError, match="statistics of the batch"):
        check_head(graph.SerializeToString())


def graph_of(nodes, constants=()):
    shape = ["batch", 3, *SIZE]
    return helper.make_model(
        helper.make_graph(
            nodes, "graph", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], list(constants),
        ),
        opset_imports=[helper.make_opsetid("", 13)], ir_version=8,
    ).SerializeToString()


def test_dynamic_quantization_is_refused_in_stem_and_head():
    graph = graph_of(
        [
            helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], name="quantizing"),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
        ]
    )
    with pytest.raises(InputError, match=r"quantizing.*statically"):
        stem_locality(graph)
    with pytest.raises(InputError, match=r"quantizing.*statically"):
        check_head(graph)


def test_static_quantization_is_local():
    scale = helper.make_tensor("s", TensorProto.FLOAT, [], [0.1])
    zero = helper.make_tensor("z", TensorProto.UINT8, [], [128])
    weight = helper.make_tensor("w", TensorProto.UINT8, [2, 3, 3, 3], bytes(range(54)), raw=True)
    graph = graph_of(
        [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            helper.make_node("QLinearConv", ["q", "s", "z", "w", "s", "z", "s", "z"], ["c"], strides=[2, 2]),
            helper.make_node("DequantizeLinear", ["c", "s", "z"], ["y"]),
        ],
        [scale, zero, weight],
    )
    found = stem_locality(graph)
    assert (found.receptive_field, found.stride, found.map_size) == ((3, 3), (2, 2), (12, 14))


def test_a_value_spread_over_the_map_is_refused():
    """A convolution as large as the image makes one value, an addition spreads it."""
    weight = helper.make_tensor("w", TensorProto.FLOAT, [3, 3, *SIZE], np.ones(9 * SIZE[0] * SIZE[1]))
    place = helper.make_tensor("p", TensorProto.FLOAT, [1, 3, *SIZE], np.ones(3 * SIZE[0] * SIZE[1]))
    spread = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Add", ["c", "p"], ["y"])]
    with pytest.raises(InputError, match="spread over"):
        stem_locality(graph_of(spread, [weight, place]))
    other = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Mul", ["c", "x"], ["y"])]
    with pytest.raises(InputError, match="spread over"):
        stem_locality(graph_of(other, [weight]))


def test_operators_of_strangers_are_not_known_by_their_name():
    graph = onnx.load_model_from_string(graph_of([helper.make_node("Relu", ["x"], ["y"])]))
    stem_locality(graph.SerializeToString())
    function = helper.make_function("odd", "Relu", ["a"], ["b"], [helper.make_node("Softmax", ["a"], ["b"], axis=3)],
                                    [helper.make_opsetid("", 13)])
    graph.functions.append(function)
    graph.opset_import.append(helper.make_opsetid("odd", 1))
    graph.graph.node[0].domain = "odd"
    with pytest.raises(InputError, match="functions"):
        stem_locality(graph.SerializeToString())


def test_files_that_are_no_stems_are_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        stem_locality(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(InputError, match="not an ONNX graph"):
        stem_locality(tmp_path / "text.onnx")


def test_a_head_may_be_global_but_not_couple_images():
    features = np.random.default_rng(0).normal(size=(6, 8, 12, 12)).astype(np.float32)
    graph = to_graph(small_head(), features[:1])
    check_head(graph)
    run = graph_runner(graph)
    assert observed_coupling(run, features) == 0
    assert observed_coupling(lambda tensors: run(tensors / np.abs(tensors).max()), features) > 0
    assert stem_locality(to_graph(Pixels(), np.zeros((1, 8, 9, 3), np.uint8))).receptive_field == (1, 1)
