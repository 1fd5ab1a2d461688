"""Who may go: lights, stop and yield signs, crosswalks, and gaps in the traffic of the main road."""

import numpy as np

from l4edge_simulation.world.following import Vehicles
from l4edge_simulation.world.layout import CROSSWALK_WIDTH, SIDE_ROAD_HALF, StopLine
from l4edge_simulation.world.pedestrians import Pedestrian, in_the_way, wants_to_cross
from l4edge_simulation.world.state import AHEAD_M, STEP_S, SideVehicle, State

# Deceleration in metres per second squared that a driver accepts for each reason to stop; from where stopping would
# take more, the driver goes on.
BRAKING_FOR_RED, BRAKING_FOR_AMBER = 6.0, 2.6
BRAKING_FOR_PEOPLE, BRAKING_FOR_COURTESY = 6.0, 2.0
BRAKING_FOR_SIDE_ROAD, BRAKING_FOR_YIELD, BRAKING_FOR_STOP = 7.0, 4.0, 7.0
BRAKING_ON_CROSSWALK = 7.5

HEEDED_M = AHEAD_M + 150.0  # nobody is farther from the ego than this
STOP_SIGN_WAIT_S = 1.2
SIDE_LINE_M = 2.5  # from a side road's stop line to the main road
STARTING_M = 25.0  # a vehicle that a stop sign has let go is waited for until it is so far
YIELD_REACH_M, STOP_REACH_M = 25.0, 12.0  # how far before the box a side road's traffic is waited for
SIDE_GAP_S, YIELDED_GAP_S, LIGHT_GAP_S, WALKING_GAP_S = 6.5, 6.0, 1.5, 8.0
"""Seconds of free main road that side traffic (waiting, having priority, at green) and pedestrians want."""


def barriers(state: State, direction: int) -> np.ndarray:
    """(N,) metres from each vehicle's front bumper to what it must stop at, inf for nothing."""
    vehicles, section = state.sides[direction], state.layout.road.section
    nearest = np.full(len(vehicles), np.inf)
    front = vehicles.u + 0.5 * vehicles.length
    for index, line in enumerate(state.layout.stop_lines):
        if line.direction != direction or abs(line.s - state.ego_station) > HEEDED_M:
            continue
        gap = state.along(direction, line.s) - front
        closed = _closed(state, line, index, gap, vehicles) & (gap > -1.0)
        nearest = np.where(closed & (gap < nearest), np.maximum(gap, 0.1), nearest)
    # Whoever is already past the line still stops for somebody on the crosswalk itself.
    for index, walk in enumerate(state.layout.crosswalks):
        if abs(walk.s - state.ego_station) < HEEDED_M and in_the_way(state.people, index, direction, section):
            gap = state.along(direction, walk.s) - 0.5 * CROSSWALK_WIDTH - 0.7 - front
            closed = (gap > vehicles.v**2 / (2.0 * BRAKING_ON_CROSSWALK)) & (gap > -0.7)
            nearest = np.where(closed & (gap < nearest), np.maximum(gap, 0.1), nearest)
    return nearest


def _closed(state: State, line: StopLine, index: int, gap: np.ndarray, vehicles: Vehicles) -> np.ndarray:
    """(N,) whether line number ``index`` is closed for each vehicle of its direction, ``gap`` metres before it."""

    def stoppable(braking: float) -> np.ndarray:
        return gap > vehicles.v**2 / (2.0 * braking)

    closed = np.zeros(len(vehicles), bool)
    if line.kind == "light":
        light = state.layout.signals[line.signal].state(state.time)
        if light != "green":
            closed |= stoppable(BRAKING_FOR_RED if light == "red" else BRAKING_FOR_AMBER)
    for crosswalk in line.crosswalks:
        if in_the_way(state.people, crosswalk, line.direction, state.layout.road.section):
            closed |= stoppable(BRAKING_FOR_PEOPLE)
        elif state.layout.crosswalks[crosswalk].signal < 0 and wants_to_cross(state.people, crosswalk):
            closed |= gap > vehicles.v**2 / (2.0 * BRAKING_FOR_COURTESY) + 1.0
    if line.junction >= 0:
        if side_road_busy(state, line.junction, 0.0):
            closed |= stoppable(BRAKING_FOR_SIDE_ROAD)
        if line.kind == "yield" and side_road_busy(state, line.junction, YIELD_REACH_M):
            closed |= stoppable(BRAKING_FOR_YIELD)
        if line.kind == "stop":
            _wait(state, line, index, gap, vehicles, closed)
            closed |= (vehicles.released != index) & stoppable(BRAKING_FOR_STOP)
    return closed


