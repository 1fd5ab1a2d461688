"""What stands along a road: junctions, crosswalks, stop lines, signs, lights, parked cars. Road coordinates."""

from dataclasses import dataclass
from typing import List, Tuple

import numpy as np

from .appearance import stream
from .road import CrossSection, Road, draw_road

THEMES = {"urban": 0.5, "suburban": 0.32, "rural": 0.18}
"""Kind of surroundings: its share of the drives."""

SPEED_LIMITS = {"speed_30": 30 / 3.6, "speed_50": 50 / 3.6, "speed_80": 80 / 3.6}
"""Sign: metres per second from it on."""

CROSSWALK_WIDTH = 3.0
SIDE_ROAD_HALF = 3.4  # half the width of a side road's asphalt
SIDE_ROAD_REACH = 90.0  # how far a side road goes from the centre line


@dataclass(frozen=True)
class Crosswalk:
    """A zebra across the main road at station ``s``; ``light`` is the index of its signal group or -1."""

    s: float
    light: int


@dataclass(frozen=True)
class Junction:
    """A side road across the main road at station ``s``. ``control``: lights, stop, yield or priority.

    ``signal``: index of its signal group, -1 without lights.
    """

    s: float
    control: str
    signal: int


@dataclass(frozen=True)
class StopLine:
    """Where a direction's traffic stops.

    Attributes:
        direction: +1 or -1. s: station of the line. kind: "light", "stop", "yield" or "crosswalk".
        signal: index of the signal group for kind "light". crosswalks: indices of crosswalks just behind it.
        junction: index of the junction behind it, -1 for none.
    """

    direction: int
    s: float
    kind: str
    signal: int
    crosswalks: Tuple[int, ...]
    junction: int


@dataclass(frozen=True)
class Plate:
    """A traffic sign. ``heading``: the driving direction of those it speaks to, radians relative to the road."""

    kind: str
    s: float
    d: float
    heading: float
    height: float
    scale: float


@dataclass(frozen=True)
class Lamp:
    """A traffic light. ``signal``: its group; ``crossing``: whether it shows the side road's phase.

    ``height``: of the housing's middle. ``mast``: ``d`` of its pole.
    """

    signal: int
    crossing: bool
    s: float
    d: float
    heading: float
    height: float
    mast: float
    dead: bool


@dataclass(frozen=True)
class Parked:
    """A parked car's place; ``heading`` relative to the road."""

    s: float
    d: float
    heading: float


@dataclass(frozen=True)
class SignalGroup:
    """One set of lights in step. Seconds: ``offset`` into its cycle at time 0, and the lengths of its phases."""

    offset: float
    green: float
    amber: float
    red: float
    all_red: float = 2.0

    def state(self, time: float, crossing: bool = False) -> str:
        """What it shows to the main road, or to the side road and to pedestrians across the main road."""
        cycle = self.green + self.amber + self.red
        moment = (time + self.offset) % cycle
        if not crossing:
            if moment < self.green:
                return "green"
            return "amber" if moment < self.green + self.amber else "red"
        moment -= self.green + self.amber + self.all_red
        free = self.red - 2.0 * self.all_red - self.amber
        if 0.0 <= moment < free:
            return "green"
        return "amber" if free <= moment < free + self.amber else "red"


@dataclass(frozen=True)
class Layout:
    """Everything that does not move, in road coordinates."""

    theme: str
    road: Road
    junctions: Tuple[Junction, ...]
    crosswalks: Tuple[Crosswalk, ...]
    stop_lines: Tuple[StopLine, ...]
    signals: Tuple[SignalGroup, ...]
    plates: Tuple[Plate, ...]
    lamps: Tuple[Lamp, ...]
    parked: Tuple[Parked, ...]
    limits: Tuple[Tuple[float, float, float], ...]
    """(station, forward limit from it on, backward limit from it on in rising s) in metres per second."""

    def near_junction(self, s: float, margin: float) -> bool:
        """Whether a station lies within ``margin`` of a side road's edge or a crosswalk."""
        return any(abs(s - junction.s) < SIDE_ROAD_HALF + margin for junction in self.junctions) or any(
            abs(s - walk.s) < CROSSWALK_WIDTH / 2 + margin for walk in self.crosswalks
        )

    def speed_limit(self, s) -> np.ndarray:
        """The limit at stations ``s`` for both directions, metres per second."""
        stations = np.array([limit[0] for limit in self.limits])
        values = np.array([limit[1] for limit in self.limits])
        return values[np.clip(np.searchsorted(stations, s, side="right") - 1, 0, None)]


