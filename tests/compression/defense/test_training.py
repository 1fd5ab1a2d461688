"""Sparse stems: what is kept, what is hidden in training, what is refused, and the package that comes out."""

import copy
import dataclasses
import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from l4edge_compression.api import (
    OcclusionConfig,
    ScaleCertConfig,
    compress_,
    config_from_json,
    config_to_json,
    quantizing,
)
from l4edge_compression.defense.locality import stem_locality
from l4edge_compression.defense.scalecert import ScaleCert, ScaleCertSettings
from l4edge_compression.defense.sessions import graph_runner
from l4edge_compression.defense.training.export import certified_graphs, stored_in_half
from l4edge_compression.defense.training.sparse_stem import window_side
from l4edge_compression.defense.training.sparsifying import choose_hardest_, sparse_stem
from l4edge_compression.defense.training.splitting import split
from l4edge_compression.defense.windows import axis_windows
from l4edge_compression.quantization.rmsmp import RmsmpConfig
from l4edge_perception.errors import InputError


class Small(nn.Module):
    """A stem of one convolution and a head with a residual sum."""

    def __init__(self, middle=None):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 8, 3, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.middle = middle or nn.Identity()
        self.relu = nn.ReLU()
        self.body = nn.Conv2d(8, 8, 3, 1, 1)
        self.fc = nn.Linear(8, 4)

    def forward(self, images):
        features = self.relu(self.middle(self.norm(self.conv(images))))
        features = features + torch.relu(self.body(features))
        return self.fc(features.mean((2, 3)))


@pytest.fixture
def images():
    return torch.randn(32, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def made(images, **fields):
    return compress_(Small().eval(), ScaleCertConfig(patch=(3, 3), counts=(4, 4), **fields), [images])


def test_settings_survive_json_and_name_what_is_wrong():
    config = ScaleCertConfig(rule="top_k", keep=0.1, occlusion=OcclusionConfig(shares=(0.0, 1.0, 0.0), level="pixels"))
    assert config_from_json(json.loads(json.dumps(config_to_json(config)))) == config
    with pytest.raises(InputError, match="does not quantize"):
        quantizing(config)
    assert quantizing(RmsmpConfig()) == RmsmpConfig()
    for fields, words in (
        ({"rule": "mean"}, "rule"), ({"keep": 0.0}, "keep"), ({"patch": (3,)}, "patch"), ({"confidence": 1.0}, "conf"),
        ({"margin": -1.0}, "margin"),
    ):
        with pytest.raises(InputError, match=words):
            ScaleCertConfig(**fields)
    for fields, words in (
        ({"shares": (0.5, 0.6, 0.0)}, "shares"), ({"counts": ()}, "counts"), ({"level": "x"}, "level"),
        ({"candidates": 0}, "candidates"), ({"hardest": 0}, "hardest"),
    ):
        with pytest.raises(InputError, match=words):
            OcclusionConfig(**fields)


@pytest.mark.parametrize("rule", ["threshold", "top_k"])
def test_the_stated_share_of_cells_is_kept(images, rule):
    model = made(images, rule=rule, keep=0.25)
    stem, head = split(model, "relu")
    features = stem(images)
    kept = sparse_stem(model).kept(features)
    assert kept.float().mean() == pytest.approx(0.25, abs=0.005)
    assert torch.equal(head(features * kept.unsqueeze(1)), model(images))
    if rule == "top_k":
        assert kept.flatten(1).sum(1).tolist() == [16] * len(images)


def test_a_threshold_of_one_picture_does_not_depend_on_the_others(images):
    model = made(images)
    alone = torch.cat([model(image[None]) for image in images])
    torch.testing.assert_close(alone, model(images), rtol=0, atol=1e-5)


def test_ties_keep_the_first_cells(images):
    model = made(images, rule="top_k", keep=3 / 64)
    kept = sparse_stem(model).kept(torch.ones(1, 8, 8, 8))
    assert kept.flatten().nonzero().flatten().tolist() == [0, 1, 2]


def test_a_stem_that_does_not_learn_keeps_its_weights_and_statistics(images):
    model = made(images)
    before = copy.deepcopy(model.state_dict())
    model.train()
    optimizer = torch.optim.SGD([each for each in model.parameters() if each.requires_grad], lr=0.1)
    model(images).square().sum().backward()
    optimizer.step()
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith(("conv", "norm")))
    assert not torch.equal(before["fc.weight"], after["fc.weight"])
    learning = made(images, train_stem=True)
    assert learning.conv.weight.requires_grad
    assert not learning.train().norm.training


@pytest.mark.parametrize("level", ["features", "pixels", "both"])
def test_windows_hide_in_training_only_and_follow_the_seed(images, level):
    occlusion = OcclusionConfig(shares=(0.0, 1.0, 0.0), counts=(4,), level=level)
    model, again = (made(images, keep=1.0, occlusion=occlusion) for _ in range(2))
    stem = sparse_stem(model)
    shown = stem.feature_windows(torch.ones(32, 8, 8, 8)), stem.pixel_windows(images)
    hidden = [(each == 0).flatten(1).sum(1) for each in shown]
    sides = window_side(8, 3, 4), window_side(16, 3, 4)
    for cells, side, other in zip(hidden, sides, ("pixels", "features"), strict=True):
        assert set(cells.tolist()) == ({0} if level == other else {side**2} if level != "both" else {0, side**2})
    assert ((hidden[0] > 0) ^ (hidden[1] > 0)).all()
    plain = model(images)
    first, second = model.train()(images), model(images)
    assert not torch.equal(first, plain)
    assert not torch.equal(first, second)
    torch.testing.assert_close(again.train()(images), first)
    torch.testing.assert_close(model.eval()(images), plain)


