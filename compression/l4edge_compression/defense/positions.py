"""What of a picture is erased, and where a patch may sit so that it is erased whole.

A patch position is the top left pixel of a square of p x p pixels that lies inside the picture. A mask erases one
window. Two kinds: half planes (everything on one side of a line: they erase patches of any size, and with them much
else) and the windows of a covering set (:mod:`.windows`: made for one size of patch, they leave most of the picture).
All counts of positions below are exact, without going through them one by one: along each axis only the places matter
where some window begins or stops to hold the patch.

Classes of positions as ObjectSeeker's certification counts them (Xiang et al., IEEE S&P 2023; its published code):
over (the patch overlaps the object), close (not over, but within a tenth of the picture's size of it), far (all other).
"""

from dataclasses import dataclass
from typing import Any, List, NamedTuple, Sequence, Tuple

import numpy as np

from l4edge_compression.defense.verdicts import Window
from l4edge_compression.defense.windows import axis_windows
from l4edge_perception.errors import InputError

FAR, CLOSE, OVER = 0, 1, 2
POSITION_CLASSES = ("far", "close", "over")
CLOSE_SHARE = 0.1
"""Of the picture's width and height: how near a patch is that counts as close."""


class Masks(NamedTuple):
    """M masks in the order in which they are to be looked at.

    Attributes:
        region: of the picture, pixels.
        windows: (M, 4) int64, what each erases, x_min y_min x_max y_max.
    """

    region: Window
    windows: np.ndarray

    def some(self, chosen: np.ndarray) -> "Masks":
        """Those at ``chosen`` (a mask or integer indices)."""
        return self._replace(windows=self.windows[chosen])


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


def half_planes(region: Window, columns: int, rows: int) -> Masks:
    """Both sides of so many evenly spaced columns and rows, the middle ones first.

    Raises:
        InputError: more lines than pixels.
    """
    x_min, y_min, x_max, y_max = region
    if not (0 <= columns < x_max - x_min and 0 <= rows < y_max - y_min):
        raise InputError(
            f"{columns} columns and {rows} rows: must be at least 0 and fewer than the pixels of the picture, "
            f"{x_max - x_min} x {y_max - y_min}"
        )
    windows = []
    for column in _middle_first(even_lines(x_min, x_max, columns)):
        windows += [(x_min, y_min, column, y_max), (column, y_min, x_max, y_max)]
    for row in _middle_first(even_lines(y_min, y_max, rows)):
        windows += [(x_min, y_min, x_max, row), (x_min, row, x_max, y_max)]
    return Masks(region, np.array(windows, np.int64).reshape(-1, 4))


def even_lines(start: int, end: int, count: int) -> Tuple[int, ...]:
    """So many whole numbers that divide start..end evenly."""
    return tuple(start + round((end - start) * (index + 1) / (count + 1)) for index in range(count))


def covering_windows(region: Window, patch: int, columns: int, rows: int) -> Masks:
    """Windows such that a patch of that size lies wholly in one of them, wherever it is; none for 0 columns or rows.

    Raises:
        InputError: the patch does not fit.
    """
    x_min, y_min, x_max, y_max = region
    if columns == 0 or rows == 0:
        return Masks(region, np.zeros((0, 4), np.int64))
    across = axis_windows(x_max - x_min, patch, columns) + x_min
    down = axis_windows(y_max - y_min, patch, rows) + y_min
    windows = [(x[0], y[0], x[1], y[1]) for y in _middle_first(down.tolist()) for x in _middle_first(across.tolist())]
    return Masks(region, np.array(windows, np.int64))


def position_shares(masks: Masks, good: np.ndarray, boxes: np.ndarray, patches: Sequence[int]) -> PositionShares:
    """At which positions of each class, around each of N boxes, some good mask erases the patch.

    Args:
        masks: M masks, those that were looked at.
        good: (N, M) bool, those under which the thing at a box is guaranteed.
        boxes: (N, 4), pixels of the network's input.
        patches: sizes, pixels of the network's input, rising.

    Raises:
        InputError: a patch does not fit into the picture, or the sizes do not rise.
    """
    safe = []
    for patch in check_patches(patches, masks.region):
        places, erased = erased_places(masks, patch)
        safe.append((patch, places, good.astype(np.float32) @ erased.astype(np.float32) > 0.5))
    return shares_of(safe, boxes, masks.region)


