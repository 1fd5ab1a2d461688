"""What stands beside the road and is not labelled: ground, markings, buildings, trees, street furniture."""

from dataclasses import dataclass
from typing import Callable, Dict, List, Sequence, Tuple

import numpy as np

from . import textures
from .appearance import Look, draw_family, hsv
from .geometry import Mesh, blob, box, loft, merged, quad, ribbon
from .layout import CROSSWALK_WIDTH, SIDE_ROAD_HALF, SIDE_ROAD_REACH, Layout
from .shapes import Part, Shape, capsule

SIDEWALK_HEIGHT = 0.12


@dataclass(frozen=True)
class Placed:
    """A shape at a pose of the ``map`` frame."""

    shape: Shape
    x: float
    y: float
    z: float
    yaw: float


def _lines(layout: Layout, stations: np.ndarray, profile: Sequence[Tuple[float, float]]) -> List[np.ndarray]:
    """Lines of the road at (d, height) pairs, each (K, 3)."""
    found = []
    for d, height in profile:
        x, y, _ = layout.road.pose(stations, d)
        found.append(np.column_stack([x, y, np.full(len(stations), height)]))
    return found


def _strip(layout: Layout, start: float, end: float, profile: Sequence[Tuple[float, float]], step: float = 2.0,
           scale: float = 1.0) -> Mesh:
    """A ribbon along the road through ``profile``, from right to left; texture coordinates in ``scale`` metres."""
    stations = np.linspace(start, end, max(2, int(np.ceil((end - start) / step)) + 1))
    across = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(np.array(profile), axis=0).T))])
    return ribbon(_lines(layout, stations, profile), stations / scale, across / scale)


def _side_strip(layout: Layout, s: float, ends: Tuple[float, float], across: Tuple[float, float], z: float,
                scale: float = 1.0) -> Mesh:
    """A flat strip of the side road at station ``s``: from ``d`` = ends[0] to ends[1], offsets along the main road."""
    x, y, yaw = layout.road.pose(s, 0.0)
    d = np.linspace(ends[0], ends[1], max(2, int(abs(ends[1] - ends[0]) / 4.0)))
    lines = []
    for offset in sorted(across, reverse=True):
        lines.append(np.column_stack([x + offset * np.cos(yaw) - d * np.sin(yaw),
                                      y + offset * np.sin(yaw) + d * np.cos(yaw), np.full(len(d), z)]))
    return ribbon(lines, d / scale, np.array(sorted(across)) / scale)


def _free_ranges(layout: Layout, margin: float, walks: bool) -> List[Tuple[float, float]]:
    """Stretches of the road without side roads (and, with ``walks``, without crosswalks)."""
    blocked = [(junction.s - SIDE_ROAD_HALF - margin, junction.s + SIDE_ROAD_HALF + margin)
               for junction in layout.junctions]
    if walks:
        half = CROSSWALK_WIDTH / 2 + 0.3
        blocked += [(walk.s - half, walk.s + half) for walk in layout.crosswalks]
    start, ranges = 0.0, []
    for low, high in sorted(blocked):
        if low > start + 1.0:
            ranges.append((start, low))
        start = max(start, high)
    ranges.append((start, layout.road.length))
    return ranges


