"""Rewriting of what computes: convolutions, linear layers and averages in the form that runs as integers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from onnx import helper

from l4edge_compression.quantization.onnx_graph import EditableGraph, attributes_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[Any]"

WIDEST_BIAS = 2.0**30
"""A bias in units of the sums stays below this, so that an int32 holds sum and bias."""

MOST_IMAGE_CHANNELS = 4
"""Up to how many channels gathering patches is what a strided convolution waits for."""


def fold_normalizations(graph: EditableGraph) -> None:
    """Batch normalization behind a convolution or linear layer becomes its rows' steps and bias.

    A negative factor turns the signs of the row's codes.
    """
    for node in [node for node in graph.nodes if node.op_type == "BatchNormalization"]:
        layer = graph.producer(node.input[0])
        if layer is None or layer.op_type not in ("Conv", "Gemm") or graph.only_reader(node.input[0]) is None:
            continue
        found = graph.dequantized(layer.input[1])
        if found is None:
            continue
        gain, shift, mean, variance = (graph.constants[name].astype(np.float64) for name in node.input[1:5])
        factor = gain / np.sqrt(variance + float(attributes_of(node).get("epsilon", 1e-5)))
        _scale_rows(graph, layer, found[0], factor)
        before = graph.constants[layer.input[2]].astype(np.float64) if len(layer.input) > 2 else 0.0
        _set_bias(graph, layer, (before - mean) * factor + shift)
        layer.output[0] = node.output[0]
        graph.remove([node])


def _scale_rows(graph: EditableGraph, layer: Any, weights: Any, factor: Array) -> None:
    codes, steps = graph.constants[weights.input[0]], graph.constants[weights.input[1]]
    signs = np.where(factor < 0, -1, 1).astype(np.int8).reshape(-1, *[1] * (codes.ndim - 1))
    scaled = np.maximum(steps.astype(np.float64) * np.abs(factor), np.finfo(np.float32).tiny).astype(np.float32)
    names = [graph.constant(codes * signs, "codes"), graph.constant(scaled, "steps"), weights.input[2]]
    layer.input[1] = graph.insert(layer, "DequantizeLinear", names, "weights", axis=0)


def _set_bias(graph: EditableGraph, layer: Any, bias: Array) -> None:
    name = graph.constant(bias.astype(np.float32), "bias")
    if len(layer.input) > 2:
        layer.input[2] = name
    else:
        layer.input.append(name)


def linear_to_gemm(graph: EditableGraph) -> None:
    """A linear layer on more than two axes becomes a Gemm on two: only that takes an integer bias."""
    for node in [node for node in graph.nodes if node.op_type == "MatMul"]:
        turned = graph.producer(node.input[1])
        if turned is None or turned.op_type != "Transpose" or graph.dequantized(turned.input[0]) is None:
            continue
        weights = graph.dequantized(turned.input[0])
        shape = graph.shapes.get(node.input[0])
        if weights is None or weights[0].input[0] not in graph.constants or shape is None or -1 in shape[1:]:
            continue
        outputs, width = graph.constants[weights[0].input[0]].shape
        following = graph.only_reader(node.output[0])
        names = [node.input[0], turned.input[0]]
        result, replaced = node.output[0], [node]
        if following is not None and following.op_type == "Add":
            other = next((name for name in following.input if name != node.output[0]), "")
            if other in graph.constants and graph.constants[other].shape == (outputs,):
                names.append(other)
                result, replaced = following.output[0], [node, following]
        end = replaced[-1]
        if len(shape) != 2:
            flat = graph.constant(np.asarray([-1, width], np.int64), "flat")
            names[0] = graph.insert(end, "Reshape", [names[0], flat], "flattened")
        product = graph.insert(end, "Gemm", names, "linear", transB=1)
        back = graph.constant(np.asarray([-1, *shape[1:-1], outputs], np.int64), "unflat")
        graph.insert_after(end, "Reshape", [product, back], result)
        graph.remove(replaced)


def means_to_pools(graph: EditableGraph) -> None:
    """A mean over height and width is a global average pool."""
    for node in [node for node in graph.nodes if node.op_type == "ReduceMean"]:
        attributes = attributes_of(node)
        axes = attributes.get("axes", ())
        if len(graph.shapes.get(node.input[0], ())) != 4 or sorted(axis % 4 for axis in axes) != [2, 3]:
            continue
        if attributes.get("keepdims", 1):
            node.op_type = "GlobalAveragePool"
            del node.attribute[:]
        else:
            pooled = graph.insert(node, "GlobalAveragePool", [node.input[0]], "pooled")
            node.op_type = "Flatten"
            node.input[0] = pooled
            del node.attribute[:]


def integer_biases(graph: EditableGraph) -> None:
    """Float biases of integer layers become int32 in units of the sums; layers without one stay without.

    A row whose step is so small that its bias would not fit (a dead channel whose normalization adds a constant) gets
    a larger step and smaller codes.
    """
    for node in [node for node in graph.nodes if node.op_type in ("Conv", "Gemm")]:
        given, weights = graph.dequantized(node.input[0]), graph.dequantized(node.input[1])
        if given is None or weights is None or given[1].scale.size != 1 or len(node.input) < 3:
            continue
        if node.input[2] not in graph.constants:
            continue
        bias = graph.constants[node.input[2]].astype(np.float64)
        scale = np.float32(given[1].scale.reshape(()))
        codes, steps = graph.constants[weights[0].input[0]], weights[1].scale
        least = np.abs(bias) / (WIDEST_BIAS * float(scale))
        if np.any(steps < least):
            larger = np.maximum(steps, (least * 1.001).astype(np.float32))
            shape = (-1,) + (1,) * (codes.ndim - 1)
            codes = np.rint(codes * (steps / larger).reshape(shape)).astype(np.int8)
            names = [graph.constant(codes, "codes"), graph.constant(larger, "steps"), weights[0].input[2]]
            node.input[1] = graph.insert(node, "DequantizeLinear", names, "weights", axis=0)
            steps = larger
        unit = (scale * steps).astype(np.float32)
        whole = np.clip(np.rint(bias / unit), -(2.0**31) + 1, 2.0**31 - 1).astype(np.int32)
        names = [graph.constant(whole, "bias"), graph.constant(unit, "unit"),
                 graph.constant(np.zeros(len(whole), np.int32), "bias_zero")]
        node.input[2] = graph.insert(node, "DequantizeLinear", names, "bias_numbers", axis=0)


def strides_to_depth(graph: EditableGraph) -> None:
    """A strided convolution of an image becomes a dense one of its squares of pixels, with the very same sums.

    With three channels the kernel's gathering of patches takes longer than the products (half of the time on x86):
    a square of stride x stride pixels has stride^2 as many channels side by side. Only for float32 images: older
    onnxruntimes rearrange no others.
    """
    inputs = {value.name for value in graph.model.graph.input if value.type.tensor_type.elem_type == 1}
    for node in [node for node in graph.nodes if node.op_type == "Conv"]:
        found, weights = graph.dequantized(node.input[0]), graph.dequantized(node.input[1])
        quantizer = graph.producer(found[0].input[0]) if found else None
        if found is None or weights is None or quantizer is None or quantizer.op_type != "QuantizeLinear":
            continue
        image, attributes = quantizer.input[0], attributes_of(node)
        shape, codes = graph.shapes.get(image, []), graph.constants.get(weights[0].input[0])
        if image not in inputs or codes is None or len(graph.readers(image)) != 1:
            continue
        if len(graph.readers(quantizer.output[0])) != 1 or len(graph.readers(found[0].output[0])) != 1:
            continue
        folded = _folded_kernel(codes, attributes, shape)
        if folded is None:
            continue
        block, kernel, pads = folded
        quantizer.input[0] = graph.insert(quantizer, "SpaceToDepth", [image], "squares", blocksize=block)
        names = [graph.constant(kernel, "codes"), *weights[0].input[1:]]
        node.input[1] = graph.insert(node, "DequantizeLinear", names, "weights", axis=0)
        del node.attribute[:]
        settings = {"kernel_shape": list(kernel.shape[2:]), "strides": [1, 1], "pads": pads, "group": 1}
        node.attribute.extend(helper.make_attribute(name, value) for name, value in settings.items())


def _folded_kernel(codes: Array, attributes: dict[str, Any], shape: list[int]) -> tuple[int, Array, list[int]] | None:
    """Stride, kernel on squares of pixels, and its pads; None where the convolution is none that gains by it."""
    strides, pads = list(attributes.get("strides", [1, 1])), list(attributes.get("pads", [0] * 4))
    block = strides[0]
    plain = attributes.get("group", 1) == 1 and list(attributes.get("dilations", [1, 1])) == [1, 1]
    if not plain or strides != [block, block] or block < 2 or codes.shape[1] > MOST_IMAGE_CHANNELS:
        return None
    if "auto_pad" in attributes and attributes["auto_pad"] != b"NOTSET":
        return None
    if len(shape) != 4 or any(size < 1 or size % block for size in shape[2:]):
        return None
    margins, squares = [], []
    for axis in (0, 1):
        # The window begins at a multiple of the stride, so zeros are put before and behind the kernel.
        before = -(-pads[axis] // block)
        lead = before * block - pads[axis]
        count = -(-(lead + codes.shape[2 + axis]) // block)
        positions = (shape[2 + axis] + pads[axis] + pads[axis + 2] - codes.shape[2 + axis]) // block + 1
        margins.append((lead, count * block - lead - codes.shape[2 + axis]))
        squares.append((before, positions - 1 + count - before - shape[2 + axis] // block))
    if min(behind for _, behind in squares) < 0:
        return None
    padded = np.pad(codes, ((0, 0), (0, 0), *margins))
    outputs, channels, height, width = padded.shape
    parts = padded.reshape(outputs, channels, height // block, block, width // block, block)
    kernel = parts.transpose(0, 3, 5, 1, 2, 4).reshape(outputs, -1, height // block, width // block)
    return block, kernel, [squares[0][0], squares[1][0], squares[0][1], squares[1][1]]
