"""Other people's detectors as model packages: which family a graph belongs to, and what its classes are here."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from l4edge_perception.camera.decoders import cell_grid
from l4edge_perception.errors import InputError
from l4edge_perception.graphs import TensorSpec, count_macs, graph_signature
from l4edge_perception.packages import InputSpec, Level, ModelPackage, OutputSpec, write_package
from l4edge_perception.types import OBJECT_CLASSES

_COCO = (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,parking meter,"
    "bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,handbag,tie,suitcase,frisbee,"
    "skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,tennis racket,bottle,wine glass,"
    "cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,"
    "potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,cell phone,microwave,oven,toaster,sink,"
    "refrigerator,book,clock,vase,scissors,teddy bear,hair drier,toothbrush"
)

COCO_CLASSES = tuple(_COCO.split(","))
"""The 80 classes of COCO in the order that its detectors use."""

SYNONYMS = {
    "bus": "truck",
    "van": "car",
    "person": "pedestrian",
    "rider": "cyclist",
    "bicycle": "cyclist",
    "motorcycle": "cyclist",
    "motorbike": "cyclist",
    "stop sign": "sign",
    "traffic sign": "sign",
    "traffic light": "light",
}
"""Foreign class name: the one of ``OBJECT_CLASSES`` that it counts as. All others are dropped."""

YOLO_STRIDES = (8, 16, 32)


class Conventions(NamedTuple):
    """How a family wants its pictures, unless the user says otherwise."""

    colour_order: str
    resize: str
    scale: float
    padding: int
    parameters: Dict[str, Any]


CONVENTIONS = {
    "fastestdet": Conventions("BGR", "stretch", 1 / 255, 0, {"overlap": 0.45, "score_threshold": 0.4}),
    "yolov5": Conventions("RGB", "letterbox", 1 / 255, 114, {"overlap": 0.45, "score_threshold": 0.25}),
    "yolov8": Conventions("RGB", "letterbox", 1 / 255, 114, {"overlap": 0.7, "score_threshold": 0.25}),
    "yolox": Conventions(
        "BGR", "letterbox", 1.0, 114, {"overlap": 0.45, "score_threshold": 0.3, "strides": list(YOLO_STRIDES)}
    ),
    "end_to_end": Conventions("RGB", "letterbox", 1 / 255, 114, {"score_threshold": 0.25}),
}
"""Layout: the preprocessing of that project's own demo."""


def read_classes(choice: str) -> Tuple[str, ...]:
    """``coco``, or the path of a text file with one class name a line."""
    if choice == "coco":
        return COCO_CLASSES
    try:
        lines = Path(choice).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"--classes {choice}: not readable ({error}); give coco or a text file") from error
    names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise InputError(f"{choice}: no class names; write one a line")
    return names


def class_map(names: Sequence[str]) -> Tuple[int, ...]:
    """Index into ``OBJECT_CLASSES`` for each name, -1 for what this project does not look for."""
    words = [SYNONYMS.get(name.lower(), name.lower()) for name in names]
    return tuple(OBJECT_CLASSES.index(word) if word in OBJECT_CLASSES else -1 for word in words)


def possible_layouts(output: Tuple[int, ...], size: Tuple[int, int], class_count: int) -> List[str]:
    """All layouts that an output of that shape may have, for an input of a size (height, width)."""
    if len(output) == 4:
        return ["fastestdet"] if output[1] == 5 + class_count else []
    if len(output) != 3:
        return []
    cells = len(cell_grid(size[0], size[1], YOLO_STRIDES).strides)
    layouts = []
    if output[1] == 4 + class_count and output[2] in (cells, -1):
        layouts.append("yolov8")
    if output[2] == 5 + class_count:
        # Three anchors a cell and decoded boxes, or one box a cell, still relative to it.
        layouts += [name for name, count in (("yolov5", 3 * cells), ("yolox", cells)) if output[1] in (count, -1)]
    if output[2] == 6 and output[1] not in (cells, 3 * cells):
        layouts.append("end_to_end")
    return layouts


