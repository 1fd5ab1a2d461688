"""Draws what stands beside the road and is not labelled."""

from dataclasses import dataclass, field

import numpy as np

from l4edge_simulation.appearance import Look, draw_family
from l4edge_simulation.scenery import textures
from l4edge_simulation.scenery.buildings import SECTION_M, building, draw_fence_style, fence, tree
from l4edge_simulation.scenery.furniture import FURNITURE, Workshop, furniture
from l4edge_simulation.scenery.strips import free_ranges
from l4edge_simulation.shapes.parts import Shape
from l4edge_simulation.world.actors import SIDEWALK_HEIGHT
from l4edge_simulation.world.layout import SIDE_ROAD_HALF, SIDE_ROAD_REACH, Layout


@dataclass(frozen=True)
class Theme:
    """How one kind of surroundings is built up.

    Attributes:
        built: share of the road's sides with buildings.
        widths, heights, setbacks, gaps: of buildings, metres: along the road, up, from the sidewalk, between them.
        gables: share of pitched roofs. fences: share of road sides with fences.
        tree_rows: share of road sides with a row of trees. street_lamps: whether there are any.
        furniture_m: mean distance between pieces of furniture.
    """

    built: float
    widths: tuple[float, float]
    heights: tuple[float, float]
    setbacks: tuple[float, float]
    gaps: tuple[float, float]
    gables: float
    fences: float
    tree_rows: float
    street_lamps: bool
    furniture_m: float


THEMES = {
    "urban": Theme(0.9, (9.0, 26.0), (7.0, 24.0), (0.2, 3.0), (0.0, 2.0), 0.0, 0.0, 0.4, True, 8.0),
    "suburban": Theme(0.65, (8.0, 15.0), (4.0, 8.0), (4.0, 10.0), (3.0, 12.0), 0.8, 0.5, 0.5, True, 16.0),
    "rural": Theme(0.12, (8.0, 15.0), (3.5, 7.0), (4.0, 10.0), (3.0, 12.0), 0.8, 0.5, 0.25, False, 35.0),
}
TEXTURES = {"facade": 6, "foliage": 3, "poster": 5}
"""Kind: how many of them a drive has."""


@dataclass(frozen=True)
class Placed:
    """A shape at a pose of the ``map`` frame."""

    shape: Shape
    x: float
    y: float
    z: float
    yaw: float


