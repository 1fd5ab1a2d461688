"""A renderer to share, and drives that several tests look at."""

import importlib.util
from types import SimpleNamespace

import pytest

from l4edge_perception.errors import InputError

SIZE = (320, 180)
SEEDS = (2_000_002, 2_000_007)
IMAGES, SPACING_S = 6, 1.5


@pytest.fixture(scope="session")
def renderer():
    if importlib.util.find_spec("mujoco") is None:
        pytest.skip("needs the extra simulation")
    from l4edge_simulation.rendering.renderer import Renderer

    try:
        return Renderer(*SIZE)
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def simulate(renderer):
    """``simulate(seed, look=...)``: a fresh drive."""
    from l4edge_simulation.simulation import Simulation

    def call(seed=SEEDS[0], look=""):
        return Simulation(seed, "test", 20.0, renderer, look)

    return call


@pytest.fixture(scope="session", params=SEEDS)
def drive(request, simulate):
    """A drive's seed, its camera and what was seen of it."""
    simulation = simulate(request.param)
    seen = [simulation.step(seconds=SPACING_S) for _ in range(IMAGES)]
    return SimpleNamespace(seed=request.param, camera=simulation.camera_model(), seen=seen)
