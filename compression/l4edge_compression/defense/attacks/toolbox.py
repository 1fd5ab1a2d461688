"""A second, independent adversarial patch: that of the Adversarial Robustness Toolbox (MIT licence), where installed.

An attack of one's own may be weak for reasons one does not see. ``pip install l4edge[attacks]`` brings the toolbox.
Its certificates are not used: ``PyTorchObjectSeeker.certify`` of 1.20.1 looks at the geometry of boxes only and never
at masked detections.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from l4edge_perception.errors import InputError


class _ChannelsFirst(nn.Module):
    def __init__(self, network: Callable[[Tensor], Tensor]):
        super().__init__()
        self.network = network
        self.unused = nn.Parameter(torch.zeros(1))  # the toolbox asks where the parameters are

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images.permute(0, 2, 3, 1)) + 0 * self.unused


def toolbox_patch(
    network: Callable[[Tensor], Tensor],
    images: np.ndarray,
    target: int,
    size: tuple[int, int],
    classes: int,
    steps: int = 50,
    rate: float = 8.0,
    rotation: float = 15.0,
) -> np.ndarray:
    """The toolbox's adversarial patch (Brown et al. 2017) for a network of this project.

    Args:
        network: (B, H, W, 3) float pixels in 0..255 to (B, classes).
        images: (N, H, W, 3) uint8, square.
        target: index of the class.
        size: (h, w) of the patch; the toolbox's patch is made this small.
        classes: logits.
        steps, rate: of its gradient descent; grey levels.
        rotation: largest, in degrees.

    Returns:
        (h, w, 3) uint8.

    Raises:
        InputError: the toolbox is not installed.
    """
    try:
        from art.attacks.evasion import AdversarialPatchNumpy
        from art.estimators.classification import PyTorchClassifier
    except ImportError as error:
        raise InputError(
            f"adversarial-robustness-toolbox: is not installed ({error}); pip install l4edge[attacks]"
        ) from error

    class Patch(AdversarialPatchNumpy):
        def reset_patch(self, initial_patch_value: Any) -> None:
            """1.20.1 knows Python's floats only, and sets the patch from one of numpy's."""
            scalar = initial_patch_value is not None and np.ndim(initial_patch_value) == 0
            super().reset_patch(float(initial_patch_value) if scalar else initial_patch_value)

    height, width = images.shape[1:3]
    estimator: Any = PyTorchClassifier(
        model=_ChannelsFirst(network), loss=nn.CrossEntropyLoss(), input_shape=(3, height, width), nb_classes=classes,
        clip_values=(0.0, 255.0), channels_first=True, device_type="cpu",
    )
    share = max(size) / max(height, width)
    attack = Patch(
        estimator, rotation_max=rotation, scale_min=share, scale_max=min(1.0, share * 1.01), learning_rate=rate,
        max_iter=steps, batch_size=len(images), targeted=True, verbose=False,
    )
    wanted = np.eye(classes, dtype=np.float32)[np.full(len(images), target)]
    patch, _ = attack.generate(x=images.transpose(0, 3, 1, 2).astype(np.float32), y=wanted)
    found = cv2.resize(patch.transpose(1, 2, 0).astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
    return np.clip(np.rint(found), 0, 255).astype(np.uint8)
