"""The interpreter: a quantized ONNX graph, run node by node in numpy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import numpy_helper

from l4edge_compression.quantization.integer import arithmetic
from l4edge_compression.quantization.integer.groups import EXACT_IN_FLOAT, GROUPS, Group, Scaled, to_numbers
from l4edge_compression.quantization.integer.movement import MOVEMENT
from l4edge_compression.quantization.integer.operators import FLOAT_OPERATORS
from l4edge_perception.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]


@dataclass(frozen=True)
class Node:
    """One operator.

    Attributes:
        kind: ONNX's word. name: of the node, for messages.
        inputs: names, empty where an optional one is missing. outputs: names.
        attributes: by name; tensors as arrays, strings as str.
        fused: its one result goes to one QuantizeLinear and nowhere else, so onnxruntime may run it as integers.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    fused: bool


@dataclass
class IntegerModel:
    """A quantized ONNX graph that runs without onnxruntime and shows everything inside.

    Args:
        content: the ONNX file.

    Attributes:
        inputs, outputs: names of the graph's.
        nodes: in order of running.
        constants: name to value of everything that does not depend on the inputs; packed weights are unpacked here.
        trace: after a run, the codes of every quantized tensor by name, and by the name of the result of a
            convolution or matrix product its exact sums as ``NAME:sums`` with what one unit is worth,
            ``NAME:unit``.

    Raises:
        InputError: the file is no ONNX graph, or has an operator that is not known here.
    """

    content: bytes = field(repr=False)
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    nodes: tuple[Node, ...] = field(default=(), repr=False)
    constants: dict[str, Any] = field(default_factory=dict, repr=False)
    trace: dict[str, Array] = field(default_factory=dict, repr=False)
    producers: dict[str, Node] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        try:
            graph = onnx.load_from_string(self.content).graph
        except Exception as error:  # protobuf raises its own kinds
            raise InputError(f"quantized graph: not an ONNX file ({error})") from error
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self.inputs = tuple(value.name for value in graph.input if value.name not in self.constants)
        self.outputs = tuple(value.name for value in graph.output)
        nodes = _read_nodes(graph)
        self.producers = {name: node for node in nodes for name in node.outputs}
        remaining = []
        for node in nodes:
            if all(not name or name in self.constants for name in node.inputs):
                self._evaluate(node, self.constants)
            else:
                remaining.append(node)
        self.nodes = tuple(remaining)

    def run(self, feeds: Mapping[str, Array], given: Mapping[str, Array] | None = None) -> list[Array]:
        """Outputs for one set of inputs, in the graph's order.

        Args:
            feeds: input name to array.
            given: results that replace what is computed here before later nodes read them, by name: so every node
                can be judged alone, on the very inputs that another implementation had. ``trace`` keeps what was
                computed here.

        Raises:
            InputError: an input is missing.
        """
        missing = [name for name in self.inputs if name not in feeds]
        if missing:
            raise InputError("quantized graph: no array for input " + ", ".join(missing))
        values: dict[str, Any] = {**self.constants, **{name: np.asarray(feeds[name]) for name in self.inputs}}
        self.trace = {}
        last_use = {name: place for place, node in enumerate(self.nodes) for name in node.inputs}
        for place, node in enumerate(self.nodes):
            self._evaluate(node, values)
            for name in node.outputs:
                self._record(node, name, values[name])
                if given and name in given:
                    values[name] = given[name]
            for name in node.inputs:
                if last_use.get(name) == place and name not in self.outputs and name not in self.constants:
                    values.pop(name, None)
        return [np.asarray(to_numbers(values[name])) for name in self.outputs]

    def _record(self, node: Node, name: str, value: Any) -> None:
        if isinstance(value, Group) and value.accumulators is not None:
            self.trace[name + ":sums"], self.trace[name + ":unit"] = value.accumulators
        elif isinstance(value, np.ndarray) and (value.dtype in (np.uint8, np.int8) or name in self.outputs):
            self.trace[name] = value

    def _evaluate(self, node: Node, values: dict[str, Any]) -> None:
        """Run one node and store what it gives."""
        inputs = [values[name] if name else None for name in node.inputs]
        try:
            result = _apply(node, inputs)
        except (NotImplementedError, ValueError, KeyError) as error:
            place = node.name or node.outputs[0]
            raise InputError(f"node {place} ({node.kind}): cannot be interpreted ({error})") from error
        values.update(zip(node.outputs, result if isinstance(result, list) else [result], strict=False))


