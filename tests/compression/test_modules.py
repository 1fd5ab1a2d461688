import copy

import numpy as np
import pytest
import torch
from torch import nn

from l4edge_compression.quantization.formats import LEVEL_SETS, level_set
from l4edge_compression.quantization.modules import ActivationQuantizer, QuantizedConv2d, RowQuantizer
from l4edge_compression.quantization.observers import RangeObserver
from l4edge_perception.errors import InputError

MIX = tuple(LEVEL_SETS[name] for name in ("pot4", "fixed4", "fixed8"))


def mixed(weight, **settings):
    quantizer = RowQuantizer(MIX, weight, **settings)
    quantizer.assign(torch.arange(len(weight)) % 3, weight)
    return quantizer


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
    torch.set_num_threads(1)


class TestRows:
    @pytest.mark.parametrize("granularity", ["layer", "row"])
    @pytest.mark.parametrize("rule", ["absmax", "mse", "learned"])
    def test_forward_equals_codes_times_steps_bit_for_bit(self, granularity, rule):
        weight = torch.randn(19, 5, 3, 3)
        quantizer = mixed(weight, granularity=granularity, rule=rule)
        codes, steps = quantizer.codes(weight)
        assert codes.dtype == torch.int8
        assert torch.equal(quantizer(weight), codes.float() * steps.reshape(-1, 1, 1, 1))

    def test_every_row_has_the_integers_of_its_format(self):
        weight = torch.randn(19, 50)
        codes, _ = mixed(weight).codes(weight)
        for row, integers in enumerate(codes.tolist()):
            assert set(integers) <= set(MIX[row % 3].integers)

    def test_the_vector_of_the_reference(self):
        weight = torch.tensor([[1.0, 0.9, 0.74, 0.71, -0.3, 0.010, 0.0078, 0.0]])
        codes, steps = RowQuantizer((LEVEL_SETS["pot4"],), weight).codes(weight)
        assert codes.tolist() == [[64, 64, 32, 32, -16, 1, 0, 0]]
        assert steps.tolist() == [1 / 64]
        other = RowQuantizer((LEVEL_SETS["pot4"],), weight, rounding="log2").codes(weight)[0]
        assert other.tolist()[0][:4] == [64, 64, 64, 64]

    def test_layer_scale_is_one_number_row_scales_are_many(self):
        weight = torch.randn(12, 30) * torch.arange(1, 13)[:, None]
        assert len(set(mixed(weight, granularity="layer").scale.tolist())) == 1
        assert len(set(mixed(weight, granularity="row").scale.tolist())) == 12

    def test_rows_of_zeros_stay_zeros(self):
        weight = torch.randn(6, 9)
        weight[2] = 0
        for rule in ("absmax", "mse", "learned"):
            result = mixed(weight, granularity="row", rule=rule)(weight)
            assert torch.isfinite(result).all()
            assert not result[2].any()

    def test_gradient_is_the_identity_inside_the_range_and_zero_outside(self):
        weight = torch.randn(6, 40, requires_grad=True)
        quantizer = mixed(weight, rule="learned")
        quantizer.scale.data.mul_(0.5)
        upstream = torch.randn(6, 40)
        quantizer(weight).backward(upstream)
        inside = weight.detach().abs() <= quantizer.scale.detach()[:, None]
        assert (~inside).any()
        assert torch.equal(weight.grad, upstream * inside)

    def test_gradient_of_a_learned_scale_is_that_of_the_step_size(self):
        weight = torch.randn(4, 40)
        quantizer = RowQuantizer((level_set("fixed4"),), weight, granularity="row", rule="learned")
        upstream = torch.randn(4, 40)
        quantizer(weight).backward(upstream)
        # By hand, LSQ equation 3 with step = alpha / 7: d(q step)/d(step) = q - w/step inside, q outside.
        step = quantizer.scale.detach()[:, None] / 7
        ratio = weight / step
        slope = torch.where(ratio.abs() <= 7, ratio.round() - ratio, ratio.sign() * 7)
        wanted = (upstream * slope).sum(1) / 7 * (7**2 / (40 * 7) ** 0.5)
        torch.testing.assert_close(quantizer.scale.grad, wanted, rtol=1e-4, atol=1e-5)

    def test_shared_learned_scale_stays_shared_in_training(self):
        weight = nn.Parameter(torch.randn(9, 20))
        quantizer = mixed(weight, rule="learned")
        optimizer = torch.optim.SGD([weight, *quantizer.parameters()], 0.1, momentum=0.9)
        before = quantizer.scale.detach().clone()
        for _ in range(3):
            optimizer.zero_grad()
            quantizer(weight).square().sum().backward()
            optimizer.step()
        assert len(set(quantizer.scale.tolist())) == 1
        assert not torch.equal(before, quantizer.scale.detach())

    def test_scales_follow_the_weights_in_training_only(self):
        weight = nn.Parameter(torch.randn(6, 20))
        quantizer = mixed(weight)
        before = quantizer.scale.clone()
        weight.data.mul_(2)
        quantizer.eval()(weight)
        assert torch.equal(quantizer.scale, before)
        quantizer.train()(weight)
        assert torch.equal(quantizer.scale, 2 * before)

    def test_formats_beyond_int8_say_so(self):
        weight = torch.randn(3, 20)
        quantizer = RowQuantizer((level_set("esb(6,2)"),), weight, rule="aligned")
        quantizer(weight)
        with pytest.raises(InputError, match="do not fit int8"):
            quantizer.codes(weight)

    def test_layers_take_odd_channels_and_groups(self):
        for settings in ((3, 7, 3, 1, 1, 1, 1, False), (9, 9, 3, 2, 1, 1, 9), (6, 15, (1, 5), 1, "same", 1, 3)):
            layer = nn.Conv2d(*settings)
            quantized = copy.deepcopy(layer)
            quantized.__class__ = QuantizedConv2d
            quantized.row_quantizer = mixed(layer.weight)
            inputs = torch.randn(2, settings[0], 11, 13)
            layer.weight.data = quantized.row_quantizer(layer.weight).detach()
            assert torch.equal(quantized(inputs), layer(inputs))


