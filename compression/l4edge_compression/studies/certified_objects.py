"""How many objects masks and objectness certify, on labelled drives or on a video.

``python -m l4edge_compression.studies.certified_objects --package models/detector --data DATASET --out result.json``
judges against what is there; with ``--video FILE`` instead of ``--data`` nobody knows what is there, and the objects
are those that the detector itself finds without a patch. All certificates are counted on pictures without a patch: they
say what no patch could change. ``objects_table`` reads the result files for other tables.
"""

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console

from l4edge_compression.defense.detectors import MaskedDetector, PictureDetector
from l4edge_compression.defense.explaining import ObjectMaskSettings
from l4edge_compression.defense.free_space import ground_cells, visible_shares
from l4edge_compression.defense.objectness import Objectness, ObjectnessSettings
from l4edge_compression.defense.objects import ObjectMasks, make_masks
from l4edge_compression.defense.positions import CLOSE, FAR, position_shares
from l4edge_compression.studies.objects_judging import PATCHES, judge, make_variants, read_scenes, rounded
from l4edge_perception.camera.detector import Detector
from l4edge_perception.camera.mounting import CameraMounting
from l4edge_perception.files import write_text
from l4edge_perception.machine import processor
from l4edge_perception.packages import load_package
from l4edge_perception.types import CameraModel, Detections

RESULTS = Path("docs/results/certification")


def hand_checked() -> dict[str, bool]:
    """Two cases that a person can check: what the certificate says, first of a hidden box, then of one always in sight.

    The places of boxes and masks are the same. The first detector answers only to a picture without a black pixel: no
    masked view shows the object, so False is right; a certificate made of places alone says True. The second always
    sees it: True is right.
    """
    box = np.array([[20, 20, 44, 44]], np.float32)
    known = Detections(0, box, np.ones(1, np.float32), np.zeros(1, np.int32))
    settings = ObjectMaskSettings(columns=3, rows=3, patches=(8,), erased=1.0)
    pixels = np.full((64, 64, 3), 90, np.uint8)

    def answer(always: bool) -> bool:
        def detect(seen: np.ndarray) -> Detections:
            return known if always or bool((seen > 0).all()) else Detections.empty(0)

        certificate = ObjectMasks(PictureDetector(detect), settings).inspect(pixels).objects
        return bool(certificate.certified[0, 0, [FAR, CLOSE]].all())

    return {"hidden_behind_every_mask": answer(always=False), "always_in_sight": answer(always=True)}


CELL_OBJECTS = {"person": (0.5, 1.5), "car": (1.8, 1.4)}
"""Width and height of what is assumed to stand in a cell, metres."""

CELL_GRIDS = ((6, 4), (12, 8), (24, 14), (48, 28))
"""Windows across and down."""


def free_cells() -> dict[str, Any]:
    """Share of the ground cells ahead that windows certify while nothing stands in them: geometry alone."""
    camera = assumed_camera()
    region = (0, 0, camera.width, camera.height)
    result: dict[str, Any] = {"forward_m": [6, 30], "left_m": [-4, 4], "step_m": [2, 1], "rows": []}
    for name, (width, height) in CELL_OBJECTS.items():
        cells = ground_cells(camera, np.arange(6.0, 31.0, 2.0), np.arange(-4.0, 4.5, 1.0), width, height)
        boxes = cells.boxes[cells.in_sight]
        for columns, rows in CELL_GRIDS:
            for patch in PATCHES:
                settings = ObjectMaskSettings(0, 0, columns, rows, (patch,))
                masks = make_masks(region, settings)
                certified = position_shares(
                    masks, visible_shares(boxes, masks) >= settings.visible, boxes, (patch,)
                ).certified[:, 0]
                entry = {"object": name, "passes": len(masks.windows), "patch": patch, "cells": len(boxes)}
                entry["far"] = rounded(certified[:, FAR].mean())
                entry["far_and_close"] = rounded(certified[:, [FAR, CLOSE]].all(axis=1).mean())
                entry["all"] = rounded(certified.all(axis=1).mean())
                result["rows"].append(entry)
    return result


