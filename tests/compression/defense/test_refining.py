"""Windows from coarse to fine: as sound as the finest, never more passes than all levels together."""

import numpy as np
import pytest

from l4edge_compression.defense.masking import OneMask
from l4edge_compression.defense.refining import CoarseToFine
from l4edge_compression.defense.verdicts import Verdict
from l4edge_compression.defense.windows import pixel_windows
from l4edge_perception.errors import InputError

SIZE, PATCH = (8, 8), (2, 2)


def network(seed, sharpness=6.0):
    """A random perceptron on pictures of 8 x 8 grey levels, three classes."""
    generator = np.random.default_rng(seed)
    first, second = generator.normal(size=(64, 24)), generator.normal(size=(24, 3))

    def classify(images):
        return sharpness * np.maximum(images.reshape(len(images), -1) / 255 @ first, 0) @ second / 24

    return classify


def refined(classify, trust=0.7, counts=((1, 2), (2, 2)), finest=(3, 3)):
    coarser = [pixel_windows(SIZE, PATCH, count) for count in counts]
    return CoarseToFine(OneMask(classify, pixel_windows(SIZE, PATCH, finest)), coarser, trust)


def pictures(count, seed=0):
    """A bright side and a dark one, so that many are certified."""
    generator = np.random.default_rng(seed)
    ramps = np.linspace(0, 255, 8)[None, None, :, None] * generator.random((count, 8, 1, 1))
    return np.clip(ramps + generator.normal(0, 20, (count, 8, 8, 1)), 0, 255).astype(np.uint8)


def test_no_patch_changes_a_certified_label_silently():
    generator = np.random.default_rng(1)
    attacks = changed = 0
    for seed in range(12):
        certifier = refined(network(seed), trust=0.5 + 0.04 * seed)
        for image in pictures(6, seed):
            clean = certifier.certify(image)
            if not clean.certified:
                continue
            for _ in range(40):
                patched = image.copy()
                top, left = generator.integers(0, 7, 2)
                patched[top : top + 2, left : left + 2] = 255 * generator.integers(0, 2, (2, 2, 1))
                found = certifier.certify(patched)
                attacks += 1
                changed += found.label != clean.label
                assert not found.silently_wrong(clean.label)
    assert attacks > 500
    assert changed > 10


def test_confident_coarse_windows_save_passes_and_doubt_refines():
    easy = refined(lambda images: np.stack([np.full(len(images), 9.0), np.zeros(len(images))], 1))
    found = easy.certify(pictures(1)[0])
    assert (found.verdict, found.covered, found.passes) == (Verdict.CERTIFIED, 1.0, 3)
    doubtful = refined(lambda images: np.stack([np.full(len(images), 0.2), np.zeros(len(images))], 1))
    found = doubtful.certify(pictures(1)[0])
    # One window of the second level is also in the first: equal views are predicted once.
    assert (found.verdict, found.covered) == (Verdict.CERTIFIED, 1.0)
    assert found.passes > 10
    assert doubtful.certify_batch(pictures(2))[1].certified


def test_without_trust_the_finest_windows_decide():
    for seed in range(6):
        classify = network(seed, sharpness=2.0)
        never, finest = refined(classify, trust=0.999999), OneMask(classify, pixel_windows(SIZE, PATCH, (3, 3)))
        for image in pictures(6, seed):
            one, other = never.certify(image), finest.certify(image)
            assert (one.verdict, one.label) == (other.verdict, other.label)


def test_what_was_not_covered_in_time_is_not_certified():
    certifier = refined(network(0, sharpness=0.1))
    whole = certifier.certify(pictures(1)[0])
    left = [3]

    def more_time():
        left[0] -= 1
        return left[0] > 0

    certifier._certifier.batch = 1
    cut = certifier.certify(pictures(1)[0], more_time)
    assert not cut.certified
    assert cut.covered < 1 == whole.covered
    assert certifier.certify(pictures(1)[0], lambda: False).reason == "deadline"
    assert certifier.certify(np.zeros((4, 4, 1), np.uint8)).reason == "size"


def test_what_does_not_fit_is_refused():
    classify = network(0)
    with pytest.raises(InputError, match="trust"):
        refined(classify, trust=1.0)
    with pytest.raises(InputError, match="confidence"):
        CoarseToFine(OneMask(classify, pixel_windows(SIZE, PATCH, (3, 3)), confidence=0.5), [], 0.5)
    with pytest.raises(InputError, match="another patch"):
        CoarseToFine(
            OneMask(classify, pixel_windows(SIZE, PATCH, (3, 3))), [pixel_windows(SIZE, (3, 3), (2, 2))], 0.5
        )
