"""Gives the rows of every layer their formats, by the scores, the spreads and the ratio of the method."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from l4edge_compression.quantization.config import WeightPolicy
from l4edge_compression.quantization.modules import QuantizedConv2d, QuantizedLinear
from l4edge_compression.quantization.placing import (
    checked_batches,
    compression_of,
    in_float,
    quantized_layers,
)
from l4edge_compression.quantization.rmsmp import RowMixConfig
from l4edge_compression.quantization.rows import assign_rows, row_spreads
from l4edge_compression.quantization.scores import row_scores

Loss = Callable[[Any, Any], Tensor]

SCORE_SAMPLES = 256
"""Examples that scores are taken from, at most."""


def reassign_rows(
    model: nn.Module, batches: Iterable[Any] | None, loss_function: Loss | None = None
) -> dict[str, int]:
    """Give every row the format that scores, spreads and the ratio now say.

    Args:
        model: compressed, of a method that mixes formats by row; others are left alone.
        batches: (inputs, targets) pairs, or inputs alone without a loss function; the first 256 examples count. None
            scores by the weights alone.
        loss_function: of (outputs, targets), the mean over examples. Without it, Fisher and Hessian scores are those of
            a random signed sum of the outputs, whose expected square of gradients is the diagonal of the Gauss-Newton
            matrix of the outputs: no labels needed.

    Returns:
        By layer, how many rows changed their format.

    Raises:
        InputError: not compressed; no data, or data that does not fit; a ratio that few rows cannot hold.
    """
    config = compression_of(model).config
    mixed: dict[str, tuple[QuantizedConv2d | QuantizedLinear, WeightPolicy]] = {}
    for layer, module in quantized_layers(model):
        policy = config.for_layer(layer.name).weights(layer, module.weight)
        if policy.ratio is not None:
            mixed[layer.name] = module, policy
    if not mixed or not isinstance(config, RowMixConfig):
        return {}
    scores = _scores(model, list(mixed), batches, loss_function, config)
    changed = {}
    for name, (module, policy) in mixed.items():
        settings: Any = config.for_layer(name)
        assignment = _assignment(module, policy, scores[name], settings.rule, settings.few_rows == "error", name)
        changed[name] = int((assignment != module.row_quantizer.assignment).sum())
        module.row_quantizer.assign(assignment.to(module.weight.device), module.weight)
    return changed


def _assignment(
    module: QuantizedConv2d | QuantizedLinear, policy: WeightPolicy, scores: Tensor, rule: Any, strict: bool, name: str
) -> Tensor:
    weight = module.weight.detach()
    rows = weight.flatten(1)
    largest = rows.abs().amax(1).clamp(min=torch.finfo(torch.float32).tiny)
    shared = policy.granularity == "layer"
    # With a scale for each row only the spread in units of that scale says which format fits.
    scales = module.row_quantizer.scale.detach() if shared else largest
    spreads = row_spreads(weight, None if shared else scales, name)
    ratio = policy.ratio or (0.0, 1.0, 0.0)
    return assign_rows(scores, spreads, ratio, rule, scales if shared else None, strict, name)


def _scores(
    model: nn.Module, names: list[str], batches: Iterable[Any] | None, loss_function: Loss | None, config: RowMixConfig
) -> dict[str, Tensor]:
    kind: Any = config.score if batches is not None else "weight"
    if kind == "weight" or batches is None:
        return row_scores(model, names, [], None, "weight", config.seed)
    with in_float(model):
        if kind == "output_error":
            unlabeled = _limited(inputs for inputs, _ in checked_batches(model, batches))
            return row_scores(model, names, unlabeled, None, kind)
        if loss_function is not None:
            pairs = ((batch[0], batch[1]) for _, batch in checked_batches(model, batches))
            return row_scores(model, names, _limited(pairs), loss_function, kind, config.seed)
        signed = _with_signs(model, _limited(inputs for inputs, _ in checked_batches(model, batches)), config.seed)
        return row_scores(model, names, signed, _signed_sum, kind, config.seed)


def _limited(batches: Iterable[Any]) -> Iterator[Any]:
    """Yield batches up to the number of examples that scores are taken from."""
    left = SCORE_SAMPLES
    for batch in batches:
        yield batch[:left] if isinstance(batch, Tensor) else tuple(part[:left] for part in batch)
        left -= len(batch) if isinstance(batch, Tensor) else len(batch[0])
        if left <= 0:
            return


def _with_signs(model: nn.Module, batches: Iterable[Tensor], seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    for inputs in batches:
        with torch.no_grad():
            count = sum(output[0].numel() for output in _tensors(model(inputs[:1])))
        signs = torch.randint(0, 2, (len(inputs), count), generator=generator) * 2.0 - 1.0
        yield inputs, signs.to(inputs.device)


def _signed_sum(outputs: Any, signs: Tensor) -> Tensor:
    flat = torch.cat([output.flatten(1) for output in _tensors(outputs)], dim=1)
    return (flat * signs).sum() / len(signs)


def _tensors(outputs: Any) -> list[Tensor]:
    if isinstance(outputs, Tensor):
        return [outputs]
    parts = outputs.values() if isinstance(outputs, dict) else outputs
    return [tensor for part in parts for tensor in _tensors(part)]
