"""What is known of all tracks at once."""

from typing import Tuple

import numpy as np

from l4edge_perception.types import MEANINGS, OBJECT_CLASSES

_VOTES = 5
_MEANINGS = _VOTES + len(OBJECT_CLASSES)
COMMON = _MEANINGS + len(MEANINGS)
"""How many numbers tracks and observations have in common, see :func:`divided`."""

_NUMBERS = COMMON + 60


def divided(numbers: np.ndarray) -> Tuple[np.ndarray, ...]:
    """Views of the numbers that tracks and observations have in common, and of what follows.

    They are belief (N,), score (N,), sizes (3, N), votes (classes, N), meanings (meanings, N), the rest (..., N).
    """
    return (
        numbers[0],
        numbers[1],
        numbers[2:_VOTES],
        numbers[_VOTES:_MEANINGS],
        numbers[_MEANINGS:COMMON],
        numbers[COMMON:],
    )


class TrackTable:
    """N tracks, oldest first, along the last axis of every array.

    Three arrays, one for each kind of number, hold everything, so that tracks are added and left out in one step. The
    attributes are views of them: write into them, never in their place.

    Attributes:
        beliefs: (N,) float64, log odds that the object exists.
        scores: (N,) float64, of the last matched detection.
        sizes: (3, N) float64, length width height in metres, NaN where unknown.
        votes: (classes, N) float64, sum of the scores of its detections, by class.
        meanings: (meanings, N) float64, evidence, see meanings.py.
        state: (4, 5, 3, N) float64 of box and place, see the filter and ``CENTRE``, ``SIZE``, ``GROUND``.
        ids: (N,) int64.
        class_ids: (N,) int64, the class most voted for.
        born_ns: (N,) int64, stamp of the first detection.
        seen_ns: (N,) int64, stamp of the last one.
        stamps_ns: (2, N) both.
        published: (N,) bool.
        located: (N,) bool, whether the place on the ground was ever measured.
        numbers, integers, flags: the three arrays: reals in the order above, then integers, then bool.
    """

    def __init__(self, numbers: np.ndarray, integers: np.ndarray, flags: np.ndarray) -> None:
        self.numbers, self.integers, self.flags = numbers, integers, flags
        self.beliefs, self.scores, self.sizes, self.votes, self.meanings, state = divided(numbers)
        self.state = state.reshape(4, 5, 3, -1)
        self.ids, self.class_ids, self.born_ns, self.seen_ns = integers
        self.stamps_ns = integers[2:]
        self.published, self.located = flags

    def __len__(self) -> int:
        return len(self.published)

    @staticmethod
    def zeros(count: int) -> "TrackTable":
        """``count`` tracks to be filled in."""
        return TrackTable(np.zeros((_NUMBERS, count)), np.zeros((4, count), np.int64), np.zeros((2, count), np.bool_))

    def where(self, kept: np.ndarray) -> "TrackTable":
        """A table of its own with the tracks that the mask ``kept`` (N,) names."""
        return TrackTable(
            self.numbers.compress(kept, axis=1), self.integers.compress(kept, axis=1), self.flags.compress(kept, axis=1)
        )

    def with_more(self, more: "TrackTable") -> "TrackTable":
        """Both tables, one after the other."""
        return TrackTable(
            np.concatenate((self.numbers, more.numbers), axis=1),
            np.concatenate((self.integers, more.integers), axis=1),
            np.concatenate((self.flags, more.flags), axis=1),
        )
