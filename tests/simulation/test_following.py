"""Drivers follow and change lanes as the models say."""

import numpy as np
import pytest

from l4edge_simulation.world.following import (
    CHANGE_CLEARANCE_M,
    LANE_CHANGE_S,
    Vehicles,
    advance,
    choose_lane,
    idm,
    leaders,
    occupied_lanes,
)

DRIVER = {"headway": 1.5, "comfort": 1.5, "braking": 2.0, "standstill": 2.0}
LANES = 2


def traffic(*rows):
    """Cars of 5 m from rows (u, v, lane)."""
    u, v, lane = (np.array(column, float) for column in zip(*rows, strict=True))
    count = len(rows)
    settings = {"length": 5.0, "width": 2.0, "desired": 1.0, "ceiling": 60.0, "headway": 1.5, "comfort": 1.5}
    settings |= {"braking": 2.0, "gap": 2.0, "a": 0.0, "lateral": 0.0, "lateral_speed": 0.0, "waited": 0.0}
    lanes = lane.astype(int)
    return Vehicles(
        u=u,
        v=v,
        lane=lanes,
        lane_from=lanes.copy(),
        change=np.ones(count),
        released=np.full(count, -1),
        changes=np.ones(count, bool),
        **{name: np.full(count, value) for name, value in settings.items()},
    )


@pytest.mark.parametrize(
    ("v", "wanted", "gap", "closing", "sign"),
    [
        (0.0, 15.0, np.inf, 0.0, 1),  # starts on a free road
        (15.0, 15.0, np.inf, 0.0, 0),  # keeps the speed it wants
        (20.0, 15.0, np.inf, 0.0, -1),  # slows down to it
        (10.0, 15.0, 12.0, 0.0, -1),  # too close behind an equally fast one
        (10.0, 15.0, 100.0, 0.0, 1),  # far enough
        (10.0, 15.0, 40.0, 10.0, -1),  # brakes for what stands
        (0.0, 15.0, 2.0, 0.0, 0),  # stands at the gap it likes
    ],
)
def test_drivers_accelerate_and_brake_when_they_should(v, wanted, gap, closing, sign):
    acceleration = float(idm(v, wanted, gap, closing, **DRIVER))
    assert np.sign(round(acceleration, 6)) == sign


def test_followers_settle_at_the_gap_of_the_model():
    """In equilibrium the gap is (standstill + v * headway) / sqrt(1 - (v / wanted)^4)."""
    position, speed, leader = 0.0, 10.0, 80.0
    for _ in range(20_000):
        acceleration = float(idm(speed, 15.0, leader - position, speed - 10.0, **DRIVER))
        leader += 10.0 * 0.02
        position += speed * 0.02
        speed += acceleration * 0.02
    expected = (2.0 + 10.0 * 1.5) / np.sqrt(1.0 - (10.0 / 15.0) ** 4)
    assert leader - position == pytest.approx(expected, rel=0.01)


def test_leaders_are_found_in_the_same_lane_only():
    vehicles = traffic((0.0, 10.0, 0), (30.0, 5.0, 1), (60.0, 7.0, 0))
    gap, speed = leaders(vehicles, occupied_lanes(vehicles, LANES))
    assert gap == pytest.approx([55.0, np.inf, np.inf])
    assert speed[0] == 7.0


def test_who_changes_lanes_is_a_leader_in_both():
    vehicles = traffic((0.0, 10.0, 0), (0.0, 10.0, 1), (30.0, 5.0, 1))
    vehicles.lane_from[2], vehicles.change[2] = 0, 0.5
    gap, _ = leaders(vehicles, occupied_lanes(vehicles, LANES))
    assert gap[:2] == pytest.approx([25.0, 25.0])


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([(25.0, 4.0, 0)], 1),  # overtakes a slow one
        ([(150.0, 15.0, 0)], 0),  # no reason to
        ([(25.0, 4.0, 0), (25.0, 4.0, 1)], 0),  # the other lane is no better
        ([(25.0, 4.0, 0), (-12.0, 25.0, 1)], 0),  # would make a fast one brake hard
        ([(25.0, 4.0, 0), (-60.0, 15.0, 1)], 1),  # far enough behind
        ([(25.0, 4.0, 0), (5.0 + 0.9 * CHANGE_CLEARANCE_M, 15.0, 1)], 0),  # no room beside it
    ],
)
def test_lanes_are_changed_for_an_advantage_and_only_when_safe(others, expected):
    vehicles = traffic((0.0, 12.0, 0), *others)
    assert choose_lane(vehicles, 0, np.full(len(vehicles), 15.0), LANES) == expected


def test_a_lane_change_is_smooth_and_ends_in_the_lane():
    vehicles = traffic((0.0, 12.0, 1))
    vehicles.lane_from[0], vehicles.change[0] = 0, 0.0
    offsets, places = np.array([1.75, 5.25]), [1.75]
    vehicles.lateral[0] = 1.75
    for _ in range(round(LANE_CHANGE_S / 0.02) + 2):
        advance(vehicles, np.zeros(1), np.ones(1, bool), offsets, 0.02)
        places.append(float(vehicles.lateral[0]))
    assert places[-1] == 5.25
    speeds = np.diff(places) / 0.02
    assert speeds.min() >= 0.0
    assert np.abs(np.diff(speeds) / 0.02).max() < 2.0  # metres per second squared sideways


def test_nobody_drives_backwards_and_nobody_slides_while_standing():
    vehicles = traffic((0.0, 0.1, 1))
    vehicles.lane_from[0], vehicles.change[0] = 0, 0.5
    advance(vehicles, np.array([-8.0]), np.ones(1, bool), np.array([1.75, 5.25]), 0.02)
    lateral = float(vehicles.lateral[0])
    advance(vehicles, np.array([-8.0]), np.ones(1, bool), np.array([1.75, 5.25]), 0.02)
    assert vehicles.v[0] == 0.0
    assert vehicles.lateral[0] == lateral
