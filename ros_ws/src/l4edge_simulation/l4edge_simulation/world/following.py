"""Car following and lane changing of one direction's traffic, vectorised.

Longitudinal: the intelligent driver model (Treiber, Hennecke, Helbing: "Congested traffic states in empirical
observations and microscopic simulations", Physical Review E 62, 2000). Lane changes: MOBIL (Kesting, Treiber,
Helbing: "General lane-changing model MOBIL for car-following models", Transportation Research Record 1999, 2007).

A direction has its own coordinate ``u``, metres along the driving direction, and lanes 0 (innermost) to n - 1; lane n
is the cycle strip.
"""

from dataclasses import dataclass

import numpy as np

from l4edge_simulation.world.road import Numbers

BRAKE_LIMIT = 8.0  # metres per second squared, what tyres give on a dry road
LANE_CHANGE_S = 3.5
POLITENESS = 0.25
CHANGE_THRESHOLD = 0.25  # metres per second squared of advantage that a change must bring
CHANGE_CLEARANCE_M = 4.0  # to the bumpers of the new neighbours
SAFE_BRAKING = 2.5  # metres per second squared that a change may force upon the new follower


@dataclass
class Vehicles:
    """State of one direction's road users, arrays of equal length. Row 0 of the forward direction is the ego.

    Attributes:
        u: metres, of the middle. v: metres per second. a: metres per second squared, of the last step.
        lane: where it is or goes to. lane_from: where it comes from. change: share of the change done, 1 when none.
        lateral: metres right of the centre line, of the middle. lateral_speed: its rate.
        length, width: metres.
        desired: factor of the speed limit that it drives at. ceiling: metres per second that it never exceeds.
        headway, comfort, braking, gap: the driver's parameters of :func:`idm`.
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


def idm(
    v: Numbers,
    wanted: Numbers,
    gap: Numbers,
    closing: Numbers,
    headway: Numbers,
    comfort: Numbers,
    braking: Numbers,
    standstill: Numbers,
) -> np.ndarray:
    """Acceleration of the intelligent driver model, metres per second squared.

    Args:
        v, wanted: own speed and the one aimed at. closing: own speed minus the leader's.
        gap: metres to the leader's tail, inf without one. standstill: gap when standing.
        headway: seconds. comfort, braking: what the driver likes, metres per second squared.
    """
    spacing = standstill + np.maximum(0.0, v * headway + v * closing / (2.0 * np.sqrt(comfort * braking)))
    free = 1.0 - (v / np.maximum(wanted, 0.1)) ** 4
    return np.clip(comfort * (free - (spacing / np.maximum(gap, 0.1)) ** 2), -BRAKE_LIMIT, None)


def leaders(vehicles: Vehicles, occupied: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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
    occupied = occupied_lanes(vehicles, lanes)
    leader, follower = _neighbours(vehicles, occupied[:, own], index)
    now = _pull(vehicles, index, leader, wanted)
    relief = 0.0  # what the present follower would gain
    if follower >= 0:
        relief = _pull(vehicles, follower, leader, wanted) - _pull(vehicles, follower, index, wanted)
    best, best_gain = own, CHANGE_THRESHOLD
    for lane in (own - 1, own + 1):
        if not 0 <= lane < lanes:
            continue
        leader, follower = _neighbours(vehicles, occupied[:, lane], index)
        if any(other >= 0 and _gap(vehicles, index, other) < CHANGE_CLEARANCE_M for other in (leader, follower)):
            continue
        mine = _pull(vehicles, index, leader, wanted)
        imposed = _pull(vehicles, follower, index, wanted) if follower >= 0 else 0.0
        if min(imposed, mine) < -SAFE_BRAKING:
            continue
        burden = imposed - _pull(vehicles, follower, leader, wanted) if follower >= 0 else 0.0
        gain = mine - now + POLITENESS * (burden + relief)
        if gain > best_gain:
            best, best_gain = lane, gain
    return best


def _neighbours(vehicles: Vehicles, in_lane: np.ndarray, index: int) -> tuple[int, int]:
    """The next vehicle of a lane ahead of and behind vehicle ``index``, -1 for none."""
    others = in_lane.copy()
    others[index] = False
    ahead = np.where(others & (vehicles.u > vehicles.u[index]), vehicles.u, np.inf)
    behind = np.where(others & (vehicles.u <= vehicles.u[index]), vehicles.u, -np.inf)
    return (
        int(np.argmin(ahead)) if np.isfinite(ahead).any() else -1,
        int(np.argmax(behind)) if np.isfinite(behind).any() else -1,
    )


def _gap(vehicles: Vehicles, one: int, other: int) -> float:
    """Metres between two vehicles' bumpers, whichever is ahead."""
    return abs(vehicles.u[other] - vehicles.u[one]) - 0.5 * (vehicles.length[other] + vehicles.length[one])


def _pull(vehicles: Vehicles, follower: int, leader: int, wanted: np.ndarray) -> float:
    """What ``follower`` would do behind ``leader`` (-1: nobody), metres per second squared."""
    gap, speed = np.inf, vehicles.v[follower]
    if leader >= 0:
        gap, speed = _gap(vehicles, follower, leader), vehicles.v[leader]
    return float(
        idm(
            vehicles.v[follower],
            wanted[follower],
            gap,
            vehicles.v[follower] - speed,
            vehicles.headway[follower],
            vehicles.comfort[follower],
            vehicles.braking[follower],
            vehicles.gap[follower],
        )
    )


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
