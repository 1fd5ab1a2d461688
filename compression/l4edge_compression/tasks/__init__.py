"""What a network is for: where its pictures come from, and how good a level of its package is.

A task gives batches for calibration, judges packages as the vehicle would run them (onnxruntime), and describes the
package that its network becomes.
"""

from collections.abc import Iterator, Mapping
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import nn

from l4edge_perception.packages import ModelPackage

Item = TypeVar("Item")


class Task(Protocol):
    """What ``l4edge compress`` and the studies need to know of a network's purpose."""

    @property
    def network(self) -> nn.Module:
        """The float network, in evaluation mode."""

    @property
    def judged_on(self) -> str:
        """In words, the pictures that :meth:`metrics` looks at."""

    def batches(self, count: int) -> Iterator[torch.Tensor]:
        """Input batches from ``count`` unlabelled training pictures."""

    def description(self) -> ModelPackage:
        """The package of the float network, its levels included, before anything is written."""

    def float_graphs(self) -> Mapping[str, bytes]:
        """The graphs of the levels that :meth:`description` names."""

    def metrics(self, package: ModelPackage, level: str) -> dict[str, float]:
        """How good one level is on the pictures held back."""


def evenly(items: list[Item], count: int) -> list[Item]:
    """``count`` of ``items``, spread evenly over all of them; all for 0."""
    if not 0 < count < len(items):
        return items
    return [items[index] for index in np.linspace(0, len(items) - 1, count).round().astype(int)]
