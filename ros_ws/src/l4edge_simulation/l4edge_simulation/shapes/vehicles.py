"""What cars, vans, lorries and buses have in common. Metres, x forward, origin on the ground at the middle."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from l4edge_simulation.shapes.geometry import Mesh, cylinder, loft, merged, quad
from l4edge_simulation.shapes.parts import Colour, Part, Point, Shape, contact_shadow

DARK: Colour = (0.03, 0.03, 0.035)
GLASS: Colour = (0.05, 0.07, 0.09)
METAL: Colour = (0.45, 0.45, 0.47)
HEAD_LAMP: Colour = (0.95, 0.95, 0.9)
TAIL_LAMP: Colour = (0.55, 0.02, 0.03)
DETAIL_M = 32.0  # farther away wheels are drawn coarsely, and hubs and number plates not at all


@dataclass(frozen=True)
class Design:
    """The meshes of one vehicle design, shared by all that differ in colour only.

    Attributes:
        painted, second: in the vehicle's first and second colour.
        trim: tyres, bumpers, mirrors; coarse_trim: its stand-in from afar.
    """

    class_name: str
    size: Point
    painted: tuple[Mesh, ...]
    second: tuple[Mesh, ...]
    glass: Mesh
    trim: Mesh
    coarse_trim: Mesh
    hubs: Mesh
    front_lamps: Mesh
    rear_lamps: Mesh
    plates: Mesh


def vehicle(design: Design, paint: Colour, second: Colour, plate: str, lamps: bool, shadow: float) -> Shape:
    """A design in its colours.

    Args:
        plate: name of the number plate's texture. lamps: whether its lights are on. shadow: of its contact shadow.
    """
    length, width, _ = design.size
    near, far = (0.0, DETAIL_M), (DETAIL_M, np.inf)
    parts = [
        contact_shadow(length * 1.08, width * 1.25, shadow),
        *(Part("mesh", paint, "paint", mesh=mesh) for mesh in design.painted),
        *(Part("mesh", second, mesh=mesh) for mesh in design.second),
        Part("mesh", DARK, mesh=design.coarse_trim, seen=far),
        Part("mesh", DARK, mesh=design.trim, seen=near, outlines=False),
        Part("mesh", GLASS, "glass", mesh=design.glass, outlines=False),
        Part("mesh", METAL, "paint", mesh=design.hubs, seen=near, outlines=False),
        Part("mesh", HEAD_LAMP, "lit" if lamps else "paint", mesh=design.front_lamps, outlines=False),
        Part("mesh", TAIL_LAMP, "dim" if lamps else "paint", mesh=design.rear_lamps, role="brake", outlines=False),
        Part("mesh", (1.0, 1.0, 1.0), mesh=design.plates, texture=plate, seen=near, outlines=False),
    ]
    return Shape(design.class_name, design.size, tuple(parts))


def body(stations: Sequence[tuple[float, float, float, float]], width: float) -> Mesh:
    """A body lofted through (x, share of the half width, bottom, top) from the rear to the front."""
    rings = []
    for x, share, bottom, top in stations:
        half = width / 2 * share
        shoulder = min(0.12, 0.3 * (top - bottom))
        left = [(0.93, bottom), (1.0, bottom + shoulder), (0.99, top - shoulder), (0.92, top)]
        profile = [(-half * y, z) for y, z in left] + [(half * y, z) for y, z in reversed(left)]
        rings.append([(x, y, z) for y, z in profile])
    return loft(np.array(rings))


def wheels(axles: Sequence[float], half: float, radius: float, thickness: float) -> tuple[list[Mesh], Mesh, Mesh]:
    """Tyres with dark wheel arches, coarse tyres for afar, and hubs. ``half``: the body's half width."""
    tyres, coarse, hubs = [], [], []
    for x in axles:
        for side in (-1.0, 1.0):
            y = side * (half - thickness / 2 + 0.012)
            arch = (x, side * (half - thickness / 2), radius * 1.06)
            tyres.append(cylinder(radius, thickness, (x, y, radius), 14))
            tyres.append(cylinder(radius * 1.17, thickness * 0.9, arch, 12))
            coarse.append(cylinder(radius * 1.05, thickness, (x, y, radius * 1.05), 6))
            hubs.append(cylinder(radius * 0.62, 0.02, (x, side * (half + 0.016), radius), 8))
    return tyres, merged(coarse), merged(hubs)


def both_sides(corners: np.ndarray) -> list[Mesh]:
    """A pane on the left, (4, 3) counter-clockwise as seen from the right, and its mirror image."""
    return [quad(corners[::-1]), quad(corners * [1.0, -1.0, 1.0])]


def number_plates(front: tuple[float, float], rear: tuple[float, float]) -> Mesh:
    """Plates at (x, z), readable from before and from behind."""
    half = np.array([0.26, 0.055])
    uv = np.array([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    across = np.array([-1.0, 1.0, 1.0, -1.0]) * half[0]
    up = np.array([-1.0, -1.0, 1.0, 1.0]) * half[1]
    before = quad(np.column_stack([np.full(4, front[0]), across, front[1] + up]), uv)
    behind = quad(np.column_stack([np.full(4, rear[0]), -across, rear[1] + up]), uv)
    return merged([before, behind])
