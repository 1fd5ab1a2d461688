"""What a real camera does to a clean image: exposure, bloom, colour, vignetting, blur, noise, rain, JPEG.

And the noise of the vehicle's own localisation.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from l4edge_perception.types import EgoState
from l4edge_simulation.appearance import Look
from l4edge_simulation.world.ego import Bicycle

EXPOSURE_RANGE = (0.7, 2.2)  # gains within the reach of the automatic exposure


@dataclass(frozen=True)
class CameraNoise:
    """One drive's camera electronics.

    Attributes:
        exposure: mean level that the automatic exposure aims at; levels are 0..1.
        gains: of red green blue. gamma: of the tone curve. vignette: loss in the corners, 0..1.
        blur_px: standard deviation. shot, read: noise per square root of the level, and at black.
        bloom: strength of the glare around bright lamps. rain: streaks an image. jpeg_quality: 0..100.
    """

    exposure: float
    gains: tuple[float, float, float]
    gamma: float
    vignette: float
    blur_px: float
    shot: float
    read: float
    bloom: float
    rain: int
    jpeg_quality: int


def draw_camera_noise(look: Look, rng: np.random.Generator) -> CameraNoise:
    """Draw a drive's camera electronics; dark looks are noisier and glare more."""
    dark = {"night": 2.5, "dusk": 1.6}.get(look.name, 1.0)
    warmth = rng.normal(0.0, 0.05)
    return CameraNoise(
        exposure=float(rng.uniform(0.32, 0.48) * {"night": 0.45, "dusk": 0.65}.get(look.name, 1.0)),
        gains=(float(1.0 + warmth), 1.0, float(1.0 - warmth)),
        gamma=float(rng.uniform(0.85, 1.1)),
        vignette=float(rng.uniform(0.0, 0.35)),
        blur_px=float(rng.uniform(0.0, 0.8)),
        shot=float(rng.uniform(0.004, 0.02) * dark),
        read=float(rng.uniform(0.002, 0.008) * dark),
        bloom=float(rng.uniform(0.15, 0.5) * (1.0 if look.lamps else 0.4)),
        rain=int(rng.integers(20, 140)) if look.name == "rain" else 0,
        jpeg_quality=int(rng.integers(70, 96)),
    )


class Camera:
    """Applies one drive's camera noise to its images."""

    def __init__(self, noise: CameraNoise, rng: np.random.Generator, width: int, height: int) -> None:
        self.noise, self._rng = noise, rng
        x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
        falloff = 1.0 - noise.vignette * np.clip((x**2 + y**2) / 2.0, 0.0, 1.0)
        self._level = 0.0
        self._gain = (falloff[..., None] * np.array(noise.gains)).astype(np.float32)
        # Drawing a million normal numbers an image costs more than rendering; shifted copies of one field do.
        self._grain = rng.standard_normal((height * 2, width * 2, 3), dtype=np.float32)

    def expose(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 red green blue in, the same out."""
        noise, rng = self.noise, self._rng
        height, width = image.shape[:2]
        light = image.astype(np.float32) * (1.0 / 255.0)
        if noise.bloom > 0.0:
            small = cv2.resize(np.maximum(light - 0.82, 0.0), (width // 4, height // 4), interpolation=cv2.INTER_AREA)
            glow = cv2.GaussianBlur(small, (0, 0), 2.0) + 0.5 * cv2.GaussianBlur(small, (0, 0), 6.0)
            light += 6.0 * noise.bloom * cv2.resize(glow, (width, height))
        light *= self._gain * self._exposure(float(light[height * 2 // 5 :: 8, ::8].mean()))
        for _ in range(noise.rain):
            x, y, long = rng.uniform(0, width), rng.uniform(-20, height), rng.uniform(6, 28)
            level = float(rng.uniform(0.5, 0.85))
            cv2.line(light, (int(x), int(y)), (int(x + 0.15 * long), int(y + long)), (level, level, level), 1)
        if noise.blur_px > 0.15:
            light = cv2.GaussianBlur(light, (0, 0), noise.blur_px)
        light = np.power(np.clip(light, 0.0, 1.0), noise.gamma)
        top, left = int(rng.integers(0, height)), int(rng.integers(0, width))
        grain = self._grain[top : top + height, left : left + width]
        light += grain * (noise.shot * np.sqrt(light) + noise.read)
        return np.clip(light * 255.0, 0.0, 255.0).astype(np.uint8)

    def _exposure(self, level: float) -> float:
        """The automatic exposure's gain; it follows the scene's mean level with a delay of some images."""
        self._level = level if self._level == 0.0 else 0.8 * self._level + 0.2 * level
        return float(np.clip(self.noise.exposure / max(self._level, 1e-3), *EXPOSURE_RANGE))

    def jpeg(self, image: np.ndarray) -> bytes:
        """The image as the camera sends it."""
        _, content = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, self.noise.jpeg_quality])
        return content.tobytes()


class Odometer:
    """The localisation's noise: a slowly wandering offset and white noise."""

    WANDER_M, WANDER_RAD, CORRELATION_S = 0.08, 0.003, 15.0
    NOISE_M, NOISE_RAD, NOISE_SPEED, NOISE_RATE = 0.015, 0.001, 0.03, 0.002

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._offset = rng.normal(0.0, 1.0, 3) * [self.WANDER_M, self.WANDER_M, self.WANDER_RAD]

    def measure(self, stamp_ns: int, ego: Bicycle, step_s: float) -> EgoState:
        """The ego's state as localisation reports it, ``step_s`` after the last call."""
        rng = self._rng
        keep = np.exp(-step_s / self.CORRELATION_S)
        fresh = rng.normal(0.0, 1.0, 3) * [self.WANDER_M, self.WANDER_M, self.WANDER_RAD]
        self._offset = keep * self._offset + np.sqrt(1.0 - keep**2) * fresh
        x, y, yaw = self._offset + rng.normal(0.0, 1.0, 3) * [self.NOISE_M, self.NOISE_M, self.NOISE_RAD]
        return EgoState(
            stamp_ns=stamp_ns,
            x=ego.x + float(x),
            y=ego.y + float(y),
            yaw=float((ego.yaw + yaw + np.pi) % (2.0 * np.pi) - np.pi),
            speed=ego.speed + float(rng.normal(0.0, self.NOISE_SPEED)),
            yaw_rate=float(ego.yaw_rate + rng.normal(0.0, self.NOISE_RATE)),
            acceleration=ego.acceleration + float(rng.normal(0.0, 0.05)),
        )
