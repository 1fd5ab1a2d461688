"""When an alarm counts: operating points by hazard, and m alarms among the last n frames."""

from collections import deque
from dataclasses import dataclass, replace
from typing import Deque, Optional, Sequence, Tuple

from l4edge_compression.defense.verdicts import Certificate
from l4edge_compression.defense.verdicts import Verdict as CropVerdict
from l4edge_perception.errors import InputError
from l4edge_perception.safety_types import AlarmCount

CRITICAL_MEANINGS: Tuple[str, ...] = ("stop", "yield", "red", "amber")
"""What it is dangerous to miss: a vehicle that does not know of them drives on."""


@dataclass(frozen=True)
class OperatingPoints:
    """How confident a disagreeing window must be to raise an alarm, by what is at stake.

    A low threshold makes strong certificates and many alarms, a high one the opposite.

    Attributes:
        critical: where ``CRITICAL_MEANINGS`` are among the labels of the unmasked or of any masked crop.
        other: elsewhere.
    """

    critical: float = 0.0
    other: float = 0.3

    def __post_init__(self) -> None:
        if not 0.0 <= self.critical <= self.other < 1.0:
            raise InputError(
                f"operating points {self.critical} and {self.other}: must be 0 <= critical <= other < 1"
            )

    def judge(self, certificate: Certificate, meanings: Sequence[str]) -> Certificate:
        """The certificate at the operating point that its labels ask for.

        The guarantee stays whole. Let a crop be certified with label y: no prediction disagrees, and all are more
        confident than the threshold of y. In a patched copy the windows that hide the patch say y as confidently as
        before. If the copy's own label differs, both labels are in the set that chooses the threshold, so that it is
        at most the one of y, and these windows raise the alarm.

        Args:
            certificate: made at the threshold ``critical``.
            meanings: word of each label.
        """
        labels = {certificate.label, *(window.label for window in certificate.disagreeing)}
        words = {meanings[label] for label in labels if 0 <= label < len(meanings)}
        if words.intersection(CRITICAL_MEANINGS):
            return certificate
        loudest = max((window.confidence for window in certificate.disagreeing), default=0.0)
        if certificate.verdict == CropVerdict.ALARM and loudest <= self.other:
            return replace(certificate, verdict=CropVerdict.UNCERTIFIED, reason="low_confidence")
        if certificate.verdict == CropVerdict.CERTIFIED and certificate.least_confidence <= self.other:
            return replace(certificate, verdict=CropVerdict.UNCERTIFIED, reason="low_confidence")
        return certificate


class AlarmCounter:
    """Confirms an alarm when enough of the last frames raised one. Outside of every certificate.

    Args:
        needed: alarms among the last ``frames``.
    """

    def __init__(self, needed: int, frames: int) -> None:
        if not 1 <= needed <= frames:
            raise InputError(f"alarms {needed} of {frames} frames: must be at least 1 and at most the frames")
        self._needed = needed
        self._recent: Deque[bool] = deque(maxlen=frames)

    def take(self, alarm: bool) -> AlarmCount:
        """One frame more."""
        self._recent.append(alarm)
        count = sum(self._recent)
        return AlarmCount(count, self._needed, self._recent.maxlen or 0, count >= self._needed)


class Pacer:
    """Tells how long there is still time for one step more.

    A step is what happens between two questions, such as one pass of a network. The next one is begun only if it would
    end in time even if it took as long as the longest of the last steps.

    Args:
        cutoff_ns: on the clock, when the work must have ended.
        expected_ns: what a step is taken to need before one was seen.
        clock: nanoseconds.
    """

    def __init__(self, cutoff_ns: int, expected_ns: int, clock) -> None:  # type: ignore[no-untyped-def]
        self._cutoff_ns = cutoff_ns
        self._clock = clock
        self._longest_ns = expected_ns
        self._asked_ns: Optional[int] = None

    def begin(self) -> None:
        """What happened since the last question was no step."""
        self._asked_ns = None

    def more_time(self) -> bool:
        """Whether to begin one step more."""
        now_ns = self._clock()
        if self._asked_ns is not None:
            self._longest_ns = max(self._longest_ns, now_ns - self._asked_ns)
        self._asked_ns = now_ns
        return bool(now_ns + self._longest_ns <= self._cutoff_ns)
