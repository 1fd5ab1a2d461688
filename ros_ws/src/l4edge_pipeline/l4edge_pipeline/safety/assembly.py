"""Puts a monitor together from packages, and notices when their files change under it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterable, List, Optional, Tuple

from l4edge_compression.defense.explaining import ObjectMaskSettings
from l4edge_perception.errors import InputError
from l4edge_perception.packages import ModelPackage, load_package
from l4edge_pipeline.resources import find_package
from l4edge_pipeline.safety.escalation import OperatingPoints
from l4edge_pipeline.safety.hiding import FreeSpaceConfig, HidingInspector
from l4edge_pipeline.safety.monitor import Monitor, MonitorConfig
from l4edge_pipeline.safety.self_test import FILE, load_self_test
from l4edge_pipeline.safety.signs import load_sign_certifier

OFF = "off"
"""Name of a package that is none."""

Signature = Tuple[int, int, int]


@dataclass(frozen=True)
class PackageConfig:
    """Which packages the monitor works with; parameters of the node of the same names.

    Attributes:
        signs: certified package for signs and lights, "" for the one of the table of stages, or "off".
        detector, detector_level: package that looks for hidden objects, or "off", and its operating point.
        objectness: package that tells what looks like a road user, or "off"; left out where none of that name ships.
        critical_threshold, other_threshold: operating points of signs and lights.
        least_sign_px: shorter signs and lights are too small to be certified.
        mask_columns, mask_rows: covering windows, one pass of the detector each.
        patch_px: largest patch that hides an object, pixels of the detector's input.
        masked_score, explained: see ``ObjectMaskSettings``.
    """

    signs: str = ""
    detector: str = "detector"
    detector_level: str = "rmsmp"
    objectness: str = "objectness"
    critical_threshold: float = 0.2
    other_threshold: float = 0.9
    least_sign_px: float = 24.0
    mask_columns: int = 4
    mask_rows: int = 1
    patch_px: int = 32
    masked_score: float = 0.6
    explained: float = 0.6


class FileWatch:
    """Notices that a file has been replaced or written to, without reading it.

    Args:
        folders: whose files are watched.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self._folders = sorted(set(folders))
        self._known = self._signatures()

    def changed(self) -> bool:
        """Whether any file has come, gone or changed since the last time this was asked."""
        now = self._signatures()
        changed = now != self._known
        self._known = now
        return changed

    def _signatures(self) -> Dict[Path, Signature]:
        found: Dict[Path, Signature] = {}
        for folder in self._folders:
            try:
                for path in folder.iterdir():
                    status = path.stat()
                    found[path] = (status.st_ino, status.st_size, status.st_mtime_ns)
            except OSError:
                continue  # a folder or file that is gone has no signature, which is a change
        return found


def assemble(
    packages: PackageConfig, table_package: Optional[str], monitor: MonitorConfig, grid: FreeSpaceConfig,
    deadline_ms: float, threads: int, **clocks: object,
) -> Tuple[Monitor, FileWatch, str]:
    """A monitor, what watches its files, and why some package was refused (empty if none was).

    A package that cannot be used does not end the monitor: it goes on and says of every frame that nothing is
    certified.

    Args:
        table_package: sign package of the table of stages.
        clocks: passed on to :class:`.monitor.Monitor`.

    Raises:
        InputError: a threshold or a number of windows is out of its range.
    """
    points = OperatingPoints(packages.critical_threshold, packages.other_threshold)
    masks = ObjectMaskSettings(
        columns=0, rows=0, window_columns=packages.mask_columns, window_rows=packages.mask_rows,
        patches=tuple(size for size in (16, 32, 48) if size < packages.patch_px) + (packages.patch_px,),
        masked_score=packages.masked_score, explained=packages.explained,
    )
    refused: List[str] = []
    folders: List[Path] = []
    signs = hiding = test = None
    name = packages.signs or table_package or OFF
    if name != OFF:
        try:
            folder = find_package(name)
            folders.append(folder)
            signs = load_sign_certifier(folder, load_package(folder), points, threads, packages.least_sign_px)
            test = load_self_test(folder / FILE)
        except InputError as error:
            refused.append(str(error))
    if packages.detector not in ("", OFF):
        try:
            folder = find_package(packages.detector)
            folders.append(folder)
            local = _objectness(packages.objectness)
            folders += [local.path] if local else []
            hiding = HidingInspector(
                load_package(folder), packages.detector_level or None, masks, grid, threads, local
            )
        except InputError as error:
            refused.append(str(error))
    finding = "; ".join(refused)
    return Monitor(signs, hiding, test, monitor, deadline_ms, refused=finding, **clocks), FileWatch(folders), finding  # type: ignore[arg-type]


def _objectness(name: str) -> Optional[ModelPackage]:
    if name in ("", OFF):
        return None
    try:
        folder = find_package(name)
    except InputError:
        if name == PackageConfig.objectness:
            return None
        raise
    return load_package(folder)
