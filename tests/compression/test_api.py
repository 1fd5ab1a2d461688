import copy
import dataclasses
import json

import pytest
import torch
from torch import nn

from l4edge_compression.api import (
    METHODS,
    ApotConfig,
    BinaryConfig,
    EsbConfig,
    FixedConfig,
    IlmpqConfig,
    PotConfig,
    RmsmpConfig,
    compress_,
    config_from_json,
    config_to_json,
    describe,
    dump_config,
    read_config,
    reassign_rows,
    restore_,
)
from l4edge_compression.quantization.placing import compression_of
from l4edge_perception.errors import InputError
from l4edge_perception.models.resnet import BasicBlock

CONFIGS = [
    RmsmpConfig(),
    RmsmpConfig(score="output_error", granularity="row", scale="mse", pot_rounding="log2", board="xc7z045"),
    RmsmpConfig(score="hessian", scale="learned", rule="crossover", low="pot3"),
    IlmpqConfig(score="weight"),
    EsbConfig(),
    EsbConfig(bits=5, significant=None, activation_levels=(4, 1), per="tensor", reference="data"),
    BinaryConfig(activation_bits=6),
    FixedConfig(normalization="reestimate"),
    PotConfig(pot_rounding="log2"),
    ApotConfig(levels="sp2_4"),
]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
    torch.set_num_threads(1)


def network(channels=20):
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, bias=False), nn.BatchNorm2d(channels), nn.ReLU(), BasicBlock(channels, channels, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 24), nn.ReLU(), nn.Linear(24, 5),
    ).eval()


def batches(count=2):
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(4, 3, 9, 9, generator=generator) for _ in range(count)]


def decibels(wanted, got):
    return float(10 * torch.log10(wanted.square().sum() / (wanted - got).square().sum()))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.method)
def test_every_method_compresses_trains_and_comes_back_bit_for_bit(config):
    model = network()
    data = batches()
    with torch.no_grad():
        before = model(data[0])
        assert compress_(model, config, data) is model
        after = model(data[0])
    assert decibels(before, after) > 3
    names = set(network().state_dict())
    assert names <= set(model.state_dict())
    restored = restore_(network(), config, model.state_dict())
    with torch.no_grad():
        assert torch.equal(copy.deepcopy(model)(data[0]), after)
        assert torch.equal(restored(data[0]), after)
    assert describe(restored) == describe(model)
    weight = model[0].weight.detach().clone()
    model.train()(data[1]).square().sum().backward()
    torch.optim.SGD(model.parameters(), 0.01).step()
    assert not torch.equal(model[0].weight, weight)
    with torch.no_grad():
        assert torch.equal(restore_(network(), config, model.state_dict())(data[0]), model.eval()(data[0]))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.method)
def test_settings_survive_json(config, tmp_path):
    assert config_from_json(json.loads(json.dumps(config_to_json(config)))) == config
    (tmp_path / "config.json").write_text(dump_config(config))
    assert read_config(tmp_path / "config.json") == config


def test_all_methods_have_a_name():
    assert set(METHODS) == {"rmsmp", "ilmpq", "esb", "binary", "fixed", "pot", "apot"}


def test_eight_bits_change_little():
    model, data = network(), batches(4)
    with torch.no_grad():
        before = model(data[0])
        compress_(model, FixedConfig(weight_bits=8, activation_bits=8), data)
        assert decibels(before, model(data[0])) > 30


def test_rows_of_64_at_the_ratio_of_the_paper():
    model = nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU(), nn.Conv2d(64, 7, 3)).eval()
    compress_(model, RmsmpConfig(), batches())
    first, second = describe(model)
    assert first.schemes == {"pot4": 42, "fixed4": 19, "fixed8": 3}
    assert first.bits_per_weight == pytest.approx((61 * 4 + 3 * 8) / 64)
    assert second.schemes == {"pot4": 5, "fixed4": 1, "fixed8": 1}
    compress_(model := nn.Sequential(nn.Conv2d(3, 64, 3)).eval(), IlmpqConfig(), batches())
    assert describe(model)[0].schemes == {"fixed4": 61, "fixed8": 3}