def draw_layout(seed: int, length: float) -> Layout:
    """Draw the road of a drive and what stands along it."""
    rng = stream(seed, "layout")
    theme = str(rng.choice(list(THEMES), p=list(THEMES.values())))
    urban = theme == "urban"
    section = CrossSection(
        forward_lanes=2 if rng.random() < 0.5 else 1,
        backward_lanes=2 if rng.random() < 0.4 else 1,
        lane_width=float(rng.uniform(3.0, 3.6)),
        cycle_width=float(rng.uniform(1.3, 1.8)),
        parking_width=2.3 if rng.random() < {"urban": 0.75, "suburban": 0.5, "rural": 0.0}[theme] else 0.0,
        sidewalk_width=float(rng.uniform(2.0, 4.0) if urban else rng.uniform(1.5, 2.2)),
    )
    road = draw_road(rng, length, section)
    junctions: List[Junction] = []
    crosswalks: List[Crosswalk] = []
    lines: List[StopLine] = []
    signals: List[SignalGroup] = []
    for start, end in road.straights:
        if rng.random() > {"urban": 0.95, "suburban": 0.85, "rural": 0.7}[theme]:
            continue
        # On the first straight there must be room for the ego to start.
        s = float(rng.uniform(start + (115.0 if start == 0.0 else 30.0), end - 30.0))
        kind = str(rng.choice(["lights", "stop", "yield", "priority", "zebra", "crossing_light"],
                              p=[0.36, 0.14, 0.12, 0.14, 0.16, 0.08]))
        signal = -1
        if kind in ("lights", "crossing_light"):
            signal = len(signals)
            signals.append(SignalGroup(float(rng.uniform(0.0, 40.0)), float(rng.uniform(12.0, 20.0)), float(rng.uniform(3.0, 4.0)),
                                       float(rng.uniform(12.0, 18.0))))
        if kind in ("zebra", "crossing_light"):
            crosswalks.append(Crosswalk(s, signal))
            for direction in (1, -1):
                lines.append(StopLine(direction, s - direction * (CROSSWALK_WIDTH / 2 + 1.5),
                                      "light" if signal >= 0 else "crosswalk", signal, (len(crosswalks) - 1,), -1))
            continue
        junctions.append(Junction(s, kind, signal))
        walks = {}
        for side in (-1, 1):
            if rng.random() < (0.85 if urban else 0.5):
                walks[side] = len(crosswalks)
                crosswalks.append(Crosswalk(s + side * (SIDE_ROAD_HALF + 3.6), signal))
        for direction in (1, -1):
            near = walks.get(-direction)
            reach = SIDE_ROAD_HALF + (3.6 + CROSSWALK_WIDTH / 2 + 1.2 if near is not None else 2.0)
            behind = tuple(walks[side] for side in (-1, 1) if side in walks)
            kind_of_line = {"lights": "light", "stop": "stop", "yield": "yield"}.get(kind, "crosswalk")
            lines.append(StopLine(direction, s - direction * reach, kind_of_line, signal, behind, len(junctions) - 1))
    plates = _plates(rng, theme, road, junctions, lines)
    limits = _limits(rng, theme, road, plates)
    lamps = _lamps(rng, road, junctions, lines)
    layout = Layout(theme, road, tuple(junctions), tuple(crosswalks), tuple(lines), tuple(signals), tuple(plates),
                    tuple(lamps), (), tuple(limits))
    parked = tuple(_parked(rng, layout))
    return Layout(theme, road, layout.junctions, layout.crosswalks, layout.stop_lines, layout.signals, layout.plates,
                  layout.lamps, parked, layout.limits)


def _roadside(road: Road, direction: int, rng: np.random.Generator) -> float:
    return -direction * (road.section.edge(direction) + rng.uniform(0.45, 0.9))


