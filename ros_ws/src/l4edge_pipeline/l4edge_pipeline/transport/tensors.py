"""Tensors through the shared memory that frames travel in: written once, read where they lie, copied once."""

from typing import Any, List, Sequence

import numpy as np

from l4edge_perception.recordings.messages import make, make_header
from l4edge_pipeline.transport.frames import FrameHandle, FrameReader, FrameUnavailable, FrameWriter

DTYPES = ("uint8", "int8", "int32", "int64", "float32", "float64")
"""What a message may name."""

_ENCODING = "mono8"
_NOWHERE = FrameHandle(
    height=0, width=0, encoding=_ENCODING, step=0, boot_id="", process_id=0, file_descriptor=0, slot=0, offset=0,
    generation=0, capacity=0,
)


def put(writer: FrameWriter, tensor: np.ndarray) -> Any:
    """Copy ``tensor`` into the next slot; returns the l4edge_msgs/OffloadTensor that names it.

    Raises:
        FrameUnavailable: no memory, an element type that cannot travel, or no element at all.
    """
    if tensor.dtype.name not in DTYPES:
        raise FrameUnavailable("malformed", f"tensors of {tensor.dtype} do not travel")
    elements = np.ascontiguousarray(tensor).reshape(-1).view(np.uint8)
    with writer.slot(1, len(elements), _ENCODING) as shared:
        np.copyto(shared, elements[None])
    return _message(tensor.dtype.name, tensor.shape, writer.handle)


def nothing() -> Any:
    """The message of a tensor that is not there."""
    return _message("", (), _NOWHERE)


def get(reader: FrameReader, message: Any) -> np.ndarray:
    """A copy of the tensor that ``message`` names.

    Raises:
        FrameUnavailable: it is gone or overwritten, or the message describes none.
    """
    shape: List[int] = [int(size) for size in message.shape]
    if message.dtype not in DTYPES:
        raise FrameUnavailable("malformed", f"no tensor of {message.dtype!r}")
    view = reader.open(FrameHandle.from_message(message.bytes))
    elements = view.pixels.reshape(-1).copy()
    if not view.is_intact():
        raise FrameUnavailable("overwritten", "the tensor was overwritten while it was read")
    count = 1
    for size in shape:
        count *= size
    if count * np.dtype(message.dtype).itemsize != len(elements):
        raise FrameUnavailable("malformed", f"{len(elements)} bytes are no {message.dtype} {shape}")
    return elements.view(message.dtype).reshape(shape)


def _message(dtype: str, shape: Sequence[int], handle: FrameHandle) -> Any:
    frame = make("l4edge_msgs/msg/SharedFrame", header=make_header(0, ""), sequence=0, **vars(handle))
    return make("l4edge_msgs/msg/OffloadTensor", dtype=dtype, shape=np.array(shape, np.uint32), bytes=frame)
