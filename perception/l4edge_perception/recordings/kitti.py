"""Folders of the KITTI data sets as recordings: single labelled images, tracking sequences and raw drives."""

import contextlib
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from l4edge_perception.errors import InputError
from l4edge_perception.recordings.events import (
    CameraEvent,
    EgoEvent,
    Event,
    FrameEvent,
    GroundTruthEvent,
    PointsEvent,
    Recording,
)
from l4edge_perception.recordings.images import FrameError
from l4edge_perception.recordings.kitti_files import (
    Calibration,
    Label,
    ego_state,
    ground_truth,
    read_calibration,
    read_labels,
    read_motion,
    read_points,
    read_tracking_labels,
)
from l4edge_perception.recordings.media import ASSUMED_RATE_HZ, first_size, image_files, read_frame, stamp_of_frame
from l4edge_perception.types import EgoState

RAW_CALIBRATION = ("calib_cam_to_cam.txt", "calib_velo_to_cam.txt", "calib_imu_to_velo.txt")


@dataclass(frozen=True)
class _Folders:
    """What lies beside the images. Dictionaries go by the number in the image's name."""

    kind: str
    images: List[Path]
    stamps: List[int]
    calibrations: Dict[int, Tuple[Path, ...]] = field(default_factory=dict)
    label_files: Dict[int, Path] = field(default_factory=dict)
    labels: Dict[int, List[Label]] = field(default_factory=dict)
    motions: Dict[int, Tuple[float, ...]] = field(default_factory=dict)
    sweeps: Dict[int, Path] = field(default_factory=dict)
    assumptions: Tuple[str, ...] = ()


def is_kitti(path: Path) -> bool:
    """Whether ``path`` is a folder of the object data set, of a tracking sequence or of a raw drive."""
    return _object_root(path) is not None or _is_sequence(path) or (path / "image_02").is_dir()


def _object_root(path: Path) -> Optional[Path]:
    root = path.parent if path.name == "image_2" else path
    return root if (root / "image_2").is_dir() and (root / "calib").is_dir() else None


def _is_sequence(path: Path) -> bool:
    return path.parent.name == "image_02" and (path.parents[1] / "calib" / (path.name + ".txt")).is_file()


def open_kitti(path: Path, rate_hz: Optional[float] = None) -> Recording:
    """Open a KITTI folder; see :func:`.reader.open_recording`.

    Labels become ground truth. Where the vehicle's motion is known (``oxts``), the ``map`` frame starts at the first
    frame's place with x to the east; elsewhere each frame has a ``map`` frame of its own, equal to ``base_link``.
    """
    rate = rate_hz or ASSUMED_RATE_HZ
    root = _object_root(path)
    if root is not None:
        folders = _single_images(root, rate)
    elif _is_sequence(path):
        folders = _tracking_sequence(path, rate)
    elif (path / "image_02" / "data").is_dir():
        folders = _raw_drive(path)
    else:
        raise InputError(f"{path}: several KITTI sequences; name one, such as {path / 'image_02' / '0000'}")
    if not folders.images:
        raise InputError(f"{path}: no images in this KITTI folder")
    width, height = first_size(path, folders.images)
    first = folders.calibrations.get(_number(folders.images[0]))
    duration_s = (folders.stamps[-1] - folders.stamps[0]) * 1e-9
    return Recording(
        path=path,
        kind=folders.kind,
        width=width,
        height=height,
        frame_count=len(folders.images),
        rate_hz=(len(folders.images) - 1) / duration_s if duration_s > 0 else 0.0,
        duration_s=duration_s,
        read=lambda: _events(folders, width, height),
        camera=read_calibration(first).camera(width, height) if first else None,
        assumptions=folders.assumptions,
    )


def _single_images(root: Path, rate: float) -> _Folders:
    images = image_files(root / "image_2")
    calibrations = _by_number(root / "calib", "*.txt")
    for image in images:
        if _number(image) not in calibrations:
            raise InputError(f"{root / 'calib' / image.stem}.txt: missing; every image has a calibration of its own")
    return _Folders(
        "KITTI objects",
        images,
        [stamp_of_frame(sequence, rate) for sequence in range(len(images))],
        calibrations={number: (file,) for number, file in calibrations.items()},
        label_files=_by_number(root / "label_2", "*.txt"),
        sweeps=_by_number(root / "velodyne", "*.bin"),
        assumptions=(f"{rate:g} images a second, though the images are unrelated",),
    )