def draw_textures(split: str, look: Look, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A drive's facades, leaves and posters, named by kind and number."""
    found = {}
    for kind, count in TEXTURES.items():
        for index in range(count):
            family = draw_family(split, kind, rng)
            if kind == "facade":
                image = textures.facade(family, rng, look.name == "night")
            else:
                image = {"foliage": textures.foliage, "poster": textures.poster}[kind](family, rng)
            found[f"{kind}{index}"] = image
    return found


def surroundings(layout: Layout, look: Look, rng: np.random.Generator) -> list[Placed]:
    """Buildings, trees, fences and furniture along the whole road, with the textures of :func:`draw_textures`."""
    names = {kind: [f"{kind}{index}" for index in range(count)] for kind, count in TEXTURES.items()}
    trees = [tree(rng, str(rng.choice(names["foliage"]))) for _ in range(6)]
    street = _Street(layout, rng, trees)
    workshop = Workshop(rng, tuple(names["poster"]), look.lamps)
    for side in (-1, 1):
        _place_buildings(street, side, names["facade"])
        if rng.random() < 0.5 and street.theme.fences > 0.0:
            _place_fences(street, side, names["foliage"][0])
        _place_lamps_and_trees(street, side, workshop)
        _place_furniture(street, side, workshop)
    return street.placed


@dataclass
class _Street:
    """Collects what is placed along a road and keeps side roads free."""

    layout: Layout
    rng: np.random.Generator
    trees: list[Shape]
    placed: list[Placed] = field(default_factory=list)

    @property
    def theme(self) -> Theme:
        return THEMES[self.layout.theme]

    def kerb(self, side: int) -> float:
        """Distance of the sidewalk's road edge from the centre line."""
        return self.layout.road.section.edge(-side)

    def sidewalk_end(self, side: int) -> float:
        """Distance of the sidewalk's far edge from the centre line."""
        return self.kerb(side) + self.layout.road.section.sidewalk_width

    def put(self, shape: Shape, s: float, d: float, yaw: float, radius: float, z: float = 0.0) -> None:
        """Place a shape of ``radius`` metres unless it would stand on a side road; ``yaw`` relative to the road."""
        x, y, along = (float(value) for value in self.layout.road.pose(s, d))
        if self._free(x, y, radius):
            self.placed.append(Placed(shape, x, y, z, along + yaw))

    def _free(self, x: float, y: float, radius: float) -> bool:
        for junction in self.layout.junctions:
            middle_x, middle_y, yaw = self.layout.road.pose(junction.s, 0.0)
            beside = abs((x - middle_x) * np.cos(yaw) + (y - middle_y) * np.sin(yaw))
            reach = np.hypot(x - middle_x, y - middle_y)
            if beside <= SIDE_ROAD_HALF + 2.5 + radius and reach <= SIDE_ROAD_REACH + 20.0:
                return False
        return True


def _place_buildings(street: _Street, side: int, facades: list[str]) -> None:
    """Buildings, and trees where there are none."""
    rng, theme = street.rng, street.theme
    edge = street.sidewalk_end(side)
    setback = float(rng.uniform(*theme.setbacks))
    station = float(rng.uniform(0.0, 10.0))
    while station < street.layout.road.length:
        wide = float(rng.uniform(*theme.widths))
        if rng.random() < theme.built:
            depth, height = float(rng.uniform(8.0, 14.0)), float(rng.uniform(*theme.heights))
            shape = building(rng, (depth, wide, height), facades, theme.gables)
            street.put(shape, station + wide / 2, side * (edge + setback + depth / 2), -side * np.pi / 2, wide / 2)
        elif rng.random() < 0.7:
            for _ in range(int(rng.integers(1, 4))):
                shape = street.trees[int(rng.integers(0, len(street.trees)))]
                s, d = station + rng.uniform(0, wide), side * (edge + rng.uniform(1.5, 14.0))
                street.put(shape, s, d, float(rng.uniform(0, 6.28)), 2.0)
        station += wide + float(rng.uniform(*theme.gaps))


def _place_fences(street: _Street, side: int, leaf: str) -> None:
    kind, height, colour = draw_fence_style(street.rng)
    d = side * (street.sidewalk_end(side) + 0.7)
    for start, end in free_ranges(street.layout, 4.0, walks=False):
        for first in np.arange(start, end - SECTION_M - 2.0, SECTION_M + 1.0):
            if street.rng.random() < 0.3:
                continue
            x, y, yaw = (float(value) for value in street.layout.road.pose(first + SECTION_M / 2, d))
            street.placed.append(Placed(fence(kind, height, colour, leaf), x, y, 0.0, yaw))


def _place_lamps_and_trees(street: _Street, side: int, workshop: Workshop) -> None:
    """Rows of street lamps and of trees, in step."""
    rng, theme = street.rng, street.theme
    station, gap = float(rng.uniform(0.0, 20.0)), float(rng.uniform(22.0, 38.0))
    lamp = furniture("lamp", workshop)
    tree_row = rng.random() < theme.tree_rows
    while station < street.layout.road.length:
        if theme.street_lamps:
            d = side * (street.kerb(side) + 0.5)
            street.put(lamp, station, d, -side * np.pi / 2, 0.0, SIDEWALK_HEIGHT)
        if tree_row:
            shape = street.trees[int(rng.integers(0, len(street.trees)))]
            street.put(shape, station + gap / 2, side * (street.sidewalk_end(side) - 0.3), 0.0, 1.0)
        station += gap


def _place_furniture(street: _Street, side: int, workshop: Workshop) -> None:
    rng, facing = street.rng, -side * np.pi / 2
    places = [0.4, street.layout.road.section.sidewalk_width - 0.3]
    station = float(rng.uniform(0.0, 10.0))
    while station < street.layout.road.length:
        shape = furniture(str(rng.choice(list(FURNITURE), p=list(FURNITURE.values()))), workshop)
        d = side * (street.kerb(side) + float(rng.choice(places)))
        yaw = facing + float(rng.normal(0, 0.4) + rng.choice([0.0, np.pi / 2 * side]))
        street.put(shape, station, d, yaw, 0.5, SIDEWALK_HEIGHT)
        station += float(rng.exponential(street.theme.furniture_m)) + 1.0