def test_low_variance_rows_become_powers_of_two_and_important_ones_eight_bits():
    model = nn.Sequential(nn.Conv2d(3, 20, 3, bias=False), nn.ReLU(), nn.Conv2d(20, 20, 1)).eval()
    model[0].weight.data[:13] *= 0.1
    model[2].weight.data[:, 13:] = 0.01  # what reads rows 13.. hardly does
    model[2].weight.data[:, 4] = 10.0
    compress_(model, RmsmpConfig(), batches())
    schemes = describe(model)[0].row_schemes
    assert schemes[4] == "fixed8"
    assert set(schemes[:13]) - {"fixed8"} == {"pot4"}
    assert set(schemes[13:]) == {"fixed4", "pot4"} and schemes[13:].count("pot4") == 1


def test_labels_are_ignored_and_generators_are_read_once():
    labelled = [(batch, torch.zeros(4, dtype=torch.long)) for batch in batches()]
    one, two = network(), network()
    compress_(one, RmsmpConfig(), iter(labelled))
    compress_(two, RmsmpConfig(), batches())
    assert all(torch.equal(one.state_dict()[name], value) for name, value in two.state_dict().items())


def test_the_random_state_is_not_touched():
    torch.manual_seed(7)
    compress_(network(), RmsmpConfig(), batches())
    torch.manual_seed(1)  # what network() does
    network()
    one = torch.rand(3)
    network()
    compress_(model := network(), RmsmpConfig(), batches())
    torch.manual_seed(1)
    network()
    assert torch.equal(one, torch.rand(3))
    assert model is not None


def test_reassignment_with_labels_and_a_loss():
    model = network()
    compress_(model, RmsmpConfig(score="weight"), batches())
    pairs = [(batch, torch.arange(4)) for batch in batches()]
    with torch.no_grad():
        model[6].weight[3] *= 50
    fisher = dataclasses.replace(compression_of(model).config, score="fisher")
    model.compression = dataclasses.replace(compression_of(model), config=fisher)
    changed = reassign_rows(model, pairs, nn.functional.cross_entropy)
    assert set(changed) == {layer.name for layer in describe(model)}
    assert sum(changed.values()) > 0
    assert not any(parameter.grad is not None for parameter in model.parameters())
    assert {quantizer.state for quantizer in model.quantizers.values()} == {"quantize"}


def test_reestimated_normalization_takes_the_shift_out():
    data = batches(8)
    errors = {}
    for normalization in ("keep", "reestimate"):
        model = network().train()
        with torch.no_grad():
            for _ in range(30):
                for batch in data:
                    model(batch)
            wanted = model.eval()(torch.cat(data))
            compress_(model, PotConfig(scale="absmax", granularity="layer", normalization=normalization), data)
            errors[normalization] = decibels(wanted, model(torch.cat(data)))
    assert errors["reestimate"] > errors["keep"]


def test_exclude_overrides_and_eight_bit_ends():
    config = FixedConfig(
        ends="8bit", exclude=("3.conv2",), overrides={"6": {"weight_bits": 3, "activation_bits": 5}},
    )
    model = network()
    compress_(model, config, batches())
    schemes = {layer.name: layer.schemes for layer in describe(model)}
    assert schemes == {"0": {"fixed8": 20}, "3.conv1": {"fixed4": 20}, "6": {"fixed3": 24}, "8": {"fixed8": 5}}
    assert type(model[3].conv2) is nn.Conv2d
    bits = {spot.name: spot.bits for spot in compression_of(model).spots}
    assert (bits["_4"], bits["_7"], bits["_2"]) == (5, 8, 4)


