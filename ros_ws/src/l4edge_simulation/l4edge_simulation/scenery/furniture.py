"""Shapes of what stands on sidewalks: none of it is labelled. Facing the road is +x."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from l4edge_simulation.appearance import hsv
from l4edge_simulation.shapes.geometry import loft, quad
from l4edge_simulation.shapes.parts import Colour, Part, Shape, capsule, unlabelled

FURNITURE = {
    "bin": 0.14,
    "bollard": 0.12,
    "box": 0.12,
    "poster": 0.14,
    "board": 0.12,
    "bench": 0.08,
    "shelter": 0.04,
    "cone": 0.08,
    "pole": 0.1,
    "barrel": 0.06,
}
"""Kind: its share."""

WOOD: Colour = (0.35, 0.22, 0.12)


@dataclass(frozen=True)
class Workshop:
    """What furniture is made with: randomness, the names of poster textures, whether street lamps are on."""

    rng: np.random.Generator
    posters: tuple[str, ...]
    lamps: bool


def furniture(kind: str, workshop: Workshop) -> Shape:
    """Draw a piece of a kind of ``FURNITURE``, or a "lamp"."""
    rng = workshop.rng
    metal: Colour = (float(rng.uniform(0.1, 0.5)),) * 3
    colour = hsv(rng.random(), float(rng.uniform(0.2, 0.9)), float(rng.uniform(0.2, 0.8)))
    return _MAKERS[kind](workshop, metal, colour)


def _lamp(workshop: Workshop, metal: Colour, _: Colour) -> Shape:
    height, arm = float(workshop.rng.uniform(6.0, 9.0)), float(workshop.rng.uniform(0.8, 2.2))
    finish = "lit" if workshop.lamps else "matte"
    return unlabelled(
        capsule((0, 0, 0), (0, 0, height), 0.07, metal),
        capsule((0, 0, height), (arm, 0, height + 0.1), 0.05, metal),
        Part("box", (0.95, 0.9, 0.75), finish, size=(0.3, 0.12, 0.06), position=(arm, 0.0, height + 0.06)),
    )


def _bin(workshop: Workshop, _: Colour, colour: Colour) -> Shape:
    x, y, z = (0.25, 0.25, 0.5) if workshop.rng.random() < 0.6 else (0.35, 0.55, 0.6)
    lid = Part("box", (0.08, 0.08, 0.08), size=(x + 0.02, y + 0.02, 0.04), position=(0.0, 0.0, 2 * z))
    return unlabelled(Part("box", colour, size=(x, y, z), position=(0.0, 0.0, z)), lid)


def _bollard(workshop: Workshop, _: Colour, colour: Colour) -> Shape:
    return unlabelled(capsule((0, 0, 0), (0, 0, float(workshop.rng.uniform(0.6, 1.0))), 0.07, colour))


def _box(workshop: Workshop, _: Colour, colour: Colour) -> Shape:
    rng = workshop.rng
    x, y, z = (float(edge) for edge in rng.uniform([0.2, 0.2, 0.2], [0.8, 0.8, 0.9]))
    if rng.random() < 0.5:
        colour = hsv(0.09, 0.4, float(rng.uniform(0.3, 0.7)))  # cardboard
    return unlabelled(Part("box", colour, size=(x, y, z), position=(0.0, 0.0, z)))


def _poster(workshop: Workshop, metal: Colour, _: Colour) -> Shape:
    rng = workshop.rng
    wide, tall, low = rng.uniform(0.9, 2.8), rng.uniform(0.9, 2.0), rng.uniform(0.3, 2.2)
    half, high, x = wide / 2, low + tall, 0.06
    corners = np.array([[x, -half, low], [x, half, low], [x, half, high], [x, -half, high]])
    front = quad(corners, np.array([[0, 1], [1, 1], [1, 0], [0, 0]]))
    frame = Part("box", metal, size=(0.05, half + 0.05, tall / 2 + 0.05), position=(0.0, 0.0, low + tall / 2))
    picture = Part("mesh", (1.0, 1.0, 1.0), mesh=front, texture=str(rng.choice(workshop.posters)))
    return unlabelled(picture, frame, capsule((0, 0, 0), (0, 0, low), 0.06, metal))


def _board(workshop: Workshop, _: Colour, __: Colour) -> Shape:
    """A direction board: no sign that the ground truth knows."""
    rng = workshop.rng
    wide, tall, low = rng.uniform(0.5, 1.6), rng.uniform(0.25, 0.5), rng.uniform(2.0, 2.6)
    colour = hsv(float(rng.choice([0.6, 0.38, 0.12])), 0.8, 0.5)
    writing = Part(
        "box", (0.9, 0.9, 0.9), size=(0.022, wide * 0.38, tall * 0.1), position=(0.05, 0.0, low + tall * 0.12)
    )
    return unlabelled(
        Part("box", colour, size=(0.02, wide / 2, tall / 2), position=(0.05, 0.0, low)),
        writing,
        capsule((0, 0, 0), (0, 0, low + 0.1), 0.035, (0.5, 0.5, 0.52)),
    )


def _bench(_: Workshop, metal: Colour, __: Colour) -> Shape:
    return unlabelled(
        Part("box", WOOD, size=(0.22, 0.8, 0.04), position=(0.0, 0.0, 0.45)),
        Part("box", WOOD, size=(0.03, 0.8, 0.25), position=(-0.2, 0.0, 0.75)),
        Part("box", metal, size=(0.2, 0.04, 0.22), position=(0.0, 0.6, 0.22)),
        Part("box", metal, size=(0.2, 0.04, 0.22), position=(0.0, -0.6, 0.22)),
    )


def _shelter(_: Workshop, metal: Colour, __: Colour) -> Shape:
    return unlabelled(
        Part("box", metal, size=(0.75, 1.9, 0.06), position=(0.0, 0.0, 2.4)),
        Part("box", (0.3, 0.4, 0.42), "glass", 0.45, size=(0.03, 1.8, 1.1), position=(-0.7, 0.0, 1.25)),
        Part("box", metal, size=(0.6, 0.03, 1.15), position=(0.0, 1.8, 1.2)),
        Part("box", metal, size=(0.04, 0.04, 1.2), position=(0.65, -1.8, 1.2)),
    )


def _cone(_: Workshop, __: Colour, ___: Colour) -> Shape:
    angle = np.arange(10) * 2 * np.pi / 10
    rings = [
        np.column_stack([np.cos(angle) * radius, np.sin(angle) * radius, np.full(10, z)])
        for radius, z in ((0.14, 0.02), (0.03, 0.6))
    ]
    return unlabelled(
        Part("mesh", (0.9, 0.3, 0.05), mesh=loft(np.array(rings))),
        Part("cylinder", (0.9, 0.9, 0.9), size=(0.1, 0.05), position=(0.0, 0.0, 0.3)),
    )


def _pole(workshop: Workshop, metal: Colour, _: Colour) -> Shape:
    height, radius = float(workshop.rng.uniform(2.5, 8.0)), float(workshop.rng.uniform(0.04, 0.14))
    return unlabelled(capsule((0, 0, 0), (0, 0, height), radius, metal))


def _barrel(_: Workshop, __: Colour, colour: Colour) -> Shape:
    return unlabelled(Part("cylinder", colour, size=(0.3, 0.45), position=(0.0, 0.0, 0.45)))


_MAKERS: dict[str, Callable[[Workshop, Colour, Colour], Shape]] = {
    "lamp": _lamp,
    "bin": _bin,
    "bollard": _bollard,
    "box": _box,
    "poster": _poster,
    "board": _board,
    "bench": _bench,
    "shelter": _shelter,
    "cone": _cone,
    "pole": _pole,
    "barrel": _barrel,
}
