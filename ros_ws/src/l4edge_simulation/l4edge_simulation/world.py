"""The moving world: the ego, traffic in both directions, side-road traffic, cyclists and pedestrians."""

from dataclasses import dataclass, replace
from typing import Dict, List, Optional, Tuple

import numpy as np

from . import ego as ego_vehicle
from . import traffic
from .appearance import stream
from .layout import CROSSWALK_WIDTH, SIDE_ROAD_HALF, SIDE_ROAD_REACH, Layout, StopLine, draw_layout
from .pedestrians import Pedestrian, advance_crosser, advance_walker, draw_pedestrians, on_crosswalk, wants_to_cross

STEP_S = 0.02
START_S = 70.0  # station where the ego starts
BEHIND, AHEAD = 60.0, 230.0  # traffic lives in this window around the ego, metres
CURVE_ACCELERATION = 2.0  # metres per second squared sideways that drivers accept


@dataclass(frozen=True)
class Kind:
    """What a road user of the pool is: its measures and how it drives."""

    class_name: str
    design: str
    length: float
    width: float


@dataclass
class SideVehicle:
    """A vehicle on a side road. ``r``: metres along its way, 0 on the centre line; ``direction``: along ``d``."""

    junction: int
    direction: int
    kind: Kind
    r: float
    v: float
    pause: float
    generation: int = 0


@dataclass(frozen=True)
class Actor:
    """One moving object as the renderer and the ground truth see it, ``map`` frame.

    ``key`` names its shape for the whole drive; ``identity`` is unique over the drive.
    """

    key: str
    identity: int
    class_name: str
    x: float
    y: float
    z: float
    yaw: float
    vx: float
    vy: float
    phase: float = 0.0
    speed: float = 0.0
    braking: bool = False


