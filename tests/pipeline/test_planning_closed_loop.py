"""Planner and controller drive a kinematic bicycle at 10 Hz; a command acts 100 ms after the frame it answers."""

import math
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import pytest

from l4edge_perception.types import OBJECT_CLASSES, ControlCommand, EgoState, Route, Tracks, Trajectory
from l4edge_pipeline.control import Controller, ControllerConfig
from l4edge_pipeline.planning import Planner, PlannerConfig
from l4edge_pipeline.planning.footprints import rectangles_overlap
from l4edge_pipeline.planning.route import route_line

Motion = Callable[[float], Tuple[float, float, float, float]]

PERIOD = 0.1
DELAY = 0.1
STEP = 0.01
CONTACT_STEPS = 5  # between two looks for contacts
WHEELBASE = ControllerConfig().wheelbase_m
CONFIG = PlannerConfig()
MIDDLE = (CONFIG.front_m - CONFIG.rear_m) / 2


@dataclass(frozen=True)
class Actor:
    """Something on the road: ``motion`` gives the centre's x, y, yaw and the speed at a time in seconds."""

    motion: Motion
    name: str = "car"
    length: float = 4.5
    width: float = 1.8


class Contact(NamedTuple):
    """The vehicle touches an actor (its number) in the time after a frame (its number)."""

    frame: int
    actor: int
    at_front: bool


@dataclass
class Drive:
    """What happened; one entry a frame."""

    egos: List[EgoState] = field(default_factory=list)
    trajectories: List[Trajectory] = field(default_factory=list)
    commands: List[ControlCommand] = field(default_factory=list)
    contacts: List[Contact] = field(default_factory=list)

    def reasons(self) -> List[str]:
        return [trajectory.reason for trajectory in self.trajectories]

    def of(self, name: str) -> np.ndarray:
        """One quantity of the ego state over the drive."""
        return np.array([getattr(ego, name) for ego in self.egos])


def tracks_of(actors: Sequence[Actor], time: float, ego: EgoState) -> Tracks:
    """What an ideal tracker says behind a pinhole camera: velocity, size, and the middle of the box's lower edge."""
    camera = np.array([ego.x, ego.y]) + CONFIG.camera_m * np.array([math.cos(ego.yaw), math.sin(ego.yaw)])
    seen = []
    for number, actor in enumerate(actors):
        x, y, yaw, speed = actor.motion(time)
        offsets = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) * [actor.length / 2, actor.width / 2]
        corners = np.array([x, y]) + offsets @ _rotation(yaw).T
        depth, left = ((corners - camera) @ _rotation(ego.yaw)).T
        if depth.min() < 1.0 or np.abs(left / depth).min() > 1.0:
            continue  # outside of a field of view of 90 degrees
        middle = (np.min(left / depth) + np.max(left / depth)) / 2
        position = camera + _rotation(ego.yaw) @ [depth.min(), middle * depth.min()]
        velocity = speed * np.array([math.cos(yaw), math.sin(yaw)])
        seen.append((number, OBJECT_CLASSES.index(actor.name), position, velocity, (actor.length, actor.width, 1.5)))
    ids, class_ids, positions, velocities, sizes = zip(*seen) if seen else ([],) * 5
    return Tracks(
        stamp_ns=round(time * 1e9),
        ids=np.array(ids, np.int64),
        boxes=np.zeros((len(ids), 4), np.float32),
        scores=np.ones(len(ids), np.float32),
        class_ids=np.array(class_ids, np.int32),
        ages_s=np.ones(len(ids), np.float32),
        unseen_s=np.zeros(len(ids), np.float32),
        positions=np.array(positions, np.float64).reshape(-1, 2),
        velocities=np.array(velocities, np.float64).reshape(-1, 2),
        sizes=np.array(sizes, np.float32).reshape(-1, 3),
    )


def _rotation(yaw: float) -> np.ndarray:
    return np.array([[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]])


