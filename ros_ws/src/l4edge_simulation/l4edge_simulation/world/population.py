"""Draws who is on the road when a drive begins."""

from dataclasses import replace

import numpy as np

from l4edge_simulation.appearance import stream
from l4edge_simulation.world import ego as ego_vehicle
from l4edge_simulation.world.following import Vehicles, leaders, occupied_lanes
from l4edge_simulation.world.pedestrians import draw_pedestrians
from l4edge_simulation.world.state import AHEAD_M, BEHIND_M, START_S, Kind, SideVehicle, State
from l4edge_simulation.world.streets import draw_layout

FASTEST = 22.0  # metres per second that the road must be long enough for
WHOLE_S = 60.0  # roads are drawn for whole multiples of this, so that a drive depends on its length only beyond

TRUCKS = {"box": 0.35, "tipper": 0.15, "tanker": 0.1, "trailer": 0.15, "bus": 0.25}
CARS = {"sedan": 0.28, "hatchback": 0.25, "estate": 0.14, "suv": 0.22, "van": 0.11}
"""Design: its share."""

TRUCK_LENGTHS = {"box": 7.5, "tipper": 7.0, "tanker": 8.5, "trailer": 13.5, "bus": 11.5}
CYCLISTS = {"urban": 4.0, "suburban": 3.0, "rural": 1.5}
"""Theme: cyclists a direction, on average."""


def draw_state(seed: int, duration_s: float) -> State:
    """Draw a road that is long enough for ``duration_s`` seconds and everybody on it."""
    whole_s = WHOLE_S * max(1.0, np.ceil(duration_s / WHOLE_S))
    layout = draw_layout(seed, START_S + AHEAD_M + 40.0 + FASTEST * whole_s)
    rng = stream(seed, "traffic")
    section = layout.road.section
    lane = int(rng.integers(0, section.forward_lanes))
    x, y, yaw = (float(value) for value in layout.road.pose(START_S, section.lane_centre(1, lane)))
    speed = float(layout.speed_limit(START_S)) * float(rng.uniform(0.5, 0.9))
    state = State(layout, 0.0, ego_vehicle.Bicycle(x, y, yaw, speed), lane, START_S, rng)
    density = float(rng.uniform(0.25, 1.0))
    for direction in (1, -1):
        _populate(state, direction, density)
    state.people = draw_pedestrians(rng, layout, START_S, float(rng.uniform(0.3, 1.5)))
    for index, _ in enumerate(layout.junctions):
        for direction in (1, -1):
            if rng.random() < 0.75:
                kind = draw_kind(rng, 0.1)
                r, v = -float(rng.uniform(35.0, 80.0)), float(rng.uniform(4.0, 9.0))
                state.side_traffic.append(SideVehicle(index, direction, kind, r, v))
    return state


def draw_kind(rng: np.random.Generator, truck_share: float) -> Kind:
    """Draw a motor vehicle."""
    if rng.random() < truck_share:
        design = str(rng.choice(list(TRUCKS), p=list(TRUCKS.values())))
        return Kind("truck", design, TRUCK_LENGTHS[design] * 1.1, 2.55)
    design = str(rng.choice(list(CARS), p=list(CARS.values())))
    return Kind("car", design, 5.0 if design != "van" else 5.4, 1.95)


def _populate(state: State, direction: int, density: float) -> None:
    """Fill one direction of the main road; ``density`` 0..1."""
    kinds, u, lane = _draw_rows(state, direction, density)
    vehicles = _draw_drivers(state.rng, kinds, np.array(u, float), np.array(lane))
    state.kinds[direction], state.sides[direction] = kinds, vehicles
    state.generations[direction] = np.zeros(len(kinds), int)
    vehicles.v = 0.8 * state.wanted_speeds(direction)
    if direction > 0:
        vehicles.v[0] = state.ego.speed
    # Nobody starts faster than they could have come to be that close to the next.
    gap, speed = leaders(vehicles, occupied_lanes(vehicles, state.layout.road.section.lanes(direction)))
    vehicles.v = np.minimum(vehicles.v, np.minimum(speed, 20.0) + np.clip(gap - 4.0, 0.0, 40.0) / 3.0)
    vehicles.v = np.minimum(vehicles.v, np.clip(gap - 2.0, 0.0, None) / 1.2)
    if direction > 0:
        state.ego = replace(state.ego, speed=float(vehicles.v[0]))
    vehicles.lateral = state.lane_offsets(direction)[vehicles.lane].copy()


def _draw_rows(state: State, direction: int, density: float) -> tuple[list[Kind], list[float], list[int]]:
    """Who is where: kinds, ``u`` and lanes."""
    rng, lanes = state.rng, state.layout.road.section.lanes(direction)
    kinds: list[Kind] = []
    u: list[float] = []
    lane: list[int] = []

    def add(kind: Kind, place: float, in_lane: int) -> None:
        kinds.append(kind)
        u.append(float(state.along(direction, state.ego_station)) + place)
        lane.append(in_lane)

    if direction > 0:
        add(Kind("ego", "ego", ego_vehicle.LENGTH, ego_vehicle.WIDTH), ego_vehicle.MIDDLE_AHEAD, state.ego_lane)
    low, high = (-BEHIND_M, AHEAD_M) if direction > 0 else (-AHEAD_M, BEHIND_M)
    spacing = 26.0 / max(density, 0.2)
    for index in range(lanes):
        place = low + float(rng.uniform(0.0, spacing))
        while place < high:
            kind = draw_kind(rng, 0.24 if index == lanes - 1 else 0.12)
            on_ego = direction > 0 and index == state.ego_lane and abs(place) < 15.0 + 0.5 * kind.length
            if not on_ego:
                add(kind, place, index)
            place += kind.length + float(rng.gamma(2.5, spacing / 2.5)) + 8.0
    cyclists = int(rng.poisson(CYCLISTS[state.layout.theme]))
    places = np.sort(rng.uniform(max(low, -40.0) if direction > 0 else low, min(high, 120.0), cyclists))
    for place in places + 4.0 * np.arange(cyclists):
        add(Kind("cyclist", "cyclist", 1.78, 0.6), float(place), lanes)
    return kinds, u, lane


def _draw_drivers(rng: np.random.Generator, kinds: list[Kind], u: np.ndarray, lane: np.ndarray) -> Vehicles:
    """Vehicles at rest with drawn drivers."""
    count = len(kinds)
    cycling = np.array([kind.class_name == "cyclist" for kind in kinds])
    heavy = np.array([kind.class_name == "truck" for kind in kinds])
    vehicles = Vehicles(
        u=u,
        v=np.zeros(count),
        a=np.zeros(count),
        lane=lane,
        lane_from=lane.copy(),
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
    if kinds and kinds[0].class_name == "ego":
        vehicles.changes[0] = False
        vehicles.desired[0] = rng.uniform(0.92, 1.0)
        vehicles.headway[0], vehicles.comfort[0], vehicles.braking[0], vehicles.gap[0] = 1.4, 1.5, 2.2, 3.0
    return vehicles
