"""A quantized model package, layer by layer: integers of onnxruntime, of the Python engine, and of the RTL."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import onnxruntime

from l4edge_accel.configuration import EngineConfig, RowGroup
from l4edge_accel.engines.array import layer_outputs, layer_streams, products
from l4edge_accel.rtl.check import Pace, run_layers
from l4edge_perception.errors import InputError
from l4edge_perception.packages import ModelPackage

TOKENS = 48
COMPARED_TOKENS = 256
GROUPS = {
    "rmsmp": (("pot4", 6), ("fixed4", 4), ("fixed8", 3)),
    "w1a8": (("binary", 6), ("fixed8", 4)),
    "esb": (("esb(6,3)", 6), ("fixed8", 4)),
}
"""Level of a package, and the rows of the engine that takes all its layers."""


@dataclass(frozen=True)
class QuantizedLayer:
    """One layer as integers.

    Attributes:
        name: of its node.
        weights: (M, N) int64. activations: (N, F) int64 as unsigned codes, zero point included.
        zero_point: of the activations.
        sums: (M, F) int64, of onnxruntime's own integer operator, zero point taken off.
    """

    name: str
    weights: np.ndarray
    activations: np.ndarray
    zero_point: int
    sums: np.ndarray


def engine_for(level: str) -> EngineConfig:
    """Return the engine for a level's layers; InputError if none is defined."""
    for word, groups in GROUPS.items():
        if word in level:
            rows = tuple(RowGroup(name, count) for name, count in groups)
            return EngineConfig(
                level, rows, inputs=16, activation_bits=8, activation_signed=False, accumulator_bits=30,
                port_bits=128, ports_in=1, ports_weight=2, ports_out=2, tokens=TOKENS,
            )
    raise InputError(f"level {level}: no engine for it; levels are {', '.join(GROUPS)}")


def layers(package: ModelPackage, level: str, tokens: int = COMPARED_TOKENS, seed: int = 0) -> Iterator[QuantizedLayer]:
    """Run a level once on a random image and yield its layers with quantized weights, at up to ``tokens`` places each.

    Raises:
        InputError: the package extra ``onnx`` is missing, or the level has no quantized layers.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise InputError("packages: reading weights needs onnx; pip install 'l4edge[rtl]'") from error
    graph_file = package.path / package.level(level).graph
    model = onnx.load(str(graph_file))
    graph = model.graph
    constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    makers = {output: node for node in graph.node for output in node.output}
    found = []
    for node in graph.node:
        operands: list[Any] = [makers.get(name) for name in node.input[:2]]
        if node.op_type not in {"Conv", "Gemm", "MatMul"} or any(
            operand is None or operand.op_type != "DequantizeLinear" for operand in operands
        ):
            continue
        zero = constants[operands[1].input[2]]
        if zero.dtype == np.int8 and zero.size > 1:  # one step per row: weights; products of activations have none
            found.append((node, operands[0].input, operands[1].input[0]))
    if not found:
        raise InputError(f"{graph_file}: no layer with integer weights; choose a quantized level")
    wanted = list(dict.fromkeys(name for _, inputs, codes in found for name in (inputs[0], codes)))
    known = {output.name for output in graph.output} | set(constants)
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted if name not in known)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    shape = [size if isinstance(size, int) and size > 0 else 1 for size in entry.shape]
    image = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    asked = [name for name in wanted if name not in constants and name != entry.name]
    values = dict(zip(asked, session.run(asked, {entry.name: image}), strict=True)) | constants | {entry.name: image}
    for node, inputs, codes in found:
        zero = int(np.ravel(values[inputs[2]])[0]) if len(inputs) > 2 else 0
        yield _layer(node, values[inputs[0]], values[codes], zero, tokens, seed)


def _layer(
    node: Any, activations: np.ndarray, weights: np.ndarray, zero: int, tokens: int, seed: int
) -> QuantizedLayer:
    attributes = {item.name: item for item in node.attribute}
    generator = np.random.default_rng(seed)
    if node.op_type == "Conv":
        strides = list(attributes["strides"].ints) if "strides" in attributes else [1, 1]
        pads = list(attributes["pads"].ints) if "pads" in attributes else [0, 0, 0, 0]
        if ("group" in attributes and attributes["group"].i != 1) or any(
            value != 1 for value in (attributes["dilations"].ints if "dilations" in attributes else [])
        ):
            raise InputError(f"node {node.name}: grouped and dilated convolutions are not checked; use a plain one")
        sums = _integer_operator(activations, weights, zero, strides, pads)
        columns, places = _patches(activations, weights.shape[2:], strides, pads, zero, tokens, generator)
        chosen = sums[0].reshape(len(weights), -1)[:, places]
        return QuantizedLayer(node.name, weights.reshape(len(weights), -1).astype(np.int64), columns, zero, chosen)
    transposed = bool("transB" in attributes and attributes["transB"].i)
    matrix = (weights if transposed else weights.T).astype(np.int64)
    rows = activations.reshape(-1, activations.shape[-1])
    places = np.sort(generator.permutation(len(rows))[:tokens])
    sums = _integer_operator(rows, matrix.T.astype(np.int8), zero)
    return QuantizedLayer(node.name, matrix, rows[places].T.astype(np.int64), zero, sums[places].T)


def _integer_operator(
    activations: np.ndarray, weights: np.ndarray, zero: int, strides: Any = None, pads: Any = None
) -> np.ndarray:
    """Return onnxruntime's 32-bit accumulators of one convolution or matrix product, as int64."""
    from onnx import TensorProto, helper

    names = ["x", "w", "zero"]
    if strides is None:
        node = helper.make_node("MatMulInteger", names, ["y"])
    else:
        node = helper.make_node("ConvInteger", names, ["y"], strides=strides, pads=pads)
    entries = [
        helper.make_tensor_value_info("x", TensorProto.UINT8, activations.shape),
        helper.make_tensor_value_info("w", TensorProto.INT8, weights.shape),
        helper.make_tensor_value_info("zero", TensorProto.UINT8, []),
    ]
    result = helper.make_tensor_value_info("y", TensorProto.INT32, None)
    graph = helper.make_graph([node], "layer", entries, [result])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feed = {"x": activations, "w": np.ascontiguousarray(weights), "zero": np.array(zero, np.uint8)}
    return session.run(None, feed)[0].astype(np.int64)