def contacts_of(frame: int, pose: Tuple[float, float, float], actors: Sequence[Actor], time: float) -> List[Contact]:
    if not actors:
        return []
    ahead = np.array([math.cos(pose[2]), math.sin(pose[2])])
    centre = np.array(pose[:2]) + MIDDLE * ahead
    states = np.array([actor.motion(time) for actor in actors])
    sizes = np.array([(actor.length, actor.width) for actor in actors])
    own = np.array([CONFIG.front_m + CONFIG.rear_m, CONFIG.width_m])
    touching = rectangles_overlap(centre, np.array(pose[2]), own, states[:, :2], states[:, 2], sizes)
    return [
        Contact(frame, int(actor), bool((states[actor, :2] - pose[:2]) @ ahead > CONFIG.front_m))
        for actor in np.flatnonzero(touching)
    ]


def drive(
    route: Route,
    seconds: float,
    speed: float,
    actors: Sequence[Actor] = (),
    start: Tuple[float, float, float] = (0.0, 0.0, 0.0),
    lag: float = 0.15,
    blackout: Optional[Tuple[float, float]] = None,
) -> Drive:
    """Run the loop. ``lag``: time constant of the drive train; ``blackout``: seconds without trajectories."""
    planner, controller = Planner(CONFIG), Controller(ControllerConfig())
    x, y, yaw = start
    acceleration = steering = 0.0
    acting = ControlCommand(0, 0.0, 0.0, speed)
    result, waiting = Drive(), []
    trajectory = None
    for step in range(round(seconds / STEP)):
        time = step * STEP
        if step % round(PERIOD / STEP) == 0:
            ego = EgoState(round(time * 1e9), x, y, yaw, speed, speed * math.tan(steering) / WHEELBASE, acceleration)
            if blackout is None or not blackout[0] <= time < blackout[1]:
                trajectory = planner.plan(tracks_of(actors, time, ego), ego, route)
                result.trajectories.append(trajectory)
            command = controller.command(trajectory, ego, ego.stamp_ns)
            waiting.append((step + round(DELAY / STEP), command))
            result.egos.append(ego)
            result.commands.append(command)
        if waiting and waiting[0][0] <= step:
            acting = waiting.pop(0)[1]
        steering = acting.steering_angle
        acceleration += (acting.acceleration - acceleration) * STEP / lag
        moved = max(speed + acceleration * STEP, 0.0)
        yaw += (speed + moved) / 2 * math.tan(steering) / WHEELBASE * STEP
        x += (speed + moved) / 2 * math.cos(yaw) * STEP
        y += (speed + moved) / 2 * math.sin(yaw) * STEP
        speed = moved
        if step % CONTACT_STEPS == 0:
            result.contacts += contacts_of(len(result.egos) - 1, (x, y, yaw), actors, time + STEP)
    return result


def straight_route(length: float = 600.0, limit: float = 14.0) -> Route:
    x = np.arange(-20.0, length, 5.0)
    return Route(np.column_stack([x, np.zeros(len(x))]), np.full(len(x), limit), np.full(len(x), 3.5))


def s_curve_route(radius: float) -> Route:
    """60 m straight, 60 degrees left, 60 degrees right, 80 m straight, with 15 m of changing curvature between."""
    step, arc = 0.5, radius * math.pi / 3
    pieces = [(60.0, 0.0), (arc, 1 / radius), (arc, -1 / radius), (80.0, 0.0)]
    curvature = np.concatenate([np.full(round(length / step), value) for length, value in pieces])
    curvature = np.convolve(np.pad(curvature, 15, mode="edge"), np.ones(31) / 31, mode="valid")
    yaws = np.cumsum(curvature) * step
    points = (np.column_stack([np.cumsum(np.cos(yaws)), np.cumsum(np.sin(yaws))]) * step)[::4]
    return Route(points, np.full(len(points), 14.0), np.full(len(points), 3.5))


