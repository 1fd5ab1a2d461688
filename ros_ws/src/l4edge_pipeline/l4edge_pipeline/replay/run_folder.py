"""Where a run leaves its results."""

import os
from datetime import datetime
from pathlib import Path

LATEST = "latest"


def make_run_folder(out: Path, name: str) -> Path:
    """A new folder below ``out``, named after the moment and the recording."""
    stem = "{}_{}".format(datetime.now().strftime("%Y%m%d_%H%M%S"), name)
    for suffix in range(1000):
        folder = out / (stem if suffix == 0 else f"{stem}_{suffix}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            continue
    raise FileExistsError(stem)


def point_latest(folder: Path) -> Path:
    """Make ``latest`` beside ``folder`` point to it, in one step."""
    link = folder.parent / LATEST
    temporary = folder.parent / (LATEST + f".{os.getpid()}")
    temporary.symlink_to(folder.name)
    os.replace(str(temporary), str(link))
    return link