class World:
    """Traffic of one drive; ``step`` moves it on by ``STEP_S``. No rendering here."""

    def __init__(self, seed: int, duration_s: float) -> None:
        self.layout: Layout = draw_layout(seed, START_S + AHEAD + 40.0 + 22.0 * duration_s)
        self.time = 0.0
        self._rng = stream(seed, "traffic")
        rng = self._rng
        road, section = self.layout.road, self.layout.road.section
        self.ego_lane = int(rng.integers(0, section.forward_lanes))
        x, y, yaw = road.pose(START_S, section.lane_centre(1, self.ego_lane))
        limit = float(self.layout.speed_limit(START_S))
        self.ego = ego_vehicle.Bicycle(float(x), float(y), float(yaw), limit * float(rng.uniform(0.5, 0.9)))
        self.ego_station = START_S
        density = float(rng.uniform(0.25, 1.0))
        self.kinds: Dict[int, List[Kind]] = {}
        self.sides: Dict[int, traffic.Vehicles] = {}
        self.generations: Dict[int, np.ndarray] = {}
        for direction in (1, -1):
            self._populate(direction, density)
        self.people: List[Pedestrian] = draw_pedestrians(rng, self.layout, START_S, float(rng.uniform(0.3, 1.5)))
        self.side_traffic: List[SideVehicle] = []
        for index, _ in enumerate(self.layout.junctions):
            for direction in (1, -1):
                if rng.random() < 0.75:
                    self.side_traffic.append(
                        SideVehicle(index, direction, self._draw_kind(rng, 0.1), -float(rng.uniform(15.0, 80.0)),
                                    float(rng.uniform(4.0, 9.0)), 0.0)
                    )
        self._decision = 0

    # -- population ------------------------------------------------------------------------------------------------

    @staticmethod
    def _draw_kind(rng: np.random.Generator, truck_share: float) -> Kind:
        if rng.random() < truck_share:
            design = str(rng.choice(["box", "tipper", "tanker", "trailer", "bus"], p=[0.35, 0.15, 0.1, 0.15, 0.25]))
            length = {"box": 7.5, "tipper": 7.0, "tanker": 8.5, "trailer": 13.5, "bus": 11.5}[design]
            return Kind("truck", design, length * 1.1, 2.55)
        design = str(rng.choice(["sedan", "hatchback", "estate", "suv", "van"], p=[0.28, 0.25, 0.14, 0.22, 0.11]))
        return Kind("car", design, 5.0 if design != "van" else 5.4, 1.95)

    def _populate(self, direction: int, density: float) -> None:
        rng, section = self._rng, self.layout.road.section
        lanes = section.lanes(direction)
        kinds, u, lane = [], [], []
        centre = self._along(direction, self.ego_station)
        low, high = (-BEHIND, AHEAD) if direction > 0 else (-AHEAD, BEHIND)
        if direction > 0:
            kinds.append(Kind("ego", "ego", ego_vehicle.LENGTH, ego_vehicle.WIDTH))
            u.append(centre + ego_vehicle.MIDDLE_AHEAD)
            lane.append(self.ego_lane)
        spacing = 26.0 / max(density, 0.2)
        for index in range(lanes):
            place = low + float(rng.uniform(0.0, spacing))
            while place < high:
                kind = self._draw_kind(rng, 0.24 if index == lanes - 1 else 0.12)
                near = direction > 0 and index == self.ego_lane and abs(place) < 9.0 + 0.5 * kind.length + 6.0
                if not near:
                    kinds.append(kind)
                    u.append(centre + place)
                    lane.append(index)
                place += kind.length + float(rng.gamma(2.5, spacing / 2.5)) + 8.0
        cyclists = int(rng.poisson({"urban": 4.0, "suburban": 3.0, "rural": 1.5}[self.layout.theme]))
        places = np.sort(rng.uniform(max(low, -40.0) if direction > 0 else low, min(high, 120.0), cyclists))
        for place in places + 4.0 * np.arange(cyclists):
            kinds.append(Kind("cyclist", "cyclist", 1.78, 0.6))
            u.append(centre + float(place))
            lane.append(lanes)
        count = len(kinds)
        cycling = np.array([kind.class_name == "cyclist" for kind in kinds])
        heavy = np.array([kind.class_name == "truck" for kind in kinds])
        vehicles = traffic.Vehicles(
            u=np.array(u, float),
            v=np.zeros(count),
            a=np.zeros(count),
            lane=np.array(lane),
            lane_from=np.array(lane),
            change=np.ones(count),
            lateral=np.zeros(count),
            lateral_speed=np.zeros(count),
            length=np.array([kind.length for kind in kinds]),
            width=np.array([kind.width for kind in kinds]),
            desired=rng.uniform(0.72, 1.08, count),
            ceiling=np.where(cycling, rng.uniform(3.0, 6.5, count), np.where(heavy, 20.0, 60.0)),
            headway=np.where(cycling, 0.8, rng.uniform(1.0, 1.8, count)),
            comfort=np.where(heavy, 0.8, np.where(cycling, 0.8, rng.uniform(1.2, 2.0, count))),
            braking=np.where(heavy, 1.8, rng.uniform(1.8, 2.6, count)),
            gap=np.where(cycling, 1.0, rng.uniform(1.8, 3.0, count)),
            released=np.full(count, -1),
            waited=np.zeros(count),
            changes=~cycling & (rng.random(count) < 0.8),
        )
        if direction > 0:
            vehicles.changes[0] = False
            vehicles.desired[0] = rng.uniform(0.92, 1.0)
            vehicles.headway[0], vehicles.comfort[0], vehicles.braking[0], vehicles.gap[0] = 1.4, 1.5, 2.2, 3.0
        self.kinds[direction], self.sides[direction] = kinds, vehicles
        self.generations[direction] = np.zeros(count, int)
        vehicles.v = 0.8 * self._wanted(direction)
        if direction > 0:
            vehicles.v[0] = self.ego.speed
        # Nobody starts closer to the next than they could have come by driving.
        gap, speed = traffic.leaders(vehicles, traffic.occupied_lanes(vehicles, lanes))
        vehicles.v = np.minimum(vehicles.v, np.minimum(speed, 20.0) + np.clip(gap - 4.0, 0.0, 40.0) / 3.0)
        vehicles.v = np.minimum(vehicles.v, np.clip(gap - 2.0, 0.0, None) / 1.2)
        if direction > 0:
            self.ego = replace(self.ego, speed=float(vehicles.v[0]))
        vehicles.lateral = self._offsets(direction)[vehicles.lane].copy()

    # -- coordinates -----------------------------------------------------------------------------------------------

    def _along(self, direction: int, s):
        return s if direction > 0 else self.layout.road.length - s

    def _offsets(self, direction: int) -> np.ndarray:
        section = self.layout.road.section
        return np.array(
            [abs(section.lane_centre(direction, lane)) for lane in range(section.lanes(direction) + 1)]
        )

    def _wanted(self, direction: int) -> np.ndarray:
        vehicles = self.sides[direction]
        s = self._along(direction, vehicles.u)
        bend = np.max([np.abs(self.layout.road.curvature_at(s + direction * ahead)) for ahead in (0.0, 12.0, 25.0)], 0)
        limit = self.layout.speed_limit(s) * vehicles.desired
        limit = np.minimum(limit, np.sqrt(CURVE_ACCELERATION / np.maximum(bend, 1e-4)))
        return np.minimum(limit, vehicles.ceiling)

    # -- right of way ----------------------------------------------------------------------------------------------

    def _side_busy(self, junction: int, reach: float) -> bool:
        """Whether a side-road vehicle is in or moving into the box."""
        edge = max(self.layout.road.section.edge(1), self.layout.road.section.edge(-1))
        return any(
            vehicle.junction == junction and -edge - reach < vehicle.r < edge + 0.5 * vehicle.kind.length + 0.5
            and (vehicle.v > 0.3 or vehicle.r > -edge - 0.5 * vehicle.kind.length)
            for vehicle in self.side_traffic
        )

    def _closed(self, line: StopLine, index: int, gap: np.ndarray, vehicles: traffic.Vehicles) -> np.ndarray:
        """(N,) whether the line is closed for each vehicle of its direction; ``gap`` to the line from the bumper."""
        braking_way = vehicles.v**2 / 2.0
        closed = np.zeros(len(vehicles), bool)
        if line.kind == "light":
            state = self.layout.signals[line.signal].state(self.time)
            if state != "green":
                closed |= gap > braking_way / (6.0 if state == "red" else 2.6)
        for crosswalk in line.crosswalks:
            if on_crosswalk(self.people, crosswalk):
                closed |= gap > braking_way / 6.0
            elif self.layout.crosswalks[crosswalk].light < 0 and wants_to_cross(self.people, crosswalk):
                closed |= gap > braking_way / 2.0 + 1.0
        if line.junction >= 0:
            if self._side_busy(line.junction, 0.0):
                closed |= gap > braking_way / 7.0
            if line.kind == "yield" and self._side_busy(line.junction, 25.0):
                closed |= gap > braking_way / 4.0
            if line.kind == "stop":
                standing = (vehicles.v < 0.3) & (gap < 3.0) & (gap > -0.5)
                vehicles.waited = np.where(standing, vehicles.waited + STEP_S, vehicles.waited)
                free = standing & (vehicles.waited > 1.2) & ~closed & (not self._side_busy(line.junction, 12.0))
                vehicles.released = np.where(free, index, vehicles.released)
                vehicles.waited = np.where(free, 0.0, vehicles.waited)
                closed |= (vehicles.released != index) & (gap > braking_way / 7.0)
        return closed

    def _barriers(self, direction: int) -> np.ndarray:
        vehicles = self.sides[direction]
        nearest = np.full(len(vehicles), np.inf)
        front = vehicles.u + 0.5 * vehicles.length
        for index, line in enumerate(self.layout.stop_lines):
            if line.direction != direction or abs(line.s - self.ego_station) > AHEAD + 60.0:
                continue
            gap = self._along(direction, line.s) - front
            closed = self._closed(line, index, gap, vehicles) & (gap > -1.0)
            nearest = np.where(closed & (gap < nearest), np.maximum(gap, 0.1), nearest)
        # Whoever is already past the line still stops for somebody on the crosswalk itself.
        for index, walk in enumerate(self.layout.crosswalks):
            if abs(walk.s - self.ego_station) < AHEAD and on_crosswalk(self.people, index):
                gap = self._along(direction, walk.s) - 0.5 * CROSSWALK_WIDTH - 0.7 - front
                closed = (gap > vehicles.v**2 / 15.0) & (gap > -0.7)
                nearest = np.where(closed & (gap < nearest), np.maximum(gap, 0.1), nearest)
        return nearest

    def _arrivals_clear(self, s: float, seconds: float, half: float, stopping: bool) -> bool:
        """Whether no main-road vehicle is within ``half`` of ``s`` or comes there within ``seconds``.

        With ``stopping`` those that can still stop comfortably do not count.
        """
        for direction in (1, -1):
            vehicles = self.sides[direction]
            distance = self._along(direction, s) - vehicles.u - 0.5 * vehicles.length - half
            inside = (distance < 0.5) & (distance > -vehicles.length - 2.0 * half - 0.5)
            soon = (distance > 0.0) & (distance < vehicles.v * seconds)
            if stopping:
                soon &= distance < vehicles.v**2 / (2.0 * 2.2) + 5.0
            if (inside | soon).any():
                return False
        return True

    # -- stepping --------------------------------------------------------------------------------------------------

    def step(self, steering: Optional[float] = None, acceleration: Optional[float] = None) -> None:
        """Move on by ``STEP_S``. Without a command the simulated expert drives the ego."""
        for direction in (1, -1):
            self._step_direction(direction, steering, acceleration)
        self._step_side_traffic()
        self._step_people()
        self.time += STEP_S
        self._decision += 1

    def _step_direction(self, direction: int, steering: Optional[float], acceleration: Optional[float]) -> None:
        vehicles = self.sides[direction]
        lanes = self.layout.road.section.lanes(direction)
        wanted = self._wanted(direction)
        pulls = traffic.accelerations(vehicles, wanted, lanes, self._barriers(direction))
        moved = np.ones(len(vehicles), bool)
        if direction > 0:
            moved[0] = False
            self._drive_ego(float(pulls[0]) if acceleration is None else acceleration, steering)
        traffic.advance(vehicles, pulls, moved, self._offsets(direction), STEP_S)
        if direction > 0:
            self._ego_row()
        if lanes > 1:
            # Each second every driver looks once, one a step or so, so that no two decide at once.
            index = self._decision % max(50, len(vehicles))
            if index < len(vehicles):
                self._consider_change(direction, index, wanted, lanes)
        self._recycle(direction)

    def _consider_change(self, direction: int, index: int, wanted: np.ndarray, lanes: int) -> None:
        vehicles = self.sides[direction]
        s = self._along(direction, vehicles.u[index])
        crossing_near = self.layout.near_junction(float(s), 14.0) or self.layout.near_junction(
            float(s + direction * 25.0), 10.0)
        if not vehicles.changes[index] or vehicles.change[index] < 1.0 or vehicles.v[index] < 4.0 or crossing_near:
            return
        lane = traffic.choose_lane(vehicles, index, wanted, lanes)
        if lane != vehicles.lane[index]:
            vehicles.lane_from[index], vehicles.lane[index], vehicles.change[index] = vehicles.lane[index], lane, 0.0

    def _drive_ego(self, acceleration: float, steering: Optional[float]) -> None:
        road = self.layout.road
        if steering is None:
            ahead = max(4.0, 0.9 * self.ego.speed)
            x, y, _ = road.pose(self.ego_station + ahead, road.section.lane_centre(1, self.ego_lane))
            steering = ego_vehicle.pure_pursuit(self.ego, float(x), float(y))
        self.ego = ego_vehicle.advance(self.ego, steering, acceleration, STEP_S)

    def _ego_row(self) -> None:
        vehicles, section = self.sides[1], self.layout.road.section
        x = self.ego.x + ego_vehicle.MIDDLE_AHEAD * np.cos(self.ego.yaw)
        y = self.ego.y + ego_vehicle.MIDDLE_AHEAD * np.sin(self.ego.yaw)
        s, d = self.layout.road.project(x, y, float(vehicles.u[0]))
        self.ego_station = s - ego_vehicle.MIDDLE_AHEAD
        vehicles.u[0], vehicles.v[0], vehicles.a[0], vehicles.lateral[0] = s, self.ego.speed, self.ego.acceleration, -d
        # Lanes that its body reaches into; off the lanes it keeps the nearest.
        places = np.clip((-d + np.array([-0.5, 0.5]) * (ego_vehicle.WIDTH - 0.2)) / section.lane_width, 0.0,
                         section.forward_lanes - 0.01).astype(int)
        vehicles.lane_from[0], vehicles.lane[0] = places
        vehicles.change[0] = 0.5 if places[0] != places[1] else 1.0

    def _recycle(self, direction: int) -> None:
        """Traffic that left the window around the ego comes in again at its other end."""
        vehicles = self.sides[direction]
        relative = direction * (vehicles.u - self._along(direction, self.ego_station))
        for index in np.flatnonzero((relative < -BEHIND - 5.0) | (relative > AHEAD + 5.0)):
            if direction > 0 and index == 0:
                continue
            behind = relative[index] < 0.0
            place = float(self._rng.uniform(AHEAD - 40.0, AHEAD) if behind else -self._rng.uniform(BEHIND - 20, BEHIND))
            s = self.ego_station + place
            if not 5.0 < s < self.layout.road.length - 5.0 or self.layout.near_junction(s, 12.0):
                continue
            u = self._along(direction, s)
            lane = int(vehicles.lane[index])
            same = ((vehicles.lane == lane) | ((vehicles.lane_from == lane) & (vehicles.change < 1.0)))
            same[index] = False
            if (np.abs(vehicles.u[same] - u) < 0.5 * (vehicles.length[same] + vehicles.length[index]) + 22.0).any():
                continue
            vehicles.u[index], vehicles.change[index], vehicles.lane_from[index] = u, 1.0, lane
            close = np.flatnonzero(same & (vehicles.u > u) & (vehicles.u < u + 60.0))
            speed = 0.8 * float(self._wanted(direction)[index])
            if len(close):
                speed = min(speed, float(vehicles.v[close].min()) + 1.0)
            vehicles.v[index], vehicles.released[index], vehicles.waited[index] = speed, -1, 0.0
            self.generations[direction][index] += 1

    def _step_side_traffic(self) -> None:
        section = self.layout.road.section
        for vehicle in self.side_traffic:
            junction = self.layout.junctions[vehicle.junction]
            if abs(junction.s - self.ego_station) > AHEAD + 50.0:
                continue
            line = -(section.edge(vehicle.direction) + 2.5 + 0.5 * vehicle.kind.length)
            gap = line - vehicle.r
            go = gap < -0.5 or self._side_may_go(vehicle, junction)
            pull = traffic.idm(vehicle.v, 9.0, np.inf if go else max(gap, 0.1), vehicle.v, 0.8, 1.6, 2.5, 0.5)
            vehicle.v = max(0.0, vehicle.v + float(pull) * STEP_S)
            vehicle.r += vehicle.v * STEP_S
            if vehicle.r > SIDE_ROAD_REACH - 5.0:
                vehicle.r, vehicle.v = -SIDE_ROAD_REACH + 5.0, 8.0
                vehicle.generation += 1

    def _side_may_go(self, vehicle: SideVehicle, junction) -> bool:
        half = SIDE_ROAD_HALF
        if junction.control == "lights":
            green = self.layout.signals[junction.signal].state(self.time, crossing=True) == "green"
            return green and self._arrivals_clear(junction.s, 1.5, half, stopping=True)
        if junction.control == "yield":
            return self._arrivals_clear(junction.s, 6.0, half, stopping=True)
        return vehicle.v < 4.0 and self._arrivals_clear(junction.s, 6.5, half, stopping=False)

    def _step_people(self) -> None:
        for index, person in enumerate(self.people):
            if person.kind == "walker":
                advance_walker(person, self.layout, STEP_S)
            if person.kind == "crosser":
                walk = self.layout.crosswalks[person.crosswalk]
                if abs(walk.s - self.ego_station) > 200.0:
                    continue
                may_start = False
                if person.state == "wish":
                    if walk.light >= 0:
                        signal = self.layout.signals[walk.light]
                        now = signal.state(self.time, crossing=True) == "green"
                        may_start = now and signal.state(self.time + 4.0, crossing=True) == "green"
                    else:
                        may_start = True
                    may_start = may_start and self._arrivals_clear(walk.s, 8.0, 1.6, stopping=True)
                advance_crosser(person, self.layout, may_start, self._rng, STEP_S)
                continue
            relative = person.s - self.ego_station
            if relative < -25.0 or relative > 130.0:
                place = self.ego_station + (float(self._rng.uniform(70.0, 120.0)) if relative < 0.0 else -20.0)
                if 5.0 < place < self.layout.road.length - 5.0 and not self.layout.near_junction(place, 5.0):
                    person.s = place
                    person.generation += 1

    # -- what others see -------------------------------------------------------------------------------------------

    def actors(self) -> List[Actor]:
        """Everything that moves, without the ego."""
        road = self.layout.road
        found: List[Actor] = []
        for direction in (1, -1):
            vehicles = self.sides[direction]
            s = self._along(direction, vehicles.u)
            x, y, yaw = road.pose(s, -direction * vehicles.lateral)
            slip = np.arctan2(vehicles.lateral_speed, np.maximum(vehicles.v, 2.0))
            yaw = yaw + (0.0 if direction > 0 else np.pi) - slip
            base = 1000 if direction > 0 else 2000
            for index, kind in enumerate(self.kinds[direction]):
                if kind.class_name == "ego":
                    continue
                speed = float(vehicles.v[index])
                found.append(
                    Actor(f"{direction:+d}/{index}", base + index + 10000 * int(self.generations[direction][index]),
                          kind.class_name, float(x[index]), float(y[index]), 0.0, float(yaw[index]),
                          speed * float(np.cos(yaw[index])), speed * float(np.sin(yaw[index])),
                          float(vehicles.u[index]) * 1.3, speed,
                          bool(vehicles.a[index] < -0.6 or (speed < 0.3 and kind.class_name != "cyclist")))
                )
        for index, vehicle in enumerate(self.side_traffic):
            junction = self.layout.junctions[vehicle.junction]
            x, y, yaw = self.side_pose(junction.s, vehicle.direction * vehicle.r, vehicle.direction)
            found.append(Actor(f"side/{index}", 3000 + index + 10000 * vehicle.generation, vehicle.kind.class_name,
                               x, y, 0.0, yaw, vehicle.v * float(np.cos(yaw)), vehicle.v * float(np.sin(yaw)),
                               0.0, vehicle.v, vehicle.v < 0.5))
        section = road.section
        for index, person in enumerate(self.people):
            x, y, yaw = road.pose(person.s, person.d)
            heading = float(yaw) + person.heading
            raised = person.d > section.edge(-1) or person.d < -section.edge(1)
            found.append(Actor(f"person/{index}", 4000 + index + 10000 * person.generation, "pedestrian", float(x),
                               float(y), 0.12 if raised else 0.0, heading, person.speed * float(np.cos(heading)),
                               person.speed * float(np.sin(heading)), person.phase, person.speed))
        return found

    def side_pose(self, s: float, d: float, direction: int) -> Tuple[float, float, float]:
        """``map`` pose on the side road at ``s``, ``d`` metres from the centre line, in its right-hand lane.

        A side road is straight even where the main road bends.
        """
        x, y, yaw = self.layout.road.pose(s, 0.0)
        shift = direction * 1.7
        return (float(x + shift * np.cos(yaw) - d * np.sin(yaw)), float(y + shift * np.sin(yaw) + d * np.cos(yaw)),
                float(yaw) + direction * np.pi / 2)
