"""The theorem in miniature on real sessions: certified images never get a silent wrong label."""

import numpy as np
import onnxruntime
import pytest
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from l4edge_compression.defense.numerics import (
    largest_difference,
    margin_for,
    saliency_difference,
    saliency_margin_for,
)
from l4edge_compression.defense.scalecert import ScaleCert, ScaleCertSettings
from l4edge_compression.defense.sessions import graph_runner
from l4edge_compression.defense.unsound_control import NaiveOrder
from l4edge_compression.defense.verdicts import NO_LABEL, Verdict
from l4edge_perception.errors import InputError
from tests.compression.defense.small_networks import (
    blobs,
    keep_most_salient,
    settings_for,
    small_head,
    small_stem,
    to_graph,
    train,
)

SIZE, CLASSES, KEPT = 24, 4, 4
PATCH = (5, 5)


class Network:
    """A trained stem and head, in torch and as sessions."""

    def __init__(self):
        self.stem, self.head = small_stem(), small_head(classes=CLASSES)
        train(self.stem, self.head, keep_most_salient(KEPT), size=SIZE, classes=CLASSES)
        self.stem_graph = to_graph(self.stem, np.zeros((1, SIZE, SIZE, 3), np.uint8))
        self.head_graph = to_graph(self.head, np.zeros((1, 8, 12, 12), np.float32))
        self.run_stem, self.run_head = graph_runner(self.stem_graph), graph_runner(self.head_graph)

    def settings(self, **given):
        return settings_for(self.stem_graph, PATCH, **{"counts": (3, 3), "rule": "top_k", "keep": KEPT, **given})

    def certifier(self, kind=ScaleCert, batch=32, skip=True, **given):
        return kind(self.run_stem, self.run_head, self.settings(**given), batch, skip)

    def torch_stem(self, images):
        with torch.no_grad():
            return self.stem(torch.from_numpy(np.ascontiguousarray(images))).numpy()

    def torch_head(self, features):
        with torch.no_grad():
            return self.head(torch.from_numpy(np.ascontiguousarray(features))).numpy()


@pytest.fixture(scope="module")
def network():
    return Network()


@pytest.fixture(scope="module")
def images():
    return blobs(48, SIZE, CLASSES, seed=5)


@pytest.fixture(scope="module")
def mixed(network, images):
    """Clean images and patched ones, some of which raise alarms and some of which do not."""
    random = np.random.default_rng(21)
    patched = [attacked(image, random, 6) for image in images[0][:12]]
    return np.concatenate([images[0][:24], *patched])


def attacked(image, random, count):
    """Copies of an image with one patch each: noise, plain colours of the classes, black and white, copied parts."""
    colours = [(220, 40, 40), (40, 220, 40), (40, 40, 220), (220, 220, 40), (255, 0, 0), (0, 255, 0), (0, 0, 255),
               (255, 255, 0), (255, 255, 255), (0, 0, 0)]
    copies = np.repeat(image[None], count, axis=0)
    for index, copy in enumerate(copies):
        y, x = random.integers(0, SIZE - PATCH[0] + 1, 2)
        area = copy[y : y + PATCH[0], x : x + PATCH[1]]
        kind = index % 6
        if kind == 0:
            area[...] = random.integers(0, 256, area.shape)
        elif kind in (1, 3, 5):
            area[...] = colours[random.integers(len(colours))]
        elif kind == 2:
            pair = np.array(colours)[random.integers(len(colours), size=2)]
            area[...] = pair[np.indices(area.shape[:2]).sum(axis=0) % 2]
        else:
            area[...] = 255 * random.integers(0, 2, area.shape)
    return copies


def silent_wrong_labels(certifier, images, attacks, seed):
    """(certified images, silent wrong labels) over ``attacks`` patched copies of each certified image."""
    random = np.random.default_rng(seed)
    certified = wrong = 0
    for image in images[:16]:
        certificate = certifier.certify(image)
        if certificate.certified:
            certified += 1
            found = certifier.certify_batch(attacked(image, random, attacks))
            wrong += sum(other.silently_wrong(certificate.label) for other in found)
    return certified, wrong


