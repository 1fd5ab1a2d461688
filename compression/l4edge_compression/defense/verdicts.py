"""What a certification says of one image: a verdict with its reason, and the windows that disagreed."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Callable, Optional, Tuple

NO_LABEL = -1
"""Label of an image that no prediction was made for."""

AGREED = "agreed"
DISAGREED = "disagreed"
LOW_CONFIDENCE = "low_confidence"
DEADLINE = "deadline"
SIZE = "size"
MARGIN = "margin"
INPUT = "input"
MODEL = "model"
SELF_TEST = "self_test"
FAULT = "fault"
REASONS = (AGREED, DISAGREED, LOW_CONFIDENCE, DEADLINE, SIZE, MARGIN, INPUT, MODEL, SELF_TEST, FAULT)
"""Every reason; the first goes with CERTIFIED, the second with ALARM, the others with UNCERTIFIED."""

Window = Tuple[int, int, int, int]
"""x_min, y_min, x_max, y_max in input pixels, the upper ends outside."""

MoreTime = Callable[[], bool]
"""Asked between batches; False ends the work."""


def always() -> bool:
    """There is no deadline."""
    return True


class Verdict(IntEnum):
    """Numbers as in ``l4edge_msgs/ObjectVerdict``."""

    CERTIFIED = 0
    UNCERTIFIED = 1
    ALARM = 2


@dataclass(frozen=True)
class WindowResult:
    """What the network says while one window is hidden.

    Attributes:
        window: input pixels that every patch lies in which this window hides.
        label: class index.
        confidence: its softmax probability, 0..1.
    """

    window: Window
    label: int
    confidence: float


@dataclass(frozen=True)
class Certificate:
    """What was checked of one image and how it came out.

    Attributes:
        verdict: CERTIFIED only if every window was predicted in time, agreed, and did so clearly.
        reason: one of ``REASONS``.
        label: class index that the network gives the whole image, or ``NO_LABEL``.
        recovered_label: class index with the suspect window hidden, or None; see ``recovered_by_two_masks``.
        covered: share of all patch positions that lie in a window that was predicted in time, 0..1.
        passes: predictions that were run, the one of the whole image included.
        passes_required: predictions that all windows need after equal ones were put together.
        margin: smallest difference of the largest and second largest logit in what was predicted; 0 if nothing was.
        disagreeing: windows whose label differs from ``label``, in the order of the covering set.
        windows: windows in the covering set.
        recovered_by_two_masks: ``recovered_label`` is what double masking answers because all second masks agreed.
            If this image is a patched copy of one with a recovery certificate, the label is the certified one.
            Nothing in the patched image itself proves that.
        least_confidence: smallest confidence of what was predicted; the certificate holds for every lower threshold.
    """

    verdict: Verdict
    reason: str
    label: int
    recovered_label: Optional[int]
    covered: float
    passes: int
    passes_required: int
    margin: float
    disagreeing: Tuple[WindowResult, ...]
    windows: int = 0
    recovered_by_two_masks: bool = False
    least_confidence: float = 0.0

    @property
    def certified(self) -> bool:
        """Whether the verdict is CERTIFIED."""
        return self.verdict == Verdict.CERTIFIED

    def silently_wrong(self, label: int) -> bool:
        """Whether another label than ``label`` is handed out without an alarm and without being cut short.

        This must never happen to a patched copy of an image that was certified with ``label``.
        """
        return self.verdict != Verdict.ALARM and self.reason != DEADLINE and self.label not in (label, NO_LABEL)


@dataclass(frozen=True)
class Recovery:
    """What double masking answers.

    Attributes:
        label: class index, or ``NO_LABEL`` if time ran out first.
        unanimous: all one-mask predictions agreed, or all second masks agreed with a first one that stood alone;
            otherwise the label is that of the majority.
        certified: every pair of windows of this image gives ``label``: double masking answers it for any content of
            any one patch. Only known where the whole map of pairs was asked for.
        finished: nothing was cut short.
        passes: predictions that were run.
    """

    label: int
    unanimous: bool
    certified: bool
    finished: bool
    passes: int


def uncertified(reason: str, label: int = NO_LABEL, windows: int = 0) -> Certificate:
    """The certificate of an image that nothing is claimed of.

    Raises:
        ValueError: ``reason`` does not go with UNCERTIFIED.
    """
    if reason not in REASONS or reason in (AGREED, DISAGREED):
        raise ValueError(f"reason {reason!r}: not one of {', '.join(REASONS[2:])}")
    return Certificate(Verdict.UNCERTIFIED, reason, label, None, 0.0, 0, 0, 0.0, (), windows)
