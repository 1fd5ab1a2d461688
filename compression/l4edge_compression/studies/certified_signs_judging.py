"""What certificates say of held-out crops of signs and lights, by meaning, confidence and set of windows."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from l4edge_compression.defense.certifier import Certifier
from l4edge_compression.defense.masking import DoubleMask, OneMask
from l4edge_compression.defense.verdicts import Verdict
from l4edge_compression.defense.views import Predictions
from l4edge_compression.defense.windows import Pair, pixel_windows
from l4edge_perception.types import MEANINGS

FILL = 128
"""Grey of covered pixels, where training has its zero."""

CONFIDENCES = (0.0, 0.5, 0.7, 0.9)
"""Of which tables are made. 0: every disagreement is an alarm."""

HAZARDS = ("stop", "red", "amber")
"""Meanings for which the vehicle stops: a hidden one must not pass silently."""

SQUARES: tuple[Pair, ...] = ((3, 3), (4, 4), (6, 6))
BANDS: Pair = (9, 1)
"""Nine bands as wide as the crop. Lamps lie above each other: a band hides one, a square of its area more."""


def confidences(hazard: float, other: float) -> np.ndarray:
    """(meanings,) the confidence that counts of a window's own meaning: one for ``HAZARDS``, one for the others.

    A certificate needs windows that agree above the confidence of their meaning, an alarm one that differs above its
    own. The proof for one number holds word for word: the window that hides the patch still says what it said of the
    clean crop, above the confidence of that meaning, so any other answer meets an alarm.
    """
    return np.array([hazard if word in HAZARDS else other for word in MEANINGS])


def verdicts(found: Sequence[Predictions], least: np.ndarray, margin: float) -> np.ndarray:
    """(K,) ``Verdict`` of K crops, as ``Certifier.decide`` says it, with a confidence per meaning.

    Args:
        found: predictions of whole crops, no deadline.
        least: (meanings,) as of :func:`confidences`.
        margin: least difference of logits.
    """
    answers = np.stack([seen.labels for seen in found])
    shares = np.stack([seen.confidences for seen in found])
    clear = np.stack([seen.margins for seen in found]).min(axis=1) >= margin
    clear &= np.array([bool(np.all(seen.sure)) for seen in found])
    differing = answers != answers[:, :1]
    alarm = (differing & (shares > least[answers])).any(axis=1)
    certified = ~differing.any(axis=1) & (shares > least[answers] + margin / 4.0).all(axis=1) & clear
    return np.where(alarm, Verdict.ALARM, np.where(certified, Verdict.CERTIFIED, Verdict.UNCERTIFIED))


def rates(found: Sequence[Predictions], wanted: np.ndarray, least: np.ndarray, margin: float) -> dict[str, Any]:
    """What certificates say of clean crops, of all and by meaning under ``meanings``.

    Shares: ``clean`` (named rightly), ``certified`` rightly, ``certified_wrong``, ``alarm``, ``uncertified``; and the
    mean of ``passes``.

    Args:
        found: predictions of K crops.
        wanted: (K,) true meanings.
        least: (meanings,) confidences.
        margin: least difference of logits.
    """
    named = np.array([seen.labels[0] for seen in found])
    verdict, right = verdicts(found, least, margin), named == wanted
    passes = np.array([seen.passes for seen in found], np.float64)

    def of(these: np.ndarray) -> dict[str, Any]:
        count = int(these.sum())
        shares = {
            "clean": right,
            "certified": right & (verdict == Verdict.CERTIFIED),
            "certified_wrong": ~right & (verdict == Verdict.CERTIFIED),
            "alarm": verdict == Verdict.ALARM,
            "uncertified": verdict == Verdict.UNCERTIFIED,
        }
        result = {name: round(float(share[these].mean()), 4) if count else None for name, share in shares.items()}
        return {"count": count, **result, "passes": round(float(passes[these].mean()), 2) if count else None}

    meanings = {word: of(wanted == label) for label, word in enumerate(MEANINGS)}
    return {**of(np.ones(len(wanted), bool)), "meanings": meanings}


def lost_to(found: Sequence[Predictions], wanted: np.ndarray, word: str) -> dict[str, int]:
    """How many crops of a meaning some window turns into which other meaning: what cannot be certified, and why."""
    label, counts = MEANINGS.index(word), dict.fromkeys(MEANINGS, 0)
    for seen, truth in zip(found, wanted, strict=True):
        if truth == label and seen.labels[0] == label:
            for other in np.unique(seen.labels[seen.labels != label]):
                counts[MEANINGS[int(other)]] += 1
    return {name: count for name, count in counts.items() if count}


def measured(certifier: Certifier, crops: np.ndarray) -> dict[str, float]:
    """Milliseconds of processor time of one certificate of one crop, one thread: smallest and median over crops."""
    certifier.certify(crops[0])
    times = []
    for crop in crops:
        before = time.process_time()
        certifier.certify(crop)
        times.append(1e3 * (time.process_time() - before))
    return {"min_ms": round(min(times), 2), "median_ms": round(float(np.median(times)), 2)}


def recovery_rates(certifier: Certifier, crops: np.ndarray, wanted: np.ndarray) -> dict[str, Any]:
    """Share of crops whose label double masking gives back for certain, all and by meaning."""
    sure = np.empty(len(crops), bool)
    passes = np.empty(len(crops))
    for index, crop in enumerate(crops):
        certificate = certifier.certify_recovery(crop)
        sure[index] = certificate.verdict == Verdict.CERTIFIED and certificate.label == wanted[index]
        passes[index] = certificate.passes
    meanings = {
        word: {"count": int((wanted == label).sum()), "certified": share(sure[wanted == label])}
        for label, word in enumerate(MEANINGS)
    }
    return {
        "count": len(crops), "certified": share(sure), "passes": round(float(passes.mean()), 1), "meanings": meanings,
    }


def share(values: np.ndarray) -> float | None:
    """Mean to four places, or None of nothing."""
    return round(float(values.mean()), 4) if len(values) else None


def one_mask(classify: Any, patch: int, counts: Pair, size: int, margin: float) -> OneMask:
    """Minority-Reports-style detection: windows on the pixels of a crop."""
    covering = pixel_windows((size, size), (patch, patch), counts)
    return OneMask(classify, covering, fill=FILL, margin=margin)


def double_mask(classify: Any, patch: int, counts: Pair, size: int, margin: float) -> DoubleMask:
    """PatchCleanser's double masking on the pixels of a crop."""
    covering = pixel_windows((size, size), (patch, patch), counts)
    return DoubleMask(classify, covering, fill=FILL, margin=margin)


