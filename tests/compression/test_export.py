import dataclasses

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from l4edge_compression.api import EsbConfig, FixedConfig, RmsmpConfig, compress_
from l4edge_compression.quantization.export import export, multiple
from l4edge_compression.quantization.integer import IntegerModel
from l4edge_compression.quantization.modules import ActivationQuantizer
from l4edge_compression.quantization.parity import compare, make_session, runtime_operators
from l4edge_perception.errors import InputError

torch.set_num_threads(1)
SETTINGS = {"calibration": "absmax", "score": "weight"}


class Branches(nn.Module):
    """Everything that convolutional networks here are made of."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 9, 3, 2, 1, bias=False), nn.BatchNorm2d(9), nn.ReLU6())
        self.depthwise = nn.Sequential(nn.Conv2d(9, 9, 3, 1, 1, groups=9, bias=False), nn.BatchNorm2d(9), nn.ReLU())
        self.inner = nn.Sequential(nn.Conv2d(9, 9, 1, bias=False), nn.BatchNorm2d(9))
        self.down = nn.Conv2d(9, 5, 3, 2, 1)
        self.lateral = nn.Conv2d(14, 8, 1)
        self.head = nn.Linear(8, 6)

    def forward(self, images):
        features = self.stem(images)
        features = torch.relu(self.inner(self.depthwise(features)) + features)
        coarse = nn.functional.max_pool2d(torch.relu(self.down(features)), 2)
        fine = nn.functional.interpolate(coarse, scale_factor=4.0, mode="nearest")
        joined = torch.relu(self.lateral(torch.cat([features, fine], 1)))
        return self.head(joined.mean((2, 3)))


class Attention(nn.Module):
    """One block of a vision transformer."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 16))
        self.norm = nn.LayerNorm(16)
        self.qkv = nn.Linear(16, 48)
        self.proj = nn.Linear(16, 16)
        self.fc1 = nn.Linear(16, 32)
        self.fc2 = nn.Linear(32, 5)

    def forward(self, images):
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(tokens.shape[0], -1, -1), tokens], 1)
        queries, keys, values = self.qkv(self.norm(tokens)).reshape(-1, 17, 3, 2, 8).permute(2, 0, 3, 1, 4).unbind(0)
        weights = torch.softmax(queries @ keys.transpose(-2, -1) * 0.35, -1)
        tokens = tokens + self.proj((weights @ values).transpose(1, 2).reshape(-1, 17, 16))
        return self.fc2(nn.functional.gelu(self.fc1(tokens)))[:, 0]


