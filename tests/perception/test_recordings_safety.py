"""What the safety monitor says, as messages and back."""

import dataclasses

import numpy as np
import pytest

from l4edge_perception.recordings.messages import from_message, to_message
from l4edge_perception.recordings.typestore import load_typestore
from l4edge_perception.safety_types import (
    AlarmCount,
    Claim,
    FreeSpace,
    Hazard,
    ObjectVerdict,
    PatchModel,
    SafetyVerdict,
    Verdict,
    WindowVerdict,
)

TYPE = "l4edge_msgs/msg/SafetyVerdict"


def full_verdict():
    window = WindowVerdict((1.0, 2.0, 3.0, 4.0), 6, 0.75)
    sign = ObjectVerdict(
        7, Hazard.LABEL, (10.0, 20.0, 30.0, 40.0), 4, 0.5, Verdict.ALARM, "disagreed", 1.0, 10, 17, 0, 0.875, 6, True,
        10.0, 0.5, (window,),
    )
    hidden = ObjectVerdict(None, Hazard.HIDING, (0.0, 0.0, 8.0, 8.0), 0, 0.25, Verdict.ALARM, "disagreed")
    grid = FreeSpace(5.0, 2.5, -3.0, 1.5, np.arange(6).reshape(2, 3) % 2 == 0)
    return SafetyVerdict(
        1_500_000_000_000_000_123, Verdict.ALARM, "disagreed", Claim.HIDING_OR_ALERT, 0.75, 21, 28, 12.5, 100.0,
        PatchModel(1, 10, 12, "classifier crop", "3x3", 0.5, 1e-3, "ab" * 32, "cd" * 32), 0.25,
        AlarmCount(2, 3, 5, False), True, 1_500_000_000_000_000_001, (sign, hidden), grid,
    )


def through_bytes(message):
    store = load_typestore()
    return store.deserialize_cdr(store.serialize_cdr(message, TYPE), TYPE)


def test_a_verdict_survives_the_way_through_bytes():
    verdict = full_verdict()
    message = through_bytes(to_message(verdict, 9))
    back = from_message(message)
    assert message.sequence == 9
    np.testing.assert_array_equal(back.free_space.certified, verdict.free_space.certified)
    assert back.free_space.forward_step_m == 2.5
    assert back.free_space.left_m == -3.0
    np.testing.assert_allclose(back.patch.numeric_margin, 1e-3, rtol=1e-6)
    same = dataclasses.replace(back, free_space=verdict.free_space, patch=verdict.patch)
    assert same == verdict


def test_the_constants_of_the_messages_are_those_of_the_dataclasses():
    types = load_typestore().types
    for enum, name in ((Verdict, "ObjectVerdict"), (Hazard, "ObjectVerdict"), (Claim, "SafetyVerdict")):
        assert {item.name: getattr(types["l4edge_msgs/msg/" + name], item.name) for item in enum} == {
            item.name: item.value for item in enum
        }


@pytest.mark.parametrize(
    ("field", "value"),
    [("verdict", 3), ("claim", 9), ("covered", float("nan")), ("covered", 1.5), ("inference_ms", float("inf"))],
)
def test_a_broken_verdict_is_refused_not_believed(field, value):
    message = to_message(full_verdict())
    setattr(message, field, value)
    with pytest.raises(ValueError, match=r"not a valid|no share|not a number"):
        from_message(message)


def test_a_grid_that_does_not_fit_its_flags_is_refused():
    message = to_message(full_verdict())
    message.free_space.rows = 5
    with pytest.raises(ValueError, match="grid"):
        from_message(message)


def test_only_ones_of_a_grid_count_as_certified():
    message = to_message(full_verdict())
    message.free_space.certified[:] = 255
    assert not from_message(message).free_space.certified.any()
