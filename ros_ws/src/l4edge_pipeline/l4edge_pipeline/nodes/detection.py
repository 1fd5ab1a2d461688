"""Finds objects in each camera frame, and reads the signs and lights among them."""

from typing import Any, List, Optional

from l4edge_perception.camera.classifier import SignClassifier
from l4edge_perception.camera.detector import Detector
from l4edge_perception.packages import load_package
from l4edge_perception.recordings.messages import stamp_of
from l4edge_perception.types import Detections
from l4edge_pipeline.nodes.parameters import declare
from l4edge_pipeline.nodes.runtime import run_node
from l4edge_pipeline.nodes.stage_node import FrameDroppedError, StageNode
from l4edge_pipeline.resources import find_package
from l4edge_pipeline.transport.frames import FrameHandle, FrameReader, FrameUnavailable

OFF = "off"
"""Name of a classifier that is none."""


class DetectionNode(StageNode):
    """Runs a detector package on frames in shared memory, and a classifier package on what it finds there.

    The parameter ``classifier`` names the latter, or is ``off``. It runs at the detector's level where it has one of
    that name, unless ``classifier_level`` says otherwise.
    """

    def __init__(self) -> None:
        super().__init__("detection")
        package = load_package(find_package(declare(self, "package", "") or self.stage.package or "detector"))
        level = declare(self, "level", "") or self.stage.level
        threads = declare(self, "threads", 1)
        self.detector = Detector(package, level, threads)
        self.level = self.detector.session.level.name
        self.classifier = _classifier(
            declare(self, "classifier", "sign_classifier"), declare(self, "classifier_level", ""), self.level, threads
        )
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
        if not view.is_intact():
            raise FrameDroppedError("shared frame overwritten while it was read")
        return detections


def _classifier(name: str, level: str, detector_level: str, threads: int) -> Optional[SignClassifier]:
    if name in ("", OFF):
        return None
    package = load_package(find_package(name))
    same = [entry.name for entry in package.levels if entry.name == detector_level]
    return SignClassifier(package, level or (same[0] if same else None), threads)


def main(arguments: Optional[List[str]] = None) -> None:
    """Entry point of the executable ``detection``."""
    run_node(DetectionNode, arguments)


if __name__ == "__main__":
    main()