def markings(layout: Layout, rng: np.random.Generator) -> Mesh:
    """All white paint on the main road and the side roads."""
    section, z, meshes = layout.road.section, 0.012, []
    width = float(rng.uniform(0.11, 0.17))

    def line(start: float, end: float, d: float, wide: float = width) -> None:
        meshes.append(_strip(layout, start, end, [(d - wide / 2, z), (d + wide / 2, z)], 3.0))

    dash, pause = float(rng.choice([3.0, 4.0, 6.0])), float(rng.choice([4.5, 6.0, 9.0]))
    middle = str(rng.choice(["dashed", "solid", "double"], p=[0.5, 0.25, 0.25]))
    for start, end in _free_ranges(layout, 1.5, True):
        for direction in (1, -1):
            lanes = section.lanes(direction)
            for lane in range(1, lanes):
                for first in np.arange(start, end - dash, dash + pause):
                    line(first, first + dash, -direction * lane * section.lane_width)
            line(start, end, -direction * lanes * section.lane_width)
        if middle == "dashed":
            for first in np.arange(start, end - dash, dash + pause):
                line(first, first + dash, 0.0)
        elif middle == "solid":
            line(start, end, 0.0)
        else:
            line(start, end, 0.15)
            line(start, end, -0.15)
    low, high = -section.edge(1) + 0.3, section.edge(-1) - 0.3
    for walk in layout.crosswalks:
        for d in np.arange(low, high - 0.4, 1.0):
            meshes.append(_strip(layout, walk.s - CROSSWALK_WIDTH / 2, walk.s + CROSSWALK_WIDTH / 2,
                                 [(d, z), (d + 0.5, z)], 3.0))
    for stop in layout.stop_lines:
        reach = stop.direction * section.lanes(stop.direction) * section.lane_width
        ends = sorted((-0.1 * stop.direction, -reach))
        if stop.kind == "yield":
            for d in np.arange(ends[0] + 0.2, ends[1] - 0.4, 0.8):
                meshes.append(_strip(layout, stop.s - 0.3, stop.s + 0.3, [(d, z), (d + 0.5, z)], 3.0))
        elif stop.kind in ("light", "stop"):
            meshes.append(_strip(layout, stop.s - 0.2, stop.s + 0.2, [(ends[0], z), (ends[1], z)], 3.0))
    for junction in layout.junctions:
        for side in (-1, 1):
            edge = section.edge(-side)
            for first in np.arange(edge + 3.0, SIDE_ROAD_REACH, 9.0):
                meshes.append(_side_strip(layout, junction.s, (side * first, side * (first + 4.0)), (-0.07, 0.07), z))
            ends = (side * (edge + 1.5), side * (edge + 1.9))
            meshes.append(_side_strip(layout, junction.s, ends, (side * 0.2, side * -3.2), z))
    for mesh in meshes:
        corners = mesh.vertices[mesh.faces[0]]
        if np.cross(corners[1] - corners[0], corners[2] - corners[0])[2] < 0:
            mesh.faces[:] = mesh.faces[:, ::-1]
    return merged(meshes)


def _upward(mesh: Mesh) -> Mesh:
    corners = mesh.vertices[mesh.faces[0]]
    down = np.cross(corners[1] - corners[0], corners[2] - corners[0])[2] < 0
    return Mesh(mesh.vertices, mesh.faces[:, ::-1] if down else mesh.faces, mesh.uv, mesh.flat)


def ground(layout: Layout, split: str, look: Look, rng: np.random.Generator) -> Tuple[List[Part], Dict[str, np.ndarray]]:
    """Road, side roads, sidewalks and markings as parts, and the textures that they name."""
    section = layout.road.section
    found = {
        "asphalt": textures.asphalt(draw_family(split, "asphalt", rng), rng),
        "paving": textures.paving(draw_family(split, "paving", rng), rng),
        "terrain": textures.terrain(draw_family(split, "terrain", rng), rng),
    }
    finish = "wet" if look.wetness > 0.3 else "matte"
    right, left = -section.edge(1), section.edge(-1)
    lanes = [-section.forward_lanes * section.lane_width, 0.0, section.backward_lanes * section.lane_width]
    white = (1.0, 1.0, 1.0)
    parts = [
        Part("mesh", white, finish, texture="asphalt",
             mesh=_strip(layout, 0.0, layout.road.length, [(d, 0.0) for d in (right, *lanes, left)], 2.0, 9.0)),
        Part("mesh", tuple(np.full(3, rng.uniform(0.72, 0.95))), finish, mesh=markings(layout, rng)),
    ]
    if rng.random() < 0.4:
        tone = hsv(float(rng.choice([0.01, 0.33, 0.6])), 0.35, 0.45)
        for start, end in _free_ranges(layout, 0.0, True):
            for direction in (1, -1):
                d = section.lane_centre(direction, section.lanes(direction))
                half = section.cycle_width / 2 - 0.1
                parts.append(Part("mesh", tone, finish,
                                  mesh=_strip(layout, start, end, [(d - half, 0.006), (d + half, 0.006)], 4.0)))
    reach = section.sidewalk_width
    walks, kerbs = [], []
    for start, end in _free_ranges(layout, 0.0, False):
        walks.append(_strip(layout, start, end, [(right - reach, 0.12), (right - 0.15, 0.12)], 2.0, 3.0))
        walks.append(_strip(layout, start, end, [(left + 0.15, 0.12), (left + reach, 0.12)], 2.0, 3.0))
        kerbs.append(_strip(layout, start, end, [(right - 0.15, 0.125), (right, 0.12), (right, -0.02)], 2.0))
        kerbs.append(_strip(layout, start, end, [(left, -0.02), (left, 0.12), (left + 0.15, 0.125)], 2.0))
    for junction in layout.junctions:
        for side in (-1, 1):
            edge = section.edge(-side)
            ends = (side * (edge - 0.3), side * SIDE_ROAD_REACH)
            across = (-SIDE_ROAD_HALF, SIDE_ROAD_HALF)
            parts.append(Part("mesh", white, finish, texture="asphalt",
                              mesh=_upward(_side_strip(layout, junction.s, ends, across, -0.004, 9.0))))
            for along in (-1, 1):
                ends = (side * (edge + reach), side * SIDE_ROAD_REACH)
                near, far = along * SIDE_ROAD_HALF, along * (SIDE_ROAD_HALF + 2.0)
                walks.append(_upward(_side_strip(layout, junction.s, ends, (near, far), SIDEWALK_HEIGHT, 3.0)))
    parts.append(Part("mesh", white, "matte", texture="paving", mesh=merged(walks)))
    parts.append(Part("mesh", tuple(np.full(3, rng.uniform(0.4, 0.75))), "matte", mesh=merged(kerbs)))
    return parts, found


