"""Objectness that no box explains: what a patch can change, and what the certificate makes of it."""

import numpy as np
import pytest

from l4edge_compression.defense.objectness import Objectness, ObjectnessSettings, window_sums
from l4edge_compression.defense.positions import OVER
from l4edge_compression.defense.training.objectness import (
    OFFSET,
    RECEPTIVE_FIELD,
    STRIDE,
    ObjectnessNetwork,
    export,
    targets,
)
from l4edge_compression.defense.verdicts import Verdict
from l4edge_perception.errors import InputError
from l4edge_perception.inference import Session
from l4edge_perception.packages import load_package
from l4edge_perception.types import Detections

torch = pytest.importorskip("torch")

BOX = (96.0, 60.0, 224.0, 156.0)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A network of the trained one's shape that answers to red: its 32 pixels of context are added to what it is told.

    Every cell is active where the pixels in its middle are red; the other weights are small but not zero, so that
    each cell's answer depends on its whole receptive field.
    """
    torch.manual_seed(0)
    network = ObjectnessNetwork(width=4).eval()
    layers = [layer for layer in network.features if isinstance(layer, torch.nn.Conv2d)]
    with torch.no_grad():
        for layer in layers:
            layer.weight *= 0.01
            layer.bias.zero_()
        layers[0].weight[0] = 0
        layers[0].weight[0, 0] = 1 / 16
        layers[0].weight[0, 1:] = -1 / 32
        layers[1].weight[0, 0, 1, 1] = 1
        layers[2].weight[0, 0] = 1 / 4
        layers[3].weight[0, 0, 1, 1] = 1
        layers[4].weight[0, 0] = 1
        layers[5].weight[0, 0] = 10
        layers[5].bias.fill_(-5)
    folder = tmp_path_factory.mktemp("objectness") / "package"
    return export(network, folder, {})


def scene():
    pixels = np.full((360, 640, 3), 90, np.uint8)
    x_min, y_min, x_max, y_max = map(int, BOX)
    pixels[y_min:y_max, x_min:x_max] = (255, 0, 0)
    return pixels


def boxes(*found, classes=None):
    values = np.array(found, np.float32).reshape(-1, 4)
    ids = np.zeros(len(values), np.int32) if classes is None else np.array(classes, np.int32)
    return Detections(0, values, np.ones(len(values), np.float32), ids)


def test_alert_only_where_no_box_explains(package):
    objectness = Objectness(package, ObjectnessSettings())
    explained = objectness.inspect(scene(), boxes(BOX))
    assert (explained.verdict, explained.alert, len(explained.regions)) == (Verdict.CERTIFIED, False, 0)
    assert explained.active.sum() > 100
    hidden = objectness.inspect(scene(), boxes())
    assert (hidden.verdict, hidden.reason) == (Verdict.ALARM, "disagreed")
    region = hidden.regions[0]
    assert region[0] < BOX[2] and region[2] > BOX[0] and region[1] < BOX[3] and region[3] > BOX[1]
    # A sign's box says nothing of a road user.
    assert objectness.inspect(scene(), boxes(BOX, classes=[4])).alert


def test_no_patch_silences_what_is_certified(package):
    """Patches of the background's colour and of noise, where it hurts most: over the object."""
    objectness = Objectness(package, ObjectnessSettings())
    clean = scene()
    base = boxes(BOX)
    small, large = 16, 64
    certificate = objectness.certify(objectness.inspect(clean, base), base.boxes, base, (small, large))
    assert certificate.certified[0, 0].all()
    assert not certificate.certified[0, 1, OVER]
    generator = np.random.default_rng(0)
    for _ in range(12):
        left, top = int(generator.integers(80, 224)), int(generator.integers(44, 156))
        attacked = clean.copy()
        attacked[top : top + small, left : left + small] = generator.integers(0, 256, (small, small, 3))
        assert objectness.inspect(attacked, boxes()).alert


def test_the_certificate_must_be_false_where_the_shadow_takes_all(package):
    """A red square of 40 pixels: 5 x 5 cells. The shadow of 8 pixels has 5 cells per axis and can take them all."""
    pixels = np.full((360, 640, 3), 90, np.uint8)
    pixels[100:140, 200:240] = (255, 0, 0)
    box = boxes((200, 100, 240, 140))
    objectness = Objectness(package, ObjectnessSettings())
    result = objectness.inspect(pixels, box)
    certificate = objectness.certify(result, box.boxes, box, (8, 32))
    assert objectness.inspect(pixels, boxes()).alert
    # Beside it, a patch reaches two columns of five: 15 cells are left, of which 14 are enough.
    assert certificate.certified[0].tolist() == [[True, True, False], [True, True, False]]


def test_another_objects_box_takes_the_certificate_away(package):
    objectness = Objectness(package, ObjectnessSettings())
    other = (40.0, 20.0, 400.0, 250.0)
    base = boxes(BOX, other)
    certificate = objectness.certify(objectness.inspect(scene(), base), np.array([BOX]), base, (16,))
    assert not certificate.shares.any()


def test_a_pixel_changes_only_its_shadow(package):
    """The declared receptive field is the real one: answers outside it stay bit for bit, at its edge they change."""
    session = Session(package)
    generator = np.random.default_rng(0)
    tensor = generator.integers(0, 256, (1, 384, 640, 3), np.uint8)
    before = session.run(tensor)[0][0].copy()
    seen = np.zeros((2, 2), int) + [[99, -99], [99, -99]]
    for y, x in generator.integers(100, 250, (60, 2)):
        changed = tensor.copy()
        changed[0, y, x] = 255 - changed[0, y, x]
        for axis, cells in enumerate(np.nonzero(session.run(changed)[0][0] != before)):
            # The pixel's place in the receptive field of each cell that it changed.
            places = (y, x)[axis] - (OFFSET + cells * STRIDE)
            seen[axis] = places.min(initial=seen[axis, 0]), places.max(initial=seen[axis, 1])
    assert (seen[:, 0] >= 0).all() and (seen[:, 1] < RECEPTIVE_FIELD).all()
    assert (seen[:, 1] - seen[:, 0] >= RECEPTIVE_FIELD - STRIDE).all()


def test_targets_follow_the_boxes():
    wanted, counts = targets(
        np.array([[8, 8, 24, 16], [40, 8, 56, 16], [40, 40, 48, 48]], float),
        np.array([0, 2, 4]),
        np.array([False, True, False]),
        (64, 64),
    )
    assert np.argwhere(wanted).tolist() == [[1, 1], [1, 2]]
    assert np.argwhere(counts == 0).tolist() == [[1, 5], [1, 6], [5, 5]]


def test_window_sums():
    cells = np.zeros((3, 4), bool)
    cells[0, 0] = cells[2, 3] = cells[1, 2] = True
    assert window_sums(cells, 2).tolist() == [[1, 1, 1, 0], [0, 1, 2, 1], [0, 0, 1, 1]]


def test_packages_of_another_kind_are_refused(tmp_path):
    from tests.conftest import REPOSITORY

    with pytest.raises(InputError, match="no objectness package"):
        Objectness(load_package(REPOSITORY / "models" / "detector"), ObjectnessSettings())
    with pytest.raises(InputError, match="unexplained"):
        ObjectnessSettings(window=3, unexplained=10)
