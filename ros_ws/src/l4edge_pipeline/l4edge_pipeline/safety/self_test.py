"""A monitor that never raises an alarm looks like one with nothing to report: two stored crops tell them apart.

The attacked crop must raise an alarm, the clean one must be certified. They belong to one certified package and lie in
its folder.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import numpy as np

from l4edge_compression.defense.verdicts import Certificate, Verdict
from l4edge_perception.errors import InputError

FILE = "self_test.npz"
"""Beside the manifest of a certified package."""

SIZE_LIMIT = 1 << 20
"""Bytes; a stored pair of crops is far smaller."""


@dataclass(frozen=True)
class SelfTest:
    """Two crops, (H, W, 3) uint8.

    Attributes:
        clean: to be certified.
        attacked: the same crop with a patch in it that misleads the network.
    """

    clean: np.ndarray
    attacked: np.ndarray

    def run(self, certify: Callable[[np.ndarray], Certificate]) -> str:
        """What is wrong with the monitor, or an empty string.

        Args:
            certify: the way that crops of frames go, too.
        """
        clean = certify(self.clean)
        if clean.verdict != Verdict.CERTIFIED:
            return f"the clean crop is not certified ({clean.reason})"
        attacked = certify(self.attacked)
        if attacked.verdict != Verdict.ALARM:
            return f"the attacked crop raises no alarm ({attacked.reason})"
        return ""


def load_self_test(path: Path) -> SelfTest:
    """Read the stored crops.

    Raises:
        InputError: the file is missing or holds something else.
    """
    try:
        if path.stat().st_size > SIZE_LIMIT:
            raise InputError(f"{path}: too large for two crops")
        with np.load(str(path), allow_pickle=False) as stored:
            crops = [np.array(stored[name]) for name in ("clean", "attacked")]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: cannot be read as the stored crops of a self-test ({error})") from error
    for crop in crops:
        if crop.dtype != np.uint8 or crop.ndim != 3 or crop.shape != crops[0].shape or crop.shape[2] != 3:
            raise InputError(f"{path}: clean and attacked must be (H, W, 3) uint8 of one size")
    return SelfTest(*crops)


def save_self_test(path: Path, test: SelfTest) -> None:
    """Write the crops, whole or not at all."""
    import io

    from l4edge_perception.files import write_bytes

    buffer = io.BytesIO()
    np.savez_compressed(buffer, clean=test.clean, attacked=test.attacked)
    write_bytes(path, buffer.getvalue())
