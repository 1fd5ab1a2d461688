"""Half planes of a picture, and where a patch may sit that they erase whole.

A patch position is the top left pixel of a square of p x p pixels that lies inside the picture. A half plane erases
everything on one side of a line; erasing all that lies left of column c erases the patches with x + p <= c. The
positions that no half plane of a given set erases are therefore one rectangle: far enough right for all that erase to
the left, and so on. All counts below are exact counts of whole-pixel positions, without a search.

Classes of positions as ObjectSeeker's certification counts them (Xiang et al., IEEE S&P 2023; its published code):
over (the patch overlaps the object), close (not over, but within a tenth of the picture's size of it), far (all other).
"""

from dataclasses import dataclass
from typing import NamedTuple, Sequence, Tuple

import numpy as np

from l4edge_compression.defense.verdicts import Window
from l4edge_perception.errors import InputError

FAR, CLOSE, OVER = 0, 1, 2
POSITION_CLASSES = ("far", "close", "over")
CLOSE_SHARE = 0.1
"""Of the picture's width and height: how near a patch is that counts as close."""


class HalfPlanes(NamedTuple):
    """M half planes in the order in which they are to be looked at.

    Attributes:
        region: of the picture, pixels.
        windows: (M, 4) int64, what each erases, x_min y_min x_max y_max.
        sides: (M,) int64, 0 erases left of a column, 1 right of it, 2 above a row, 3 below it.
    """

    region: Window
    windows: np.ndarray
    sides: np.ndarray

    def some(self, chosen: np.ndarray) -> "HalfPlanes":
        """Those at ``chosen`` (a mask or integer indices)."""
        return self._replace(windows=self.windows[chosen], sides=self.sides[chosen])


@dataclass(frozen=True)
class PositionShares:
    """At which patch positions something is certified. N things, P patch sizes, 3 classes of positions.

    Attributes:
        patches: P patch sizes, pixels of the network's input, rising.
        shares: (N, P, 3) float32, share of the positions of a class (far, close, over); 1 where it has none.
        certified: (N, P, 3) bool, whether that are all of them, counted, not rounded.
    """

    patches: Tuple[int, ...]
    shares: np.ndarray
    certified: np.ndarray

    def __len__(self) -> int:
        return len(self.shares)

    def largest(self, classes: Sequence[int] = (FAR, CLOSE, OVER)) -> np.ndarray:
        """(N,) int64, the largest patch at which all positions of these classes are certified, 0 for none."""
        passed = np.logical_and.accumulate(self.certified[:, :, list(classes)].all(axis=2), axis=1)
        return np.where(passed, np.array(self.patches), 0).max(axis=1, initial=0)


def half_planes(region: Window, columns: int, rows: int) -> HalfPlanes:
    """Both sides of so many evenly spaced columns and rows, the middle ones first.

    Raises:
        InputError: no line at all, or more lines than pixels.
    """
    x_min, y_min, x_max, y_max = region
    if columns < 0 or rows < 0 or columns + rows == 0 or columns >= x_max - x_min or rows >= y_max - y_min:
        raise InputError(
            f"{columns} columns and {rows} rows: must be at least one line, and fewer than the {x_max - x_min} x "
            f"{y_max - y_min} pixels of the picture"
        )
    windows = []
    for column in _middle_first(even_lines(x_min, x_max, columns)):
        windows += [(0, (x_min, y_min, column, y_max)), (1, (column, y_min, x_max, y_max))]
    for row in _middle_first(even_lines(y_min, y_max, rows)):
        windows += [(2, (x_min, y_min, x_max, row)), (3, (x_min, row, x_max, y_max))]
    return HalfPlanes(
        region, np.array([window for _, window in windows], np.int64), np.array([side for side, _ in windows], np.int64)
    )


def even_lines(start: int, end: int, count: int) -> Tuple[int, ...]:
    """So many whole numbers that divide start..end evenly."""
    return tuple(start + round((end - start) * (index + 1) / (count + 1)) for index in range(count))


def uncovered(planes: HalfPlanes, good: np.ndarray, patch: int) -> np.ndarray:
    """Patch positions that no good half plane erases.

    Args:
        planes: M half planes.
        good: (N, M) bool, those that count for each of N things.
        patch: pixels.

    Returns:
        (N, 4) int64 positions x_min y_min x_max y_max, the ends outside; empty where an end is not above its start.
    """
    x_min, y_min, x_max, y_max = planes.region
    left = _reach(planes, good, 0, 2, -1)
    right = _reach(planes, good, 1, 0, 1)
    above = _reach(planes, good, 2, 3, -1)
    below = _reach(planes, good, 3, 1, 1)
    return np.stack(
        [
            np.maximum(left - patch + 1, x_min),
            np.maximum(above - patch + 1, y_min),
            np.minimum(right, x_max - patch + 1),
            np.minimum(below, y_max - patch + 1),
        ],
        axis=1,
    )


