"""Exported graphs without computations of shapes: where an input's shape is fixed, all sizes are known."""

from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

COMPUTED = ("Add", "Cast", "Concat", "Div", "Gather", "Mod", "Mul", "Reshape", "Slice", "Squeeze", "Sub", "Unsqueeze")
"""Operators that exporters compute sizes with."""

LARGEST_CONSTANT = 64
"""Numbers in a folded result: shapes and indices are short, weights are not to be touched."""


def fold_shapes(content: bytes) -> bytes:
    """The ONNX file with sizes as constants in place of the Shape, Slice, Concat ... that compute them.

    The tracing exporter writes such computations for ``flatten`` and ``unflatten`` even where all shapes are fixed.
    """
    model = onnx.load_model_from_string(content)
    # What a Reshape makes is known only when its constants are.
    while _fold_once(model):
        pass
    return model.SerializeToString()


def _fold_once(model: ModelProto) -> bool:
    """Fold what can be told now; whether there was anything."""
    known = {entry.name: numpy_helper.to_array(entry) for entry in model.graph.initializer}
    known = {name: value for name, value in known.items() if value.size <= LARGEST_CONSTANT}
    shapes = _fixed_shapes(model)
    kept, folded = [], {}
    outputs = {output.name for output in model.graph.output}
    for node in model.graph.node:
        value = _value(node, known, shapes)
        if value is None:
            kept.append(node)
            continue
        known[node.output[0]] = value
        if node.output[0] in outputs:
            kept.append(node)
        else:
            folded[node.output[0]] = value
    used = {name for node in kept for name in node.input}
    del model.graph.node[:]
    model.graph.node.extend(kept)
    model.graph.initializer.extend(
        numpy_helper.from_array(np.array(value, order="C"), name) for name, value in folded.items() if name in used
    )
    _drop_unused(model)
    return bool(folded)


def _fixed_shapes(model: ModelProto) -> dict[str, tuple[int, ...]]:
    del model.graph.value_info[:]  # what the exporter knew, which was less
    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {}
    for entry in (*graph.value_info, *graph.input):
        sizes = [part.dim_value for part in entry.type.tensor_type.shape.dim]
        if entry.type.tensor_type.HasField("shape") and all(size > 0 for size in sizes):
            shapes[entry.name] = tuple(sizes)
    return shapes


def _value(node: Any, known: dict[str, np.ndarray], shapes: dict[str, tuple[int, ...]]) -> np.ndarray | None:
    """What a node gives, if it is short and the same in every run."""
    if node.op_type == "Constant":
        attribute = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        value = numpy_helper.to_array(attribute["value"]) if "value" in attribute else None
        return value if value is not None and value.size <= LARGEST_CONSTANT else None
    if node.op_type == "Shape" and not node.attribute and node.input[0] in shapes:
        return np.array(shapes[node.input[0]], np.int64)
    if len(node.output) != 1 or not node.input or not all(name in known for name in node.input if name):
        return None
    if node.op_type not in COMPUTED:
        return None
    (value,) = ReferenceEvaluator(node).run(None, {name: known[name] for name in node.input if name})
    return np.asarray(value)


def _drop_unused(model: ModelProto) -> None:
    """Constants that only served the folded nodes."""
    used = {name for node in model.graph.node for name in node.input} | {out.name for out in model.graph.output}
    kept = [entry for entry in model.graph.initializer if entry.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
