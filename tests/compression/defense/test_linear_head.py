"""Window sums give what passes through the head would give."""

import numpy as np
import pytest

from l4edge_compression.defense.linear_head import LinearHead
from l4edge_compression.defense.scalecert import ScaleCert, ScaleCertSettings
from l4edge_perception.errors import InputError

RANDOM = np.random.default_rng(0)
WEIGHT = RANDOM.normal(size=(5, 6))
MIX = RANDOM.normal(size=(6, 3)).astype(np.float32)


def settings(rule, keep):
    return ScaleCertSettings((16, 16), (3, 3), (3, 3), (1, 1), (2, 2), (0, 0), (8, 8), rule, keep, margin=1e-6)


def stem(images):
    return np.maximum(np.einsum("byxc,oc->boyx", images[:, ::2, ::2].astype(np.float32) / 64 - 2, MIX), 0)


def pictures(count):
    """Large patches of colour: hiding one of them may turn the label."""
    return RANDOM.integers(0, 256, (count, 4, 4, 3)).astype(np.uint8).repeat(4, axis=1).repeat(4, axis=2)


# No class is preferred.
BIAS = -(stem(pictures(100)).mean(axis=(0, 2, 3)) @ WEIGHT.T)


def head(features):
    return features.mean(axis=(2, 3), dtype=np.float64) @ WEIGHT.T + BIAS


@pytest.mark.parametrize(("rule", "keep"), [("threshold", 0.0), ("threshold", 6.0), ("top_k", 60)])
def test_certificates_are_those_of_passes(rule, keep):
    images = pictures(30)
    cheap, dear = LinearHead(stem, WEIGHT, BIAS, settings(rule, keep)), ScaleCert(stem, head, settings(rule, keep))
    verdicts = set()
    expected = dear.certify_batch(images)
    for index, one in enumerate(cheap.certify_batch(images)):
        other = expected[index]
        assert (one.verdict, one.reason, one.label, one.disagreeing[:1] == ()) == (
            other.verdict, other.reason, other.label, other.disagreeing[:1] == ()
        )
        assert one.margin == pytest.approx(other.margin, abs=1e-5)
        assert (one.passes, one.passes_required) == (1, 1)
        verdicts.add(one.verdict)
    assert len(verdicts) == 2
    for image in images[:10]:
        one, other = cheap.certify_recovery(image), dear.certify_recovery(image)
        assert (one.verdict, one.label, one.passes) == (other.verdict, other.label, 1)
        assert cheap.recover(image).label == dear.recover(image).label


def test_weights_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="linear head"):
        LinearHead(stem, WEIGHT, BIAS[:4], settings("threshold", 0.0))
