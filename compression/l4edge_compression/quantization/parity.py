"""The interpreter against onnxruntime: how many outputs differ, and by how much."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from l4edge_compression.quantization.integer import IntegerModel
from l4edge_compression.quantization.integer.groups import GROUPS
from l4edge_compression.quantization.integer.model import Node
from l4edge_perception.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[Any]"

INTEGER_OPERATORS = (
    "Conv", "Gemm", "MatMul", "Add", "Mul", "GlobalAveragePool", "AveragePool", "MaxPool", "Concat", "QuantizeLinear",
)
"""Operators that must agree in every output."""


@dataclass(frozen=True)
class Count:
    """How outputs compare.

    Attributes:
        outputs: compared. mismatches: of them different. largest: difference, in codes or in the numbers' unit.
    """

    outputs: int = 0
    mismatches: int = 0
    largest: float = 0.0

    def __add__(self, other: Count) -> Count:
        return Count(
            self.outputs + other.outputs, self.mismatches + other.mismatches, max(self.largest, other.largest)
        )


@dataclass(frozen=True)
class Parity:
    """A graph compared.

    Attributes:
        outputs: the graph's outputs, the interpreter running on its own.
        operators: kind of operator and the results of all of that kind, each computed from the very inputs that
            onnxruntime had; so a difference counts where it arises and nowhere else.
        runtime: kind of operator and how many of it onnxruntime runs after its own optimization.
        onnxruntime: its version.
    """

    outputs: Count
    operators: Mapping[str, Count]
    runtime: Mapping[str, int]
    onnxruntime: str = field(default=onnxruntime.__version__)

    @property
    def exact(self) -> bool:
        """Whether every integer operator agreed in every output."""
        return not any(count.mismatches for kind, count in self.operators.items() if kind in INTEGER_OPERATORS)

    @property
    def integer_outputs(self) -> int:
        """Results of integer operators that were compared."""
        return sum(count.outputs for kind, count in self.operators.items() if kind in INTEGER_OPERATORS)

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {"exact": self.exact, **asdict(self)}


def compare_arrays(expected: Array, given: Array) -> Count:
    """Count where two arrays of one shape differ; what is no number on both sides is equal."""
    if expected.shape != given.shape:
        raise InputError(f"parity: shapes differ, {expected.shape} and {given.shape}")
    if np.issubdtype(expected.dtype, np.integer):
        difference = np.abs(expected.astype(np.int64) - given.astype(np.int64)).astype(np.float64)
    else:
        with np.errstate(invalid="ignore"):
            difference = np.abs(expected.astype(np.float64) - given.astype(np.float64))
        difference = np.where(np.isnan(expected) & np.isnan(given) | (expected == given), 0.0, difference)
        difference = np.where(np.isnan(difference), np.inf, difference)
    return Count(expected.size, int(np.count_nonzero(difference)), float(difference.max(initial=0.0)))


def make_session(content: bytes, threads: int = 1, optimized: str = "") -> onnxruntime.InferenceSession:
    """A session on the processor; ``optimized`` names a file for the graph that really runs."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if optimized:
        options.optimized_model_filepath = optimized
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def runtime_operators(content: bytes) -> dict[str, int]:
    """Kind of operator and how many of it onnxruntime runs after its own optimization.

    The layout in which a session keeps tensors depends on the processor, and so do Transpose nodes at the edges.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimized.onnx"
        make_session(content, optimized=str(path))
        counts = Counter(node.op_type for node in onnx.load(path).graph.node)
    return dict(sorted(counts.items()))


def expose(content: bytes, names: Sequence[str]) -> bytes:
    """The same graph with further outputs; codes are uint8."""
    model = onnx.load_from_string(content)
    present = {output.name for output in model.graph.output}
    for name in names:
        if name not in present:
            model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.UINT8, None))
    return bytes(model.SerializeToString())


def compare(content: bytes, batches: Iterable[Mapping[str, Array]]) -> Parity:
    """Run a graph here and in onnxruntime and compare.

    Args:
        content: the ONNX file.
        batches: arrays by input name.

    Raises:
        InputError: no batches, or the graph cannot be read on one side.
    """
    model = IntegerModel(content)
    session = make_session(content)
    quantized = [name for node in model.nodes if node.kind == "QuantizeLinear" for name in node.outputs]
    inner = make_session(expose(content, quantized))
    kinds = {name: _origin(model, name) for name in (*quantized, *model.outputs)}
    outputs, operators, batch_count = Count(), dict[str, Count](), 0
    for feeds in batches:
        batch_count += 1
        expected = session.run(list(model.outputs), dict(feeds))
        for one, other in zip(expected, model.run(feeds), strict=True):
            outputs += compare_arrays(one, other)
        codes = dict(zip(quantized, inner.run(quantized, dict(feeds)), strict=True)) if quantized else {}
        results = model.run(feeds, given=codes)
        # A quantized output was replaced by what was given; the trace has what was computed.
        computed = {**dict(zip(model.outputs, results, strict=True)), **{name: model.trace[name] for name in quantized}}
        for name, value in computed.items():
            reference = codes[name] if name in codes else expected[model.outputs.index(name)]
            kind = kinds[name]
            operators[kind] = operators.get(kind, Count()) + compare_arrays(reference, value)
    if not batch_count:
        raise InputError("parity: no batches to compare on; give at least one")
    return Parity(outputs, dict(sorted(operators.items())), runtime_operators(content))


_CARRIERS = (
    "QuantizeLinear", "DequantizeLinear", "Clip", "Relu", "Reshape", "Transpose", "Flatten", "Identity", "Cast",
    "Squeeze", "Unsqueeze", "Slice", "Split", "Gather", "SpaceToDepth", "Expand",
)


_MOVERS = ("MaxPool", "Resize", "Concat", "Pad")


def _origin(model: IntegerModel, name: str) -> str:
    """Which operator a tensor's numbers come from."""
    node = model.producers.get(name)
    while node is not None and node.kind in _CARRIERS:
        source = node.inputs[1] if node.kind == "Gather" and node.inputs[0] in model.constants else node.inputs[0]
        if source not in model.producers:
            return "QuantizeLinear" if node.kind != "DequantizeLinear" else node.kind
        previous, node = node, model.producers[source]
        if previous.kind == "QuantizeLinear" and node.kind in _CARRIERS:
            return "QuantizeLinear"
    if node is None:
        return "input"
    return node.kind if _is_integer(model, node) else f"float {node.kind}"