def _apply(node: Node, inputs: Sequence[Any]) -> Any:
    """The result of one node on values as they come, dequantized or not."""
    if node.kind == "Constant":
        return node.attributes["value"]
    if node.kind == "DequantizeLinear":
        return _dequantized(node, inputs)
    if node.kind == "QuantizeLinear":
        return _quantized(inputs)
    if node.kind == "Relu" and isinstance(inputs[0], Group):
        return _rectified(inputs[0])
    if node.kind in GROUPS and (node.fused or node.kind in EXACT_IN_FLOAT):
        group = GROUPS[node.kind](inputs, node.attributes)
        if group is not None:
            return group
    plain = [to_numbers(value) for value in inputs]
    operator = MOVEMENT.get(node.kind) or FLOAT_OPERATORS.get(node.kind)
    if operator is None:
        raise NotImplementedError("operator unknown here")
    return operator(plain, node.attributes)


def _dequantized(node: Node, inputs: Sequence[Any]) -> Scaled:
    codes, scale = inputs[0], np.asarray(inputs[1], np.float32)
    zero_point = inputs[2] if len(inputs) > 2 and inputs[2] is not None else np.zeros(scale.shape, codes.dtype)
    return Scaled(codes, scale, np.asarray(zero_point), int(node.attributes.get("axis", 1)) % max(codes.ndim, 1))


def _quantized(inputs: Sequence[Any]) -> Array:
    value, scale = inputs[0], np.asarray(inputs[1], np.float32)
    zero_point = np.asarray(inputs[2]) if len(inputs) > 2 and inputs[2] is not None else np.uint8(0)
    if isinstance(value, Group):
        return value.quantize(scale, np.asarray(zero_point))
    return arithmetic.quantize(to_numbers(value), scale, zero_point)


def _rectified(group: Group) -> Group:
    """ReLU before a QuantizeLinear whose zero point is the least code: saturation does the same, and is what runs."""

    def quantize(scale: Array, zero_point: Array) -> Array:
        if zero_point == np.iinfo(zero_point.dtype).min:
            return group.quantize(scale, zero_point)
        return arithmetic.quantize(np.maximum(group.numbers(), np.float32(0)), scale, zero_point)

    return Group(quantize, lambda: np.maximum(group.numbers(), np.float32(0)))


def _read_nodes(graph: Any) -> list[Node]:
    """The graph's nodes, with the knowledge which may run as integers."""
    readers: Counter[str] = Counter(name for node in graph.node for name in node.input)
    readers.update(value.name for value in graph.output)
    quantized = {node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    # A rectifier between a group and its QuantizeLinear is dropped by onnxruntime.
    quantized |= {
        node.input[0]
        for node in graph.node
        if node.op_type == "Relu" and node.output[0] in quantized and readers[node.output[0]] == 1
    }
    nodes = []
    for node in graph.node:
        if node.domain not in ("", "ai.onnx"):
            raise InputError(f"node {node.name} ({node.domain}.{node.op_type}): only standard ONNX is interpreted")
        if node.op_type not in KNOWN:
            raise InputError(f"node {node.name or node.output[0]} ({node.op_type}): this operator is not interpreted")
        attributes = {attribute.name: _attribute(attribute) for attribute in node.attribute}
        if node.op_type == "Split":
            attributes["outputs"] = len(node.output)
        fused = len(node.output) == 1 and node.output[0] in quantized and readers[node.output[0]] == 1
        nodes.append(Node(node.op_type, node.name, tuple(node.input), tuple(node.output), attributes, fused))
    return nodes


def _attribute(attribute: Any) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.type == onnx.AttributeProto.TENSOR:
        return numpy_helper.to_array(value)
    return value.decode() if isinstance(value, bytes) else value


KNOWN = {"Constant", "DequantizeLinear", "QuantizeLinear", *GROUPS, *MOVEMENT, *FLOAT_OPERATORS}
"""Every operator that is interpreted."""

