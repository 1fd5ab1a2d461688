"""Covering sets cover; a check that cannot fail would prove nothing."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l4edge_compression.defense.windows import (
    axis_shadows,
    axis_windows,
    check_settings,
    feature_windows,
    patch_after_resize,
    pixel_windows,
    shadow,
)
from l4edge_perception.errors import InputError


def strides_one_longer(length, patch, count):
    stride = math.ceil((length - patch + 1) / count)
    window = patch + stride - 1
    starts = np.minimum(np.arange(0, length - patch + 1, stride + 1), length - window)
    return np.stack([starts, starts + window], axis=1)


def windows_one_shorter(length, patch, count):
    windows = axis_windows(length, patch, count)
    windows[:, 1] -= 1
    return windows


def not_clamped(length, patch, count):
    stride = math.ceil((length - patch + 1) / count)
    starts = np.arange(0, length - patch + 1, stride)
    return np.stack([starts, starts + patch + stride - 1], axis=1)


def last_one_missing(length, patch, count):
    windows = axis_windows(length, patch, count)
    return windows[: max(1, len(windows) - 1)]


def test_random_settings_are_covered():
    assert check_settings(4000, seed=1).violations == 0


@pytest.mark.parametrize("rule", [strides_one_longer, windows_one_shorter, not_clamped, last_one_missing])
def test_mutants_are_caught(rule):
    outcome = check_settings(300, seed=2, rule=rule)
    assert outcome.violations > 30
    assert "patch" in outcome.example


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_every_patch_lies_in_a_window_in_two_dimensions(data):
    size = data.draw(st.tuples(st.integers(6, 40), st.integers(6, 40)))
    patch = data.draw(st.tuples(st.integers(1, size[0]), st.integers(1, size[1])))
    counts = data.draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    covering = pixel_windows(size, patch, counts)
    assert len(covering) <= counts[0] * counts[1]
    erased = covering.erased()
    for y in range(size[0] - patch[0] + 1):
        for x in range(size[1] - patch[1] + 1):
            assert erased[:, y : y + patch[0], x : x + patch[1]].all(axis=(1, 2)).any()


def touched_by_asking(length, patch, receptive_field, stride, offset, cells):
    """(positions, cells) bool, one cell and one position after the other."""
    return np.array(
        [
            [
                offset + cell * stride < start + patch and offset + cell * stride + receptive_field > start
                for cell in range(cells)
            ]
            for start in range(length - patch + 1)
        ]
    )


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_shadows_are_what_cells_see(data):
    receptive_field, stride = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 5))
    padding = data.draw(st.integers(0, receptive_field - 1))
    length = data.draw(st.integers(receptive_field, 40))
    cells = (length + 2 * padding - receptive_field) // stride + 1
    patch = data.draw(st.integers(1, length))
    touched = touched_by_asking(length, patch, receptive_field, stride, -padding, cells)
    found = axis_shadows(length, patch, receptive_field, stride, -padding, cells)
    cell = np.arange(cells)
    assert ((cell >= found[:, :1]) & (cell < found[:, 1:]) == touched).all()
    assert touched.sum(axis=1).max() <= shadow(patch, receptive_field, stride)


def test_covered_counts_only_what_is_done():
    covering = feature_windows((32, 32), (5, 5), (3, 3), (3, 3), (2, 2), (-1, -1), (16, 16))
    none, everything = np.zeros(len(covering), bool), np.ones(len(covering), bool)
    assert covering.covered(none) == 0
    assert covering.covered(everything) == 1
    for left_out in range(len(covering)):
        done = everything.copy()
        done[left_out] = False
        assert covering.covered(done) < 1


def test_covered_agrees_with_placing_every_patch():
    covering = feature_windows((20, 24), (4, 6), (2, 3), (5, 5), (2, 2), (-2, -2), (10, 12))
    done = np.array([True, False, True, False, True, False])
    y = touched_by_asking(20, 4, 5, 2, -2, 10)
    x = touched_by_asking(24, 6, 5, 2, -2, 12)
    erased = covering.erased()[done]
    inside = [[(~(a[:, None] & b) | erased).all(axis=(1, 2)).any() for b in x] for a in y]
    assert (covering.positions(done) == np.array(inside)).all()


def test_pixels_of_a_window_hold_its_patches():
    covering = pixel_windows((32, 32), (5, 5), (3, 3))
    assert [covering.pixels(index) for index in range(3)] == [(0, 0, 14, 14), (10, 0, 24, 14), (18, 0, 32, 14)]


@pytest.mark.parametrize(
    ("size", "patch", "counts", "cells"),
    [((8, 8), (9, 2), (2, 2), (8, 8)), ((8, 8), (2, 2), (0, 2), (8, 8)), ((8, 8), (6, 6), (2, 2), (4, 4))],
)
def test_what_cannot_be_covered_is_refused(size, patch, counts, cells):
    stride = size[0] // cells[0]
    with pytest.raises(InputError, match="axis y"):
        feature_windows(size, patch, counts, (5, 5) if stride > 1 else (1, 1), (stride, stride), (0, 0), cells)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 30), st.floats(0.3, 8.0), st.floats(0, 1))
def test_a_resized_patch_is_not_larger_than_said(patch, scale, shift):
    """Bilinear: a sample reads the two pixels around it."""
    samples = np.arange(200) * scale + shift
    first = 40
    touched = (samples > first - 1) & (samples < first + patch)
    assert touched.sum() <= patch_after_resize(patch, scale)