def _plates(rng, theme: str, road: Road, junctions: List[Junction], lines: List[StopLine]) -> List[Plate]:
    plates: List[Plate] = []
    scale = float(rng.uniform(0.9, 1.25))

    def add(kind: str, s: float, direction: int, heading: float = None, d: float = None) -> None:
        plates.append(Plate(kind, s, _roadside(road, direction, rng) if d is None else d,
                            (0.0 if direction > 0 else np.pi) + rng.normal(0.0, 0.06) if heading is None else heading,
                            float(rng.uniform(2.0, 2.7)), scale))

    for junction in junctions:
        word = {"stop": "stop", "yield": "yield", "priority": "priority", "lights": "priority"}[junction.control]
        for line in lines:
            if line.junction >= 0 and junctions[line.junction] is junction:
                ahead = line.direction * (-0.5 if junction.control in ("stop", "yield") else -rng.uniform(1.0, 12.0))
                if junction.control != "lights" or rng.random() < 0.4:
                    add(word, line.s + ahead, line.direction)
                if junction.control in ("stop", "yield") and road.section.lanes(line.direction) == 2 and (
                        rng.random() < 0.5):
                    add(word, line.s + ahead, line.direction, d=line.direction * rng.uniform(0.0, 0.3))
        if junction.control in ("priority", "yield", "stop"):
            word = "priority" if junction.control == "yield" else str(rng.choice(["stop", "yield"]))
            for side in (-1, 1):
                edge = road.section.edge(-side)
                add(word, junction.s + side * (SIDE_ROAD_HALF + 0.8), 1, heading=-side * np.pi / 2,
                    d=side * (edge + rng.uniform(1.5, 4.0)))
    speed = {"urban": ["speed_30", "speed_50"], "suburban": ["speed_50", "speed_30", "speed_80"],
             "rural": ["speed_80", "speed_50"]}[theme]
    station = float(rng.uniform(5.0, 30.0))
    while station < road.length - 5.0:
        if all(abs(station - line.s) > 9.0 for line in lines):
            kind = "priority" if rng.random() < 0.2 else str(rng.choice(speed))
            add(kind, station, 1)
            add(kind if rng.random() < 0.7 else "priority", station + rng.uniform(-4, 4), -1)
            if rng.random() < 0.6:
                # It speaks to a driveway: read obliquely, it does not mean the ego.
                side = int(rng.choice([-1, 1]))
                add(str(rng.choice(["priority", "yield", "stop"], p=[0.2, 0.4, 0.4])), station + rng.uniform(6, 16), side,
                    heading=float(-side * rng.uniform(0.8, 1.3)),
                    d=-side * (road.section.edge(side) + rng.uniform(0.6, 3.0)))
        station += rng.uniform(22.0, 50.0)
    return plates


def _limits(rng, theme: str, road: Road, plates: List[Plate]) -> List[Tuple[float, float, float]]:
    first = {"urban": 50 / 3.6, "suburban": 50 / 3.6, "rural": 70 / 3.6}[theme]
    limits = [(0.0, first, first)]
    for plate in sorted(plates, key=lambda plate: plate.s):
        if plate.kind in SPEED_LIMITS and abs(plate.heading) < 0.5:
            limits.append((plate.s, SPEED_LIMITS[plate.kind], SPEED_LIMITS[plate.kind]))
    return limits


def _lamps(rng, road: Road, junctions: List[Junction], lines: List[StopLine]) -> List[Lamp]:
    lamps: List[Lamp] = []
    for line in lines:
        if line.kind != "light":
            continue
        direction = line.direction
        heading = 0.0 if direction > 0 else np.pi
        dead = bool(rng.random() < 0.09)
        pole = _roadside(road, direction, rng)
        lamps.append(Lamp(line.signal, False, line.s, pole, heading, float(rng.uniform(2.4, 3.2)), pole, dead))
        if rng.random() < 0.5:
            over = -direction * 0.5 * road.section.lanes(direction) * road.section.lane_width
            lamps.append(Lamp(line.signal, False, line.s + direction * rng.uniform(0.0, 1.0), over, heading,
                              float(rng.uniform(5.0, 5.8)), pole, dead))
        if line.junction >= 0 and rng.random() < 0.6:
            far = junctions[line.junction].s + direction * (SIDE_ROAD_HALF + 2.0)
            pole = _roadside(road, direction, rng)
            lamps.append(Lamp(line.signal, False, far, pole, heading, float(rng.uniform(2.4, 3.2)), pole, dead))
    for junction in junctions:
        if junction.control == "lights":
            for side in (-1, 1):
                d = side * (road.section.edge(-side) + rng.uniform(1.0, 3.0))
                lamps.append(Lamp(junction.signal, True, junction.s + side * (SIDE_ROAD_HALF + 0.8), d,
                                  -side * np.pi / 2, float(rng.uniform(2.4, 3.0)), d, False))
    return lamps


def _parked(rng, layout: Layout) -> List[Parked]:
    road, section = layout.road, layout.road.section
    parked = []
    density = rng.uniform(0.2, 0.85)
    for direction in (1, -1):
        station = float(rng.uniform(0.0, 8.0))
        while station < road.length:
            if section.parking_width > 0 and rng.random() < density and not layout.near_junction(station, 9.0):
                heading = 0.0 if direction > 0 else np.pi
                if rng.random() < 0.08:
                    heading += np.pi
                parked.append(Parked(station, -direction * (section.edge(direction) - 1.15 + rng.normal(0, 0.08)),
                                     heading + rng.normal(0.0, 0.02)))
            elif section.parking_width == 0 and rng.random() < 0.06 and not layout.near_junction(station, 9.0):
                # A car in a driveway beyond the sidewalk.
                parked.append(Parked(station, -direction * (section.edge(direction) + section.sidewalk_width + 4.0),
                                     float(rng.choice([-1, 1]) * np.pi / 2 + rng.normal(0, 0.1))))
            station += rng.uniform(6.3, 7.5)
    return parked