@pytest.mark.parametrize(
    "given",
    [{}, {"rule": "threshold", "keep": 0.0}, {"rule": "threshold", "keep": 2.0}, {"confidence": 0.6}],
    ids=["top k", "nothing selected", "threshold", "top k with confidence"],
)
def test_no_silent_wrong_label_on_certified_images(network, images, given):
    certified, wrong = silent_wrong_labels(network.certifier(**given), images[0], 40, seed=11)
    assert certified >= 5
    assert wrong == 0


def test_the_naive_order_is_caught(network, images):
    """The same fuzz must find what selecting before hiding gets wrong."""
    certified, wrong = silent_wrong_labels(network.certifier(NaiveOrder), images[0], 40, seed=11)
    assert certified >= 5
    assert wrong > 0


def test_hidden_windows_neutralize_a_patch_bit_by_bit(network, images):
    certifier = network.certifier()
    random = np.random.default_rng(0)
    covering = certifier.covering
    erased = covering.erased()
    for image in images[0][:8]:
        for other in attacked(image, random, 8):
            difference = np.flatnonzero((other != image).any(axis=(1, 2)))
            columns = np.flatnonzero((other != image).any(axis=(0, 2)))
            if not len(difference):
                continue
            # Windows that hide the whole changed area, by asking which pixels they stand for.
            hiding = [
                index for index in range(len(covering))
                if covering.pixels(index)[1] <= difference[0] and difference[-1] < covering.pixels(index)[3]
                and covering.pixels(index)[0] <= columns[0] and columns[-1] < covering.pixels(index)[2]
            ]
            views = [certifier._open(each[None])[0] for each in (image, other)]
            kept = [each.kept(erased) for each in views]
            assert hiding
            for index in hiding:
                assert (kept[0][index] == kept[1][index]).all()
                assert (views[0].tensor[:, kept[0][index]] == views[1].tensor[:, kept[0][index]]).all()


@pytest.mark.parametrize(("rule", "keep"), [("top_k", KEPT), ("top_k", 3), ("threshold", 2.0), ("threshold", 8.0)])
def test_skipping_changes_no_decision_and_saves_passes(network, images, rule, keep):
    quick = network.certifier(rule=rule, keep=keep)
    slow = network.certifier(rule=rule, keep=keep, skip=False)
    odd = np.stack([np.zeros((SIZE, SIZE, 3)), np.full((SIZE, SIZE, 3), 128), np.full((SIZE, SIZE, 3), 255)])
    everything = np.concatenate([images[0], odd.astype(np.uint8)])
    saved = 0
    for fast, full in zip(quick.certify_batch(everything), slow.certify_batch(everything), strict=True):
        assert (fast.verdict, fast.reason, fast.label, fast.recovered_label) == (
            full.verdict, full.reason, full.label, full.recovered_label
        )
        assert [one.window for one in fast.disagreeing] == [one.window for one in full.disagreeing]
        assert full.passes == len(quick.covering) + 1
        saved += full.passes - fast.passes
    assert saved > 0


def test_skipping_with_ties_and_zeros():
    """Features of few values, whole maps of zeros among them: equal saliencies everywhere."""
    random = np.random.default_rng(0)
    weight = random.normal(size=(2 * 64, 3)).astype(np.float32)
    settings = ScaleCertSettings((8, 8), (2, 2), (3, 3), (1, 1), (1, 1), (0, 0), (8, 8), "top_k", 9, layout="CHW")

    def stem(images):
        return images.astype(np.float32)

    def head(features):
        return np.stack([row.reshape(-1) @ weight for row in features])

    quick, slow = ScaleCert(stem, head, settings, 4), ScaleCert(stem, head, settings, 4, skip=False)
    saved = 0
    for levels in (1, 1, 2, 3):
        active = random.random((20, 1, 8, 8)) < random.random((20, 1, 1, 1))
        maps = random.integers(0, levels + 1, (20, 2, 8, 8)) * active
        maps[0] = 0
        fast, full = quick.certify_batch(maps.astype(np.uint8)), slow.certify_batch(maps.astype(np.uint8))
        for one, other in zip(fast, full, strict=True):
            assert (one.verdict, one.reason, one.label) == (other.verdict, other.reason, other.label)
            assert one.margin == other.margin
        assert fast[0].passes == 1  # nothing is kept of an empty map: every window is the whole image
        saved += sum(other.passes - one.passes for one, other in zip(fast, full, strict=True))
    assert saved > 0


