"""What the precision of each row of a layer is worth: scores by which rows get the high format.

RMSMP (Chang et al., ICCV 2021) scores a row by the largest eigenvalue of its block of the loss's Hessian. That takes a
product with the Hessian for each row and step, so there are cheaper scores beside it, and the diagonal of the empirical
Fisher information is the one to take by default. FILM-QNN (Sun et al., FPGA 2022) scores by the error of the output.
How many steps and samples the papers took is not known; the numbers here are this project's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, get_args

import torch
from torch import nn
from torch.nn import functional

from l4edge_compression.quantization.curvature import hessian_product, largest_eigenvalues, traces
from l4edge_compression.quantization.formats import LevelSet, level_set, project
from l4edge_compression.quantization.scales import as_rows, least_error_scales
from l4edge_perception.errors import InputError

Kind = Literal["hessian", "trace", "fisher", "output_error", "weight"]
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

SAMPLES_PER_GRADIENT = 8
"""Gradients of small groups: those of large ones average away what distinguishes samples."""

LOW_PRECISION, HIGH_PRECISION = "fixed4", "fixed8"
"""Between what the output error and the weight error count."""


def row_scores(
    model: nn.Module,
    layers: Sequence[str],
    batches: Iterable[object],
    loss_function: Loss | None,
    kind: Kind,
    seed: int = 0,
) -> dict[str, torch.Tensor]:
    """Return a score for every row of layers: the higher, the more the row gains from precision.

    The model is left as it was: weights, gradients, buffers and modes; it is looked at in evaluation mode.

    Args:
        model: any model that takes one tensor.
        layers: names of ``Conv2d`` and ``Linear`` modules in it.
        batches: (inputs, targets) pairs; inputs alone do for ``output_error``, and ``weight`` needs none. All are used
            once, but the graphs of all are held at once for ``hessian`` and ``trace``: give those few samples.
        loss_function: of (outputs, targets), the mean over samples; for ``hessian``, ``trace`` and ``fisher``.
        kind: ``hessian``, the largest eigenvalue of the row's block; ``trace``, the trace of that block, estimated;
            ``fisher``, the sum over the row of squared gradients; ``output_error``, how much the output's squared error
            differs between 8 and 4 bits; ``weight``, how much the weights do.
        seed: of probes and starting vectors.

    Returns:
        Scores (rows,), float64, by name of the layer.

    Raises:
        InputError: no such layer, no data, data without labels where they are needed, data on another device, weights
            or a loss that are not finite, or an unknown kind.
    """
    if kind not in get_args(Kind):
        raise InputError(f"score {kind!r}: unknown; use one of {', '.join(get_args(Kind))}")
    modules = {name: _layer(model, name) for name in layers}
    for name, module in modules.items():
        as_rows(module.weight, name)
    if kind == "weight":
        return {name: _precision_gap(module.weight, name)[1] for name, module in modules.items()}
    device = next(iter(modules.values())).weight.device if modules else torch.device("cpu")
    with _evaluation(model), _differentiable([module.weight for module in modules.values()]):
        if kind == "output_error":
            return _output_error(model, modules, batches, device)
        if loss_function is None:
            raise InputError(f"score {kind}: needs a loss function; give one, or use output_error")
        if kind == "fisher":
            return _fisher(model, modules, _pairs(batches, device), loss_function)
        pairs = list(_pairs(batches, device))
        measure = largest_eigenvalues if kind == "hessian" else traces
        scores = {}
        for name, module in modules.items():
            # One layer after the other: its graph is held for all its products, then dropped.
            gradient = _gradients(_mean_loss(model, pairs, loss_function), {name: module.weight}, create_graph=True)
            product = hessian_product(gradient[name], module.weight)
            scores[name] = measure(product, len(module.weight), module.weight[0].numel(), seed)
        return scores


def _layer(model: nn.Module, name: str) -> nn.Conv2d | nn.Linear:
    try:
        module = model.get_submodule(name)
    except AttributeError as error:
        raise InputError(f"layer {name!r}: the model has none of this name; check the list of layers") from error
    if not isinstance(module, nn.Conv2d | nn.Linear):
        raise InputError(f"layer {name!r}: is a {type(module).__name__}; only Conv2d and Linear have rows to score")
    return module


@contextmanager
def _evaluation(model: nn.Module) -> Iterator[None]:
    """Look at a model in evaluation mode, so that statistics of batch norms stay, and give every mode back."""
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in training.items():
            module.training = mode


@contextmanager
def _differentiable(weights: Sequence[torch.Tensor]) -> Iterator[None]:
    before = [weight.requires_grad for weight in weights]
    for weight in weights:
        weight.requires_grad_(True)
    try:
        with torch.enable_grad():
            yield
    finally:
        for weight, required in zip(weights, before, strict=True):
            weight.requires_grad_(required)


def _inputs(batches: Iterable[object], device: torch.device) -> Iterator[tuple[torch.Tensor, object]]:
    """Yield inputs with what came along as target, or None."""
    empty = True
    for batch in batches:
        inputs, target = (batch[0], batch[1]) if isinstance(batch, tuple | list) and len(batch) == 2 else (batch, None)
        if not isinstance(inputs, torch.Tensor):
            raise InputError(f"batches: {type(inputs).__name__} is not a tensor; give (inputs, targets) pairs")
        if inputs.device != device:
            raise InputError(f"batches: data is on {inputs.device}, the model on {device}; bring them together")
        if len(inputs):
            empty = False
            yield inputs, target
    if empty:
        raise InputError("batches: there is no data; give at least one batch")


def _pairs(batches: Iterable[object], device: torch.device) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    for inputs, target in _inputs(batches, device):
        if not isinstance(target, torch.Tensor):
            raise InputError("batches: this score needs labels; give (inputs, targets) pairs, or use output_error")
        yield inputs, target


def _loss(model: nn.Module, loss_function: Loss, inputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    loss = loss_function(model(inputs), target)
    if loss.dim() or not bool(torch.isfinite(loss)):
        raise InputError("loss: is not one finite number for a batch; check loss function, data and weights")
    return loss


def _gradients(
    loss: torch.Tensor, weights: dict[str, torch.Tensor], create_graph: bool = False
) -> dict[str, torch.Tensor]:
    gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=create_graph, allow_unused=True)
    found = {}
    for name, gradient in zip(weights, gradients, strict=True):
        if gradient is None:
            raise InputError(f"layer {name!r}: the loss does not depend on its weights; leave it out")
        found[name] = gradient
    return found


def _mean_loss(
    model: nn.Module, pairs: Sequence[tuple[torch.Tensor, torch.Tensor]], loss_function: Loss
) -> torch.Tensor:
    samples = sum(len(inputs) for inputs, _ in pairs)
    losses = [_loss(model, loss_function, *pair) * (len(pair[0]) / samples) for pair in pairs]
    return torch.stack(losses).sum()


def _fisher(
    model: nn.Module,
    modules: dict[str, nn.Conv2d | nn.Linear],
    pairs: Iterable[tuple[torch.Tensor, torch.Tensor]],
    loss_function: Loss,
) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = {name: module.weight for name, module in modules.items()}
    sums = {name: weight.new_zeros(len(weight), dtype=torch.float64) for name, weight in weights.items()}
    samples = 0
    for inputs, target in pairs:
        groups = zip(inputs.split(SAMPLES_PER_GRADIENT), target.split(SAMPLES_PER_GRADIENT), strict=True)
        for some, their_target in groups:
            gradients = _gradients(_loss(model, loss_function, some, their_target), weights)
            for name, gradient in gradients.items():
                # The mean of n gradients varies 1/n as much as one; n² weighs the group like n samples.
                sums[name] += gradient.flatten(1).double().square().sum(dim=1) * len(some) ** 2
            samples += len(some)
    return {name: total / samples for name, total in sums.items()}


def _precision_gap(weight: torch.Tensor, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return high less low precision, like the weight, and its square summed over each row."""
    rows = as_rows(weight, name)
    low, high = (_quantized(rows, level_set(precision)) for precision in (LOW_PRECISION, HIGH_PRECISION))
    gap = high - low
    return gap.reshape(weight.shape), gap.double().square().sum(dim=1)


