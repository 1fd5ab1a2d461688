"""From a trained network with a sparse stem to the two graphs that certificates run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from l4edge_compression.defense.training.sparsifying import sparse_stem
from l4edge_compression.defense.training.splitting import split
from l4edge_perception.errors import InputError
from l4edge_perception.models.export import check_parity, export_graph


class PixelStem(nn.Module):
    """A stem behind what cameras give: (B, H, W, 3) uint8 pixels, channel by channel to mean 0 and deviation 1.

    Args:
        stem: (B, 3, H, W) to (B, C, H', W').
        mean, deviation: of the channels, for pixels in 0..1.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, stem: nn.Module, mean: Sequence[float], deviation: Sequence[float]):
        super().__init__()
        self.stem = stem
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1) * 255)
        self.register_buffer("deviation", torch.tensor(deviation).view(1, -1, 1, 1) * 255)

    def forward(self, images: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 to (B, C, H', W'), nothing selected yet."""
        return self.stem((images.permute(0, 3, 1, 2).float() - self.mean) / self.deviation)


def certified_graphs(
    model: nn.Module, images: np.ndarray, mean: Sequence[float], deviation: Sequence[float], *, half: bool = False
) -> dict[str, bytes]:
    """The ONNX files ``stem`` and ``head``, for any number of pictures at once.

    Selection and windows are no part of them: certificates do both in between, with one code for every package.

    Args:
        model: with a sparse stem, trained.
        images: (B, H, W, 3) uint8 RGB, on which onnxruntime must agree with torch.
        mean, deviation: that the model's input was normalized with.
        half: stores the head's weights in 16 bits.

    Raises:
        InputError: the model has no sparse stem, or the images are not pictures.
        RuntimeError: onnxruntime disagrees.
    """
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
        raise InputError(f"images: are {images.dtype} of shape {images.shape}; must be uint8, (B, H, W, 3)")
    selection = sparse_stem(model)
    stem, head = split(model.eval(), selection.config.after)
    pixels = PixelStem(stem, mean, deviation).eval()
    example = torch.from_numpy(images)
    with torch.no_grad():
        features = selection.select(pixels(example))
    graphs = {
        "stem": export_graph(pixels, example[:1], "images", "features", any_batch=True),
        "head": export_graph(head, features[:1], "features", "logits", any_batch=True),
    }
    check_parity(pixels, graphs["stem"], [images])
    check_parity(head, graphs["head"], [features.numpy()])
    if half:
        # Normalization is folded into the weights by now: rounding changes the network, a little. What is certified
        # and judged is the graph as written.
        graphs["head"] = stored_in_half(graphs["head"])
    return graphs


def stored_in_half(graph: bytes, least: int = 256) -> bytes:
    """The same graph, its large float32 tensors stored as float16 behind a Cast, which onnxruntime folds at load."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load_model_from_string(graph)
    casts = []
    for tensor in list(model.graph.initializer):
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < least:
            continue
        name = f"{tensor.name}_half"
        model.graph.initializer.remove(tensor)
        model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float16), name))
        casts.append(onnx.helper.make_node("Cast", [name], [tensor.name], to=onnx.TensorProto.FLOAT))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*casts, *nodes])
    return model.SerializeToString()
