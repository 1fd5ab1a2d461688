"""Shapes of traffic signs and lights, each with its pole. They face +x; origin on the ground below the middle."""

import numpy as np

from l4edge_simulation.shapes.geometry import face_plate, prism
from l4edge_simulation.shapes.parts import Colour, Part, Shape, capsule, unlabelled

LAMPS = ("red", "amber", "green")
"""From the top down."""

BACK: Colour = (0.42, 0.43, 0.44)
POLE: Colour = (0.45, 0.46, 0.47)
LAMP_POLE: Colour = (0.3, 0.31, 0.32)


def sign(outline: np.ndarray, print_width: float, texture: str, height: float) -> tuple[Shape, Shape]:
    """A plate and its pole; only the plate is the labelled object.

    Args:
        outline: (P, 2) metres about the plate's middle, to the reader's right and up.
        print_width: edge of the texture in metres.
        height: of the plate's middle.
    """
    middle = (0.0, 0.0, height)
    face = face_plate(outline, print_width).moved((0.004, 0.0, 0.0))
    plate = Shape(
        "sign",
        (0.04, float(np.ptp(outline[:, 0])), height + float(outline[:, 1].max())),
        (
            Part("mesh", (1.0, 1.0, 1.0), "sign", mesh=face, texture=texture, position=middle),
            Part("mesh", BACK, mesh=prism(outline, 0.02), position=middle),
        ),
    )
    return plate, unlabelled(capsule((-0.05, 0, 0), (-0.05, 0, height + 0.15), 0.03, POLE))


def light(height: float, scale: float, housing: Colour, border: bool, mast: float) -> tuple[Shape, Shape]:
    """A housing with three lamps and its pole; only the housing is the labelled object.

    Args:
        height: of the housing's middle. scale: 1 for lamps of 20 cm.
        border: whether a black plate surrounds the housing.
        mast: where the pole stands to the left; beyond half a metre an arm holds the housing.
    """
    radius = 0.1 * scale
    tall, wide, deep = 5.1 * radius + 0.08, 2.9 * radius, 0.16
    parts = [Part("box", housing, size=(deep / 2, wide / 2, tall / 2), position=(-deep / 2, 0.0, height))]
    rim = 0.1 if border else 0.0
    if border:
        size = (0.01, wide / 2 + rim, tall / 2 + rim)
        parts.append(Part("box", (0.02, 0.02, 0.02), size=size, position=(-deep / 2, 0.0, height)))
    for index, name in enumerate(LAMPS):
        z = height + (1 - index) * radius * 2.5
        parts.append(Part("ellipsoid", (0.1, 0.1, 0.1), size=(0.03, radius, radius), position=(0.0, 0.0, z), role=name))
        # The visor shades its lamp from above and from the sides.
        parts.append(Part("box", housing, size=(0.09, radius * 1.05, 0.008), position=(0.08, 0.0, z + radius * 1.1)))
        for side in (-1, 1):
            place = (0.05, side * radius * 1.08, z + radius * 0.4)
            parts.append(Part("box", housing, size=(0.06, 0.006, radius * 0.7), position=place))
    shape = Shape("light", (deep + 0.2, wide + 2 * rim, height + tall / 2 + rim), tuple(parts))
    if abs(mast) <= 0.5:
        return shape, unlabelled(capsule((-0.2, 0, 0), (-0.2, 0, height + tall / 2), 0.05, LAMP_POLE))
    return shape, unlabelled(
        capsule((-0.2, mast, 0), (-0.2, mast, height + 0.2), 0.08, LAMP_POLE),
        capsule((-0.2, mast, height + 0.1), (-0.2, 0, height + 0.1), 0.05, LAMP_POLE),
    )
