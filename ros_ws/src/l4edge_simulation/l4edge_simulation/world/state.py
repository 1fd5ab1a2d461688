"""The state of the moving world."""

from dataclasses import dataclass, field

import numpy as np

from l4edge_simulation.world.ego import Bicycle
from l4edge_simulation.world.following import Vehicles
from l4edge_simulation.world.layout import Layout
from l4edge_simulation.world.pedestrians import Pedestrian
from l4edge_simulation.world.road import Numbers

STEP_S = 0.02
START_S = 100.0  # station where the ego starts
BEHIND_M, AHEAD_M = 60.0, 230.0  # traffic lives in this window around the ego
CURVE_ACCELERATION = 2.0  # metres per second squared sideways that drivers accept
CURVE_PREVIEW_M = (0.0, 12.0, 25.0)


@dataclass(frozen=True)
class Kind:
    """What a road user of the pool is; it keeps its kind and looks when it comes in anew.

    Attributes:
        class_name: one of ``OBJECT_CLASSES``, or "ego".
        design: which shape it has.
        length, width: metres that traffic keeps free for it.
    """

    class_name: str
    design: str
    length: float
    width: float


@dataclass
class SideVehicle:
    """A vehicle on a side road.

    Attributes:
        junction: index. direction: of its way along ``d``.
        r: metres along its way, 0 on the centre line. v: metres per second.
        generation: counts reappearances, so that ids stay unique.
    """

    junction: int
    direction: int
    kind: Kind
    r: float
    v: float
    generation: int = 0


@dataclass
class State:
    """Everything that changes in a drive.

    Attributes:
        layout: what stands still.
        time: seconds since the start.
        ego: its ``base_link``. ego_lane: the lane to follow. ego_station: ``s`` of ``base_link``.
        sides: road users of the main road by direction; row 0 forward is the ego.
        kinds: what each row is. generations: how often each row came in anew.
        people: on foot. side_traffic: on side roads.
        rng: of everything that traffic draws while it moves.
    """

    layout: Layout
    time: float
    ego: Bicycle
    ego_lane: int
    ego_station: float
    rng: np.random.Generator
    sides: dict[int, Vehicles] = field(default_factory=dict)
    kinds: dict[int, list[Kind]] = field(default_factory=dict)
    generations: dict[int, np.ndarray] = field(default_factory=dict)
    people: list[Pedestrian] = field(default_factory=list)
    side_traffic: list[SideVehicle] = field(default_factory=list)

    def along(self, direction: int, s: Numbers) -> Numbers:
        """The coordinate ``u`` of a direction at station ``s``, and the station at ``u``."""
        return s if direction > 0 else self.layout.road.length - s

    def lane_offsets(self, direction: int) -> np.ndarray:
        """(lanes + 1,) distances from the centre line of a direction's lanes and cycle strip."""
        section = self.layout.road.section
        lanes = range(section.lanes(direction) + 1)
        return np.array([abs(section.lane_centre(direction, lane)) for lane in lanes])

    def wanted_speeds(self, direction: int) -> np.ndarray:
        """(N,) what each driver would drive on a free road: the limit, slower in bends."""
        vehicles, layout = self.sides[direction], self.layout
        s = self.along(direction, vehicles.u)
        bend = np.max([np.abs(layout.road.curvature_at(s + direction * ahead)) for ahead in CURVE_PREVIEW_M], 0)
        limit = layout.speed_limit(s) * vehicles.desired
        limit = np.minimum(limit, np.sqrt(CURVE_ACCELERATION / np.maximum(bend, 1e-4)))
        return np.minimum(limit, vehicles.ceiling)
