"""Covering sets: few windows such that a patch lies wholly in at least one of them, wherever it is.

The rule per axis is that of PatchCleanser (Xiang et al. 2022, USENIX Security, arXiv 2108.09135, section 3): for n
places, a patch of w and a budget of m windows the stride is t = ceil((n - w + 1) / m) and a window has w + t - 1
places. Windows on feature maps use the same rule on the patch's shadow, the cells whose receptive field meets it.
"""

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Callable, Optional, Tuple

import numpy as np

from l4edge_compression.defense.verdicts import Window
from l4edge_perception.errors import InputError

Pair = Tuple[int, int]
"""A number per axis, y first."""


def axis_windows(length: int, patch: int, count: int) -> np.ndarray:
    """(N, 2) int64 [start, end) of at most ``count`` windows on one axis.

    Every run of ``patch`` places out of ``length`` lies in one of them.

    Raises:
        InputError: a number below 1, or a patch longer than the axis.
    """
    if min(length, patch, count) < 1 or patch > length:
        raise InputError(
            f"windows: a patch of {patch} on an axis of {length} in {count} windows: all must be at least 1 and the "
            "patch no longer than the axis"
        )
    stride = math.ceil((length - patch + 1) / count)
    window = patch + stride - 1
    starts = np.arange(0, length - patch + 1, stride, dtype=np.int64)
    starts = np.minimum(starts, length - window)
    return np.stack([starts, starts + window], axis=1)


