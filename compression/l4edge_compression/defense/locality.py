"""Build-time check that a stem is local: which input pixels each cell of its map can depend on.

A certificate holds only if a patch changes the cells of its shadow and no others. This walks the ONNX graph, derives
receptive field, stride and offset, and refuses by name every operation through which a patch could reach the whole map:
normalization over space, squeeze and excite, attention, global pooling, scaling by statistics of the image, resizing.
What is not known to be local is refused, too. Needs ``onnx``, which a vehicle does not have: certified packages are
checked where they are written.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
import onnxruntime

from l4edge_compression.defense.locality_places import Place
from l4edge_compression.defense.locality_rules import follow
from l4edge_compression.defense.windows import Pair, axis_shadows
from l4edge_perception.errors import InputError


@dataclass(frozen=True)
class Locality:
    """What a stem's cells see; pairs are (y, x).

    Cell i of an axis sees pixels offset + i * stride up to and without offset + i * stride + receptive_field.
    """

    input_size: Pair
    layout: str
    receptive_field: Pair
    stride: Pair
    offset: Pair
    map_size: Pair
    channels: int

    def shadows(self, patch: Pair) -> Tuple[np.ndarray, np.ndarray]:
        """For each patch position of the y axis and of the x axis the cells [first, end) it touches."""
        y, x = (
            axis_shadows(
                self.input_size[axis], patch[axis], self.receptive_field[axis], self.stride[axis], self.offset[axis],
                self.map_size[axis],
            )
            for axis in (0, 1)
        )
        return y, x


def stem_locality(graph: Union[bytes, str, Path], size: Optional[Pair] = None) -> Locality:
    """Derive a stem's locality from its ONNX graph.

    Args:
        graph: the file or its content; one image tensor in, (B, C, H', W') float32 out.
        size: (H, W) of the images if the graph leaves it open.

    Raises:
        InputError: names the node that is not local, or not known to be, and says why.
    """
    import onnx

    content, file = _content(graph)
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf raises its own kind
        raise InputError(f"{file}: not an ONNX graph ({error}); export the stem again") from error
    if model.functions:
        raise InputError(f"{file}: has functions of its own, whose names say nothing; export with functions inlined")
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1 or len(model.graph.output) != 1:
        raise InputError(
            f"{file}: a stem has one input and one output, this graph has {len(inputs)} and {len(model.graph.output)}"
        )
    shape, layout = _input_shape(inputs[0], size, file)
    output = model.graph.output[0].name
    # Real shapes and constants, as the engine itself sees them.
    values = _run_all(model, inputs[0].name, np.zeros(shape, _dtype(inputs[0])), file)
    axes = ("batch", "y", "x", "channel") if layout == "HWC" else ("batch", "channel", "y", "x")
    places: Dict[str, Place] = {
        inputs[0].name: Place(axes, (1, 1), (1, 1), (0, 0), (shape[axes.index("y")], shape[axes.index("x")]))
    }
    opset = max([entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")] or [0])
    for node in model.graph.node:
        if not any(name in places for name in node.input):
            continue
        found = follow(node, places, values, opset, file)
        for name in node.output:
            if name:
                _check_size(node, found, values[name], file)
                places[name] = found
    if output not in places:
        raise InputError(f"{file}: output {output} does not depend on the image")
    place = places[output]
    if place.axes != ("batch", "channel", "y", "x"):
        raise InputError(f"{file}: output {output} must be (batch, channels, y, x), is ({', '.join(place.axes)})")
    return Locality(
        (shape[axes.index("y")], shape[axes.index("x")]), layout, place.receptive_field, place.stride, place.offset,
        place.size, int(values[output].shape[1]),
    )


_COUPLING = {
    "DynamicQuantizeLinear": "its scale depends on every image of the batch; quantize statically",
    "DynamicQuantizeMatMul": "its scale depends on every image of the batch; quantize statically",
    "DynamicQuantizeLSTM": "its scale depends on every image of the batch; quantize statically",
    "RandomNormal": "the same input must give the same logits",
    "RandomNormalLike": "the same input must give the same logits",
    "RandomUniform": "the same input must give the same logits",
    "RandomUniformLike": "the same input must give the same logits",
    "Bernoulli": "the same input must give the same logits",
    "Multinomial": "the same input must give the same logits",
}


def check_head(graph: Union[bytes, str, Path]) -> None:
    """Refuse a head, or a whole classifier, in which one image of a batch reaches another or chance plays a part.

    Raises:
        InputError: names the node and says why.
    """
    import onnx

    content, file = _content(graph)
    for node in onnx.load_model_from_string(content).graph.node:
        reason = _COUPLING.get(node.op_type)
        training = [entry.i for entry in node.attribute if entry.name == "training_mode"]
        if node.op_type == "BatchNormalization" and any(training):
            reason = "it takes statistics of the batch; export in evaluation mode"
        if reason:
            raise InputError(f"{file}: node {node.name or node.output[0]} ({node.op_type}): {reason}")


def observed_coupling(run: Callable[[np.ndarray], np.ndarray], tensors: np.ndarray) -> int:
    """How many rows change bitwise when other rows of the batch change; must be 0.

    Args:
        run: (B, ...) tensors to (B, classes).
        tensors: (B, ...), at least two that differ.
    """
    changed = 0
    first = np.array(run(tensors))
    for row in range(len(tensors)):
        others = np.roll(tensors, 1, axis=0)
        others[row] = tensors[row]
        changed += int(not np.array_equal(np.asarray(run(others))[row], first[row]))
    return changed


def observed_leak(
    run: Callable[[np.ndarray], np.ndarray], locality: Locality, images: np.ndarray, patch: Pair, seed: int
) -> int:
    """How many cells outside the shadow change bitwise when patches are put into images; must be 0.

    This also finds what no graph shows: an engine whose kernels let numerics of neighbouring cells mix, as
    Winograd convolutions do.

    Args:
        run: the stem, (B, ...) images to (B, C, H', W').
        locality: as derived.
        images: (B, ...) in the locality's layout; each gets one patch of random values, the first four in the corners.
        patch: (h, w) in pixels.
        seed: of positions and values.
    """
    random = np.random.default_rng(seed)
    shadows = locality.shadows(patch)
    last = [len(axis) - 1 for axis in shadows]
    corners = [(0, 0), (last[0], last[1]), (0, last[1]), (last[0], 0)]
    changed = 0
    for index, image in enumerate(images):
        y, x = corners[index] if index < len(corners) else [int(random.integers(end + 1)) for end in last]
        patched = image.copy()
        area = (slice(y, y + patch[0]), slice(x, x + patch[1]))
        target = patched[area] if locality.layout == "HWC" else patched[(slice(None), area[0], area[1])]
        high = 256 if image.dtype == np.uint8 else 8
        target[...] = random.integers(0, high, target.shape)
        before, after = np.array(run(image[None])[0]), np.array(run(patched[None])[0])
        different = (before != after).any(axis=0)
        (top, bottom), (left, right) = shadows[0][y], shadows[1][x]
        different[top:bottom, left:right] = False
        changed += int(different.sum())
    return changed


def _content(graph: Union[bytes, str, Path]) -> Tuple[bytes, str]:
    if isinstance(graph, bytes):
        return graph, "stem"
    try:
        return Path(graph).read_bytes(), str(graph)
    except OSError as error:
        raise InputError(f"{graph}: cannot be read ({error}); name an ONNX file") from error


def _dtype(value: Any) -> Any:
    from onnx.helper import tensor_dtype_to_np_dtype

    return tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)


def _input_shape(value: Any, size: Optional[Pair], file: str) -> Tuple[Tuple[int, ...], str]:
    """Shape with a batch of 1 and the layout, from where the colours are."""
    sizes: List[int] = [entry.dim_value for entry in value.type.tensor_type.shape.dim]
    if len(sizes) != 4:
        raise InputError(f"{file}: input {value.name} must have 4 axes, batch first, has {len(sizes)}")
    layout = "HWC" if sizes[3] in (1, 3) and sizes[1] not in (1, 3) else "CHW"
    y = 1 if layout == "HWC" else 2
    for axis in (0, 1):
        given = None if size is None else size[axis]
        if sizes[y + axis] == 0 and given is None:
            raise InputError(f"{file}: input {value.name} leaves its size open; give the size of the images")
        if sizes[y + axis] > 0 and given not in (None, sizes[y + axis]):
            raise InputError(f"{file}: input {value.name} is for images of {sizes[y:y + 2]}, not {size}")
        sizes[y + axis] = sizes[y + axis] or int(given or 0)
    sizes[0] = 1
    if min(sizes) < 1:
        raise InputError(f"{file}: input {value.name} leaves its number of channels open")
    return tuple(sizes), layout


def _run_all(model: Any, name: str, image: np.ndarray, file: str) -> Dict[str, np.ndarray]:
    """Every tensor of one run, constants included."""
    import onnx
    from onnx.numpy_helper import to_array

    values = {tensor.name: to_array(tensor) for tensor in model.graph.initializer}
    names = [output for node in model.graph.node for output in node.output if output]
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    known = {output.name for output in copy.graph.output}
    copy.graph.output.extend(onnx.ValueInfoProto(name=output) for output in names if output not in known)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(copy.SerializeToString(), options, providers=["CPUExecutionProvider"])
        values.update(zip(names, session.run(names, {name: image})))
    except Exception as error:  # onnxruntime raises its own kinds, without a common base
        reason = " ".join(str(error).split())
        raise InputError(f"{file}: onnxruntime {onnxruntime.__version__} cannot run it ({reason})") from error
    return values


def _check_size(node: Any, place: Place, value: np.ndarray, file: str) -> None:
    """What was derived must be what the engine made."""
    sizes: Sequence[int] = value.shape
    seen = tuple(sizes[place.axes.index(axis)] for axis in ("y", "x")) if len(sizes) == 4 else sizes
    if seen != place.size:
        raise InputError(
            f"{file}: node {node.name or node.output[0]} ({node.op_type}): gives places {tuple(seen)} where "
            f"{place.size} follow from the image; a value of the whole image is spread over it"
        )