def _wait(state: State, line: StopLine, index: int, gap: np.ndarray, vehicles: Vehicles, closed: np.ndarray) -> None:
    """Count how long vehicles stand at a stop sign, and release those that have waited and may go."""
    standing = (vehicles.v < 0.3) & (gap < 3.0) & (gap > -0.5)
    vehicles.waited = np.where(standing, vehicles.waited + STEP_S, vehicles.waited)
    clear = not side_road_busy(state, line.junction, STOP_REACH_M)
    free = standing & (vehicles.waited > STOP_SIGN_WAIT_S) & ~closed & clear
    vehicles.released = np.where(free, index, vehicles.released)
    vehicles.waited = np.where(free, 0.0, vehicles.waited)


def side_line(state: State, vehicle: SideVehicle) -> float:
    """Where a side road's vehicle stops: the ``r`` of its middle."""
    return -(state.layout.road.section.edge(vehicle.direction) + SIDE_LINE_M + 0.5 * vehicle.kind.length)


def side_road_busy(state: State, junction: int, reach: float) -> bool:
    """Whether a side road's vehicle is in the box, has left its line for it, or moves within ``reach`` before it."""
    section = state.layout.road.section
    for vehicle in state.side_traffic:
        if vehicle.junction != junction:
            continue
        half = 0.5 * vehicle.kind.length
        box = -section.edge(vehicle.direction)
        from_here = min(side_line(state, vehicle) + 0.5, box - reach) if vehicle.v > 0.3 else box - half
        if from_here < vehicle.r < section.edge(-vehicle.direction) + half + 0.5:
            return True
    return False


def main_road_clear(state: State, s: float, seconds: float, half: float, stopping: bool) -> bool:
    """Whether no main-road vehicle is within ``half`` metres of ``s`` or comes there within ``seconds``.

    With ``stopping``, vehicles that can still stop comfortably do not count.
    """
    for direction in (1, -1):
        vehicles = state.sides[direction]
        distance = state.along(direction, s) - vehicles.u - 0.5 * vehicles.length - half
        inside = (distance < 0.5) & (distance > -vehicles.length - 2.0 * half - 0.5)
        soon = (distance > 0.0) & (distance < vehicles.v * seconds)
        if stopping:
            soon &= distance < vehicles.v**2 / (2.0 * 2.2) + 5.0
        if (inside | soon).any():
            return False
    return True


def side_vehicle_may_go(state: State, vehicle: SideVehicle) -> bool:
    """Whether a side road's vehicle may enter the junction."""
    junction = state.layout.junctions[vehicle.junction]
    if junction.control == "lights":
        green = state.layout.signals[junction.signal].state(state.time, crossing=True) == "green"
        return green and main_road_clear(state, junction.s, LIGHT_GAP_S, SIDE_ROAD_HALF, stopping=True)
    if junction.control == "stop" and _somebody_released(state, vehicle.junction):
        return False
    if junction.control == "yield":
        return main_road_clear(state, junction.s, YIELDED_GAP_S, SIDE_ROAD_HALF, stopping=True)
    return vehicle.v < 4.0 and main_road_clear(state, junction.s, SIDE_GAP_S, SIDE_ROAD_HALF, stopping=False)


def _somebody_released(state: State, junction: int) -> bool:
    """Whether a vehicle of the main road that has waited at the junction's stop sign is on its way through."""
    for index, line in enumerate(state.layout.stop_lines):
        if line.junction == junction:
            vehicles = state.sides[line.direction]
            distance = state.along(line.direction, state.layout.junctions[junction].s) - vehicles.u
            if ((vehicles.released == index) & (distance > 0.0) & (distance < STARTING_M)).any():
                return True
    return False


def pedestrian_may_start(state: State, person: Pedestrian) -> bool:
    """Whether somebody who wants to cross may step onto the road."""
    if person.state != "wish":
        return False
    walk = state.layout.crosswalks[person.crosswalk]
    if walk.signal >= 0:
        signal = state.layout.signals[walk.signal]
        # Green must last for the first steps at least.
        if any(signal.state(state.time + ahead, crossing=True) != "green" for ahead in (0.0, 4.0)):
            return False
    return main_road_clear(state, walk.s, WALKING_GAP_S, 1.6, stopping=True)
