"""What an object is made of: parts (meshes and primitives) on a root or on joints."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from l4edge_simulation.shapes.geometry import Mesh

Colour = tuple[float, float, float]
"""Red green blue, 0..1."""

Point = tuple[float, float, float]

ALWAYS = (0.0, np.inf)


@dataclass(frozen=True)
class Part:
    """One piece of an object.

    Attributes:
        kind: "mesh", "box", "sphere", "ellipsoid", "cylinder" or "capsule".
        colour: of the surface; multiplies the texture's.
        finish: how it shines, see ``rendering.builder.FINISHES``.
        alpha: opacity.
        mesh: for kind "mesh"; parts that share a mesh object share it in memory.
        size: of primitives: half edge lengths or radii, as MuJoCo takes them.
        position: metres. pitch: about y, radians.
        ends: (6,) both ends of a capsule or cylinder, instead of a position.
        texture: name of a texture of the scene, or "".
        joint: index into ``Shape.joints`` of what it hangs on, None for the root.
        counted: whether it belongs to the labelled object (a contact shadow does not).
        outlines: whether it reaches beyond the object's other parts, as seen from anywhere; a lamp does not.
        role: names what may change while driving: "brake", or a lamp's "red", "amber", "green".
        seen: nearest and farthest distance in metres at which it is drawn; details have far limits, coarse stand-ins
            near ones.
    """

    kind: str
    colour: Colour = (0.5, 0.5, 0.5)
    finish: str = "matte"
    alpha: float = 1.0
    mesh: Mesh | None = None
    size: tuple[float, ...] = ()
    position: Point = (0.0, 0.0, 0.0)
    pitch: float = 0.0
    ends: tuple[float, ...] = ()
    texture: str = ""
    joint: int | None = None
    counted: bool = True
    outlines: bool = True
    role: str = ""
    seen: tuple[float, float] = ALWAYS


@dataclass(frozen=True)
class Joint:
    """A hinge about the object's y axis at ``position`` (in its parent's frame)."""

    position: Point
    parent: int | None = None


@dataclass(frozen=True)
class Shape:
    """An object's look and measures; origin on the ground below its middle, x forward.

    Attributes:
        class_name: one of ``OBJECT_CLASSES``, or "" for what is not labelled.
        size: length width height in metres.
        parts, joints: what it is made of.
    """

    class_name: str
    size: Point
    parts: tuple[Part, ...]
    joints: tuple[Joint, ...] = ()


def unlabelled(*parts: Part) -> Shape:
    """A shape that the ground truth does not know."""
    return Shape("", (0.0, 0.0, 0.0), parts)


def capsule(
    start: Sequence[float] | np.ndarray,
    end: Sequence[float] | np.ndarray,
    radius: float,
    colour: Colour,
    joint: int | None = None,
) -> Part:
    """A limb, tube or rod between two points."""
    return Part("capsule", colour, size=(radius,), ends=(*map(float, start), *map(float, end)), joint=joint)


def contact_shadow(length: float, width: float, strength: float) -> Part:
    """The dark patch that a body leaves below itself even without cast shadows."""
    return Part(
        "ellipsoid",
        (0.02, 0.02, 0.02),
        alpha=strength,
        size=(length / 2, width / 2, 0.004),
        position=(0.0, 0.0, 0.012),
        counted=False,
    )
