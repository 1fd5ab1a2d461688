"""Makes the stored crops of a self-test from a drive: a sign that is certified, and a patch on it that is noticed.

    python -m l4edge_pipeline.safety.self_test_making models/sign_classifier_certified examples/demo_drive

The patch is searched for at random, without gradients: squares of one colour, of noise and of other signs, then small
changes to the best one. What is asked for is what the monitor must notice: windows that disagree with confidence.
"""

import argparse
from pathlib import Path
from typing import Iterator, List, Optional, Sequence, Tuple

import cv2
import numpy as np

from l4edge_compression.defense.verdicts import Certificate, Verdict
from l4edge_perception.camera.classifier import READABLE, crop
from l4edge_perception.errors import InputError
from l4edge_perception.packages import load_package
from l4edge_perception.recordings.events import FrameEvent, GroundTruthEvent
from l4edge_perception.recordings.reader import open_recording
from l4edge_pipeline.safety.assembly import PackageConfig
from l4edge_pipeline.safety.escalation import CRITICAL_MEANINGS, OperatingPoints
from l4edge_pipeline.safety.self_test import FILE, SelfTest, save_self_test
from l4edge_pipeline.safety.signs import SignCertifier, load_sign_certifier

EASY_CONFIDENCE = 0.6
"""A disagreement and an agreement as confident as that survive other machines' arithmetic."""


def drive_crops(recording: Path, signs: SignCertifier, least_px: float = 24.0) -> List[np.ndarray]:
    """Crops of the signs and lights of a drive with ground truth, those of at least that height, whole in the picture.

    Raises:
        InputError: the recording cannot be read.
    """
    crops: List[np.ndarray] = []
    pixels: Optional[np.ndarray] = None
    stamp_ns = 0
    for event in open_recording(recording).events():
        if isinstance(event, FrameEvent):
            pixels, stamp_ns = event.decode(), event.stamp_ns
        elif isinstance(event, GroundTruthEvent) and pixels is not None and event.stamp_ns == stamp_ns:
            truth = event.truth
            for box, kind, visible in zip(truth.boxes, truth.class_ids, truth.visibilities):
                left, top, right, bottom = signs.geometry.square(box)
                inside = left >= 0 and top >= 0 and right <= pixels.shape[1] and bottom <= pixels.shape[0]
                if kind < len(READABLE) and READABLE[kind] and box[3] - box[1] >= least_px and visible > 0.9 and inside:
                    crops.append(crop(pixels, box[None], signs.geometry.size, signs.geometry.enlargement)[0])
    return crops


def make_self_test(signs: SignCertifier, crops: Sequence[np.ndarray], seed: int = 0, tries: int = 400) -> SelfTest:
    """Search for a pair of crops.

    Args:
        signs: what is to be tested.
        crops: (H, W, 3) uint8 each.
        seed: of the search.
        tries: patches looked at for each of the most promising crops.

    Raises:
        InputError: no crop is certified with confidence, or no patch that is noticed was found.
    """
    chance = np.random.default_rng(seed)
    certified = [(certificate, image) for image, certificate in _certificates(signs, crops)
                 if certificate.verdict == Verdict.CERTIFIED and certificate.least_confidence > EASY_CONFIDENCE]
    if not certified:
        raise InputError(f"none of {len(crops)} crops is certified with confidence above {EASY_CONFIDENCE}")
    certified.sort(key=lambda pair: pair[0].least_confidence)
    # What is dangerous to miss is the better test; it is also the harder one to find a patch for.
    critical = [pair for pair in certified if signs.word(pair[0].label) in CRITICAL_MEANINGS]
    rest = [pair for pair in certified if signs.word(pair[0].label) not in CRITICAL_MEANINGS]
    for _, image in critical[:6] + rest[:4]:
        attacked = _search(signs, image, [other for _, other in certified], chance, tries)
        if attacked is not None:
            return SelfTest(image, attacked)
    raise InputError(f"no patch that raises an alarm in {tries} tries; allow more")


def _certificates(signs: SignCertifier, crops: Sequence[np.ndarray]) -> Iterator[Tuple[np.ndarray, Certificate]]:
    for image in crops:
        yield image, signs.crop_certificate(image, _always, escalate=False)


def _search(
    signs: SignCertifier, image: np.ndarray, others: Sequence[np.ndarray], chance: np.random.Generator, tries: int
) -> Optional[np.ndarray]:
    height, width = signs.patch.height_px, signs.patch.width_px
    best, best_score = None, -np.inf
    place = (0, 0)
    patch = np.zeros((height, width, 3), np.uint8)
    for attempt in range(tries):
        if best is None or attempt < tries // 2:
            candidate_place = (int(chance.integers(0, image.shape[0] - height + 1)),
                               int(chance.integers(0, image.shape[1] - width + 1)))
            candidate = _fresh_patch((height, width), others, chance)
        else:
            candidate_place = place
            candidate = patch.copy()
            rows, columns = sorted(chance.integers(0, height + 1, 2)), sorted(chance.integers(0, width + 1, 2))
            candidate[rows[0] : rows[1], columns[0] : columns[1]] = chance.integers(0, 256, 3)
        attacked = image.copy()
        y, x = candidate_place
        attacked[y : y + height, x : x + width] = candidate
        certificate = signs.crop_certificate(attacked, _always, escalate=False)
        loudest = max((window.confidence for window in certificate.disagreeing), default=0.0)
        if certificate.verdict == Verdict.ALARM and loudest > EASY_CONFIDENCE:
            return attacked
        score = loudest - certificate.least_confidence
        if score > best_score:
            best, best_score, place, patch = attacked, score, candidate_place, candidate
    return None


def _fresh_patch(
    size: Tuple[int, int], others: Sequence[np.ndarray], chance: np.random.Generator
) -> np.ndarray:
    kind = chance.integers(3)
    if kind == 0:
        return np.broadcast_to(chance.integers(0, 2, 3) * 255, (*size, 3)).astype(np.uint8)
    if kind == 1:
        return chance.integers(0, 256, (*size, 3), dtype=np.uint8)
    other = others[int(chance.integers(len(others)))]
    return np.asarray(cv2.resize(other, (size[1], size[0]), interpolation=cv2.INTER_AREA), np.uint8)


def _always() -> bool:
    return True


def main() -> None:
    """Write the stored crops beside the package's manifest."""
    parser = argparse.ArgumentParser(description="Make the stored crops of the safety monitor's self-test.")
    parser.add_argument("package", type=Path, help="folder of a certified package")
    parser.add_argument("recording", type=Path, help="drive with ground truth")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tries", type=int, default=400)
    given = parser.parse_args()
    points = OperatingPoints(PackageConfig.critical_threshold, PackageConfig.other_threshold)
    signs = load_sign_certifier(given.package, load_package(given.package), points)
    crops = drive_crops(given.recording, signs)
    save_self_test(given.package / FILE, make_self_test(signs, crops, given.seed, given.tries))
    print(f"{given.package / FILE}: one of {len(crops)} crops, clean and attacked")


if __name__ == "__main__":
    main()