def offsets(result: Drive, route: Route) -> np.ndarray:
    line = route_line(route, CONFIG.maximum_speed_mps, CONFIG.curvature_window_m)
    assert line is not None
    return line.project(np.column_stack([result.of("x"), result.of("y")]))[1]


def constant_speed(x: float, y: float, speed: float, yaw: float = 0.0) -> Motion:
    return lambda t: (x + speed * math.cos(yaw) * t, y + speed * math.sin(yaw) * t, yaw, speed)


def braking(x: float, speed: float, start: float, deceleration: float) -> Motion:
    """In the lane with constant speed, from ``start`` seconds on braking to a standstill."""

    def motion(t: float) -> Tuple[float, float, float, float]:
        braked = min(max(t - start, 0.0), speed / deceleration)
        driven = speed * (min(t, start) + braked) - deceleration * braked**2 / 2
        return x + driven, 0.0, 0.0, speed - deceleration * braked

    return motion


def cutting_in(x: float, speed: float, start: float) -> Motion:
    """From the lane on the left into ours, at 1.2 m/s sideways."""

    def motion(t: float) -> Tuple[float, float, float, float]:
        aside = 3.5 - min(max(t - start, 0.0) * 1.2, 3.5)
        sideways = -1.2 if 0.0 < aside < 3.5 else 0.0
        return x + speed * t, aside, math.atan2(sideways, speed), math.hypot(speed, sideways)

    return motion


def stepping_in(x: float, start: float) -> Motion:
    """Waits 4 m right of the centre line, then crosses the road at 1.5 m/s."""
    return lambda t: (x, -4.0 + 1.5 * max(t - start, 0.0), math.pi / 2, 1.5 if t >= start else 0.0)


def gap_to(result: Drive, actor: Actor) -> float:
    """Metres from the front bumper to the actor's rear when the drive ends, along x."""
    seconds = result.egos[-1].stamp_ns / 1e9
    return actor.motion(seconds)[0] - actor.length / 2 - result.egos[-1].x - CONFIG.front_m


@pytest.mark.parametrize("radius", [20.0, 40.0, 100.0])
def test_keeps_its_lane_on_an_s_curve(radius: float):
    route = s_curve_route(radius)
    result = drive(route, 24.0, speed=8.0)
    assert np.abs(offsets(result, route)).max() < 0.15
    lateral = np.abs(result.of("speed") * result.of("yaw_rate"))
    assert lateral.max() < 1.2 * CONFIG.lateral_acceleration_mps2
    assert result.of("acceleration").min() > -CONFIG.comfortable_deceleration_mps2
    assert np.abs(np.diff(result.of("acceleration"))).max() / PERIOD < 1.1 * CONFIG.comfortable_jerk_mps3
    assert not any(command.emergency for command in result.commands)


@pytest.mark.parametrize(("offset", "error"), [(1.5, 0.05), (-2.0, 0.0), (0.0, 0.1)])
@pytest.mark.parametrize("speed", [3.0, 12.0])
def test_returns_to_the_centre_line(offset: float, error: float, speed: float):
    route = straight_route(limit=speed)
    result = drive(route, 10.0, speed, start=(0.0, offset, error))
    away = offsets(result, route)
    assert np.abs(away).max() < abs(offset) + 0.9
    assert abs(away[-1]) < 0.05
    if offset:
        assert (-np.sign(offset) * away).max() < 0.15  # overshoot


def test_stops_at_the_end_of_the_route():
    result = drive(straight_route(length=205.0), 24.0, speed=10.0)
    assert result.egos[-1].speed == 0
    assert 199.0 < result.egos[-1].x <= 200.0
    assert result.reasons()[-1] == "arrive"


def test_moves_off_and_reaches_the_limit_without_exceeding_it():
    result = drive(straight_route(limit=8.0), 12.0, speed=0.0)
    assert result.egos[-1].speed == pytest.approx(8.0, abs=0.1)
    assert result.of("speed").max() < 8.05


