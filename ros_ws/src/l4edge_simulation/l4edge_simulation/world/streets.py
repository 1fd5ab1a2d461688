"""Draws a road with its crossings and all that stands along it."""

from dataclasses import dataclass, field, replace

import numpy as np

from l4edge_simulation.appearance import stream
from l4edge_simulation.world.layout import (
    CROSSWALK_WIDTH,
    SIDE_ROAD_HALF,
    Crosswalk,
    Junction,
    Layout,
    Parked,
    SignalGroup,
    StopLine,
)
from l4edge_simulation.world.road import CrossSection, Road, draw_road
from l4edge_simulation.world.signage import draw_lights, draw_plates, speed_limits

THEMES = {"urban": 0.5, "suburban": 0.32, "rural": 0.18}
"""Kind of surroundings: its share of the drives."""

CROSSINGS = {"lights": 0.4, "stop": 0.13, "yield": 0.12, "priority": 0.12, "zebra": 0.13, "crossing_light": 0.1}
"""What a straight stretch of road may have: its share. The last two are crosswalks without a side road."""

FIRST_CROSSING_S = 150.0  # no crossing before, so that the ego starts on open road
PARKING_SPACING_M = (6.3, 7.5)


@dataclass
class _Crossings:
    """What lies across the road, while it is being drawn."""

    junctions: list[Junction] = field(default_factory=list)
    crosswalks: list[Crosswalk] = field(default_factory=list)
    lines: list[StopLine] = field(default_factory=list)
    signals: list[SignalGroup] = field(default_factory=list)


def draw_layout(seed: int, length: float) -> Layout:
    """Draw a road of at least ``length`` metres and what stands along it."""
    rng = stream(seed, "layout")
    theme = str(rng.choice(list(THEMES), p=list(THEMES.values())))
    section = _draw_section(rng, theme)
    road = draw_road(rng, length, section)
    crossings = _draw_crossings(rng, theme, road)
    plates = draw_plates(rng, theme, section, road.length, crossings.junctions, crossings.lines)
    layout = Layout(
        theme=theme,
        road=road,
        junctions=tuple(crossings.junctions),
        crosswalks=tuple(crossings.crosswalks),
        stop_lines=tuple(crossings.lines),
        signals=tuple(crossings.signals),
        plates=tuple(plates),
        lights=tuple(draw_lights(rng, section, crossings.junctions, crossings.lines)),
        parked=(),
        limits=tuple(speed_limits(theme, plates)),
    )
    return replace(layout, parked=tuple(_draw_parked(rng, layout)))


def _draw_section(rng: np.random.Generator, theme: str) -> CrossSection:
    urban = theme == "urban"
    return CrossSection(
        forward_lanes=2 if rng.random() < 0.5 else 1,
        backward_lanes=2 if rng.random() < 0.4 else 1,
        lane_width=float(rng.uniform(3.0, 3.6)),
        cycle_width=float(rng.uniform(1.3, 1.8)),
        parking_width=2.3 if rng.random() < {"urban": 0.75, "suburban": 0.5, "rural": 0.0}[theme] else 0.0,
        sidewalk_width=float(rng.uniform(2.0, 4.0) if urban else rng.uniform(1.5, 2.2)),
    )


def _draw_crossings(rng: np.random.Generator, theme: str, road: Road) -> _Crossings:
    crossings = _Crossings()
    for start, end in road.straights:
        if rng.random() > {"urban": 0.95, "suburban": 0.85, "rural": 0.7}[theme]:
            continue
        s = float(rng.uniform(start + (FIRST_CROSSING_S if start == 0.0 else 30.0), end - 30.0))
        kind = str(rng.choice(list(CROSSINGS), p=list(CROSSINGS.values())))
        signal = -1
        if kind in ("lights", "crossing_light"):
            signal = len(crossings.signals)
            offset, green, amber, red = (float(rng.uniform(*span)) for span in ((0, 40), (12, 20), (3, 4), (12, 18)))
            crossings.signals.append(SignalGroup(offset, green, amber, red))
        if kind in ("zebra", "crossing_light"):
            _add_crosswalk(crossings, s, signal)
        else:
            _add_junction(rng, crossings, theme, Junction(s, kind, signal))
    return crossings


def _add_crosswalk(crossings: _Crossings, s: float, signal: int) -> None:
    """A crosswalk without a side road."""
    number = len(crossings.crosswalks)
    crossings.crosswalks.append(Crosswalk(s, signal))
    kind = "light" if signal >= 0 else "crosswalk"
    for direction in (1, -1):
        line = s - direction * (CROSSWALK_WIDTH / 2 + 1.5)
        crossings.lines.append(StopLine(direction, line, kind, signal, (number,), -1))


def _add_junction(rng: np.random.Generator, crossings: _Crossings, theme: str, junction: Junction) -> None:
    """A side road, with or without a crosswalk before and behind it."""
    crossings.junctions.append(junction)
    walks: dict[int, int] = {}
    for side in (-1, 1):
        if rng.random() < (0.85 if theme == "urban" else 0.5):
            walks[side] = len(crossings.crosswalks)
            crossings.crosswalks.append(Crosswalk(junction.s + side * (SIDE_ROAD_HALF + 3.6), junction.signal))
    kind = {"lights": "light", "stop": "stop", "yield": "yield"}.get(junction.control, "crosswalk")
    for direction in (1, -1):
        before = 3.6 + CROSSWALK_WIDTH / 2 + 1.2 if -direction in walks else 2.0
        line = junction.s - direction * (SIDE_ROAD_HALF + before)
        crossings.lines.append(
            StopLine(direction, line, kind, junction.signal, tuple(walks.values()), len(crossings.junctions) - 1)
        )


def _draw_parked(rng: np.random.Generator, layout: Layout) -> list[Parked]:
    """Cars in the parking strip, or where there is none, a few in driveways beyond the sidewalk."""
    section = layout.road.section
    parked = []
    density = rng.uniform(0.2, 0.85)
    for direction in (1, -1):
        station = float(rng.uniform(0.0, 8.0))
        while station < layout.road.length:
            if section.parking_width > 0 and rng.random() < density and not layout.near_crossing(station, 9.0):
                heading = 0.0 if direction > 0 else np.pi
                if rng.random() < 0.08:
                    heading += np.pi  # parked against the direction of traffic
                d = -direction * (section.edge(direction) - 1.15 + rng.normal(0, 0.08))
                parked.append(Parked(station, d, heading + rng.normal(0.0, 0.02)))
            elif section.parking_width == 0 and rng.random() < 0.06 and not layout.near_crossing(station, 9.0):
                d = -direction * (section.edge(direction) + section.sidewalk_width + 4.0)
                parked.append(Parked(station, d, float(rng.choice([-1, 1]) * np.pi / 2 + rng.normal(0, 0.1))))
            station += rng.uniform(*PARKING_SPACING_M)
    return parked
