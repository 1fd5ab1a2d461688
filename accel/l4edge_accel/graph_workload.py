"""The workload of an ONNX graph or of a model package, with the formats its manifest declares.

Reading graphs needs the library ``onnx``, which the vehicle does not have; it belongs to the extra ``training``.
"""

import math
import re
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
import onnxruntime

from l4edge_accel.workload import Gemm, Operation, Step, Workload
from l4edge_perception.errors import InputError
from l4edge_perception.packages import MANIFEST, load_package

ELEMENTWISE = {
    "Add": "add", "Sub": "add", "Mul": "add", "Div": "add", "Pow": "add", "Sqrt": "add", "Where": "add",
    "Relu": "add", "Clip": "add", "Sigmoid": "gelu", "Tanh": "gelu", "Erf": "gelu", "Gelu": "gelu", "HardSwish": "gelu",
    "LeakyRelu": "add", "Softmax": "softmax", "LayerNormalization": "layernorm", "ReduceMean": "layernorm",
    "BatchNormalization": "add", "MaxPool": "pool", "AveragePool": "pool", "GlobalAveragePool": "pool",
    "GlobalMaxPool": "pool", "ReduceMax": "pool", "ReduceSum": "pool", "Resize": "move", "Concat": "move",
    "Transpose": "move", "Slice": "move", "Split": "move", "Gather": "move", "Expand": "move", "Pad": "move",
}
"""Operator: the kind of step that it is."""

FREE = {
    "Constant", "ConstantOfShape", "Shape", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Cast", "Equal",
    "QuantizeLinear", "DequantizeLinear", "Dropout", "Range",
}
"""Operators without work of their own: other views of the same values, or the rounding that every result gets."""

FLOAT_ROWS = {"fixed16": 1.0}
"""Weights of a layer that nobody quantized: the accelerator takes them as 16-bit fixed point."""

_TYPES = {"tensor(uint8)": np.uint8, "tensor(int8)": np.int8, "tensor(int64)": np.int64, "tensor(int32)": np.int32}

QUANTIZER = ".row_quantizer.steps"


def read_workload(path: Path, level: Optional[str] = None, quantized: bool = False) -> Workload:
    """The workload of one inference (batch 1).

    Args:
        path: of an ONNX file, or of a model package.
        level: of the package, or None for its first.
        quantized: whether only a package that says how its layers are quantized will do.

    Raises:
        InputError: no such file, an operator that the accelerator has no engine for (named with its node), a size that
            is not known before the run, a package whose schemes do not fit its graph, or one without schemes although
            ``quantized`` asks for them.
    """
    if (path / MANIFEST).is_file():
        package = load_package(path)
        entry = package.level(level)
        if quantized and not entry.schemes:
            having = [other.name for other in package.levels if other.schemes]
            raise InputError(
                f"{path}: level {entry.name!r} does not say how its layers are quantized; "
                + (f"levels that do: {', '.join(having)}" if having else "quantize it with l4edge compress")
            )
        return _workload(f"{package.name}.{entry.name}", package.read_graph(entry), entry.schemes, str(path))
    if quantized and path.is_file():
        raise InputError(f"{path}: a bare ONNX file does not say how its layers are quantized; give a model package")
    if not path.is_file():
        raise InputError(f"{path}: no such ONNX file or model package")
    return _workload(path.stem, path.read_bytes(), {}, str(path))


class _Graph:
    """Sizes and constants of a graph's tensors."""

    def __init__(self, content: bytes, file: str):
        try:
            import onnx
        except ImportError as error:
            raise InputError("reading ONNX graphs needs the library onnx: pip install 'l4edge[training]'") from error
        try:
            model = onnx.load_model_from_string(content)
        except Exception as error:  # onnx raises many kinds
            raise InputError(f"{file}: not an ONNX graph that can be read ({error})") from error
        self.file = file
        self.nodes = model.graph.node
        self.constants = {value.name: tuple(value.dims) for value in model.graph.initializer}
        self.makers = {output: node for node in self.nodes for output in node.output}
        self._sizes = {**self.constants, **_sizes_of_a_run(model, file)}

    def shape(self, tensor: str, node: Any) -> Tuple[int, ...]:
        """Sizes of a tensor. Raises InputError naming ``node`` where they are not known."""
        sizes = self._sizes.get(tensor)
        if sizes is None:
            raise InputError(f"{self.file}: node {node.name or node.output[0]!r} ({node.op_type}): no {tensor!r} in it")
        return sizes

    def layer(self, tensor: str) -> Optional[str]:
        """The layer whose weights ``tensor`` is, or None where it comes from activations; unquantized ones are ""."""
        pending, seen, found = [tensor], set(), False
        while pending:
            name = pending.pop()
            if name in seen:
                continue
            seen.add(name)
            if name in self.constants:
                found = True
                if name.endswith(QUANTIZER):
                    return name[: -len(QUANTIZER)]
                continue
            maker = self.makers.get(name)
            if maker is None:
                return None  # an input of the graph
            pending += [entry for entry in maker.input if entry]
        return "" if found or any(self._is_constant(name) for name in seen) else None

    def _is_constant(self, name: str) -> bool:
        return name in self.makers and self.makers[name].op_type == "Constant"

    def activation_bits(self, tensor: str) -> int:
        """Bits of the codes that ``tensor`` is made of, 16 where nobody quantized it."""
        maker = self.makers.get(tensor)
        while maker is not None and maker.op_type in {"Reshape", "Transpose", "Squeeze", "Split", "Gather", "Flatten"}:
            maker = self.makers.get(maker.input[0])
        return 8 if maker is not None and maker.op_type == "DequantizeLinear" else 16