def _building(size: Tuple[float, float, float], roof: str, tile: float) -> Tuple[Mesh, Mesh]:
    """Walls with texture coordinates (in tiles of ``tile`` metres) and a roof; origin at the ground's middle."""
    x, y, height = size[0] / 2, size[1] / 2, size[2]
    corners = [(-x, -y), (x, -y), (x, y), (-x, y)]
    walls = []
    for index in range(4):
        (x0, y0), (x1, y1) = corners[index], corners[(index + 1) % 4]
        wide = max(1.0, round(np.hypot(x1 - x0, y1 - y0) / tile * 2) / 2)
        tall = max(0.5, round(height / tile * 2) / 2)
        walls.append(quad(np.array([[x0, y0, 0], [x1, y1, 0], [x1, y1, height], [x0, y0, height]]),
                          np.array([[0, tall], [wide, tall], [wide, 0], [0, 0]])))
    if roof == "gable":
        peak = height + min(x, y) * 0.8
        rings = np.array([[(-x - 0.3, -y - 0.4, height), (-x - 0.3, y + 0.4, height), (-x - 0.3, 0, peak)],
                          [(x + 0.3, -y - 0.4, height), (x + 0.3, y + 0.4, height), (x + 0.3, 0, peak)]])
        return merged(walls), loft(rings)
    return merged(walls), box((size[0] + 0.3, size[1] + 0.3, 0.5), (0.0, 0.0, height + 0.1))


def _tree(rng: np.random.Generator, leaf: str) -> Shape:
    height = float(rng.uniform(3.5, 9.0))
    trunk = height * float(rng.uniform(0.25, 0.45))
    bark = hsv(0.08, 0.35, float(rng.uniform(0.15, 0.35)))
    parts = [capsule((0, 0, 0), (0, 0, trunk + 0.6), float(rng.uniform(0.08, 0.2)), bark)]
    shade = tuple(np.full(3, rng.uniform(0.7, 1.0)))
    if rng.random() < 0.25:
        angle = np.arange(9) * 2 * np.pi / 9
        rings = [np.column_stack([np.cos(angle) * radius, np.sin(angle) * radius, np.full(9, z)])
                 for radius, z in ((height * 0.22, trunk * 0.6), (height * 0.12, height * 0.7), (0.05, height))]
        parts.append(Part("mesh", shade, mesh=loft(np.array(rings)), texture=leaf))
    else:
        for _ in range(int(rng.integers(2, 5))):
            wide = height * rng.uniform(0.16, 0.28)
            radii = (wide, wide, wide * rng.uniform(0.7, 1.2))
            centre = (rng.uniform(-0.6, 0.6), rng.uniform(-0.6, 0.6), trunk + rng.uniform(0.3, 0.6) * height)
            parts.append(Part("mesh", shade, mesh=blob(radii, centre, rng.uniform(0.82, 1.12, (6, 10))), texture=leaf))
    return Shape("", (0, 0, height), tuple(parts))


