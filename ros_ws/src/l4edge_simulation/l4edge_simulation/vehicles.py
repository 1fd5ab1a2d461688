"""Shapes of cars, vans, lorries and buses. Lengths in metres, x forward, origin on the ground at the box's middle."""

from dataclasses import dataclass
from typing import List, Sequence, Tuple

import numpy as np

from .geometry import Mesh, box, cylinder, loft, merged, quad
from .shapes import Colour, Part, Shape, contact_shadow

DARK: Colour = (0.03, 0.03, 0.035)
DETAIL_M = 32.0  # farther away wheels are drawn coarsely, and hubs and number plates not at all
GLASS: Colour = (0.05, 0.07, 0.09)


@dataclass(frozen=True)
class Design:
    """The meshes of one vehicle design, shared by all that differ in colour only."""

    class_name: str
    size: Tuple[float, float, float]
    painted: Tuple[Mesh, ...]
    second: Tuple[Mesh, ...]
    glass: Mesh
    trim: Mesh
    coarse_trim: Mesh
    hubs: Mesh
    front_lamps: Mesh
    rear_lamps: Mesh
    plates: Mesh


def _body(stations: Sequence[Tuple[float, float, float, float]], width: float) -> Mesh:
    """The lower body: (x, share of the half width, bottom, top) from the rear to the front."""
    rings = []
    for x, share, bottom, top in stations:
        half = width / 2 * share
        shoulder = min(0.12, 0.3 * (top - bottom))
        profile = [(-half * 0.93, bottom), (-half, bottom + shoulder), (-half * 0.99, top - shoulder),
                   (-half * 0.92, top), (half * 0.92, top), (half * 0.99, top - shoulder),
                   (half, bottom + shoulder), (half * 0.93, bottom)]
        rings.append([(x, y, z) for y, z in profile])
    return loft(np.array(rings))


def _cabin(base: Tuple[float, float, float], roof: Tuple[float, float, float], z: Tuple[float, float]) -> Tuple:
    """The greenhouse and its panes; base and roof are (rear x, front x, half width), z their heights."""
    levels = []
    for share in (0.0, 0.55, 0.93, 1.0):
        rear, front, half = (np.array(base) * (1.0 - share) + np.array(roof) * share)
        inset = 0.05 if share == 1.0 else 0.0
        rear, front, half = rear + inset, front - inset, half - inset
        cut = 0.09
        height = z[0] * (1.0 - share) + z[1] * share
        levels.append([(front - cut, -half, height), (front, -half + cut * 1.5, height),
                       (front, half - cut * 1.5, height), (front - cut, half, height), (rear + cut, half, height),
                       (rear, half - cut * 1.5, height), (rear, -half + cut * 1.5, height),
                       (rear + cut, -half, height)])
    shell = loft(np.array(levels))

    def at(along: float, share: float) -> Tuple[float, float, float]:
        rear, front, half = (np.array(base) * (1.0 - share) + np.array(roof) * share)
        return rear + (front - rear) * along, half + 0.008, z[0] * (1.0 - share) + z[1] * share

    low, high = 0.08, 0.86
    panes: List[Mesh] = []
    for first, last in ((0.07, 0.45), (0.5, 0.93)):
        corners = np.array([at(first, low), at(last, low), at(last, high), at(first, high)])
        panes.append(quad(corners[::-1]))
        panes.append(quad(corners * [1.0, -1.0, 1.0]))
    for along, sign in ((1.0, 1.0), (0.0, -1.0)):
        bottom, top = np.array(at(along, low)), np.array(at(along, high))
        shift = np.array([sign * 0.012, 0.0, 0.0])
        corners = np.array([bottom * [1, -0.86, 1], bottom * [1, 0.86, 1], top * [1, 0.84, 1], top * [1, -0.84, 1]])
        panes.append(quad((corners if sign > 0 else corners[::-1]) + shift))
    return shell, merged(panes)


