"""Checkpoints of trainings: written whole or not at all, and read without trusting them."""

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from l4edge_perception.errors import InputError
from l4edge_perception.files import write_bytes


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values into one file; its folder is made where it is missing."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, buffer.getvalue())


def save_parts(
    path: Path, state: object, parts: Sequence[str], counters: Sequence[str], before: Mapping[str, Any]
) -> None:
    """Write everything of a run into one file, whole or not at all.

    Args:
        path: of the file.
        state: of the run.
        parts: its attributes that have a state of their own: networks, optimizers.
        counters: its attributes that are plain values.
        before: what else the file holds, under which names.
    """
    content = dict(before)
    content.update({name: getattr(state, name).state_dict() for name in parts})
    content.update({name: getattr(state, name) for name in counters})
    write_checkpoint(path, content)


def load_parts(path: Path, state: object, parts: Sequence[str], counters: Sequence[str]) -> None:
    """Fill ``state`` from what :func:`save_parts` wrote with the same names.

    Raises:
        InputError: the file is missing, damaged, or of another network.
    """

    def fill(content: dict[str, Any]) -> None:
        for name in parts:
            getattr(state, name).load_state_dict(content[name])
        for name in counters:
            setattr(state, name, content[name])

    resume_from(path, "this network", fill)


def resume_from(path: Path, owner: str, fill: Callable[[dict[str, Any]], None]) -> None:
    """Hand a checkpoint's content to ``fill``.

    Args:
        path: of the file.
        owner: whose checkpoint it should be, for the error: "this network", "this run".
        fill: takes the content over; whatever it raises means that the content is another's.

    Raises:
        InputError: the file is missing, damaged, or not the owner's.
    """
    if not path.exists():
        raise InputError(f"{path}: no checkpoint to resume from; start without --resume")
    try:
        fill(torch.load(path, weights_only=True, map_location="cpu"))
    except Exception as error:  # torch raises many kinds for a damaged file
        raise InputError(f"{path}: not a checkpoint of {owner} ({error}); start without --resume") from error
