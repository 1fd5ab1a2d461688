"""Stickers that are optimized: where they fall, that gradients reach them, and that they do what they are for."""

from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from l4edge_compression.defense.attacks import hiding, sign_sticker
from l4edge_compression.defense.attacks.stickers import Fitting, Looks, Placement, Printer, as_png, read_looks
from l4edge_compression.tasks.detection import detector_from_package
from l4edge_perception.camera.classifier import crop
from l4edge_perception.camera.decoders import cell_grid
from l4edge_perception.errors import InputError
from l4edge_perception.inference import Session
from l4edge_perception.models.detector import DIVISIONS, STRIDES
from l4edge_perception.packages import load_package
from l4edge_perception.types import MEANINGS, SIGN_MEANINGS

MODELS = Path(__file__).resolve().parents[3] / "models"
BOX = np.array([30.0, 40.0, 70.0, 80.0], np.float32)


@pytest.fixture
def looks():
    """Two looks at a grey side of 40 x 40 pixels."""
    side = np.array([[30, 40], [70, 40], [70, 80], [30, 80]], np.float32)
    visible = np.zeros((2, 96, 96), bool)
    visible[:, 40:80, 30:70] = True
    return Looks(
        np.full((2, 96, 96, 3), 100, np.uint8), np.zeros((2, 2)), np.stack([side, side]), visible, np.ones((2, 3)),
        np.stack([BOX, BOX]), np.array([10.0, 10.0]),
    )


def test_a_sticker_covers_its_place_and_nothing_else(looks):
    printer = Printer(looks, Placement(right=0.25, up=0.25, width=0.5, height=0.5), 8)
    texture = torch.ones(3, 8, 8, requires_grad=True)
    drawn = printer.draw(texture, 0)
    changed = (drawn - 100 / 255).abs().amax(dim=0) > 1e-4
    assert changed[40:60, 50:70].all() and int(changed.sum()) == 400
    drawn.sum().backward()
    assert (texture.grad > 0).all()


def test_what_hides_the_object_hides_the_sticker(looks):
    hidden = Looks(**{**vars(looks), "visible": np.zeros_like(looks.visible)})
    drawn = Printer(hidden, Placement(0, 0, 0.5, 0.5), 8).draw(torch.ones(3, 8, 8), 0)
    assert torch.equal(drawn, torch.full_like(drawn, 100 / 255))


def test_crops_are_cut_as_the_pipeline_cuts_them(looks):
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (96, 96, 3), dtype=np.uint8)
    wanted = crop(picture, BOX[None], 64, 1.25)[0]
    tensor = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    found = sign_sticker.crops(tensor, looks, [0], 64, 1.25, np.zeros((1, 3)))[0].permute(1, 2, 0).numpy()
    assert np.abs(found - wanted).max() <= 2.0  # OpenCV interpolates with 5 bits


def test_the_classifier_is_the_one_that_ships():
    package = load_package(MODELS / "sign_classifier")
    given = np.random.default_rng(1).integers(0, 255, (3, 64, 64, 3), dtype=np.uint8)
    network = sign_sticker.classifier_from_package(package)
    with torch.no_grad():
        found = network(torch.from_numpy(given).permute(0, 3, 1, 2).float()).numpy()
    np.testing.assert_allclose(found, Session(package).run(given)[0], atol=1e-3)


def test_a_few_steps_lower_the_margin(looks):
    network = sign_sticker.classifier_from_package(load_package(MODELS / "sign_classifier"))
    placement = Placement(0, 0, 0.9, 0.9)

    @torch.no_grad()
    def logits(texture):
        drawn = Printer(looks, placement, 8).draw(texture, 0)[None] * 255
        return network(sign_sticker.crops(drawn, looks, [0], 64, 1.25, np.zeros((1, 3))))

    words = (*SIGN_MEANINGS, "none")
    plain = logits(torch.full((3, 8, 8), 0.5))[0, [MEANINGS.index(word) for word in words]]
    word = words[int(plain.argmax())]
    given = (network, looks, placement, word, 64, 1.25)
    first, later = (sign_sticker.make(*given, Fitting(steps, 2, 8, 0.3, 0), Console(quiet=True)) for steps in (1, 20))
    assert sign_sticker.margins(logits(later), word) < sign_sticker.margins(logits(first), word) - 0.5


def test_a_hiding_sticker_is_made_for_the_detector_that_ships(looks):
    detector = detector_from_package(load_package(MODELS / "detector")).network
    texture = hiding.make(detector, looks, Placement(0, 0, 1, 1), Fitting(2, 2, 8, 0.1, 0), Console(quiet=True))
    assert as_png(texture).shape == (8, 8, 3)


def test_only_cells_on_the_object_count(looks):
    cells = hiding.object_cells(looks, [0])
    middles = cell_grid(96, 96, STRIDES, DIVISIONS).centres[cells[0].numpy()]
    assert len(middles) and (middles >= 26).all() and (middles[:, 0] <= 74).all()
    answers = torch.full((1, 10, cells.shape[1]), 9.0)
    answers[:, 4:, cells[0]] = -9.0
    loss, worst = hiding.seen_loss(answers, cells)
    assert float(loss) == 0.0 and float(worst) < 0.01


def test_another_file_is_no_looks(tmp_path):
    np.savez(tmp_path / "other.npz", windows=np.zeros(1))
    with pytest.raises(InputError, match=r"demonstration\.views"):
        read_looks(tmp_path / "other.npz")
