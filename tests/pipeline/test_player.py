"""The pace of a replay, with a clock that the test moves."""

import numpy as np

from l4edge_perception.recordings.events import EgoEvent, FrameEvent
from l4edge_perception.recordings.images import Image
from l4edge_perception.types import EgoState
from l4edge_pipeline.replay.player import LONGEST_PAUSE_S, Player, newest_frame_wins

SECOND = 1_000_000_000


def frame(seconds, sequence=0):
    return FrameEvent(int(seconds * SECOND), sequence, Image("rgb8", np.zeros((2, 2, 3), np.uint8)))


def ego(seconds):
    stamp_ns = int(seconds * SECOND)
    return EgoEvent(stamp_ns, EgoState(stamp_ns, 0.0, 0.0, 0.0, 0.0))


class Clock:
    def __init__(self):
        self.now = 7 * SECOND

    def __call__(self):
        return self.now


def test_events_come_at_their_time():
    clock = Clock()
    player = Player(iter([frame(100.0), ego(100.05), frame(100.1)]), clock=clock)
    assert [event.stamp_ns for _, event in player.due()] == [100 * SECOND]
    assert abs(player.seconds_to_next() - 0.05) < 1e-9
    assert player.due() == []
    clock.now += SECOND // 10
    due = player.due()
    assert [(moment - 7 * SECOND) / 1e6 for moment, _ in due] == [50.0, 100.0]
    assert player.finished


def test_speed_shortens_the_pauses():
    clock = Clock()
    player = Player(iter([frame(0.0), frame(1.0)]), speed=4.0, clock=clock)
    player.due()
    assert player.seconds_to_next() == 0.25


def test_wrong_stamp_cannot_stop_a_replay():
    clock = Clock()
    player = Player(iter([frame(1.0), frame(1e6), frame(1.1), frame(1.2)]), clock=clock)
    player.due()
    assert player.seconds_to_next() == LONGEST_PAUSE_S
    clock.now += int(LONGEST_PAUSE_S * SECOND)
    assert [event.stamp_ns / SECOND for _, event in player.due()] == [1e6, 1.1]
    assert abs(player.seconds_to_next() - 0.1) < 1e-9


def test_late_reader_gets_the_newest_frame_and_all_else():
    clock = Clock()
    player = Player(iter([frame(0.0, 0), ego(0.05), frame(0.1, 1), ego(0.15), frame(0.2, 2)]), clock=clock)
    player.seconds_to_next()
    clock.now += SECOND
    released, superseded = newest_frame_wins(player.due())
    assert [event.sequence for _, event in superseded] == [0, 1]
    assert [type(event).__name__ for _, event in released] == ["EgoEvent", "EgoEvent", "FrameEvent"]


def test_lockstep_gives_one_frame_at_a_time():
    player = Player(iter([ego(0.0), frame(0.1), ego(0.2), ego(0.3), frame(0.4), ego(0.5)]), clock=Clock())
    assert [len(player.until_frame()) for _ in range(3)] == [2, 3, 1]
    assert player.finished
