"""Read the messages of a rosbag2, whatever its storage; all damage is reported as :class:`InputError`."""

import contextlib
import functools
from collections import Counter
from pathlib import Path
from typing import Any, Collection, Dict, Iterator, List, NamedTuple, Tuple

from l4edge_perception.errors import InputError
from l4edge_perception.recordings.events import Topic
from l4edge_perception.recordings.topics import MESSAGE_TYPES
from l4edge_perception.recordings.typestore import PACKAGE, load_typestore

STORAGE_SUFFIXES = (".db3", ".mcap")


class Stored(NamedTuple):
    """One message as stored."""

    topic: str
    message_type: str
    log_ns: int
    data: bytes


def is_bag(path: Path) -> bool:
    """Whether ``path`` is a rosbag2: a folder with its files, or one file."""
    if path.is_dir():
        return (path / "metadata.yaml").is_file() or bool(_storage_files(path))
    return path.suffix in STORAGE_SUFFIXES or path.name == "metadata.yaml"


class Storage:
    """A rosbag2 open for reading; use it as a context manager.

    Attributes:
        topics: in order of their names.
        start_ns, end_ns: times of recording of the first and the last message, 0 without any.
    """

    topics: Tuple[Topic, ...]
    start_ns: int
    end_ns: int

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> "Storage":
        """Open it.

        Raises:
            InputError: damaged, of an unknown storage or compression, or holding other definitions of our types.
        """
        path = _entry(self._path)
        with _damage_of(path):
            self._reader = _reader(path)
            self._reader.open()
        try:
            with _damage_of(path):
                connections = self._reader.connections
                counts: Dict[Tuple[str, str], int] = (
                    Counter()
                )  # files of other tools have several channels of one topic
                for entry in connections:
                    counts[entry.topic, entry.msgtype] += entry.msgcount
                definitions = [(entry.msgtype, _definition(entry)) for entry in connections]
                filled = self._reader.message_count > 0
                self.start_ns = self._reader.start_time if filled else 0
                self.end_ns = self._reader.end_time - 1 if filled else 0
            _check_definitions(path, definitions)
        except BaseException:
            self._reader.close()
            raise
        self.topics = tuple(Topic(name, kind, counts[name, kind]) for name, kind in sorted(counts))
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self._reader.close()

    def messages(self, topics: Collection[str] = ()) -> Iterator[Stored]:
        """The messages of ``topics`` (of all, where empty) in the order of recording.

        Raises:
            InputError: the bag is damaged.
        """
        with _damage_of(self._path):
            connections = [entry for entry in self._reader.connections if not topics or entry.topic in topics]
            if connections:
                for entry, log_ns, data in self._reader.messages(connections=connections):
                    yield Stored(entry.topic, entry.msgtype, log_ns, data)


@contextlib.contextmanager
def _damage_of(path: Path) -> Iterator[None]:
    """Report whatever goes wrong inside as damage of the bag."""
    try:
        yield
    except InputError:
        raise
    # The library reports damage by whatever its parsing trips over: struct, unicode, SQL, index and key errors.
    except Exception as error:
        what = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{path}: not a readable rosbag2 ({what}); damaged, cut off or of an unknown kind; try `ros2 bag reindex`"
        ) from error


def _entry(path: Path) -> Path:
    """What to open for ``path``: its folder, or its only file where the folder lost its metadata.yaml."""
    if path.name == "metadata.yaml":
        return path.parent
    if path.is_dir() and not (path / "metadata.yaml").is_file():
        files = _storage_files(path)
        if len(files) > 1:
            raise InputError(f"{path}: {len(files)} storage files without metadata.yaml; run `ros2 bag reindex {path}`")
        return files[0]
    return path


def _storage_files(folder: Path) -> List[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.suffix in STORAGE_SUFFIXES)


def _reader(path: Path) -> Any:
    from rosbags.rosbag2 import Reader

    if path.is_file() and path.suffix not in Reader.STORAGE_PLUGINS:
        raise InputError(f"{path}: this version of rosbags needs metadata.yaml beside it; run `ros2 bag reindex`")
    return Reader(path)


def _definition(connection: Any) -> str:
    """The text of the message definition that a bag carries; rosbags before 0.10 hands over the text alone."""
    definition = connection.msgdef
    text = definition if isinstance(definition, str) else definition.data
    return "" if text.lstrip("=").lstrip().startswith("IDL:") else text


def _check_definitions(path: Path, definitions: List[Tuple[str, str]]) -> None:
    """Raise where a type was recorded with other fields than it has here: reading it would give wrong values."""
    read = {*MESSAGE_TYPES.values(), *(name for name in load_typestore().types if name.startswith(PACKAGE + "/"))}
    for message_type, text in definitions:
        if text and message_type in read and not _is_ours(message_type, text):
            raise InputError(
                f"{path}: {message_type} was recorded with other fields than this version has; "
                "record again, or read it with the version that recorded it"
            )


@functools.lru_cache(maxsize=64)
def _is_ours(message_type: str, text: str) -> bool:
    from rosbags.typesys import TypesysError, get_types_from_msg

    store = load_typestore()
    if text == store.generate_msgdef(message_type, ros_version=2)[0]:
        return True
    try:
        store.register(get_types_from_msg(text, message_type))  # refuses what differs
    except TypesysError:
        return False
    return True
