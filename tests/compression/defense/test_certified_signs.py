"""The certified sign classifier: its network, its training, its figures, and the package that ships."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from l4edge_compression.defense.packages import load_certified
from l4edge_compression.defense.scalecert import ScaleCert, ScaleCertSettings
from l4edge_compression.defense.selection import Threshold, saliency
from l4edge_compression.defense.sessions import graph_runner
from l4edge_compression.defense.verdicts import Verdict
from l4edge_compression.defense.views import Predictions
from l4edge_compression.studies.certified_signs import worst_of
from l4edge_compression.studies.certified_signs_judging import confidences, lost_to, rates, verdicts
from l4edge_compression.studies.certified_signs_network import CertifiedSignClassifier, deployed, make_exact_
from l4edge_compression.studies.certified_signs_package import SELF_TEST, graphs_of, hash_of, settings_of, write_files
from l4edge_compression.studies.certified_signs_page import figures
from l4edge_compression.studies.certified_signs_windows import meanings_under, random_windows, uncovered
from l4edge_perception.models.sign_classifier import SignClassifierConfig, new_network
from l4edge_perception.packages import load_package
from l4edge_perception.training.sign_classifier import for_training
from l4edge_perception.types import MEANINGS

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "models" / "sign_classifier_certified"
RESULT = ROOT / "docs" / "results" / "certification" / "signs-0.json"
PAGE = ROOT / "docs" / "certified_signs.md"


def crops(count, seed=0):
    """Crops with flat parts and edges, as pictures have."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)


def classifier(threshold=3.0):
    torch.manual_seed(0)
    network = new_network(SignClassifierConfig(width=12, depth=1, heads=1, stem=(4, 4, 4)))
    return CertifiedSignClassifier(network, threshold).eval()


@pytest.fixture(scope="module")
def shipped():
    return load_certified(PACKAGE)


def test_training_selects_by_the_rule_of_certification():
    model, images = classifier(), for_training(crops(3))
    features = model.stem(images)
    kept = (model.selected(features) != 0).any(dim=1).numpy()
    values = saliency(features.detach().numpy())
    for index in range(3):
        wanted = Threshold(values[index], model.threshold).keep(np.zeros((1, 32, 32), bool))[0]
        assert 0 < wanted.sum() < wanted.size
        assert (kept[index] == wanted).all()


def test_gradients_reach_cells_near_the_threshold():
    model = classifier()
    features = torch.full((1, 4, 2, 2), model.threshold / 4 - 0.01, requires_grad=True)
    model.selected(features).sum().backward()
    assert not bool(model.selected(features).any())
    assert bool((features.grad != 0).all())


def test_first_layer_adds_pixels_without_rounding():
    model = deployed(classifier(), 1.0)
    convolution = model.network.get_submodule("patch_embed.conv1")
    pixels = torch.from_numpy(crops(2)).permute(0, 3, 1, 2)
    single, double = convolution(pixels.float()), convolution.double()(pixels.double())
    assert bool((single.double() == double).all())


def test_rounding_of_the_first_layer_is_what_makes_it_exact():
    convolution = torch.nn.Conv2d(3, 8, 2, 2)
    pixels = torch.from_numpy(crops(4)).permute(0, 3, 1, 2)
    before = convolution.weight.detach().clone()
    step = make_exact_(convolution)
    assert float((convolution.weight.detach() - before).abs().max()) <= step / 2
    single = convolution(pixels.float())
    assert bool((single.double() == convolution.double()(pixels.double())).all())
    with torch.no_grad():
        convolution.float().weight.copy_(before)
    assert bool((convolution(pixels.float()).double() != convolution.double()(pixels.double())).any())


def test_graphs_keep_the_same_cells_as_torch_and_read_them_alike():
    model = deployed(classifier(), 0.5)
    pictures = crops(4)
    graphs, difference = graphs_of(model, pictures)
    assert difference < 1e-3
    features = graph_runner(graphs["stem"])(pictures)
    with torch.no_grad():
        same = model.stem(torch.from_numpy(pictures).permute(0, 3, 1, 2).float()).numpy()
    assert (features == same).all()
    settings = settings_of(model, 1e-3, (3, 3))
    certifier = ScaleCert(graph_runner(graphs["stem"]), graph_runner(graphs["head"]), settings)
    whole = graph_runner(graphs["certified"])(pictures).argmax(axis=1)
    assert certifier.undefended(pictures).tolist() == whole.tolist()


