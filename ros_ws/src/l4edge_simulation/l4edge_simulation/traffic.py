"""Car following and lane changing of one direction's traffic, vectorised.

Longitudinal: the intelligent driver model (Treiber, Hennecke, Helbing: "Congested traffic states in empirical
observations and microscopic simulations", Physical Review E 62, 2000). Lane changes: MOBIL (Kesting, Treiber,
Helbing: "General lane-changing model MOBIL for car-following models", Transportation Research Record 1999, 2007).

A direction has its own coordinate ``u``, metres along the driving direction, and lanes 0 (innermost) to n - 1; lane n
is the cycle strip.
"""

from dataclasses import dataclass

import numpy as np

BRAKE_LIMIT = 8.0  # metres per second squared, what tyres give on a dry road
LANE_CHANGE_S = 3.5
POLITENESS = 0.25
CHANGE_THRESHOLD = 0.25  # metres per second squared of advantage that a change must bring
SAFE_BRAKING = 2.5  # metres per second squared that a change may force upon the new follower


@dataclass
class Vehicles:
    """State of one direction's road users, arrays of equal length. Row 0 of the forward direction is the ego.

    Attributes:
        u: metres, of the middle. v: metres per second. a: metres per second squared, of the last step.
        lane: where it is or goes to. lane_from: where it comes from. change: share of the change done, 1 when none.
        lateral: metres right of the direction's inner edge, of the middle; lateral_speed: its rate.
        length, width: metres. desired: share of the speed limit (a factor), ceiling: metres per second.
        headway: seconds. comfort, braking: metres per second squared. gap: metres when standing.
        released: stop line that it may pass, -1 for none. waited: seconds stood at a stop sign.
        changes: whether it changes lanes at all.
    """

    u: np.ndarray
    v: np.ndarray
    a: np.ndarray
    lane: np.ndarray
    lane_from: np.ndarray
    change: np.ndarray
    lateral: np.ndarray
    lateral_speed: np.ndarray
    length: np.ndarray
    width: np.ndarray
    desired: np.ndarray
    ceiling: np.ndarray
    headway: np.ndarray
    comfort: np.ndarray
    braking: np.ndarray
    gap: np.ndarray
    released: np.ndarray
    waited: np.ndarray
    changes: np.ndarray

    def __len__(self) -> int:
        return len(self.u)


def idm(v, wanted, gap, closing, headway, comfort, braking, standstill) -> np.ndarray:
    """Acceleration of the intelligent driver model, metres per second squared; ``closing`` is v minus the leader's."""
    spacing = standstill + np.maximum(0.0, v * headway + v * closing / (2.0 * np.sqrt(comfort * braking)))
    free = 1.0 - (v / np.maximum(wanted, 0.1)) ** 4
    return np.clip(comfort * (free - (spacing / np.maximum(gap, 0.1)) ** 2), -BRAKE_LIMIT, None)


def leaders(vehicles: Vehicles, occupied: np.ndarray):
    """Gap to and speed of the next vehicle ahead that shares a lane. ``occupied``: (N, lanes) bool."""
    ahead = vehicles.u[None, :] - vehicles.u[:, None]
    half = 0.5 * vehicles.length
    together = (occupied.astype(float) @ occupied.T.astype(float)) > 0.0
    distance = np.where(together & (ahead > 0.0), ahead, np.inf)
    leader = np.argmin(distance, axis=1)
    rows = np.arange(len(vehicles))
    gap = distance[rows, leader] - half - half[leader]
    return gap, np.where(np.isfinite(gap), vehicles.v[leader], vehicles.v)


def occupied_lanes(vehicles: Vehicles, lanes: int) -> np.ndarray:
    """(N, lanes + 1) bool: a vehicle that changes lanes takes both."""
    columns = np.arange(lanes + 1)[None, :]
    moving = vehicles.change < 1.0
    return (vehicles.lane[:, None] == columns) | ((vehicles.lane_from[:, None] == columns) & moving[:, None])


