"""Do torch and onnxruntime decide alike, in batches of one and of many, in float and in static int8?"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from l4edge_compression.defense.certifier import Certifier
from l4edge_compression.defense.numerics import (
    largest_difference,
    margin_for,
    saliency_difference,
    saliency_margin_for,
)
from l4edge_compression.defense.packages import check_stem
from l4edge_compression.defense.scalecert import ScaleCert, ScaleCertSettings
from l4edge_compression.defense.sessions import graph_runner
from l4edge_compression.defense.verdicts import Certificate
from l4edge_compression.studies.certified_methods import Methods, Run
from l4edge_compression.studies.certified_package import torch_runner
from l4edge_compression.studies.integer_network import IntegerNetwork
from l4edge_compression.studies.static_int8 import quantized

MANY = 32
CALIBRATED = 64
"""Of the other pictures, the first so many give the scales; the rest give the margins."""

Engine = tuple[Run, Run]
"""Stem and head."""


def float_engines(methods: Methods, images: np.ndarray) -> dict[str, Any]:
    """Decisions of the float network in torch and in onnxruntime, alone and in batches.

    Args:
        methods: of the certified package.
        images: (N, H, W, 3) uint8.

    Returns:
        ``images``; ``different``: who differ and are not uncertified for a margin; ``uncertified_by_margin``.
    """
    engines = ((methods.stem, methods.head), _in_torch(methods))
    return compared(_decisions(engines, methods.settings, images))


def int8_engines(methods: Methods, images: np.ndarray, others: np.ndarray) -> dict[str, Any]:
    """The same for stem and head quantized statically, with margins measured anew: int8 is another network.

    Args:
        methods: of the certified package.
        images: (N, H, W, 3) uint8 whose decisions are compared.
        others: (M, H, W, 3) uint8, other pictures: for the scales of the quantizers, and for the margins.

    Returns:
        What :func:`float_engines` returns, and: ``differences`` of logits and saliencies between the engines on other
        pictures; ``margin`` and ``saliency_margin``, which follow; ``certified`` in int8 and ``certified_float``;
        ``same_as_float``: pictures with the float network's verdict and label.

    Raises:
        InputError: the quantized stem is not local any more, or there are no other pictures.
    """
    scales, rest = others[:CALIBRATED], others[CALIBRATED:]
    stem, head = (methods.package.read(part) for part in ("stem", "head"))
    stem, head = quantized(stem, scales), quantized(head, methods.selected(methods.stem(scales)))
    check_stem(stem, methods.settings)
    sessions = graph_runner(stem, 1, "stem in int8"), graph_runner(head, 1, "head in int8")
    torches = torch_runner(stem, IntegerNetwork), torch_runner(head, IntegerNetwork)
    features, heads = _with_hidden_windows(methods, sessions[0](rest)), (sessions[1], torches[1])
    differences = {
        "logits": max(largest_difference(sessions[1], head_, features, (1, MANY)) for head_ in heads),
        "saliency": saliency_difference(torches[0], sessions[0], rest),
    }
    settings = replace(
        methods.settings,
        margin=max(methods.settings.margin, margin_for(differences["logits"])),
        saliency_margin=saliency_margin_for(differences["saliency"]),
    )
    decided = _decisions((sessions, torches), settings, images)
    of_float = methods.scalecert().certify_batch(images)
    return {
        **compared(decided), "differences": differences, "margin": settings.margin,
        "saliency_margin": settings.saliency_margin,
        "certified": sum(each.certified for each in decided[0]),
        "certified_float": sum(each.certified for each in of_float),
        "same_as_float": sum(_said(one) == _said(other) for one, other in zip(decided[0], of_float, strict=True)),
    }


def compared(decisions: Sequence[Sequence[Certificate]]) -> dict[str, int]:
    """How many pictures the engines decide otherwise, those apart that a margin leaves uncertified.

    Args:
        decisions: per engine, the certificates of the same pictures.
    """
    different = uncertified = 0
    for each in zip(*decisions, strict=True):
        unsure = any(one.reason == "margin" for one in each)
        uncertified += unsure
        different += not unsure and len({_said(one) for one in each}) > 1
    return {"images": len(decisions[0]), "different": different, "uncertified_by_margin": uncertified}


def _said(certificate: Certificate) -> tuple[Any, int]:
    return certificate.verdict, certificate.label


def _in_torch(methods: Methods) -> Engine:
    stem, head = (torch_runner(methods.package.read(part)) for part in ("stem", "head"))
    return stem, head


def _decisions(
    engines: Sequence[Engine], settings: ScaleCertSettings, images: np.ndarray
) -> list[list[Certificate]]:
    """Per engine twice the certificates of all pictures: in batches, and one by one with one window at a time."""
    found = []
    for stem, head in engines:
        many: Certifier = ScaleCert(stem, head, settings, batch=MANY)
        one: Certifier = ScaleCert(stem, head, settings, batch=1)
        found += [list(many.certify_batch(images)), [one.certify(image) for image in images]]
    return found


def _with_hidden_windows(methods: Methods, features: np.ndarray) -> np.ndarray:
    """Features as heads meet them: each picture's selection with nothing hidden, and with one window hidden."""
    windows, hidden = methods.settings.covering().windows, features.copy()
    for index, each in enumerate(hidden):
        top, left, bottom, right = windows[index % len(windows)]
        each[:, top:bottom, left:right] = 0.0
    return np.concatenate([methods.selected(features), methods.selected(hidden)])
