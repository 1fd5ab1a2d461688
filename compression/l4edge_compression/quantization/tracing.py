"""The computation graph of a user's model, and what each of its operations means for quantization."""

from __future__ import annotations

import operator
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from l4edge_perception.errors import InputError

LAYERS: tuple[type[nn.Module], ...] = (nn.Conv2d, nn.Linear)

# Modules whose Python code asks whether they are in training: traced into, they would be frozen in one mode.
_OPAQUE = {"DropPath", "StochasticDepth", "Dropout", "DropBlock2d"}

NORMALIZATIONS = (nn.BatchNorm1d, nn.BatchNorm2d)
# An identity stands where a normalization was folded away.
_FUSED = (nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.Identity)
_FUSED_FUNCTIONS = {functional.relu, torch.relu, functional.relu6, functional.hardtanh}
_FUSED_METHODS = {"relu", "relu_", "clamp"}

_PASS_MODULES = (
    nn.MaxPool2d, nn.Flatten, nn.Unflatten, nn.Identity, nn.Dropout, nn.Dropout2d, nn.PixelShuffle, nn.PixelUnshuffle,
    nn.ChannelShuffle,
)
_PASS_FUNCTIONS: set[Any] = {
    operator.getitem, torch.flatten, torch.reshape, torch.permute, torch.transpose, torch.swapaxes, torch.movedim,
    torch.chunk, torch.split, torch.unbind, torch.squeeze, torch.unsqueeze, torch.max_pool2d, functional.max_pool2d,
    functional.dropout, functional.pixel_shuffle, torch.narrow, torch.select, torch.roll, torch.clone, torch.tile,
    torch.amax, torch.unflatten, torch.tensor_split,
}
_PASS_METHODS = {
    "reshape", "view", "flatten", "unflatten", "permute", "transpose", "swapaxes", "movedim", "contiguous", "chunk",
    "split", "unbind", "squeeze", "unsqueeze", "expand", "expand_as", "repeat", "clone", "t", "narrow", "select",
    "roll", "view_as", "reshape_as", "tile", "amax", "detach", "tensor_split",
}
_TUPLES = {torch.chunk, torch.split, torch.unbind, torch.tensor_split, "chunk", "split", "unbind", "tensor_split"}
_CASTS = {"float", "to", "type", "half", "double"}

_JOIN_FUNCTIONS: set[Any] = {torch.cat, torch.concat, torch.concatenate, torch.stack}
_ADD = {operator.add, operator.iadd, torch.add, "add", "add_"}
_PRODUCTS = {torch.matmul, torch.bmm, operator.matmul, "matmul", "bmm"}
_POOL_MODULES = (nn.AvgPool2d, nn.AdaptiveAvgPool2d)
_POOL_FUNCTIONS = {functional.avg_pool2d, functional.adaptive_avg_pool2d}
_MEANS = {torch.mean, "mean"}

_REASONS: tuple[tuple[tuple[type[nn.Module], ...], str], ...] = (
    ((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), "there is no integer transposed convolution"),
    ((nn.Conv1d, nn.Conv3d), "of the convolutions only those in two dimensions run as integers"),
    ((nn.RNNBase, nn.RNNCellBase), "recurrent layers are not quantized"),
    ((nn.Embedding, nn.EmbeddingBag), "a table is looked up in, not multiplied with"),
    ((nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer, nn.Transformer),
     "its products are hidden inside; write them with nn.Linear and torch.matmul"),
)
_HIDDEN: dict[Any, str] = {
    functional.conv2d: "its weight belongs to no layer; use nn.Conv2d",
    functional.linear: "its weight belongs to no layer; use nn.Linear",
    functional.conv1d: "of the convolutions only those in two dimensions run as integers",
    functional.conv3d: "of the convolutions only those in two dimensions run as integers",
    functional.conv_transpose2d: "there is no integer transposed convolution",
    functional.scaled_dot_product_attention: "its products are hidden inside; write them with torch.matmul",
    functional.multi_head_attention_forward: "its products are hidden inside; write them with torch.matmul",
    functional.embedding: "a table is looked up in, not multiplied with",
    torch.einsum: "products are quantized where they are torch.matmul",
}


