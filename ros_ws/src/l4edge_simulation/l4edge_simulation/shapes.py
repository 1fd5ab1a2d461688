"""What an object is made of: parts (meshes and primitives) on a root or on joints. No MuJoCo here."""

from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple

import numpy as np

from .geometry import Mesh

Colour = Tuple[float, float, float]


@dataclass(frozen=True)
class Part:
    """One piece of an object.

    Attributes:
        kind: "mesh", "box", "sphere", "ellipsoid", "cylinder" or "capsule".
        colour: red green blue. finish: name of a material, see ``scene.FINISHES``. alpha: opacity.
        mesh: for kind "mesh"; parts that share a mesh object share it in memory.
        size: half extents as MuJoCo takes them. position: metres. ends: (6,) of a capsule or cylinder.
        texture: name of a texture of the scene, or "".
        joint: index into ``Shape.joints`` of what it hangs on, None for the root.
        counted: whether it belongs to the labelled object (a sign's pole does not).
        role: what may change while driving, such as "brake", "red", "amber", "green".
        seen: nearest and farthest distance in metres at which it is drawn; details have far limits, coarse stand-ins
            near ones.
    """

    kind: str
    colour: Colour = (0.5, 0.5, 0.5)
    finish: str = "matte"
    alpha: float = 1.0
    mesh: Optional[Mesh] = None
    size: Tuple[float, ...] = ()
    position: Tuple[float, ...] = (0.0, 0.0, 0.0)
    pitch: float = 0.0
    ends: Tuple[float, ...] = ()
    texture: str = ""
    joint: Optional[int] = None
    counted: bool = True
    role: str = ""
    seen: Tuple[float, float] = (0.0, np.inf)


@dataclass(frozen=True)
class Joint:
    """A hinge about the object's y axis at ``position`` (in its parent's frame)."""

    position: Tuple[float, float, float]
    parent: Optional[int] = None


@dataclass(frozen=True)
class Shape:
    """An object's look and measures.

    Attributes:
        class_name: one of ``OBJECT_CLASSES``. size: length width height in metres.
        parts, joints: see there. wheelbase_share: where the rear axle is does not matter to others, so it is absent.
    """

    class_name: str
    size: Tuple[float, float, float]
    parts: Tuple[Part, ...]
    joints: Tuple[Joint, ...] = ()


def capsule(start: Sequence[float], end: Sequence[float], radius: float, colour: Colour, **more) -> Part:
    """A limb, tube or rod between two points."""
    return Part("capsule", colour, size=(radius,), ends=(*map(float, start), *map(float, end)), **more)


def contact_shadow(length: float, width: float, strength: float) -> Part:
    """The dark patch that a body leaves below itself even without cast shadows."""
    return Part(
        "ellipsoid", (0.02, 0.02, 0.02), "matte", strength, size=(length / 2, width / 2, 0.004),
        position=(0.0, 0.0, 0.012), counted=False, role="shadow",
    )


def rounded_rectangle(length: float, width: float, cut: float) -> np.ndarray:
    """Eight corners (8, 2) of a rectangle with its corners cut."""
    x, y = length / 2, width / 2
    return np.array(
        [[x - cut, -y], [x, -y + cut], [x, y - cut], [x - cut, y], [-x + cut, y], [-x, y - cut], [-x, -y + cut],
         [-x + cut, -y]]
    )


def concatenated(groups: Sequence[Sequence[Part]]) -> Tuple[Part, ...]:
    """All groups of parts as one tuple."""
    parts: List[Part] = []
    for group in groups:
        parts.extend(group)
    return tuple(parts)
