"""Post-training calibration: ranges of activations and statistics of batch normalization, batch by batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from l4edge_compression.quantization.placing import activation_quantizers, checked_batches
from l4edge_compression.quantization.tracing import NORMALIZATIONS
from l4edge_perception.errors import InputError


def calibrate(model: nn.Module, data: Iterable[Any]) -> None:
    """Choose every scale of activations from data; weights are quantized while they are observed.

    Only histograms are kept, no activation. Modes and gradients stay as they are.

    Raises:
        InputError: no data, or data that does not fit the model.
    """
    with _evaluating(model), torch.no_grad():
        for inputs, _ in checked_batches(model, data):
            model(inputs)
    for quantizer in activation_quantizers(model):
        quantizer.finish()


def check_data(model: nn.Module, data: Iterable[Any]) -> None:
    """Let a float model answer one example of the first batch.

    Raises:
        InputError: there is no batch, or it does not fit the model.
    """
    with _evaluating(model), torch.no_grad():
        for inputs, _ in checked_batches(model, data):
            try:
                model(inputs[:1])
            except (RuntimeError, TypeError, ValueError) as error:
                raise InputError(
                    f"data: batch 0 of shape {tuple(inputs.shape)} and {inputs.dtype} does not fit the model: {error}"
                    .replace("\n", " ")
                ) from error
            break


def reestimate_normalization(model: nn.Module, data: Iterable[Any]) -> None:
    """Measure mean and variance of every batch normalization anew, behind quantized layers, over all batches.

    What rounding weights and activations does to the means and variances of channels is taken out again.

    Raises:
        InputError: no data, or data that does not fit the model.
    """
    norms = [module for module in model.modules() if isinstance(module, NORMALIZATIONS)]
    momenta = [norm.momentum for norm in norms]
    with _evaluating(model), torch.no_grad():
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean over all batches
            norm.training = True
        try:
            for inputs, _ in checked_batches(model, data):
                model(inputs)
        finally:
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
