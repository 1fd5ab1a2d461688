"""Which topic of a bag plays which part: by name, by what the user maps, else by being the only one of its type."""

from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence

from l4edge_perception.errors import InputError
from l4edge_perception.recordings.events import Topic
from l4edge_perception.recordings.topics import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    GROUND_TRUTH,
    IMAGE,
    MESSAGE_TYPES,
    ODOMETRY,
    POINTS,
    ROUTE,
    STATIC_TRANSFORMS,
)

IMAGE_TYPES = (MESSAGE_TYPES[IMAGE], MESSAGE_TYPES[COMPRESSED_IMAGE])


def select_topics(
    path: Path, topics: Sequence[Topic], image_topic: Optional[str], remap: Mapping[str, str]
) -> Dict[str, str]:
    """The topic of the bag for each part it can play.

    Args:
        path: of the bag, for messages.
        topics: that it holds.
        image_topic: the images to use; None: choose.
        remap: default name of a topic: its name in this bag.

    Returns:
        Default name: name in this bag, for those present. Images of either kind are under ``IMAGE``.

    Raises:
        InputError: a topic asked for is missing or of the wrong type, or the choice is not clear.
    """
    unknown = sorted(set(remap) - set(MESSAGE_TYPES))
    if unknown:
        raise InputError("{}: nothing reads {}; remap one of {}".format(path, unknown[0], ", ".join(MESSAGE_TYPES)))
    filled = {topic.name: topic for topic in topics if topic.count}
    chosen = {}
    for role in (CAMERA_INFO, STATIC_TRANSFORMS, ODOMETRY, ROUTE, GROUND_TRUTH, POINTS):
        if role in remap or role in filled:
            chosen[role] = _existing(path, remap.get(role, role), filled).name
    image_topic = image_topic or remap.get(IMAGE) or remap.get(COMPRESSED_IMAGE)
    image = _existing(path, image_topic, filled).name if image_topic else _image(path, filled)
    if image:
        chosen[IMAGE] = image
    if ODOMETRY not in chosen:
        _choose_only(path, ODOMETRY, filled, chosen)
    if CAMERA_INFO not in chosen and image:
        sibling = image.replace("/compressed", "").rpartition("/")[0] + "/camera_info"
        if sibling in filled:
            chosen[CAMERA_INFO] = sibling
    for role, name in chosen.items():
        expected = IMAGE_TYPES if role == IMAGE else (MESSAGE_TYPES[role],)
        for topic in topics:
            if topic.name == name and topic.count and topic.message_type not in expected:
                raise InputError(
                    f"{path}: topic {name} holds {topic.message_type}, expected {' or '.join(expected)}; "
                    f"name another topic with --remap {role}:=TOPIC"
                )
    return chosen


def _existing(path: Path, name: str, filled: Mapping[str, Topic]) -> Topic:
    if name not in filled:
        raise InputError(f"{path}: no messages on topic {name}; there are {_listed(filled)}")
    return filled[name]


def _image(path: Path, filled: Mapping[str, Topic]) -> Optional[str]:
    for name in (IMAGE, COMPRESSED_IMAGE):
        if name in filled:
            return name
    candidates = [name for name, topic in filled.items() if topic.message_type in IMAGE_TYPES]
    if len(candidates) > 1:
        raise InputError(f"{path}: several image topics; choose with --image-topic: {', '.join(sorted(candidates))}")
    return candidates[0] if candidates else None


def _choose_only(path: Path, role: str, filled: Mapping[str, Topic], chosen: Dict[str, str]) -> None:
    candidates: List[str] = [name for name, topic in filled.items() if topic.message_type == MESSAGE_TYPES[role]]
    if len(candidates) > 1:
        raise InputError(
            f"{path}: several topics of {MESSAGE_TYPES[role]}; choose with --remap {role}:=TOPIC: "
            + ", ".join(sorted(candidates))
        )
    if candidates:
        chosen[role] = candidates[0]


def _listed(filled: Mapping[str, Topic]) -> str:
    return ", ".join(sorted(filled)) or "none"
