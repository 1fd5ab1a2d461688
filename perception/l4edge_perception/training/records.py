"""What every training writes down of itself."""

from collections.abc import Mapping, Sequence
from typing import Any

import onnxruntime
import torch

from l4edge_perception.machine import processor


def training_record(
    made_by: str,
    config: Mapping[str, Any],
    dataset: Mapping[str, Any],
    history: list[dict],
    elapsed_s: float,
    notes: Sequence[str],
) -> dict[str, Any]:
    """All that is needed to repeat a training, in the order in which it is written.

    Args:
        made_by: the command.
        config: settings, the field ``seed`` among them.
        dataset: what was learned from.
        history: an entry per pass.
        elapsed_s: time of all passes.
        notes: what a reader of the figures must know.
    """
    return {
        "made_by": made_by,
        "seed": config["seed"],
        "device": f"{processor()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
        "training_s": round(elapsed_s),
        "config": dict(config),
        "dataset": dict(dataset),
        "history": history,
        "notes": list(notes),
    }