def _furniture(kind: str, rng: np.random.Generator, poster: Callable[[], str], look: Look) -> Shape:
    """Things on sidewalks; facing the road is +x."""
    metal = tuple(np.full(3, rng.uniform(0.1, 0.5)))
    colour = hsv(rng.random(), float(rng.uniform(0.2, 0.9)), float(rng.uniform(0.2, 0.8)))
    if kind == "lamp":
        height, arm = float(rng.uniform(6.0, 9.0)), float(rng.uniform(0.8, 2.2))
        glow = "lit" if look.lamps else "matte"
        parts = [capsule((0, 0, 0), (0, 0, height), 0.07, metal), capsule((0, 0, height), (arm, 0, height + 0.1), 0.05, metal),
                 Part("box", (0.95, 0.9, 0.75), glow, size=(0.3, 0.12, 0.06), position=(arm, 0, height + 0.06))]
    elif kind == "bin":
        size = (0.25, 0.25, 0.5) if rng.random() < 0.6 else (0.35, 0.55, 0.6)
        parts = [Part("box", colour, size=size, position=(0, 0, size[2])),
                 Part("box", (0.08, 0.08, 0.08), size=(size[0] + 0.02, size[1] + 0.02, 0.04), position=(0, 0, 2 * size[2]))]
    elif kind == "bollard":
        parts = [capsule((0, 0, 0), (0, 0, float(rng.uniform(0.6, 1.0))), 0.07, colour)]
    elif kind == "box":
        size = rng.uniform([0.2, 0.2, 0.2], [0.8, 0.8, 0.9])
        parts = [Part("box", hsv(0.09, 0.4, float(rng.uniform(0.3, 0.7))) if rng.random() < 0.5 else colour,
                      size=tuple(size), position=(0, 0, float(size[2])))]
    elif kind == "poster":
        wide, tall, low = rng.uniform(0.9, 2.8), rng.uniform(0.9, 2.0), rng.uniform(0.3, 2.2)
        half = wide / 2
        front = quad(np.array([[0.06, -half, low], [0.06, half, low], [0.06, half, low + tall], [0.06, -half, low + tall]]),
                     np.array([[0, 1], [1, 1], [1, 0], [0, 0]]))
        name = poster()
        parts = [Part("mesh", (1, 1, 1), mesh=front, texture=name),
                 Part("box", metal, size=(0.05, half + 0.05, tall / 2 + 0.05), position=(0, 0, low + tall / 2)),
                 capsule((0, 0, 0), (0, 0, low), 0.06, metal)]
    elif kind == "board":
        wide, tall, low = rng.uniform(0.5, 1.6), rng.uniform(0.25, 0.5), rng.uniform(2.0, 2.6)
        blue = hsv(float(rng.choice([0.6, 0.38, 0.12])), 0.8, 0.5)
        parts = [Part("box", blue, size=(0.02, wide / 2, tall / 2), position=(0.05, 0, low)),
                 Part("box", (0.9, 0.9, 0.9), size=(0.022, wide * 0.38, tall * 0.1), position=(0.05, 0, low + tall * 0.12)),
                 capsule((0, 0, 0), (0, 0, low + 0.1), 0.035, (0.5, 0.5, 0.52))]
    elif kind == "bench":
        parts = [Part("box", (0.35, 0.22, 0.12), size=(0.22, 0.8, 0.04), position=(0, 0, 0.45)),
                 Part("box", (0.35, 0.22, 0.12), size=(0.03, 0.8, 0.25), position=(-0.2, 0, 0.75)),
                 Part("box", metal, size=(0.2, 0.04, 0.22), position=(0, 0.6, 0.22)),
                 Part("box", metal, size=(0.2, 0.04, 0.22), position=(0, -0.6, 0.22))]
    elif kind == "shelter":
        parts = [Part("box", metal, size=(0.75, 1.9, 0.06), position=(0, 0, 2.4)),
                 Part("box", (0.3, 0.4, 0.42), "glass", 0.45, size=(0.03, 1.8, 1.1), position=(-0.7, 0, 1.25)),
                 Part("box", metal, size=(0.6, 0.03, 1.15), position=(0, 1.8, 1.2)),
                 Part("box", metal, size=(0.04, 0.04, 1.2), position=(0.65, -1.8, 1.2))]
    elif kind == "cone":
        angle = np.arange(10) * 2 * np.pi / 10
        rings = [np.column_stack([np.cos(angle) * radius, np.sin(angle) * radius, np.full(10, z)])
                 for radius, z in ((0.14, 0.02), (0.03, 0.6))]
        parts = [Part("mesh", (0.9, 0.3, 0.05), mesh=loft(np.array(rings))),
                 Part("cylinder", (0.9, 0.9, 0.9), size=(0.1, 0.05), position=(0, 0, 0.3))]
    elif kind == "pole":
        parts = [capsule((0, 0, 0), (0, 0, float(rng.uniform(2.5, 8.0))), float(rng.uniform(0.04, 0.14)), metal)]
    else:
        parts = [Part("cylinder", colour, size=(0.3, 0.45), position=(0, 0, 0.45))]
    return Shape("", (0, 0, 0), tuple(parts))