def _is_integer(model: IntegerModel, node: Node) -> bool:
    """Whether an operator works on codes, or on numbers that all come straight from codes."""
    data = [name for name in node.inputs if name and name not in model.constants]
    sources = [model.producers[name].kind if name in model.producers else "input" for name in data]
    weights = [model.constants[name] for name in node.inputs if name in model.constants]
    if node.kind in _MOVERS and "DequantizeLinear" not in sources:
        return all(_holds_codes(model, name) for name in data)
    plain = any(isinstance(value, np.ndarray) for value in weights)
    return node.kind in GROUPS and not plain and all(kind == "DequantizeLinear" for kind in sources)


def _holds_codes(model: IntegerModel, name: str) -> bool:
    """Whether a tensor is one of codes, however they were moved; not what a layer gives in float."""
    node = model.producers.get(name)
    while node is not None and node.kind in (*_CARRIERS, *_MOVERS):
        if node.kind in ("QuantizeLinear", "DequantizeLinear"):
            return node.kind == "QuantizeLinear"
        moved = node.inputs[1] if node.kind == "Gather" and node.inputs[0] in model.constants else node.inputs[0]
        node = model.producers.get(moved)
    return node is None


def self_test(seed: int = 0) -> Parity:
    """Whether the formulas hold for the onnxruntime and the processor at hand, in about a second.

    One convolution, Gemm, addition and each pool, drawn at random. On other processors, where instructions round
    differently, ``exact`` may be false; then outputs may differ by one.
    """
    from l4edge_compression.quantization import layer_graphs

    random = np.random.default_rng(seed)
    outputs, operators = Count(), dict[str, Count]()
    for draw in (
        layer_graphs.convolution(16, 24, 14, 3),
        layer_graphs.convolution(16, 16, 14, 3, groups=16),
        layer_graphs.linear(16, 64, 64),
        layer_graphs.joint("Add", (1, 32, 32, 32)),
        layer_graphs.single("GlobalAveragePool", (1, 64, 7, 7)),
        layer_graphs.single("AveragePool", (1, 16, 8, 8), kernel_shape=[2, 2], strides=[2, 2]),
    ):
        layer = draw(random, "rmsmp")
        result = compare(layer.content, [layer.feeds])
        outputs += result.outputs
        for kind, count in result.operators.items():
            operators[kind] = operators.get(kind, Count()) + count
    return Parity(outputs, operators, {})
