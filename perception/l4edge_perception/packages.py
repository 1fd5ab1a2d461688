"""The model package: a folder with ONNX graphs and ``manifest.json``, and what may be relied on in it.

A package holds one network at one or more levels (operating points). Reading one checks everything that the manifest
says: hashes, shapes, class maps. Whoever holds a :class:`ModelPackage` need not check again.
The file format is described in docs/model_package.md.
"""

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Mapping, Optional, Sequence, Tuple, Union

import onnxruntime

from l4edge_perception.errors import InputError
from l4edge_perception.files import new_folder, write_bytes, write_text
from l4edge_perception.graphs import TensorSpec, graph_signature
from l4edge_perception.json_records import from_json
from l4edge_perception.types import OBJECT_CLASSES

FORMAT = "l4edge-model-package"
VERSION = 1
MANIFEST = "manifest.json"
TASKS = ("detection_2d", "classification", "segmentation")


@dataclass(frozen=True)
class InputSpec:
    """The tensor a network wants and how an image becomes one.

    Attributes:
        name: of the graph's input.
        shape: its sizes, batch first; the batch is 1, or -1 for a classifier that takes any number of crops at once.
        dtype: "uint8" or "float32".
        layout: "NHWC" or "NCHW".
        colour_order: "RGB" or "BGR".
        resize: "stretch" to the input's size, or "letterbox": keep the aspect, centre, pad with ``padding``.
        scale, mean, std: the tensor is (pixel * scale - mean) / std, per channel in the network's colour order; all
            neutral for uint8, where the graph normalizes.
        padding: pixel value around a letterboxed image.
    """

    name: str
    shape: Tuple[int, ...]
    dtype: str
    layout: str
    colour_order: str = "RGB"
    resize: str = "stretch"
    scale: float = 1.0
    mean: Tuple[float, ...] = (0.0, 0.0, 0.0)
    std: Tuple[float, ...] = (1.0, 1.0, 1.0)
    padding: int = 0

    @property
    def size(self) -> Tuple[int, int]:
        """Height and width in pixels."""
        return (self.shape[1], self.shape[2]) if self.layout == "NHWC" else (self.shape[2], self.shape[3])


@dataclass(frozen=True)
class OutputSpec:
    """What comes out of a network and how it is read.

    Attributes:
        names: of the graph's outputs, in the decoder's order.
        shapes: their sizes, batch first; -1 where it changes from image to image.
        decoder: its name, for detectors a key of ``camera.decoders.LAYOUTS``.
        parameters: constants of the decoder, and the defaults of what follows it.
    """

    names: Tuple[str, ...]
    shapes: Tuple[Tuple[int, ...], ...]
    decoder: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Accuracy:
    """How good a level was found to be.

    Attributes:
        metrics: name and value, such as {"AP50": 0.8}.
        dataset: on what. seed: of the training, or None. device: on what it was measured.
    """

    metrics: Mapping[str, float]
    dataset: str
    seed: Optional[int]
    device: str


@dataclass(frozen=True)
class Level:
    """One operating point of a network.

    Attributes:
        name: unique in the package.
        graph: file name inside the package.
        sha256: of that file.
        bytes: size of that file.
        macs: multiply-accumulate operations of one run.
        accuracy: as measured, or None where nobody measured.
        schemes: layer name and the word for its number format or sparsity, for the layers that differ from float32.
    """

    name: str
    graph: str
    sha256: str
    bytes: int
    macs: int
    accuracy: Optional[Accuracy] = None
    schemes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelPackage:
    """A network as it is handed from room to room; everything in it has been checked.

    Attributes:
        path: the folder.
        name: of the network. task: "detection_2d" and others to come.
        input, output: its tensors, the same at every level.
        classes: the network's own class names.
        class_map: for each of them the index into ``OBJECT_CLASSES``, or -1 for one that is dropped; empty for tasks
            that do not speak of objects.
        levels: operating points, the most accurate first.
        minimum_onnxruntime: oldest version that runs every graph.
        provenance: how the package was made.
    """

    path: Path
    name: str
    task: str
    input: InputSpec
    output: OutputSpec
    classes: Tuple[str, ...]
    class_map: Tuple[int, ...]
    levels: Tuple[Level, ...]
    minimum_onnxruntime: str
    provenance: Mapping[str, Any]

    def level(self, name: Optional[str] = None) -> Level:
        """The level of that name, or the first."""
        if name is None:
            return self.levels[0]
        for level in self.levels:
            if level.name == name:
                return level
        known = ", ".join(level.name for level in self.levels)
        raise InputError(f"{self.path}: no level {name!r}; it has {known}")

    def read_graph(self, level: Level) -> bytes:
        """The level's ONNX file. Raises InputError if it is missing or is not the one the manifest names."""
        path = self.path / level.graph
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: graph of level {level.name!r} cannot be read ({error})") from error
        if hashlib.sha256(content).hexdigest() != level.sha256:
            raise InputError(
                f"{path}: sha256 differs from levels.{level.name}.sha256 in {MANIFEST}; copy the package again"
            )
        return content


def load_package(path: Union[str, Path]) -> ModelPackage:
    """Read and check a package.

    Raises:
        InputError: naming file and field, for anything that cannot be trusted: a missing or malformed manifest, an
            unknown version, a graph that is missing, altered, unreadable, or of other shapes than declared.
    """
    path = Path(path)
    file = path / MANIFEST
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{file}: no such file; name the folder of a model package") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: not readable JSON ({error}); copy the package again") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InputError(f"{file}: field format: not {FORMAT!r}; this is no model package")
    if manifest.get("version") != VERSION:
        raise InputError(
            "{}: field version: {!r} is unknown here, this software reads {}".format(
                file, manifest.get("version"), VERSION
            )
        )
    fields = {name: value for name, value in manifest.items() if name not in ("format", "version", "path")}
    package = from_json(ModelPackage, dict(fields, path=path), str(file))
    _check_meaning(package, str(file))
    for level in package.levels:
        _check_graph(package, level)
    return package


