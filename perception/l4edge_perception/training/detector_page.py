"""Keep the figures of docs/detector.md those of the shipped package: nobody writes them by hand.

``python -m l4edge_perception.training.detector_page models/detector docs/detector.md``
"""

import math

from l4edge_perception.packages import ModelPackage
from l4edge_perception.training.pages import package_page


def figures(package: ModelPackage) -> str:
    """The measured part of the page as Markdown, from what the package says of itself."""
    record = package.provenance
    level = package.levels[0]
    splits = ("train", "validation", "test")
    data = record["dataset"]
    lines = ["| class | objects in training | in test | AP50 | AP |", "|---|---:|---:|---:|---:|"]
    test = record["test"]
    for name in package.classes:
        counts = [data[split]["objects"][name] for split in ("train", "test")]
        lines.append(
            f"| {name} | {counts[0]} | {counts[1]} | {_share(test['ap50_by_class'][name])} "
            f"| {_share(test['ap_by_class'][name])} |"
        )
    totals = [sum(data[split]["objects"].values()) for split in ("train", "test")]
    lines.append(f"| **mean** | {totals[0]} | {totals[1]} | **{_share(test['ap50'])}** | **{_share(test['ap'])}** |")
    validation = record["validation"]
    images = ", ".join(f"{data[split]['frames']} {split}" for split in splits)
    drives = ", ".join(f"{data[split]['drives']}" for split in splits)
    time = record["time"]
    runtime = level.accuracy.device if level.accuracy else "machine not recorded"
    facts = {
        "multiply-accumulate operations": f"{level.macs / 1e6:.0f} million",
        "file": f"{level.bytes / 1e6:.2f} MB, float32",
        "processor time of `Detector.detect`, one thread": f"{time['min_ms']:.1f} ms at best, "
        f"{time['median_ms']:.1f} ms median of {time['runs']} ({runtime})",
        "images": images,
        "drives": drives,
        "training": f"{record['training_s'] / 60:.0f} minutes, {record['history'][-1]['step']} steps of "
        f"{record['config']['batch_size']} images, seed {record['seed']}; {record['device']}, torch {record['torch']}",
        "labels": f"sha256 {data['labels_sha256'][:16]}…",
        "torch against onnxruntime": f"largest difference {record['torch_onnxruntime_difference']:.1e}",
    }
    lines += [
        "",
        f"A score differs from the share of right boxes by {test['calibration_error']:.3f} on average.",
    ]
    lines += ["", f"Validation split: AP50 {_share(validation['ap50'])}, AP {_share(validation['ap'])}.", ""]
    lines += ["| | |", "|---|---|", *(f"| {name} | {fact} |" for name, fact in facts.items())]
    lines += [f"| note | {note} |" for note in record["notes"]]
    return "\n".join(lines)


def _share(value: float | None) -> str:
    return f"{value:.3f}" if value is not None and not math.isnan(value) else "–"


command = package_page(figures)

if __name__ == "__main__":
    command()
