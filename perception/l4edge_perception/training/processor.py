"""What torch may use of this machine."""

import os
from typing import TYPE_CHECKING

from l4edge_perception.errors import InputError

if TYPE_CHECKING:
    import torch


def device_named(name: str) -> "torch.device":
    """Where ``--device`` says that networks are trained. Raises InputError if it is a GPU and torch sees none."""
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: torch sees no GPU here; use --device cpu")
    return torch.device(name)


def without_matrix_tiles() -> None:
    """Keep torch's CPU kernels (oneDNN) off the processor's matrix tiles (AMX). To be called before the first of them.

    Some virtual machines announce AMX and stop the process with "illegal instruction" when the backward pass of a
    convolution in bfloat16 uses it. Whoever knows better sets ``ONEDNN_MAX_CPU_ISA``.
    """
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
