"""What runs the network of an offload node: the simulated device, or one day a board.

No board was ever attached: :class:`SimulatedBackend` is the only backend that exists, and its times are modelled.
"""

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable, Optional, Tuple

import numpy as np

from l4edge_accel.configuration import AcceleratorConfig, EngineConfig, RowGroup, check_engine
from l4edge_accel.graph_workload import read_workload
from l4edge_accel.network_cost import network_cost
from l4edge_perception.errors import InputError
from l4edge_perception.inference import Session
from l4edge_perception.packages import Level, ModelPackage


@dataclass(frozen=True)
class Result:
    """What a backend says of one batch.

    Attributes:
        outputs: in the order of the manifest; nobody changes them later.
        modelled_s: what the device takes for it.
        wall_s: what it took here, without waiting for the modelled time.
    """

    outputs: Tuple[np.ndarray, ...]
    modelled_s: float
    wall_s: float


class Backend(ABC):
    """A device with one network on it, used by one thread at a time.

    A driver of a real board would be another subclass: :meth:`run` starts the transfer and waits for its end,
    :meth:`finding` asks the board. None was written, since none could be tested on hardware.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is, and whether its times are modelled; for people."""

    @property
    @abstractmethod
    def network(self) -> str:
        """SHA-256 of the graph that it runs."""

    @abstractmethod
    def seconds(self, batch: int) -> float:
        """How long ``batch`` inferences in one request are expected to take."""

    @abstractmethod
    def check(self, tensor: np.ndarray) -> str:
        """Why ``tensor`` cannot be its input; empty: it can."""

    @abstractmethod
    def run(self, tensor: np.ndarray, received_ns: int = 0) -> Result:
        """Run one batch and wait for its end.

        Args:
            received_ns: steady clock; the device could not begin before.

        Raises:
            InputError: the tensor does not fit the network.
        """

    def finding(self) -> str:
        """Why nothing can be run; empty: all is well."""
        return ""


class SimulatedBackend(Backend):
    """The accelerator's integers, computed by the CPU, at the accelerator's modelled time.

    A quantized level run by onnxruntime gives the integers that the tile engines and their RTL give (``l4edge bench
    rtl`` and ``bench parity`` compare them), so answers are the device's. A batch takes as long as its inferences one
    after the other: the engines are built for one.
    """

    def __init__(
        self, package: ModelPackage, level: str, seconds_per_inference: float, *, paced: bool = True, device: str = "",
        sleep: Callable[[float], None] = time.sleep, clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Load the level.

        Args:
            package: of the network; its first axis is the batch.
            level: a quantized one.
            seconds_per_inference: modelled, see :func:`modelled_seconds`.
            paced: whether an answer waits until the modelled time has passed; else it comes as fast as the CPU can.
            device: what is modelled, for people.
            sleep, clock: wait, and tell steady nanoseconds.

        Raises:
            InputError: a level that is not quantized, or a time that is not above 0.
        """
        if not 0 < seconds_per_inference < float("inf"):
            raise InputError(f"seconds per inference: {seconds_per_inference} is not above 0")
        self._entry = quantized_level(package, level)
        # The others would only make the start of the node longer.
        self._session = Session(replace(package, levels=(self._entry,)), self._entry.name)
        self._seconds = seconds_per_inference
        self._paced = paced
        self._sleep = sleep
        self._clock = clock
        self._free_ns = 0
        pace = "paced" if paced else "as fast as possible"
        self._name = f"simulated {device or 'accelerator'}, {package.name}.{self._entry.name}, modelled times, {pace}"

    @property
    def name(self) -> str:
        """What is simulated."""
        return self._name

    @property
    def network(self) -> str:
        """SHA-256 of the level's graph."""
        return self._entry.sha256

    def seconds(self, batch: int) -> float:
        """Modelled time of a batch."""
        return batch * self._seconds

    def check(self, tensor: np.ndarray) -> str:
        """Compare dtype and shape with the manifest."""
        wanted = self._session.package.input
        fits = len(tensor.shape) == len(wanted.shape) and all(
            size in (-1, given) for size, given in zip(wanted.shape, tensor.shape)
        )
        return "" if fits and tensor.size and tensor.dtype == np.dtype(wanted.dtype) else "wrong input"

    def run(self, tensor: np.ndarray, received_ns: int = 0) -> Result:
        """Run it on the CPU; where paced, wait until the device would be done.

        A device begins with what waits as soon as it is free, while its host still hands out the last answer. So it
        begins here when the batch was received or the last one was done, not when this is called.
        """
        started_ns = self._clock()
        # The session reuses its arrays; an answer outlives the next run.
        outputs = tuple(np.array(output) for output in self._session.run(tensor))
        now_ns = self._clock()
        modelled_s = self.seconds(len(tensor))
        if self._paced:
            done_ns = max(received_ns or started_ns, self._free_ns) + round(modelled_s * 1e9)
            if done_ns > now_ns:
                self._sleep((done_ns - now_ns) * 1e-9)
            # Where the CPU is slower than the device, the device is not free before the CPU is.
            self._free_ns = max(done_ns, now_ns)
        return Result(outputs, modelled_s, (now_ns - started_ns) * 1e-9)


def quantized_level(package: ModelPackage, wanted: Optional[str] = None) -> Level:
    """The level that an accelerator runs: the wanted one, or the last of those that are quantized.

    Raises:
        InputError: there is none, or the wanted one is not quantized.
    """
    having = [level for level in package.levels if level.schemes]
    if not wanted and having:
        return having[-1]
    level = package.level(wanted or None)
    if not level.schemes:
        known = ", ".join(entry.name for entry in having)
        raise InputError(
            f"{package.name}: level {level.name!r} is not quantized, an accelerator cannot run it; "
            + (f"choose one of {known}" if known else "quantize it with l4edge compress")
        )
    return level


def modelled_seconds(folder: Path, level: str, accelerator: Optional[AcceleratorConfig] = None) -> float:
    """Modelled time of one inference of a package's level; reading its graph needs the library ``onnx``.

    Args:
        folder: of the model package.
        level: a quantized one.
        accelerator: as the compiler writes it; None: :func:`small_accelerator`.

    Raises:
        InputError: a layer that none of its engines can run, or a package that does not say how it is quantized.
    """
    workload = read_workload(folder, level, quantized=True)
    return 1.0 / network_cost(workload, accelerator or small_accelerator()).frames_per_second


def small_accelerator(rows: int = 8, inputs: int = 8) -> AcceleratorConfig:
    """Two small engines on the smallest board, enough to read signs: binary weights in logic, 8 bits on DSP blocks."""
    binary = EngineConfig("binary", (RowGroup("binary", rows),), inputs, ports_out=1, accumulator_bits=24)
    fixed = EngineConfig("fixed", (RowGroup("fixed8", rows, "dsp", 1),), inputs, accumulator_bits=28)
    engines = tuple(check_engine(engine, engine.name) for engine in (binary, fixed))
    return AcceleratorConfig("signs", "xc7z020", 100e6, engines)