class _Tracer(fx.Tracer):
    """Keeps opaque modules whole and remembers where it is, for errors."""

    def __init__(self) -> None:
        super().__init__()
        self.path: list[str] = []

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Say whether the module stays one operation."""
        return type(m).__name__ in _OPAQUE or super().is_leaf_module(m, module_qualified_name)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Note the module's name while it is traced."""
        self.path.append(f"{self.path_of_module(m)} ({type(m).__name__})")
        result = super().call_module(m, forward, args, kwargs)
        self.path.pop()
        return result


def trace(model: nn.Module) -> fx.Graph:
    """Return the graph of a model, as it computes in evaluation mode.

    Raises:
        InputError: the forward method depends on values; the message names module, file and line.
    """
    tracer = _Tracer()
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        graph = tracer.trace(model)
    except Exception as error:
        where = tracer.path[-1] if tracer.path else type(model).__name__
        lines = [
            frame for frame in traceback.extract_tb(error.__traceback__)
            if "/torch/" not in frame.filename and frame.filename != __file__
        ]
        line = f", {lines[-1].filename} line {lines[-1].lineno}: {lines[-1].line}" if lines else ""
        raise InputError(
            f"model: cannot be traced in module {where}{line}: {error}; make the forward method independent of values "
            "(no if, len or loop over tensors)".replace("\n", " ")
        ) from error
    finally:
        for module, mode in modes.items():
            module.training = mode
    _without_overwriting(graph, model)
    return graph


def _without_overwriting(graph: fx.Graph, model: nn.Module) -> None:
    """Replace what overwrites its operand: quantizers keep theirs for the backward pass."""
    for node in graph.nodes:
        if node.target is operator.iadd:
            node.target = operator.add
        elif node.op == "call_method" and node.target in {"add_", "relu_", "mul_", "clamp_"}:
            node.target = node.target[:-1]
        elif node.op == "call_function" and node.kwargs.get("inplace"):
            node.kwargs = {**node.kwargs, "inplace": False}
        elif node.op == "call_module" and getattr(model.get_submodule(node.target), "inplace", False):
            model.get_submodule(node.target).inplace = False  # type: ignore[assignment]


def operands(node: fx.Node) -> list[fx.Node]:
    """Return the tensors that an operation reads, in order."""
    return list(node.all_input_nodes)


def module_of(node: fx.Node, model: nn.Module) -> nn.Module | None:
    """Return the module that a node calls, if it calls one."""
    return model.get_submodule(str(node.target)) if node.op == "call_module" else None


def is_product(node: fx.Node) -> bool:
    """Whether two activations are multiplied as matrices."""
    return node.target in _PRODUCTS and len(operands(node)) == 2


def is_sum(node: fx.Node) -> bool:
    """Whether two tensors are added, other than right before a softmax (a mask or a position bias)."""
    if node.target not in _ADD or not all(isinstance(value, fx.Node) for value in node.args[:2]):
        return False
    return not (node.users and all(_is_softmax(user) for user in node.users))


def read_by_layer_norm(node: fx.Node, model: nn.Module) -> bool:
    """Whether a LayerNorm reads the result, as it is or after reshaping."""
    return any(
        isinstance(module_of(user, model), nn.LayerNorm) or user.target is functional.layer_norm
        or (passes_integers(user, model) and read_by_layer_norm(user, model))
        for user in node.users
    )


def _is_softmax(node: fx.Node) -> bool:
    return node.target in {functional.softmax, torch.softmax, "softmax"} or "softmax" in str(node.target)


def is_pool(node: fx.Node, model: nn.Module) -> bool:
    """Whether averages over height and width are taken."""
    if isinstance(module_of(node, model), _POOL_MODULES) or node.target in _POOL_FUNCTIONS:
        return True
    if node.target not in _MEANS:
        return False
    axes = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
    return isinstance(axes, list | tuple) and set(axes) in ({2, 3}, {-1, -2})