def objects_table(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """The results in ``folder/objects-*.json``: a row for each detector, variant, patch and class of positions."""
    rows = []
    for path in sorted(Path(folder).glob("objects-*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        entries = dict(result["variants"])
        if result["objectness"]:
            entries["objectness"] = {"passes": 1, **result["objectness"]}
        for name, entry in entries.items():
            for patch, classes in entry["certified"]["all"].items():
                rows.append(
                    {
                        "detector": result["detector"],
                        "pictures": result["pictures"],
                        "method": name,
                        "passes": entry["passes"],
                        "patch_px": int(patch),
                        "objects": entry["objects"]["all"],
                        "large_objects": entry["objects"]["large"],
                        "undefended_recall": entry.get("undefended_recall", result["undefended_recall"]),
                        "certified_recall": classes,
                        "certified_recall_large": entry["certified"]["large"][patch],
                        "certified_positions": entry["positions"][patch],
                        "frames_alarmed": entry["frames_alarmed"],
                    }
                )
    return rows


@click.command()
@click.option("--package", type=click.Path(path_type=Path), required=True, help="Detector package.")
@click.option("--level", help="Of the package; the first if left out.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder of labelled drives; the test split is judged.")
@click.option("--video", type=click.Path(path_type=Path), help="A video instead; nobody knows what is there.")
@click.option("--frames", type=click.IntRange(1), default=100, show_default=True, help="Pictures, evenly drawn.")
@click.option("--objectness", "guard", type=click.Path(path_type=Path), help="Objectness package, judged beside it.")
@click.option("--masks/--no-masks", default=True, show_default=True, help="Judge masks.")
@click.option("--masked-score", type=float, multiple=True, default=(0.4, 0.6), show_default=True, help="Lowest.")
@click.option("--score-threshold", type=float, help="Of the whole picture's boxes; the package's own if left out.")
@click.option("--reference-score", type=float, default=0.4, show_default=True, help="Of objects in a video.")
@click.option("--fill", type=(int, int, int), default=(0, 0, 0), show_default=True, help="Of erased half planes, RGB.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Result file, JSON.")
def main(
    package: Path,
    level: str | None,
    data: Path | None,
    video: Path | None,
    frames: int,
    guard: Path | None,
    masks: bool,
    masked_score: tuple[float, ...],
    score_threshold: float | None,
    reference_score: float,
    fill: tuple[int, int, int],
    out: Path,
) -> None:
    """Judge and write down."""
    console = Console(stderr=True)
    loaded = load_package(package)
    detector = MaskedDetector(Detector(loaded, level=level, score_threshold=score_threshold), fill)
    objectness = Objectness(load_package(guard), ObjectnessSettings()) if guard is not None else None
    variants = make_variants(masked_score) if masks else {}
    scenes = read_scenes(data, video, frames)
    result = judge(detector, scenes, objectness, reference_score, variants, console.print)
    if video is not None:
        pictures = f"{video.name}, {result['frames']} frames; objects: undefended detections"
    else:
        pictures = f"simulated drives, test split, {result['frames']} pictures"
    settings = {name: vars(variant) for name, variant in variants.items()}
    content = {
        "made_by": "python -m l4edge_compression.studies.certified_objects",
        "detector": f"{loaded.name} ({level or loaded.levels[0].name})",
        "pictures": pictures,
        "device": f"{processor()}, 1 thread",
        **result,
        "objectness_settings": vars(objectness.settings) if objectness is not None else None,
        "free_cells": free_cells(),
        "hand_checked": hand_checked(),
        "settings": settings,
    }
    write_text(out, json.dumps(content, indent=1) + "\n")
    console.print(f"{out}: written")


def assumed_camera() -> CameraModel:
    """A camera as the simulated drives have it: 640 x 360 pixels, 61 degrees, 1.5 m high."""
    intrinsics = np.array([[547.0, 0, 320], [0, 547.0, 180], [0, 0, 1]])
    pose = CameraMounting(camera_forward_m=1.8, camera_height_m=1.5, camera_pitch_degrees=2.0).camera_from_base()
    return CameraModel(640, 360, intrinsics, np.zeros(0), pose)


if __name__ == "__main__":
    main()
