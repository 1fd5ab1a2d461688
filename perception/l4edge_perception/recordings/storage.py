"""Read the messages of a rosbag2, whatever its storage; all damage is reported as :class:`InputError`."""

from pathlib import Path
from typing import Any, Collection, Iterator, List, NamedTuple, Tuple

from l4edge_perception.errors import InputError
from l4edge_perception.recordings.events import Topic
from l4edge_perception.recordings.typestore import load_typestore

STORAGE_SUFFIXES = (".db3", ".mcap")


class Contents(NamedTuple):
    """What a bag says of itself. Times are those of recording, nanoseconds."""

    topics: Tuple[Topic, ...]
    start_ns: int
    end_ns: int


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


def read_contents(path: Path) -> Contents:
    """The topics of a bag, in order of their names.

    Raises:
        InputError: damaged, of an unknown storage or compression, or holding other definitions of our types.
    """
    path = _entry(path)
    try:
        with _open(path) as reader:
            topics = [Topic(entry.topic, entry.msgtype, entry.msgcount) for entry in reader.connections]
            definitions = [(entry.msgtype, _definition(entry)) for entry in reader.connections]
            span = (reader.start_time, max(reader.start_time, reader.end_time - 1)) if reader.message_count else (0, 0)
    except InputError:
        raise
    # The library reports damage by whatever its parsing trips over: struct, unicode, SQL, index and key errors.
    except Exception as error:
        raise InputError(_damaged(path, error)) from error
    _check_definitions(path, definitions)
    return Contents(tuple(sorted(topics, key=lambda topic: topic.name)), *span)


def read_messages(path: Path, topics: Collection[str] = ()) -> Iterator[Stored]:
    """The messages of ``topics`` (of all, where empty) in the order of recording.

    Raises:
        InputError: the bag is damaged.
    """
    path = _entry(path)
    try:
        with _open(path) as reader:
            connections = [entry for entry in reader.connections if not topics or entry.topic in topics]
            if connections:
                for entry, log_ns, data in reader.messages(connections=connections):
                    yield Stored(entry.topic, entry.msgtype, log_ns, data)
    except InputError:
        raise
    except Exception as error:
        raise InputError(_damaged(path, error)) from error


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


def _open(path: Path) -> Any:
    from rosbags.rosbag2 import Reader

    if path.is_file() and path.suffix not in Reader.STORAGE_PLUGINS:
        raise InputError(f"{path}: this version of rosbags needs metadata.yaml beside it; run `ros2 bag reindex`")
    return Reader(path)


def _damaged(path: Path, error: Exception) -> str:
    what = (str(error).splitlines() or [type(error).__name__])[0]
    return f"{path}: not a readable rosbag2 ({what}); damaged, cut off or of an unknown kind; try `ros2 bag reindex`"


def _definition(connection: Any) -> str:
    """The text of the message definition that a bag carries; rosbags before 0.10 hands over the text alone."""
    definition = connection.msgdef
    text = definition if isinstance(definition, str) else definition.data
    return "" if text.lstrip("=").lstrip().startswith("IDL:") else text


def _check_definitions(path: Path, definitions: List[Tuple[str, str]]) -> None:
    """Raise where a type was recorded with other fields than it has here: reading it would give wrong values."""
    from rosbags.typesys import TypesysError, get_types_from_msg

    store = load_typestore()
    for message_type, text in definitions:
        if not text or message_type not in store.types:
            continue
        try:
            store.register(get_types_from_msg(text, message_type))
        except TypesysError as error:
            raise InputError(
                f"{path}: {message_type} was recorded with other fields than this version has; "
                "record again, or read it with the version that recorded it"
            ) from error
