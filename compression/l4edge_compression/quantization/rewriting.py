"""From the graph that torch writes to one that runs as integers, without changing a single result but by rounding once.

Every pass takes an :class:`EditableGraph` and changes it. Normalizations become steps and biases, biases become int32,
linear layers become Gemm, what only moves numbers moves codes, rectifiers become saturation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from onnx import TensorProto, numpy_helper

from l4edge_compression.quantization.integer import arithmetic
from l4edge_compression.quantization.integer.movement import MOVEMENT
from l4edge_compression.quantization.integer.operators import FLOAT_OPERATORS
from l4edge_compression.quantization.onnx_graph import EditableGraph, attributes_of
from l4edge_compression.quantization.rewriting_layers import (
    fold_normalizations,
    integer_biases,
    linear_to_gemm,
    means_to_pools,
    strides_to_depth,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[Any]"

MOVERS = ("Reshape", "Transpose", "Flatten", "MaxPool", "Squeeze", "Unsqueeze", "Slice", "Gather", "Split", "Resize",
          "Identity", "Expand", "Tile", "Dropout")
"""Operators that give codes where they are given codes."""

TOP = 255


def rewrite(content: bytes) -> bytes:
    """Apply every pass to the ONNX file of a traced model.

    Args:
        content: with DequantizeLinear on int8 weights (axis 0) and QuantizeLinear, DequantizeLinear pairs on tensors.

    Returns:
        The ONNX file to ship.
    """
    graph = EditableGraph(content)
    for step in (
        fold_constants,
        pixels_to_codes,
        fold_normalizations,
        linear_to_gemm,
        means_to_pools,
        move_codes,
        quantize_constants,
        rectify_by_saturation,
        drop_repeated_quantizing,
        drop_double_quantizing,
        move_codes,
        integer_biases,
        strides_to_depth,
    ):
        step(graph)
        graph.drop_unused()
    return graph.content()


def fold_constants(graph: EditableGraph) -> None:
    """What depends on constants only, or on sizes that are fixed, is computed now; weights stay as they are stored."""
    gone = []
    for node in graph.nodes:
        operator = MOVEMENT.get(node.op_type) or FLOAT_OPERATORS.get(node.op_type)
        if operator is None or len(node.output) != 1 or node.output[0] in graph.outputs:
            continue
        attributes = {name: numpy_helper.to_array(value) if isinstance(value, TensorProto) else value
                      for name, value in attributes_of(node).items()}
        sizes = graph.shapes.get(node.input[0], [-1])
        if node.op_type == "Shape" and -1 not in sizes:
            graph.constants[node.output[0]] = np.asarray(sizes, np.int64)
        elif all(name in graph.constants or not name for name in node.input):
            inputs = [graph.constants[name] if name else None for name in node.input]
            graph.constants[node.output[0]] = np.asarray(operator(inputs, attributes))
        else:
            continue
        gone.append(node)
    graph.remove(gone)


def pixels_to_codes(graph: EditableGraph) -> None:
    """A cast of uint8 pixels to float is a DequantizeLinear with scale 1."""
    inputs = {value.name for value in graph.model.graph.input if value.type.tensor_type.elem_type == 2}
    origins = set(inputs)
    for node in graph.nodes:
        if node.op_type in MOVERS and node.input[0] in origins:
            origins.update(node.output)
        if node.op_type == "Cast" and node.input[0] in origins and attributes_of(node)["to"] == 1:
            names = [graph.constant(np.float32(1), "pixel_scale"), graph.constant(np.uint8(0), "pixel_zero")]
            node.op_type = "DequantizeLinear"
            del node.attribute[:]
            node.input.extend(names)


def move_codes(graph: EditableGraph) -> None:
    """What moves dequantized numbers moves codes and dequantizes later.

    What moves numbers that are quantized next moves the codes instead.
    """
    _quantize_early(graph)
    for node in list(graph.nodes):
        if node.op_type in MOVERS and _is_mover(graph, node):
            found = graph.dequantized(node.input[0])
            if found is None or found[1].scale.size != 1 or found[0].input[0] in graph.constants:
                continue
            node.input[0] = found[0].input[0]
            _dequantize_later(graph, node, list(found[0].input[1:]))
        elif node.op_type == "Concat":
            parts = [graph.dequantized(name) for name in node.input]
            known = [part for part in parts if part is not None]
            if len(known) != len(parts) or any(part[1].scale.size != 1 for part in known):
                continue
            if len({(part[1].scale.item(), part[1].zero_point.item()) for part in known}) != 1:
                continue
            del node.input[:]
            node.input.extend(part[0].input[0] for part in known)
            _dequantize_later(graph, node, list(known[0][0].input[1:]))


def _quantize_early(graph: EditableGraph) -> None:
    """Reshape, Transpose and the like between an operator and its QuantizeLinear go behind the latter."""
    for _ in range(len(graph.nodes)):
        changed = False
        for node in graph.nodes:
            if node.op_type not in ("Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze"):
                continue
            reader = graph.only_reader(node.output[0])
            if reader is None or reader.op_type != "QuantizeLinear" or graph.producer(node.input[0]) is None:
                continue
            if graph.dequantized(node.input[0]) is not None or graph.only_reader(node.input[0]) is None:
                continue
            codes = graph.insert(node, "QuantizeLinear", [node.input[0], *reader.input[1:]], "codes")
            node.input[0] = codes
            node.output[0] = reader.output[0]
            graph.remove([reader])
            changed = True
            break
        if not changed:
            return


def _is_mover(graph: EditableGraph, node: Any) -> bool:
    if node.op_type == "Resize":
        return attributes_of(node).get("mode", b"nearest") == b"nearest"
    return not (node.op_type == "Gather" and node.input[0] in graph.constants)


def _dequantize_later(graph: EditableGraph, node: Any, scale: list[str]) -> None:
    for place, name in enumerate(list(node.output)):
        codes = graph.fresh("codes")
        node.output[place] = codes
        graph.insert_after(node, "DequantizeLinear", [codes, *scale], name)


def quantize_constants(graph: EditableGraph) -> None:
    """A QuantizeLinear of a constant is done now."""
    for node in [node for node in graph.nodes if node.op_type == "QuantizeLinear"]:
        scale = graph.scale_of(node)
        if node.input[0] in graph.constants and scale is not None and scale.scale.size == 1:
            value = graph.constants[node.input[0]]
            graph.constants[node.output[0]] = arithmetic.quantize(value, scale.scale, scale.zero_point)
            graph.remove([node])


def rectify_by_saturation(graph: EditableGraph) -> None:
    """A ReLU, or a clip from 0 on, before a QuantizeLinear with zero point 0 becomes the codes' limits."""
    for node in [node for node in graph.nodes if node.op_type in ("Relu", "Clip")]:
        reader = graph.only_reader(node.output[0])
        if reader is None or reader.op_type != "QuantizeLinear":
            continue
        scale = graph.scale_of(reader)
        if scale is None or scale.scale.size != 1 or np.any(scale.zero_point):
            continue
        top = float(TOP)
        if node.op_type == "Clip":
            limits = [graph.constants.get(name) for name in node.input[1:3]]
            if len(limits) != 2 or limits[0] is None or limits[1] is None or limits[0].item() != 0.0:
                continue
            top = float(np.rint(np.float32(limits[1].item()) / np.float32(scale.scale.item())))
        reader.input[0] = node.input[0]
        if top < TOP:
            _limit_codes(graph, reader, int(top))
        graph.remove([node])