def is_join(node: fx.Node) -> bool:
    """Whether tensors are concatenated or stacked."""
    return node.op == "call_function" and node.target in _JOIN_FUNCTIONS


def is_parameter(node: fx.Node) -> bool:
    """Whether the node reads a parameter or buffer."""
    return node.op == "get_attr"


def passes_integers(node: fx.Node, model: nn.Module) -> bool:
    """Whether the result holds the same numbers as the operand, somewhere else or fewer of them."""
    if is_cast(node):
        return False
    if node.op == "call_module":
        module = module_of(node, model)
        if isinstance(module, nn.Upsample):
            return module.mode == "nearest"
        return isinstance(module, _PASS_MODULES) or type(module).__name__ in _OPAQUE
    if node.target is functional.interpolate:
        return node.kwargs.get("mode", "nearest") == "nearest"
    if node.target is operator.getitem:
        # An element of a tuple that some other operation returned is a tensor of its own.
        source = node.args[0]
        return isinstance(source, fx.Node) and (
            source.target in _TUPLES or source.op == "placeholder" or passes_integers(source, model) or is_sum(source)
        )
    return node.target in (_PASS_METHODS if node.op == "call_method" else _PASS_FUNCTIONS)


def is_cast(node: fx.Node) -> bool:
    """Whether only the kind of number changes."""
    return node.op == "call_method" and node.target in _CASTS


def extended(node: fx.Node, model: nn.Module) -> fx.Node:
    """Return the last operation that a layer's integer kernel computes with it: normalization, then ReLU."""
    following = [user for user in node.users if user.op != "output"]
    if len(node.users) != 1 or not following:
        return node
    (user,) = following
    module = module_of(user, model)
    fused = (
        isinstance(module, NORMALIZATIONS + _FUSED)
        or user.target in _FUSED_FUNCTIONS
        or (user.op == "call_method" and user.target in _FUSED_METHODS)
    )
    return extended(user, model) if fused else node


def quantizable(module: nn.Module | None) -> bool:
    """Whether the module's weights can be quantized by rows."""
    return isinstance(module, LAYERS) and not _custom(module)


def _custom(module: nn.Module) -> str | None:
    """Return why a convolution or linear layer is not an ordinary one."""
    kind: type[nn.Module] = nn.Conv2d if isinstance(module, nn.Conv2d) else nn.Linear
    if type(module).forward is not kind.forward:
        return f"{type(module).__name__} computes otherwise than nn.{kind.__name__}"
    if isinstance(module, nn.Conv2d) and module.padding_mode != "zeros":
        return f"padding mode {module.padding_mode}; only zeros are supported"
    if not isinstance(module._parameters.get("weight"), nn.Parameter):  # noqa: SLF001 - torch has no other way to ask
        return "its weight is computed from others (parametrization); remove that first"
    return None


def unsupported(graph: fx.Graph, model: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield name and reason of everything with weights or products that cannot be quantized."""
    seen: set[str] = set()
    for node in graph.nodes:
        name = str(node.target) if node.op == "call_module" else node.name
        if name in seen:
            continue
        seen.add(name)
        if node.op == "call_function" and node.target in _HIDDEN:
            yield f"{name} ({node.target.__name__})", _HIDDEN[node.target]
        module = module_of(node, model)
        if module is None or quantizable(module):
            continue
        reason = _reason(module)
        if reason is not None:
            yield f"{name} ({type(module).__name__})", reason


def _reason(module: nn.Module) -> str | None:
    for kinds, reason in _REASONS:
        if isinstance(module, kinds):
            return reason
    if isinstance(module, LAYERS):
        return _custom(module)
    weights: list[Tensor] = [parameter for parameter in module.parameters() if parameter.dim() >= 2]
    if weights and not isinstance(module, nn.LayerNorm):
        return "layers of this kind are not known"
    return None
