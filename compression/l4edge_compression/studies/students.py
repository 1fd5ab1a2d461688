"""Checkpoints of a quantized network that learns from its float self."""

from pathlib import Path
from typing import Any

from torch import nn

from l4edge_perception.training.resuming import resume_from, write_checkpoint

History = list[dict[str, float]]


def save_student(path: Path, student: nn.Module, history: History) -> None:
    """Write the network, formats and scales included, and how it got there."""
    write_checkpoint(path, {"student": student.state_dict(), "history": history})


def load_student(path: Path, student: nn.Module) -> History:
    """Fill a network that was compressed with the same settings; returns its history.

    Raises:
        InputError: the checkpoint is missing, damaged or of another network.
    """
    history: History = []

    def fill(content: dict[str, Any]) -> None:
        student.load_state_dict(content["student"])
        history.extend(content["history"])

    resume_from(path, "this run", fill)
    return history
