"""Quantization-aware training inside the user's own loop: what is due at the start of an epoch.

::

    schedule = Schedule(config, epochs)
    for epoch in range(epochs):
        begin_epoch(model, schedule.at(epoch), batches, loss_function)
        ...  # the loop as it was
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn

from l4edge_compression.quantization.assigning import Loss, reassign_rows
from l4edge_compression.quantization.binary import BinaryConfig, raise_density
from l4edge_compression.quantization.config import QuantizationConfig
from l4edge_compression.quantization.placing import activation_quantizers, compression_of, quantized_layers
from l4edge_compression.quantization.rmsmp import RowMixConfig
from l4edge_perception.errors import InputError


@dataclass(frozen=True)
class Due:
    """What an epoch begins with.

    Attributes:
        reassign: give rows their formats anew.
        frozen: rows keep their formats from here on.
        stage: of binary training: 1 full precision, 2 progressively binary, 3 with quantized activations; else 0.
        density: share of binary weights at the epoch's start; 1 where nothing is progressive.
        density_after: the share at its end.
        activations: whether activations are quantized.
    """

    reassign: bool = False
    frozen: bool = True
    stage: int = 0
    density: float = 1.0
    density_after: float = 1.0
    activations: bool = True


@dataclass(frozen=True)
class Schedule:
    """When a method does what, over so many epochs."""

    config: QuantizationConfig
    epochs: int

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise InputError(f"schedule: {self.epochs} epochs; give 1 or more")

    def at(self, epoch: int) -> Due:
        """Return what the epoch of this number, from 0 on, begins with."""
        config = self.config
        if isinstance(config, RowMixConfig):
            frozen = epoch >= round(self.epochs * (1 - config.freeze_last))
            due = epoch % config.reassign_every == 0 and (not frozen or epoch == 0)
            return Due(reassign=due, frozen=frozen)
        if isinstance(config, BinaryConfig):
            return self._binary(config, epoch)
        return Due()

    def _binary(self, config: BinaryConfig, epoch: int) -> Due:
        quantized = config.activation_bits is not None
        if not config.progressive:
            return Due(stage=3, activations=quantized)
        first = round(self.epochs * config.stages[0])
        third = round(self.epochs * (config.stages[0] + config.stages[1]))
        if epoch < first:
            return Due(stage=1, density=0.0, density_after=0.0, activations=False)
        if epoch >= third:
            return Due(stage=3, activations=quantized)
        length = max(third - first, 1)
        return Due(
            stage=2, density=(epoch - first) / length, density_after=(epoch - first + 1) / length, activations=False
        )


def begin_epoch(
    model: nn.Module, due: Due, batches: Iterable[Any] | None = None, loss_function: Loss | None = None
) -> dict[str, int]:
    """Do what is due. In stage 2 of binary training, :func:`set_density` may go on between batches.

    Returns:
        By layer, how many rows changed their format; empty where nothing was reassigned.
    """
    config = compression_of(model).config
    if isinstance(config, BinaryConfig):
        for _, module in quantized_layers(model):
            module.row_quantizer.enabled = due.stage != 1
        set_density(model, due.density)
        for quantizer in activation_quantizers(model):
            if quantizer.observer is None:
                quantizer.state = "quantize" if due.activations else "off"
            else:
                quantizer.state = "observe" if due.activations else "off"
    return reassign_rows(model, batches, loss_function) if due.reassign else {}


def set_density(model: nn.Module, density: float) -> None:
    """Make this share of the weights of every progressively binary layer binary; what is binary stays so."""
    config = compression_of(model).config
    if not isinstance(config, BinaryConfig):
        return
    for number, (_, module) in enumerate(quantized_layers(model)):
        raise_density(module.row_quantizer, module.weight, density, config.order, config.seed + number)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return parameters for an optimizer: decay for weights; none for learned scales, biases and normalizations."""
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            (decayed if parameter.dim() >= 2 else free).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]