class Countdown:
    """More time for so many questions."""

    def __init__(self, calls):
        self.left = calls

    def __call__(self):
        self.left -= 1
        return self.left >= 0


def test_nothing_is_certified_that_was_not_covered(network, images):
    certifier = network.certifier(batch=2)
    image = next(image for image in images[0] if certifier.certify(image).certified)
    whole = certifier.certify(image)
    covered = []
    for calls in range(8):
        found = certifier.certify(image, Countdown(calls))
        covered.append(found.covered)
        assert found.certified == (found.passes == whole.passes)
        assert found.certified == (found.covered == 1.0)
        assert found.certified or found.reason == "deadline"
    assert covered[0] == 0
    assert covered == sorted(covered)
    assert len(set(covered)) > 3
    assert covered[-1] == 1.0


def test_an_alarm_does_not_wait_for_the_rest(network, mixed):
    certifier = network.certifier(batch=1)
    alarms = [image for image in mixed if certifier.certify(image).verdict == Verdict.ALARM]
    early = [certifier.certify(image, Countdown(calls)) for image in alarms[:4] for calls in range(1, 11)]
    assert any(found.verdict == Verdict.ALARM and found.covered < 1 for found in early)
    for found in early:
        assert found.verdict == Verdict.ALARM or found.reason == "deadline"


def test_confidence_is_strict_and_margins_count(network, images):
    certifier = network.certifier()
    seen = [found for found in certifier.predict(images[0]) if certifier.decide(found).certified]
    lowest = min(seen, key=lambda found: found.confidences.min())
    confidence = float(lowest.confidences.min())
    assert certifier.decide(lowest, confidence=confidence).reason == "low_confidence"
    assert certifier.decide(lowest, confidence=confidence - 1e-9).reason == "margin"
    assert certifier.decide(lowest, confidence=confidence - 1e-3).certified
    margin = float(lowest.margins.min())
    assert certifier.decide(lowest, margin=margin).certified
    assert certifier.decide(lowest, margin=margin * 1.0001).reason == "margin"


def test_a_selection_at_its_boundary_is_no_certificate(network, images):
    assert any(found.certified for found in network.certifier().certify_batch(images[0]))
    found = network.certifier(saliency_margin=1e3).certify_batch(images[0])
    assert not any(certificate.certified for certificate in found)
    assert "margin" in {certificate.reason for certificate in found}


def test_disagreement_without_confidence_is_no_alarm(network, mixed):
    certifier = network.certifier()
    seen = next(found for found in certifier.predict(mixed) if certifier.decide(found).verdict == Verdict.ALARM)
    found = certifier.decide(seen, confidence=0.9999999)
    assert (found.verdict, found.reason) == (Verdict.UNCERTIFIED, "low_confidence")
    assert found.disagreeing


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda image: image[:-1], "size"),
        (lambda image: np.where(image > 250, np.nan, image.astype(np.float32)) * np.nan, "input"),
        (lambda image: image.astype(np.float32) * np.inf, "input"),
        (lambda image: image.astype(bool), "input"),
        (lambda image: image[..., 0], "input"),
        (lambda image: None, "input"),
    ],
    ids=["size", "not a number", "infinite", "type", "axes", "nothing"],
)
def test_what_cannot_be_looked_at_is_uncertified(network, images, change, reason):
    certifier = network.certifier()
    with np.errstate(invalid="ignore"):
        image = change(images[0][0])
    found = certifier.certify(image)
    assert (found.verdict, found.reason, found.label, found.covered) == (Verdict.UNCERTIFIED, reason, NO_LABEL, 0.0)
    assert not certifier.recover(image).finished
    assert certifier.certify_recovery(image).reason == reason


@pytest.mark.parametrize("where", ["stem", "head"])
def test_numbers_that_are_none_are_uncertified(network, images, where):
    def spoilt(run, spoil):
        def spoiled(tensors):
            found = run(tensors).copy()
            if spoil:
                found.reshape(-1)[-1] = np.nan
            return found

        return spoiled

    certifier = ScaleCert(
        spoilt(network.run_stem, where == "stem"), spoilt(network.run_head, where == "head"), network.settings()
    )
    found = certifier.certify(images[0][0])
    assert (found.verdict, found.reason, found.label) == (Verdict.UNCERTIFIED, "input", NO_LABEL)