def _limit_codes(graph: EditableGraph, quantizer: Any, top: int) -> None:
    """Codes of a QuantizeLinear above ``top`` become ``top``, in the Clip that is there or a new one."""
    following = graph.only_reader(quantizer.output[0])
    if following is not None and following.op_type == "Clip":
        present = graph.constants[following.input[2]].item()
        following.input[2] = graph.constant(np.uint8(min(present, top)), "top")
        return
    codes = graph.fresh("codes")
    limits = [graph.constant(np.uint8(0), "least"), graph.constant(np.uint8(top), "top")]
    output = quantizer.output[0]
    quantizer.output[0] = codes
    graph.insert_after(quantizer, "Clip", [codes, *limits], output)


def drop_repeated_quantizing(graph: EditableGraph) -> None:
    """Codes that are dequantized and at once quantized to the same scale stay as they are."""
    for node in [node for node in graph.nodes if node.op_type == "QuantizeLinear"]:
        found, scale = graph.dequantized(node.input[0]), graph.scale_of(node)
        if found is None or scale is None or scale.scale.size != 1 or found[1].scale.size != 1:
            continue
        same = scale.scale.item() == found[1].scale.item() and scale.zero_point.item() == found[1].zero_point.item()
        if same and node.output[0] not in graph.outputs:
            graph.redirect(node.output[0], found[0].input[0])
            graph.remove([node])


def drop_double_quantizing(graph: EditableGraph) -> None:
    """Numbers that are quantized twice in a row, to different scales, are quantized the second time only.

    onnxruntime would merge the two into one with scales of its own (DoubleQDQPairsRemover), other than either.
    """
    for node in [node for node in graph.nodes if node.op_type == "QuantizeLinear"]:
        found = graph.dequantized(node.input[0])
        first = graph.producer(found[0].input[0]) if found else None
        if found is None or first is None or first.op_type != "QuantizeLinear":
            continue
        if graph.only_reader(node.input[0]) is not None and graph.only_reader(first.output[0]) is not None:
            node.input[0] = first.input[0]
