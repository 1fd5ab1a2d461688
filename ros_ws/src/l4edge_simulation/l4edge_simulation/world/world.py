"""Moves the world on, step by step."""

import numpy as np

from l4edge_simulation.world import ego as ego_vehicle
from l4edge_simulation.world import following
from l4edge_simulation.world.layout import SIDE_ROAD_REACH
from l4edge_simulation.world.pedestrians import Pedestrian, advance_crosser, advance_walker
from l4edge_simulation.world.population import draw_state
from l4edge_simulation.world.right_of_way import barriers, pedestrian_may_start, side_line, side_vehicle_may_go
from l4edge_simulation.world.state import AHEAD_M, BEHIND_M, STEP_S, State

DECISION_STEPS = 50  # every driver thinks about changing lanes once in this many steps
SIDE_SPEED = 9.0  # metres per second that side roads are driven at
PEOPLE_WINDOW_M = (-25.0, 130.0)  # around the ego


class World:
    """Traffic of one drive.

    Attributes:
        state: as it is now.
    """

    def __init__(self, seed: int, duration_s: float) -> None:
        self.state: State = draw_state(seed, duration_s)
        self._steps = 0

    def step(self, steering: float | None = None, acceleration: float | None = None) -> None:
        """Move on by ``STEP_S``. Without a command the simulated expert drives the ego.

        Args:
            steering: angle at the ego's front wheels, radians. acceleration: metres per second squared.
        """
        for direction in (1, -1):
            self._step_main_road(direction, steering, acceleration)
        self._step_side_roads()
        self._step_people()
        self.state.time += STEP_S
        self._steps += 1

    def _step_main_road(self, direction: int, steering: float | None, acceleration: float | None) -> None:
        state = self.state
        vehicles, lanes = state.sides[direction], state.layout.road.section.lanes(direction)
        wanted = state.wanted_speeds(direction)
        pulls = following.accelerations(vehicles, wanted, lanes, barriers(state, direction))
        moved = np.ones(len(vehicles), bool)
        if direction > 0:
            moved[0] = False
            self._drive_ego(steering, float(pulls[0]) if acceleration is None else acceleration)
        following.advance(vehicles, pulls, moved, state.lane_offsets(direction), STEP_S)
        if direction > 0:
            self._place_ego_in_traffic()
        if lanes > 1:
            # One driver a step, so that no two decide at once.
            row = self._steps % max(DECISION_STEPS, len(vehicles))
            if row < len(vehicles):
                self._consider_change(direction, row, wanted, lanes)
        self._recycle(direction)

    def _drive_ego(self, steering: float | None, acceleration: float) -> None:
        state = self.state
        if steering is None:
            ahead = max(4.0, 0.9 * state.ego.speed)
            d = state.layout.road.section.lane_centre(1, state.ego_lane)
            x, y, _ = state.layout.road.pose(state.ego_station + ahead, d)
            steering = ego_vehicle.pure_pursuit(state.ego, float(x), float(y))
        state.ego = ego_vehicle.advance(state.ego, steering, acceleration, STEP_S)

    def _place_ego_in_traffic(self) -> None:
        """Write the ego's row from where the bicycle went."""
        ego, vehicles, section = self.state.ego, self.state.sides[1], self.state.layout.road.section
        x = ego.x + ego_vehicle.MIDDLE_AHEAD * np.cos(ego.yaw)
        y = ego.y + ego_vehicle.MIDDLE_AHEAD * np.sin(ego.yaw)
        s, d = self.state.layout.road.project(x, y, float(vehicles.u[0]))
        self.state.ego_station = s - ego_vehicle.MIDDLE_AHEAD
        vehicles.u[0], vehicles.v[0], vehicles.a[0], vehicles.lateral[0] = s, ego.speed, ego.acceleration, -d
        # Lanes that its body reaches into; off the lanes it keeps the nearest.
        sides = -d + np.array([-0.5, 0.5]) * (ego_vehicle.WIDTH - 0.2)
        reached = np.clip(sides / section.lane_width, 0.0, section.forward_lanes - 0.01).astype(int)
        vehicles.lane_from[0], vehicles.lane[0] = reached
        vehicles.change[0] = 0.5 if reached[0] != reached[1] else 1.0

    def _consider_change(self, direction: int, row: int, wanted: np.ndarray, lanes: int) -> None:
        vehicles, layout = self.state.sides[direction], self.state.layout
        s = float(self.state.along(direction, vehicles.u[row]))
        if layout.near_crossing(s, 14.0) or layout.near_crossing(s + direction * 25.0, 10.0):
            return
        if not vehicles.changes[row] or vehicles.change[row] < 1.0 or vehicles.v[row] < 4.0:
            return
        lane = following.choose_lane(vehicles, row, wanted, lanes)
        if lane != vehicles.lane[row]:
            vehicles.lane_from[row], vehicles.lane[row], vehicles.change[row] = vehicles.lane[row], lane, 0.0

    def _recycle(self, direction: int) -> None:
        """Traffic that left the window around the ego comes in again at the window's other end."""
        state, vehicles, rng = self.state, self.state.sides[direction], self.state.rng
        relative = direction * (vehicles.u - state.along(direction, state.ego_station))
        for row in np.flatnonzero((relative < -BEHIND_M - 5.0) | (relative > AHEAD_M + 5.0)):
            if direction > 0 and row == 0:
                continue
            if relative[row] < 0.0:
                s = state.ego_station + float(rng.uniform(AHEAD_M - 40.0, AHEAD_M))
            else:
                s = state.ego_station - float(rng.uniform(BEHIND_M - 20.0, BEHIND_M))
            inside = 5.0 < s < state.layout.road.length - 5.0
            # It must have the way to stop at the next line.
            if inside and not state.layout.near_crossing(s + direction * 25.0, 40.0):
                self._bring_in(direction, int(row), float(state.along(direction, s)))

    def _bring_in(self, direction: int, row: int, u: float) -> None:
        """Put a vehicle at ``u`` if its lane is free there; else it waits for another step."""
        vehicles = self.state.sides[direction]
        lane = int(vehicles.lane[row])
        same = (vehicles.lane == lane) | ((vehicles.lane_from == lane) & (vehicles.change < 1.0))
        same[row] = False
        if (np.abs(vehicles.u[same] - u) < 0.5 * (vehicles.length[same] + vehicles.length[row]) + 22.0).any():
            return
        vehicles.u[row], vehicles.change[row], vehicles.lane_from[row] = u, 1.0, lane
        close = same & (vehicles.u > u) & (vehicles.u < u + 60.0)
        speed = 0.8 * float(self.state.wanted_speeds(direction)[row])
        if close.any():
            speed = min(speed, float(vehicles.v[close].min()) + 1.0)
        vehicles.v[row], vehicles.released[row], vehicles.waited[row] = speed, -1, 0.0
        self.state.generations[direction][row] += 1

    def _step_side_roads(self) -> None:
        state = self.state
        for vehicle in state.side_traffic:
            if abs(state.layout.junctions[vehicle.junction].s - state.ego_station) > AHEAD_M + 50.0:
                continue
            gap = side_line(state, vehicle) - vehicle.r
            free = gap < -0.5 or side_vehicle_may_go(state, vehicle)
            barrier = np.inf if free else max(gap, 0.1)
            pull = following.idm(vehicle.v, SIDE_SPEED, barrier, vehicle.v, 0.8, 1.6, 2.5, 0.5)
            vehicle.v = max(0.0, vehicle.v + float(pull) * STEP_S)
            vehicle.r += vehicle.v * STEP_S
            if vehicle.r > SIDE_ROAD_REACH - 5.0:
                vehicle.r, vehicle.v = -SIDE_ROAD_REACH + 5.0, 8.0
                vehicle.generation += 1

    def _step_people(self) -> None:
        for person in self.state.people:
            if person.kind == "crosser":
                walk = self.state.layout.crosswalks[person.crosswalk]
                if abs(walk.s - self.state.ego_station) <= 200.0:
                    may_start = pedestrian_may_start(self.state, person)
                    advance_crosser(person, self.state.layout, may_start, self.state.rng, STEP_S)
                continue
            if person.kind == "walker":
                advance_walker(person, self.state.layout, STEP_S)
            self._keep_near(person)

    def _keep_near(self, person: Pedestrian) -> None:
        """Who is left behind comes in again ahead, and the other way round."""
        layout, station = self.state.layout, self.state.ego_station
        relative = person.s - station
        if PEOPLE_WINDOW_M[0] <= relative <= PEOPLE_WINDOW_M[1]:
            return
        place = station + (float(self.state.rng.uniform(70.0, 120.0)) if relative < 0.0 else -20.0)
        if 5.0 < place < layout.road.length - 5.0 and not layout.near_crossing(place, 5.0):
            person.s = place
            person.generation += 1
