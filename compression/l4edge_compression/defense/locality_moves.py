"""Operations that move places: transposing, padding, cutting, joining, and how receptive fields follow."""

from dataclasses import replace
from typing import List

import numpy as np

from l4edge_compression.defense.locality_places import Place, Step


def transpose(step: Step) -> Place:
    """Axes change their order."""
    place = step.only_first()
    order: List[int] = list(step.attribute("perm", list(range(len(place.axes)))[::-1]))
    if len(order) != len(place.axes):
        step.refuse("permutes another number of axes")
    return replace(place, axes=tuple(place.axes[number] for number in order))


def pad(step: Step) -> Place:
    """Constant places are put around the map."""
    place = step.only_first()
    mode = step.attribute("mode", b"constant").decode()
    if mode != "constant":
        step.refuse(f"padding by {mode} repeats pixels: a patch at the border is seen twice; pad with a constant")
    pads = step.attribute("pads")
    pads = np.asarray(step.constant(1, "padding") if pads is None else pads)
    axes = step.constant(3, "list of axes")
    axes = range(len(place.axes)) if axes is None else axes
    offset, size = list(place.offset), list(place.size)
    for index, number in enumerate(axes):
        name, begin, end = step.axis(place, int(number)), int(pads[index]), int(pads[index + len(pads) // 2])
        if name == "batch" and (begin or end):
            step.refuse("pads the batch")
        if name in ("y", "x"):
            axis = "yx".index(name)
            offset[axis] -= begin * place.stride[axis]
            size[axis] += begin + end
    return replace(place, offset=(offset[0], offset[1]), size=(size[0], size[1]))


def cut(step: Step) -> Place:
    """A part of the map is cut out, or every n-th place."""
    place = step.only_first()
    starts, ends = (step.constant(position, "range") for position in (1, 2))
    if starts is None or ends is None:
        step.refuse("has its range as attributes, as before opset 10; export with a newer opset")
    axes, steps = step.constant(3, "list of axes"), step.constant(4, "step")
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    stride, offset, size = list(place.stride), list(place.offset), list(place.size)
    for number, start, end, jump in zip(axes, starts, ends, steps):
        name = step.axis(place, int(number))
        if name == "batch":
            step.refuse("cuts the batch")
        if name in ("y", "x"):
            if jump < 1:
                step.refuse("turns the image around")
            axis = "yx".index(name)
            taken = range(size[axis])[slice(int(start), int(end), int(jump))]
            offset[axis] += taken.start * stride[axis]
            stride[axis] *= int(jump)
            size[axis] = len(taken)
    return replace(place, stride=(stride[0], stride[1]), offset=(offset[0], offset[1]), size=(size[0], size[1]))


def space_to_depth(step: Step) -> Place:
    """Blocks of places become channels."""
    place = step.only_first()
    if place.axes != ("batch", "channel", "y", "x"):
        step.refuse("wants (batch, channels, y, x)")
    block = step.attribute("blocksize")
    return replace(
        place,
        receptive_field=tuple(place.receptive_field[axis] + (block - 1) * place.stride[axis] for axis in (0, 1)),
        stride=(place.stride[0] * block, place.stride[1] * block),
        size=(place.size[0] // block, place.size[1] // block),
    )
