"""One way to run a network: a session over onnxruntime that holds all levels of a package, warm."""

from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
import onnxruntime

from l4edge_perception.errors import InputError
from l4edge_perception.packages import Level, ModelPackage

Provider = Tuple[str, Mapping[str, Any]]

_CPU: Provider = ("CPUExecutionProvider", {})
_CUDA: Provider = ("CUDAExecutionProvider", {"device_id": 0})


def _tensorrt(**options: Any) -> Provider:
    return ("TensorrtExecutionProvider", {"device_id": 0, "trt_fp16_enable": True, **options})


ENGINES: Dict[str, Sequence[Provider]] = {
    "cpu": (_CPU,),
    "gpu": (_tensorrt(), _CUDA, _CPU),
    "dla0": (_tensorrt(trt_dla_enable=True, trt_dla_core=0), _CUDA, _CPU),
    "dla1": (_tensorrt(trt_dla_enable=True, trt_dla_core=1), _CUDA, _CPU),
}
"""Engine: the execution providers that serve it, best first; each layer falls to the next that can run it."""


def engine_providers(engine: str, available: Sequence[str]) -> List[Provider]:
    """The providers to ask for, of those that this onnxruntime was built with.

    Raises:
        InputError: the engine is unknown, or nothing here but the CPU could serve it.
    """
    if engine not in ENGINES:
        raise InputError("engine {!r} cannot run a network here; known are {}".format(engine, ", ".join(ENGINES)))
    # A deep learning accelerator is reached through TensorRT only; a GPU also without it.
    needed = {"cpu": (_CPU,), "gpu": ENGINES["gpu"][:2]}.get(engine, ENGINES[engine][:1])
    if not any(name in available for name, _ in needed):
        raise InputError(
            f"engine {engine}: this onnxruntime has only {', '.join(available)}; install a build with "
            f"{' or '.join(name for name, _ in needed)}, or use engine cpu"
        )
    return [(name, dict(options)) for name, options in ENGINES[engine] if name in available]


class Session:
    """A package's levels, loaded and warmed, of which one is in use.

    Loading and warming all levels costs time and memory once; switching afterwards replaces a reference.
    A session is not to be used by two threads at once.
    """

    def __init__(
        self, package: ModelPackage, level: Optional[str] = None, engine: str = "cpu", threads: int = 1
    ) -> None:
        """Load every level.

        Args:
            package: the network.
            level: the level to begin with, or None for the first.
            engine: "cpu", "gpu", "dla0" or "dla1".
            threads: of the CPU provider inside one operator.

        Raises:
            InputError: no such level, no such engine here, or a graph that cannot be loaded.
        """
        if threads < 1:
            raise InputError(f"threads: {threads} is less than 1")
        providers = engine_providers(engine, onnxruntime.get_available_providers())
        self.package = package
        self._input_shape = package.input.shape
        self._input_dtype = np.dtype(package.input.dtype)
        first = package.level(level)
        self._runners = {entry.name: _Runner(package, entry, providers, threads) for entry in package.levels}
        self._level = first
        self._runner = self._runners[first.name]
        blank = np.zeros([max(size, 1) for size in self._input_shape], self._input_dtype)
        for runner in self._runners.values():
            runner.run(blank)

    @property
    def level(self) -> Level:
        """The level in use."""
        return self._level

    @property
    def providers(self) -> List[str]:
        """Execution providers that onnxruntime really uses, best first."""
        return self._runner.session.get_providers()

    def switch(self, level: str) -> None:
        """Use another level from the next run on. Raises InputError if the package has no such level."""
        self._level = self.package.level(level)
        self._runner = self._runners[level]

    def run(self, tensor: np.ndarray) -> List[np.ndarray]:
        """Outputs for one input tensor, in the order of the manifest.

        The arrays are reused by the next run of the same level: copy what must last.

        Raises:
            InputError: the tensor has another shape or dtype than the manifest declares.
        """
        if not self._fits(tensor.shape) or tensor.dtype != self._input_dtype:
            raise InputError(
                f"{self.package.name}: input {self.package.input.name} wants {self._input_dtype} "
                f"{list(self._input_shape)}, got {tensor.dtype} {list(tensor.shape)}"
            )
        return self._runner.run(np.ascontiguousarray(tensor))

    def _fits(self, shape: Tuple[int, ...]) -> bool:
        """A declared size of -1 stands for any."""
        wanted = self._input_shape
        return shape == wanted or (
            len(shape) == len(wanted) and all(size in (-1, given) for size, given in zip(wanted, shape))
        )


class _Runner:
    """One loaded graph. Outputs of fixed shape are allocated once and bound; others come fresh from each run."""

    def __init__(self, package: ModelPackage, level: Level, providers: List[Provider], threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(package.read_graph(level), options, providers=providers)
        except InputError:
            raise
        except Exception as error:  # onnxruntime raises its own kinds, without a common base
            raise InputError(
                "{}: onnxruntime {} cannot load it ({})".format(
                    package.path / level.graph, onnxruntime.__version__, " ".join(str(error).split())
                )
            ) from error
        self._input = package.input
        self._names = list(package.output.names)
        self._fixed = all(min(shape) >= 0 for shape in package.output.shapes)
        self._outputs = [np.empty(shape, np.float32) for shape in package.output.shapes] if self._fixed else []
        self._binding = self.session.io_binding()
        for name, output in zip(self._names, self._outputs):
            self._binding.bind_output(name, "cpu", 0, np.float32, output.shape, output.ctypes.data)

    def run(self, tensor: np.ndarray) -> List[np.ndarray]:
        if not self._fixed:
            return self.session.run(self._names, {self._input.name: tensor})
        self._binding.bind_input(self._input.name, "cpu", 0, tensor.dtype, tensor.shape, tensor.ctypes.data)
        self.session.run_with_iobinding(self._binding)
        return self._outputs