def _patches(
    image: np.ndarray, kernel: Any, strides: Any, pads: Any, zero: int, tokens: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the inputs of a convolution at some output places: (N, F), and the places' flat indices."""
    padded = np.pad(image[0], ((0, 0), (pads[0], pads[2]), (pads[1], pads[3])), constant_values=zero)
    height = (padded.shape[1] - kernel[0]) // strides[0] + 1
    width = (padded.shape[2] - kernel[1]) // strides[1] + 1
    places = np.sort(generator.permutation(height * width)[:tokens])
    columns = [
        padded[:, y : y + kernel[0], x : x + kernel[1]].reshape(-1)
        for y, x in ((place // width * strides[0], place % width * strides[1]) for place in places)
    ]
    return np.stack(columns, axis=1).astype(np.int64), places


class RowPlan(NamedTuple):
    """Where the rows of a layer go.

    Attributes:
        rows: for each row group the indices of its rows.
        weights: for each row group its rows' integers, (M_g, N), divided by their factors.
        factors: (M, 1) in the order of the groups. A row whose integers share a factor may be stored without it: the
            factor belongs to the row's scale.
    """

    rows: list[np.ndarray]
    weights: list[np.ndarray]
    factors: np.ndarray


def plan_rows(engine: EngineConfig, weights: np.ndarray) -> RowPlan:
    """Give each row of (M, N) integers to the first row group of ``engine`` whose format holds it.

    Raises:
        InputError: no format of the engine holds a row.
    """
    taken: list[list[int]] = [[] for _ in engine.groups]
    factors = np.ones(len(weights), np.int64)
    for index, row in enumerate(weights):
        common = max(1, int(np.gcd.reduce(row)))
        fitting = [
            (i, factor) for i, group in enumerate(engine.groups) for factor in sorted({1, common})
            if group.number_format.holds(row // factor)
        ]
        if not fitting:
            raise InputError(f"engine {engine.name}: row {index} of a layer fits none of its formats")
        taken[fitting[0][0]].append(index)
        factors[index] = fitting[0][1]
    rows = [np.array(part, np.int64) for part in taken]
    order = np.concatenate(rows)
    return RowPlan(rows, [weights[part] // factors[part, None] for part in rows], factors[order, None])


def check_level(package: ModelPackage, level: str, on_rtl: bool = True) -> dict[str, Any]:
    """Compare all layers of a level: onnxruntime's accumulators, the Python engine's, and the RTL's.

    The engine multiplies codes without their zero point; what that adds is the same for all places of a row and is
    taken off.
    """
    engine = engine_for(level)
    results = []
    for layer in layers(package, level):
        rows, weights, factors = plan_rows(engine, layer.weights)
        order = np.concatenate(rows)
        correction = layer.zero_point * layer.weights[order].sum(axis=1, keepdims=True)
        sums = products(engine, weights, layer.activations)
        result = {
            "layer": layer.name,
            "rows": {group.format: len(part) for group, part in zip(engine.groups, rows, strict=True)},
            "inputs": layer.weights.shape[1], "compared_with_onnxruntime": sums.size,
            "onnxruntime_mismatches": int((factors * sums - correction != layer.sums[order]).sum()),
            "compared_with_rtl": 0, "rtl_mismatches": 0, "cycles": 0, "cycle_differences": 0,
        }
        if on_rtl:
            sampled = layer.activations[:, :TOKENS]
            streams = layer_streams(engine, weights, sampled)
            (outcome,) = run_layers(engine, [streams], [Pace()])
            back = layer_outputs(engine, [len(part) for part in rows], sampled.shape[1], outcome.values)
            result |= {
                "compared_with_rtl": back.size, "rtl_mismatches": int((back != sums[:, :TOKENS]).sum()),
                "cycles": outcome.cycles, "cycle_differences": int(outcome.cycles != outcome.predicted),
            }
        results.append(result)
    return {"package": package.name, "level": level, "layers": results}
