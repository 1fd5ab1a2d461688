"""What an ONNX graph takes, gives and costs, as onnxruntime itself tells: no second reader of ONNX files is needed."""

import json
import math
import tempfile
from pathlib import Path
from typing import Any, List, Mapping, NamedTuple, Sequence, Tuple

import numpy as np
import onnxruntime

from l4edge_perception.errors import InputError


class TensorSpec(NamedTuple):
    """A graph's input or output. Sizes that change from run to run are -1."""

    name: str
    dtype: str
    shape: Tuple[int, ...]


def graph_signature(content: bytes, file: str) -> Tuple[Tuple[TensorSpec, ...], Tuple[TensorSpec, ...]]:
    """Inputs and outputs of an ONNX graph. Raises InputError, naming ``file``, if onnxruntime cannot load it."""
    options = onnxruntime.SessionOptions()
    # Only the signature is wanted: optimizing the graph would take most of the time.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own kinds, without a common base
        reason = " ".join(str(error).split())
        raise InputError(f"{file}: onnxruntime {onnxruntime.__version__} cannot load it ({reason})") from error
    return _specs(session.get_inputs()), _specs(session.get_outputs())


WEIGHT_POSITION = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3}
"""Convolutions, and which input holds their (out, in per group, ...) weights."""

FACTOR_POSITION = {"MatMul": 1, "MatMulInteger": 1, "Gemm": 1, "QLinearMatMul": 3}
"""Matrix products, and which input is the second factor."""


def count_macs(graph: bytes, inputs: Mapping[str, np.ndarray]) -> int:
    """Multiply-accumulate operations of the convolutions and matrix products of one run on ``inputs``.

    The shapes are those of onnxruntime's profile of that run.
    """
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        # Fused operators would hide what they were made of.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 4
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        session.run(None, dict(inputs))
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return sum(_operations(event["args"]) for event in events if event["name"].endswith("_kernel_time"))


def _operations(node: Mapping[str, Any]) -> int:
    kind = node["op_name"]
    if kind not in WEIGHT_POSITION and kind not in FACTOR_POSITION:
        return 0
    inputs, output = _shapes(node["input_type_shape"]), _shapes(node["output_type_shape"])[0]
    if kind in WEIGHT_POSITION:
        return math.prod(output) * math.prod(inputs[WEIGHT_POSITION[kind]][1:])
    # (M, K) x (K, N): the products of the sizes give K whichever factor is transposed; batches scale all alike.
    # A constant second factor that was packed ahead of the run is missing from the profile.
    first, position = inputs[0], FACTOR_POSITION[kind]
    if kind == "Gemm" and position < len(inputs):
        second = inputs[position]
        return math.isqrt(math.prod(first) * math.prod(second) * math.prod(output))
    return math.prod(output) * first[-1]


def _shapes(described: List[Mapping[str, List[int]]]) -> List[List[int]]:
    """[{"float": [1, 3]}, ...] to [[1, 3], ...]; an absent optional input has no shape."""
    return [next(iter(entry.values()), []) for entry in described]


def _specs(nodes: Sequence[Any]) -> Tuple[TensorSpec, ...]:
    return tuple(TensorSpec(node.name, _dtype(node.type), _shape(node.shape)) for node in nodes)


def _dtype(onnx_type: str) -> str:
    """Numpy's word: float32 for tensor(float); words without one stay as onnxruntime says them."""
    inner = onnx_type[len("tensor(") : -1] if onnx_type.startswith("tensor(") else onnx_type
    return {"float": "float32", "double": "float64"}.get(inner, inner)


def _shape(sizes: Sequence[Any]) -> Tuple[int, ...]:
    return tuple(size if isinstance(size, int) and size >= 0 else -1 for size in sizes)
