import pytest
import torch
from torch import nn
from torch.nn import functional

from l4edge_compression.api import FixedConfig, compress_
from l4edge_compression.quantization.placing import compression_of
from l4edge_perception.errors import InputError
from l4edge_perception.models.detector import DetectorConfig, DetectorNetwork
from l4edge_perception.models.mobilenet import mobilenet_v2
from l4edge_perception.models.resnet import BasicBlock, Bottleneck
from l4edge_perception.models.vision_transformer import VisionTransformer


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
    torch.set_num_threads(1)


def placed(model, shape, **settings):
    """Spots by name, after compressing."""
    compress_(model.eval(), FixedConfig(scale="absmax", calibration="absmax", **settings), [torch.randn(shape)])
    return {spot.name: spot for spot in compression_of(model).spots}


def small_resnet(block=BasicBlock):
    return nn.Sequential(
        nn.Conv2d(3, 9, 3, 2, 1, bias=False), nn.BatchNorm2d(9), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1),
        block(9, 5, 1), block(5 * block.expansion, 7, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(7 * block.expansion, 5),
    )


def test_a_residual_block():
    spots = placed(small_resnet(), (2, 3, 32, 32))
    bits = {name: (spot.bits, spot.multiplied) for name, spot in spots.items()}
    assert bits == {
        "input_1": (8, True), "_2": (4, True), "_4_relu": (4, True), "_4_bn2": (8, False),
        "_4_downsample_1": (8, False), "_4_relu_1": (4, True), "_5_relu": (4, True), "_5_bn2": (8, False),
        "_5_downsample_1": (8, False), "_5_relu_1": (8, False), "_6": (4, True), "_8": (8, False),
    }
    assert [name for name, spot in spots.items() if spot.input] == ["input_1"]


def test_bottlenecks_have_a_spot_for_every_tensor():
    spots = placed(small_resnet(Bottleneck), (2, 3, 32, 32))
    assert {"_4_relu", "_4_relu_1", "_4_bn3", "_4_relu_2"} <= set(spots)


def test_outputs_may_stay_float():
    assert "_8" not in placed(small_resnet(), (2, 3, 32, 32), output_bits=None)


def test_first_and_last_layers():
    model = small_resnet()
    placed(model, (2, 3, 32, 32))
    layers = compression_of(model).layers
    assert [layer.name for layer in layers if layer.first] == ["0"]
    assert [layer.name for layer in layers if layer.last] == ["8"]


def test_mobilenet_runs_with_depthwise_layers():
    model = mobilenet_v2(5)
    spots = placed(model, (1, 3, 32, 32))
    assert len(compression_of(model).layers) == 53
    assert any(spot.bits == 8 and not spot.multiplied for spot in spots.values())
    assert torch.isfinite(model(torch.randn(2, 3, 32, 32))).all()


def test_a_vision_transformer():
    model = VisionTransformer(image_size=16, patch_size=8, width=24, depth=2, heads=3, class_count=5)
    spots = placed(model, (2, 3, 16, 16))
    assert list(spots) == [
        "images", "patch_embed_proj", "blocks_0_norm1", "blocks_0_attn_qkv", "softmax", "matmul_1", "blocks_0_norm2",
        "blocks_0_mlp_act", "blocks_1_norm1", "blocks_1_attn_qkv", "softmax_1", "matmul_3", "blocks_1_norm2",
        "blocks_1_mlp_act", *[name for name in spots if name.startswith("getitem")], "head",
    ]
    assert model.quantizers["softmax"].parameters_for_export()[1] == 0
    assert model.quantizers["blocks_0_norm1"].parameters_for_export()[1] > 0


def test_a_vision_transformer_with_integer_sums():
    model = VisionTransformer(image_size=16, patch_size=8, width=24, depth=1, heads=3, class_count=5)
    spots = placed(model, (2, 3, 16, 16), sums="all")
    assert spots["patch_embed_proj"].nodes == ("patch_embed_proj", "cls_token")
    assert {"pos_embed", "add", "blocks_0_attn_proj", "add_1"} <= set(spots)


