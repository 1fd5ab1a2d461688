"""A certified package small enough to be understood: it reads the colour of a crop. And scenes to show to a monitor."""

import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from l4edge_compression.defense.packages import load_certified, write_certified
from l4edge_compression.defense.scalecert import ScaleCertSettings
from l4edge_perception.types import MEANINGS, OBJECT_CLASSES, Detections, Tracks, unread
from l4edge_pipeline.safety.escalation import OperatingPoints
from l4edge_pipeline.safety.scene import Scene
from l4edge_pipeline.safety.self_test import SelfTest
from l4edge_pipeline.safety.signs import SPACE, CropGeometry, SignCertifier

SIZE, PATCH = 64, 10
CLASSES = ("stop", "speed_80", "priority")
"""Said of a crop that is mostly red, green, blue."""
REDDISH, GREEN = (100, 97, 60), (0, 255, 0)
"""So close to green that a patch of pure green turns it over."""


def _graph(nodes, given, result, constants):
    graph = helper.make_graph(nodes, "toy", [given], [result], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def write_toy_package(folder):
    """A certified package in ``folder``: 3 x 3 means at every second pixel, then the mean colour of what is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    kernel = np.zeros((3, 3, 3, 3), np.float32)
    for channel in range(3):
        kernel[channel, channel] = 1 / 9
    cells = SIZE // 2
    stem = _graph(
        [
            helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
            helper.make_node("Div", ["float", "full"], ["scaled"]),
            helper.make_node("Transpose", ["scaled"], ["planes"], perm=[0, 3, 1, 2]),
            helper.make_node("Conv", ["planes", "kernel"], ["conv"], strides=[2, 2], pads=[1, 1, 0, 0]),
            helper.make_node("Relu", ["conv"], ["features"]),
        ],
        helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", SIZE, SIZE, 3]),
        helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 3, cells, cells]),
        [numpy_helper.from_array(kernel, "kernel"), numpy_helper.from_array(np.float32(255), "full")],
    )
    head = _graph(
        [
            helper.make_node("GlobalAveragePool", ["features"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("Gemm", ["flat", "weight"], ["logits"]),
        ],
        helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 3, cells, cells]),
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3]),
        [numpy_helper.from_array(200 * np.eye(3, dtype=np.float32), "weight")],
    )
    settings = ScaleCertSettings(
        input_size=(SIZE, SIZE), patch=(PATCH, PATCH), counts=(3, 3), receptive_field=(3, 3), stride=(2, 2),
        offset=(-1, -1), map_size=(cells, cells), rule="threshold", keep=0.0, confidence=0.0, margin=1e-3,
    )
    return write_certified(folder, "scalecert", settings, {"stem": stem, "head": head}, CLASSES)


def toy_signs(folder, points=None):
    """The sign certifier over the toy package in ``folder``."""
    from l4edge_perception.safety_types import PatchModel

    package = load_certified(folder)
    certifier = package.certifier()
    patch = PatchModel(1, PATCH, PATCH, SPACE, "3x3", 0.0, certifier.margin, package.hash, package.hash)
    return SignCertifier(
        certifier, package.classes, CropGeometry(SIZE), points or OperatingPoints(), patch, package.verify
    )


def crop_of(colour, patch=None):
    """A (SIZE, SIZE, 3) crop of one colour, with a patch of another in its middle."""
    crop = np.full((SIZE, SIZE, 3), colour, np.uint8)
    if patch is not None:
        crop[30 : 30 + PATCH, 20 : 20 + PATCH] = patch
    return crop


def self_test():
    """The stored crops of the toy package."""
    return SelfTest(crop_of(REDDISH), crop_of(REDDISH, GREEN))


BOX = (100.0, 60.0, 140.0, 100.0)
"""Of the sign in the scenes; its crop is 50 pixels wide, so a patch of 7 fits what the package assumes."""


def picture(colour=REDDISH, patch=None):
    """(160, 240, 3): one sign of a colour, with or without a patch on it."""
    pixels = np.full((160, 240, 3), 60, np.uint8)
    pixels[50:110, 90:150] = colour
    if patch is not None:
        pixels[76:83, 108:115] = patch
    return pixels


def detections(stamp_ns, word="stop", box=BOX, kind="sign", count=1):
    """``count`` signs that the pipeline reads as ``word``."""
    meanings = unread(count)
    if word:
        meanings[:, MEANINGS.index(word)] = 1.0
    return Detections(
        stamp_ns, np.tile(np.array(box, np.float32), (count, 1)), np.full(count, 0.9, np.float32),
        np.full(count, OBJECT_CLASSES.index(kind), np.int32), meanings,
    )


def tracks(stamp_ns, identifier=7, box=BOX):
    """One track of a sign."""
    one = np.ones(1, np.float32)
    return Tracks(
        stamp_ns, np.array([identifier]), np.array([box], np.float32), one, np.array([4], np.int32), one, 0 * one,
        np.full((1, 2), np.nan), np.full((1, 2), np.nan), np.full((1, 3), np.nan, np.float32),
    )


def scene(stamp_ns=1_000, arrived_ns=0, pixels=None, seen=None, **others):
    """A frame in which the pipeline sees a stop sign."""
    return Scene(
        stamp_ns, arrived_ns, picture() if pixels is None else pixels,
        detections(stamp_ns) if seen is None else seen, tracks(stamp_ns), **others,
    )


def tamper(folder, how):
    """Change one thing about the certified package in ``folder``."""
    if how == "graph":
        path = folder / "certified_head.onnx"
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(bytes(content))
    elif how == "settings":
        path = folder / "certification.json"
        content = json.loads(path.read_text())
        content["settings"]["patch"] = [2, 2]
        path.write_text(json.dumps(content))
    else:
        (folder / "certified_stem.onnx").unlink()