def position_shares(planes: HalfPlanes, good: np.ndarray, boxes: np.ndarray, patches: Sequence[int]) -> PositionShares:
    """At which positions of each class, around each of N boxes, some good half plane erases the patch.

    Args:
        planes: M half planes, those that were looked at.
        good: (N, M) bool, those under which the thing at a box is guaranteed.
        boxes: (N, 4), pixels of the network's input.
        patches: sizes, pixels of the network's input, rising.

    Raises:
        InputError: a patch does not fit into the picture, or the sizes do not rise.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    margin = np.array([planes.region[2] - planes.region[0], planes.region[3] - planes.region[1]]) * CLOSE_SHARE
    near = boxes + np.concatenate([-margin, margin])
    shares = np.empty((len(boxes), len(patches), 3), np.float32)
    certified = np.empty((len(boxes), len(patches), 3), bool)
    for index, patch in enumerate(check_patches(patches, planes.region)):
        open_ones = uncovered(planes, good, patch)
        every = all_positions(planes.region, patch)
        missing = _by_class(open_ones, _touching(boxes, patch), _touching(near, patch))
        whole = _by_class(np.broadcast_to(every, (len(boxes), 4)), _touching(boxes, patch), _touching(near, patch))
        certified[:, index] = missing == 0
        shares[:, index] = 1.0 - missing / np.maximum(whole, 1)
    return PositionShares(tuple(patches), shares, certified)


def finished_share(planes: HalfPlanes, done: np.ndarray, patch: int) -> float:
    """Share of the patch positions whose half planes have all been looked at: what is said of them is final.

    Args:
        planes: all M half planes.
        done: (M,) bool.
        patch: pixels.
    """
    left = uncovered(planes, ~np.asarray(done, bool)[None], patch)
    return float(_count(left)[0] / _count(all_positions(planes.region, patch)[None])[0])


def all_positions(region: Window, patch: int) -> np.ndarray:
    """(4,) int64: where the top left pixel of a patch may be, the ends outside."""
    x_min, y_min, x_max, y_max = region
    return np.array([x_min, y_min, x_max - patch + 1, y_max - patch + 1], np.int64)


def check_patches(patches: Sequence[int], region: Window) -> Tuple[int, ...]:
    """The sizes, if each fits into the region and they rise. Raises InputError otherwise."""
    room = min(region[2] - region[0], region[3] - region[1])
    sizes = tuple(patches)
    if not sizes or sizes[0] < 1 or sizes[-1] > room or list(sizes) != sorted(set(sizes)):
        raise InputError(f"patches {sizes}: must be rising numbers of pixels from 1 to {room}, the picture's height")
    return sizes


def _middle_first(lines: Sequence[int]) -> Tuple[int, ...]:
    middle = (len(lines) - 1) / 2
    return tuple(lines[index] for index in sorted(range(len(lines)), key=lambda index: (abs(index - middle), index)))


def _reach(planes: HalfPlanes, good: np.ndarray, side: int, end: int, sign: int) -> np.ndarray:
    """(N,) how far the good half planes of one side reach; where there is none, so that nothing is erased."""
    chosen = planes.sides == side
    lines = planes.windows[chosen, end]
    nothing = planes.region[(end + 2) % 4]
    reached = np.where(good[:, chosen], lines, nothing)
    return reached.max(axis=1, initial=nothing) if sign < 0 else reached.min(axis=1, initial=nothing)


def _touching(boxes: np.ndarray, patch: int) -> np.ndarray:
    """(N, 4) int64 positions at which a patch overlaps each box, the ends outside."""
    starts = np.floor(boxes[:, :2] - patch) + 1
    return np.concatenate([starts, np.ceil(boxes[:, 2:])], axis=1).astype(np.int64)


def _by_class(positions: np.ndarray, over: np.ndarray, near: np.ndarray) -> np.ndarray:
    """(N, 3) how many of the positions are far, close, over."""
    touching = _count(_common(positions, over))
    around = _count(_common(positions, near))
    return np.stack([_count(positions) - around, around - touching, touching], axis=1)


def _common(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.concatenate([np.maximum(first[:, :2], second[:, :2]), np.minimum(first[:, 2:], second[:, 2:])], axis=1)


def _count(positions: np.ndarray) -> np.ndarray:
    return np.maximum(positions[:, 2:] - positions[:, :2], 0).prod(axis=1)
