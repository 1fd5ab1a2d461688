"""The sky as a cube map: gradient, clouds, the sun's glow and a far skyline."""

import cv2
import numpy as np

from l4edge_simulation.appearance import Look
from l4edge_simulation.scenery.textures import noise

CLOUD_SCALE = 0.07  # share of the cloud pattern that one unit of tangent shows


def sky(look: Look, rng: np.random.Generator, size: int = 256) -> np.ndarray:
    """Six stacked faces, (6 * size, size, 3) uint8 red green blue.

    They look along +x, -x, +z (up), -z (down), -y, +y of the map; rows and columns run as OpenGL's cube maps do.
    """
    directions = _directions(size)
    elevation = directions[..., 2]
    blend = np.clip(elevation, 0.0, 1.0)[..., None] ** 0.5
    image = np.array(look.horizon) * (1.0 - blend) + np.array(look.zenith) * blend
    if look.clouds > 0.05:
        cover = _clouds(directions, look.clouds, rng)[..., None]
        white = np.clip(np.array(look.horizon) * 1.05, 0.0, 1.0) * (0.92 + 0.08 * cover)
        image = image * (1.0 - cover) + white * cover
    towards_sun = np.clip(directions @ -np.array(look.sun_direction), 0.0, 1.0)[..., None]
    image += towards_sun**60 * np.array(look.sun) * 0.5 + towards_sun**900 * np.array(look.sun) * 2.0
    skyline = _skyline(directions, rng)
    far = np.array(look.horizon) * rng.uniform(0.45, 0.85) * np.array([0.92, 0.97, 1.0])
    image = np.where((elevation < skyline)[..., None], far, image)
    return np.clip(image * 255.0, 0.0, 255.0).astype(np.uint8)


def _directions(size: int) -> np.ndarray:
    """(6 * size, size, 3) unit vectors that the faces' pixels look along."""
    edge = (np.arange(size) + 0.5) / size * 2.0 - 1.0
    u, v = np.meshgrid(edge, edge)
    one = np.ones_like(u)
    faces = [(one, u, -v), (-one, -u, -v), (u, -v, one), (u, v, -one), (u, -one, -v), (-u, one, -v)]
    directions = np.stack([np.stack(face, -1) for face in faces]).reshape(6 * size, size, 3)
    return directions / np.linalg.norm(directions, axis=-1, keepdims=True)


def _clouds(directions: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """(H, W) 0..1 how much clouds cover; ``share`` of the sky on average, fading out at the horizon."""
    pattern = noise(rng, 512, 4, 6, 0.55)
    height = np.maximum(directions[..., 2], 0.03)
    column, row = (((directions[..., axis] / height * CLOUD_SCALE) % 1.0 * 512).astype(np.float32) for axis in (0, 1))
    cover = cv2.remap(pattern, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    above = np.clip(directions[..., 2] * 6.0, 0.0, 1.0)
    return np.clip((cover + 1.4 * share - 0.6) * 1.6, 0.0, 1.0) * above


def _skyline(directions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(H, W) sine of the elevation up to which far hills or houses stand."""
    azimuth = np.arctan2(directions[..., 1], directions[..., 0]) / (2.0 * np.pi) % 1.0
    hills = noise(rng, 512, 8, 5)[0]
    profile = 0.015 + 0.05 * np.clip(hills + 0.3, 0.0, 1.0)
    if rng.random() < 0.5:
        profile = np.maximum(profile, np.repeat(rng.uniform(-0.02, 0.07, 128), 4))
    return profile.astype(np.float32)[(azimuth * 511).astype(np.float32).astype(int)]
