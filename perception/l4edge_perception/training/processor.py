"""What torch may use of this machine's processor."""

import os


def without_matrix_tiles() -> None:
    """Keep torch's CPU kernels (oneDNN) off the processor's matrix tiles (AMX). To be called before the first of them.

    Some virtual machines announce AMX and stop the process with "illegal instruction" when the backward pass of a
    convolution in bfloat16 uses it. Whoever knows better sets ``ONEDNN_MAX_CPU_ISA``.
    """
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
