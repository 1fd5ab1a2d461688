"""Puts a sparse stem into a model, in place, and calibrates its threshold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from l4edge_compression.defense.training.config import ScaleCertConfig
from l4edge_compression.defense.training.sparse_stem import SparseStem
from l4edge_compression.defense.training.splitting import call_of, stem_modules, traced, upstream
from l4edge_perception.errors import InputError

Model = TypeVar("Model", bound=nn.Module)

LOCAL = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
POINTWISE = (nn.BatchNorm2d, nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish, nn.GELU, nn.LeakyReLU, nn.Identity, nn.Dropout)


@dataclass(frozen=True)
class Sparsity:
    """What was done to a model; its attribute ``sparsity``."""

    config: ScaleCertConfig


class _HidePixels:
    """Hook of a model that puts random windows over its input in training."""

    def __init__(self, name: str):
        self.name = name

    def __call__(self, model: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
        stem = sparse_stem(model)
        if not stem.occluding:
            return None
        images: Tensor = arguments[0]
        return (images * stem.pixel_windows(images), *arguments[1:])


def sparsify_(model: Model, config: ScaleCertConfig, data: Iterable[Any] | None = None) -> Model:
    """Let a model's stem keep its important cells only, in place, and return it.

    In training mode random windows are occluded, too. Train it on: a network that never saw a pruned map is far worse.

    Args:
        model: a classifier that ``torch.fx`` can trace; it calls the module ``config.after`` once.
        config: settings.
        data: batches of inputs, or (inputs, labels) pairs, that the threshold is calibrated with. None where the
            threshold comes with a checkpoint, or the rule needs none.

    Raises:
        InputError: the model has no such module, its stem mixes all places of a picture, or there is no data. The model
            is then as it was.
    """
    if hasattr(model, "sparsity"):
        raise InputError(f"model {type(model).__name__}: has a sparse stem already; start from the float model")
    names = [name for name, _ in model.named_modules() if name]
    if config.after not in names:
        raise InputError(
            f"after: model {type(model).__name__} has no module {config.after!r}; "
            f"its modules are {', '.join(names[:12])}"
        )
    graph = traced(model)
    inside = stem_modules(graph, config.after)
    field, stride = receptive_field(model, graph, config.after)
    # A patch of p pixels touches at most ceil((p + r - 1) / s) cells per axis (PatchGuard's formula).
    height, width = (-(-(extent + field - 1) // stride) for extent in config.patch)
    ending = model.get_submodule(config.after)
    module = SparseStem(ending, config, (height, width), stride)
    parts = [model.get_submodule(name) for name in inside]
    _replace(model, config.after, module)
    if data is not None:
        try:
            calibrate_(model, module, data)
        except BaseException:
            _replace(model, config.after, ending)
            raise
    for part in parts:
        if not config.train_stem or isinstance(part, nn.BatchNorm2d):
            module.frozen.append(part)
        if not config.train_stem:
            part.requires_grad_(requires_grad=False)
    model.sparsity = Sparsity(config)  # type: ignore[assignment]
    model.register_forward_pre_hook(_HidePixels(config.after))
    model.train(model.training)
    return model


def sparse_stem(model: nn.Module) -> SparseStem:
    """The sparse end of a model's stem.

    Raises:
        InputError: it has none.
    """
    record = getattr(model, "sparsity", None)
    if not isinstance(record, Sparsity):
        raise InputError(
            f"model {type(model).__name__}: has no sparse stem; call compress_ with a ScaleCertConfig first"
        )
    return cast(SparseStem, model.get_submodule(record.config.after))


def choose_hardest_(model: nn.Module, inputs: Tensor, labels: Tensor) -> None:
    """Let the next training batch have, picture by picture, the hardest of ``hardest`` draws of windows.

    Greedy cutout (Saha et al. 2023): unanimity over windows is decided by the worst of them. To be called with the
    batch before its step; does nothing where the settings ask for one draw.

    Args:
        model: with a sparse stem.
        inputs: (B, 3, H, W), the next batch. labels: (B,) of it.
    """
    stem, training = sparse_stem(model), model.training
    draws = stem.config.occlusion.hardest
    if draws == 1:
        return
    model.eval()
    try:
        with torch.no_grad():
            losses = []
            for attempt in range(draws):
                stem.attempts = torch.full((len(inputs),), attempt)
                losses.append(functional.cross_entropy(model(inputs), labels, reduction="none"))
        stem.attempts = torch.stack(losses).argmax(0).cpu()
    finally:
        model.train(training)


def calibrate_(model: nn.Module, module: SparseStem, data: Iterable[Any]) -> None:
    """Fix the threshold so that the share ``keep`` of all cells in the data is above it.

    Raises:
        InputError: there is no data, or saliencies are not finite.
    """
    training = model.training
    batches = list(data) if isinstance(data, Iterator) else data
    module.selecting, module.observing = False, True
    device = module.threshold.device
    try:
        model.eval()
        with torch.no_grad():
            for batch in batches:
                inputs = batch[0] if isinstance(batch, (tuple, list)) else batch
                model(inputs.to(device))
        found = module.observed
    finally:
        module.selecting, module.observing, module.observed = True, False, []
        model.train(training)
    if not found:
        raise InputError("data: holds no batch; the threshold is calibrated with some hundreds of inputs")
    values = torch.cat(found).flatten().sort(descending=True).values
    if not bool(torch.isfinite(values[0])) or not bool(torch.isfinite(values[-1])):
        raise InputError("data: saliencies of the stem's cells are not finite; look at the inputs and the weights")
    module.threshold.fill_(float(values[min(len(values) - 1, round(module.config.keep * len(values)))]))


def receptive_field(model: nn.Module, graph: fx.Graph, name: str) -> tuple[int, int]:
    """Receptive field and stride of a stem's cells, in pixels, the larger of the two axes.

    Raises:
        InputError: the stem has an operation that is not local.
    """
    end = call_of(graph, name)
    inside = upstream(end)
    known: dict[fx.Node, tuple[int, int]] = {}
    for node in graph.nodes:
        if node not in inside:
            continue
        field, stride = 1, 1
        for before in node.all_input_nodes:
            field, stride = max(field, known[before][0]), max(stride, known[before][1])
        if node.op == "call_module":
            module = model.get_submodule(str(node.target))
            if isinstance(module, LOCAL):
                size, step, dilation = (_largest(getattr(module, each, 1)) for each in _FIELDS)
                field, stride = field + (size - 1) * dilation * stride, stride * step
            elif not isinstance(module, POINTWISE):
                raise InputError(
                    f"after: {name}: {node.target} ({type(module).__name__}) is not known to be local; a stem is made "
                    "of convolutions, pooling, batch normalization and activations"
                )
        known[node] = field, stride
    return known[end]


_FIELDS = ("kernel_size", "stride", "dilation")


def _largest(value: int | tuple[int, ...]) -> int:
    return value if isinstance(value, int) else max(value)


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    owner, _, last = name.rpartition(".")
    setattr(model.get_submodule(owner), last, module)
