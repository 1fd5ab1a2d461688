"""Runs the whole demonstration and writes its page."""

import json
import platform
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import numpy as np

from l4edge_perception.files import write_text
from l4edge_pipeline.demonstration.guarding import Clock, monitor_settings
from l4edge_pipeline.demonstration.loop import PERIOD_S, Networks
from l4edge_pipeline.demonstration.outcomes import escalations
from l4edge_pipeline.demonstration.page import nan_range, render
from l4edge_pipeline.demonstration.requirements import requirements
from l4edge_pipeline.demonstration.scenes import STOP
from l4edge_pipeline.demonstration.settings import IMAGE_SIZE, PRINTS
from l4edge_pipeline.demonstration.stickers import load_print
from l4edge_pipeline.demonstration.stories import Equipment, Story, clean_scenes, footprint_px, tell, tell_all
from l4edge_pipeline.stages import load_stages


def show(
    out: Path, clean_drives: int, clean_seconds: float, stages: Optional[Path], say: Callable[[str], None]
) -> Dict[str, Any]:
    """All drives, then ``report.html`` and ``results.json`` in ``out``; returns what the latter holds.

    Args:
        stages: table of stages, or None for the one that ships. say: takes a line before each drive.
    """
    from l4edge_simulation.rendering.renderer import Renderer

    started = time.monotonic()
    renderer = Renderer(*IMAGE_SIZE)
    equipment = Equipment(renderer, Networks(), load_stages(stages, monitor=True), monitor_settings())
    equipment.monitor(Clock())  # a monitor that does not work is told before the first drive
    prints = {key: load_print(name) for key, name in PRINTS.items()}
    stories = tell_all(prints, equipment, say)
    clean = _clean(equipment, clean_drives, round(clean_seconds / PERIOD_S), say)
    results = summarize(stories, clean, equipment)
    results["made"] = {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "seconds": round(time.monotonic() - started),
    }
    renderer.close()
    write_text(out / "results.json", json.dumps(results, indent=1) + "\n")
    write_text(out / "report.html", render(results, stories))
    return results


def _clean(equipment: Equipment, count: int, frames: int, say: Callable[[str], None]) -> List[Story]:
    stories = []
    for scene in clean_scenes(count):
        say(f"ordinary drive {scene.number}")
        stories.append(tell(scene, "ordinary", None, equipment, frames))
    return stories


def summarize(stories: List[Story], clean: List[Story], equipment: Equipment) -> Dict[str, Any]:
    """Everything in numbers: drives by scene and variant, stickers, ordinary drives, what is required."""
    certified = certified_patch(stories)
    scenes: Dict[str, Dict[str, Any]] = {}
    stickers: Dict[str, Any] = {}
    networks = equipment.networks
    for story in stories:
        scenes.setdefault(story.scene.kind, {})[story.variant] = story.outcome.to_json()
        if story.sticker is None or story.target is None:
            continue
        entry = {
            "edge_m": round(story.sticker.width * story.target.width, 3),
            "height_m": round(story.sticker.height * story.target.height, 3),
            "share_of_side": round(story.sticker.area, 4),
            "made": story.sticker.made,
        }
        if story.scene.kind == STOP:
            edges = footprint_px(story, networks.crop_px, networks.classifier.enlargement)
            entry["crop_px"] = nan_range(edges)
            entry["frames_within_certificate"] = int(np.count_nonzero(edges <= certified.get("label_px", 0)))
        stickers[story.sticker.name] = entry
    drives: Dict[str, Any] = {}
    if clean:
        each = [
            {
                "number": story.scene.number, "frames": story.outcome.frames, "certified": story.outcome.certified,
                "uncertified": story.outcome.uncertified, "alarms": story.outcome.alarms,
                "highest_state": story.outcome.highest_state, "contacts": int(story.outcome.contact_mps is not None),
            }
            for story in clean
        ]
        drives = {**escalations([story.outcome for story in clean]), "each": each}
    rows = requirements(scenes, drives)
    return {
        "passed": all(row["held"] for row in rows if row["required"]),
        "requirements": rows,
        "scenes": scenes,
        "stickers": stickers,
        "certified_patch": certified,
        "clean_drives": drives,
        "honesty": honesty(stickers, certified),
    }


def certified_patch(stories: List[Story]) -> Dict[str, Any]:
    """What the monitor's certificates assume of a patch on a sign, by one of its verdicts."""
    for story in stories:
        for frame in story.frames:
            if frame.verdict is not None and frame.verdict.patch.width_px:
                patch = frame.verdict.patch
                return {
                    "label_px": min(patch.height_px, patch.width_px), "space": patch.space, "windows": patch.mask_set,
                    "hash": patch.configuration_hash,
                }
    return {}


def honesty(stickers: Dict[str, Any], certified: Dict[str, Any]) -> List[str]:
    """What the numbers do not say, in sentences."""
    lines = []
    declared = certified.get("label_px")
    for name, entry in stickers.items():
        words = f"The sticker {name} measures {entry['edge_m']:.2f} m by {entry['height_m']:.2f} m"
        if entry.get("crop_px") and declared:
            low, high = entry["crop_px"]
            words += (
                f"; with resampling it can change {low:.0f} to {high:.0f} pixels of the crop's edge, and the "
                f"certificate is made out for {declared}: it covers {entry['frames_within_certificate']} frames"
            )
        lines.append(words + ".")
    lines.append(
        "No certificate of the monitor speaks of a sticker on the vehicle that it hides: its windows are larger than "
        "the vehicle and hide both. What the monitor makes of it is told, not promised."
    )
    lines.append(
        "A certificate speaks of patches up to its declared size. An alarm about a larger one is not guaranteed: it "
        "comes about because the monitor's windows, or its own network, happen to see what the patch hides."
    )
    return lines
