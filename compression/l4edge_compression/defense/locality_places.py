"""What is known of a tensor while a graph is walked, and of the node that is looked at."""

from dataclasses import dataclass
from typing import Any, Mapping, NoReturn, Sequence, Tuple

import numpy as np

from l4edge_compression.defense.windows import Pair
from l4edge_perception.errors import InputError


@dataclass(frozen=True)
class Place:
    """What the places of a tensor see of the image; pairs are (y, x).

    Attributes:
        axes: the meaning of the tensor's axes, of "batch", "channel", "y", "x".
        receptive_field, stride, offset: see :class:`locality.Locality`.
        size: places per axis.
    """

    axes: Tuple[str, ...]
    receptive_field: Pair
    stride: Pair
    offset: Pair
    size: Pair


@dataclass(frozen=True)
class Step:
    """One node with what it is fed: places of what depends on the image, values of what does not."""

    node: Any
    places: Mapping[str, Place]
    values: Mapping[str, np.ndarray]
    opset: int
    file: str

    def refuse(self, reason: str) -> NoReturn:
        """Raise InputError that names the node."""
        name = self.node.name or self.node.output[0]
        raise InputError(f"{self.file}: node {name} ({self.node.op_type}): {reason}")

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute of the node; texts are bytes."""
        from onnx.helper import get_attribute_value

        for entry in self.node.attribute:
            if entry.name == name:
                return get_attribute_value(entry)
        return default

    def constant(self, position: int, what: str) -> Any:
        """The value of an input that must not depend on the image, or None if it is left out."""
        if position >= len(self.node.input) or not self.node.input[position]:
            return None
        name = self.node.input[position]
        if name in self.places:
            self.refuse(f"its {what} depends on the image")
        return self.values[name]

    def only_first(self) -> Place:
        """The place of the first input; all others must be constant."""
        if self.node.input[0] not in self.places:
            self.refuse("a constant is combined with values of the image in a way that is not known to be local")
        for position in range(1, len(self.node.input)):
            self.constant(position, f"input {position}")
        return self.places[self.node.input[0]]

    def axis(self, place: Place, number: int) -> str:
        """The meaning of an axis that is given by its number, negative ones from the end."""
        return place.axes[number % len(place.axes)]


SPACE = "it mixes all places of the image: a patch reaches the whole map; move it behind the stem"
"""Ending of a reason."""


def channel_axis(step: Step, place: Place, numbers: Sequence[int]) -> None:
    """Refuse to work over anything but the channels of one place."""
    for number in numbers:
        name = step.axis(place, int(number))
        if name == "batch":
            step.refuse("works over the batch: images must not reach each other")
        if name != "channel":
            step.refuse(f"works over axis {name}: {SPACE}")
