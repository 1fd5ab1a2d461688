"""Exact sums of products of whole numbers, made by floating-point matrix products that cannot round.

A float of p bits holds every whole number up to 2^p. Where the sum of all magnitudes stays below, no order of adding
rounds; float32 serves up to 2^24, float64 up to 2^53.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

FLOAT32_WHOLE = 2**24


@dataclass(frozen=True)
class Window:
    """How a window moves over an image.

    Attributes:
        kernel, strides, dilations: height and width.
        pads: top, left, bottom, right.
    """

    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)

    def output_size(self, height: int, width: int, round_up: bool = False) -> tuple[int, int]:
        """Rows and columns of positions; ``round_up`` adds one where the last window hangs over (ceil_mode)."""
        sizes = []
        for axis, size in enumerate((height, width)):
            span = self.dilations[axis] * (self.kernel[axis] - 1) + 1
            room = size + self.pads[axis] + self.pads[axis + 2] - span
            count = room // self.strides[axis] + 1
            # A window that would begin in the padding behind the image does not count.
            more = round_up and room % self.strides[axis] and count * self.strides[axis] < size + self.pads[axis]
            sizes.append(count + bool(more))
        return sizes[0], sizes[1]

    def slices(self, image: Array, fill: Any, round_up: bool = False) -> list[Array]:
        """The image as seen by each element of the window, row by row.

        Args:
            image: (N, C, H, W).
            fill: what stands outside the image.
            round_up: see :meth:`output_size`.

        Returns:
            One (N, C, rows, columns) view per element of the window.
        """
        rows, columns = self.output_size(image.shape[2], image.shape[3], round_up)
        row_span = (rows - 1) * self.strides[0] + 1
        column_span = (columns - 1) * self.strides[1] + 1
        below = max(self.pads[2], row_span + self.dilations[0] * (self.kernel[0] - 1) - image.shape[2] - self.pads[0])
        right = max(
            self.pads[3], column_span + self.dilations[1] * (self.kernel[1] - 1) - image.shape[3] - self.pads[1]
        )
        if any(self.pads) or below or right:
            margins = ((0, 0), (0, 0), (self.pads[0], below), (self.pads[1], right))
            image = np.pad(image, margins, constant_values=fill)
        views = []
        for row in range(self.kernel[0]):
            top = row * self.dilations[0]
            for column in range(self.kernel[1]):
                left = column * self.dilations[1]
                views.append(
                    image[:, :, top : top + row_span : self.strides[0], left : left + column_span : self.strides[1]]
                )
        return views


def convolve(image: Array, weights: Array, window: Window, groups: int) -> Array:
    """Sums of a convolution of whole numbers.

    Args:
        image: (N, C, H, W) whole numbers, zero point already subtracted.
        weights: (O, C / groups, kernel height, kernel width) whole numbers.
        window: where the kernel goes.
        groups: of channels that do not see each other.

    Returns:
        (N, O, rows, columns) int64, exact.
    """
    batch, channels = image.shape[:2]
    outputs = weights.shape[0]
    views = window.slices(image, 0)
    rows, columns = views[0].shape[2:]
    if groups == channels == outputs:
        total = np.zeros((batch, outputs, rows, columns), np.int64)
        for view, factor in zip(views, weights.reshape(outputs, -1).T, strict=True):
            total += view.astype(np.int64) * factor.astype(np.int64)[:, None, None]
        return total
    kind = _exact_kind(image, weights.reshape(outputs, -1))
    matrix = weights.transpose(0, 2, 3, 1).reshape(groups, outputs // groups, -1).astype(kind)
    total = np.empty((batch, outputs, rows, columns), np.int64)
    for index in range(batch):
        patches = np.stack([view[index] for view in views]).astype(kind)
        patches = patches.reshape(len(views), groups, channels // groups, rows * columns).transpose(1, 0, 2, 3)
        product = matrix @ patches.reshape(groups, -1, rows * columns)
        total[index] = product.reshape(outputs, rows, columns)
    return total


def multiply(first: Array, second: Array) -> Array:
    """Matrix product of whole numbers, exact, as int64; shapes as of ``numpy.matmul``."""
    kind = _exact_kind(first, np.swapaxes(second, -1, -2))
    return (first.astype(kind) @ second.astype(kind)).astype(np.int64)


def _exact_kind(values: Array, rows: Array) -> Any:
    """The smaller float that holds every possible sum of products of values with a row."""
    largest = int(np.abs(values).max(initial=0))
    worst = int(np.abs(rows.astype(np.int64)).sum(axis=-1).max(initial=0)) * largest
    return np.float32 if worst < FLOAT32_WHOLE else np.float64
