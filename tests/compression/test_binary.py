import pytest
import torch

from l4edge_compression.api import BinaryConfig, compress_, describe
from l4edge_compression.quantization.binary import raise_density
from l4edge_compression.quantization.formats import LEVEL_SETS
from l4edge_compression.quantization.modules import RowQuantizer
from l4edge_compression.quantization.placing import compression_of
from l4edge_compression.quantization.qat import Schedule, begin_epoch, set_density
from l4edge_perception.errors import InputError
from l4edge_perception.models.vision_transformer import VisionTransformer

BINARY = (LEVEL_SETS["binary"],)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
    torch.set_num_threads(1)


def transformer():
    return VisionTransformer(image_size=16, patch_size=8, width=24, depth=1, heads=3, class_count=5)


@pytest.mark.parametrize("granularity", ["row", "layer"])
def test_levels_are_plus_and_minus_the_mean_magnitude(granularity):
    weight = torch.randn(6, 30)
    weight[0, 0] = 0.0
    quantizer = RowQuantizer(BINARY, weight, rule="mean", granularity=granularity)
    codes, steps = quantizer.codes(weight)
    assert codes.unique().tolist() == [-1, 1] and codes[0, 0] == 1
    mean = weight.abs().mean(1) if granularity == "row" else weight.abs().mean().expand(6)
    torch.testing.assert_close(steps, mean)
    assert torch.equal(quantizer(weight), codes * steps[:, None])


def test_gradients_pass_up_to_one():
    weight = torch.tensor([[0.2, -0.99, 1.01, -3.0]], requires_grad=True)
    RowQuantizer(BINARY, weight, rule="mean")(weight).sum().backward()
    assert weight.grad.tolist() == [[1, 1, 0, 0]]


@pytest.mark.parametrize("order", ["nearest", "random"])
def test_the_mask_grows_and_never_shrinks(order):
    weight = torch.randn(8, 25)
    quantizer = RowQuantizer(BINARY, weight, rule="mean", progressive=True)
    assert torch.equal(quantizer(weight), weight)
    before = quantizer.mask.clone()
    for density in (0.1, 0.5, 0.3, 0.75, 1.0):
        raise_density(quantizer, weight, density, order, 3)
        assert bool((quantizer.mask | ~before).all())
        before = quantizer.mask.clone()
        result = quantizer(weight)
        assert torch.equal(result[~quantizer.mask], weight[~quantizer.mask])
        if density < 1:
            with pytest.raises(InputError, match="still float"):
                quantizer.codes(weight)
    assert int(before.sum()) == 200
    assert len(quantizer(weight)[0].unique()) == 2


def test_nearest_takes_what_changes_least():
    weight = torch.randn(8, 25)
    quantizer = RowQuantizer(BINARY, weight, rule="mean", progressive=True)
    distance = (weight - RowQuantizer(BINARY, weight, rule="mean")(weight)).abs()
    raise_density(quantizer, weight, 0.4, "nearest", 0)
    assert distance[quantizer.mask].max() <= distance[~quantizer.mask].min()


def test_linear_layers_inside_become_binary_and_no_others():
    model = transformer()
    compress_(model, BinaryConfig(activation_bits=6), [torch.randn(2, 3, 16, 16)])
    schemes = {layer.name: next(iter(layer.schemes)) for layer in describe(model)}
    assert schemes == {
        "patch_embed.proj": "fixed8", "blocks.0.attn.qkv": "binary", "blocks.0.attn.proj": "binary",
        "blocks.0.mlp.fc1": "binary", "blocks.0.mlp.fc2": "binary", "head": "fixed8",
    }
    bits = {spot.name: spot.bits for spot in compression_of(model).spots}
    assert bits["blocks_0_norm1"] == bits["softmax"] == 6
    assert bits["images"] == 8 and bits[next(name for name in bits if name.startswith("getitem"))] == 8


def test_float_activations():
    model = transformer().eval()
    images = torch.randn(2, 3, 16, 16)
    compress_(model, BinaryConfig(activation_bits=None), [images])
    assert {quantizer.state for quantizer in model.quantizers.values()} == {"off"}


def test_three_stages():
    config = BinaryConfig(progressive=True, stages=(0.2, 0.4, 0.4))
    due = [Schedule(config, 10).at(epoch) for epoch in range(10)]
    assert [each.stage for each in due] == [1, 1, 2, 2, 2, 2, 3, 3, 3, 3]
    assert [each.density for each in due] == [0, 0, 0, 0.25, 0.5, 0.75, 1, 1, 1, 1]
    assert [each.density_after for each in due][2:6] == [0.25, 0.5, 0.75, 1]
    assert [each.activations for each in due] == [False] * 6 + [True] * 4

    model, images = transformer(), torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        wanted = model.eval()(images)
        compress_(model, config, [images])
        begin_epoch(model, due[0])
        assert torch.equal(model(images), wanted)
        begin_epoch(model, due[3])
        mask = model.blocks[0].mlp.fc1.row_quantizer.mask
        assert mask.float().mean() == pytest.approx(0.25, abs=1e-3)
        assert model.quantizers["softmax"].state == "off"
        set_density(model, 0.4)
        assert mask.float().mean() == pytest.approx(0.4, abs=1e-3)
        begin_epoch(model, due[6])
        assert bool(mask.all()) and model.quantizers["softmax"].state == "quantize"
        model.blocks[0].mlp.fc1.row_quantizer.codes(model.blocks[0].mlp.fc1.weight)


def test_one_shot_is_binary_from_the_start():
    assert Schedule(BinaryConfig(), 10).at(0).density == 1
    assert Schedule(BinaryConfig(activation_bits=None), 10).at(3).activations is False