def _tracking_sequence(path: Path, rate: float) -> _Folders:
    root, name = path.parents[1], path.name
    images = image_files(path)
    label_file, motion_file = root / "label_02" / (name + ".txt"), root / "oxts" / (name + ".txt")
    return _Folders(
        "KITTI drive",
        images,
        [stamp_of_frame(_number(image), rate) for image in images],
        calibrations={_number(image): (root / "calib" / (name + ".txt"),) for image in images},
        labels=read_tracking_labels(label_file) if label_file.is_file() else {},
        motions=dict(enumerate(read_motion(motion_file))) if motion_file.is_file() else {},
        sweeps=_by_number(root / "velodyne" / name, "*.bin"),
        assumptions=(f"{rate:g} images a second",),
    )


def _raw_drive(path: Path) -> _Folders:
    images = image_files(path / "image_02" / "data")
    calibration = tuple(path.parent / name for name in RAW_CALIBRATION)
    calibrated = all(file.is_file() for file in calibration)
    stamps = _read_stamps(path / "image_02" / "timestamps.txt")
    if images and _number(images[-1]) >= len(stamps):
        raise InputError(f"{path / 'image_02' / 'timestamps.txt'}: {len(stamps)} stamps, but image {images[-1].name}")
    return _Folders(
        "KITTI drive",
        images,
        [stamps[_number(image)] for image in images],
        calibrations={_number(image): calibration for image in images} if calibrated else {},
        motions={number: read_motion(file)[0] for number, file in _by_number(path / "oxts" / "data", "*.txt").items()},
        sweeps=_by_number(path / "velodyne_points" / "data", "*.bin"),
    )


def _events(folders: _Folders, width: int, height: int) -> Iterator[Event]:
    used: Optional[Tuple[Path, ...]] = None
    calibration: Optional[Calibration] = None
    origin = folders.motions[min(folders.motions)] if folders.motions else ()
    for sequence, (image, stamp_ns) in enumerate(zip(folders.images, folders.stamps)):
        number = _number(image)
        files = folders.calibrations.get(number)
        frame = read_frame(image, stamp_ns, sequence)
        if files and files != used:
            used, calibration = files, read_calibration(files)
            yield CameraEvent(stamp_ns, calibration.camera(*_size(frame, (width, height))))
        ego = EgoState(stamp_ns, 0.0, 0.0, 0.0, 0.0)
        if number in folders.motions:
            ego = ego_state(folders.motions[number], origin, stamp_ns)
            yield EgoEvent(stamp_ns, ego)
        if calibration is not None:
            labels = _labels(folders, number)
            if labels is not None:
                yield GroundTruthEvent(stamp_ns, ground_truth(labels, calibration, ego, sequence))
            if number in folders.sweeps:
                yield PointsEvent(stamp_ns, calibration.lidar_from_base, read_points(folders.sweeps[number]))
        yield frame


def _size(frame: Event, otherwise: Tuple[int, int]) -> Tuple[int, int]:
    """Width and height of an image; single images of the object data set differ by a few pixels."""
    if isinstance(frame, FrameEvent):
        with contextlib.suppress(FrameError):
            height, width = frame.decode().shape[:2]
            return width, height
    return otherwise


def _labels(folders: _Folders, number: int) -> Optional[Sequence[Label]]:
    if number in folders.label_files:
        # The label's number counts within its image; the drive needs one of its own.
        return [
            label._replace(identifier=number * 1000 + label.identifier)
            for label in read_labels(folders.label_files[number])
        ]
    return folders.labels.get(number, []) if folders.labels else None


def _number(file: Path) -> int:
    if not file.stem.isdigit():
        raise InputError(f"{file}: files of the KITTI data sets are named by their number")
    return int(file.stem)


def _by_number(folder: Path, pattern: str) -> Dict[int, Path]:
    return {_number(file): file for file in sorted(folder.glob(pattern))}


def _read_stamps(path: Path) -> List[int]:
    """Nanoseconds since 1970 of lines such as ``2011-09-26 13:02:25.964389445``, taken as UTC."""
    stamps = []
    try:
        for line in path.read_text(encoding="ascii").split("\n"):
            if line.strip():
                seconds, _, fraction = line.strip().partition(".")
                moment = datetime.strptime(seconds, "%Y-%m-%d %H:%M:%S")
                whole = int(moment.replace(tzinfo=timezone.utc).timestamp())
                stamps.append(whole * 1_000_000_000 + int((fraction + "0" * 9)[:9]))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a file of stamps ({error})") from error
    if (np.diff(stamps) <= 0).any():
        raise InputError(f"{path}: the stamps do not rise")
    return stamps
