import pytest

from tests.accel.offload_factories import Clock


@pytest.fixture
def clock():
    return Clock()