class TestActivations:
    def test_codes_by_division_and_rounding_to_even(self):
        quantizer = ActivationQuantizer(4, calibration="absmax")
        values = torch.cat([torch.randn(10000).abs(), torch.tensor([0.5, 1.5, 2.5, 15.0, 99.0])])
        quantizer(values)
        quantizer.finish()
        quantizer.scale.data.fill_(0.1)
        scale, zero_point, top, table = quantizer.parameters_for_export()
        assert (zero_point, top, table) == (0, 15, None)
        codes = np.clip(np.rint(values.numpy() / np.float32(scale)), 0, top)
        np.testing.assert_array_equal(quantizer(values).detach().numpy(), codes * np.float32(scale))

    @pytest.mark.parametrize("bits", [1, 2, 4, 6, 8, 12, 16])
    @pytest.mark.parametrize("calibration", ["mse", "percentile", "absmax"])
    def test_any_number_of_bits(self, bits, calibration):
        values = torch.randn(4, 3000) + 0.3
        quantizer = ActivationQuantizer(bits, calibration=calibration)
        quantizer(values)
        quantizer.finish()
        result = quantizer(values).detach()
        assert len(result.unique()) <= 2**bits
        if bits >= 4:
            assert (result - values).square().mean() < 0.5 ** (bits - 3) + 2e-3

    def test_zero_is_a_code_and_ranges_without_negatives_start_there(self):
        quantizer = ActivationQuantizer(4)
        quantizer(torch.rand(1000))
        quantizer.finish()
        assert quantizer.parameters_for_export()[1] == 0
        signed = ActivationQuantizer(4)
        signed(torch.randn(1000) + 0.2)
        signed.finish()
        assert signed(torch.zeros(1)).item() == 0
        assert 0 < signed.parameters_for_export()[1] < 15

    def test_least_error_beats_the_full_range_on_heavy_tails(self):
        values = torch.distributions.StudentT(3.0).sample((20000,)).abs()
        errors = {}
        for calibration in ("mse", "absmax", "percentile"):
            quantizer = ActivationQuantizer(4, calibration=calibration)
            for part in values.split(5000):
                quantizer(part)
            quantizer.finish()
            errors[calibration] = float((quantizer(values).detach() - values).square().mean())
        assert errors["mse"] < 0.5 * errors["absmax"]
        assert errors["mse"] <= 1.02 * errors["percentile"]

    def test_learned_scale_gradient(self):
        quantizer = ActivationQuantizer(3, learned=True, calibration="absmax")
        values = torch.randn(5, 200, requires_grad=True)
        quantizer(values)
        quantizer.finish()
        quantizer.scale.data.mul_(0.5)
        upstream = torch.randn(5, 200)
        quantizer(values).backward(upstream)
        scale, zero_point, top, _ = quantizer.parameters_for_export()
        ratio = values.detach() / scale
        codes = (ratio.round() + zero_point).clamp(0, top)
        inside = codes == ratio.round() + zero_point
        assert torch.equal(values.grad, upstream * inside)
        slope = torch.where(inside, ratio.round() - ratio, codes - zero_point)
        wanted = (upstream * slope).sum() / (200 * top) ** 0.5
        torch.testing.assert_close(quantizer.scale.grad, wanted, rtol=1e-4, atol=1e-4)

    def test_observes_training_batches_and_then_quantizes(self):
        quantizer = ActivationQuantizer(2, observe=2)
        values = torch.rand(50)
        assert torch.equal(quantizer(values), values)
        assert quantizer.state == "observe"
        assert len(quantizer(values).unique()) <= 4
        assert quantizer.state == "quantize"

    def test_pixels_stay_as_they_are(self):
        pixels = torch.randint(0, 200, (2, 3, 4, 4)).float()
        quantizer = ActivationQuantizer(8, pixels=True)
        quantizer(pixels)
        quantizer.finish()
        assert quantizer.parameters_for_export()[:2] == (1.0, 0)
        assert torch.equal(quantizer(pixels).detach(), pixels)

    def test_elastic_levels_are_a_table_behind_the_codes(self):
        levels = level_set("uesb(4,1)")
        quantizer = ActivationQuantizer(4, levels=levels, alpha=4.0)
        values = torch.randn(5000).relu()
        quantizer(values)
        quantizer.finish()
        scale, zero_point, top, table = quantizer.parameters_for_export()
        assert top == levels.largest and zero_point == 0 and table.dtype == torch.uint8
        spread = values[values > 0].square().mean().sqrt()
        assert scale * top == pytest.approx(4.0 * float(spread), rel=1e-5)
        integers = set((quantizer(values).detach() / scale).round().int().tolist())
        assert integers <= set(levels.integers) and len(integers) > 8

    def test_elastic_levels_give_way_to_fixed_point_where_values_are_negative(self):
        quantizer = ActivationQuantizer(4, levels=level_set("uesb(4,1)"))
        quantizer(torch.randn(500))
        quantizer.finish()
        assert quantizer.table is None and quantizer.top == 15
        fresh = ActivationQuantizer(4, levels=level_set("uesb(4,1)"))
        fresh.load_state_dict(quantizer.state_dict())
        values = torch.randn(500)
        assert torch.equal(fresh(values), quantizer(values))

    def test_errors(self):
        with pytest.raises(InputError, match="must be 1 to 16"):
            ActivationQuantizer(17)
        with pytest.raises(InputError, match="no data"):
            ActivationQuantizer(4).finish()
        with pytest.raises(InputError, match="calibrate"):
            ActivationQuantizer(4).parameters_for_export()
        with pytest.raises(InputError, match=r"x: .*not finite"):
            ActivationQuantizer(4, name="x")(torch.tensor([1.0, float("nan")]))


class TestObserver:
    def test_histogram_grows_without_losing_counts(self):
        observer = RangeObserver()
        parts = [torch.randn(1000) * factor for factor in (0.01, 1, 30, 0.1)]
        for part in parts:
            observer.update(part)
        assert observer.histogram.sum() == 4000
        values = torch.cat(parts)
        assert observer.low == values.min() and observer.high == values.max()
        centres, counts = observer.bins()
        width = observer.limit / 4096
        assert float((counts * centres).sum() / 4000) == pytest.approx(float(values.mean()), abs=width)

    def test_order_of_batches_does_not_matter(self):
        parts = [torch.randn(500) * factor for factor in (1, 7)]
        grids = []
        for order in (parts, parts[::-1]):
            observer = RangeObserver()
            for part in order:
                observer.update(part)
            grids.append(observer.grid(4, "mse"))
        assert grids[0] == grids[1]

    def test_zeros_alone(self):
        observer = RangeObserver()
        observer.update(torch.zeros(5))
        assert observer.grid(4, "mse").scale == 1.0
