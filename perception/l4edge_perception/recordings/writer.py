"""Write a rosbag2 that ``ros2 bag`` opens and that appears whole or not at all."""

import contextlib
import os
from pathlib import Path
from typing import Any, Collection, Dict, Iterator, List, Optional, Tuple, Union

import yaml

from l4edge_perception.errors import InputError
from l4edge_perception.files import new_folder
from l4edge_perception.recordings.topics import LATCHED_TOPICS
from l4edge_perception.recordings.typestore import load_typestore

FILE_NAME = "bag_0.mcap"  # not named after the folder, so that a bag's bytes do not depend on its name

METADATA_VERSION = 8
"""Of metadata.yaml: read by ROS 2 Humble (which ignores what came after version 5) and by everything newer."""

RELIABLE, TRANSIENT_LOCAL, VOLATILE = 1, 1, 2  # values of rmw_qos_reliability_policy_t and rmw_qos_durability_policy_t


class BagWriter:
    """A rosbag2 folder under construction (MCAP storage, uncompressed).

    Use it as a context manager. The bag grows in ``FOLDER.part`` and gets its name when the block ends well, so that
    a bag of that name is always complete. The same messages give the same bytes.

    Args:
        folder: the bag to write.
        overwrite: replace a folder of that name; otherwise it is an error.
        latched: topics whose last message is offered to late subscribers (durability ``transient_local``).
    """

    def __init__(
        self, folder: Union[str, Path], overwrite: bool = False, latched: Collection[str] = LATCHED_TOPICS
    ) -> None:
        self._folder = Path(folder)
        if self._folder.exists() and not overwrite:
            raise InputError(f"{self._folder}: exists already; remove it or choose another name")
        self._latched = latched
        self._channels: Dict[str, _Channel] = {}
        self._schemas: Dict[str, int] = {}
        self._span: Optional[Tuple[int, int]] = None
        self._typestore = load_typestore()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Report a full disk, or a place where nothing can be written, as what it is: the user's to change."""
        try:
            yield
        except OSError as error:
            raise InputError(f"{self._folder}: cannot be written ({error.strerror})") from error

    def __enter__(self) -> "BagWriter":
        from mcap.writer import CompressionType, Writer

        self._unfinished = new_folder(self._folder)
        with self._writing():
            self._path = self._unfinished.__enter__()
            self._stream = open(str(self._path / FILE_NAME), "wb")
        # The library's own name holds its version; a fixed one keeps the bytes the same from one version to the next.
        self._mcap = Writer(self._stream, compression=CompressionType.NONE)
        self._mcap.start(profile="ros2", library="l4edge")
        return self

    def write(self, topic: str, message_type: str, stamp_ns: int, message: Any) -> None:
        """Append one message. Messages of equal stamp are read back in the order of writing.

        Args:
            topic: such as ``/camera/front/image``.
            message_type: such as ``sensor_msgs/msg/Image``; a topic keeps its first one.
            stamp_ns: when it was received, nanoseconds.
            message: a ``rosbags`` message object, or its CDR bytes.

        Raises:
            InputError: the type is unknown.
            ValueError: the topic has another type, or the stamp is negative.
        """
        channel = self._channels.get(topic) or self._add_channel(topic, message_type)
        if channel.message_type != message_type:
            raise ValueError(f"{topic}: holds {channel.message_type}, not {message_type}")
        if stamp_ns < 0:
            raise ValueError(f"{topic}: negative stamp {stamp_ns}")
        if not isinstance(message, (bytes, bytearray, memoryview)):
            message = self._typestore.serialize_cdr(message, message_type)
        with self._writing():
            self._mcap.add_message(channel.identifier, stamp_ns, bytes(message), stamp_ns, channel.count)
        channel.count += 1
        start, end = self._span or (stamp_ns, stamp_ns)
        self._span = (min(start, stamp_ns), max(end, stamp_ns))

    def _add_channel(self, topic: str, message_type: str) -> "_Channel":
        if message_type not in self._schemas:
            if message_type not in self._typestore.types:
                raise InputError(f"{topic}: unknown message type {message_type}")
            definition, _ = self._typestore.generate_msgdef(message_type, ros_version=2)
            self._schemas[message_type] = self._mcap.register_schema(
                message_type, "ros2msg", definition.encode("utf-8")
            )
        channel = _Channel(
            topic,
            message_type,
            self._typestore.hash_rihs01(message_type),
            _offered_quality(TRANSIENT_LOCAL if topic in self._latched else VOLATILE),
        )
        channel.identifier = self._mcap.register_channel(
            topic,
            "cdr",
            self._schemas[message_type],
            {"offered_qos_profiles": channel.offered_quality, "topic_type_hash": channel.type_hash},
        )
        self._channels[topic] = channel
        return channel

    def __exit__(self, kind: Any, value: Any, traceback: Any) -> Optional[bool]:
        try:
            if kind is None:
                with self._writing():
                    self._finish()
        except BaseException as error:
            self._close()
            self._unfinished.__exit__(type(error), error, error.__traceback__)
            raise
        self._close()
        return self._unfinished.__exit__(kind, value, traceback)

    def _close(self) -> None:
        # What is still buffered does not matter any more: a finished file has been flushed, another is thrown away.
        with contextlib.suppress(OSError):
            self._stream.close()

    def _finish(self) -> None:
        information = self._information()
        self._mcap.add_metadata("rosbag2", {"serialized_metadata": _to_yaml(information)})
        self._mcap.finish()
        self._stream.flush()
        os.fsync(self._stream.fileno())
        (self._path / "metadata.yaml").write_text(
            _to_yaml({"rosbag2_bagfile_information": information}), encoding="utf-8"
        )

    def _information(self) -> Dict[str, Any]:
        return {
            "version": METADATA_VERSION,
            "storage_identifier": "mcap",
            **self._extent(),
            "topics_with_message_count": [channel.information() for channel in self._channels.values()],
            "compression_format": "",
            "compression_mode": "",
            "relative_file_paths": [FILE_NAME],
            "files": [{"path": FILE_NAME, **self._extent()}],
            "custom_data": None,
            "ros_distro": "l4edge",
        }

    def _extent(self) -> Dict[str, Any]:
        start, end = self._span or (0, 0)
        return {
            "duration": {"nanoseconds": end - start},
            "starting_time": {"nanoseconds_since_epoch": start},
            "message_count": sum(channel.count for channel in self._channels.values()),
        }