def shadow(patch: int, receptive_field: int, stride: int) -> int:
    """Most cells of one axis that a patch can touch: ceil((patch + receptive_field - 1) / stride).

    The formula of PatchGuard (Xiang et al. 2021, USENIX Security).
    """
    return -(-(patch + receptive_field - 1) // stride)


def axis_shadows(length: int, patch: int, receptive_field: int, stride: int, offset: int, cells: int) -> np.ndarray:
    """(length - patch + 1, 2) int64: for each patch position the cells [first, end) whose receptive field meets it.

    Args:
        length: of the axis in pixels.
        patch: in pixels.
        receptive_field: pixels that a cell sees.
        stride: pixels between neighbouring cells.
        offset: pixel where the first cell's receptive field begins, negative with padding.
        cells: of the axis.
    """
    start = np.arange(length - patch + 1, dtype=np.int64)
    first = -((receptive_field - 1 + offset - start) // stride)
    last = (start + patch - 1 - offset) // stride
    first = np.clip(first, 0, cells)
    return np.stack([first, np.clip(last + 1, first, cells)], axis=1)


@dataclass(frozen=True)
class CoveringSet:
    """Windows on a tensor's two spatial axes that cover every position of a patch on the input.

    Attributes:
        size: of the input, (H, W) in pixels.
        patch: largest patch, (h, w) in pixels.
        counts: budget of windows per axis.
        cells: sizes of the tensor that the windows lie on: the input itself, or a feature map.
        windows: (N, 4) int32 y0, x0, y1, x1 in cells, the upper ends outside, row by row.
        shadows_y, shadows_x: (positions, 2) int64 for each patch position of an axis the cells [first, end) it touches.
    """

    size: Pair
    patch: Pair
    counts: Pair
    cells: Pair
    windows: np.ndarray = field(repr=False)
    shadows_y: np.ndarray = field(repr=False)
    shadows_x: np.ndarray = field(repr=False)

    def __len__(self) -> int:
        return len(self.windows)

    @cached_property
    def inside_y(self) -> np.ndarray:
        """(N, positions) bool: does the window hold the whole shadow of this position, on the y axis."""
        return _inside(self.windows[:, [0, 2]], self.shadows_y)

    @cached_property
    def inside_x(self) -> np.ndarray:
        """The same on the x axis."""
        return _inside(self.windows[:, [1, 3]], self.shadows_x)

    def positions(self, done: np.ndarray) -> np.ndarray:
        """(H - h + 1, W - w + 1) bool: patch positions that lie in one of the windows in ``done``, (N,) bool."""
        done = np.asarray(done, bool)
        inside_y, inside_x = self.inside_y[done].astype(np.float32), self.inside_x[done].astype(np.float32)
        return inside_y.T @ inside_x > 0.5

    def covered(self, done: np.ndarray) -> float:
        """Share of all patch positions that lie in one of the windows in ``done``, (N,) bool."""
        return float(self.positions(done).mean())

    def erased(self) -> np.ndarray:
        """(N, cells y, cells x) bool: the cells of each window."""
        y, x = np.arange(self.cells[0]), np.arange(self.cells[1])
        rows = (y >= self.windows[:, :1]) & (y < self.windows[:, 2:3])
        columns = (x >= self.windows[:, 1:2]) & (x < self.windows[:, 3:])
        return rows[:, :, None] & columns[:, None, :]

    def pixels(self, index: int) -> Window:
        """The input pixels of all patches that window ``index`` hides."""
        y = np.flatnonzero(self.inside_y[index])
        x = np.flatnonzero(self.inside_x[index])
        if not len(y) or not len(x):
            return (0, 0, 0, 0)
        return (int(x[0]), int(y[0]), int(x[-1]) + self.patch[1], int(y[-1]) + self.patch[0])


def pixel_windows(size: Pair, patch: Pair, counts: Pair) -> CoveringSet:
    """Windows on the input itself. Raises InputError for sizes below 1 or a patch that is larger than the input."""
    return feature_windows(size, patch, counts, (1, 1), (1, 1), (0, 0), size)


def feature_windows(
    size: Pair, patch: Pair, counts: Pair, receptive_field: Pair, stride: Pair, offset: Pair, cells: Pair
) -> CoveringSet:
    """Windows on a feature map; see :func:`axis_shadows` for the arguments, each a pair (y, x).

    Raises:
        InputError: sizes below 1, a patch larger than the input, or one whose shadow is larger than the map.
    """
    axes, shadows = [], []
    for axis, name in enumerate("yx"):
        if min(size[axis], patch[axis], counts[axis], receptive_field[axis], stride[axis], cells[axis]) < 1:
            raise InputError(f"windows: axis {name}: sizes, counts, receptive field and stride must be at least 1")
        if patch[axis] > size[axis]:
            raise InputError(f"windows: axis {name}: a patch of {patch[axis]} is larger than the input, {size[axis]}")
        touched = shadow(patch[axis], receptive_field[axis], stride[axis])
        if touched > cells[axis]:
            raise InputError(
                f"windows: axis {name}: a patch of {patch[axis]} pixels shadows {touched} cells, the map has "
                f"{cells[axis]}; take a smaller patch or an earlier layer"
            )
        axes.append(axis_windows(cells[axis], touched, counts[axis]))
        shadows.append(
            axis_shadows(size[axis], patch[axis], receptive_field[axis], stride[axis], offset[axis], cells[axis])
        )
    y, x = axes
    windows = np.concatenate([np.repeat(y, len(x), axis=0), np.tile(x, (len(y), 1))], axis=1)[:, [0, 2, 1, 3]]
    return CoveringSet(
        size=(size[0], size[1]), patch=(patch[0], patch[1]), counts=(counts[0], counts[1]),
        cells=(cells[0], cells[1]), windows=windows.astype(np.int32), shadows_y=shadows[0], shadows_x=shadows[1],
    )


def patch_after_resize(patch: float, scale: float, support: float = 1.0) -> int:
    """Most target pixels of one axis that a patch can touch after resizing.

    Args:
        patch: in source pixels.
        scale: source pixels per target pixel.
        support: source pixels beyond which a source pixel has no influence on a sample: 1 for bilinear sampling,
            0 for nearest, ``scale`` or more where the resize smooths first.

    The samples lie ``scale`` apart; those within an open interval of patch - 1 + 2 * support (at least patch) source
    pixels are touched. A sixteenth of a pixel is added for OpenCV's coordinates, which it rounds to 1/32.
    """
    reach = max(patch - 1.0 + 2.0 * support, patch) + 1.0 / 16.0
    return math.ceil(reach / scale)


def _inside(windows: np.ndarray, shadows: np.ndarray) -> np.ndarray:
    return (windows[:, :1] <= shadows[None, :, 0]) & (shadows[None, :, 1] <= windows[:, 1:])


@dataclass(frozen=True)
class CoveringCheck:
    """Outcome of :func:`check_settings`.

    Attributes:
        settings: random (size, patch, grid) settings that were tried.
        violations: settings with a patch position that no window covers, or a window outside the map.
        example: the first such setting in words, or None.
    """

    settings: int
    violations: int
    example: Optional[str]


def check_settings(
    count: int, seed: int, rule: Callable[[int, int, int], np.ndarray] = axis_windows
) -> CoveringCheck:
    """Try random settings of size, patch and grid by brute force: is every position covered, on both axes?

    Each setting draws rectangular sizes, patches and grids, and for every second one a stem (receptive field, stride,
    padding). Which cells a patch touches is found by asking every cell, not by the formula under test.

    Args:
        count: of settings.
        seed: of the draws.
        rule: the rule under test; another one shows that the check can fail.
    """
    random = np.random.default_rng(seed)
    violations, example = 0, None
    for index in range(count):
        words = [_try_axis(random, index % 2 == 1, rule) for _ in range(2)]
        wrong = [word for word in words if word is not None]
        violations += bool(wrong)
        example = example or (wrong[0] if wrong else None)
    return CoveringCheck(count, violations, example)


def _try_axis(
    random: np.random.Generator, with_stem: bool, rule: Callable[[int, int, int], np.ndarray]
) -> Optional[str]:
    """None, or what is wrong with one random axis."""
    length = int(random.integers(8, 161))
    receptive_field, stride, padding = 1, 1, 0
    if with_stem:
        receptive_field, stride = int(random.integers(1, 20)), int(random.integers(1, 5))
        padding = int(random.integers(0, receptive_field))
    cells = (length + 2 * padding - receptive_field) // stride + 1
    largest = min(length, cells * stride - receptive_field + 1)
    if cells < 1 or largest < 1:
        return None
    patch = int(random.integers(1, largest + 1))
    budget = int(random.integers(1, 13))
    windows = rule(cells, shadow(patch, receptive_field, stride), budget)
    begin = np.arange(cells) * stride - padding
    start = np.arange(length - patch + 1)[:, None]
    touched = (begin <= start + patch - 1) & (begin + receptive_field - 1 >= start)
    first = touched.argmax(axis=1)[:, None]
    end = cells - touched[:, ::-1].argmax(axis=1)[:, None]
    held = np.any((windows[:, 0] <= first) & (end <= windows[:, 1]), axis=1) | ~touched.any(axis=1)
    inside = windows.min() >= 0 and windows.max() <= cells and len(windows) <= budget
    if held.all() and inside:
        return None
    return (
        f"length {length}, patch {patch}, receptive field {receptive_field}, stride {stride}, padding {padding}, "
        f"budget {budget}"
    )
