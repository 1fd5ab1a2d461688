"""Stop signs and lights: the vehicle drives towards them in a closed loop, seeing them as its camera would."""

import math
from typing import Callable, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import pytest

from l4edge_perception.types import MEANINGS, OBJECT_CLASSES, EgoState, Route, Tracks
from l4edge_pipeline.planning import Planner, PlannerConfig

CONFIG = PlannerConfig()
HALF_VIEW = math.tan(math.radians(33.0))
PERIOD = 0.1


class Post(NamedTuple):
    """A sign or light: where it stands, what it shows at a time, how wide its box is for its height."""

    name: str
    x: float
    y: float
    shows: Callable[[float], str]
    aspect: float = 1.0
    probability: float = 0.98


def sign(x: float = 60.0, y: float = -3.0, word: str = "stop", **more: float) -> Post:
    return Post("sign", x, y, lambda _: word, **more)


def light(x: float, y: float, *changes: Tuple[float, str]) -> Post:
    """``changes``: from a time on, it shows a word."""
    return Post("light", x, y, lambda time: [word for start, word in changes if start <= time][-1], 0.4)


def tracks_of(posts: Sequence[Post], time: float, ego: EgoState) -> Tracks:
    camera_x = ego.x + CONFIG.camera_m
    seen = [
        (number, post)
        for number, post in enumerate(posts)
        if 1.0 < post.x - camera_x < 80.0 and abs(post.y - ego.y) / (post.x - camera_x) < HALF_VIEW
    ]
    count = len(seen)
    meanings = np.zeros((count, len(MEANINGS)), np.float32)
    for row, (_, post) in zip(meanings, seen):
        row[:] = (1 - post.probability) / (len(MEANINGS) - 1)
        row[MEANINGS.index(post.shows(time))] = post.probability
    return Tracks(
        stamp_ns=round(time * 1e9),
        ids=np.array([number for number, _ in seen], np.int64),
        boxes=np.array([(0.0, 0.0, 20.0 * post.aspect, 20.0) for _, post in seen], np.float32).reshape(-1, 4),
        scores=np.ones(count, np.float32),
        class_ids=np.array([OBJECT_CLASSES.index(post.name) for _, post in seen], np.int32),
        ages_s=np.ones(count, np.float32),
        unseen_s=np.zeros(count, np.float32),
        positions=np.array([(post.x, post.y) for _, post in seen], np.float64).reshape(-1, 2),
        velocities=np.zeros((count, 2)),
        sizes=np.ones((count, 3), np.float32),
        meanings=meanings,
    )


class Drive(NamedTuple):
    """What happened, one entry a frame."""

    fronts: np.ndarray
    speeds: np.ndarray
    accelerations: np.ndarray
    reasons: List[str]

    def stands(self) -> np.ndarray:
        return self.speeds < 0.05


def drive(posts: Sequence[Post], seconds: float = 25.0, speed: float = 11.0, limit: Optional[float] = None) -> Drive:
    """A vehicle that does what the plan says."""
    x = np.arange(-20.0, 600.0, 5.0)
    route = Route(np.column_stack([x, np.zeros(len(x))]), np.full(len(x), limit or speed), np.full(len(x), 3.5))
    planner = Planner(CONFIG)
    where, acceleration = 0.0, 0.0
    rows, reasons = [], []
    for frame in range(round(seconds / PERIOD)):
        time = frame * PERIOD
        ego = EgoState(round(time * 1e9), where, 0.0, 0.0, speed, acceleration=acceleration)
        trajectory = planner.plan(tracks_of(posts, time, ego), ego, route)
        rows.append((where + CONFIG.front_m, speed, trajectory.accelerations[0]))
        reasons.append(trajectory.reason)
        moved = float(np.interp(PERIOD, trajectory.times, trajectory.speeds))
        acceleration, where, speed = (moved - speed) / PERIOD, where + (speed + moved) / 2 * PERIOD, moved
    return Drive(*np.array(rows).T, reasons)


def test_stands_at_a_stop_sign_and_goes_on():
    result = drive([sign()])
    standing = np.flatnonzero(result.stands())
    assert len(standing) and "stop_sign" in result.reasons
    assert 56.0 < result.fronts[standing].max() < 60.0
    assert 1.0 <= len(standing) * PERIOD < 4.0
    assert result.fronts[-1] > 75.0 and result.speeds[-1] > 8.0
    assert result.accelerations.min() > -3.0


@pytest.mark.parametrize(
    "post",
    [
        sign(word="yield"),
        sign(word="none"),
        sign(aspect=0.6),
        sign(y=-14.0),
        sign(y=7.0),
        sign(probability=0.6),
        light(60.0, -3.0, (0.0, "off")),
        light(60.0, -3.0, (0.0, "green")),
        light(60.0, 8.0, (0.0, "red")),
        light(60.0, -14.0, (0.0, "red")),
    ],
)
def test_drives_past_what_does_not_mean_it(post: Post):
    result = drive([post], 10.0)
    assert result.speeds.min() > 10.0
    assert not {"stop_sign", "red_light"} & set(result.reasons)


def test_waits_at_a_red_light_until_it_is_green():
    result = drive([light(70.0, -3.0, (0.0, "red"), (15.0, "green"))])
    standing = np.flatnonzero(result.stands())
    assert len(standing) * PERIOD > 3.0
    assert 60.0 < result.fronts[standing].max() < 70.0
    assert standing.max() * PERIOD == pytest.approx(15.0, abs=1.0)
    assert result.fronts[-1] > 75.0
    assert result.accelerations.min() > -3.0


def test_the_light_behind_the_crossing_frees_one_that_is_out_of_view():
    near = light(60.0, -4.5, (0.0, "red"))
    far = light(74.0, -4.5, (0.0, "red"), (18.0, "green"))
    result = drive([near, far], 30.0)
    standing = np.flatnonzero(result.stands())
    assert result.fronts[standing].max() < 60.0
    assert standing.max() * PERIOD > 16.0


def test_amber_stops_only_who_can_stop_comfortably():
    far = drive([light(70.0, -3.0, (0.0, "green"), (1.0, "amber"), (4.0, "red"))], 12.0)
    assert far.stands().any() and far.fronts.max() < 70.0
    near = drive([light(30.0, -3.0, (0.0, "green"), (1.0, "amber"), (4.0, "red"))], 12.0)
    assert not near.stands().any() and near.speeds.min() > 10.0


def test_a_red_light_that_vanishes_from_view_is_forgotten():
    post = light(70.0, -3.0, (0.0, "red"), (3.0, "none"))
    result = drive([post], 14.0)
    assert "red_light" in result.reasons
    assert not result.stands().any() and result.fronts[-1] > 75.0


def test_unread_signs_and_lights_change_nothing():
    posts = [sign(), light(60.0, -3.0, (0.0, "red"))]
    ego = EgoState(0, 30.0, 0.0, 0.0, 10.0)
    seen = tracks_of(posts, 0.0, ego)
    assert len(seen) == 2
    unread = Tracks(*(getattr(seen, name) for name in seen.__dataclass_fields__ if name != "meanings"))
    x = np.arange(-20.0, 600.0, 5.0)
    route = Route(np.column_stack([x, np.zeros(len(x))]), np.full(len(x), 10.0), np.full(len(x), 3.5))
    assert Planner(CONFIG).plan(unread, ego, route).reason == "cruise"
    assert Planner(CONFIG).plan(seen, ego, route).reason in ("stop_sign", "red_light")