def shares_of(
    safe: Sequence[Tuple[int, np.ndarray, np.ndarray]], boxes: np.ndarray, region: Window
) -> PositionShares:
    """Counts of the safe positions of each class.

    Args:
        safe: for each patch, rising: its size, (E, 4) rectangles that make up all its positions, and (N, E) bool, in
            which of them each of N things is safe.
        boxes: (N, 4) around the things, pixels of the network's input.
        region: of the picture.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    margin = np.array([region[2] - region[0], region[3] - region[1]]) * CLOSE_SHARE
    near = boxes + np.concatenate([-margin, margin])
    shares = np.empty((len(boxes), len(safe), 3), np.float32)
    certified = np.empty((len(boxes), len(safe), 3), bool)
    for index, (patch, places, inside) in enumerate(safe):
        counts = _by_class(places, _touching(boxes, patch), _touching(near, patch))
        missing = (counts * ~inside[:, :, None]).sum(axis=1)
        certified[:, index] = missing == 0
        shares[:, index] = 1.0 - missing / np.maximum(counts.sum(axis=1), 1)
    return PositionShares(tuple(patch for patch, _, _ in safe), shares, certified)


def finished_share(masks: Masks, done: np.ndarray, patch: int) -> float:
    """Share of the patch positions whose masks have all been looked at: what is said of them is final.

    Args:
        masks: all M masks.
        done: (M,) bool.
        patch: pixels.
    """
    places, erased = erased_places(masks, patch)
    counts = _count(places)
    return float(counts[~erased[~np.asarray(done, bool)].any(axis=0)].sum() / counts.sum())


def erased_places(masks: Masks, patch: int) -> Tuple[np.ndarray, np.ndarray]:
    """All positions of a patch, cut into rectangles inside which every mask erases the patch everywhere or nowhere.

    Returns:
        (E, 4) int64 rectangles x_min y_min x_max y_max of positions, the ends outside; (M, E) bool, which masks erase.
    """
    x_min, y_min, x_max, y_max = masks.region
    across, in_columns = _axis_places(masks.windows[:, [0, 2]], (x_min, x_max), patch)
    down, in_rows = _axis_places(masks.windows[:, [1, 3]], (y_min, y_max), patch)
    places = np.empty((len(down), len(across), 4), np.int64)
    places[:, :, 0], places[:, :, 2] = across[None, :, 0], across[None, :, 1]
    places[:, :, 1], places[:, :, 3] = down[:, None, 0], down[:, None, 1]
    erased = in_rows[:, :, None] & in_columns[:, None, :]
    return places.reshape(-1, 4), erased.reshape(len(masks.windows), len(places.reshape(-1, 4)))


def check_patches(patches: Sequence[int], region: Window) -> Tuple[int, ...]:
    """The sizes, if each fits into the region and they rise. Raises InputError otherwise."""
    room = min(region[2] - region[0], region[3] - region[1])
    sizes = tuple(patches)
    if not sizes or sizes[0] < 1 or sizes[-1] > room or list(sizes) != sorted(set(sizes)):
        raise InputError(f"patches {sizes}: must be rising numbers of pixels from 1 to {room}, the picture's height")
    return sizes


def _axis_places(windows: np.ndarray, ends: Tuple[int, int], patch: int) -> Tuple[np.ndarray, np.ndarray]:
    """(K, 2) runs of positions on one axis, and (M, K) bool: in which each window [start, end) holds the patch."""
    start, end = ends[0], ends[1] - patch + 1
    cuts = np.unique(np.clip(np.concatenate([[start, end], windows[:, 0], windows[:, 1] - patch + 1]), start, end))
    runs = np.stack([cuts[:-1], cuts[1:]], axis=1)
    inside = (windows[:, :1] <= runs[None, :, 0]) & (runs[None, :, 1] <= windows[:, 1:] - patch + 1)
    return runs, inside


def _middle_first(places: Sequence[Any]) -> List[Any]:
    middle = (len(places) - 1) / 2
    return [places[index] for index in sorted(range(len(places)), key=lambda index: (abs(index - middle), index))]


def _touching(boxes: np.ndarray, patch: int) -> np.ndarray:
    """(N, 1, 4) int64 positions at which a patch overlaps each box, the ends outside."""
    starts = np.floor(boxes[:, :2] - patch) + 1
    return np.concatenate([starts, np.ceil(boxes[:, 2:])], axis=1).astype(np.int64)[:, None]


def _by_class(places: np.ndarray, over: np.ndarray, near: np.ndarray) -> np.ndarray:
    """(N, E, 3) how many positions of each rectangle are far, close, over."""
    touching = _count(_common(places, over))
    around = _count(_common(places, near))
    return np.stack([_count(places) - around, around - touching, touching], axis=2)


def _common(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.concatenate(
        [np.maximum(first[..., :2], second[..., :2]), np.minimum(first[..., 2:], second[..., 2:])], axis=-1
    )


def _count(positions: np.ndarray) -> np.ndarray:
    return np.maximum(positions[..., 2:] - positions[..., :2], 0).prod(axis=-1)