def _wheels(axles: Sequence[float], half: float, radius: float, thickness: float) -> Tuple[List[Mesh], Mesh, Mesh]:
    """Tyres with dark wheel arches, coarse tyres for afar, and hubs."""
    tyres, coarse, hubs = [], [], []
    for x in axles:
        for side in (-1.0, 1.0):
            y = side * (half - thickness / 2 + 0.012)
            tyres.append(cylinder(radius, thickness, (x, y, radius), 14))
            tyres.append(cylinder(radius * 1.17, thickness * 0.9, (x, side * (half - thickness / 2), radius * 1.06), 12))
            coarse.append(cylinder(radius * 1.05, thickness, (x, y, radius * 1.05), 6))
            hubs.append(cylinder(radius * 0.62, 0.02, (x, side * (half + 0.016), radius), 8))
    return tyres, merged(coarse), merged(hubs)


def _plate(x: float, z: float, facing: float) -> Mesh:
    corners = np.array([[x, -0.26, z - 0.055], [x, 0.26, z - 0.055], [x, 0.26, z + 0.055], [x, -0.26, z + 0.055]])
    uv = np.array([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    if facing < 0:
        corners, uv = corners[::-1], uv[[0, 1, 2, 3]][[3, 2, 1, 0]] * [-1.0, 1.0] + [1.0, 0.0]
    return quad(corners, uv)


def car(kind: str, rng: np.random.Generator) -> Design:
    """A passenger car or van. ``kind``: sedan, hatchback, estate, suv, van."""
    length, width, height, clearance = {
        "sedan": (4.65, 1.83, 1.44, 0.2), "hatchback": (4.0, 1.76, 1.48, 0.19), "estate": (4.7, 1.83, 1.48, 0.2),
        "suv": (4.55, 1.88, 1.68, 0.27), "van": (5.1, 1.98, 2.1, 0.24),
    }[kind]
    length, width, height = (value * rng.uniform(0.94, 1.06) for value in (length, width, height))
    back, front = -length / 2, length / 2
    belt = height * (0.52 if kind == "van" else 0.63) * rng.uniform(0.97, 1.03)
    hood = belt - rng.uniform(0.0, 0.06)
    nose = hood - rng.uniform(0.08, 0.2)
    cowl = front - length * {"sedan": 0.28, "hatchback": 0.25, "estate": 0.27, "suv": 0.27, "van": 0.17}[kind]
    tail = belt + (0.02 if kind == "sedan" else 0.0)
    body = _body(
        [
            (back, 0.84, clearance + 0.2, tail - 0.14),
            (back + 0.06, 0.93, clearance + 0.06, tail - 0.04),
            (back + 0.35, 0.99, clearance, tail),
            (back + length * 0.4, 1.0, clearance, belt),
            (cowl, 1.0, clearance, belt),
            (cowl + 0.12, 0.99, clearance, hood),
            (front - 0.35, 0.97, clearance, (hood + nose) / 2),
            (front - 0.07, 0.91, clearance + 0.03, nose),
            (front, 0.8, clearance + 0.15, nose - 0.15),
        ],
        width,
    )
    half = width / 2
    rear_base = back + {"sedan": 0.62, "hatchback": 0.08, "estate": 0.08, "suv": 0.1, "van": 0.05}[kind]
    rear_roof = rear_base + {"sedan": 0.62, "hatchback": 0.5, "estate": 0.3, "suv": 0.35, "van": 0.1}[kind]
    rake = {"van": 0.55}.get(kind, rng.uniform(0.65, 0.9))
    shell, glass = _cabin(
        (rear_base, cowl + 0.1, half * 0.93), (rear_roof, cowl + 0.1 - rake, half * rng.uniform(0.74, 0.82)
                                               if kind != "van" else half * 0.86), (belt - 0.03, height)
    )
    radius = {"suv": 0.36, "van": 0.34}.get(kind, 0.315)
    axles = (back + length * 0.19, front - length * 0.185)
    tyres, coarse, hubs = _wheels(axles, half, radius, 0.21)
    trim = [
        *tyres,
        box((0.1, width * 0.86, 0.14), (front - 0.05, 0.0, clearance + 0.1)),
        box((0.1, width * 0.86, 0.14), (back + 0.05, 0.0, clearance + 0.1)),
        box((0.05, width * rng.uniform(0.4, 0.6), 0.14), (front - 0.03, 0.0, nose - 0.2)),
        box((0.14, 0.08, 0.1), (cowl - 0.25, half + 0.06, belt + 0.05)),
        box((0.14, 0.08, 0.1), (cowl - 0.25, -half - 0.06, belt + 0.05)),
    ]
    lamp_z, tail_z = nose - rng.uniform(0.14, 0.2), tail - rng.uniform(0.17, 0.25)
    tail_high = rng.uniform(0.14, 0.34) if kind != "sedan" else rng.uniform(0.12, 0.18)
    front_lamps = merged([box((0.12, 0.32, 0.13), (front - 0.1, side * half * 0.68, lamp_z)) for side in (-1, 1)])
    rear_lamps = merged(
        [box((0.1, 0.26, tail_high), (back + 0.05, side * half * 0.74, tail_z)) for side in (-1, 1)]
    )
    plates = merged([_plate(front + 0.012, clearance + 0.2, 1.0), _plate(back - 0.012, tail_z - 0.1, -1.0)])
    return Design("car", (length, width, height), (body, shell), (), glass, merged(trim), coarse, hubs, front_lamps,
                  rear_lamps, plates)


def truck(kind: str, rng: np.random.Generator) -> Design:
    """A lorry or bus. ``kind``: box, tipper, tanker, trailer, bus."""
    length, width, height = {
        "box": (7.5, 2.4, 3.2), "tipper": (7.0, 2.45, 2.9), "tanker": (8.5, 2.45, 3.2), "trailer": (13.5, 2.5, 3.7),
        "bus": (11.5, 2.5, 3.0),
    }[kind]
    length, width, height = length * rng.uniform(0.9, 1.1), width * rng.uniform(0.97, 1.03), height * rng.uniform(
        0.93, 1.05
    )
    back, front, half = -length / 2, length / 2, width / 2
    radius, floor = 0.48, 0.55
    if kind == "bus":
        shell = _body(
            [(back, 0.95, floor - 0.1, height - 0.15), (back + 0.1, 1.0, floor - 0.2, height),
             (front - 0.12, 1.0, floor - 0.2, height), (front, 0.95, floor - 0.1, height - 0.25)], width
        )
        low, high = height * 0.42, height * 0.82
        panes = []
        count = int(length // 1.6)
        for index in range(count):
            x0 = back + 0.4 + index * (length - 0.8) / count
            x1 = x0 + (length - 0.8) / count - 0.12
            side = np.array([[x0, half + 0.01, low], [x1, half + 0.01, low], [x1, half + 0.01, high],
                             [x0, half + 0.01, high]])
            panes += [quad(side[::-1]), quad(side * [1.0, -1.0, 1.0])]
        panes.append(quad(np.array([[front + 0.015, -half * 0.88, low * 0.9], [front + 0.015, half * 0.88, low * 0.9],
                                    [front + 0.015, half * 0.88, high], [front + 0.015, -half * 0.88, high]])))
        panes.append(quad(np.array([[back - 0.01, half * 0.8, low * 1.1], [back - 0.01, -half * 0.8, low * 1.1],
                                    [back - 0.01, -half * 0.8, high], [back - 0.01, half * 0.8, high]])))
        painted, second, glass = (shell,), (), merged(panes)
        axles = (back + length * 0.25, front - 2.4)
        radius = 0.46
    else:
        cab_length = rng.uniform(1.8, 2.2)
        cab_height = min(height, rng.uniform(2.4, 3.0))
        cab = _body(
            [(front - cab_length, 0.95, floor, cab_height), (front - 0.5, 0.97, floor - 0.15, cab_height),
             (front - 0.12, 0.95, floor - 0.2, cab_height * 0.66), (front, 0.9, floor - 0.1, cab_height * 0.55)], width
        )
        low, high = cab_height * 0.6, cab_height * 0.9
        slope_x = (front - 0.12) - np.array([low, high]) * 0.0
        slope_x[0], slope_x[1] = front - 0.1, front - 0.42
        panes = [quad(np.array([[slope_x[0] + 0.03, -half * 0.82, cab_height * 0.68],
                                [slope_x[0] + 0.03, half * 0.82, cab_height * 0.68],
                                [slope_x[1] + 0.03, half * 0.8, high + 0.1], [slope_x[1] + 0.03, -half * 0.8, high + 0.1]]))]
        side = np.array([[front - 1.35, half * 0.985, low], [front - 0.5, half * 0.985, low],
                         [front - 0.62, half * 0.985, high], [front - 1.35, half * 0.985, high]])
        panes += [quad(side[::-1]), quad(side * [1.0, -1.0, 1.0])]
        glass = merged(panes)
        start = front - cab_length - rng.uniform(0.1, 0.4)
        long = start - back
        middle = (start + back) / 2
        if kind in ("box", "trailer"):
            cargo = box((long, width, height - floor - 0.25), (middle, 0.0, (height + floor + 0.25) / 2))
        elif kind == "tipper":
            tall = rng.uniform(1.1, 1.5)
            rings = [
                np.column_stack([middle + rounded[:, 0], rounded[:, 1], np.full(4, z)])
                for rounded, z in (
                    (np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [long / 2 - 0.2, half - 0.15], floor + 0.3),
                    (np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [long / 2, half], floor + 0.3 + tall),
                )
            ]
            cargo = loft(np.array(rings))
            height = max(cab_height, floor + 0.3 + tall)
        else:
            tank = cylinder(min(half, (height - floor - 0.3) / 2), long, (0.0, 0.0, 0.0), 18)
            turned = tank.vertices[:, [1, 0, 2]] * [1.0, -1.0, 1.0]
            cargo = Mesh(turned + [middle, 0.0, floor + 0.3 + min(half, (height - floor - 0.3) / 2)], tank.faces)
            height = max(cab_height, float(cargo.vertices[:, 2].max()))
        painted, second = (cab,), (cargo,)
        height = max(height, cab_height)
        axles = (back + 1.0, back + 2.3, front - 1.3) if length > 8.0 else (back + 1.5, front - 1.3)
    tyres, coarse, hubs = _wheels(axles, half - 0.02, radius, 0.32)
    trim = [*tyres, box((length - 0.5, width * 0.5, 0.3), (-0.1, 0.0, floor + 0.05)),
            box((0.12, width * 0.92, 0.25), (front - 0.05, 0.0, floor - 0.1)),
            box((0.08, width * 0.9, 0.15), (back + 0.06, 0.0, floor - 0.05)),
            box((0.15, 0.12, 0.4), (front - 0.3, half + 0.1, height * 0.6)),
            box((0.15, 0.12, 0.4), (front - 0.3, -half - 0.1, height * 0.6))]
    front_lamps = merged([box((0.1, 0.35, 0.18), (front - 0.03, side * half * 0.72, floor + 0.2)) for side in (-1, 1)])
    rear_lamps = merged([box((0.1, 0.28, 0.16), (back + 0.0, side * half * 0.78, floor + 0.12)) for side in (-1, 1)])
    plates = merged([_plate(front + 0.025, floor, 1.0), _plate(back - 0.06, floor - 0.02, -1.0)])
    return Design("truck", (length, width, height), painted, second, glass, merged(trim), coarse, hubs, front_lamps,
                  rear_lamps, plates)


def vehicle(design: Design, paint: Colour, second: Colour, plate: str, lamps: bool, shadow: float) -> Shape:
    """A design in its colours; ``plate`` names the number plate's texture, ``lamps`` whether its lights are on."""
    length, width, _ = design.size
    parts = [contact_shadow(length * 1.08, width * 1.25, shadow)]
    parts += [Part("mesh", paint, "paint", mesh=mesh) for mesh in design.painted]
    parts += [Part("mesh", second, "matte", mesh=mesh) for mesh in design.second]
    parts += [
        Part("mesh", GLASS, "glass", mesh=design.glass),
        Part("mesh", DARK, "matte", mesh=design.trim, seen=(0.0, DETAIL_M)),
        Part("mesh", DARK, "matte", mesh=design.coarse_trim, seen=(DETAIL_M, np.inf)),
        Part("mesh", (0.45, 0.45, 0.47), "paint", mesh=design.hubs, seen=(0.0, DETAIL_M)),
        Part("mesh", (0.95, 0.95, 0.9), "lit" if lamps else "paint", mesh=design.front_lamps),
        Part("mesh", (0.55, 0.02, 0.03), "dim" if lamps else "paint", mesh=design.rear_lamps, role="brake"),
        Part("mesh", (1.0, 1.0, 1.0), "matte", mesh=design.plates, texture=plate, seen=(0.0, DETAIL_M)),
    ]
    return Shape(design.class_name, design.size, tuple(parts))
