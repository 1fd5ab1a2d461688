"""Makes quantized ONNX graphs node by node, and weights on the levels of a method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from l4edge_compression.quantization.formats import LevelSet, level_set, project_array
from l4edge_compression.quantization.onnx_graph import IR_VERSION

if TYPE_CHECKING:
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[Any]"

OPSET = 17


@dataclass
class GraphBuilder:
    """Collects nodes and constants of a graph whose tensors are codes.

    Attributes:
        random: where scales and weights are drawn from.
        nodes, constants, inputs: so far; inputs are uint8 tensors with their shapes.
        scales: scale and zero point of each tensor of codes.
    """

    random: np.random.Generator
    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    inputs: dict[str, tuple[int, ...]] = field(default_factory=dict)
    scales: dict[str, tuple[np.float32, int]] = field(default_factory=dict)

    def node(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Append an operator with one result and return the result's name."""
        output = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=output, **attributes))
        return output

    def constant(self, value: Any) -> str:
        """Store a constant and return its name."""
        name = f"constant_{len(self.constants)}"
        self.constants[name] = np.asarray(value)
        return name

    def input(self, shape: Sequence[int], scale: float | None = None, zero_point: int | None = None) -> str:
        """A new uint8 input of the graph; scale and zero point are drawn unless given."""
        name = f"input_{len(self.inputs)}"
        self.inputs[name] = tuple(shape)
        self.scales[name] = (
            np.float32(self.random.uniform(0.01, 0.05) if scale is None else scale),
            int(self.random.choice([0, 0, 3, 119, 128]) if zero_point is None else zero_point),
        )
        return name

    def dequantize(self, codes: str) -> str:
        """The numbers that a tensor of codes stands for."""
        scale, zero_point = self.scales[codes]
        return self.node(
            "DequantizeLinear", [codes, self.constant(scale), self.constant(np.uint8(zero_point))]
        )

    def quantize(self, numbers: str, scale: float, zero_point: int = 0, top: int = 255) -> str:
        """Codes 0 to ``top`` of numbers."""
        names = [numbers, self.constant(np.float32(scale)), self.constant(np.uint8(zero_point))]
        codes = self.node("QuantizeLinear", names)
        if top < 255:
            codes = self.node("Clip", [codes, self.constant(np.uint8(0)), self.constant(np.uint8(top))])
        self.scales[codes] = (np.float32(scale), zero_point)
        return codes

    def weights(self, codes: Array, steps: Array) -> str:
        """Dequantized int8 weights with one step per row."""
        names = [self.constant(codes), self.constant(steps), self.constant(np.zeros(len(codes), np.int8))]
        return self.node("DequantizeLinear", names, axis=0)

    def bias(self, codes: Array, steps: Array, input_codes: str) -> str:
        """A dequantized int32 bias in units of the sums."""
        unit = (self.scales[input_codes][0] * steps).astype(np.float32)
        names = [self.constant(codes), self.constant(unit), self.constant(np.zeros(len(codes), np.int32))]
        return self.node("DequantizeLinear", names, axis=0)

    def build(self, output: str, kind: int = TensorProto.UINT8) -> bytes:
        """The ONNX file of the graph that ends in ``output``."""
        inputs = [helper.make_tensor_value_info(name, TensorProto.UINT8, shape) for name, shape in self.inputs.items()]
        constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in self.constants.items()]
        outputs = [helper.make_tensor_value_info(output, kind, None)]
        graph = helper.make_graph(self.nodes, "layer", inputs, outputs, constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = IR_VERSION
        return bytes(onnx.shape_inference.infer_shapes(model).SerializeToString())

    def feeds(self) -> dict[str, Array]:
        """Random codes for every input."""
        return {
            name: self.random.integers(0, 256, shape, dtype=np.uint8) for name, shape in self.inputs.items()
        }


FORMATS: Mapping[str, tuple[tuple[str, ...], tuple[float, ...]]] = {
    "rmsmp": (("pot4", "fixed4", "fixed8"), (0.65, 0.30, 0.05)),
    "ilmpq": (("fixed4", "fixed8"), (0.95, 0.05)),
    "esb": (("esb(5,2)",), (1.0,)),
    "binary": (("binary",), (1.0,)),
    "fixed": (("fixed4",), (1.0,)),
    "fixed8": (("fixed8",), (1.0,)),
}
"""Method, formats of its rows and their shares."""


def draw_weights(random: np.random.Generator, shape: Sequence[int], method: str) -> tuple[Array, Array]:
    """Gaussian weights on the levels of a method.

    Args:
        random: where they are drawn from.
        shape: (O, ...).
        method: key of :data:`FORMATS`.

    Returns:
        int8 codes of that shape and (O,) float32 steps; the rows of the formats are mixed.
    """
    names, shares = FORMATS[method]
    formats = [level_set(name) for name in names]
    rows = random.permutation(np.searchsorted(np.cumsum(shares) * shape[0], np.arange(shape[0]), side="right"))
    weights = random.normal(0, random.uniform(0.5, 2.0) / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32)
    codes = np.empty(shape, np.int8)
    steps = np.empty(shape[0], np.float32)
    for index, row in enumerate(np.minimum(rows, len(formats) - 1)):
        codes[index], steps[index] = _quantized_row(weights[index], formats[row])
    return codes, steps


def _quantized_row(weights: Array, levels: LevelSet) -> tuple[Array, np.float32]:
    spread = np.abs(weights).mean() if levels.name == "binary" else np.abs(weights).max()
    alpha = np.float32(max(float(spread), 1e-8))
    return project_array(levels, weights / alpha).astype(np.int8), np.float32(alpha / levels.largest)