class _Channel:
    """What is known of one topic while a bag is written."""

    def __init__(self, topic: str, message_type: str, type_hash: str, offered_quality: str) -> None:
        self.topic = topic
        self.message_type = message_type
        self.type_hash = type_hash
        self.offered_quality = offered_quality
        self.identifier = 0
        self.count = 0

    def information(self) -> Dict[str, Any]:
        """The topic's entry of metadata.yaml."""
        return {
            "topic_metadata": {
                "name": self.topic,
                "type": self.message_type,
                "serialization_format": "cdr",
                "offered_qos_profiles": self.offered_quality,
                "type_description_hash": self.type_hash,
            },
            "message_count": self.count,
        }


def _offered_quality(durability: int) -> str:
    """A reliable publisher's quality of service, as text in the form of metadata version 8."""
    unlimited = {"sec": 0, "nsec": 0}  # RMW_DURATION_UNSPECIFIED
    profiles: List[Dict[str, Any]] = [
        {
            "history": 1,  # keep last
            "depth": 10,
            "reliability": RELIABLE,
            "durability": durability,
            "deadline": unlimited.copy(),
            "lifespan": unlimited.copy(),
            "liveliness": 1,  # automatic
            "liveliness_lease_duration": unlimited.copy(),
            "avoid_ros_namespace_conventions": False,
        }
    ]
    return _to_yaml(profiles).strip()


def _to_yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, default_flow_style=False)
