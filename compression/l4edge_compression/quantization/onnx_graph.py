"""An ONNX graph that can be rewritten: nodes in order, constants by name, who makes a tensor and who reads it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import onnx
from onnx import helper, numpy_helper

if TYPE_CHECKING:
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[Any]"

IR_VERSION = 8
"""File version of onnx 1.12, read by every onnxruntime from 1.13 on."""


class Scale(NamedTuple):
    """Scale and zero point of a DequantizeLinear or QuantizeLinear, and the scale's axis."""

    scale: Array
    zero_point: Array
    axis: int


class EditableGraph:
    """A model's graph.

    Attributes:
        nodes: in an order in which they can run.
        constants: initializers and results of Constant nodes by name.
    """

    def __init__(self, content: bytes):
        self.model = onnx.load_from_string(content)
        graph = self.model.graph
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self.nodes = []
        for node in graph.node:
            if node.op_type == "Constant":
                self.constants[node.output[0]] = _constant_value(node)
            else:
                self.nodes.append(node)
        self.shapes = _known_shapes(self.model)
        self._taken = {*self.constants, *(value.name for value in (*graph.input, *graph.output))}
        self._taken.update(name for node in graph.node for name in (node.name, *node.output))
        self._count = 0

    @property
    def outputs(self) -> set[str]:
        """Names of the graph's outputs."""
        return {value.name for value in self.model.graph.output}

    def producer(self, name: str) -> Any:
        """The node that makes a tensor, or None."""
        return next((node for node in self.nodes if name in node.output), None)

    def readers(self, name: str) -> list[Any]:
        """The nodes that read a tensor."""
        return [node for node in self.nodes if name in node.input]

    def only_reader(self, name: str) -> Any:
        """The one node that reads a tensor which nothing else reads, else None."""
        readers = self.readers(name)
        return readers[0] if len(readers) == 1 and name not in self.outputs else None

    def fresh(self, stem: str) -> str:
        """A name that no tensor has yet."""
        while True:
            self._count += 1
            name = f"{stem}_{self._count}"
            if name not in self._taken:
                return name

    def constant(self, value: Array, stem: str) -> str:
        """Store a constant and return its name."""
        name = self.fresh(stem)
        self.constants[name] = np.asarray(value, order="C")
        return name

    def insert(self, before: Any, kind: str, inputs: Sequence[str], stem: str, **attributes: Any) -> str:
        """Insert a node with one result before another node and return the result's name."""
        output = self.fresh(stem)
        node = helper.make_node(kind, list(inputs), [output], name=self.fresh(kind), **attributes)
        self.nodes.insert(self._place(before), node)
        return output

    def insert_after(self, after: Any, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> None:
        """Insert a node behind another one."""
        node = helper.make_node(kind, list(inputs), [output], name=self.fresh(kind), **attributes)
        self.nodes.insert(self._place(after) + 1, node)

    def _place(self, node: Any) -> int:
        return next(place for place, other in enumerate(self.nodes) if other is node)

    def remove(self, nodes: Iterable[Any]) -> None:
        """Take nodes out."""
        gone = {id(node) for node in nodes}
        self.nodes = [node for node in self.nodes if id(node) not in gone]

    def redirect(self, old: str, new: str) -> None:
        """Let every reader of a tensor read another one; a graph output keeps its name by an Identity."""
        for node in self.nodes:
            for place, name in enumerate(node.input):
                if name == old:
                    node.input[place] = new

    def scale_of(self, node: Any) -> Scale | None:
        """Scale and zero point of a quantizing node, if they are constants."""
        if any(name not in self.constants for name in node.input[1:3]):
            return None
        scale = self.constants[node.input[1]]
        zero_point = self.constants[node.input[2]] if len(node.input) > 2 else np.zeros(scale.shape, np.uint8)
        return Scale(scale, zero_point, int(attributes_of(node).get("axis", 1)))

    def dequantized(self, name: str) -> tuple[Any, Scale] | None:
        """The DequantizeLinear that makes a tensor, with its scale."""
        node = self.producer(name)
        if node is None or node.op_type != "DequantizeLinear":
            return None
        scale = self.scale_of(node)
        return None if scale is None else (node, scale)

    def drop_unused(self) -> None:
        """Remove nodes and constants that lead to no output."""
        needed = set(self.outputs)
        kept = []
        for node in reversed(self.nodes):
            if any(name in needed for name in node.output):
                kept.append(node)
                needed.update(node.input)
        self.nodes = kept[::-1]
        self.constants = {name: value for name, value in self.constants.items() if name in needed}

    def content(self) -> bytes:
        """The ONNX file."""
        graph = self.model.graph
        inputs = [value for value in graph.input if value.name not in self.constants]
        made = helper.make_graph(
            self.nodes,
            "network",
            inputs,
            list(graph.output),
            [numpy_helper.from_array(np.asarray(value), name) for name, value in self.constants.items()],
        )
        opset = next(entry.version for entry in self.model.opset_import if entry.domain in ("", "ai.onnx"))
        model = helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], producer_name="l4edge")
        model.ir_version = IR_VERSION
        model.metadata_props.extend(self.model.metadata_props)
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())


def attributes_of(node: Any) -> dict[str, Any]:
    """A node's attributes by name."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _constant_value(node: Any) -> Array:
    (attribute,) = node.attribute
    value = helper.get_attribute_value(attribute)
    if attribute.name == "value":
        return numpy_helper.to_array(value)
    kind = np.float32 if "float" in attribute.name else np.int64
    return np.asarray(value, kind)


def _known_shapes(model: Any) -> dict[str, list[int]]:
    """Name to sizes, -1 for those that are not fixed, of the tensors whose rank is known."""
    inferred = onnx.shape_inference.infer_shapes(model)
    shapes = {}
    for value in (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output):
        kind = value.type.tensor_type
        if kind.HasField("shape"):
            shapes[value.name] = [size.dim_value if size.HasField("dim_value") else -1 for size in kind.shape.dim]
    return shapes
