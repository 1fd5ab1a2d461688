"""When alarms are confirmed: the same suspect, near enough, in enough of the last frames."""

import dataclasses

import numpy as np
import pytest
from safety_factories import tracks

from l4edge_perception.errors import InputError
from l4edge_perception.safety_types import NO_LABEL, Hazard, ObjectVerdict, Verdict, WindowVerdict
from l4edge_perception.types import MEANINGS
from l4edge_pipeline.safety.suspects import UNKNOWN_CLASS, AlarmCounter, ConfirmationConfig, Places

NEAR = (100.0, 100.0, 140.0, 140.0)
ELSEWHERE = (400.0, 100.0, 440.0, 140.0)
FAR = (100.0, 100.0, 110.0, 110.0)


def alarm(box=NEAR, object_id=None, hazard=Hazard.HIDING, verdict=Verdict.ALARM, words=(("stop", 0.9),), **more):
    windows = tuple(WindowVerdict(box, MEANINGS.index(word), confidence) for word, confidence in words)
    return ObjectVerdict(object_id, hazard, box, 0, 0.9, verdict, "disagreed", disagreeing=windows, **more)


def moved(box, pixels):
    return (box[0] + pixels, box[1], box[2] + pixels, box[3])


def counts(frames, **config):
    counter = AlarmCounter(ConfirmationConfig(**{"needed": 3, "frames": 5, **config}))
    return [counter.take(objects) for objects in frames]


def test_alarms_of_one_place_are_counted_over_the_last_frames():
    frames = [[alarm()] if alarmed else [] for alarmed in (1, 1, 0, 0, 1, 1, 0, 0, 0)]
    assert [count.confirmed for count in counts(frames)] == [False] * 4 + [True, True] + [False] * 3
    assert [count.alarms for count in counts(frames)] == [1, 2, 2, 2, 3, 3, 2, 2, 2]


def test_alarms_of_changing_places_are_never_confirmed():
    frames = [[alarm(moved(NEAR, 100.0 * (index % 5)))] for index in range(20)]
    assert max(count.alarms for count in counts(frames)) == 1
    both = [[alarm(), alarm(ELSEWHERE)] for _ in range(2)]
    assert [count.alarms for count in counts(both)] == [1, 2], "two alarms of a frame are two suspects, not two frames"


def test_a_suspect_is_followed_as_it_moves_and_by_its_name():
    assert counts([[alarm(moved(NEAR, 10.0 * index))] for index in range(3)])[-1].confirmed
    named = [[alarm(moved(NEAR, 100.0 * index), object_id=7)] for index in range(3)]
    assert counts(named)[-1].confirmed
    flickering = [[alarm(object_id=name)] for name in (None, 7, 8)]
    assert counts(flickering)[-1].confirmed, "a name that changes does not make another object"
    assert not counts([[alarm()], [alarm(hazard=Hazard.LABEL)], [alarm()]])[-1].confirmed


def test_what_is_too_far_away_or_no_alarm_is_not_counted():
    assert counts([[alarm(FAR)]] * 5)[-1].alarms == 0
    assert counts([[alarm(FAR)]] * 5, object_px=10.0)[-1].confirmed
    assert counts([[alarm(FAR, 7, hazard=Hazard.LABEL)]] * 5, object_px=10.0)[-1].alarms == 0
    assert counts([[alarm(FAR, 7, hazard=Hazard.LABEL)]] * 5, sign_px=10.0)[-1].confirmed
    assert counts([[alarm(verdict=Verdict.UNCERTIFIED)]] * 5)[-1].alarms == 0
    unsure, leaving = dataclasses.replace(alarm(), score=0.7), alarm((600.0, 100.0, 639.0, 140.0))
    assert counts([[unsure]] * 5)[-1].alarms == 0
    assert ConfirmationConfig().counts(leaving) and not ConfirmationConfig().counts(leaving, width=640.0)
    unknown = dataclasses.replace(alarm(), class_id=UNKNOWN_CLASS)
    assert counts([[unknown]] * 5)[-1].alarms == 0, "no masked view shows an object there"


@pytest.mark.parametrize(
    ("words", "label", "recovered", "counted"),
    [
        ((("stop", 0.9),), "none", "", True), ((("speed_50", 0.99), ("red", 0.9)), "none", "", True),
        ((("stop", 0.7),), "none", "", False), ((("red", 0.99),), "amber", "", False),
        ((("speed_50", 0.99), ("green", 0.99)), "off", "", False),
        ((("speed_50", 0.99),), "stop", "", True), ((("none", 0.99),), "red", "", False),
        ((("none", 0.99), ("green", 0.9)), "red", "", True), ((), "stop", "stop", True),
        ((), "speed_50", "speed_50", False), ((("speed_50", 0.99),), "none", "stop", False),
    ],
)  # fmt: skip
def test_of_signs_only_what_is_dangerous_to_miss_counts(words, label, recovered, counted):
    recovered_label = MEANINGS.index(recovered) if recovered else NO_LABEL
    entry = alarm(
        hazard=Hazard.LABEL, words=words, label=MEANINGS.index(label), recovered_label=recovered_label, object_id=7
    )
    assert ConfirmationConfig().counts(entry) == counted
    assert not ConfirmationConfig().counts(dataclasses.replace(entry, object_id=None)), "the pipeline acts on tracks"


@pytest.mark.parametrize("broken", [{"needed": 6}, {"needed": 0}, {"overlap": 0.0}, {"overlap": 1.0}])
def test_numbers_out_of_range_are_refused(broken):
    with pytest.raises(InputError, match=r"alarms|overlap"):
        ConfirmationConfig(**{"needed": 3, "frames": 5, **broken})


def test_a_hidden_object_where_a_road_user_is_tracked_is_not_counted():
    """A car's box of (100, 100) to (140, 140) that a masked view made larger than the track's."""

    def counted(box, class_id=0):
        seen = dataclasses.replace(tracks(1, box=box), class_ids=np.array([class_id]))
        return AlarmCounter(ConfirmationConfig()).take([alarm()], seen).alarms

    assert counted((100.0, 100.0, 140.0, 112.0)) == 1, "30 % of it"
    assert counted((100.0, 100.0, 140.0, 120.0)) == 0, "50 % of it"
    assert counted((90.0, 90.0, 150.0, 150.0), class_id=2) == 0, "a pedestrian is yielded to, too"
    assert counted((90.0, 90.0, 150.0, 150.0), class_id=4) == 1, "a sign explains nothing"
    with pytest.raises(InputError, match="tracked share"):
        ConfirmationConfig(tracked=0.0)


def test_a_place_is_counted_over_the_frames_in_which_it_was_named():
    places = Places(frames=4, overlap=0.3)
    here, there = alarm((0.0, 0.0, 40.0, 40.0)), alarm((300.0, 0.0, 340.0, 40.0))
    assert places.take([here]) == [1]
    assert places.take([alarm((4.0, 0.0, 44.0, 40.0)), there]) == [2, 1], "places that overlap are one"
    assert places.take([]) == [] and places.most == 2
    assert places.take([here]) == [3]
    assert places.take([here]) == [3], "of the last four frames"
