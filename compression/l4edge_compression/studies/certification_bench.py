"""What ``l4edge bench certification`` measures: covering sets, the theorem under attack, and the table."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from l4edge_compression.defense.attacks.adaptive import AdaptiveAttack
from l4edge_compression.defense.attacks.fuzz import Adaptive, Outcome, Tally, certified_images, checked, fuzz
from l4edge_compression.defense.attacks.stress import dots, larger_patch, several_patches
from l4edge_compression.defense.certifier import Certifier
from l4edge_compression.defense.packages import load_certified
from l4edge_compression.defense.scalecert import ScaleCert
from l4edge_compression.defense.unsound_control import NaiveOrder
from l4edge_compression.defense.windows import axis_windows, check_settings
from l4edge_compression.studies.certified_engines import float_engines, int8_engines
from l4edge_compression.studies.certified_methods import Methods
from l4edge_compression.studies.certified_package import pixels, shuffled
from l4edge_compression.studies.certified_pictures import scenes, sign_crops
from l4edge_compression.studies.certified_table import FILL, choose_trust
from l4edge_compression.studies.certified_table import measure as measure_table
from l4edge_compression.studies.pictures import Pictures, read_pictures
from l4edge_perception.training.processor import without_matrix_tiles

Say = Callable[[str], None]

GREY = (128, 128, 128)
CONTROL_IMAGES = 40
CONTROL_RANDOM = 6
CONTROL_ADAPTIVE = tuple(
    Adaptive(f"eviction, {crowding:g}", 0, AdaptiveAttack(12, 4, crowding=crowding, seed=seed), towards_nothing=True)
    for seed, crowding in ((2, 1.0), (3, 0.1))
)
STRESSED = 200
COMPARED = 48
CALIBRATION = 192
"""Pictures that int8 takes its scales and margins from: of the training set where there is one."""


@dataclass(frozen=True)
class Budget:
    """How much is measured.

    Attributes:
        settings: random covering sets.
        images: certified images attacked per network.
        random_attacks: patches per image without knowledge of the network, besides the adaptive ones.
        table: pictures for the table; 0 for none.
        recovered: of them, for the columns of recovery.
        tuning: pictures on which the table's trust is chosen.
        seed: of everything random.
    """

    settings: int = 20_000
    images: int = 500
    random_attacks: int = 17
    table: int = 100
    recovered: int = 20
    tuning: int = 40
    seed: int = 0


def stride_too_long(length: int, patch: int, count: int) -> np.ndarray:
    """A mutant of the window rule: right windows, one cell too far apart."""
    stride = math.ceil((length - patch + 1) / count)
    side = min(length, patch + stride - 1)
    starts = sorted({min(start, length - side) for start in range(0, length, stride + 1)})[:count]
    return np.array([(start, start + side) for start in starts])


def window_too_short(length: int, patch: int, count: int) -> np.ndarray:
    """A mutant of the window rule: right places, one cell too short."""
    return axis_windows(length, patch, count) - np.array([0, 1])


def covering(budget: Budget) -> dict[str, Any]:
    """Random settings under the rule, and fewer of them under mutants, which must not pass."""
    found = check_settings(budget.settings, budget.seed)
    mutants = {
        "stride + 1": check_settings(max(1, budget.settings // 20), budget.seed, stride_too_long).violations,
        "mask - 1": check_settings(max(1, budget.settings // 20), budget.seed, window_too_short).violations,
    }
    return {
        "covering_settings": found.settings, "covering_violations": found.violations,
        "covering_example": found.example, "covering_mutants": mutants,
    }


def measure(
    package: Path,
    signs: Path,
    recording: Path,
    data: Path | None = None,
    cache: Path | None = None,
    budget: Budget | None = None,
    say: Say = lambda _: None,
) -> dict[str, Any]:
    """Everything that the command prints.

    Args:
        package: certified network for pictures of 32 x 32 pixels.
        signs: certified sign classifier.
        recording: a simulated drive, for crops of signs.
        data: CIFAR-10; without it the first network is attacked on made-up scenes, and there is no table.
        cache: folder that keeps the decoded pictures.
        budget: how much.
        say: told what is going on.

    Raises:
        InputError: a package, the recording or the data cannot be used.
    """
    without_matrix_tiles()
    torch.set_num_threads(1)
    budget = budget or Budget()
    begin = time.monotonic()
    methods, reader = Methods(load_certified(package), FILL), Methods(load_certified(signs), GREY)
    read = None if data is None else read_pictures(data, cache)
    train, test = (None if read is None else shuffled(read[part]) for part in ("train", "test"))
    images = scenes(4 * budget.images, 32, budget.seed) if test is None else pixels(test, 4 * budget.images)
    say("covering sets")
    results = covering(budget)
    crops = sign_crops(recording, 3 * budget.images, reader.settings.input_size[0], seed=budget.seed)
    name = "scenes" if test is None else "CIFAR-10"
    networks = {
        name: _attacked(methods, images, budget, lambda text: say(f"{name}: {text}")),
        "signs": _attacked(reader, crops, budget, lambda text: say(f"signs: {text}")),
    }
    results["attacks"] = sum(each["attacks"] for each in networks.values())
    results["silent_wrong_labels"] = sum(each["silent"] for each in networks.values())
    results["networks"] = networks
    say("the naive order")
    results.update(naive_order(methods, images, budget))
    say("lossless skip, engines")
    results["skip"] = lossless_skip(methods, images[:COMPARED])
    results["engines"] = {
        name: float_engines(methods, images[:COMPARED]), "signs": float_engines(reader, crops[:COMPARED])
    }
    say("engines, int8")
    others = scenes(CALIBRATION, 32, budget.seed + 1) if train is None else pixels(train, CALIBRATION)
    other_crops = sign_crops(recording, CALIBRATION, reader.settings.input_size[0], seed=budget.seed + 1)
    results["engines_int8"] = {
        name: int8_engines(methods, images[:COMPARED], others),
        "signs": int8_engines(reader, crops[:COMPARED], other_crops),
    }
    say("outside the threat model")
    results["outside"] = {name: outside(methods.scalecert(), images), "signs": outside(reader.scalecert(), crops)}
    results["table"] = None if test is None or not budget.table else _table(methods, test, budget, say)
    results["seconds"] = time.monotonic() - begin
    return results


def _attacked(methods: Methods, images: np.ndarray, budget: Budget, say: Say) -> dict[str, Any]:
    outcome = fuzz(
        methods.scalecert(), methods.feature_views(), images, budget.images, budget.random_attacks, seed=budget.seed,
        say=say,
    )
    return {**_summary(outcome), "package": methods.package.hash, "patch": list(methods.settings.patch)}


def _summary(outcome: Outcome) -> dict[str, Any]:
    kinds = {name: asdict(tally) for name, tally in outcome.kinds.items()}
    return {"images": outcome.images, "certified": outcome.certified, **asdict(outcome.total), "kinds": kinds}


def naive_order(methods: Methods, images: np.ndarray, budget: Budget) -> dict[str, Any]:
    """The same test on the wrong order, select then hide, and on the right one under the same rule.

    With a threshold both orders are the same; the control uses top-k with as many cells as a patch fills (its shadow
    less the rim), so that a bright patch can drive out all others.
    """
    covered = methods.scalecert().covering
    sides = (int((each[:, 1] - each[:, 0]).max()) for each in (covered.shadows_y, covered.shadows_x))
    shadow = math.prod(max(1, side - 1) for side in sides)
    settings = replace(methods.settings, rule="top_k", keep=float(shadow))
    found = {}
    kinds: dict[str, type[ScaleCert]] = {"naive": NaiveOrder, "sound": ScaleCert}
    for name, kind in kinds.items():
        outcome = fuzz(
            kind(methods.stem, methods.head, settings),
            methods.feature_views(settings, select_first=name == "naive"),
            images, min(CONTROL_IMAGES, budget.images), CONTROL_RANDOM, CONTROL_ADAPTIVE, budget.seed,
        )
        found[name] = {**_summary(outcome), "kept_cells": shadow}
    return {
        "naive_order_caught": found["naive"]["silent"] > 0,
        "naive_order": found["naive"],
        "right_order": found["sound"],
    }


def lossless_skip(methods: Methods, images: np.ndarray) -> dict[str, Any]:
    """Decisions with and without sharing of equal views, on pictures, on black, on one colour and on stripes."""
    plain = np.zeros_like(images[:3])
    plain[1] = 127
    plain[2, ::2] = 255
    images = np.concatenate([images, plain])
    shared, alone = (methods.scalecert(skip=skip).certify_batch(images) for skip in (True, False))
    decided = [
        [(each.verdict, each.reason, each.label, each.disagreeing) for each in certificates]
        for certificates in (shared, alone)
    ]
    return {
        "images": len(images), "different": sum(one != other for one, other in zip(*decided, strict=True)),
        "passes": float(np.mean([each.passes for each in shared])),
        "passes_without": float(np.mean([each.passes for each in alone])),
    }


def outside(certifier: Certifier, images: np.ndarray, wanted: int = STRESSED) -> dict[str, Any]:
    """Silent failures on certified images under attacks that no certificate speaks of."""
    clean, labels, _ = certified_images(certifier, images, wanted)
    if not len(clean):
        return {}
    patch = certifier.covering.patch
    attacks = {
        "two patches": several_patches(clean, patch, 1),
        "patch of twice the side": larger_patch(clean, patch, 2),
        "dots on 12 %": dots(clean, 3),
    }
    found: dict[str, Tally] = {name: checked(certifier, patched, labels) for name, patched in attacks.items()}
    return {name: asdict(tally) for name, tally in found.items()}


def _table(methods: Methods, test: Pictures, budget: Budget, say: Say) -> dict[str, Any]:
    begin = len(test.labels) - budget.tuning
    chosen = choose_trust(methods, pixels(test, budget.tuning, begin), test.labels[begin:].numpy())
    images, labels = pixels(test, budget.table), test.labels[: budget.table].numpy()
    return measure_table(methods, images, labels, budget.recovered, chosen, say)