@pytest.mark.parametrize("deceleration", [2.0, 4.0, 6.0])
def test_stops_behind_a_braking_lead(deceleration: float):
    lead = Actor(braking(30.0, 13.0, 4.0, deceleration))
    result = drive(straight_route(), 22.0, 13.0, [lead])
    assert not result.contacts and result.egos[-1].speed == 0
    assert 3.0 < gap_to(result, lead) < 8.0
    assert result.reasons()[-1] == "stop"


@pytest.mark.parametrize(("distance", "hardest"), [(60.0, 2.8), (100.0, 2.6), (200.0, 2.6)])
def test_stops_behind_a_standing_car(distance: float, hardest: float):
    standing = Actor(constant_speed(distance, 0.4, 0.0))
    result = drive(straight_route(), 28.0, 13.0, [standing])
    assert not result.contacts and result.egos[-1].speed == 0
    assert 3.0 < gap_to(result, standing) < 8.0
    assert result.of("acceleration").min() > -hardest


def test_follows_with_the_time_gap():
    lead = Actor(constant_speed(40.0, 0.0, 10.0))
    result = drive(straight_route(), 30.0, 13.0, [lead])
    assert result.egos[-1].speed == pytest.approx(10.0, abs=0.2)
    assert gap_to(result, lead) == pytest.approx(CONFIG.standstill_gap_m + 10 * CONFIG.time_gap_s, abs=1.5)


@pytest.mark.parametrize("distance", [30.0, 40.0, 60.0])
def test_stops_for_a_pedestrian_stepping_in_and_goes_on_afterwards(distance: float):
    pedestrian = Actor(stepping_in(distance, 1.0), "pedestrian", 0.5, 0.5)
    result = drive(straight_route(), 16.0, 10.0, [pedestrian])
    assert not result.contacts
    assert "yield" in result.reasons()
    assert result.of("acceleration").min() >= -CONFIG.emergency_deceleration_mps2
    assert result.egos[-1].speed > 10.0


def test_passes_a_pedestrian_who_waits():
    result = drive(straight_route(limit=10.0), 10.0, 10.0, [Actor(stepping_in(50.0, 60.0), "pedestrian", 0.5, 0.5)])
    assert result.of("speed").min() == pytest.approx(10.0, abs=0.05)


@pytest.mark.parametrize(("gap", "speed"), [(6.0, 12.5), (12.0, 11.0), (25.0, 9.0)])
def test_makes_room_for_a_car_cutting_in(gap: float, speed: float):
    """``gap``: metres from bumper to bumper when it starts, the vehicle doing 13 m/s by then."""
    other = Actor(cutting_in(gap + 2.25 + CONFIG.front_m + 2 * (13.0 - speed), speed, 2.0))
    result = drive(straight_route(limit=13.0), 14.0, 13.0, [other])
    assert not result.contacts
    assert result.of("acceleration").min() > -1.1 * CONFIG.comfortable_deceleration_mps2
    assert result.egos[-1].speed == pytest.approx(speed, abs=0.3)


def test_the_next_lanes_traffic_does_not_matter():
    others = [
        Actor(lambda t: (250.0 - 12.0 * t, 3.5, math.pi, 12.0)),
        Actor(constant_speed(30.0, -3.2, 0.0)),
        Actor(constant_speed(-20.0, 3.5, 18.0)),
        Actor(constant_speed(70.0, -3.4, 0.0), "truck", 9.0, 2.5),
    ]
    result = drive(straight_route(limit=13.0), 12.0, 13.0, others)
    assert set(result.reasons()) == {"cruise"}
    assert result.of("speed").min() == pytest.approx(13.0, abs=0.05)


