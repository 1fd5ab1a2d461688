"""What the studies on pictures write down: between passes, and at the end of a run."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from l4edge_compression.studies import training
from l4edge_compression.studies.pictures import Pictures, fingerprint
from l4edge_compression.studies.training import Run, State, count_correct, save_state
from l4edge_perception.machine import processor


def keeper(path: Path, console: Console) -> Callable[[State], None]:
    """What to call after each pass: it saves the state to ``path`` and says how the pass went."""

    def keep(state: State) -> None:
        save_state(path, state)
        seconds = f"{state.seconds:.0f} s, {state.processor_seconds:.0f} s of processor time"
        console.print(f"pass {state.epoch}: loss {state.history[-1]['loss']:.4f}, {seconds}", highlight=False)

    return keep


def record_of(
    made_by: str,
    about: Mapping[str, Any],
    run: Run,
    state: State,
    pictures: dict[str, Pictures],
    start: Path | None,
    notes: list[str],
) -> dict[str, Any]:
    """All that is needed to repeat a run, and how good its network is now.

    Args:
        made_by: the command.
        about: what only this study has to say: network, method, settings.
        run: what was done.
        state: how it ended.
        pictures: by split; ``test`` is judged.
        start: checkpoint that the run began with, if any.
        notes: what readers of the result must know.
    """
    correct, count = count_correct(state.network, pictures["test"]), len(pictures["test"].labels)
    on_processor = next(state.network.parameters()).device.type == "cpu"
    return {
        "made_by": made_by,
        "data": {"name": "CIFAR-10", "sha256": fingerprint(pictures), "test_images": count},
        **about,
        "start_sha256": None if start is None else hashlib.sha256(start.read_bytes()).hexdigest(),
        "seed": run.seed,
        "epochs": run.epochs,
        "pass_images": run.pass_images,
        "batch": training.BATCH,
        "recipe": vars(run.recipe),
        "device": f"{processor()}, {torch.get_num_threads()} threads" if on_processor else torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "seconds": round(state.seconds, 1),
        "processor_seconds": round(state.processor_seconds, 1),
        "history": state.history,
        "correct": correct,
        "top1": correct / count,
        "notes": notes,
    }
