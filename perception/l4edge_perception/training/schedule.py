"""What trainings share: how far they are, their learning rate, what decays, the average that follows their weights."""

import math
from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

LEAST_RATE = 0.01
"""Share of the highest learning rate that a training ends with."""


class Rates(Protocol):
    """Of a training's settings, what its learning rate depends on."""

    @property
    def learning_rate(self) -> float:
        """Highest, reached after the warm-up."""

    @property
    def warm_up_steps(self) -> int:
        """Steps of linear rise."""


def progress_of(step: int, steps: int, elapsed_s: float, time_limit_s: float) -> float:
    """How much of a training is over: 0 at the start, 1 when steps or time are used up.

    Args:
        step: steps done. steps: of the whole training.
        elapsed_s: time used. time_limit_s: of the whole training, or 0 for none.
    """
    by_time = elapsed_s / time_limit_s if time_limit_s else 0.0
    return min(max(step / steps, by_time), 1.0)


def falling(progress: float, least: float = 0.0) -> float:
    """Half a cosine from 1 at progress 0 down to ``least`` at progress 1."""
    return least + (1 - least) * (1 + math.cos(math.pi * progress)) / 2


def learning_rate(config: Rates, step: int, progress: float) -> float:
    """Linear warm-up, then half a cosine down to one hundredth."""
    warm = min(1.0, (step + 1) / config.warm_up_steps)
    return config.learning_rate * warm * falling(progress, LEAST_RATE)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """One learning rate for all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def decay_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameters for an optimizer: first what decays, then biases, normalizations and learned tokens, which do not."""
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for name, weight in network.named_parameters():
        (decayed if weight.ndim > 1 and "_token" not in name else kept).append(weight)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]


def follow(means: Iterable[Tensor], values: Iterable[Tensor], average_decay: float, step: int) -> None:
    """Move averages towards the present values, in place; what is not of floating point is copied.

    Args:
        means: of an averaged network, in the order of ``values``.
        values: of the network that learns.
        average_decay: share of the old average that is kept, at the most.
        step: steps done. The average follows quickly at first, or the random start would stay in it for thousands.
    """
    decay = min(average_decay, (1 + step) / (10 + step))
    with torch.no_grad():
        for mean, value in zip(means, values, strict=True):
            if mean.dtype.is_floating_point:
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)
