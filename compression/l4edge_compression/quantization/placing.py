"""Changes a model into its quantized form, in place, and back if something goes wrong on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from l4edge_compression.quantization import graph as placement
from l4edge_compression.quantization import tracing
from l4edge_compression.quantization.config import QuantizationConfig
from l4edge_compression.quantization.graph import Layer, Spot
from l4edge_compression.quantization.modules import (
    ActivationQuantizer,
    QuantizedConv2d,
    QuantizedLinear,
    RowQuantizer,
)
from l4edge_perception.errors import InputError


@dataclass(frozen=True)
class Compression:
    """What was done to a model; its attribute ``compression``."""

    config: QuantizationConfig
    layers: tuple[Layer, ...]
    spots: tuple[Spot, ...]


def compression_of(model: nn.Module) -> Compression:
    """Return what was done to the model.

    Raises:
        InputError: nothing was.
    """
    record = getattr(model, "compression", None)
    if not isinstance(record, Compression):
        raise InputError(f"model {type(model).__name__}: is not compressed; call compress_ first")
    return record


def quantized_layers(model: nn.Module) -> Iterator[tuple[Layer, QuantizedConv2d | QuantizedLinear]]:
    """Yield the layers whose weights are quantized, in order of computation, with their modules."""
    for layer in compression_of(model).layers:
        yield layer, model.get_submodule(layer.name)  # type: ignore[misc]


def activation_quantizers(model: nn.Module) -> Iterator[ActivationQuantizer]:
    """Yield the quantizers of tensors, in order of computation."""
    for spot in compression_of(model).spots:
        yield model.quantizers[spot.name]  # type: ignore[index,misc]


def row_assignments(model: nn.Module) -> dict[str, Tensor]:
    """Return (O,) the index of each row's format, by layer."""
    return {layer.name: module.row_quantizer.assignment for layer, module in quantized_layers(model)}


@contextmanager
def in_float(model: nn.Module) -> Iterator[None]:
    """Let the model compute in float, without any quantizer, inside the block."""
    rows = [module.row_quantizer for _, module in quantized_layers(model)]
    tensors = [(quantizer, quantizer.state) for quantizer in activation_quantizers(model)]
    enabled = [quantizer.enabled for quantizer in rows]
    try:
        for quantizer in rows:
            quantizer.enabled = False
        for tensor, _ in tensors:
            tensor.state = "off"
        yield
    finally:
        for quantizer, was in zip(rows, enabled, strict=True):
            quantizer.enabled = was
        for tensor, state in tensors:
            tensor.state = state


def place_(model: nn.Module, config: QuantizationConfig) -> None:
    """Swap layers and put quantizers in.

    All rows start in the first format, their scales are not fitted yet, and all tensors are observed.

    Raises:
        InputError: the model is compressed already, cannot be traced, has layers that cannot be quantized, or weights
            that are not finite. It is then as it was.
    """
    if hasattr(model, "compression") or hasattr(model, "quantizers"):
        raise InputError(f"model {type(model).__name__}: is compressed already; start from the float model")
    for part in model.modules():
        if isinstance(part, QuantizedConv2d | QuantizedLinear):
            raise InputError(f"model {type(model).__name__}: a part of it is compressed already; compress the whole")
    _check_weights(model)
    graph = tracing.trace(model)
    problems = [
        f"{name}: {reason}" for name, reason in tracing.unsupported(graph, model)
        if not config.excludes(name.split(" ")[0])
    ]
    if problems and config.unsupported != "float":
        raise InputError(
            f"model {type(model).__name__}: cannot quantize " + "; ".join(problems)
            + "; change them, name them in exclude, or say unsupported=\"float\" to leave them in float"
        )
    layers = placement.find_layers(graph, model, config.excludes)
    if not layers:
        raise InputError(f"model {type(model).__name__}: has no layer to quantize; Conv2d and Linear are")
    _check_patterns(config, model)
    settings = {layer.name: config.for_layer(layer.name) for layer in layers}
    widths = {layer.name: settings[layer.name].layer_activation_bits(layer) for layer in layers}
    bits = placement.Bits(
        lambda name: widths[name] if name else (config.activation_bits or 8), config.input_bits, config.joint_bits,
        config.output_bits, config.sums,
    )
    spots = placement.find_spots(graph, model, layers, bits)
    quantizers = nn.ModuleDict()
    for spot in spots:
        quantizer = config.activation(spot.name, spot.bits, multiplied=spot.multiplied, is_input=spot.input)
        quantizers[spot.name] = quantizer.to(placement.example_device(model))
    rows = {layer.name: _row_quantizer(model, layer, settings[layer.name]) for layer in layers}
    # Nothing above changes the model, nothing below fails.
    for layer in layers:
        module: Any = model.get_submodule(layer.name)
        module.row_quantizer = rows[layer.name]
        module.__class__ = QuantizedLinear if layer.linear else QuantizedConv2d
    placement.insert_quantizers(graph, spots)
    model.quantizers = quantizers
    model.train(model.training)
    placement.bind(model, graph)
    model.compression = Compression(config, tuple(layers), tuple(spots))  # type: ignore[assignment]


