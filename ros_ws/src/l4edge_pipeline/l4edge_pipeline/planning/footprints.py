"""Rectangles on the ground, as vehicles and other objects cover them."""

import numpy as np


def rectangles_overlap(
    first_centres: np.ndarray,
    first_yaws: np.ndarray,
    first_sizes: np.ndarray,
    second_centres: np.ndarray,
    second_yaws: np.ndarray,
    second_sizes: np.ndarray,
) -> np.ndarray:
    """Whether pairs of oriented rectangles overlap or touch (separating axis theorem).

    All arguments broadcast against each other in their leading axes, written ``...``; a pair with a value that is not
    finite does not overlap.

    Args:
        first_centres, second_centres: (..., 2) metres, in one frame.
        first_yaws, second_yaws: (...) radians, of the length's direction.
        first_sizes, second_sizes: (..., 2) length and width in metres.

    Returns:
        (...) bool.
    """
    away = second_centres - first_centres
    turned = second_yaws - first_yaws
    cosine, sine = np.abs(np.cos(turned)), np.abs(np.sin(turned))
    separated_by_first = _separated(away, first_yaws, first_sizes, second_sizes, cosine, sine)
    separated_by_second = _separated(away, second_yaws, second_sizes, first_sizes, cosine, sine)
    return ~(separated_by_first | separated_by_second)


def _separated(
    away: np.ndarray, yaws: np.ndarray, sizes: np.ndarray, other_sizes: np.ndarray, cosine: np.ndarray, sine: np.ndarray
) -> np.ndarray:
    """Whether one of the two axes of the rectangles with ``yaws`` and ``sizes`` separates them from the others."""
    along = np.abs(away[..., 0] * np.cos(yaws) + away[..., 1] * np.sin(yaws))
    across = np.abs(away[..., 1] * np.cos(yaws) - away[..., 0] * np.sin(yaws))
    length, width = sizes[..., 0] / 2, sizes[..., 1] / 2
    other_length, other_width = other_sizes[..., 0] / 2, other_sizes[..., 1] / 2
    # Negated, so that NaN separates.
    return ~(
        (along <= length + cosine * other_length + sine * other_width)
        & (across <= width + sine * other_length + cosine * other_width)
    )