class Pixels(nn.Module):
    """A camera's bytes to a network."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, pixels):
        return self.network(pixels.permute(0, 3, 1, 2).float())


def randomized(model, seed=0):
    torch.manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.3, 2)
            nn.init.normal_(module.weight, 0.5, 1)
            nn.init.normal_(module.bias, 0, 0.5)
    return model.eval()


@pytest.fixture(scope="module")
def images():
    return torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(5))


def compressed(model, config, images):
    return compress_(randomized(model), config, [images])


CONFIGS = {
    "rmsmp": RmsmpConfig(**SETTINGS),
    "8 bits": FixedConfig(weight_bits=8, activation_bits=8, calibration="absmax"),
    "float ends": FixedConfig(output_bits=None, calibration="absmax"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_everything_that_can_runs_as_integers_and_as_the_interpreter_says(name, images):
    made = export(compressed(Branches(), CONFIGS[name], images), images[:1])
    parity = compare(made.content, [{"image": image[None].numpy()} for image in images])
    assert parity.exact
    assert parity.outputs.largest <= 1e-6
    assert parity.runtime["QLinearConv"] == made.operators["Conv"] == 5
    assert parity.runtime["QLinearAdd"] == parity.runtime["QLinearGlobalAveragePool"] == parity.runtime["QGemm"] == 1
    assert not {"Conv", "FusedConv", "Gemm", "Relu", "Mul", "BatchNormalization"} & set(parity.runtime)


def test_a_transformer_runs_its_products_as_integers(images):
    made = export(compressed(Attention(), RmsmpConfig(**SETTINGS), images), images[:1])
    parity = compare(made.content, [{"image": images[:1].numpy()}])
    assert parity.exact
    assert all(count.largest <= 1 for count in parity.operators.values())
    assert parity.runtime["QGemm"] == 4
    assert not {"MatMul", "Gemm", "Conv", "FusedConv"} & set(parity.runtime)


def test_the_graph_computes_what_the_model_computes(images):
    # With 8 bits rounding differs in few codes and little; a missing factor or bias would show.
    config = dataclasses.replace(CONFIGS["8 bits"], output_bits=None)
    model = compressed(Branches(), config, images)
    with torch.no_grad():
        expected = model(images).numpy()
    session = make_session(export(model, images[:1]).content)
    found = np.concatenate([session.run(None, {"image": image[None].numpy()})[0] for image in images])
    assert np.abs(found - expected).max() < 0.03 * np.abs(expected).max()


def test_bytes_of_a_camera_go_into_the_first_convolution_as_they_are():
    network = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    pixels = torch.randint(256, (2, 12, 12, 3), dtype=torch.uint8)
    model = compressed(Pixels(network), RmsmpConfig(**SETTINGS), pixels)
    made = export(model, pixels[:1])
    assert "Cast" not in made.operators
    parity = compare(made.content, [{"image": pixels[:1].numpy()}])
    assert parity.exact
    assert "QuantizeLinear" not in parity.runtime


def test_numbers_are_quantized_once_between_two_operators():
    # onnxruntime merges two quantizers in a row into a third one.
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1), nn.Identity(), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.Identity())
    images = torch.randn(2, 3, 8, 8)
    model = compressed(network, FixedConfig(calibration="absmax"), images)
    with_two = export(model, images[:1])
    parity = compare(with_two.content, [{"image": images[:1].numpy()}])
    assert parity.exact
    assert parity.outputs.mismatches == 0
    assert parity.runtime["QuantizeLinear"] == 1


def test_elastic_activations_pass_a_table(images):
    model = compressed(Branches(), EsbConfig(activation_levels=(4, 2), calibration="absmax"), images)
    made = export(model, images[:1])
    assert made.operators["Gather"] > 0
    assert compare(made.content, [{"image": images[:1].numpy()}]).exact


def test_any_number_of_images_where_the_batch_is_left_open(images):
    model = compressed(Attention(), RmsmpConfig(**SETTINGS), images)
    content = export(model, images[:1], dynamic_batch=True).content
    together = make_session(content).run(None, {"image": images.numpy()})[0]
    alone = [make_session(content).run(None, {"image": image[None].numpy()})[0] for image in images]
    assert np.array_equal(together, np.concatenate(alone))
    assert "QGemm" in runtime_operators(content)


def test_a_dead_channel_keeps_its_constant(images):
    model = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU()).eval()
    with torch.no_grad():
        model[1].weight[1] = 1e-30
        model[1].bias[1] = 2.0
    compress_(model, FixedConfig(activation_bits=8, calibration="absmax"), [images])
    found = make_session(export(model, images[:1]).content).run(None, {"image": images[:1].numpy()})[0]
    with torch.no_grad():
        expected = model(images[:1]).numpy()
    assert np.abs(found[:, 1] - 2.0).max() < 0.02
    assert np.abs(found - expected).max() < 0.05


def test_a_strided_first_convolution_reads_squares_and_gives_the_same_sums(images):
    for kernel, stride, pad in ((3, 2, 1), (7, 2, 3), (4, 4, 0), (6, 4, 1)):
        model = nn.Sequential(nn.Conv2d(3, 8, kernel, stride, pad), nn.ReLU())
        made = export(compressed(model, FixedConfig(calibration="absmax"), images), images[:1])
        assert made.operators["SpaceToDepth"] == 1
        feeds = {"image": images[:1].numpy()}
        assert compare(made.content, [feeds]).exact
        interpreter = IntegerModel(made.content)
        interpreter.run(feeds)
        (sums,) = (value for name, value in interpreter.trace.items() if name.endswith(":sums"))
        codes = next(value for name, value in interpreter.trace.items() if value.dtype == np.uint8)
        quantizer = next(node for node in interpreter.nodes if node.kind == "QuantizeLinear")
        zero_point = int(interpreter.constants[quantizer.inputs[2]])
        whole = codes.astype(np.int64) - zero_point
        depth = whole.reshape(1, stride, stride, 3, 16 // stride, 16 // stride)
        plain = depth.transpose(0, 3, 4, 1, 5, 2).reshape(1, 3, 16, 16)
        weights, _ = model[0].row_quantizer.codes(model[0].weight.detach())
        factor = multiple(model[0].row_quantizer.formats[0].largest)
        products = torch.nn.functional.conv2d(
            torch.from_numpy(plain).double(), weights.double() * factor, None, stride, pad
        ).numpy()
        bias = sums - products
        assert np.array_equal(bias, np.broadcast_to(bias[:, :, :1, :1], bias.shape))


def test_what_ships_loads_on_old_runtimes(images):
    model = onnx.load_from_string(export(compressed(Branches(), CONFIGS["rmsmp"], images), images[:1]).content)
    assert model.opset_import[0].version <= 19
    assert model.ir_version <= 9
    assert {node.domain for node in model.graph.node} == {""}


def test_rows_are_described(images):
    made = export(compressed(Branches(), CONFIGS["rmsmp"], images), images[:1])
    assert made.layers["stem.0"].word == "pot4 6, fixed4 2, fixed8 1"
    assert [multiple(largest) for largest in (1, 7, 64, 127)] == [64, 9, 1, 1]


def test_the_model_is_left_as_it_was(images):
    model = compressed(Branches(), CONFIGS["rmsmp"], images)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        expected = model(images)
    export(model, images[:1])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert any(isinstance(module, ActivationQuantizer) for module in model.modules())
    with torch.no_grad():
        assert torch.equal(model(images), expected)


def test_what_cannot_be_exported_is_named(images):
    with pytest.raises(InputError, match="no layer of the model is quantized"):
        export(Branches().eval(), images[:1])
    wide = compressed(Branches(), FixedConfig(activation_bits=12, calibration="absmax"), images)
    with pytest.raises(InputError, match="12 bits do not fit"):
        export(wide, images[:1])
    waiting = compress_(Branches(), RmsmpConfig(score="weight", observe_in_training=5))
    with pytest.raises(InputError, match="calibrate"):
        export(waiting, images[:1])