def test_a_planner_that_falls_silent_stops_the_vehicle_and_a_returning_one_moves_it_again():
    route = s_curve_route(30.0)
    result = drive(route, 20.0, 7.0, blackout=(6.0, 12.0))
    emergencies = np.array([command.emergency for command in result.commands])
    silent = (result.of("stamp_ns") > 6.45e9) & (result.of("stamp_ns") < 12e9)
    np.testing.assert_array_equal(emergencies, silent)
    assert result.of("speed")[np.flatnonzero(silent)[-1]] < 0.05
    assert result.egos[-1].speed > 4.0
    assert result.of("acceleration").min() > -2.6
    assert np.abs(offsets(result, route)).max() < 0.5


def recorded_vehicles(path: Path) -> Dict[int, Tuple[float, float, np.ndarray]]:
    """Length, width and states (N, 5: seconds, x, y, yaw, speed) of each car of a CommonRoad scenario."""
    vehicles = {}
    root = ET.parse(str(path)).getroot()
    for item in [*root.iter("dynamicObstacle"), *root.iter("obstacle")]:
        names = ("time/exact", "position/point/x", "position/point/y", "orientation/exact", "velocity/exact")
        states = [item.find("initialState"), *item.findall("trajectory/state")]
        rows = np.array([[float(state.findtext(name)) for name in names] for state in states])
        rows[:, 0] *= PERIOD
        rows[:, 3] = np.unwrap(rows[:, 3])
        rectangle = item.find("shape/rectangle")
        vehicles[int(item.get("id"))] = float(rectangle.findtext("length")), float(rectangle.findtext("width")), rows
    return vehicles


def replayed(rows: np.ndarray, start: float) -> Motion:
    """A recorded motion; before and after it the vehicle is out of the world."""

    def motion(t: float) -> Tuple[float, float, float, float]:
        if not rows[0, 0] <= t + start <= rows[-1, 0]:
            return 1e6, 1e6, 0.0, 0.0
        x, y, yaw, speed = (float(np.interp(t + start, rows[:, 0], column)) for column in rows[:, 1:].T)
        return x, y, yaw, speed

    return motion


@pytest.mark.parametrize("name", ["USA_Lanker-1_1_T-1", "USA_Peach-4_8_T-1", "USA_US101-3_3_T-1", "USA_US101-4_1_T-1"])
def test_in_the_place_of_recorded_drivers_it_hits_nobody(shared_data: Callable[[str], Path], name: str):
    """Real traffic replayed; the vehicle takes a driver's place and way, the others do not react to it.

    So a follower may run into it, and one alongside may come over, unseen by the front camera. Counted is what it does
    itself: contacts with an object whose centre is ahead of the front bumper at the first moment.
    """
    vehicles = recorded_vehicles(shared_data("permissive/scenarios/" + name + ".xml"))
    drives = 0
    for number, (_, _, rows) in vehicles.items():
        base = rows[:, 1:3] - MIDDLE * np.column_stack([np.cos(rows[:, 3]), np.sin(rows[:, 3])])
        way = np.hypot(*(base[-1] - base[0]))
        if len(rows) < 30 or way < 15.0:
            continue
        onward = base[-1] + np.arange(5.0, 200.0, 5.0)[:, None] * [math.cos(rows[-1, 3]), math.sin(rows[-1, 3])]
        points = np.concatenate([base, onward])
        route = Route(points, np.full(len(points), rows[:, 4].max() + 1.0), np.full(len(points), 3.5))
        actors = [
            Actor(replayed(other, rows[0, 0]), length=length, width=width)
            for key, (length, width, other) in vehicles.items()
            if key != number
        ]
        seconds = rows[-1, 0] - rows[0, 0]
        result = drive(route, seconds, rows[0, 4], actors, start=(base[0, 0], base[0, 1], rows[0, 3]))
        known = np.hypot(result.of("x") - base[0, 0], result.of("y") - base[0, 1]) <= way
        contacts = [contact for contact in result.contacts if known[contact.frame]]
        first = {contact.actor: contact.at_front for contact in reversed(contacts)}
        assert not any(first.values()), (number, contacts)
        assert set(result.reasons()) <= {"cruise", "curve", "follow", "stop", "yield"}
        drives += 1
    assert drives >= 4