def surroundings(layout: Layout, split: str, look: Look, rng: np.random.Generator
                 ) -> Tuple[List[Placed], Dict[str, np.ndarray]]:
    """Buildings, trees, fences, hedges and furniture along the whole road, and the textures that they name."""
    road, section = layout.road, layout.road.section
    named: Dict[str, np.ndarray] = {}
    facades, leaves, posters = [], [], []
    for index in range(6):
        named[f"facade{index}"] = textures.facade(draw_family(split, "facade", rng), rng, look.name == "night")
        facades.append(f"facade{index}")
    for index in range(3):
        named[f"foliage{index}"] = textures.foliage(draw_family(split, "foliage", rng), rng)
        leaves.append(f"foliage{index}")
    for index in range(5):
        named[f"poster{index}"] = textures.poster(draw_family(split, "poster", rng), rng)
        posters.append(f"poster{index}")
    placed: List[Placed] = []
    side_roads = []
    for junction in layout.junctions:
        x, y, yaw = road.pose(junction.s, 0.0)
        side_roads.append((float(x), float(y), float(yaw)))

    def free(x: float, y: float, radius: float) -> bool:
        return all(abs((x - jx) * np.cos(yaw) + (y - jy) * np.sin(yaw)) > SIDE_ROAD_HALF + 2.5 + radius
                   or np.hypot(x - jx, y - jy) > SIDE_ROAD_REACH + 20.0 for jx, jy, yaw in side_roads)

    def put(shape: Shape, s: float, d: float, yaw: float, radius: float, z: float = 0.0) -> bool:
        x, y, along = road.pose(s, d)
        if not free(float(x), float(y), radius):
            return False
        placed.append(Placed(shape, float(x), float(y), z, float(along) + yaw))
        return True

    trees = [_tree(rng, str(rng.choice(leaves))) for _ in range(6)]
    share = {"urban": 0.9, "suburban": 0.65, "rural": 0.12}[layout.theme]
    tall = {"urban": (7.0, 24.0), "suburban": (4.0, 8.0), "rural": (3.5, 7.0)}[layout.theme]
    for side in (-1, 1):
        kerb = section.edge(-side) + section.sidewalk_width
        setback = float(rng.uniform(0.2, 3.0) if layout.theme == "urban" else rng.uniform(4.0, 10.0))
        station = float(rng.uniform(0.0, 10.0))
        facing = -side * np.pi / 2
        while station < road.length:
            wide = float(rng.uniform(9.0, 26.0) if layout.theme == "urban" else rng.uniform(8.0, 15.0))
            if rng.random() < share:
                size = (float(rng.uniform(8.0, 14.0)), wide, float(rng.uniform(*tall)))
                roof = "gable" if layout.theme != "urban" and rng.random() < 0.8 else "flat"
                walls, top = _building(size, roof, float(rng.uniform(5.5, 8.0)))
                tone = tuple(np.clip(rng.uniform(0.75, 1.0) + rng.uniform(-0.06, 0.06, 3), 0, 1))
                tiles = hsv(float(rng.choice([0.02, 0.07, 0.6])), float(rng.uniform(0.1, 0.6)), float(rng.uniform(0.2, 0.5)))
                shape = Shape("", size, (Part("mesh", tone, mesh=walls, texture=str(rng.choice(facades))),
                                         Part("mesh", tiles, mesh=top)))
                put(shape, station + wide / 2, side * (kerb + setback + size[0] / 2), facing, wide / 2)
            elif rng.random() < 0.7:
                for _ in range(int(rng.integers(1, 4))):
                    put(trees[int(rng.integers(0, 6))], station + rng.uniform(0, wide),
                        side * (kerb + rng.uniform(1.5, 14.0)), float(rng.uniform(0, 6.28)), 2.0)
            station += wide + float(rng.uniform(0.0, 2.0) if layout.theme == "urban" else rng.uniform(3.0, 12.0))
        if rng.random() < 0.5 and layout.theme != "urban":
            kind = str(rng.choice(["hedge", "fence", "wall"]))
            high = {"hedge": rng.uniform(0.8, 1.6), "fence": rng.uniform(0.8, 1.3), "wall": rng.uniform(0.6, 1.8)}[kind]
            colour = (1.0, 1.0, 1.0) if kind == "hedge" else hsv(float(rng.uniform(0, 0.15)), 0.2, float(rng.uniform(0.3, 0.9)))
            for start, end in _free_ranges(layout, 4.0, False):
                for first in np.arange(start, end - 14.0, 13.0):
                    if rng.random() < 0.3:
                        continue
                    d = side * (kerb + 0.7)
                    x, y, yaw = road.pose(first + 6.0, d)
                    if kind == "fence":
                        rails = [box((12.0, 0.05, 0.08), (0, 0, high * level)) for level in (0.45, 0.9)]
                        posts = [box((0.08, 0.08, high), (offset, 0, high / 2)) for offset in np.arange(-6.0, 6.1, 1.5)]
                        parts = (Part("mesh", colour, mesh=merged(rails + posts)),)
                    else:
                        thick = 0.35 if kind == "hedge" else 0.12
                        parts = (Part("box", colour, size=(6.0, thick, high / 2), position=(0, 0, high / 2),
                                      texture=leaves[0] if kind == "hedge" else ""),)
                    placed.append(Placed(Shape("", (0, 0, 0), parts), float(x), float(y), 0.0, float(yaw)))
        station = float(rng.uniform(0.0, 20.0))
        gap = float(rng.uniform(22.0, 38.0))
        lamp = _furniture("lamp", rng, lambda: str(rng.choice(posters)), look)
        tree_row = rng.random() < {"urban": 0.4, "suburban": 0.5, "rural": 0.25}[layout.theme]
        while station < road.length:
            if layout.theme != "rural":
                put(lamp, station, side * (section.edge(-side) + 0.5), facing, 0.0, SIDEWALK_HEIGHT)
            if tree_row:
                put(trees[int(rng.integers(0, 6))], station + gap / 2, side * (kerb - 0.3), 0.0, 1.0)
            station += gap
        station = float(rng.uniform(0.0, 10.0))
        kinds = ["bin", "bollard", "box", "poster", "board", "bench", "shelter", "cone", "pole", "barrel"]
        weights = [0.14, 0.12, 0.12, 0.14, 0.12, 0.08, 0.04, 0.08, 0.1, 0.06]
        spacing = {"urban": 8.0, "suburban": 16.0, "rural": 35.0}[layout.theme]
        while station < road.length:
            shape = _furniture(str(rng.choice(kinds, p=weights)), rng, lambda: str(rng.choice(posters)), look)
            d = side * (section.edge(-side) + float(rng.choice([0.4, section.sidewalk_width - 0.3])))
            put(shape, station, d, facing + float(rng.normal(0, 0.4) + rng.choice([0.0, np.pi / 2 * side])), 0.5,
                SIDEWALK_HEIGHT)
            station += float(rng.exponential(spacing)) + 1.0
    return placed, named


