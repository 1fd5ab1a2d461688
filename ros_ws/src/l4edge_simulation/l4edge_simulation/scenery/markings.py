"""White paint on the road."""

import numpy as np

from l4edge_simulation.scenery.strips import free_ranges, side_strip, strip, upward
from l4edge_simulation.shapes.geometry import Mesh, merged
from l4edge_simulation.world.layout import CROSSWALK_WIDTH, SIDE_ROAD_REACH, Layout

HEIGHT = 0.012  # above the asphalt, so that the depth buffer tells them apart
MIDDLE_LINES = {"dashed": 0.5, "solid": 0.25, "double": 0.25}


def markings(layout: Layout, rng: np.random.Generator) -> Mesh:
    """All white paint on the main road and the side roads, in a style of the drive's own."""
    width = float(rng.uniform(0.11, 0.17))
    dash, pause = float(rng.choice([3.0, 4.0, 6.0])), float(rng.choice([4.5, 6.0, 9.0]))
    middle = str(rng.choice(list(MIDDLE_LINES), p=list(MIDDLE_LINES.values())))
    meshes = [
        *_lane_lines(layout, width, dash, pause, middle),
        *_crosswalks(layout),
        *_stop_lines(layout),
        *_side_roads(layout),
    ]
    return merged([upward(mesh) for mesh in meshes])


def _bar(layout: Layout, start: float, end: float, right: float, left: float) -> Mesh:
    return strip(layout, start, end, [(right, HEIGHT), (left, HEIGHT)], 3.0)


def _lane_lines(layout: Layout, width: float, dash: float, pause: float, middle: str) -> list[Mesh]:
    section, found = layout.road.section, []

    def solid(start: float, end: float, d: float) -> None:
        found.append(_bar(layout, start, end, d - width / 2, d + width / 2))

    def dashed(start: float, end: float, d: float) -> None:
        for first in np.arange(start, end - dash, dash + pause):
            solid(first, first + dash, d)

    for start, end in free_ranges(layout, 1.5, walks=True):
        for direction in (1, -1):
            lanes = section.lanes(direction)
            for lane in range(1, lanes):
                dashed(start, end, -direction * lane * section.lane_width)
            solid(start, end, -direction * lanes * section.lane_width)
        if middle == "dashed":
            dashed(start, end, 0.0)
        else:
            for d in (0.0,) if middle == "solid" else (0.15, -0.15):
                solid(start, end, d)
    return found


def _crosswalks(layout: Layout) -> list[Mesh]:
    section = layout.road.section
    half = CROSSWALK_WIDTH / 2
    return [
        _bar(layout, walk.s - half, walk.s + half, d, d + 0.5)
        for walk in layout.crosswalks
        for d in np.arange(-section.edge(1) + 0.3, section.edge(-1) - 0.7, 1.0)
    ]


def _stop_lines(layout: Layout) -> list[Mesh]:
    section, found = layout.road.section, []
    for line in layout.stop_lines:
        reach = line.direction * section.lanes(line.direction) * section.lane_width
        right, left = sorted((-0.1 * line.direction, -reach))
        if line.kind == "yield":
            dashes = np.arange(right + 0.2, left - 0.4, 0.8)
            found += [_bar(layout, line.s - 0.3, line.s + 0.3, d, d + 0.5) for d in dashes]
        elif line.kind in ("light", "stop"):
            found.append(_bar(layout, line.s - 0.2, line.s + 0.2, right, left))
    return found


def _side_roads(layout: Layout) -> list[Mesh]:
    found = []
    for junction in layout.junctions:
        for side in (-1, 1):
            edge = layout.road.section.edge(-side)
            dashes = [(side * d, side * (d + 4.0)) for d in np.arange(edge + 3.0, SIDE_ROAD_REACH, 9.0)]
            found += [side_strip(layout, junction.s, ends, (-0.07, 0.07), HEIGHT) for ends in dashes]
            line = (side * (edge + 1.5), side * (edge + 1.9))
            found.append(side_strip(layout, junction.s, line, (side * 0.2, side * -3.2), HEIGHT))
    return found
