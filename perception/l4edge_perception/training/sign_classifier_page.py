"""Keep the figures of docs/sign_classifier.md those of the shipped package: nobody writes them by hand.

``python -m l4edge_perception.training.sign_classifier_page models/sign_classifier docs/sign_classifier.md``
"""

from l4edge_perception.packages import ModelPackage
from l4edge_perception.training.pages import package_page


def figures(package: ModelPackage) -> str:
    """The measured part of the page as Markdown, from what the package says of itself."""
    record = package.provenance
    levels = record["levels"]
    tests = {name: entry["test"] for name, entry in levels.items()}
    first = next(iter(tests.values()))
    lines = [f"| meaning | held-out crops | {' | '.join(tests)} |", f"|---|---:|{'---:|' * len(tests)}"]
    for word, entry in first["meanings"].items():
        shares = " | ".join(_share(test["meanings"][word]["accuracy"]) for test in tests.values())
        lines.append(f"| {word} | {entry['count']} | {shares} |")
    lines.append(f"| **all** | {first['count']} | {' | '.join(_share(test['accuracy']) for test in tests.values())} |")
    means = " | ".join(_share(test["mean_accuracy"]) for test in tests.values())
    lines += [f"| **mean of meanings** | | {means} |", ""]
    for title, key in (("height of the box, pixels", "heights"), ("where the box comes from", "kinds")):
        lines += [f"| {title} | crops | {' | '.join(tests)} |", f"|---|---:|{'---:|' * len(tests)}"]
        for word, entry in first[key].items():
            shares = " | ".join(_share(test[key][word]["accuracy"]) for test in tests.values())
            lines.append(f"| {word} | {entry['count']} | {shares} |")
        lines.append("")
    lines += ["| level | bytes | multiply-accumulates a crop | 1 crop, ms | 4 crops, ms |", "|---|---:|---:|---:|---:|"]
    for name, entry in levels.items():
        times = " | ".join(f"{entry['time'][count]['min_ms']:.1f}" for count in ("1", "4"))
        lines.append(f"| {name} | {entry['bytes']} | {entry['macs'] / 1e6:.1f} million | {times} |")
    data = record["dataset"]
    lines += ["", "Times are processor time of one thread, the smallest of 40 runs.", "", "| | |", "|---|---|"]
    lines += [f"| {split} | {part['drives']} drives, {part['crops']} crops |" for split, part in data.items()]
    steps = record["history"][-1]["step"]
    lines.append(
        f"| training | {record['training_s'] / 60:.0f} minutes, {steps} steps of "
        f"{record['config']['batch_size']} crops, "
        f"seed {record['seed']}; {record['device']}, torch {record['torch']} |"
    )
    lines.append(f"| temperature | {package.output.parameters['temperature']} |")
    lines += [f"| note | {note} |" for note in record["notes"]]
    return "\n".join(lines)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


command = package_page(figures)

if __name__ == "__main__":
    command()
