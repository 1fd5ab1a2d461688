"""How ONNX operations carry receptive fields onward, and which ones are refused and why."""

from dataclasses import replace
from typing import Any, Callable, Dict, Mapping, Sequence

import numpy as np

from l4edge_compression.defense.locality_moves import cut, pad, space_to_depth, transpose
from l4edge_compression.defense.locality_places import SPACE, Place, Step, channel_axis

DOMAINS = ("", "ai.onnx", "com.microsoft")
"""Whose operators are known by name."""

_REFUSED = {
    "InstanceNormalization": f"normalizes over space, {SPACE}",
    "GroupNormalization": f"normalizes over space, {SPACE}",
    "MeanVarianceNormalization": f"normalizes over space, {SPACE}",
    "GlobalAveragePool": f"global pooling, as in squeeze and excite, {SPACE}",
    "GlobalMaxPool": f"global pooling, {SPACE}",
    "GlobalLpPool": f"global pooling, {SPACE}",
    "Attention": f"attention, {SPACE}",
    "MultiHeadAttention": f"attention, {SPACE}",
    "Gemm": f"a matrix product over places, {SPACE}",
    "Einsum": f"a product over places, {SPACE}",
    "Flatten": f"places are no longer told apart, {SPACE}",
    "Reshape": f"places are no longer told apart, as in group normalization, {SPACE}",
    "Shape": "computes with sizes of the image; export with fixed height and width",
    "Resize": "resizing spreads a patch by an amount that depends on sizes; enlarge the patch instead",
    "Upsample": "resizing spreads a patch by an amount that depends on sizes; resize before the stem",
    "CenterCropPad": "a crop that depends on sizes; crop before the stem",
    "RoiAlign": "a crop that depends on data; crop before the stem",
    "GridSample": "a resampling that depends on data; resample before the stem",
    "DynamicQuantizeLinear": "its scale depends on the whole image; quantize statically",
    "TopK": f"ranks places, {SPACE}",
    "NonZero": f"its shape depends on the image, {SPACE}",
}


def follow(
    node: Any, places: Mapping[str, Place], values: Mapping[str, np.ndarray], opset: int, file: str
) -> Place:
    """The place of a node's outputs.

    Args:
        node: with at least one input in ``places``.
        places: of the tensors that depend on the image.
        values: of all tensors, from a run; used of constants only.
        opset: of ONNX's own operators.
        file: named in errors.

    Raises:
        InputError: the operation is not local, or not known to be.
    """
    step = Step(node, places, values, opset, file)
    if node.op_type in _REFUSED:
        step.refuse(_REFUSED[node.op_type])
    rule = _RULES.get(node.op_type)
    if rule is None or node.domain not in DOMAINS:
        step.refuse("not known to be local; use convolutions, pooling and pointwise operations in a stem")
    return rule(step)


def _elementwise(step: Step) -> Place:
    """Values of the same place come together."""
    found = [step.places[name] for name in step.node.input if name in step.places]
    joined = found[0]
    for other in found[1:]:
        if (other.axes, other.size, other.stride) != (joined.axes, joined.size, joined.stride):
            step.refuse(f"a value that other places depend on is spread over the map: {SPACE}")
        begin = (min(joined.offset[0], other.offset[0]), min(joined.offset[1], other.offset[1]))
        ends = [
            max(place.offset[axis] + place.receptive_field[axis] for place in (joined, other)) for axis in (0, 1)
        ]
        joined = replace(joined, offset=begin, receptive_field=(ends[0] - begin[0], ends[1] - begin[1]))
    return joined


def _pointwise(step: Step) -> Place:
    return step.only_first()


def _dropout(step: Step) -> Place:
    if np.any(step.constant(2, "training mode")):
        step.refuse("draws random numbers; export in evaluation mode")
    return step.only_first()


def _batch_normalization(step: Step) -> Place:
    place = step.only_first()
    if step.attribute("training_mode", 0):
        step.refuse("takes statistics of the images; export in evaluation mode")
    if step.axis(place, 1) != "channel":
        step.refuse("normalizes another axis than the channels")
    return place