class TestErrors:
    def message(self, model, config, data=None):
        before = copy.deepcopy(model.state_dict())
        kind = type(model)
        with pytest.raises(InputError) as error:
            compress_(model, config, data)
        assert type(model) is kind
        assert set(model.state_dict()) == set(before)
        assert "\n" not in str(error.value)
        return str(error.value)

    def test_no_data(self):
        assert "observe_in_training" in self.message(network(), FixedConfig())

    @pytest.mark.parametrize("data", [[], iter([])])
    def test_empty_data(self, data):
        assert "no batch" in self.message(network(), FixedConfig(), data)

    def test_an_empty_batch(self):
        assert "batch 1 is empty" in self.message(network(), FixedConfig(), [batches()[0], torch.zeros(0, 3, 9, 9)])

    def test_data_that_is_no_tensor(self):
        assert "batch 0 is str" in self.message(network(), FixedConfig(), ["cat.jpg"])

    def test_data_of_another_shape(self):
        message = self.message(network(), FixedConfig(), [torch.zeros(2, 4, 9, 9)])
        assert "batch 0 of shape (2, 4, 9, 9)" in message

    def test_data_that_is_not_finite(self):
        assert "batch 0 has values" in self.message(network(), FixedConfig(), [torch.full((1, 3, 9, 9), torch.inf)])

    def test_another_device(self):
        message = self.message(network(), FixedConfig(), [torch.zeros(1, 3, 9, 9, device="meta")])
        assert "is on meta, the model on cpu" in message

    def test_weights_that_are_not_finite(self):
        model = network()
        model[3].conv1.weight.data[0, 0, 0, 0] = torch.nan
        message = self.message(model, FixedConfig(), batches())
        assert "1 of 3600 values of 3.conv1.weight" in message

    def test_compressed_already(self):
        model = compress_(network(), FixedConfig(), batches())
        with pytest.raises(InputError, match="compressed already"):
            compress_(model, FixedConfig(), batches())
        with pytest.raises(InputError, match="compressed already"):
            compress_(nn.Sequential(model), FixedConfig(), batches())

    def test_nothing_to_quantize(self):
        assert "has no layer to quantize" in self.message(nn.Sequential(nn.ReLU()), FixedConfig(), batches())

    def test_a_pattern_that_fits_nothing(self):
        assert "no layer is called haed" in self.message(network(), FixedConfig(exclude=("haed",)), batches())

    def test_too_few_rows(self):
        message = self.message(network(7), RmsmpConfig(few_rows="error"), batches())
        assert "too few" in message and "0" in message

    def test_a_checkpoint_of_another_model(self):
        state = compress_(network(7), FixedConfig(), batches()).state_dict()
        model = network()
        with pytest.raises(InputError, match="does not fit"):
            restore_(model, FixedConfig(), state)
        assert type(model) is nn.Sequential

    @pytest.mark.parametrize(("make", "words"), [
        (lambda: RmsmpConfig(ratio=(65, 30, 6)), "ratio"),
        (lambda: RmsmpConfig(ratio=(0.5, 0.3, 0.1)), "sums to"),
        (lambda: RmsmpConfig(board="xc7"), "xc7"),
        (lambda: RmsmpConfig(score="best"), "score is 'best'"),
        (lambda: RmsmpConfig(low="pot9"), "pot9"),
        (lambda: FixedConfig(activation_bits=0), "activation_bits is 0; must be 1 to 16"),
        (lambda: FixedConfig(activation_bits=17), "activation_bits is 17"),
        (lambda: FixedConfig(weight_bits=9), "weight_bits is 9"),
        (lambda: EsbConfig(bits=4, significant=3), "there is no such format"),
        (lambda: EsbConfig(activation_levels=(5, 2)), "reach beyond"),
        (lambda: BinaryConfig(stages=(0.5, 0.6, 0.1)), "sum to 1"),
        (lambda: FixedConfig(overrides={"0": {"bits": 3}}), "field bits is unknown"),
        (lambda: config_from_json({"method": "magic"}), "method"),
        (lambda: config_from_json({"method": "fixed", "weight_bits": "4"}), "weight_bits"),
        (lambda: read_config("/nowhere.json"), "nowhere.json: cannot be read"),
    ])
    def test_settings(self, make, words):
        with pytest.raises(InputError, match=words):
            make()
