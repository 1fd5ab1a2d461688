"""ONNX operators that move, cut and join tensors of any kind, codes included."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from l4edge_compression.quantization.integer.operators import KINDS, Operator, axes_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[Any]"


NEAREST: dict[str, Callable[[Array], Array]] = {
    "floor": np.floor,
    "ceil": np.ceil,
    "round_prefer_floor": lambda position: np.ceil(position - 0.5),
    "round_prefer_ceil": lambda position: np.floor(position + 0.5),
}
"""How a position between two pixels becomes a pixel."""


def _reshape(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Array:
    sizes = [int(size) for size in inputs[1]]
    if not attributes.get("allowzero", 0):
        sizes = [inputs[0].shape[place] if size == 0 else size for place, size in enumerate(sizes)]
    return inputs[0].reshape(sizes)


def _flatten(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Array:
    axis = int(attributes.get("axis", 1))
    return inputs[0].reshape(int(np.prod(inputs[0].shape[:axis], dtype=np.int64)), -1)


def _transpose(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Array:
    return inputs[0].transpose(attributes.get("perm"))


def _squeeze(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Array:
    return np.squeeze(inputs[0], axes_of(inputs, attributes))


def _unsqueeze(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Array:
    return np.expand_dims(inputs[0], axes_of(inputs, attributes) or ())


def _slice(inputs: Sequence[Any], _attributes: Mapping[str, Any]) -> Array:
    starts, ends = inputs[1], inputs[2]
    axes = inputs[3] if len(inputs) > 3 and inputs[3] is not None else range(len(starts))
    steps = inputs[4] if len(inputs) > 4 and inputs[4] is not None else [1] * len(starts)
    chosen = [slice(None)] * inputs[0].ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        # ONNX says "to the beginning" by an end far below zero, which Python would count from the back.
        stop = None if step < 0 and end < -inputs[0].shape[axis] else int(end)
        chosen[axis] = slice(int(start), stop, int(step))
    return inputs[0][tuple(chosen)]


def _split(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> list[Array]:
    axis = int(attributes.get("axis", 0))
    given = inputs[1] if len(inputs) > 1 and inputs[1] is not None else attributes.get("split")
    if given is None:
        return np.array_split(inputs[0], int(attributes["outputs"]), axis)
    return np.split(inputs[0], np.cumsum([int(size) for size in given])[:-1], axis)


def _resize(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Array:
    """Nearest neighbour, coordinates asymmetric or half a pixel off, rounding down or half down."""
    image = inputs[0]
    sizes = inputs[3] if len(inputs) > 3 and inputs[3] is not None else None
    if sizes is None:
        sizes = [int(np.floor(size * float(factor))) for size, factor in zip(image.shape, inputs[2], strict=True)]
    if attributes.get("mode", "nearest") != "nearest":
        raise NotImplementedError("Resize other than nearest")
    place = attributes.get("coordinate_transformation_mode", "half_pixel")
    rounding = attributes.get("nearest_mode", "round_prefer_floor")
    for axis, size in enumerate(sizes):
        old, new = image.shape[axis], int(size)
        if old == new:
            continue
        position = np.arange(new, dtype=np.float64)
        if place == "asymmetric":
            position = position * old / new
        elif place in ("half_pixel", "pytorch_half_pixel"):
            position = (position + 0.5) * old / new - 0.5
        else:
            raise NotImplementedError(f"Resize coordinates {place}")
        chosen = np.clip(NEAREST[rounding](position), 0, old - 1).astype(np.int64)
        image = np.take(image, chosen, axis)
    return image


def _pad(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Array:
    image, pads = inputs[0], [int(size) for size in inputs[1]]
    margins = list(zip(pads[: image.ndim], pads[image.ndim :], strict=True))
    if attributes.get("mode", "constant") != "constant":
        raise NotImplementedError("Pad other than constant")
    fill = inputs[2] if len(inputs) > 2 and inputs[2] is not None else 0
    return np.pad(image, margins, constant_values=np.asarray(fill, image.dtype))


def _cast(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Array:
    return inputs[0].astype(KINDS[int(attributes["to"])])


def _space_to_depth(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Array:
    block = int(attributes["blocksize"])
    batch, channels, height, width = inputs[0].shape
    parts = inputs[0].reshape(batch, channels, height // block, block, width // block, block)
    return parts.transpose(0, 3, 5, 1, 2, 4).reshape(batch, -1, height // block, width // block)


def _constant_of_shape(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Array:
    value = attributes.get("value", np.zeros(1, np.float32))
    return np.full([int(size) for size in inputs[0]], value.reshape(())[()], value.dtype)


def _expand(inputs: Sequence[Any], _attributes: Mapping[str, Any]) -> Array:
    sizes = [int(size) for size in inputs[1]]
    return np.broadcast_to(inputs[0], np.broadcast_shapes(inputs[0].shape, tuple(sizes))).copy()


MOVEMENT: dict[str, Operator] = {
    "Identity": lambda inputs, _: inputs[0],
    "Dropout": lambda inputs, _: inputs[0],
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Transpose": _transpose,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Slice": _slice,
    "Split": _split,
    "Gather": lambda inputs, attributes: np.take(
        inputs[0], inputs[1].astype(np.int64), axis=int(attributes.get("axis", 0))
    ),
    "Concat": lambda inputs, attributes: np.concatenate(list(inputs), int(attributes["axis"])),
    "Expand": _expand,
    "Tile": lambda inputs, _: np.tile(inputs[0], [int(count) for count in inputs[1]]),
    "Resize": _resize,
    "Pad": _pad,
    "Cast": _cast,
    "SpaceToDepth": _space_to_depth,
    "Shape": lambda inputs, _: np.asarray(inputs[0].shape, np.int64),
    "ConstantOfShape": _constant_of_shape,
    "Where": lambda inputs, _: np.where(inputs[0], inputs[1], inputs[2]),
    "Equal": lambda inputs, _: inputs[0] == inputs[1],
    "Less": lambda inputs, _: inputs[0] < inputs[1],
    "Greater": lambda inputs, _: inputs[0] > inputs[1],
    "Not": lambda inputs, _: ~inputs[0],
    "Range": lambda inputs, _: np.arange(inputs[0], inputs[1], inputs[2], dtype=inputs[0].dtype),
    "ArgMax": lambda inputs, attributes: np.argmax(
        inputs[0], int(attributes.get("axis", 0)), keepdims=bool(attributes.get("keepdims", 1))
    ),
}
"""Operators that compute nothing."""
