"""Road, side roads, sidewalks and markings as meshes."""

from collections.abc import Sequence

import numpy as np

from l4edge_simulation.appearance import Look, draw_family, hsv
from l4edge_simulation.scenery import textures
from l4edge_simulation.scenery.markings import markings
from l4edge_simulation.scenery.strips import free_ranges, side_strip, strip
from l4edge_simulation.shapes.geometry import Mesh, merged
from l4edge_simulation.shapes.parts import Colour, Part
from l4edge_simulation.world.actors import SIDEWALK_HEIGHT
from l4edge_simulation.world.layout import SIDE_ROAD_HALF, SIDE_ROAD_REACH, Layout

ASPHALT_M, PAVING_M = 9.0, 3.0  # edge of the textures on the ground
KERB_WIDTH = 0.15
WHITE: Colour = (1.0, 1.0, 1.0)


def ground(
    layout: Layout, split: str, look: Look, rng: np.random.Generator
) -> tuple[list[Part], dict[str, np.ndarray]]:
    """Everything flat as parts in the ``map`` frame, and the textures that they name."""
    images = {
        "asphalt": textures.asphalt(draw_family(split, "asphalt", rng), rng),
        "paving": textures.paving(draw_family(split, "paving", rng), rng),
        "terrain": textures.terrain(draw_family(split, "terrain", rng), rng),
    }
    finish = "wet" if look.wetness > 0.3 else "matte"
    paint = _grey(rng.uniform(0.72, 0.95))
    parts = [
        Part("mesh", WHITE, finish, texture="asphalt", mesh=_main_road(layout)),
        Part("mesh", paint, finish, mesh=markings(layout, rng)),
    ]
    if rng.random() < 0.4:
        tone = hsv(float(rng.choice([0.01, 0.33, 0.6])), 0.35, 0.45)
        parts += [Part("mesh", tone, finish, mesh=mesh) for mesh in _cycle_strips(layout)]
    parts += [Part("mesh", WHITE, finish, texture="asphalt", mesh=mesh) for mesh in _side_roads(layout)]
    parts.append(Part("mesh", WHITE, texture="paving", mesh=merged(_sidewalks(layout))))
    parts.append(Part("mesh", _grey(rng.uniform(0.4, 0.75)), mesh=merged(_kerbs(layout))))
    return parts, images


def _grey(level: float) -> Colour:
    return (float(level),) * 3


def _main_road(layout: Layout) -> Mesh:
    section = layout.road.section
    # Lines between the lanes as well: light is computed at the vertices.
    lanes = (-section.forward_lanes * section.lane_width, 0.0, section.backward_lanes * section.lane_width)
    across = (-section.edge(1), *lanes, section.edge(-1))
    return strip(layout, 0.0, layout.road.length, [(d, 0.0) for d in across], 2.0, ASPHALT_M)


def _cycle_strips(layout: Layout) -> list[Mesh]:
    section, found = layout.road.section, []
    half = section.cycle_width / 2 - 0.1
    for start, end in free_ranges(layout, 0.0, walks=True):
        for direction in (1, -1):
            d = section.lane_centre(direction, section.lanes(direction))
            found.append(strip(layout, start, end, [(d - half, 0.006), (d + half, 0.006)], 4.0))
    return found


def _side_roads(layout: Layout) -> list[Mesh]:
    found = []
    for junction in layout.junctions:
        for side in (-1, 1):
            ends = (side * (layout.road.section.edge(-side) - 0.3), side * SIDE_ROAD_REACH)
            found.append(side_strip(layout, junction.s, ends, (-SIDE_ROAD_HALF, SIDE_ROAD_HALF), -0.004, ASPHALT_M))
    return found


def _sidewalks(layout: Layout) -> list[Mesh]:
    section = layout.road.section
    right, left, reach = -section.edge(1), section.edge(-1), section.sidewalk_width
    found = []
    for start, end in free_ranges(layout, 0.0, walks=False):
        for edges in ((right - reach, right - KERB_WIDTH), (left + KERB_WIDTH, left + reach)):
            profile = [(d, SIDEWALK_HEIGHT) for d in edges]
            found.append(strip(layout, start, end, profile, 2.0, PAVING_M))
    for junction in layout.junctions:
        for side in (-1, 1):
            ends = (side * (section.edge(-side) + reach), side * SIDE_ROAD_REACH)
            for along in (-1, 1):
                across = (along * SIDE_ROAD_HALF, along * (SIDE_ROAD_HALF + 2.0))
                found.append(side_strip(layout, junction.s, ends, across, SIDEWALK_HEIGHT, PAVING_M))
    return found


def _kerbs(layout: Layout) -> list[Mesh]:
    right, left = -layout.road.section.edge(1), layout.road.section.edge(-1)
    top, inner = SIDEWALK_HEIGHT, SIDEWALK_HEIGHT + 0.005
    profiles: Sequence[list[tuple[float, float]]] = (
        [(right - KERB_WIDTH, inner), (right, top), (right, -0.02)],
        [(left, -0.02), (left, top), (left + KERB_WIDTH, inner)],
    )
    return [
        strip(layout, start, end, profile)
        for start, end in free_ranges(layout, 0.0, walks=False)
        for profile in profiles
    ]