def choose_layout(output: TensorSpec, size: Tuple[int, int], class_count: int, wanted: str = "auto") -> str:
    """The layout of a graph's output. Raises InputError where the shape allows none or several, or not the wanted."""
    possible = possible_layouts(output.shape, size, class_count)
    described = f"output {output.name} {list(output.shape)} with {class_count} classes, input {size[0]}x{size[1]}"
    if wanted != "auto":
        if wanted not in CONVENTIONS:
            raise InputError(f"--layout {wanted}: unknown; known are {', '.join(CONVENTIONS)}")
        if wanted not in possible and -1 not in output.shape:
            fitting = ", ".join(possible) or "none of the known"
            raise InputError(f"--layout {wanted}: does not fit {described}; what fits: {fitting}")
        return wanted
    if not possible:
        raise InputError(
            f"{described}: no known layout has this shape; check --classes, or export the network "
            f"in one of {', '.join(CONVENTIONS)}"
        )
    if len(possible) > 1:
        raise InputError(f"{described}: could be {' or '.join(possible)}; say which with --layout")
    return possible[0]


def picture_layout(tensor: TensorSpec, file: str) -> str:
    """Whether NCHW or NHWC. Raises InputError for an input that is no single picture of a fixed size."""
    shape = tensor.shape
    if len(shape) != 4 or -1 in shape or shape[0] != 1 or 3 not in (shape[1], shape[3]):
        raise InputError(
            f"{file}: input {tensor.name} is {list(shape)}; it must be one picture of a fixed size, (1, 3, height, "
            "width) or (1, height, width, 3): export the network with batch 1 and without dynamic sizes"
        )
    if tensor.dtype not in ("float32", "uint8"):
        raise InputError(f"{file}: input {tensor.name} is {tensor.dtype}; it must be float32 or uint8")
    return "NCHW" if shape[1] == 3 else "NHWC"


def import_detector(
    graph: Path,
    out: Path,
    name: str,
    classes: Tuple[str, ...] = COCO_CLASSES,
    layout: str = "auto",
    colour_order: Optional[str] = None,
    resize: Optional[str] = None,
    scale: Optional[float] = None,
) -> ModelPackage:
    """Wrap a foreign detector's ONNX file as a package in folder ``out``.

    Args:
        graph: the file.
        out: the folder to write.
        name: of the package.
        classes: what the network's classes are called, in its order.
        layout: a key of ``CONVENTIONS``, or "auto" to tell it from the shapes.
        colour_order, resize, scale: where the network differs from its family's conventions.

    Raises:
        InputError: the file cannot be read, or is no detector of a known layout.
    """
    try:
        content = graph.read_bytes()
    except OSError as error:
        raise InputError(f"{graph}: not readable ({error}); name an ONNX file") from error
    inputs, outputs = graph_signature(content, str(graph))
    if len(inputs) != 1 or len(outputs) != 1:
        raise InputError(f"{graph}: {len(inputs)} inputs and {len(outputs)} outputs; one of each is needed")
    tensor = InputSpec(inputs[0].name, inputs[0].shape, inputs[0].dtype, picture_layout(inputs[0], str(graph)))
    chosen = choose_layout(outputs[0], tensor.size, len(classes), layout)
    usual = CONVENTIONS[chosen]
    if scale is None:
        scale = usual.scale if tensor.dtype == "float32" else 1.0
    tensor = replace(
        tensor,
        colour_order=colour_order or usual.colour_order,
        resize=resize or usual.resize,
        scale=scale,
        padding=usual.padding,
    )
    blank = np.zeros(tensor.shape, np.dtype(tensor.dtype))
    package = ModelPackage(
        path=out,
        name=name,
        task="detection_2d",
        input=tensor,
        output=OutputSpec((outputs[0].name,), (outputs[0].shape,), chosen, usual.parameters),
        classes=classes,
        class_map=class_map(classes),
        levels=(Level("full", "full.onnx", sha256="", bytes=0, macs=count_macs(content, {tensor.name: blank})),),
        minimum_onnxruntime="1.16.0",
        provenance={"made_by": "l4edge models import", "source": graph.name},
    )
    return write_package(package, {"full": content})