def take_out_(model: nn.Module) -> None:
    """Undo :func:`place_`."""
    for layer, module in list(quantized_layers(model)):
        del module.row_quantizer
        module.__class__ = nn.Linear if layer.linear else nn.Conv2d  # type: ignore[assignment]
    del model.quantizers
    del model.compression
    model.__class__ = type(model).__mro__[1]


def _row_quantizer(model: nn.Module, layer: Layer, config: QuantizationConfig) -> RowQuantizer:
    weight: Tensor = model.get_submodule(layer.name).weight  # type: ignore[assignment]
    policy = config.weights(layer, weight)
    return RowQuantizer(
        policy.formats, weight, granularity=policy.granularity, rule=policy.rule, rounding=policy.rounding,
        reference=policy.reference, progressive=policy.progressive, name=layer.name, fitted=False,
    )


def _check_weights(model: nn.Module) -> None:
    for name, value in [*model.named_parameters(), *model.named_buffers()]:
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            count = int((~torch.isfinite(value)).sum())
            raise InputError(f"model: {count} of {value.numel()} values of {name} are not finite; load sound weights")


def _check_patterns(config: QuantizationConfig, model: nn.Module) -> None:
    import fnmatch

    names = [name for name, _ in model.named_modules()]
    for kind, patterns in (("exclude", config.exclude), ("overrides", tuple(config.overrides))):
        for pattern in patterns:
            if not fnmatch.filter(names, pattern):
                raise InputError(f"{kind}: no layer is called {pattern}; names are those of model.named_modules()")


def checked_batches(model: nn.Module, data: Iterable[Any]) -> Iterator[tuple[Tensor, Any]]:
    """Yield (inputs, batch) of data that fits the model.

    Raises:
        InputError: there is no batch, one is empty or no tensor, or it lies on another device than the model.
    """
    device = placement.example_device(model)
    count = 0
    for batch in data:
        inputs = batch[0] if isinstance(batch, tuple | list) and batch else batch
        if not isinstance(inputs, Tensor):
            raise InputError(f"data: batch {count} is {type(inputs).__name__}; give tensors or (tensor, label) pairs")
        if not inputs.numel():
            raise InputError(f"data: batch {count} is empty (shape {tuple(inputs.shape)}); remove it")
        if device is not None and inputs.device != device:
            raise InputError(f"data: batch {count} is on {inputs.device}, the model on {device}; move one of them")
        if inputs.is_floating_point() and not bool(torch.isfinite(inputs).all()):
            raise InputError(f"data: batch {count} has values that are not finite; check the preprocessing")
        count += 1
        yield inputs, batch
    if not count:
        raise InputError("data: there is no batch to calibrate with; give at least one")
