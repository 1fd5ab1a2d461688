"""Which disagreement is an alarm: operating points by hazard; and how long there is still time to look."""

from dataclasses import dataclass, replace
from typing import Optional, Sequence, Tuple

from l4edge_compression.defense.verdicts import Certificate
from l4edge_compression.defense.verdicts import Verdict as CropVerdict
from l4edge_perception.errors import InputError

CRITICAL_MEANINGS: Tuple[str, ...] = ("stop", "yield", "red", "amber")
"""What it is dangerous to miss: a vehicle that does not know of them drives on."""

SURE_MEANINGS: Tuple[str, ...] = (*CRITICAL_MEANINGS, "green")
"""What windows are judged by the low threshold for. Green is no danger to miss, but costs no false alarms either."""


@dataclass(frozen=True)
class OperatingPoints:
    """How confident a disagreeing window must be to raise an alarm, by the label that *it* reads.

    A low threshold makes strong certificates and many alarms, a high one the opposite.

    Attributes:
        critical: of windows that read one of ``SURE_MEANINGS``.
        other: of windows that read anything else.
    """

    critical: float = 0.0
    other: float = 0.9

    def __post_init__(self) -> None:
        if not 0.0 <= self.critical <= self.other < 1.0:
            raise InputError(
                f"operating points {self.critical} and {self.other}: must be 0 <= critical <= other < 1"
            )

    def of(self, label: int, meanings: Sequence[str]) -> float:
        """The threshold of a label.

        Args:
            label: of the network. meanings: word of each label.
        """
        known = 0 <= label < len(meanings)
        return self.critical if not known or meanings[label] in SURE_MEANINGS else self.other

    def judge(self, certificate: Certificate, meanings: Sequence[str], margin: float = 0.0) -> Certificate:
        """The certificate at the operating points of its labels.

        The guarantee stays whole. Let a crop be certified with label y: no prediction disagrees, and all are more
        confident than the threshold of y. In a patched copy the windows that hide the patch say y as confidently as
        before. If the copy's own label differs, these windows disagree, and are more confident than the threshold of
        what they read: they raise the alarm. "As confidently" is up to the arithmetic: a quarter of the logits' margin
        bounds what it may do to a probability, so a certificate keeps that far above the threshold.

        Args:
            certificate: made at the threshold ``critical``.
            meanings: word of each label.
            margin: numeric margin of the logits.
        """
        if certificate.verdict == CropVerdict.ALARM:
            loud = any(window.confidence > self.of(window.label, meanings) for window in certificate.disagreeing)
            return certificate if loud else _not_certified(certificate, "low_confidence")
        if certificate.verdict == CropVerdict.CERTIFIED:
            threshold = self.of(certificate.label, meanings)
            if certificate.least_confidence <= threshold:
                return _not_certified(certificate, "low_confidence")
            if certificate.least_confidence <= threshold + margin / 4.0:
                return _not_certified(certificate, "margin")
        return certificate


def _not_certified(certificate: Certificate, reason: str) -> Certificate:
    return replace(certificate, verdict=CropVerdict.UNCERTIFIED, reason=reason)


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
