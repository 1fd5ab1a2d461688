"""A packaged network as something gradients can be taken of: the ONNX graph, read operation by operation with torch.

Attacks then need nothing but the package that the vehicle runs: no training code and no second copy of the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from l4edge_perception.errors import InputError

Operation = Callable[[Sequence[Any], dict[str, Any]], Any]


class GraphNetwork(nn.Module):
    """A graph's operations on torch tensors, in float32; its weights do not learn.

    Args:
        graph: content of an ONNX file.

    Raises:
        InputError: it holds an operation that is not known here.
    """

    def __init__(self, graph: bytes):
        super().__init__()
        import onnx
        from onnx import numpy_helper

        model = onnx.load_model_from_string(graph)
        operations = self.operations
        unknown = sorted({node.op_type for node in model.graph.node} - set(operations))
        if unknown:
            raise InputError(
                f"graph: operations {', '.join(unknown)} are not known to attacks; those that are: "
                f"{', '.join(sorted(operations))}"
            )
        self._constants = {
            tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in model.graph.initializer
        }
        self._steps = [
            (
                operations[node.op_type],
                tuple(node.input),
                tuple(node.output),
                {each.name: _attribute(each, numpy_helper) for each in node.attribute},
            )
            for node in model.graph.node
        ]
        self.inputs = [value.name for value in model.graph.input if value.name not in self._constants]
        self.outputs = [value.name for value in model.graph.output]

    @property
    def operations(self) -> dict[str, Operation]:
        """What can be read, by the operator's name in ONNX."""
        return OPERATIONS

    def forward(self, *tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The graph's inputs, in order, to its output or outputs. Integer pixels may come as floats, with gradients."""
        known: dict[str, Any] = {"": None, **self._constants, **dict(zip(self.inputs, tensors, strict=True))}
        for operation, inputs, outputs, attributes in self._steps:
            result = operation([known[name] for name in inputs], {**attributes, "outputs": len(outputs)})
            known.update(zip(outputs, result if isinstance(result, tuple) else (result,), strict=True))
        results = tuple(known[name] for name in self.outputs)
        return results[0] if len(results) == 1 else results


def _attribute(attribute: Any, numpy_helper: Any) -> Any:
    import onnx

    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return torch.from_numpy(numpy_helper.to_array(value).copy())
    if isinstance(value, bytes):
        return value.decode()
    return value if isinstance(value, (int, float)) else list(value)


def _integers(value: Any) -> list[int]:
    return [int(each) for each in (value.tolist() if isinstance(value, Tensor) else value)]


def _axes(inputs: Sequence[Any], attributes: dict[str, Any]) -> list[int] | None:
    if len(inputs) > 1 and inputs[1] is not None:
        return _integers(inputs[1])
    return attributes.get("axes")


def _padded(tensor: Tensor, pads: list[int] | None, value: float) -> Tensor:
    if not pads or not any(pads):
        return tensor
    half = len(pads) // 2
    order: list[int] = []
    for axis in reversed(range(half)):
        order += [pads[axis], pads[axis + half]]
    return functional.pad(tensor, order, value=value)


def _convolution(inputs: Sequence[Any], attributes: dict[str, Any]) -> Tensor:
    tensor, weight = inputs[0], inputs[1]
    bias = inputs[2] if len(inputs) > 2 else None
    tensor = _padded(tensor, attributes.get("pads"), 0.0)
    strides, dilations = attributes.get("strides", 1), attributes.get("dilations", 1)
    result: Tensor = functional.conv2d(tensor, weight, bias, strides, 0, dilations, attributes.get("group", 1))
    return result


def _gemm(inputs: Sequence[Any], attributes: dict[str, Any]) -> Tensor:
    first = inputs[0].T if attributes.get("transA") else inputs[0]
    second = inputs[1].T if attributes.get("transB") else inputs[1]
    product = attributes.get("alpha", 1.0) * (first @ second)
    return product if len(inputs) < 3 else product + attributes.get("beta", 1.0) * inputs[2]


def _pooled(inputs: Sequence[Any], attributes: dict[str, Any], *, largest: bool) -> Tensor:
    tensor = _padded(inputs[0], attributes.get("pads"), -torch.inf if largest else 0.0)
    kernel, stride = attributes["kernel_shape"], attributes.get("strides", 1)
    if largest:
        return functional.max_pool2d(tensor, kernel, stride)
    total = functional.avg_pool2d(tensor, kernel, stride)
    if attributes.get("count_include_pad") or not any(attributes.get("pads", [])):
        return total
    there = _padded(torch.ones_like(inputs[0][:1, :1]), attributes.get("pads"), 0.0)
    return total / functional.avg_pool2d(there, kernel, stride)


def _reduced(inputs: Sequence[Any], attributes: dict[str, Any], how: Callable[..., Tensor]) -> Tensor:
    axes = _axes(inputs, attributes)
    return how(inputs[0], dim=axes or list(range(inputs[0].ndim)), keepdim=bool(attributes.get("keepdims", 1)))


def _reshaped(inputs: Sequence[Any], _attributes: dict[str, Any]) -> Tensor:
    sizes = _integers(inputs[1])
    return inputs[0].reshape([inputs[0].shape[axis] if size == 0 else size for axis, size in enumerate(sizes)])


def _squeezed(inputs: Sequence[Any], attributes: dict[str, Any]) -> Tensor:
    axes = _axes(inputs, attributes)
    return inputs[0].squeeze() if axes is None else inputs[0].squeeze(tuple(axes))


def _unsqueezed(inputs: Sequence[Any], attributes: dict[str, Any]) -> Tensor:
    result = inputs[0]
    for axis in sorted(_axes(inputs, attributes) or []):
        result = result.unsqueeze(axis)
    return result


def _split(inputs: Sequence[Any], attributes: dict[str, Any]) -> tuple[Tensor, ...]:
    axis = attributes.get("axis", 0)
    sizes = inputs[1] if len(inputs) > 1 else attributes.get("split")
    if sizes is None:
        sizes = [inputs[0].shape[axis] // attributes["outputs"]] * attributes["outputs"]
    return torch.split(inputs[0], _integers(sizes), axis)


def _sliced(inputs: Sequence[Any], _attributes: dict[str, Any]) -> Tensor:
    starts, ends = (_integers(each) for each in inputs[1:3])
    axes = _integers(inputs[3]) if len(inputs) > 3 and inputs[3] is not None else list(range(len(starts)))
    steps = _integers(inputs[4]) if len(inputs) > 4 and inputs[4] is not None else [1] * len(starts)
    picked: list[slice] = [slice(None)] * inputs[0].ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if step < 1:
            raise InputError("graph: a Slice goes backwards, which attacks cannot follow; export without it")
        picked[axis] = slice(start, min(end, np.iinfo(np.int64).max), step)
    return inputs[0][tuple(picked)]


def _gathered(inputs: Sequence[Any], attributes: dict[str, Any]) -> Tensor:
    axis, places = attributes.get("axis", 0), inputs[1].long()
    places = torch.where(places < 0, places + inputs[0].shape[axis], places)
    result = inputs[0].index_select(axis, places.reshape(-1))
    shape = list(inputs[0].shape)
    return result.reshape([*shape[:axis], *places.shape, *shape[axis + 1 :]])


def _resized(inputs: Sequence[Any], attributes: dict[str, Any]) -> Tensor:
    if attributes.get("mode", "nearest") != "nearest":
        raise InputError("graph: Resize by another mode than nearest, which attacks cannot follow; export with nearest")
    tensor = inputs[0]
    if len(inputs) > 3 and inputs[3] is not None:
        size = _integers(inputs[3])[2:]
    else:
        size = [round(length * float(scale)) for length, scale in zip(tensor.shape, inputs[2], strict=True)][2:]
    return functional.interpolate(tensor, size=size, mode="nearest")


_TYPES = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 10: torch.float32, 11: torch.float32}


def _cast(inputs: Sequence[Any], attributes: dict[str, Any]) -> Tensor:
    kind = _TYPES.get(attributes["to"])
    if kind is None:
        raise InputError(f"graph: Cast to type {attributes['to']}, which attacks cannot follow")
    return inputs[0].to(kind)


def _constant(_inputs: Sequence[Any], attributes: dict[str, Any]) -> Tensor:
    if "value" in attributes:
        return attributes["value"]
    return torch.tensor(next(value for name, value in attributes.items() if name != "outputs"))


def _filled(inputs: Sequence[Any], attributes: dict[str, Any]) -> Tensor:
    value = attributes.get("value", torch.zeros(1))
    return torch.full(_integers(inputs[0]), value.reshape(-1)[0].item(), dtype=value.dtype)


OPERATIONS: dict[str, Operation] = {
    "Abs": lambda given, _: given[0].abs(),
    "Add": lambda given, _: given[0] + given[1],
    "AveragePool": lambda given, how: _pooled(given, how, largest=False),
    "Cast": _cast,
    "Concat": lambda given, how: torch.cat(list(given), how["axis"]),
    "Constant": _constant,
    "ConstantOfShape": _filled,
    "Conv": _convolution,
    "Div": lambda given, _: given[0] / given[1] if given[0].is_floating_point() else given[0] // given[1],
    "Equal": lambda given, _: given[0] == given[1],
    "Erf": lambda given, _: torch.erf(given[0]),
    "Expand": lambda given, _: given[0].expand(torch.broadcast_shapes(given[0].shape, tuple(_integers(given[1])))),
    "Flatten": lambda given, how: given[0].reshape(int(np.prod(given[0].shape[: how.get("axis", 1)])), -1),
    "Gather": _gathered,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda given, _: given[0].mean((2, 3), keepdim=True),
    "Greater": lambda given, _: given[0] > given[1],
    "Identity": lambda given, _: given[0],
    "MatMul": lambda given, _: given[0] @ given[1],
    "MaxPool": lambda given, how: _pooled(given, how, largest=True),
    "Mul": lambda given, _: given[0] * given[1],
    "Pad": lambda given, _: _padded(given[0], _integers(given[1]), float(given[2]) if len(given) > 2 else 0.0),
    "Pow": lambda given, _: given[0] ** given[1],
    "ReduceMean": lambda given, how: _reduced(given, how, torch.mean),
    "ReduceSum": lambda given, how: _reduced(given, how, torch.sum),
    "Relu": lambda given, _: functional.relu(given[0]),
    "Reshape": _reshaped,
    "Resize": _resized,
    "Shape": lambda given, _: torch.tensor(given[0].shape),
    "Sigmoid": lambda given, _: torch.sigmoid(given[0]),
    "Slice": _sliced,
    "Softmax": lambda given, how: torch.softmax(given[0], how.get("axis", -1)),
    "Split": _split,
    "Sqrt": lambda given, _: torch.sqrt(given[0]),
    "Squeeze": _squeezed,
    "Sub": lambda given, _: given[0] - given[1],
    "Transpose": lambda given, how: given[0].permute(how.get("perm") or list(reversed(range(given[0].ndim)))),
    "Unsqueeze": _unsqueezed,
    "Where": lambda given, _: torch.where(given[0], given[1], given[2]),
}
"""What can be read, by the operator's name in ONNX."""
