"""The theorem put to the test: no certified image may be changed silently by any patch of the certified size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from l4edge_compression.defense.attacks.adaptive import (
    AdaptiveAttack,
    Views,
    all_logits,
    attacked,
    blank_label,
    weak_spots,
)
from l4edge_compression.defense.attacks.patches import random_patched
from l4edge_compression.defense.certifier import Certifier
from l4edge_compression.defense.verdicts import Verdict

Say = Callable[[str], None]


@dataclass
class Tally:
    """What came out of attacks of one kind.

    Attributes:
        attacks: patched copies of certified images.
        changed: of these, the undefended network gave another label.
        alarms: of the changed ones, the certificate raised an alarm.
        silent: of the changed ones, another label was handed out without an alarm. The theorem says: none.
    """

    attacks: int = 0
    changed: int = 0
    alarms: int = 0
    silent: int = 0

    def add(self, other: Tally) -> None:
        """Count another tally in."""
        self.attacks += other.attacks
        self.changed += other.changed
        self.alarms += other.alarms
        self.silent += other.silent


@dataclass
class Outcome:
    """Of one run of :func:`fuzz`.

    Attributes:
        images: clean images looked at to find the certified ones.
        certified: certified images that were attacked.
        kinds: tallies by the attack's name.
    """

    images: int
    certified: int
    kinds: dict[str, Tally] = field(default_factory=dict)

    @property
    def total(self) -> Tally:
        """Over all kinds."""
        result = Tally()
        for tally in self.kinds.values():
            result.add(tally)
        return result


def certified_images(certifier: Certifier, images: np.ndarray, wanted: int) -> tuple[np.ndarray, np.ndarray, int]:
    """The first certified images, their labels (as certified, right or wrong), and how many were looked at."""
    found: list[int] = []
    labels: list[int] = []
    looked = 0
    for begin in range(0, len(images), 64):
        if len(found) >= wanted:
            break
        part = images[begin : begin + 64]
        for offset, certificate in enumerate(certifier.certify_batch(part)):
            if certificate.certified:
                found.append(begin + offset)
                labels.append(certificate.label)
        looked = begin + len(part)
    return images[found[:wanted]], np.array(labels[:wanted], np.int64), looked


def checked(certifier: Certifier, patched: np.ndarray, labels: np.ndarray) -> Tally:
    """What the certifier says of patched copies of images that it certified with ``labels``.

    A label is handed out for the whole image, so only copies whose whole image changed its label can be silently
    wrong: these are certified anew, the others need no further look.
    """
    changed = np.flatnonzero(certifier.undefended(patched) != labels)
    tally = Tally(attacks=len(patched), changed=len(changed))
    for index, certificate in zip(changed, certifier.certify_batch(patched[changed]), strict=True):
        tally.alarms += certificate.verdict == Verdict.ALARM
        tally.silent += certificate.silently_wrong(int(labels[index]))
    return tally


@dataclass(frozen=True)
class Adaptive:
    """One attack of the fuzz that knows the defence.

    Attributes:
        name: in results.
        rank: of the attacked window, 0 for the one with the smallest lead.
        attack: budget.
        towards_nothing: aims at what the network calls an empty picture, not at the second class of the window.
    """

    name: str
    rank: int
    attack: AdaptiveAttack
    towards_nothing: bool = False


ADAPTIVE = (
    Adaptive("weakest window", 0, AdaptiveAttack()),
    Adaptive("second weakest window", 1, AdaptiveAttack(crowding=0.1, seed=1)),
    Adaptive("eviction", 0, AdaptiveAttack(crowding=1.0, seed=2), towards_nothing=True),
)


def fuzz(
    certifier: Certifier,
    views: Views,
    images: np.ndarray,
    wanted: int = 500,
    random_attacks: int = 17,
    adaptive: tuple[Adaptive, ...] = ADAPTIVE,
    seed: int = 0,
    say: Say = lambda _: None,
) -> Outcome:
    """Attack certified images.

    Args:
        certifier: under test.
        views: the same network as gradients see it.
        images: (N, H, W, 3) uint8, clean.
        wanted: certified images to attack, the first that are found.
        random_attacks: patches per image with contents that need no network.
        adaptive: one optimized patch per image for each.
        seed: of everything random.
        say: told what is going on.
    """
    clean, labels, looked = certified_images(certifier, images, wanted)
    outcome = Outcome(looked, len(clean))
    if not len(clean):
        return outcome
    patch = certifier.covering.patch
    for number in range(random_attacks):
        say(f"random patches, {number + 1} of {random_attacks}")
        patched, names = random_patched(clean, patch, seed * 1000 + number, images)
        kinds = np.array(names)
        for name in sorted(set(names)):
            picked = kinds == name
            outcome.kinds.setdefault(name, Tally()).add(checked(certifier, patched[picked], labels[picked]))
    if adaptive:
        logits, nothing = all_logits(views, clean), blank_label(views, clean)
    for each in adaptive:
        say(f"adaptive patches: {each.name}")
        places, targets = weak_spots(logits, views.covering, seed + each.attack.seed, each.rank)
        if each.towards_nothing:
            targets = np.where(labels == nothing, targets, nothing)
        patched = attacked(views, clean, places, targets, each.attack)
        outcome.kinds.setdefault(each.name, Tally()).add(checked(certifier, patched, labels))
    return outcome
