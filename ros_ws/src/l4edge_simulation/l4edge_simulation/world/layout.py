"""What stands along a road and orders its traffic: crossings, lights, signs, stop lines. Road coordinates."""

from dataclasses import dataclass

import numpy as np

from l4edge_simulation.world.road import Numbers, Road

CROSSWALK_WIDTH = 3.0
SIDE_ROAD_HALF = 3.4  # half the width of a side road's asphalt
SIDE_ROAD_REACH = 90.0  # how far a side road goes from the centre line
SIDE_ROAD_LANE = 1.7  # from a side road's centre line to the middle of each of its two lanes


@dataclass(frozen=True)
class Crosswalk:
    """A zebra across the main road at station ``s``; ``signal`` is the index of its signal group, -1 for none."""

    s: float
    signal: int


@dataclass(frozen=True)
class Junction:
    """A side road across the main road.

    Attributes:
        s: station of its centre line.
        control: what orders the main road's traffic: "lights", "stop", "yield" or "priority".
        signal: index of its signal group, -1 without lights.
    """

    s: float
    control: str
    signal: int


@dataclass(frozen=True)
class StopLine:
    """Where a direction's traffic stops.

    Attributes:
        direction: +1 or -1.
        s: station of the line.
        kind: "light", "stop", "yield" or "crosswalk".
        signal: index of the signal group for kind "light", else -1.
        crosswalks: indices of the crosswalks behind it.
        junction: index of the junction behind it, -1 for none.
    """

    direction: int
    s: float
    kind: str
    signal: int
    crosswalks: tuple[int, ...]
    junction: int


@dataclass(frozen=True)
class SignalGroup:
    """Lights that change in step. Seconds; ``offset`` is where in its cycle the group is at time 0."""

    offset: float
    green: float
    amber: float
    red: float
    all_red: float = 2.0

    def state(self, time: float, crossing: bool = False) -> str:
        """What it shows to the main road, or with ``crossing`` to the side road and to pedestrians."""
        moment = (time + self.offset) % (self.green + self.amber + self.red)
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
class Plate:
    """A traffic sign.

    Attributes:
        kind: one of ``scenery.signs.SIGN_KINDS``.
        s, d: where it stands.
        heading: driving direction of those it speaks to, radians relative to the road.
        height: of its middle, metres.
        scale: of its size.
    """

    kind: str
    s: float
    d: float
    heading: float
    height: float
    scale: float


@dataclass(frozen=True)
class Light:
    """A traffic light.

    Attributes:
        signal: index of its group.
        crossing: whether it shows the side road's phase.
        s, d, heading: as of a plate.
        height: of the housing's middle, metres.
        mast: ``d`` of its pole, which an arm connects with a housing above the lanes.
        broken: whether it stays dark.
    """

    signal: int
    crossing: bool
    s: float
    d: float
    heading: float
    height: float
    mast: float
    broken: bool


@dataclass(frozen=True)
class Parked:
    """A parked car's place; ``heading`` relative to the road."""

    s: float
    d: float
    heading: float


@dataclass(frozen=True)
class Layout:
    """Everything that stands still and matters to traffic, in road coordinates.

    Attributes:
        theme: kind of surroundings, a key of ``streets.THEMES``.
        limits: (station, speed limit from it on in metres per second), for both directions.
    """

    theme: str
    road: Road
    junctions: tuple[Junction, ...]
    crosswalks: tuple[Crosswalk, ...]
    stop_lines: tuple[StopLine, ...]
    signals: tuple[SignalGroup, ...]
    plates: tuple[Plate, ...]
    lights: tuple[Light, ...]
    parked: tuple[Parked, ...]
    limits: tuple[tuple[float, float], ...]

    def near_crossing(self, s: float, margin: float) -> bool:
        """Whether a station lies within ``margin`` metres of a side road's edge or a crosswalk."""
        return any(abs(s - junction.s) < SIDE_ROAD_HALF + margin for junction in self.junctions) or any(
            abs(s - walk.s) < CROSSWALK_WIDTH / 2 + margin for walk in self.crosswalks
        )

    def speed_limit(self, s: Numbers) -> np.ndarray:
        """The limit at stations ``s``, metres per second."""
        stations, values = np.array(self.limits).T
        return values[np.clip(np.searchsorted(stations, s, side="right") - 1, 0, None)]
