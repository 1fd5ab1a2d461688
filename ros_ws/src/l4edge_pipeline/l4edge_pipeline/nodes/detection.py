"""Finds objects in each camera frame, and reads the signs and lights among them."""

import json
from typing import Any, List, Optional

from l4edge_accel.offload.backend import quantized_level
from l4edge_accel.offload.client import OffloadClient
from l4edge_perception.camera.classifier import SignClassifier
from l4edge_perception.camera.detector import Detector
from l4edge_perception.errors import InputError
from l4edge_perception.packages import load_package
from l4edge_perception.recordings.messages import stamp_of
from l4edge_perception.types import Detections
from l4edge_pipeline.nodes.offload_link import offload_signs
from l4edge_pipeline.nodes.parameters import declare
from l4edge_pipeline.nodes.runtime import run_node
from l4edge_pipeline.nodes.stage_node import FrameDroppedError, StageNode
from l4edge_pipeline.resources import find_package
from l4edge_pipeline.transport.frames import FrameHandle, FrameReader, FrameUnavailable

OFF = "off"
"""Name of a classifier that is none."""
SIGNS = "signs"
"""What can be offloaded: the classifier."""


class DetectionNode(StageNode):
    """Runs a detector package on frames in shared memory, and a classifier package on what it finds there.

    The parameter ``classifier`` names the latter, or is ``off``. It runs at the detector's level where it has one of
    that name, unless ``classifier_level`` says otherwise. With the parameter ``offload`` set to ``signs`` the offload
    node runs it, at a quantized level; where that node is late, full or gone it runs here, with the same result.
    """

    def __init__(self) -> None:
        super().__init__("detection")
        package = load_package(find_package(declare(self, "package", "") or self.stage.package or "detector"))
        level = declare(self, "level", "") or self.stage.level
        threads = declare(self, "threads", 1)
        self.detector = Detector(package, level, threads)
        self.level = self.detector.session.level.name
        offload = declare(self, "offload", "")
        self.classifier = _classifier(
            declare(self, "classifier", "sign_classifier"), declare(self, "classifier_level", ""), self.level, threads,
            bool(offload),
        )
        self._offloaded: Optional[OffloadClient] = None
        if offload:
            if offload != SIGNS or self.classifier is None:
                raise InputError(f"detection: parameter offload: {offload!r} is not {SIGNS}, or there is no classifier")
            stages_file = self.get_parameter("stages_file").value
            self._offloaded = offload_signs(self, self.classifier, stages_file)
            self._away = True
        self.frames = FrameReader()
        self.start()

    def read(self, message: Any) -> Any:
        """Keep the message: it is a handle, the pixels are looked up when the work starts."""
        return message

    def process(self, message: Any) -> Detections:
        """Find the objects in the frame that the message names."""
        try:
            view = self.frames.open(FrameHandle.from_message(message))
        except FrameUnavailable as error:
            raise FrameDroppedError(f"shared frame {error.reason}") from error
        detections = self.detector.detect(view.pixels, stamp_of(message.header))
        if self.classifier:
            detections = self.classifier.classify(view.pixels, detections)
            self._say_where()
        if not view.is_intact():
            raise FrameDroppedError("shared frame overwritten while it was read")
        return detections

    def _say_where(self) -> None:
        """Log where signs are read, each time it changes."""
        if self._offloaded and self._offloaded.away != self._away:
            self._away = self._offloaded.away
            where = "on the CPU" if self._away else "by the offload node"
            self.get_logger().info(f"signs are read {where}: {json.dumps(self._offloaded.counts)}")

    def close(self, _: Any) -> None:
        """Say who did the work."""
        if self._offloaded:
            self.get_logger().info(f"signs were read: {json.dumps(self._offloaded.counts)}")


def _classifier(
    name: str, level: str, detector_level: str, threads: int, offloaded: bool = False
) -> Optional[SignClassifier]:
    if name in ("", OFF):
        return None
    package = load_package(find_package(name))
    if offloaded:
        return SignClassifier(package, quantized_level(package, level).name, threads)
    same = [entry.name for entry in package.levels if entry.name == detector_level]
    return SignClassifier(package, level or (same[0] if same else None), threads)


def main(arguments: Optional[List[str]] = None) -> None:
    """Entry point of the executable ``detection``."""
    run_node(DetectionNode, arguments)


if __name__ == "__main__":
    main()
