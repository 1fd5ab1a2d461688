"""Traffic of whole drives: reproducible, without collisions, and obeying lights and signs."""

import numpy as np
import pytest

from l4edge_simulation.world import ego as ego_vehicle
from l4edge_simulation.world.actors import actors
from l4edge_simulation.world.collisions import EGO_KEY, collisions, overlap
from l4edge_simulation.world.layout import SignalGroup
from l4edge_simulation.world.state import STEP_S
from l4edge_simulation.world.streets import draw_layout
from l4edge_simulation.world.world import World


def drive(world, seconds):
    for _ in range(round(seconds / STEP_S)):
        world.step()
        yield world.state


def snapshot(state):
    return [(actor.key, actor.x, actor.y, actor.yaw, actor.speed, actor.phase) for actor in actors(state)]


def test_the_same_seed_gives_the_same_drive():
    first, second, other = World(11, 10.0), World(11, 10.0), World(12, 10.0)
    for world in (first, second, other):
        for _ in drive(world, 6.0):
            pass
    assert snapshot(first.state) == snapshot(second.state)
    assert first.state.ego == second.state.ego
    assert snapshot(first.state) != snapshot(other.state)


@pytest.mark.parametrize("seed", [7, 1_000_004, 2_000_026])
def test_nobody_touches_anybody_and_the_ego_gets_on(seed):
    world = World(seed, 60.0)
    start = world.state.ego_station
    for number, state in enumerate(drive(world, 60.0)):
        if number % 15 == 0:
            assert collisions(state, reach=150.0) == [], f"after {state.time:.1f} s"
    assert world.state.ego_station - start > 200.0


@pytest.mark.parametrize("seed", [0, 7, 2_000_004])
def test_nobody_passes_a_light_that_has_been_red_for_a_second(seed):
    world = World(seed, 40.0)
    state = world.state
    lines = [line for line in state.layout.stop_lines if line.kind == "light"]
    assert lines, "choose a seed with lights"
    past = {}
    passed = 0
    for state in drive(world, 40.0):
        for number, line in enumerate(lines):
            vehicles = state.sides[line.direction]
            beyond = vehicles.u + 0.5 * vehicles.length - state.along(line.direction, line.s)
            # Who came in anew beyond the line did not pass it.
            crossed = (beyond > 0.5) & (past.get(number, beyond) <= 0.5) & (beyond < 2.0)
            past[number] = beyond
            passed += int(crossed.sum())
            signal = state.layout.signals[line.signal]
            if signal.state(state.time) == "red" and signal.state(state.time - 1.0) == "red":
                assert not crossed.any(), f"line {number} after {state.time:.1f} s"
    assert passed > 0


def test_the_expert_stops_at_stop_signs():
    for seed in range(40):
        world = World(seed, 30.0)
        state = world.state
        lines = [line for line in state.layout.stop_lines if line.kind == "stop" and line.direction > 0]
        if lines and lines[0].s < 250.0:
            break
    slowest = np.inf
    for state in drive(world, 45.0):
        front = state.ego_station + ego_vehicle.LENGTH - ego_vehicle.REAR_OVERHANG
        if lines[0].s - 4.0 < front < lines[0].s + 1.0:
            slowest = min(slowest, state.ego.speed)
        if front > lines[0].s + 5.0:
            break
    assert front > lines[0].s, "never got past the sign"
    assert slowest < 0.3


def test_the_expert_keeps_its_lane():
    world = World(3, 30.0)
    section = world.state.layout.road.section
    for number, state in enumerate(drive(world, 30.0)):
        if number % 25 == 0:
            _, d = state.layout.road.project(state.ego.x, state.ego.y, state.ego_station)
            assert abs(d - section.lane_centre(1, state.ego_lane)) < 0.4


@pytest.mark.parametrize(
    ("steering", "acceleration", "check"),
    [
        (0.0, -4.0, lambda before, after: after.speed == 0.0),
        (0.0, 1.0, lambda before, after: after.speed > before.speed + 1.0),
        (0.1, 0.0, lambda before, after: after.yaw > before.yaw + 0.1),
        (-0.1, 0.0, lambda before, after: after.yaw < before.yaw - 0.1),
    ],
)
def test_commands_move_the_ego(steering, acceleration, check):
    world = World(5, 10.0)
    before = world.state.ego
    for _ in range(200):
        world.step(steering, acceleration)
    assert check(before, world.state.ego)


def test_the_ego_is_seen_where_it_was_steered_to():
    """An ego that stands in the way is a leader for those behind, whoever drives it."""
    world = World(2, 40.0)
    for _ in range(round(25.0 / STEP_S)):
        world.step(0.0, -8.0)
    assert world.state.ego.speed == 0.0
    assert not [pair for pair in collisions(world.state) if EGO_KEY in pair]


def test_the_bicycle_turns_on_a_circle():
    state = ego_vehicle.Bicycle(0.0, 0.0, 0.0, 5.0, steering=0.2)
    radius = ego_vehicle.WHEELBASE / np.tan(0.2)
    for _ in range(round(np.pi * radius / 5.0 / STEP_S)):
        state = ego_vehicle.advance(state, 0.2, 0.0, STEP_S)
    assert state.x == pytest.approx(0.0, abs=0.1)
    assert state.y == pytest.approx(2.0 * radius, abs=0.1)


@pytest.mark.parametrize("offset", [0.0, 13.0, 27.5])
def test_lights_never_let_both_roads_go(offset):
    group = SignalGroup(offset, 15.0, 3.0, 16.0)
    for time in np.arange(0.0, 80.0, 0.1):
        free = [group.state(time, crossing) != "red" for crossing in (False, True)]
        assert not all(free)
    assert {group.state(time, True) for time in np.arange(0.0, 40.0, 0.5)} == {"red", "green", "amber"}


@pytest.mark.parametrize("seed", range(4))
def test_points_are_found_again_in_road_coordinates(seed):
    road = draw_layout(seed, 600.0).road
    for s in np.linspace(20.0, 560.0, 19):
        x, y, _ = road.pose(s, -4.0)
        assert road.project(float(x), float(y), s + 3.0) == pytest.approx((s, -4.0), abs=0.05)


@pytest.mark.parametrize(
    ("shift", "touching"),
    [((0.0, 0.0), True), ((1.9, 0.0), True), ((2.1, 0.0), False), ((1.9, 1.9), True), ((2.1, 2.1), False)],
)
def test_rectangles_touch_or_not(shift, touching):
    square = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]], float)
    assert overlap(square, square + shift) is touching


def test_turned_rectangles_need_their_own_axes():
    square = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]], float)
    diamond = np.array([[1, 0], [0, -1], [-1, 0], [0, 1]], float)
    assert not overlap(square, diamond + [1.6, 1.6])
    assert overlap(square, diamond + [1.4, 1.4])