def test_a_package_made_again_keeps_the_self_test(tmp_path):
    """The monitor stores crops beside the package; exporting the same network again must not take them away."""
    model, pictures = deployed(classifier(), 0.5), crops(2)
    config = SignClassifierConfig(width=12, depth=1, heads=1, stem=(4, 4, 4))
    record = {"made_by": "a test", "seed": 0, "device": "any"}
    given = (
        graphs_of(model, pictures)[0], {"start": asdict(config)}, record, {"count": 2, "accuracy": 0.5},
        settings_of(model, 1e-3, (3, 3)), pictures,
    )
    assert hash_of(tmp_path) is None
    first = write_files(tmp_path / "package", *given)
    (tmp_path / "package" / SELF_TEST).write_bytes(b"crops")
    again = write_files(tmp_path / "package", *given)
    assert (tmp_path / "package" / SELF_TEST).read_bytes() == b"crops"
    assert first.hash == again.hash == hash_of(tmp_path / "package")
    assert load_package(tmp_path / "package").provenance == record


def test_temperature_divides_logits():
    pictures = torch.from_numpy(crops(2)).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        plain, divided = (deployed(classifier(), value)(pictures) for value in (1.0, 2.0))
    torch.testing.assert_close(plain, 2.0 * divided)


def test_random_windows_are_one_or_two_rectangles_of_the_sizes_of_covering_sets():
    masks = random_windows(200, 32, 0.0, np.random.default_rng(0))
    for mask in masks:
        rows, columns = mask.any(axis=1), mask.any(axis=0)
        assert mask.sum() == rows.sum() * columns.sum()
        assert min(rows.sum(), columns.sum()) >= 6
        assert mask.mean() < 0.5
    two = random_windows(200, 32, 1.0, np.random.default_rng(0))
    assert two.mean() > 1.3 * masks.mean()


def test_worst_window_is_that_of_the_greatest_loss():
    model, images = classifier(), for_training(crops(6))
    labels = torch.arange(6)
    with torch.no_grad():
        features = model.stem(images)
        masks = np.stack([random_windows(6, 32, 0.3, np.random.default_rng(seed)) for seed in range(3)])
        losses = torch.stack(
            [
                torch.nn.functional.cross_entropy(
                    model.head(model.selected(features * uncovered(mask))), labels, reduction="none"
                )
                for mask in masks
            ]
        )
    chosen = worst_of(model, features, labels.numpy(), masks)
    best = losses.argmax(dim=0).tolist()
    for index in range(6):
        assert (chosen[index] == masks[best[index], index]).all()


@pytest.mark.parametrize(
    ("rows", "meaning"),
    [((0, 8), "off"), ((6, 12), "red"), ((12, 20), "amber"), ((20, 28), "green"), ((4, 20), "red")],
)
def test_a_dark_light_means_the_worst_lamp_that_is_hidden(rows, meaning):
    off, green = MEANINGS.index("off"), MEANINGS.index("green")
    masks = np.zeros((2, 32, 32), bool)
    masks[:, rows[0] : rows[1]] = True
    masks[:, :7] = False
    assert meanings_under(masks, np.array([off, green])).tolist() == [MEANINGS.index(meaning), green]


def predictions(labels, shares, margins=None):
    count = len(labels)
    return Predictions(
        np.array(labels), np.array(shares, float), np.full(count, 1.0) if margins is None else np.array(margins),
        np.ones(count, bool), np.ones(count, bool), count, count,
    )


def test_verdicts_with_one_confidence_are_those_of_the_certifier():
    rng = np.random.default_rng(0)
    model = deployed(classifier(), 1.0)
    settings = settings_of(model, 0.05, (2, 1))
    certifier = ScaleCert(lambda images: images, lambda features: features, settings)
    found = [
        predictions(rng.integers(0, 2, 3) * (rng.random() < 0.7), rng.uniform(0.2, 1.0, 3), rng.uniform(0.0, 0.5, 3))
        for _ in range(300)
    ]
    for confidence in (0.0, 0.5, 0.8):
        mine = verdicts(found, confidences(confidence, confidence), 0.05)
        assert mine.tolist() == [int(certifier.decide(seen, confidence).verdict) for seen in found]
        assert set(mine.tolist()) == {0, 1, 2}


