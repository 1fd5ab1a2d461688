"""Scales of rows."""

import math

import pytest
import torch

from l4edge_compression.quantization.formats import level_set
from l4edge_compression.quantization.scales import (
    LEAST_SCALE,
    RowSums,
    choose_scales,
    learned_scale_factor,
    learned_scale_start,
    least_error_scales,
    squared_errors,
    with_gradient_factor,
)
from l4edge_perception.errors import InputError

FORMATS = tuple(level_set(name) for name in ("pot4", "fixed4", "fixed8"))


@pytest.fixture
def rows():
    return torch.randn(6, 500, generator=torch.Generator().manual_seed(0)) * torch.logspace(-3, 2, 6)[:, None]


@pytest.mark.parametrize("name", ["fixed4", "fixed8", "pot4", "sp2_4", "binary"])
def test_error_from_sums_is_the_error_of_the_projection(rows, name):
    levels = level_set(name)
    scales = rows.abs().amax(dim=1, keepdim=True).double() * torch.tensor([0.31, 0.77, 1.21], dtype=torch.float64)
    errors = RowSums.of(rows).errors(levels, scales)
    for column in range(3):
        direct = squared_errors(rows.double(), levels, scales[:, column])
        assert torch.allclose(errors[:, column], direct, rtol=1e-8)


def test_rounding_of_exponents_counts_in_the_error(rows):
    scales = rows.abs().amax(dim=1).double()
    direct = squared_errors(rows.double(), FORMATS[0], scales, "log2")
    assert torch.allclose(RowSums.of(rows).errors(FORMATS[0], scales[:, None], "log2")[:, 0], direct, rtol=1e-8)


@pytest.mark.parametrize(("name", "decibels"), [("fixed4", 18.9), ("pot4", 14.2), ("sp2_4", 17.2), ("apot4", 19.2)])
def test_least_error_on_normal_rows(name, decibels):
    normal = torch.randn(2, 50_000, generator=torch.Generator().manual_seed(1))
    levels = level_set(name)
    error = squared_errors(normal, levels, least_error_scales(normal, levels)).sum() / normal.numel()
    assert -10 * math.log10(error) == pytest.approx(decibels, abs=0.15)


def test_least_error_is_least(rows):
    for levels in FORMATS:
        least = squared_errors(rows, levels, least_error_scales(rows, levels))
        for share in torch.linspace(0.1, 1.3, 60):
            # The error of 8 bits is rugged in the scale: few numbers share a level.
            margin = 1.1 if levels.bits == 8 else 1.02
            assert (least <= squared_errors(rows, levels, rows.abs().amax(dim=1) * share) * margin).all()


def test_one_outlier_does_not_hide_the_least_error():
    row = torch.randn(1, 20_000, generator=torch.Generator().manual_seed(0))
    row[0, 0] = 60
    least = squared_errors(row, FORMATS[1], least_error_scales(row, FORMATS[1]))
    assert least <= min(squared_errors(row, FORMATS[1], torch.tensor([alpha])) for alpha in (3.0, 4, 5, 6, 8)) * 1.01


def test_binary_scale_is_the_mean_magnitude(rows):
    assert torch.allclose(least_error_scales(rows, level_set("binary")), rows.abs().mean(dim=1), rtol=1e-4)


def test_rows_scale_with_their_numbers(rows):
    scales = least_error_scales(rows, FORMATS[1])
    assert torch.allclose(least_error_scales(rows * 8, FORMATS[1]), scales * 8, rtol=1e-5)


@pytest.mark.parametrize("method", ["absmax", "mse"])
def test_every_row_has_its_format_and_scale(rows, method):
    assignment = torch.tensor([0, 1, 2, 0, 1, 2])
    scales = choose_scales(rows.reshape(6, 5, 10, 10), FORMATS, assignment, "row", method)
    for index, levels in enumerate(FORMATS):
        members = assignment == index
        alone = rows[members].abs().amax(dim=1) if method == "absmax" else least_error_scales(rows[members], levels)
        assert torch.equal(scales[members], alone)


@pytest.mark.parametrize("method", ["absmax", "mse"])
def test_a_layer_shares_one_scale(rows, method):
    assignment = torch.tensor([0, 1, 2, 0, 1, 2])
    scales = choose_scales(rows, FORMATS, assignment, "layer", method)
    assert len(set(scales.tolist())) == 1
    if method == "absmax":
        assert scales[0] == rows.abs().max()
        return

    def error(alpha):
        groups = [(levels, rows[assignment == index]) for index, levels in enumerate(FORMATS)]
        return sum(float(squared_errors(part, levels, torch.full((2,), alpha)).sum()) for levels, part in groups)

    assert error(float(scales[0])) <= min(error(float(rows.abs().max()) * share / 20) for share in range(2, 27)) * 1.05


@pytest.mark.parametrize("granularity", ["row", "layer"])
@pytest.mark.parametrize("method", ["absmax", "mse"])
def test_rows_of_zeros(granularity, method):
    scales = choose_scales(torch.zeros(3, 8), FORMATS, torch.tensor([0, 1, 2]), granularity, method)
    assert scales.tolist() == [1, 1, 1]


def test_a_row_of_zeros_in_binary_is_next_to_nothing():
    scales = least_error_scales(torch.stack([torch.zeros(8), torch.ones(8)]), level_set("binary"))
    assert scales.tolist() == [LEAST_SCALE, 1]


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_weights_that_are_not_finite(broken):
    weight = torch.ones(2, 3)
    weight[1, 1] = broken
    with pytest.raises(InputError, match="stem: 1 of 6"):
        choose_scales(weight, FORMATS, torch.zeros(2), name="stem")


def test_no_weights():
    with pytest.raises(InputError, match="stem"):
        choose_scales(torch.ones(2, 0), FORMATS, torch.zeros(2), name="stem")


def test_learned_scale_starts_as_published(rows):
    steps = learned_scale_start(rows, FORMATS[1]) / 7
    assert torch.allclose(steps, 2 * rows.abs().mean(dim=1) / math.sqrt(7))


def test_factor_makes_both_kinds_of_learned_scale_move_by_the_same_share():
    alpha = torch.tensor(3.5, requires_grad=True)
    step = torch.tensor(0.5, requires_grad=True)
    (with_gradient_factor(alpha, learned_scale_factor(100, 7)) / 7 * 11).backward()
    (with_gradient_factor(step, learned_scale_factor(100, 7, of="step")) * 11).backward()
    assert float(alpha.grad) / 3.5 == pytest.approx(float(step.grad) / 0.5)
    assert float(step.grad) == pytest.approx(11 / math.sqrt(700))
