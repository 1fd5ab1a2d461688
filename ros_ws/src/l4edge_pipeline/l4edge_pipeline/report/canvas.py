"""Text, tags and dashes on RGB pixels."""

import colorsys
from typing import List, Sequence, Tuple

import cv2
import numpy as np

Colour = Tuple[int, int, int]
Point = Tuple[int, int]
Rectangle = Tuple[int, int, int, int]  # x_min y_min x_max y_max

FONT = cv2.FONT_HERSHEY_SIMPLEX
DARK = (16, 18, 22)


def colour_of(identity: int) -> Colour:
    """A bright colour that neighbouring identities do not share (golden-angle steps of the hue)."""
    red, green, blue = colorsys.hsv_to_rgb(identity * 0.61803398875 % 1.0, 0.55, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def text(pixels: np.ndarray, words: str, at: Point, colour: Colour, size: float = 0.46) -> int:
    """Write one line whose baseline starts ``at``. Returns the x at which it ends. OpenCV's font has ASCII only."""
    words = words.encode("ascii", "replace").decode()
    cv2.putText(pixels, words, at, FONT, size, colour, 1, cv2.LINE_AA)
    return at[0] + cv2.getTextSize(words, FONT, size, 1)[0][0]


def dashed_rectangle(pixels: np.ndarray, corners: Tuple[Point, Point], colour: Colour, dash: int = 5) -> None:
    """A one pixel wide dashed outline."""
    (left, top), (right, bottom) = corners
    height, width = pixels.shape[:2]
    for start in range(max(left, -dash), min(right, width), 2 * dash):
        for y in (top, bottom):
            cv2.line(pixels, (start, y), (min(start + dash, right), y), colour, 1)
    for start in range(max(top, -dash), min(bottom, height), 2 * dash):
        for x in (left, right):
            cv2.line(pixels, (x, start), (x, min(start + dash, bottom)), colour, 1)


def tag(
    pixels: np.ndarray, words: str, corners: Tuple[Point, Point], colour: Colour, taken: Sequence[Rectangle]
) -> Rectangle:
    """Write a label next to a box where it covers no box and no earlier label, if there is such a place.

    Args:
        pixels: to write on.
        words: of the label.
        corners: of the box that it names.
        colour: of its background.
        taken: boxes, and where earlier labels stand.

    Returns:
        Where this one stands.
    """
    size = 0.42
    (width, height), below = cv2.getTextSize(words, FONT, size, 1)
    width, height = width + 6, height + below + 3
    place = _free_place(corners, (width, height), taken, pixels.shape[:2])
    cv2.rectangle(pixels, place[:2], place[2:], colour, cv2.FILLED)
    text(pixels, words, (place[0] + 3, place[3] - below), DARK, size)
    _lead(pixels, place, corners, colour)
    return place


def _free_place(
    corners: Tuple[Point, Point], extent: Point, taken: Sequence[Rectangle], shape: Tuple[int, int]
) -> Rectangle:
    (left, top), (right, bottom) = corners
    width, height = extent
    starts: List[Point] = [(left, top - height), (left, bottom), (right, top), (left - width, top)]
    # Further and further above, where the sky is.
    starts += [(left, top - height - step * (height + 2)) for step in range(1, 8)]
    places = [_inside((x, y, x + width, y + height), shape) for x, y in starts]
    for place in places:
        if not any(_overlap(place, other) for other in taken):
            return place
    return places[0]


def _inside(place: Rectangle, shape: Tuple[int, int]) -> Rectangle:
    left, top, right, bottom = place
    across = max(0, -left) - max(0, right - shape[1])
    down = max(0, -top) - max(0, bottom - shape[0])
    return left + across, top + down, right + across, bottom + down


def _overlap(first: Rectangle, second: Rectangle) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]


def _lead(pixels: np.ndarray, place: Rectangle, corners: Tuple[Point, Point], colour: Colour) -> None:
    """A line from a label that had to move away to its box."""
    (left, top), _ = corners
    if top - place[3] > 2:
        cv2.line(pixels, (place[0] + 2, place[3]), (left + 2, top), colour, 1, cv2.LINE_AA)
