"""Reading signs and lights: which boxes, cut how, and what comes of it."""

# ruff: noqa: E402 - what needs torch is imported once torch is known to be there
import numpy as np
import pytest

from l4edge_perception.camera.classifier import SignClassifier, crop
from l4edge_perception.errors import InputError
from l4edge_perception.inference import Session
from l4edge_perception.packages import load_package
from l4edge_perception.types import MEANINGS, OBJECT_CLASSES, Detections

torch = pytest.importorskip("torch")

from l4edge_perception.models.sign_classifier import (
    DeployedClassifier,
    SignClassifierConfig,
    export_classifier,
    for_pixels,
    new_network,
)
from l4edge_perception.training.sign_classifier import for_training

SIGN, LIGHT, CAR = (OBJECT_CLASSES.index(name) for name in ("sign", "light", "car"))
CONFIG = SignClassifierConfig(crop=16, width=12, depth=1, heads=2, stem=(4, 6, 8))
RANDOM = np.random.default_rng(3)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = new_network(CONFIG).eval()
    torch.nn.init.normal_(network.head.weight)
    return network


@pytest.fixture(scope="module")
def package(network, tmp_path_factory):
    crops = RANDOM.integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    return export_classifier(network, CONFIG, tmp_path_factory.mktemp("run") / "package", crops, 1.0, None, {})


def picture():
    return RANDOM.integers(0, 256, (60, 80, 3), dtype=np.uint8)


def detections(*objects):
    """Each object: class, x, y of the box's corner, its height; boxes are square."""
    boxes = np.array([(x, y, x + size, y + size) for _, x, y, size in objects], np.float32).reshape(-1, 4)
    classes = np.array([class_id for class_id, *_ in objects], np.int32)
    return Detections(5, boxes, np.full(len(objects), 0.5, np.float32), classes)


def test_a_crop_of_a_whole_number_of_pixels_is_those_pixels():
    pixels = picture()
    found = crop(pixels, np.array([(10.0, 20.0, 26.0, 36.0)]), 16, 1.0)
    np.testing.assert_array_equal(found[0], pixels[20:36, 10:26])


def test_a_crop_is_square_about_the_box_and_the_border_goes_on():
    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[:, 36:] = 200
    (tall,) = crop(pixels, np.array([(18.0, 10.0, 22.0, 26.0)]), 32, 1.0)
    assert not tall[:, :].any()
    (beyond,) = crop(pixels, np.array([(34.0, 10.0, 50.0, 26.0)]), 16, 1.0)
    assert (beyond[:, 3:] == 200).all() and not beyond[:, 0].any()


def test_only_signs_and_lights_that_are_large_enough_are_read(package):
    seen = detections((SIGN, 5, 5, 20), (CAR, 30, 5, 20), (LIGHT, 5, 30, 20), (SIGN, 50, 40, 8))
    result = SignClassifier(package).classify(picture(), seen)
    assert result.meanings.any(axis=1).tolist() == [True, False, True, False]
    np.testing.assert_allclose(result.meanings.sum(axis=1), [1, 0, 1, 0], atol=1e-5)
    for name in ("boxes", "scores", "class_ids"):
        assert getattr(result, name) is getattr(seen, name)
    assert result.stamp_ns == 5


def test_a_sign_shows_no_colour_and_a_light_no_limit(package):
    result = SignClassifier(package).classify(picture(), detections((SIGN, 5, 5, 20), (LIGHT, 5, 30, 20)))
    of = {word: result.meanings[:, MEANINGS.index(word)] for word in MEANINGS}
    assert not any(of[word][0] for word in ("red", "amber", "green", "off"))
    assert not any(of[word][1] for word in ("stop", "yield", "speed_30", "priority"))
    assert of["none"].all()


def test_of_too_many_the_tallest_are_read(package):
    seen = detections(*((SIGN, 2 * index, 5, 13 + index) for index in range(12)))
    result = SignClassifier(package).classify(picture(), seen)
    assert result.meanings.any(axis=1).tolist() == [False] * 4 + [True] * 8


def test_together_they_are_read_as_alone(package):
    classifier, pixels = SignClassifier(package), picture()
    objects = [(SIGN, 5, 5, 20), (LIGHT, 5, 30, 20), (SIGN, 40, 20, 14)]
    together = classifier.classify(pixels, detections(*objects)).meanings
    alone = [classifier.classify(pixels, detections(one)).meanings[0] for one in objects]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    nothing = classifier.classify(pixels, detections())
    assert nothing.meanings.shape == (0, len(MEANINGS))


def test_the_first_layer_does_what_training_did_to_pixels(network):
    crops = RANDOM.integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    with torch.no_grad():
        trained = network(for_training(crops))
        shipped = DeployedClassifier(for_pixels(network))(torch.from_numpy(crops))
    assert torch.allclose(trained, shipped, atol=1e-4)
    assert trained.std() > 0.1


def test_a_package_takes_any_batch_and_says_so(package):
    session = Session(load_package(package.path))
    for count in (1, 5):
        assert session.run(np.zeros((count, 16, 16, 3), np.uint8))[0].shape == (count, len(MEANINGS))
    with pytest.raises(InputError, match="wants uint8"):
        session.run(np.zeros((1, 16, 8, 3), np.uint8))


def test_a_detector_reads_no_signs(tiny_graphs, tmp_path):
    with pytest.raises(InputError, match="not classification"):
        SignClassifier(tiny_graphs.detector(tmp_path / "detector", {"full": np.zeros((1, 10, 4))}))
