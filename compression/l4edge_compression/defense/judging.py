"""From predictions to verdicts: what agrees, how clearly, and what was left undone."""

from typing import Tuple

import numpy as np

from l4edge_compression.defense.verdicts import (
    AGREED,
    DEADLINE,
    DISAGREED,
    INPUT,
    LOW_CONFIDENCE,
    MARGIN,
    Verdict,
)
from l4edge_compression.defense.views import Predictions
from l4edge_perception.errors import InputError


def check_thresholds(confidence: float, margin: float, layout: str, batch: int) -> None:
    """Raise InputError for a threshold outside its range, an unknown layout or an empty batch."""
    if not 0 <= confidence < 1:
        raise InputError(f"field confidence: must be at least 0 and below 1, is {confidence}")
    if not 0 <= margin < np.inf:
        raise InputError(f"field margin: must be at least 0 and finite, is {margin}")
    if layout not in ("HWC", "CHW"):
        raise InputError(f"field layout: must be HWC or CHW, is {layout!r}")
    if batch < 1:
        raise InputError(f"field batch: must be at least 1, is {batch}")


def judge(seen: Predictions, confidence: float, margin: float) -> Tuple[Verdict, str]:
    """Verdict and reason. The alarm does not wait for all windows; the certificate does."""
    if not seen.done[0]:
        return Verdict.UNCERTIFIED, DEADLINE
    if not seen.finite:
        return Verdict.UNCERTIFIED, INPUT
    differing = seen.done & (seen.labels != seen.labels[0])
    confidences, margins = seen.confidences[seen.done], seen.margins[seen.done]
    if (seen.confidences[differing] > confidence).any():
        return Verdict.ALARM, DISAGREED
    if differing.any():
        return Verdict.UNCERTIFIED, LOW_CONFIDENCE
    if not seen.done.all():
        return Verdict.UNCERTIFIED, DEADLINE
    if (confidences <= confidence).any():
        return Verdict.UNCERTIFIED, LOW_CONFIDENCE
    # Numerics that could lift a margin to zero could as well carry a confidence across its threshold.
    if (margins < margin).any() or (confidences <= confidence + margin / 4.0).any() or not seen.sure.all():
        return Verdict.UNCERTIFIED, MARGIN
    return Verdict.CERTIFIED, AGREED


def judge_pairs(seen: Predictions, margin: float) -> str:
    """The reason of a recovery certificate."""
    if not seen.finite:
        return INPUT
    if (seen.labels[seen.done] != seen.labels[seen.done][0]).any():
        return DISAGREED
    if not seen.done.all():
        return DEADLINE
    return MARGIN if (seen.margins < margin).any() or not seen.sure.all() else AGREED
