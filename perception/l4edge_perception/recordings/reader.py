"""Open whatever a drive was recorded as."""

import dataclasses
from pathlib import Path
from typing import Iterator, Mapping, Optional, Union

from l4edge_perception.errors import InputError
from l4edge_perception.recordings.bags import open_bag
from l4edge_perception.recordings.cameras import ASSUMED_CAMERA_HEIGHT, pinhole
from l4edge_perception.recordings.events import CameraEvent, Event, Recording
from l4edge_perception.recordings.kitti import is_kitti, open_kitti
from l4edge_perception.recordings.media import VIDEO_SUFFIXES, image_files, open_images, open_video
from l4edge_perception.recordings.storage import is_bag

NO_CAMERA = "no camera model: objects cannot be located"
ACCEPTED = "a rosbag2, a video ({}), a folder of images or a KITTI folder".format(" ".join(VIDEO_SUFFIXES))


def open_recording(
    path: Union[str, Path],
    image_topic: Optional[str] = None,
    remap: Optional[Mapping[str, str]] = None,
    *,
    rate_hz: Optional[float] = None,
    field_of_view: Optional[float] = None,
    require_images: bool = True,
) -> Recording:
    """Open a rosbag2 (folder, or .db3 or .mcap file), a video, a folder of images or a KITTI folder.

    Args:
        path: what to open.
        image_topic: of a bag with several.
        remap: topics of a bag under other names: default name (see ``topics``): name in the bag.
        rate_hz: frames a second, of a video or images; without it, what the video says, or 10.
        field_of_view: horizontal, radians, of the level camera to assume where the recording has none.
        require_images: whether a bag without images is an error.

    Raises:
        InputError: missing, damaged, of an unknown kind, without images, or not clear in what to read.
    """
    path = Path(path)
    try:
        recording = _open(path, image_topic, remap, rate_hz)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if require_images and not recording.frame_count:
        held = ", ".join(f"{topic.name} ({topic.message_type})" for topic in recording.topics if topic.count)
        raise InputError(f"{path}: no images in it; it holds {held or 'nothing'}")
    if recording.camera is not None or not recording.frame_count:
        return recording
    if field_of_view is None:
        return dataclasses.replace(recording, assumptions=(*recording.assumptions, NO_CAMERA))
    return _with_camera(recording, field_of_view)


def _open(
    path: Path, image_topic: Optional[str], remap: Optional[Mapping[str, str]], rate_hz: Optional[float]
) -> Recording:
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if is_bag(path):
        return open_bag(path, image_topic, remap)
    if path.is_dir():
        if is_kitti(path):
            return open_kitti(path, rate_hz)
        if image_files(path):
            return open_images(path, rate_hz)
        raise InputError(f"{path}: neither a rosbag2 nor a folder of images; accepted is {ACCEPTED}")
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return open_video(path, rate_hz)
    if path.suffix == ".bag":
        raise InputError(f"{path}: a ROS 1 bag; convert it with `rosbags-convert --src {path} --dst FOLDER`")
    raise InputError(f"{path}: not a kind of recording that is known; accepted is {ACCEPTED}")


def _with_camera(recording: Recording, field_of_view: float) -> Recording:
    camera = pinhole(recording.width, recording.height, field_of_view)
    assumption = f"ideal level camera {ASSUMED_CAMERA_HEIGHT} m above base_link, the field of view as given"

    def read() -> Iterator[Event]:
        for number, event in enumerate(recording.events()):
            if number == 0:
                yield CameraEvent(event.stamp_ns, camera)
            yield event

    return dataclasses.replace(recording, read=read, camera=camera, assumptions=(*recording.assumptions, assumption))