def test_what_is_concatenated_shares_a_scale_in_the_detector():
    model = DetectorNetwork(DetectorConfig(height=64, width=96, channels=(8, 10, 14, 18), head_channels=6))
    spots = placed(model, (1, 3, 64, 96))
    assert spots["stage8_1_bypass_activation"].nodes == ("stage8_1_bypass_activation", "add")
    assert spots["stage8_1_exit_activation"].nodes == ("stage8_1_exit_activation", "merge16_activation")
    assert spots["outputs_0"].nodes == ("outputs_0", "outputs_1", "outputs_2")
    assert spots["outputs_0"].bits == 8


class Various(nn.Module):
    """Odd things that users write."""

    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(3, 5, 3)
        self.two = nn.Conv2d(5, 5, 1)
        self.head = nn.Linear(5, 3)

    def forward(self, images):
        pixels = images.permute(0, 3, 1, 2).float()
        features = functional.relu(self.one(pixels), inplace=True)
        other = torch.sigmoid(self.two(features))
        features += other * features
        left, right = features.chunk(2, dim=3)
        joined = torch.cat([left, right], dim=2).mean((2, 3))
        return {"logits": self.head(joined + 1.0)}


def test_pixels_in_sums_in_place_dictionaries_out():
    model = Various().eval()
    pixels = torch.randint(0, 256, (2, 8, 10, 3), dtype=torch.uint8)
    before = model(pixels)["logits"]
    compress_(model, FixedConfig(weight_bits=8, activation_bits=8), [pixels])
    spots = {spot.name: spot for spot in compression_of(model).spots}
    assert spots["float_1"].input and float(model.quantizers["float_1"].scale) == 1.0
    assert spots["two"].bits == 8  # a convolution that a float operation reads still ends in integers
    assert "mul" in spots and "add" in spots
    after = model(pixels)["logits"]
    torch.testing.assert_close(after, before, rtol=0.1, atol=0.05 * float(before.detach().abs().max()))
    model.train()
    model(pixels)["logits"].sum().backward()
    assert model.one.weight.grad is not None


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(3, 4, 1), _Deciding())

    def forward(self, images):
        return self.inner(images)


class _Deciding(nn.Module):
    def forward(self, values):
        if values.sum() > 0:
            return values
        return -values


def test_what_cannot_be_traced_is_named():
    with pytest.raises(InputError, match=r"inner\.1 \(_Deciding\).*test_graph.py line \d+: if values.sum"):
        placed(Branching(), (1, 3, 4, 4))


def test_unsupported_layers_are_all_named():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.ConvTranspose2d(4, 4, 2), nn.Conv2d(4, 4, 3, padding_mode="reflect", padding=1),
    )
    with pytest.raises(InputError) as error:
        placed(model, (1, 3, 4, 4))
    assert "1 (ConvTranspose2d): there is no integer" in str(error.value)
    assert "2 (Conv2d): padding mode reflect" in str(error.value)
    assert type(model) is nn.Sequential and type(model[0]) is nn.Conv2d
    placed(model, (1, 3, 4, 4), unsupported="float")
    assert [layer.name for layer in compression_of(model).layers] == ["0"]


@pytest.mark.parametrize(
    ("layer", "inputs"),
    [
        (nn.LSTM(4, 4), torch.zeros(2, 3, 4)),
        (nn.Conv1d(4, 4, 1), torch.zeros(2, 4, 4)),
        (nn.MultiheadAttention(4, 1), torch.zeros(2, 3, 4)),
        (nn.Embedding(5, 4), torch.zeros(2, 3, dtype=torch.long)),
    ],
)
def test_kinds_of_layers_that_are_refused(layer, inputs):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer
            self.head = nn.Linear(4, 2)

        def forward(self, values):
            arguments = (values, values, values) if isinstance(layer, nn.MultiheadAttention) else (values,)
            return self.head(self.layer(*arguments)[0])

    with pytest.raises(InputError, match=rf"layer \({type(layer).__name__}\)"):
        compress_(Model(), FixedConfig(), [inputs])


def test_hidden_attention_is_refused():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(4, 4)

        def forward(self, values):
            return functional.scaled_dot_product_attention(values, values, self.head(values))

    with pytest.raises(InputError, match=r"scaled_dot_product_attention.*torch.matmul"):
        placed(Model(), (2, 3, 4))