def _sizes_of_a_run(model: Any, file: str) -> Dict[str, Tuple[int, ...]]:
    """Sizes of all tensors for one blank input, a batch of 1: the one way that knows every operator's sizes."""
    outputs = {value.name for value in model.graph.output}
    for node in model.graph.node:
        for output in node.output:
            if output and output not in outputs:
                model.graph.output.add().name = output
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        blank = {
            entry.name: np.zeros([size if isinstance(size, int) and size > 0 else 1 for size in entry.shape],
                                 _TYPES.get(entry.type, np.float32))
            for entry in session.get_inputs()
        }
        names = [entry.name for entry in session.get_outputs()]
        values = dict(zip(names, session.run(names, blank)))
        return {name: np.shape(value) for name, value in {**blank, **values}.items()}
    except Exception as error:  # onnxruntime raises its own kinds, without a common base
        raise InputError(f"{file}: onnxruntime cannot run it on a blank input of batch 1 ({error})") from error


def _workload(name: str, content: bytes, schemes: Mapping[str, str], file: str) -> Workload:
    graph = _Graph(content, file)
    operations: List[Operation] = []
    used = set()
    for node in graph.nodes:
        label = node.name or node.output[0]
        if node.op_type in FREE:
            continue
        if node.op_type in {"Conv", "Gemm", "MatMul"}:
            layer = graph.layer(node.input[1])
            if layer is None or not _constant_only(graph, node.input[1]):
                rows: Mapping[str, float] = {}
            else:
                used.add(layer)
                rows = _rows(schemes[layer], file, layer) if layer in schemes else FLOAT_ROWS
                label = layer or label
            operations.append(_gemm(graph, node, label, rows))
        elif node.op_type in ELEMENTWISE:
            if not _constant_only(graph, node.output[0]):
                shape = graph.shape(node.output[0], node)
                operations.append(Step(label, ELEMENTWISE[node.op_type], math.prod(shape), math.prod(shape[:-1])))
        else:
            raise InputError(
                f"{file}: node {label!r}: no engine for operator {node.op_type}; the accelerator knows "
                f"{', '.join(sorted({'Conv', 'Gemm', 'MatMul', *ELEMENTWISE}))}"
            )
    missing = sorted(set(schemes) - used)
    if missing:
        raise InputError(f"{file}: the manifest gives layer {missing[0]!r} a scheme, but the graph has no such layer")
    if not any(isinstance(operation, Gemm) for operation in operations):
        raise InputError(f"{file}: no convolution or matrix product in it")
    return Workload(name, tuple(operations))


def _constant_only(graph: _Graph, tensor: str) -> bool:
    """Whether a tensor is made of constants alone."""
    pending, seen = [tensor], set()
    while pending:
        name = pending.pop()
        if name in seen or name in graph.constants or not name:
            continue
        seen.add(name)
        maker = graph.makers.get(name)
        if maker is None:
            return False
        if maker.op_type != "Shape":  # sizes are fixed
            pending += list(maker.input)
    return True


def _rows(scheme: str, file: str, layer: str) -> Dict[str, float]:
    """``"pot4 13, fixed4 19, fixed8 32"`` or ``"esb(6,3)"`` to shares."""
    parts = re.split(r",\s+", scheme)
    counts: Dict[str, float] = {}
    for part in parts:
        found = re.fullmatch(r"(\S+?)(?:\s+(\d+))?", part.strip())
        if not found:
            raise InputError(f"{file}: layer {layer!r}: scheme {scheme!r} cannot be read")
        counts[found.group(1)] = float(found.group(2) or 1)
    total = sum(counts.values())
    return {name: count / total for name, count in counts.items() if count}


def _gemm(graph: _Graph, node: Any, label: str, rows: Mapping[str, float]) -> Gemm:
    first, second = graph.shape(node.input[0], node), graph.shape(node.input[1], node)
    out = graph.shape(node.output[0], node)
    bits = graph.activation_bits(node.input[0])
    if node.op_type == "Conv":
        groups = first[1] // second[1]
        return Gemm(
            label, second[0] // groups, math.prod(second[1:]), math.prod(out[2:]), groups, rows, bits,
            math.prod(first[1:]) // groups, (second[2], second[3]) if len(second) == 4 else (1, second[2]),
        )
    if node.op_type == "Gemm":
        transposed = any(entry.name == "transB" and entry.i for entry in node.attribute)
        outputs, inputs = second if transposed else second[::-1]
        return Gemm(label, outputs, inputs, _product(first) // inputs, 1, rows, bits)
    if rows:
        return Gemm(label, second[-1], second[-2], _product(first) // second[-2], 1, rows, bits)
    return Gemm(label, out[-1], first[-1], out[-2], _product(out[:-2]), rows, bits)


def _product(sizes: Sequence[int]) -> int:
    return math.prod(sizes)
