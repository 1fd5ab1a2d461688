"""Codes of weights and the integers they stand for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l4edge_accel.formats import BENCHED, number_format
from l4edge_perception.errors import InputError

LARGEST = {"binary": 1, "fixed4": 8, "fixed8": 128, "pot4": 64, "esb(4,1)": 12, "esb(5,2)": 28, "esb(6,3)": 60}


@pytest.mark.parametrize("name", BENCHED)
def test_every_integer_comes_back(name):
    number = number_format(name)
    integers = number.integers(np.arange(2**number.bits))
    assert np.array_equal(number.integers(number.codes(integers)), integers)
    assert number.largest_magnitude == LARGEST[name]


def test_elastic_levels_are_those_of_the_formula():
    # The paper's figure 4 is (5,2): values are multiples of 1/4 up to 7 = 2^3 - 2^0, here scaled by 4.
    number = number_format("esb(5,2)")
    levels = np.unique(number.integers(np.arange(32)))
    assert len(levels) == 2**5 - 1  # +0 and -0 are one
    assert sorted(set(np.abs(levels))) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28]


def test_powers_of_two():
    assert sorted(set(np.abs(number_format("pot4").integers(np.arange(16))))) == [0, 1, 2, 4, 8, 16, 32, 64]


def test_zero_has_the_code_zero_where_there_is_a_zero():
    for name in BENCHED:
        if name != "binary":
            assert number_format(name).codes(np.array([0]))[0] == 0


@given(st.sampled_from(BENCHED), st.integers(1, 9), st.integers(-300, 300))
def test_holds_is_membership(name, repeat, value):
    number = number_format(name)
    levels = set(number.integers(np.arange(2**number.bits)).tolist())
    assert number.holds(np.full(repeat, value)) == (value in levels)


def test_an_integer_without_a_code_is_named():
    with pytest.raises(InputError, match=r"weight 3: pot4 does not hold it"):
        number_format("pot4").codes(np.array([1, 3]))


@pytest.mark.parametrize("name", ["fixed99", "esb(4,0)", "esb(4,2)", "esb(9,1)", "", None])
def test_unknown_formats_are_refused(name):
    with pytest.raises(InputError, match="number format"):
        number_format(name)
