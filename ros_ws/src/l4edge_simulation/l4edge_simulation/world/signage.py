"""Draws the traffic signs and lights along a road."""

from collections.abc import Sequence

import numpy as np

from l4edge_simulation.world.layout import SIDE_ROAD_HALF, Junction, Light, Plate, StopLine
from l4edge_simulation.world.road import CrossSection

SPEED_LIMITS = {"speed_30": 30 / 3.6, "speed_50": 50 / 3.6, "speed_80": 80 / 3.6}
"""Sign: metres per second from it on."""

FIRST_LIMITS = {"urban": 50 / 3.6, "suburban": 50 / 3.6, "rural": 70 / 3.6}
"""Theme: the limit before the first sign, metres per second."""

SPEED_SIGNS = {
    "urban": ["speed_30", "speed_50"],
    "suburban": ["speed_50", "speed_30", "speed_80"],
    "rural": ["speed_80", "speed_50"],
}
"""Theme: the speed limits that its roads have."""


def draw_plates(
    rng: np.random.Generator,
    theme: str,
    section: CrossSection,
    length: float,
    junctions: Sequence[Junction],
    lines: Sequence[StopLine],
) -> list[Plate]:
    """Draw all signs of a road of ``length`` metres."""
    scale = float(rng.uniform(0.9, 1.25))
    plates: list[Plate] = []
    for index, junction in enumerate(junctions):
        here = [line for line in lines if line.junction == index]
        plates += _plates_of_junction(rng, section, junction, here, scale)
    return plates + _plates_between(rng, SPEED_SIGNS[theme], section, length, lines, scale)


def speed_limits(theme: str, plates: Sequence[Plate]) -> list[tuple[float, float]]:
    """(station, limit from it on) as the forward direction's speed signs say; they hold for both directions."""
    heeded = [plate for plate in plates if plate.kind in SPEED_LIMITS and abs(plate.heading) < 0.5]
    return [(0.0, FIRST_LIMITS[theme]), *sorted((plate.s, SPEED_LIMITS[plate.kind]) for plate in heeded)]


def draw_lights(
    rng: np.random.Generator, section: CrossSection, junctions: Sequence[Junction], lines: Sequence[StopLine]
) -> list[Light]:
    """Draw all traffic lights: beside each line, in a share above the lane and beyond the junction, and crosswise."""
    lights: list[Light] = []
    for line in lines:
        if line.kind != "light":
            continue
        direction = line.direction
        heading = 0.0 if direction > 0 else np.pi
        broken = bool(rng.random() < 0.09)
        pole = _roadside(rng, section, direction)
        lights.append(Light(line.signal, False, line.s, pole, heading, _uniform(rng, 2.4, 3.2), pole, broken))
        if rng.random() < 0.5:
            over = -direction * 0.5 * section.lanes(direction) * section.lane_width
            s = line.s + direction * rng.uniform(0.0, 1.0)
            lights.append(Light(line.signal, False, s, over, heading, _uniform(rng, 5.0, 5.8), pole, broken))
        if line.junction >= 0 and rng.random() < 0.8:
            far = junctions[line.junction].s + direction * (SIDE_ROAD_HALF + 2.0)
            pole = _roadside(rng, section, direction)
            lights.append(Light(line.signal, False, far, pole, heading, _uniform(rng, 2.4, 3.2), pole, broken))
    for junction in junctions:
        if junction.control == "lights":
            for side in (-1, 1):
                s, d = junction.s + side * (SIDE_ROAD_HALF + 0.8), side * (section.edge(-side) + rng.uniform(1.0, 3.0))
                height = _uniform(rng, 2.4, 3.0)
                lights.append(Light(junction.signal, True, s, d, -side * np.pi / 2, height, d, False))
    return lights


def _plates_of_junction(
    rng: np.random.Generator, section: CrossSection, junction: Junction, lines: Sequence[StopLine], scale: float
) -> list[Plate]:
    """What a junction tells the main road at its stop lines, and the side road."""
    plates = []
    word = "priority" if junction.control == "lights" else junction.control
    must_wait = junction.control in ("stop", "yield")
    for line in lines:
        s = line.s + line.direction * (-0.5 if must_wait else -rng.uniform(1.0, 12.0))
        if junction.control != "lights" or rng.random() < 0.4:
            plates.append(_facing(rng, section, word, s, line.direction, scale))
        if must_wait and section.lanes(line.direction) == 2 and rng.random() < 0.5:
            middle = line.direction * rng.uniform(0.0, 0.3)  # again between the directions
            plates.append(_facing(rng, section, word, s, line.direction, scale, middle))
    if junction.control != "lights":
        word = "priority" if junction.control == "yield" else str(rng.choice(["stop", "yield"]))
        for side in (-1, 1):
            d = side * (section.edge(-side) + rng.uniform(1.5, 4.0))
            s = junction.s + side * (SIDE_ROAD_HALF + 0.8)
            plates.append(Plate(word, s, d, -side * np.pi / 2, _uniform(rng, 2.0, 2.7), scale))
    return plates


def _plates_between(
    rng: np.random.Generator,
    speeds: Sequence[str],
    section: CrossSection,
    length: float,
    lines: Sequence[StopLine],
    scale: float,
) -> list[Plate]:
    """Speed limits and priority along the way, and signs that speak to driveways."""
    plates = []
    station = _uniform(rng, 5.0, 30.0)
    while station < length - 5.0:
        if all(abs(station - line.s) > 9.0 for line in lines):
            kind = "priority" if rng.random() < 0.2 else str(rng.choice(speeds))
            plates.append(_facing(rng, section, kind, station, 1, scale))
            back = kind if rng.random() < 0.7 else "priority"
            plates.append(_facing(rng, section, back, station + rng.uniform(-4, 4), -1, scale))
            if rng.random() < 0.6:
                # It is seen obliquely and does not mean the main road.
                side = int(rng.choice([-1, 1]))
                kind = str(rng.choice(["priority", "yield", "stop"], p=[0.2, 0.4, 0.4]))
                s, heading = station + rng.uniform(6, 16), float(-side * rng.uniform(0.8, 1.3))
                d = -side * (section.edge(side) + rng.uniform(0.6, 3.0))
                plates.append(Plate(kind, s, d, heading, _uniform(rng, 2.0, 2.7), scale))
        station += rng.uniform(22.0, 50.0)
    return plates


def _facing(
    rng: np.random.Generator,
    section: CrossSection,
    kind: str,
    s: float,
    direction: int,
    scale: float,
    d: float | None = None,
) -> Plate:
    """A sign for a direction of the main road, at its side unless ``d`` says otherwise."""
    d = _roadside(rng, section, direction) if d is None else d
    heading = (0.0 if direction > 0 else np.pi) + rng.normal(0.0, 0.06)
    return Plate(kind, s, d, heading, _uniform(rng, 2.0, 2.7), scale)


def _roadside(rng: np.random.Generator, section: CrossSection, direction: int) -> float:
    return -direction * (section.edge(direction) + rng.uniform(0.45, 0.9))


def _uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))
