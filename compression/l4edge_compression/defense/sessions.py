"""Graphs on onnxruntime, as the certification calls them."""

from typing import Callable

import numpy as np
import onnxruntime

from l4edge_perception.errors import InputError


def graph_runner(graph: bytes, threads: int = 1, file: str = "graph") -> Callable[[np.ndarray], np.ndarray]:
    """A function from the graph's input tensor to its first output. Raises InputError if it cannot be loaded."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own kinds, without a common base
        reason = " ".join(str(error).split())
        raise InputError(f"{file}: onnxruntime {onnxruntime.__version__} cannot load it ({reason})") from error
    name, output = session.get_inputs()[0].name, session.get_outputs()[0].name
    return lambda tensor: session.run([output], {name: tensor})[0]