def judged(
    certifiers: Mapping[str, Certifier], crops: np.ndarray, wanted: np.ndarray, margin: float
) -> dict[str, Any]:
    """Tables of several methods over the same crops."""
    result: dict[str, Any] = {}
    for name, certifier in certifiers.items():
        found = certifier.predict(crops)
        assert all(seen is not None for seen in found)  # noqa: S101 - crops are finite and of the right size
        usable = [seen for seen in found if seen is not None]
        settings = {f"{value:g}": confidences(value, value) for value in CONFIDENCES}
        settings["by hazard"] = confidences(0.0, 0.9)
        result[name] = {
            "windows": len(certifier.covering),
            "window_px": _window_px(certifier),
            "confidences": {key: rates(usable, wanted, least, margin) for key, least in settings.items()},
            "turned": {word: lost_to(usable, wanted, word) for word in MEANINGS},
            "time": measured(certifier, crops[:: max(1, len(crops) // 40)]),
        }
    return result


def _window_px(certifier: Certifier) -> list[int]:
    """Height and width of a window in pixels of the crop."""
    covering = certifier.covering
    y0, x0, y1, x1 = (int(value) for value in covering.windows[0])
    scale = covering.size[0] // covering.cells[0]
    return [scale * (y1 - y0), scale * (x1 - x0)]