def test_window_sides_are_those_of_the_certificates():
    for length in (8, 16, 33):
        for count in (1, 2, 3, 6):
            starts, ends = axis_windows(length, 4, count).T
            assert set(ends - starts) == {window_side(length, 4, count)}


def test_more_candidates_hide_more(images):
    stem = sparse_stem(made(images, keep=1.0))
    weights = torch.rand(32, 8, 8, 8, generator=torch.Generator().manual_seed(0))

    def hidden(candidates):
        occlusion = OcclusionConfig((0.0, 1.0, 0.0), (4,), candidates, "features")
        stem.config = dataclasses.replace(stem.config, occlusion=occlusion)
        return float((weights * (1 - stem.feature_windows(weights))).sum())

    assert hidden(8) > hidden(1)


def test_the_hardest_of_several_draws_is_learned_from_once(images):
    labels = torch.arange(32) % 4
    occlusion = OcclusionConfig(shares=(0.0, 1.0, 0.0), hardest=4, counts=(2,))
    model = made(images, occlusion=occlusion).train()
    stem = sparse_stem(model)

    def losses(attempts):
        stem.attempts = attempts
        model.eval()
        with torch.no_grad():
            return functional.cross_entropy(model(images), labels, reduction="none")

    every = torch.stack([losses(torch.full((32,), attempt)) for attempt in range(4)])
    assert (every.std(0) > 0).float().mean() > 0.5, "draws differ"
    model.train()
    choose_hardest_(model, images, labels)
    assert model.training and int(stem.drawn) == 0, "to look is no batch"
    chosen = stem.attempts.clone()
    torch.testing.assert_close(losses(chosen), every.max(0).values)
    model.train()(images)
    assert stem.attempts is None and int(stem.drawn) == 1
    stem.attempts = None
    assert not model.eval().training and not stem.occluding
    single = made(images).train()
    choose_hardest_(single, images, labels)
    assert sparse_stem(single).attempts is None


def test_what_cannot_be_certified_is_refused(images):
    cases = (
        (Small(), ScaleCertConfig(after="nowhere"), [images], "has no module"),
        (Small(), ScaleCertConfig(after="body"), [images], "read beside it"),
        (Small(nn.GroupNorm(2, 8)), ScaleCertConfig(), [images], "not known to be local"),
        (Small(nn.AdaptiveAvgPool2d(1)), ScaleCertConfig(), [images], "not known to be local"),
        (Small(), ScaleCertConfig(), [], "no batch"),
        (Small(), ScaleCertConfig(), [images * torch.nan], "not finite"),
    )
    for model, config, data, words in cases:
        with pytest.raises(InputError, match=words):
            compress_(model.eval(), config, data)
    with pytest.raises(InputError, match="already"):
        compress_(made(images), ScaleCertConfig(), [images])
    with pytest.raises(InputError, match="has no sparse stem"):
        sparse_stem(Small())


def test_a_refused_model_is_as_it_was(images):
    model = Small().eval()
    plain = model(images)
    with pytest.raises(InputError):
        compress_(model, ScaleCertConfig(), [])
    assert torch.equal(model(images), plain)
    assert all(each.requires_grad for each in model.parameters())
    assert compress_(model, ScaleCertConfig(keep=1.0), [images]) is model


def test_exported_graphs_give_the_model_s_labels(images):
    model = made(images)
    pixels = (images.permute(0, 2, 3, 1) * 40 + 128).clamp(0, 255).to(torch.uint8).numpy()
    parts = certified_graphs(model, pixels, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    place = stem_locality(parts["stem"], (16, 16))
    assert (place.receptive_field, place.stride, place.offset, place.map_size) == ((3, 3), (2, 2), (-1, -1), (8, 8))
    settings = ScaleCertSettings(
        (16, 16), (3, 3), (4, 4), place.receptive_field, place.stride, place.offset, place.map_size, "threshold",
        float(sparse_stem(model).threshold), layout=place.layout,
    )
    certifier = ScaleCert(graph_runner(parts["stem"]), graph_runner(parts["head"]), settings)
    expected = model((torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.2).argmax(1).numpy()
    assert (certifier.undefended(pixels) == expected).all()
    half = stored_in_half(parts["head"], least=16)
    assert len(half) < len(parts["head"])
    features = np.abs(np.random.default_rng(0).normal(size=(4, 8, 8, 8))).astype(np.float32)
    full, small = (graph_runner(graph)(features) for graph in (parts["head"], half))
    assert 0 < np.abs(full - small).max() < 1e-2
    with pytest.raises(InputError, match="uint8"):
        certified_graphs(model, pixels.astype(np.float32), (0.5,) * 3, (0.2,) * 3)
