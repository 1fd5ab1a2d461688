"""Small networks for the tests of the certification, as torch modules and as ONNX graphs."""

import numpy as np
import torch
from torch import nn

from l4edge_compression.defense.locality import stem_locality
from l4edge_compression.defense.scalecert import ScaleCertSettings
from l4edge_perception.models.export import export_graph

torch.set_num_threads(1)


class Pixels(nn.Module):
    """(B, H, W, 3) uint8 to (B, 3, H, W) float32 around 0."""

    def forward(self, images):
        return images.permute(0, 3, 1, 2).float() / 64.0 - 2.0


def to_graph(module, example):
    """The module's ONNX file for batches of any size."""
    return export_graph(module, torch.as_tensor(example), "image", "out", any_batch=True)


def small_stem(channels=8, stride=2, seed=0):
    """Pixels to features of a receptive field of 5: two convolutions with a normalization in between."""
    torch.manual_seed(seed)
    stem = nn.Sequential(
        Pixels(),
        nn.Conv2d(3, channels, 3, stride, 1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 3, 1, 1),
        nn.ReLU(),
    )
    stem[2].running_mean.normal_(0, 0.2)
    stem[2].running_var.uniform_(0.5, 2.0)
    return stem.eval()


def small_head(channels=8, classes=4, seed=1):
    """Features to logits, with a global operation, which a head may have."""
    torch.manual_seed(seed)
    head = nn.Sequential(
        nn.Conv2d(channels, 16, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, classes)
    )
    with torch.no_grad():
        head[-1].weight *= 4.0
    return head.eval()


COLOURS = np.array([[220, 40, 40], [40, 220, 40], [40, 40, 220], [220, 220, 40]], np.uint8)


def blobs(count, size, classes, seed):
    """(count, size, size, 3) uint8 noise with three squares of a colour, which is the class; labels (count,)."""
    random = np.random.default_rng(seed)
    images = random.integers(90, 150, (count, size, size, 3)).astype(np.uint8)
    labels = random.integers(0, classes, count)
    edge = size // 4
    for image, label in zip(images, labels, strict=True):
        for quarter in random.permutation(4)[:3]:
            y, x = random.integers(0, size // 2 - edge + 1, 2) + size // 2 * np.array([quarter // 2, quarter % 2])
            shade = random.integers(0, 40, (edge, edge, 3)).astype(np.uint8)
            image[y : y + edge, x : x + edge] = COLOURS[label] - shade
    return images, labels


def train(stem, head, select, steps=60, size=24, classes=4):
    """Teach stem and head the blobs, features going through ``select`` between them."""
    torch.manual_seed(0)
    module = nn.ModuleList([stem, head]).train()
    optimizer = torch.optim.Adam(module.parameters(), 1e-2)
    for step in range(steps):
        images, labels = blobs(32, size, classes, seed=1000 + step)
        logits = head(select(stem(torch.from_numpy(images))))
        loss = nn.functional.cross_entropy(logits, torch.from_numpy(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    module.eval()


def keep_most_salient(k):
    """Features (B, C, H, W) with all but the k most salient cells of each image zero."""

    def select(features):
        saliency = features.abs().sum(1).flatten(1)
        kept = torch.zeros_like(saliency).scatter(1, saliency.topk(k, dim=1).indices, 1.0)
        return features * kept.reshape(features.shape[0], 1, *features.shape[2:])

    return select


def settings_for(stem_graph, patch=(5, 5), counts=(3, 3), **given):
    """Settings with everything about the stem measured on its graph."""
    found = stem_locality(stem_graph)
    return ScaleCertSettings(
        found.input_size, patch, counts, found.receptive_field, found.stride, found.offset, found.map_size,
        **{"rule": "threshold", "keep": 0.0, "layout": found.layout, **given},
    )
