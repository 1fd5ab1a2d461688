"""The road: a centre line of straights, clothoids and arcs, and what lies across it.

Road coordinates are ``s`` along the centre line and ``d`` to its left, both in metres. Traffic keeps to the right:
forward lanes (rising ``s``) lie at negative ``d``, backward lanes at positive ``d``.
"""

from dataclasses import dataclass

import numpy as np

STEP = 1.0  # metres between samples of the centre line

Numbers = float | np.ndarray


@dataclass(frozen=True)
class CrossSection:
    """What lies across the road, the same on both sides, from the middle outwards. Widths in metres.

    Attributes:
        forward_lanes, backward_lanes: 1 or 2 each. lane_width: of each.
        cycle_width: strip for cyclists. parking_width: strip for parked cars, 0 when there is none.
        sidewalk_width: paved for pedestrians.
    """

    forward_lanes: int
    backward_lanes: int
    lane_width: float
    cycle_width: float
    parking_width: float
    sidewalk_width: float

    def lanes(self, direction: int) -> int:
        """Lanes of a direction (+1 forward, -1 backward)."""
        return self.forward_lanes if direction > 0 else self.backward_lanes

    def edge(self, direction: int) -> float:
        """Distance from the centre line to the kerb on that direction's side."""
        return self.lanes(direction) * self.lane_width + self.cycle_width + self.parking_width

    def lane_centre(self, direction: int, lane: int) -> float:
        """Signed ``d`` of a lane's centre; lane 0 is the innermost, lane ``lanes(direction)`` the cycle strip."""
        lanes = self.lanes(direction)
        offset = (lane + 0.5) * self.lane_width if lane < lanes else lanes * self.lane_width + 0.5 * self.cycle_width
        return -direction * offset


@dataclass(frozen=True)
class Road:
    """A centre line sampled every ``STEP`` metres.

    Attributes:
        x, y, yaw, curvature: (K,) float64 at ``s = STEP * index``.
        section: what lies across.
        straights: (start, end) stations of the straight pieces, where junctions may lie.
    """

    x: np.ndarray
    y: np.ndarray
    yaw: np.ndarray
    curvature: np.ndarray
    section: CrossSection
    straights: tuple[tuple[float, float], ...]

    @property
    def length(self) -> float:
        """Metres from the first sample to the last."""
        return STEP * (len(self.x) - 1)

    def pose(self, s: Numbers, d: Numbers) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """x, y, yaw in the ``map`` frame at road coordinates (arrays or scalars)."""
        stations = np.arange(len(self.x)) * STEP
        yaw = np.interp(s, stations, self.yaw)
        x = np.interp(s, stations, self.x) - d * np.sin(yaw)
        y = np.interp(s, stations, self.y) + d * np.cos(yaw)
        return x, y, yaw

    def curvature_at(self, s: Numbers) -> np.ndarray:
        """Curvature of the centre line, 1/metre, left positive."""
        return np.interp(s, np.arange(len(self.x)) * STEP, self.curvature)

    def project(self, x: float, y: float, guess: float) -> tuple[float, float]:
        """Road coordinates of a point of the ``map`` frame near station ``guess`` (Newton steps along the line)."""
        s, d = guess, 0.0
        for _ in range(4):
            centre_x, centre_y, yaw = self.pose(s, 0.0)
            along = (x - centre_x) * np.cos(yaw) + (y - centre_y) * np.sin(yaw)
            d = -(x - centre_x) * np.sin(yaw) + (y - centre_y) * np.cos(yaw)
            s = float(np.clip(s + along / max(0.2, 1.0 - d * float(self.curvature_at(s))), 0.0, self.length))
        return s, float(d)


def draw_road(rng: np.random.Generator, length: float, section: CrossSection) -> Road:
    """Draw a road of at least ``length`` metres: straights joined by clothoid, arc, clothoid."""
    pieces: list[tuple[float, float, float]] = []  # length, curvature at its start, curvature at its end
    straights = []
    heading, station = 0.0, 0.0
    while station < length:
        straight = float(rng.uniform(*((190.0, 250.0) if station == 0.0 else (80.0, 150.0))))
        straights.append((station, station + straight))
        pieces.append((straight, 0.0, 0.0))
        station += straight
        curvature = 1.0 / rng.uniform(60.0, 260.0)
        # Bending back whenever the road has turned far keeps it from crossing itself.
        side = -np.sign(heading) if abs(heading) > 0.4 else rng.choice([-1.0, 1.0])
        ramp = rng.uniform(20.0, 40.0)
        arc = rng.uniform(0.2, 0.8) / curvature
        signed = side * curvature
        pieces += [(ramp, 0.0, signed), (arc, signed, signed), (ramp, signed, 0.0)]
        heading += signed * (arc + ramp)
        station += arc + 2.0 * ramp
    corners = np.concatenate([[0.0], np.cumsum([piece[0] for piece in pieces])])
    stations = np.arange(0.0, corners[-1], STEP)
    index = np.clip(np.searchsorted(corners, stations, side="right") - 1, 0, len(pieces) - 1)
    lengths, first, last = (np.array(column)[index] for column in zip(*pieces, strict=True))
    curvature = first + (last - first) * (stations - corners[index]) / lengths
    yaw = np.concatenate([[0.0], np.cumsum(0.5 * (curvature[1:] + curvature[:-1]) * STEP)])
    middle = 0.5 * (yaw[1:] + yaw[:-1])
    x = np.concatenate([[0.0], np.cumsum(np.cos(middle) * STEP)])
    y = np.concatenate([[0.0], np.cumsum(np.sin(middle) * STEP)])
    return Road(x, y, yaw, curvature, section, tuple(straights))