def write_package(package: ModelPackage, graphs: Mapping[str, bytes]) -> ModelPackage:
    """Write a package whole or not at all, replacing one that is there, and return it as it was read back.

    Args:
        package: what the manifest shall say; ``sha256`` and ``bytes`` of the levels are filled in here.
        graphs: level name to ONNX file content.

    Raises:
        InputError: the package would not be readable; nothing is written then.
    """
    levels = tuple(
        replace(level, sha256=hashlib.sha256(graphs[level.name]).hexdigest(), bytes=len(graphs[level.name]))
        for level in package.levels
    )
    content = {"format": FORMAT, "version": VERSION, **asdict(replace(package, levels=levels))}
    del content["path"]
    with new_folder(package.path) as folder:
        for level in levels:
            write_bytes(folder / level.graph, graphs[level.name])
        write_text(folder / MANIFEST, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        checked = load_package(folder)
    return replace(checked, path=package.path)


def _check_meaning(package: ModelPackage, file: str) -> None:
    """What types alone do not say."""
    given, output = package.input, package.output
    names = [level.name for level in package.levels]
    rules = (
        ("task", package.task in TASKS, "one of {}".format(", ".join(TASKS))),
        ("input.dtype", given.dtype in ("uint8", "float32"), "uint8 or float32"),
        ("input.layout", given.layout in ("NHWC", "NCHW"), "NHWC or NCHW"),
        ("input.colour_order", given.colour_order in ("RGB", "BGR"), "RGB or BGR"),
        ("input.resize", given.resize in ("stretch", "letterbox"), "stretch or letterbox"),
        (
            "input.shape",
            _is_image_shape(given, package.task),
            "1 (or -1 for a classification), 3 and two sizes in the order of the layout",
        ),
        ("input.mean", len(given.mean) == 3, "three numbers"),
        ("input.std", len(given.std) == 3 and all(value > 0 for value in given.std), "three positive numbers"),
        ("output.shapes", 0 < len(output.shapes) == len(output.names), "one shape per name"),
        ("classes", len(package.classes) > 0, "at least one name"),
        ("class_map", len(package.class_map) in _class_map_lengths(package), "one index per class"),
        (
            "class_map",
            all(-1 <= index < len(OBJECT_CLASSES) for index in package.class_map),
            "indices into {} or -1".format(", ".join(OBJECT_CLASSES)),
        ),
        ("levels", 0 < len(names) == len(set(names)), "at least one level, each with its own name"),
        ("levels.graph", all(_is_plain_name(level.graph) for level in package.levels), "file names inside the package"),
        ("levels.macs", all(level.macs >= 0 for level in package.levels), "not negative"),
        ("minimum_onnxruntime", _version(package.minimum_onnxruntime) is not None, "a version such as 1.16.0"),
    )
    for name, right, wanted in rules:
        if not right:
            raise InputError(f"{file}: field {name}: must be {wanted}")
    needed, present = _version(package.minimum_onnxruntime), _version(onnxruntime.__version__)
    if present is not None and needed is not None and present < needed:
        raise InputError(
            f"{file}: field minimum_onnxruntime: needs {package.minimum_onnxruntime}, "
            f"here is {onnxruntime.__version__}; update onnxruntime"
        )


def _class_map_lengths(package: ModelPackage) -> Tuple[int, ...]:
    """A detector must say what its classes are; other tasks may leave the map out."""
    count = len(package.classes)
    return (count,) if package.task == "detection_2d" else (0, count)


def _is_image_shape(given: InputSpec, task: str) -> bool:
    if len(given.shape) != 4 or min(given.shape[1:]) < 1:
        return False
    batches = (1, -1) if task == "classification" else (1,)
    return given.shape[0] in batches and given.shape[3 if given.layout == "NHWC" else 1] == 3


def _is_plain_name(name: str) -> bool:
    """Whether a file of that name lies in the package itself."""
    return bool(name) and Path(name).name == name and name not in (MANIFEST, "..")


def _version(text: str) -> Optional[Tuple[int, ...]]:
    """(1, 16, 3) of "1.16.3" and of "1.16.3+cu12", or None."""
    match = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part or 0) for part in match.groups()) if match else None


def _check_graph(package: ModelPackage, level: Level) -> None:
    """Raise InputError unless the level's graph has the inputs and outputs that the manifest declares."""
    file = package.path / level.graph
    content = package.read_graph(level)
    if len(content) != level.bytes:
        raise InputError(f"{file}: {len(content)} bytes, but levels.{level.name}.bytes is {level.bytes}")
    inputs, outputs = graph_signature(content, str(file))
    declared = [TensorSpec(package.input.name, package.input.dtype, package.input.shape)]
    if list(inputs) != declared:
        raise InputError(f"{file}: inputs are {_listed(inputs)}, but field input declares {_listed(declared)}")
    declared = [TensorSpec(name, "float32", shape) for name, shape in zip(package.output.names, package.output.shapes)]
    if list(outputs) != declared:
        raise InputError(f"{file}: outputs are {_listed(outputs)}, but field output declares {_listed(declared)}")


def _listed(tensors: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{tensor.name} {tensor.dtype} {list(tensor.shape)}" for tensor in tensors)
