"""What a bag holds: counts, rates and gaps of its topics."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from l4edge_perception.errors import InputError
from l4edge_perception.recordings.storage import Storage, is_bag


@dataclass(frozen=True)
class TopicSummary:
    """One topic; the last three are None with fewer than two messages.

    Attributes:
        rate_hz: of the median period.
        longest_gap_s: between two messages.
        gap_at_s: where it begins, seconds from the start of the bag.
    """

    name: str
    message_type: str
    count: int
    rate_hz: Optional[float]
    longest_gap_s: Optional[float]
    gap_at_s: Optional[float]


@dataclass(frozen=True)
class Summary:
    """A bag. Times are those of recording."""

    path: str
    start_ns: int
    duration_s: float
    message_count: int
    topics: Tuple[TopicSummary, ...]

    def to_json(self) -> Dict[str, Any]:
        """The summary in JSON's types."""
        return asdict(self)


def survey(path: Path) -> Summary:
    """Read every message of the bag at ``path``.

    Raises:
        InputError: not a bag, or damaged.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if not is_bag(path):
        raise InputError(f"{path}: not a rosbag2; make one of a video or of images with `l4edge bag create`")
    with Storage(path) as storage:
        stamps: Dict[Tuple[str, str], List[int]] = {(topic.name, topic.message_type): [] for topic in storage.topics}
        for stored in storage.messages():
            stamps[stored.topic, stored.message_type].append(stored.log_ns)
    topics = [_topic(*key, np.array(values, np.int64), storage.start_ns) for key, values in stamps.items()]
    return Summary(
        str(path),
        storage.start_ns,
        (storage.end_ns - storage.start_ns) * 1e-9,
        sum(topic.count for topic in topics),
        tuple(topics),
    )


def _topic(name: str, message_type: str, stamps: np.ndarray, start_ns: int) -> TopicSummary:
    if len(stamps) < 2:
        return TopicSummary(name, message_type, len(stamps), None, None, None)
    gaps = np.diff(stamps)
    longest = int(gaps.argmax())
    period = float(np.median(gaps))
    return TopicSummary(
        name,
        message_type,
        len(stamps),
        1e9 / period if period > 0 else None,
        float(gaps[longest]) * 1e-9,
        float(stamps[longest] - start_ns) * 1e-9,
    )
