"""What is known of all tracks at once."""

import numpy as np

from l4edge_perception.types import MEANINGS, OBJECT_CLASSES

_PARTS = np.cumsum([0, 1, 1, 3, len(OBJECT_CLASSES), len(MEANINGS), 12, 48]).tolist()
"""Where the real numbers of a track begin and end: belief, score, size, votes, meanings, means, covariances."""


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
        means: (4, 3, N) float64 of box and place, see the filter and ``CENTRE``, ``SIZE``, ``GROUND``.
        covariances: (4, 4, 3, N) float64.
        ids: (N,) int64.
        class_ids: (N,) int64, the class most voted for.
        born_ns: (N,) int64, stamp of the first detection.
        seen_ns: (N,) int64, stamp of the last one.
        stamps_ns: (2, N) both.
        published: (N,) bool.
        located: (N,) bool, whether the place on the ground was ever measured.
        held: the three arrays.
    """

    def __init__(self, reals: np.ndarray, integers: np.ndarray, flags: np.ndarray) -> None:
        beliefs, scores, sizes, votes, meanings, means, covariances = (
            reals[begin:end] for begin, end in zip(_PARTS, _PARTS[1:])
        )
        self.beliefs, self.scores = beliefs[0], scores[0]
        self.sizes, self.votes, self.meanings = sizes, votes, meanings
        self.means, self.covariances = means.reshape(4, 3, -1), covariances.reshape(4, 4, 3, -1)
        self.ids, self.class_ids, self.born_ns, self.seen_ns = integers
        self.stamps_ns = integers[2:]
        self.published, self.located = flags
        self.held = reals, integers, flags

    def __len__(self) -> int:
        return len(self.published)

    @staticmethod
    def zeros(count: int) -> "TrackTable":
        """``count`` tracks to be filled in."""
        return TrackTable(np.zeros((_PARTS[-1], count)), np.zeros((4, count), np.int64), np.zeros((2, count), np.bool_))

    def where(self, kept: np.ndarray) -> "TrackTable":
        """A table of its own with the tracks that the mask ``kept`` (N,) names."""
        return TrackTable(*(held.compress(kept, axis=-1) for held in self.held))

    def with_more(self, more: "TrackTable") -> "TrackTable":
        """Both tables, one after the other."""
        return TrackTable(*(np.concatenate(pair, axis=-1) for pair in zip(self.held, more.held)))