def test_confidence_by_hazard_alarms_for_a_hidden_stop_sign_only():
    stop, none = MEANINGS.index("stop"), MEANINGS.index("none")
    least = confidences(0.0, 0.9)
    hidden = predictions([none, none, stop], [0.99, 0.95, 0.4])
    other_way = predictions([stop, stop, none], [0.99, 0.95, 0.4])
    assert verdicts([hidden, other_way], least, 1e-3).tolist() == [Verdict.ALARM, Verdict.UNCERTIFIED]


def test_rates_add_up_and_name_what_windows_do():
    stop, none = MEANINGS.index("stop"), MEANINGS.index("none")
    found = [
        predictions([stop, stop], [0.9, 0.8]), predictions([stop, none], [0.9, 0.8]),
        predictions([none, none], [0.9, 0.8]), predictions([stop, stop], [0.9, 0.3]),
    ]
    table = rates(found, np.full(4, stop), confidences(0.5, 0.5), 1e-3)
    assert (table["clean"], table["certified"], table["certified_wrong"]) == (0.75, 0.25, 0.25)
    assert (table["alarm"], table["uncertified"]) == (0.25, 0.25)
    assert table["meanings"]["stop"]["count"] == 4
    assert table["meanings"]["red"]["clean"] is None
    assert lost_to(found, np.full(4, stop), "stop") == {"none": 1}


def test_shipped_package_is_whole_and_small(shipped):
    assert shipped.verify()
    assert shipped.classes == MEANINGS
    assert shipped.patch == (10, 10)
    assert isinstance(shipped.settings, ScaleCertSettings)
    assert sum(path.stat().st_size for path in PACKAGE.iterdir()) <= 3_000_000
    assert load_package(PACKAGE).level("certified").sha256 == shipped.level_sha256


def test_shipped_stem_and_head_are_the_shipped_network(shipped):
    pictures = crops(8, seed=3)
    package = load_package(PACKAGE)
    whole = graph_runner(package.read_graph(package.level("certified")))(pictures)
    assert shipped.certifier().undefended(pictures).tolist() == whole.argmax(axis=1).tolist()


def test_shipped_stem_is_exact_and_local(shipped):
    stem, rng = graph_runner(shipped.read("stem")), np.random.default_rng(0)
    pictures = crops(6, seed=1)
    together = stem(pictures)
    for index, picture in enumerate(pictures):
        assert (stem(picture[None])[0] == together[index]).all()
        y, x = rng.integers(0, 55, 2)
        attacked = picture.copy()
        attacked[y : y + 10, x : x + 10] = rng.integers(0, 256, (10, 10, 3), dtype=np.uint8)
        changed = (stem(attacked[None])[0] != together[index]).any(axis=0)
        rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
        assert y // 2 <= rows.min()
        assert rows.max() <= (y + 9) // 2
        assert x // 2 <= columns.min()
        assert columns.max() <= (x + 9) // 2


def test_windows_that_hide_a_patch_read_the_same_under_it(shipped):
    certifier, rng = shipped.certifier(), np.random.default_rng(0)
    covering = certifier.covering
    for picture in crops(6, seed=2):
        y, x = (int(value) for value in rng.integers(0, 55, 2))
        attacked = picture.copy()
        attacked[y : y + 10, x : x + 10] = rng.integers(0, 256, (10, 10, 3), dtype=np.uint8)
        clean, patched = certifier.predict(np.stack([picture, attacked]))
        hiding = np.flatnonzero(covering.inside_y[:, y] & covering.inside_x[:, x])
        assert len(hiding)
        assert (clean.labels[1 + hiding] == patched.labels[1 + hiding]).all()
        np.testing.assert_allclose(clean.confidences[1 + hiding], patched.confidences[1 + hiding], atol=1e-5)


def test_page_holds_the_figures_of_the_result_file():
    assert figures(json.loads(RESULT.read_text(encoding="utf-8"))) in PAGE.read_text(encoding="utf-8")
