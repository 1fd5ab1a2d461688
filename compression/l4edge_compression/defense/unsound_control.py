"""A certification that is wrong on purpose: what a test of the theorem must be able to catch.

Nothing on the vehicle uses it. It selects the top-k cells on the whole map and hides windows afterwards, so that a
bright patch takes places away from cells outside its own shadow.
"""

from typing import Tuple

import numpy as np

from l4edge_compression.defense.scalecert import ScaleCert
from l4edge_compression.defense.selection import Selector, selector
from l4edge_compression.defense.views import Views


class _SelectedFirst:
    """Keeps what is left of one selection on the whole map."""

    def __init__(self, first: Selector, shape: Tuple[int, ...]) -> None:
        self._kept = first.keep(np.zeros((1, *shape), bool))

    def keep(self, erased: np.ndarray) -> np.ndarray:
        return self._kept & ~erased

    def gap(self, erased: np.ndarray) -> np.ndarray:
        return np.full(len(erased), np.inf)


class NaiveOrder(ScaleCert):
    """UNSOUND: select, then hide. With a threshold rule both orders are the same and nothing is wrong."""

    def _views(self, features: np.ndarray, values: np.ndarray) -> Views:
        first = selector(self.settings.rule, self.settings.keep, values)
        return Views(
            features, channels_last=False, fill=self._fill, select=_SelectedFirst(first, values.shape),
            share=self._skip,
        )
