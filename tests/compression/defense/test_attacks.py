"""Attacks: they stay inside their model, reach their aims on undefended networks, and find what is unsound."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from l4edge_compression.defense.attacks.adaptive import AdaptiveAttack, FeatureViews, PixelViews, attacked, weak_spots
from l4edge_compression.defense.attacks.classifiers import adversarial_patch, sticker
from l4edge_compression.defense.attacks.detectors import appearing_patch, hiding_patch
from l4edge_compression.defense.attacks.fuzz import ADAPTIVE, certified_images, checked, fuzz
from l4edge_compression.defense.attacks.graphs import GraphNetwork
from l4edge_compression.defense.attacks.patches import CONTENTS, Transforms, put, random_patched, spread
from l4edge_compression.defense.attacks.searching import Attack
from l4edge_compression.defense.attacks.stress import dots, larger_patch, several_patches
from l4edge_compression.defense.attacks.toolbox import toolbox_patch
from l4edge_compression.defense.masking import OneMask
from l4edge_compression.defense.scalecert import ScaleCert, ScaleCertSettings
from l4edge_compression.defense.unsound_control import NaiveOrder
from l4edge_compression.defense.windows import pixel_windows
from l4edge_perception.errors import InputError

MODELS = Path(__file__).resolve().parents[3] / "models"

SIZE, PATCH = (10, 10), (2, 2)


def colours(images):
    """Red and blue of (B, H, W, 3), 0..1: a stem whose cells see one pixel each."""
    return images[..., [0, 2]].permute(0, 3, 1, 2).float() / 255


def votes(features):
    """Red votes for class 0, blue for class 1, which also wins where nothing votes."""
    return features.sum((2, 3)) + torch.tensor([0.0, 0.2])


def on_numpy(run):
    return lambda tensors: run(torch.from_numpy(np.ascontiguousarray(tensors))).numpy()


SETTINGS = ScaleCertSettings(SIZE, PATCH, (3, 3), (1, 1), (1, 1), (0, 0), SIZE, "top_k", 4)


@pytest.fixture
def reds():
    """Black pictures with some red pixels everywhere: certified to be of class 0."""
    generator = np.random.default_rng(0)
    images = np.zeros((24, *SIZE, 3), np.uint8)
    for image in images:
        for place in generator.choice(SIZE[0] * SIZE[1], 40, replace=False):
            image[place // SIZE[1], place % SIZE[1], 0] = generator.integers(100, 180)
    return images


@pytest.mark.parametrize(("package", "shape"), [("sign_classifier", (3, 64, 64, 3)), ("detector", (1, 384, 640, 3))])
def test_packages_are_read_as_onnxruntime_runs_them(package, shape):
    graph = (MODELS / package / "full.onnx").read_bytes()
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    expected = session.run(None, {session.get_inputs()[0].name: pixels})[0]
    tensor = torch.from_numpy(pixels).float().requires_grad_()
    found = GraphNetwork(graph)(tensor)
    np.testing.assert_allclose(found.detach().numpy(), expected, atol=2e-4)
    found.sum().backward()
    assert tensor.grad.abs().sum() > 0


def test_unknown_operations_are_named():
    from onnx import TensorProto, helper

    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Det", ["x"], ["y"])], "g", value[:1], value[1:])
    with pytest.raises(InputError, match="Det"):
        GraphNetwork(helper.make_model(graph).SerializeToString())


def test_patches_change_nothing_but_their_place(reds):
    image = np.full((*SIZE, 3), 7, np.uint8)
    patched = put(image, np.full((2, 3, 3), 9, np.uint8), 8, 7)
    assert (patched != image).any(2).sum() == 6
    assert (image == 7).all()
    with pytest.raises(InputError, match="do not lie inside"):
        put(image, np.zeros((2, 3, 3), np.uint8), 9, 0)
    found, names = random_patched(reds, PATCH, seed=3)
    for before, after in zip(reds, found, strict=True):
        rows, columns = np.nonzero((before != after).any(2))
        assert len(rows) == 0 or (np.ptp(rows) < 2 and np.ptp(columns) < 2)
    assert len(set(names)) > 3
    again, _ = random_patched(reds, PATCH, seed=3)
    assert (again == found).all()
    assert set(names) <= set(CONTENTS)


def test_a_patch_that_is_not_transformed_lands_as_it_is():
    patch = torch.rand(3, 3, 4) * 255
    generator = torch.Generator().manual_seed(0)
    seen, covered = spread(patch, (9, 8), torch.tensor([2]), torch.tensor([3]), Transforms(), generator)
    assert covered[0, 0].nonzero().tolist() == [[row, column] for row in range(2, 5) for column in range(3, 7)]
    torch.testing.assert_close(seen[0, :, 2:5, 3:7], patch, rtol=1e-4, atol=1e-3)
    turned, _ = spread(patch, (9, 8), torch.tensor([2]), torch.tensor([3]), Transforms(rotation=45), generator)
    assert not torch.allclose(turned, seen)


def test_attacks_on_undefended_networks_reach_their_target(reds):
    def network(images):
        return votes(colours(images) * 3)

    images = np.clip(reds, 0, 20)
    attack = Attack(steps=30, step_size=24, batch=8, transforms=Transforms(brightness=10))
    assert set(on_numpy(network)(images).argmax(1)) == {0}
    patch = adversarial_patch(network, images, 1, (5, 5), attack)
    patched = np.stack([put(image, patch, 2, 2) for image in images])
    assert (on_numpy(network)(patched).argmax(1) == 1).all()
    assert patch[..., 2].mean() > patch[..., 0].mean()
    worn = put(images[0], sticker(network, images[0], 1, (1, 4), (5, 5), attack), 1, 4)
    assert on_numpy(network)(worn[None]).argmax() == 1
    with pytest.raises(InputError, match="do not fit"):
        adversarial_patch(network, images, 1, (11, 5), attack)


def test_the_toolbox_is_named_where_it_is_missing_and_finds_a_patch_where_it_is(reds):
    def network(images):
        return votes(colours(images) * 3)

    try:
        from art.attacks import evasion  # noqa: F401
    except ImportError:
        with pytest.raises(InputError, match="adversarial-robustness-toolbox"):
            toolbox_patch(network, reds[:2], 1, (5, 5), 2)
        return
    patch = toolbox_patch(network, np.clip(reds[:4], 0, 10), 1, (5, 5), 2, steps=20, rate=60.0)
    assert patch.shape == (5, 5, 3)
    assert patch[..., 2].mean() > patch[..., 0].mean()


def test_attacks_on_detectors_hide_and_make_objects(reds):
    def scores(images):
        red, blue = colours(images).flatten(2).unbind(1)
        return 4 * red - 2 * blue.mean(1, keepdim=True) * 20 - 1

    attack = Attack(steps=25, step_size=24, batch=4, transforms=Transforms())
    hiding, appearing = (make(scores, reds, (4, 4), attack, (0, 0)) for make in (hiding_patch, appearing_patch))

    def strongest(patch):
        return scores(torch.from_numpy(put(reds[0], patch, 0, 0))[None]).max()

    clean = scores(torch.from_numpy(reds[:1])).max()
    assert strongest(hiding) < clean < strongest(appearing)


def test_stress_is_outside_the_threat_model(reds):
    for found, least in ((several_patches(reds, PATCH, 0), 3), (larger_patch(reds, PATCH, 0), 3), (dots(reds, 0), 6)):
        spans = []
        for before, after in zip(reds, found, strict=True):
            rows, columns = np.nonzero((before != after).any(2))
            spans.append(max(np.ptp(rows), np.ptp(columns)) + 1 if len(rows) else 0)
        assert max(spans) >= least


def certified(kind):
    return kind(on_numpy(colours), on_numpy(votes), SETTINGS)


def test_the_fuzz_catches_the_naive_order_and_clears_the_right_one(reds):
    outcomes = {}
    for name, kind in (("naive", NaiveOrder), ("sound", ScaleCert)):
        views = FeatureViews(colours, votes, SETTINGS, select_first=name == "naive")
        outcomes[name] = fuzz(certified(kind), views, reds, 24, 4, ADAPTIVE)
        assert outcomes[name].certified == 24
        assert outcomes[name].total.attacks == 24 * 7
    assert outcomes["naive"].total.silent > 0
    assert outcomes["sound"].total.silent == 0
    assert outcomes["sound"].total.changed > 0
    assert outcomes["sound"].total.alarms == outcomes["sound"].total.changed


def test_adaptive_patches_stay_in_place_and_change_labels(reds):
    views = PixelViews(lambda images: votes(colours(images)), pixel_windows(SIZE, PATCH, (3, 3)), (0.0, 0.0, 0.0))
    images = np.clip(reds, 0, 10)
    places = np.array([[index % 9, 3] for index in range(len(images))])
    found = attacked(views, images, places, np.ones(len(images), int), AdaptiveAttack(steps=6, step_size=120))
    for (top, left), before, after in zip(places, images, found, strict=True):
        outside = np.ones(SIZE, bool)
        outside[top : top + 2, left : left + 2] = False
        assert (before[outside] == after[outside]).all()
    certifier = OneMask(on_numpy(lambda tensors: votes(colours(tensors))), views.covering)
    tally = checked(certifier, found, certifier.undefended(images))
    assert tally.changed == len(images) == tally.attacks
    assert tally.silent == 0


def test_weak_spots_lie_in_the_weakest_window():
    covering = pixel_windows(SIZE, PATCH, (3, 3))
    logits = np.zeros((1, len(covering) + 1, 3))
    logits[..., 0] = 5
    logits[0, 4 + 1] = (1.0, 0.0, 0.5)
    (place,), (target,) = weak_spots(logits, covering, seed=0)
    y0, x0, y1, x1 = covering.windows[4]
    assert y0 <= place[0] <= y1 - 2
    assert x0 <= place[1] <= x1 - 2
    assert target == 2


def test_nothing_certified_is_no_failure(reds):
    images, labels, looked = certified_images(certified(ScaleCert), np.zeros((3, 4, 4, 3), np.uint8), 5)
    assert (len(images), len(labels), looked) == (0, 0, 3)
    views = FeatureViews(colours, votes, SETTINGS)
    assert fuzz(certified(ScaleCert), views, np.zeros((2, 4, 4, 3), np.uint8), 5, 1).total.attacks == 0