def _quantized(rows: torch.Tensor, levels: LevelSet) -> torch.Tensor:
    scales = least_error_scales(rows, levels)[:, None]
    return project(levels, rows / scales) * (scales / levels.largest)


def _output_error(
    model: nn.Module, modules: dict[str, nn.Conv2d | nn.Linear], batches: Iterable[object], device: torch.device
) -> dict[str, torch.Tensor]:
    gaps = {name: _precision_gap(module.weight, name)[0] for name, module in modules.items()}
    sums = {name: gap.new_zeros(len(gap), dtype=torch.float64) for name, gap in gaps.items()}
    samples = 0

    def listen(name: str) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], None]:
        def note(module: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
            difference = _apply(module, arguments[0].detach(), gaps[name]).double().square()
            channels = 1 if isinstance(module, nn.Conv2d) else difference.dim() - 1
            sums[name] += difference.sum(dim=[axis for axis in range(difference.dim()) if axis != channels])
        return note

    handles = [module.register_forward_pre_hook(listen(name)) for name, module in modules.items()]
    try:
        with torch.no_grad():
            for inputs, _ in _inputs(batches, device):
                model(inputs)
                samples += len(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return {name: total / samples for name, total in sums.items()}


def _apply(module: nn.Module, inputs: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Run a layer's operation with another weight and without bias."""
    if not isinstance(module, nn.Conv2d):
        return functional.linear(inputs, weight)
    padding = module.padding
    if module.padding_mode != "zeros" and not isinstance(padding, str):
        sides = [side for side in reversed(padding) for _ in range(2)]
        inputs = functional.pad(inputs, sides, mode=module.padding_mode)
        padding = (0, 0)
    return functional.conv2d(inputs, weight, None, module.stride, padding, module.dilation, module.groups)
