"""What all trainings share, and that the sign classifier's can be stopped and resumed."""

# ruff: noqa: E402 - what needs torch is imported once torch is known to be there
from dataclasses import dataclass, field

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from l4edge_perception.errors import InputError
from l4edge_perception.models.sign_classifier import SignClassifierConfig
from l4edge_perception.training import sign_classifier
from l4edge_perception.training.processor import device_named
from l4edge_perception.training.resuming import load_parts, save_parts
from l4edge_perception.training.schedule import decay_groups, falling, follow, progress_of
from l4edge_perception.training.sign_crops import Tiles
from l4edge_perception.types import MEANINGS


@pytest.mark.parametrize(
    ("step", "elapsed_s", "limit_s", "progress"),
    [(0, 0.0, 0.0, 0.0), (25, 99.0, 0.0, 0.25), (25, 5.0, 10.0, 0.5), (75, 5.0, 10.0, 0.75), (75, 20.0, 10.0, 1.0)],
)
def test_a_training_ends_with_its_steps_or_its_time(step, elapsed_s, limit_s, progress):
    assert progress_of(step, 100, elapsed_s, limit_s) == progress


def test_half_a_cosine_falls_to_what_is_asked_for():
    assert [falling(share, 0.2) for share in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 0.6, 0.2])
    assert falling(1.0) == pytest.approx(0.0)


def test_an_average_follows_quickly_at_first_and_copies_counters():
    means, values = [torch.zeros(3), torch.tensor(0)], [torch.ones(3), torch.tensor(7)]
    follow(means, values, 0.9, 0)
    assert means[0].tolist() == pytest.approx([0.9] * 3)
    assert int(means[1]) == 7
    follow(means, [torch.zeros(3), torch.tensor(8)], 0.9, 1_000_000)
    assert means[0].tolist() == pytest.approx([0.81] * 3)


def test_biases_normalizations_and_tokens_do_not_decay():
    network = torch.nn.Module()
    network.layer, network.norm = torch.nn.Linear(2, 3), torch.nn.LayerNorm(3)
    network.cls_token = torch.nn.Parameter(torch.zeros(1, 1, 3))
    decayed, kept = decay_groups(network, 0.5)
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.5, 0.0)
    assert [weight is network.layer.weight for weight in decayed["params"]] == [True]
    assert len(kept["params"]) == 4


@dataclass
class Kept:
    """A state with one part and one number."""

    layer: torch.nn.Linear = field(default_factory=lambda: torch.nn.Linear(2, 2))
    step: int = 0


def test_parts_and_counters_come_back(tmp_path):
    saved, read = Kept(step=5), Kept()
    save_parts(tmp_path / "a.pt", saved, ["layer"], ["step"], {"config": {"seed": 1}})
    assert list(torch.load(tmp_path / "a.pt", weights_only=True)) == ["config", "layer", "step"]
    load_parts(tmp_path / "a.pt", read, ["layer"], ["step"])
    assert torch.equal(read.layer.weight, saved.layer.weight)
    assert read.step == 5
    with pytest.raises(InputError, match="not a checkpoint of this network"):
        load_parts(tmp_path / "a.pt", read, ["layer"], ["epoch"])


def test_a_gpu_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_named("cpu").type == "cpu"
    with pytest.raises(InputError, match="--device cuda: torch sees no GPU"):
        device_named("cuda")


def tiles(count):
    """Noise with boxes that are large enough for every meaning."""
    rng = np.random.default_rng(0)
    boxes = np.stack([np.array([5, 5, 5 + edge, 5 + edge], np.float32) for edge in rng.integers(24, 30, count)])
    pixels = [rng.integers(0, 256, (40, 40, 3), dtype=np.uint8) for _ in range(count)]
    zeros = np.zeros(count, int)
    return Tiles(pixels, boxes, np.arange(count) % len(MEANINGS), zeros, zeros, zeros)


def test_a_resumed_sign_training_ends_like_an_unbroken_one(tmp_path):
    torch.set_num_threads(1)
    network = SignClassifierConfig(crop=16, width=12, depth=1, heads=2, stem=(4, 6, 8))
    config = sign_classifier.TrainingConfig(passes=2, pass_steps=2, batch_size=6, network=network)

    def begun():
        return sign_classifier.new_state(config, torch.device("cpu"))

    def keep(state):
        sign_classifier.save_checkpoint(tmp_path / f"{state.done}.pt", state, config)

    whole, resumed, seen = begun(), begun(), tiles(2 * len(MEANINGS))
    sign_classifier.train(seen, config, whole, keep)
    sign_classifier.load_checkpoint(tmp_path / "1.pt", resumed)
    assert (resumed.done, resumed.step) == (1, 2)
    sign_classifier.train(seen, config, resumed, lambda state: None)
    assert resumed.history == whole.history
    for name, value in whole.average.state_dict().items():
        assert torch.equal(value, resumed.average.state_dict()[name]), name