def accelerations(vehicles: Vehicles, wanted: np.ndarray, lanes: int, barriers: np.ndarray) -> np.ndarray:
    """What every driver does. ``wanted``: (N,) speeds; ``barriers``: (N,) gaps to a closed stop line, inf if none."""
    gap, speed = leaders(vehicles, occupied_lanes(vehicles, lanes))
    common = (vehicles.headway, vehicles.comfort, vehicles.braking)
    following = idm(vehicles.v, wanted, gap, vehicles.v - speed, *common, vehicles.gap)
    # A line may be stood at closely; a bumper not.
    stopping = idm(vehicles.v, wanted, barriers, vehicles.v, 0.6 * vehicles.headway, *common[1:], 0.8)
    return np.minimum(following, stopping)


def choose_lane(vehicles: Vehicles, index: int, wanted: np.ndarray, lanes: int) -> int:
    """The lane that MOBIL would have vehicle ``index`` in; its own when no change is worth it or safe."""
    own = int(vehicles.lane[index])
    best, best_gain = own, CHANGE_THRESHOLD
    occupied = occupied_lanes(vehicles, lanes)

    def follow(follower: int, leader: int) -> float:
        if leader < 0:
            gap, speed = np.inf, vehicles.v[follower]
        else:
            gap = vehicles.u[leader] - vehicles.u[follower] - 0.5 * (vehicles.length[leader] + vehicles.length[follower])
            speed = vehicles.v[leader]
        return float(
            idm(vehicles.v[follower], wanted[follower], gap, vehicles.v[follower] - speed, vehicles.headway[follower],
                vehicles.comfort[follower], vehicles.braking[follower], vehicles.gap[follower])
        )

    def neighbours(lane: int):
        others = occupied[:, lane].copy()
        others[index] = False
        before = np.where(others & (vehicles.u > vehicles.u[index]), vehicles.u, np.inf)
        after = np.where(others & (vehicles.u <= vehicles.u[index]), vehicles.u, -np.inf)
        return (int(np.argmin(before)) if np.isfinite(before).any() else -1,
                int(np.argmax(after)) if np.isfinite(after).any() else -1)

    leader, follower = neighbours(own)
    now = follow(index, leader)
    behind_gain = (follow(follower, leader) - follow(follower, index)) if follower >= 0 else 0.0
    for lane in (own - 1, own + 1):
        if not 0 <= lane < lanes:
            continue
        new_leader, new_follower = neighbours(lane)
        clearances = [
            abs(vehicles.u[other] - vehicles.u[index]) - 0.5 * (vehicles.length[other] + vehicles.length[index])
            for other in (new_leader, new_follower) if other >= 0
        ]
        if clearances and min(clearances) < 4.0:
            continue
        imposed = follow(new_follower, index) if new_follower >= 0 else 0.0
        mine = follow(index, new_leader)
        if imposed < -SAFE_BRAKING or mine < -SAFE_BRAKING:
            continue
        theirs = (imposed - follow(new_follower, new_leader)) if new_follower >= 0 else 0.0
        gain = mine - now + POLITENESS * (theirs + behind_gain)
        if gain > best_gain:
            best, best_gain = lane, gain
    return best


def advance(vehicles: Vehicles, acceleration: np.ndarray, moved: np.ndarray, offsets: np.ndarray, step: float) -> None:
    """Move the rows where ``moved``; ``offsets`` (lanes + 1,) are the lanes' lateral places."""
    v = np.maximum(0.0, vehicles.v + acceleration * step)
    vehicles.a = np.where(moved, (v - vehicles.v) / step, vehicles.a)
    vehicles.u = np.where(moved, vehicles.u + 0.5 * (vehicles.v + v) * step, vehicles.u)
    vehicles.v = np.where(moved, v, vehicles.v)
    # A standing vehicle does not slide sideways.
    rolling = np.clip(vehicles.v / 3.0, 0.0, 1.0)
    vehicles.change = np.minimum(1.0, vehicles.change + step / LANE_CHANGE_S * rolling)
    share = vehicles.change
    blend = share**3 * (10.0 - 15.0 * share + 6.0 * share**2)
    lateral = offsets[vehicles.lane_from] * (1.0 - blend) + offsets[vehicles.lane] * blend
    vehicles.lateral_speed = np.where(moved, (lateral - vehicles.lateral) / step, vehicles.lateral_speed)
    vehicles.lateral = np.where(moved, lateral, vehicles.lateral)
