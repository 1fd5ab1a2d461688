"""What a replay is asked to do."""

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Optional, Sequence

from l4edge_perception.errors import InputError


@dataclass(frozen=True)
class ReplayOptions:
    """What is replayed, and how.

    Attributes:
        recording: rosbag2, video file or image folder.
        stages_file: the table of stages.
        lockstep: each frame waits for its stages, so that two runs give the same bytes; else real time.
        speed: 2.0 plays twice as fast as recorded; real time only.
        image_topic: where the recording has several.
        remap: ``/recorded:=/expected`` pairs, as ``ros2 bag play --remap`` takes them.
        parameters: extra ROS parameter files.
        detector, level: model package and operating point instead of those of the table.
        classifier, classifier_level: the same of the package that reads signs and lights; "off" for none.
        monitor: whether the safety monitor and its supervisor run, too.
        offload: "signs": the offload node runs the classifier; None: nothing is offloaded.
        offload_node: whether the replay starts that node; else it runs already.
    """

    recording: Path
    stages_file: Path
    lockstep: bool = False
    speed: float = 1.0
    image_topic: Optional[str] = None
    remap: Sequence[str] = ()
    parameters: Sequence[Path] = ()
    detector: Optional[Path] = None
    level: Optional[str] = None
    classifier: Optional[str] = None
    classifier_level: Optional[str] = None
    monitor: bool = False
    offload: Optional[str] = None
    offload_node: bool = True


def parse_remapping(pairs: Sequence[str]) -> Dict[str, str]:
    """``/recorded:=/expected`` pairs as a table from the expected topic to the recorded one.

    Raises:
        InputError: a pair is not of that form.
    """
    remapping = {}
    for pair in pairs:
        recorded, separator, expected = pair.partition(":=")
        if not separator or not recorded.startswith("/") or not expected.startswith("/"):
            raise InputError(f"--remap {pair}: must be /recorded:=/expected")
        remapping[expected] = recorded
    return remapping
