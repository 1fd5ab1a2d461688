"""Certifies what signs and lights say: each crop on its own, with windows of it hidden."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional, Sequence, Tuple

import numpy as np

from l4edge_compression.defense.verdicts import Certificate, uncertified
from l4edge_perception.camera.classifier import DEFAULTS, READABLE, crop
from l4edge_perception.packages import ModelPackage
from l4edge_perception.safety_types import (
    NO_LABEL,
    Box,
    Hazard,
    ObjectVerdict,
    PatchModel,
    Verdict,
    WindowVerdict,
)
from l4edge_perception.types import MEANINGS, Detections
from l4edge_pipeline.safety.escalation import OperatingPoints

SPACE = "classifier crop"
"""The tensor whose windows are hidden."""


@dataclass(frozen=True)
class CropGeometry:
    """How crops are cut, as :func:`l4edge_perception.camera.classifier.crop` does.

    Attributes:
        size: edge of a crop in pixels.
        enlargement: edge of the square that is cut over the longer edge of the box.
        least_height_px: objects that are lower are not read by the pipeline, so nothing depends on them.
        limit: objects that the pipeline reads in one picture, the tallest.
    """

    size: int
    enlargement: float = DEFAULTS["enlargement"]
    least_height_px: float = DEFAULTS["least_height_px"]
    limit: int = int(DEFAULTS["limit"])

    @staticmethod
    def of(package: ModelPackage) -> "CropGeometry":
        """The geometry that a classifier package asks for."""
        given = {**DEFAULTS, **package.output.parameters}
        return CropGeometry(
            package.input.size[0], float(given["enlargement"]), float(given["least_height_px"]), int(given["limit"])
        )

    def square(self, box: Sequence[float]) -> Box:
        """What is cut for a box, pixels of the picture."""
        x_min, y_min, x_max, y_max = (float(value) for value in box)
        half = 0.5 * max(x_max - x_min, y_max - y_min, 1.0) * self.enlargement
        x, y = 0.5 * (x_min + x_max), 0.5 * (y_min + y_max)
        return x - half, y - half, x + half, y + half

    def to_picture(self, window: Sequence[int], box: Sequence[float]) -> Box:
        """A window of the crop of ``box``, in pixels of the picture."""
        left, top, right, _ = self.square(box)
        scale = (right - left) / self.size
        x_min, y_min, x_max, y_max = window
        return left + scale * x_min, top + scale * y_min, left + scale * x_max, top + scale * y_max


class SignCertifier:
    """Certifies crops of signs and lights with a certified package. Not to be used by two threads at once.

    Args:
        certifier: with ``certify(image, more_time, escalate)``; its ``confidence`` is set to the critical threshold.
        classes: of its network, words of ``MEANINGS``.
        geometry: of the crops.
        points: operating points.
        least_px: signs and lights of which the longer edge is shorter are not certified; enlarged so much, a few pixels
            of the camera would be a whole patch.
        patch: what the certificates assume.
        verify: reads the package's files again; False where they are no longer those that were loaded.
    """

    def __init__(
        self, certifier: Any, classes: Sequence[str], geometry: CropGeometry, points: OperatingPoints,
        patch: PatchModel, verify: Callable[[], bool], least_px: float = 0.0,
    ) -> None:
        certifier.confidence = points.critical
        self._certifier = certifier
        self._classes = tuple(classes)
        self.geometry = geometry
        self._points = points
        self.patch = patch
        self.verify = verify
        self._least_px = least_px

    def crop_certificate(
        self, image: np.ndarray, more_time: Callable[[], bool], escalate: bool = True
    ) -> Certificate:
        """The certificate of one crop at its operating point.

        Args:
            image: (size, size, 3) uint8.
            more_time: asked before every pass.
            escalate: on an alarm, go on with second masks for as long as there is time.
        """
        certificate = self._certifier.certify(image, more_time, escalate)
        if not np.isfinite([certificate.margin, certificate.covered, certificate.least_confidence]).all():
            return uncertified("input", windows=certificate.windows)
        return self._points.judge(certificate, self._classes, self._certifier.margin)

    def readable(self, detections: Detections) -> np.ndarray:
        """Indices of the signs and lights that the pipeline reads, the tallest first."""
        heights = detections.boxes[:, 3] - detections.boxes[:, 1]
        rows = np.flatnonzero(READABLE[detections.class_ids] & (heights >= self.geometry.least_height_px))
        return rows[np.argsort(-heights[rows], kind="stable")][: self.geometry.limit]

    def too_small(self, box: Sequence[float]) -> bool:
        """Whether a sign or light is too small, or too far away, for its certificate to be asked for."""
        return bool(max(box[2] - box[0], box[3] - box[1]) < self._least_px)

    def certify(
        self, pixels: np.ndarray, detections: Detections, row: int, object_id: Optional[int],
        more_time: Callable[[], bool],
    ) -> Tuple[ObjectVerdict, Certificate]:
        """The verdict on one detected sign or light, and the certificate behind it.

        Args:
            pixels: (H, W, 3) uint8 RGB, the picture that the detections are of.
            detections: with what the pipeline has read.
            row: of the object.
            object_id: of its track, if it has one.
            more_time: asked before every pass.
        """
        box = detections.boxes[row]
        left, top, right, bottom = self.geometry.square(box)
        if self.too_small(box) or left < 0 or top < 0 or right > pixels.shape[1] or bottom > pixels.shape[0]:
            # Beyond the picture its border goes on: a patch there would be spread over the whole margin of the crop.
            certificate = uncertified("size")
        else:
            image = crop(pixels, box[None], self.geometry.size, self.geometry.enlargement)[0]
            certificate = self.crop_certificate(image, more_time)
        return self._verdict(certificate, detections, row, object_id), certificate

    def _verdict(
        self, certificate: Certificate, detections: Detections, row: int, object_id: Optional[int]
    ) -> ObjectVerdict:
        verdict, reason = Verdict(int(certificate.verdict)), certificate.reason
        label = self._meaning(certificate.label)
        recovered = self._meaning(certificate.recovered_label)
        read = detections.meanings[row]
        if verdict == Verdict.CERTIFIED and read.any() and int(read.argmax()) != label:
            # No patch decides this label, but the pipeline has read another one: one of the two networks is misled.
            sure = float(read.max()) > self._points.of(certificate.label, self._classes)
            verdict, reason = (Verdict.ALARM, "disagreed") if sure else (Verdict.UNCERTIFIED, "low_confidence")
            recovered = label
        certified = verdict == Verdict.CERTIFIED
        box = tuple(float(value) for value in detections.boxes[row])
        return ObjectVerdict(
            object_id=object_id,
            hazard=Hazard.LABEL,
            box=box,  # type: ignore[arg-type]
            class_id=int(detections.class_ids[row]),
            score=float(detections.scores[row]),
            verdict=verdict,
            reason=reason,
            covered=float(np.clip(certificate.covered, 0.0, 1.0)),
            passes_done=certificate.passes,
            passes_required=certificate.passes_required,
            label=label,
            confidence=float(certificate.least_confidence),
            recovered_label=recovered,
            recovered_certified=bool(certificate.recovered_by_two_masks and recovered != NO_LABEL),
            largest_patch_px=float(min(self.patch.height_px, self.patch.width_px)) if certified else 0.0,
            disagreeing=tuple(
                WindowVerdict(self.geometry.to_picture(window.window, box), self._meaning(window.label),
                              float(window.confidence))
                for window in certificate.disagreeing
            ),
        )

    def word(self, label: int) -> str:
        """What a label of the network means, empty for none."""
        return self._classes[label] if 0 <= label < len(self._classes) else ""

    def _meaning(self, label: Optional[int]) -> int:
        if label is None or not 0 <= label < len(self._classes):
            return NO_LABEL
        return MEANINGS.index(self._classes[label])


def load_sign_certifier(
    folder: Path, package: ModelPackage, points: OperatingPoints, threads: int = 1, least_px: float = 0.0
) -> SignCertifier:
    """The certifier of a package whose folder holds ``certification.json``.

    Raises:
        InputError: there is none, or a file or a setting is not the one that was certified.
    """
    from l4edge_compression.defense.packages import load_certified

    certified = load_certified(folder)
    certifier = certified.certifier(threads=threads)
    height, width = certified.patch
    covering = certifier.covering
    files = sorted(part.sha256 for part in certified.parts.values())
    patch = PatchModel(
        count=1, height_px=int(height), width_px=int(width), space=SPACE,
        mask_set="{} {} of {} windows".format(certified.method, "x".join(map(str, covering.counts)), len(covering)),
        confidence_threshold=points.critical, numeric_margin=float(certifier.margin),
        model_hash=hashlib.sha256("".join(files).encode()).hexdigest(), configuration_hash=certified.hash,
    )
    return SignCertifier(
        certifier, certified.classes or package.classes, CropGeometry.of(package), points, patch, certified.verify,
        least_px,
    )
