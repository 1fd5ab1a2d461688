"""Sets of levels and the projection onto them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from l4edge_compression.quantization.expectation import expected_error, signal_to_noise_db
from l4edge_compression.quantization.formats import LEVEL_SETS, LevelSet, level_set, project, project_array
from l4edge_perception.errors import InputError

SAMPLES = torch.tensor([0.9, 0.74, 0.71, -0.3, 0.010, 0.0078])
UNSIGNED = LevelSet("unsigned", 4, tuple(range(16)))


@pytest.mark.parametrize(
    ("name", "count", "largest"),
    [("fixed4", 15, 7), ("fixed8", 255, 127), ("pot4", 15, 64), ("pot3", 7, 4), ("sp2_4", 13, 8), ("apot4", 15, 10),
     ("binary", 2, 1)],
)
def test_levels_of_a_format(name, count, largest):
    levels = level_set(name)
    assert (len(levels.integers), levels.largest) == (count, largest)
    assert levels.exportable
    assert levels.integers == tuple(sorted({-integer for integer in levels.integers}))


def test_power_of_two_to_the_nearest_level():
    assert project(level_set("pot4"), SAMPLES).tolist() == [64, 32, 32, -16, 1, 0]


def test_power_of_two_to_the_nearest_exponent():
    assert project(level_set("pot4"), SAMPLES, "log2").tolist() == [64, 64, 64, -16, 0, 0]


def test_sums_of_powers_of_two():
    assert level_set("sp2_4").magnitudes == (0, 1, 2, 4, 5, 6, 8)
    assert level_set("apot4").magnitudes == (0, 1, 2, 3, 4, 6, 8, 10)


def test_ties_of_uniform_levels_go_to_the_even_one():
    halves = torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5, 6.5])
    assert project(level_set("fixed4"), halves / 7 * 1).tolist() == project(level_set("fixed4"), halves / 7).tolist()
    exact = LevelSet("four", 4, tuple(range(-4, 5)))  # a power of two, so that dividing by it is exact
    assert project(exact, torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5, 3.5]) / 4).tolist() == [0, 2, 2, 0, -2, 4]


def test_ties_of_powers_of_two_go_where_rounding_the_significand_takes_them():
    assert project(level_set("pot4"), torch.tensor([0.5, 1.5, 3, 6, 12, 24, 48, -48]) / 64).tolist() == [
        0, 2, 4, 8, 16, 32, 64, -64,
    ]


def test_zero_is_one_in_binary():
    assert project(level_set("binary"), torch.tensor([0.0, -0.0, -1e-9, 5.0])).tolist() == [1, 1, -1, 1]


def test_unsigned_levels_clip_below_zero():
    assert project(UNSIGNED, torch.tensor([-0.5, 0.5, 2.0])).tolist() == [0, 8, 15]


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_kind_of_number_is_kept(kind):
    assert project(level_set("pot4"), torch.ones(2, 2, dtype=kind)).dtype == kind


@pytest.mark.parametrize("name", LEVEL_SETS)
def test_projection_is_the_nearest_level_and_symmetric(name):
    levels = level_set(name)
    numbers = torch.linspace(-1.5, 1.5, 4001, dtype=torch.float64) + 1e-5
    codes = project(levels, numbers)
    distances = (numbers[:, None] * levels.largest - torch.tensor(levels.integers, dtype=torch.float64)).abs()
    found = (numbers * levels.largest - codes).abs()
    assert torch.equal(found, distances.amin(dim=1))
    assert torch.equal(project(levels, -numbers), -codes)


@given(st.lists(st.floats(-2, 2, width=32), min_size=1), st.sampled_from(sorted(LEVEL_SETS)))
def test_numpy_and_torch_agree_to_the_bit(numbers, name):
    array = np.asarray(numbers, np.float32)
    assert project_array(level_set(name), array).tolist() == project(level_set(name), torch.from_numpy(array)).tolist()


@pytest.mark.parametrize("name", ["fixed9", "pot", "", "esb(9,9)", None])
def test_unknown_format(name):
    with pytest.raises(InputError, match="format"):
        level_set(name)


def test_rounding_of_exponents_needs_powers_of_two():
    with pytest.raises(InputError, match="fixed4"):
        project(level_set("fixed4"), SAMPLES, "log2")
    with pytest.raises(InputError, match="floor"):
        project(level_set("pot4"), SAMPLES, "floor")


@pytest.mark.parametrize(
    ("name", "decibels"),
    [("fixed4", [18.9, 15.7, 13.7, 9.6, 3.7]), ("pot4", [14.1, 14.2, 14.2, 14.2, 14.1]),
     ("sp2_4", [17.1, 14.3, 13.0, 10.5, 4.8])],
)
def test_errors_on_normal_rows(name, decibels):
    errors = expected_error(level_set(name), [2.5, 4, 5, 8, 16])
    assert [signal_to_noise_db(error) for error in errors] == pytest.approx(decibels, abs=0.1)


def test_expected_error_is_that_of_samples():
    numbers = np.random.default_rng(0).standard_normal(400_000)
    for levels, samples in ((level_set("sp2_4"), numbers), (UNSIGNED, np.abs(numbers))):
        codes = project_array(levels, samples / 2.0)
        measured = np.mean((samples - codes * 2.0 / levels.largest) ** 2)
        assert expected_error(levels, 2.0)[0] == pytest.approx(measured, rel=0.02)
