"""Elastic significant bits: formats, alignment and choice."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from l4edge_compression.quantization.esb import (
    ElasticFormat,
    align,
    align_samples,
    aligned_scales,
    candidates,
    choose_format,
    named_format,
)
from l4edge_compression.quantization.formats import boundaries, level_set, project, project_array
from l4edge_compression.quantization.scales import squared_errors
from l4edge_perception.errors import InputError
from l4edge_pipeline.commands import bench_esb

ALL = [each for bits in range(2, 9) for signed in (True, False) for each in candidates(bits, signed)]
SMALL = [each for each in ALL if each.largest_exponent <= 6]


@pytest.mark.parametrize("elastic", ALL, ids=lambda elastic: elastic.name)
def test_levels(elastic):
    levels = elastic.level_set()
    assert len(levels.integers) == 2**elastic.bits - (elastic.signed and not elastic.midrise)
    assert levels.largest == elastic.largest_value * elastic.unit
    assert level_set(elastic.name) == levels


def test_format_of_the_figure():
    assert level_set("esb(5,2)").magnitudes == (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28)
    assert level_set("uesb(4,2)").integers == level_set("esb(5,2)").magnitudes


def test_ends_of_the_family_are_powers_of_two_and_fixed_point():
    assert level_set("esb(4,0)").integers == level_set("pot4").integers
    assert level_set("esb(4,2)_formula").integers == level_set("fixed4").integers
    assert level_set("esb(4,2)").magnitudes == (1, 3, 5, 7, 9, 11, 13, 15)


@pytest.mark.parametrize("elastic", SMALL, ids=lambda elastic: elastic.name)
def test_shifting_and_rounding_is_the_projection(elastic):
    values = np.random.default_rng(0).normal(size=2000) * np.geomspace(0.01, 200, 2000)
    projected = project_array(elastic.level_set(), values / elastic.largest_value) / elastic.unit
    assert elastic.shift_and_round(values).tolist() == projected.tolist()


@pytest.mark.parametrize("elastic", [each for each in ALL if not each.midrise], ids=lambda elastic: elastic.name)
def test_shifting_and_rounding_breaks_ties_as_the_projection(elastic):
    levels = elastic.level_set()
    ties = boundaries(levels)
    expected = [levels.magnitudes[index + tie_goes_up] for index, (_, tie_goes_up) in enumerate(ties)]
    found = elastic.shift_and_round([limit / elastic.unit for limit, _ in ties]) * elastic.unit
    assert found.tolist() == expected


@pytest.mark.parametrize(("bits", "significant"), [(1, 0), (10, 5), (5, 4), (8, 2), (5, -1)])
def test_formats_that_do_not_exist(bits, significant):
    with pytest.raises(InputError, match="significant"):
        ElasticFormat(bits, significant)
    with pytest.raises(InputError):
        named_format(f"esb({bits},{significant})")


def test_alignment_lists_local_minima_of_formats_with_many_exponents():
    alphas = [minimum.alpha for minimum in align(ElasticFormat(4, 0))]
    assert sorted(alphas) == pytest.approx([0.0381, 0.0656, 0.1299, 0.2451], abs=1e-4)
    assert alphas[0] == pytest.approx(0.0656, abs=1e-4)
    assert len(align(ElasticFormat(5, 2))) == 1


def test_alignment_of_magnitudes_is_that_of_numbers_with_sign():
    assert align(ElasticFormat(4, 2, signed=False), "half_normal") == align(ElasticFormat(5, 2))
    with pytest.raises(InputError, match="normal"):
        align(ElasticFormat(4, 2, signed=False))


def test_alignment_with_numbers_finds_the_closed_form_on_normal_ones():
    numbers = np.random.default_rng(0).standard_normal(200_000) * 0.02
    for elastic in (ElasticFormat(4, 1), ElasticFormat(5, 2)):
        sampled, exact = align_samples(elastic, numbers)[0], align(elastic)[0]
        assert sampled.alpha == pytest.approx(exact.alpha, rel=0.03)
        assert sampled.decibels == pytest.approx(exact.decibels, abs=0.05)


def test_error_of_aligned_numbers_is_that_of_the_quantizer():
    numbers = np.random.default_rng(1).laplace(size=3000)
    for elastic in (ElasticFormat(5, 1), ElasticFormat(4, 2), ElasticFormat(4, 2, signed=False)):
        best = align_samples(elastic, numbers)[0]
        root = np.sqrt(np.mean(numbers**2))
        scale = best.alpha * root * elastic.largest_value
        quantized = project_array(elastic.level_set(), numbers / scale) * scale / elastic.level_set().largest
        assert np.mean((numbers - quantized) ** 2) / root**2 == pytest.approx(best.error, rel=1e-6)


def test_alignment_reaches_far_out_where_numbers_do():
    numbers = np.concatenate([np.random.default_rng(2).normal(size=2000), [30.0, -30.0] * 3])
    best = align_samples(ElasticFormat(8, 6, formula=True), numbers)[0]
    assert best.alpha * ElasticFormat(8, 6, formula=True).largest_value * np.sqrt(np.mean(numbers**2)) > 29


@pytest.mark.parametrize("numbers", [[], [0.0, 0.0], [1.0, float("nan")]])
def test_alignment_with_unusable_numbers(numbers):
    with pytest.raises(InputError, match="ESB alignment"):
        align_samples(ElasticFormat(5, 2), numbers)


@pytest.mark.parametrize("per", ["tensor", "channel"])
def test_data_aligns_no_worse_than_the_standard_distribution(per):
    generator = np.random.default_rng(0)
    weight = torch.from_numpy(generator.standard_t(2.5, (16, 30, 3, 3)) * generator.random((16, 1, 1, 1)))
    rows = weight.reshape(1, -1) if per == "tensor" else weight.reshape(16, -1)
    for elastic in candidates(5):
        errors = [
            float(squared_errors(rows, elastic.level_set(), aligned_scales(rows, elastic, reference)).sum())
            for reference in ("data", "normal")
        ]
        assert errors[0] <= errors[1] * 1.01


def test_half_normal_alignment_ignores_zeros():
    values = torch.randn(1, 20_000, generator=torch.Generator().manual_seed(0))
    scales = aligned_scales(values, ElasticFormat(4, 2, signed=False), "half_normal")
    assert float(scales) == pytest.approx(0.4828 * 7, rel=0.02)


def test_rows_of_zeros_get_a_usable_scale():
    for reference in ("normal", "data"):
        scales = aligned_scales(torch.zeros(2, 9), ElasticFormat(5, 2), reference)
        assert scales.tolist() == [1, 1]


def test_least_error_chooses_how_many_bits_are_significant():
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(4, 2000, generator=generator)
    assert choose_format(normal, 5)[0].significant == 2
    assert choose_format(torch.rand(4, 2000, generator=generator) * 2 - 1, 5)[0].significant == 3
    heavy = torch.sign(normal) * torch.exp2(torch.randint(-5, 1, normal.shape, generator=generator))
    assert choose_format(heavy, 5, per="tensor")[0].significant <= 1
    elastic, scales = choose_format(normal.reshape(4, 20, 10, 10), 4, per="tensor", largest=127)
    assert elastic.level_set().largest <= 127 and scales.shape == (4,) and len(set(scales.tolist())) == 1


def test_equal_errors_go_to_fewer_significant_bits():
    # Numbers that both formats hold exactly.
    weight = torch.tensor([[0.0, 1.0, -1.0, 2.0, 4.0, -4.0]])
    assert choose_format(weight, 4, largest=64)[0].significant == 0


def test_projection_is_symmetric():
    numbers = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    for elastic in SMALL:
        if elastic.signed:
            levels = elastic.level_set()
            assert torch.equal(project(levels, -numbers), -project(levels, numbers))


def test_benchmark_passes_and_says_so(monkeypatch):
    monkeypatch.delitem(bench_esb.DISTRIBUTIONS, "Laplace")
    result = CliRunner().invoke(bench_esb.command, ["--json"])
    assert result.exit_code == 0, result.output
    results = json.loads(result.output)
    assert results["passed"] and results["failures"] == 0
    assert results["max_alpha_deviation"] < 1e-3
    assert {row["format"]: row["matches"] for row in results["formats"]}["(4,0)"] != "least"
    normal = {row["bits"]: row for row in results["against_uniform"] if row["distribution"] == "normal"}
    assert normal[4]["gain"] < 0 < normal[5]["gain"]
    assert normal[5]["format"] == "(5,2)" and abs(normal[5]["esb"] - 24.87) < 0.02


def test_benchmark_fails_on_a_wrong_constant(monkeypatch):
    monkeypatch.setattr(bench_esb, "DISTRIBUTIONS", {})
    monkeypatch.setitem(bench_esb.PUBLISHED, (5, 2), 0.4848)
    result = CliRunner().invoke(bench_esb.command, [])
    assert result.exit_code == 1
    assert "NO" in result.output


def test_benchmark_needs_no_torch():
    code = (
        "import sys; from l4edge_pipeline.commands import bench_esb; bench_esb.DISTRIBUTIONS.clear();"
        "assert bench_esb.measure()['passed'] and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