def _window(step: Step, kernel: Sequence[int]) -> Place:
    """Convolution and pooling: every output place sees a window of input places."""
    place = step.only_first()
    if place.axes != ("batch", "channel", "y", "x"):
        step.refuse(f"wants (batch, channels, y, x), gets ({', '.join(place.axes)})")
    if len(kernel) != 2:
        step.refuse("must have two spatial axes")
    strides = step.attribute("strides", [1, 1])
    dilations = step.attribute("dilations", [1, 1])
    pads = step.attribute("pads", [0, 0, 0, 0])
    automatic = step.attribute("auto_pad", b"NOTSET").decode()
    ceiling = bool(step.attribute("ceil_mode", 0))
    fields, steps, offsets, sizes = [], [], [], []
    for axis in (0, 1):
        reach = dilations[axis] * (kernel[axis] - 1) + 1
        begin, end = pads[axis], pads[axis + 2]
        if automatic.startswith("SAME"):
            wanted = -(-place.size[axis] // strides[axis])
            total = max((wanted - 1) * strides[axis] + reach - place.size[axis], 0)
            begin = total // 2 if automatic == "SAME_UPPER" else total - total // 2
            end = total - begin
        elif automatic == "VALID":
            begin = end = 0
        room = place.size[axis] + begin + end - reach
        count = (-(-room // strides[axis]) if ceiling else room // strides[axis]) + 1
        # A window that begins in the padding behind the image is left out.
        if ceiling and (count - 1) * strides[axis] >= place.size[axis] + begin:
            count -= 1
        sizes.append(count)
        offsets.append(place.offset[axis] - begin * place.stride[axis])
        fields.append(place.receptive_field[axis] + (reach - 1) * place.stride[axis])
        steps.append(place.stride[axis] * strides[axis])
    return Place(
        place.axes, (fields[0], fields[1]), (steps[0], steps[1]), (offsets[0], offsets[1]), (sizes[0], sizes[1])
    )


def _convolution(weight: int) -> Callable[[Step], Place]:
    def rule(step: Step) -> Place:
        return _window(step, step.constant(weight, "weight").shape[2:])

    return rule


def _pooling(step: Step) -> Place:
    return _window(step, step.attribute("kernel_shape"))


def _over_channels(default: int) -> Callable[[Step], Place]:
    def rule(step: Step) -> Place:
        place = step.only_first()
        if step.node.op_type in ("Softmax", "LogSoftmax") and step.opset < 13:
            step.refuse(f"before opset 13 works over all axes behind its own, {SPACE}")
        channel_axis(step, place, [step.attribute("axis", default)])
        return place

    return rule


def _layer_normalization(step: Step) -> Place:
    place = step.only_first()
    first = step.attribute("axis", -1) % len(place.axes)
    channel_axis(step, place, range(first, len(place.axes)))
    return place


def _reduction(step: Step) -> Place:
    place = step.places[step.node.input[0]] if step.node.input[0] in step.places else step.only_first()
    axes = step.attribute("axes")
    if axes is None:
        axes = step.constant(1, "list of axes")
    channel_axis(step, place, range(len(place.axes)) if axes is None or len(axes) == 0 else axes)
    if not step.attribute("keepdims", 1):
        step.refuse("drops the axis of channels; keep it (keepdims)")
    return place


def _concatenation(step: Step) -> Place:
    place = _elementwise(step)
    channel_axis(step, place, [step.attribute("axis")])
    return place


def _split(step: Step) -> Place:
    place = step.only_first()
    channel_axis(step, place, [step.attribute("axis", 0)])
    return place


def _matrix_product(step: Step) -> Place:
    place = step.only_first()
    if place.axes[-1] != "channel" or np.ndim(step.constant(1, "factor")) != 2:
        step.refuse(f"a matrix product over places, {SPACE}")
    return place


_ELEMENTWISE = (  # noqa: SIM905 - forty words read better than forty texts
    "Add Sub Mul Div Max Min Sum Mean Pow PRelu Where Greater GreaterOrEqual Less LessOrEqual Equal And Or Mod Clip "
    "QLinearAdd QLinearMul"
).split()
_POINTWISE = (  # noqa: SIM905
    "Identity Cast Relu LeakyRelu ThresholdedRelu Elu Selu Celu Gelu Mish Sigmoid HardSigmoid HardSwish Tanh Softplus "
    "Softsign Abs Neg Exp Log Sqrt Reciprocal Erf Floor Ceil Round Sign Not QuantizeLinear DequantizeLinear LRN "
    "QLinearSigmoid QLinearLeakyRelu"
).split()
_REDUCTIONS = "ReduceMean ReduceSum ReduceMax ReduceMin ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSumExp".split()  # noqa: SIM905

_RULES: Dict[str, Callable[[Step], Place]] = {
    **dict.fromkeys(_ELEMENTWISE, _elementwise),
    **dict.fromkeys(_POINTWISE, _pointwise),
    **dict.fromkeys(_REDUCTIONS, _reduction),
    **dict.fromkeys(("MaxPool", "AveragePool", "LpPool"), _pooling),
    **dict.fromkeys(("Conv", "ConvInteger"), _convolution(1)),
    **dict.fromkeys(("Softmax", "LogSoftmax", "LpNormalization"), _over_channels(-1)),
    "QLinearConv": _convolution(3),
    "BatchNormalization": _batch_normalization,
    "LayerNormalization": _layer_normalization,
    "Concat": _concatenation,
    "Split": _split,
    "MatMul": _matrix_product,
    "Transpose": transpose,
    "Dropout": _dropout,
    "Pad": pad,
    "Slice": cut,
    "SpaceToDepth": space_to_depth,
}