def test_batches_of_one_and_of_many_decide_alike(network, mixed):
    one = [network.certifier(batch=1).certify(image) for image in mixed]
    many = network.certifier(batch=256).certify_batch(mixed)
    assert [(found.verdict, found.label) for found in one] == [(found.verdict, found.label) for found in many]
    assert {found.verdict for found in one} >= {Verdict.CERTIFIED, Verdict.ALARM}


def test_engines_decide_alike_or_not_at_all(network, mixed):
    """PyTorch in batches of its own against onnxruntime one by one, with margins measured on other images."""
    others, _ = blobs(32, SIZE, CLASSES, seed=99)
    features = network.run_stem(others)
    given = {
        "margin": margin_for(largest_difference(network.torch_head, network.run_head, features)),
        "saliency_margin": saliency_margin_for(saliency_difference(network.torch_stem, network.run_stem, others)),
    }
    assert given["margin"] < 1e-2
    certifier = ScaleCert(network.torch_stem, network.torch_head, network.settings(**given), 64)
    torch_found = certifier.certify_batch(mixed)
    session_found = [network.certifier(batch=5, **given).certify(image) for image in mixed]
    for one, other in zip(torch_found, session_found, strict=True):
        unsure = "margin" in (one.reason, other.reason)
        assert unsure or (one.verdict, one.label) == (other.verdict, other.label)
    assert sum(found.certified for found in torch_found) >= 5


class Reader(CalibrationDataReader):
    def __init__(self, name, tensors):
        self.entries = iter([{name: tensor[None]} for tensor in tensors])

    def get_next(self):
        return next(self.entries, None)


def test_static_int8_keeps_the_theorem(network, images, mixed, tmp_path):
    others, _ = blobs(32, SIZE, CLASSES, seed=99)
    (tmp_path / "head.onnx").write_bytes(network.head_graph)
    quantize_static(
        tmp_path / "head.onnx", tmp_path / "int8.onnx", Reader("image", network.run_stem(others)),
        quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )
    graph = (tmp_path / "int8.onnx").read_bytes()
    run = graph_runner(graph)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    plain = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def run_plain(features):
        return plain.run(None, {"image": features})[0]

    features = network.run_stem(others)
    assert np.abs(run(features) - network.run_head(features)).max() > 1e-3  # it is another network
    margin = margin_for(max(largest_difference(run, run, features), largest_difference(run_plain, run, features)))
    certifier = ScaleCert(network.run_stem, run, network.settings(margin=margin), 16)
    certified, wrong = silent_wrong_labels(certifier, images[0], 20, seed=3)
    assert certified >= 5
    assert wrong == 0
    plainly = ScaleCert(network.run_stem, run_plain, network.settings(margin=margin), 1)
    one = [plainly.certify(each) for each in mixed]
    for found, other in zip(certifier.certify_batch(mixed), one, strict=True):
        assert "margin" in (found.reason, other.reason) or (found.verdict, found.label) == (other.verdict, other.label)


def test_settings_that_make_no_sense_are_refused(network):
    with pytest.raises(InputError, match="hides the whole image"):
        network.certifier(counts=(1, 1))
    with pytest.raises(InputError, match="larger than the input"):
        ScaleCert(network.run_stem, network.run_head, settings_for(network.stem_graph, (30, 5)))
    for given in ({"confidence": 1.0}, {"margin": -1.0}, {"layout": "NHWC"}, {"saliency_margin": np.nan}, {"keep": 0}):
        with pytest.raises(InputError, match="field"):
            network.settings(**given)
    with pytest.raises(InputError, match="map_size"):
        ScaleCert(lambda images: network.run_stem(images)[:, :, 1:], network.run_head, network.settings()).certify(
            np.zeros((SIZE, SIZE, 3), np.uint8)
        )
    with pytest.raises(InputError, match="batch of any size"):
        ScaleCert(network.run_stem, lambda features: network.run_head(features)[:1], network.settings()).certify(
            blobs(1, SIZE, CLASSES, 0)[0][0]
        )


def test_undefended_labels_are_those_of_the_whole_image(network, images):
    certifier = network.certifier()
    labels = certifier.undefended(images[0])
    assert (labels == [found.label for found in certifier.certify_batch(images[0])]).all()
    assert (labels == images[1]).mean() > 0.9
