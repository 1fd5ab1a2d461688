"""What detectors' raw outputs mean: one small pure function per family of networks.

Every decoder takes the output tensor of one image and a score threshold and gives :class:`Candidates`: overlapping
boxes in pixels of the network's input, before suppression. Scores at or below the threshold are left out first, so
the work grows with what is in the picture and not with the number of cells.
"""

from typing import Any, Callable, Dict, Mapping, NamedTuple, Sequence, Tuple

import numpy as np

from l4edge_perception.errors import InputError


class Candidates(NamedTuple):
    """M boxes that may overlap.

    Attributes:
        boxes: (M, 4) float32, x_min y_min x_max y_max, pixels of the network's input.
        scores: (M,) float32.
        class_ids: (M,) integers, the network's own classes.
    """

    boxes: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray


class Cells(NamedTuple):
    """The cells of all grids of a network in the order of its outputs. N cells.

    Attributes:
        centres: (N, 2) float32, x y, pixels.
        strides: (N,) float32, pixels per cell or, where cells are divided, per part of one.
    """

    centres: np.ndarray
    strides: np.ndarray


Decoder = Callable[[np.ndarray, float], Candidates]


def cell_grid(height: int, width: int, strides: Sequence[int], divisions: Sequence[int] = ()) -> Cells:
    """Cells of grids over an image, row by row, one grid after the other.

    ``divisions`` says for each grid into how many parts its cells are divided down and across, 1 if it is left out;
    the top left parts of all cells come first, then the parts to their right, and so on.
    """
    centres = []
    sizes = []
    for stride, parts in zip(strides, divisions or [1] * len(strides)):
        y, x = np.mgrid[: height // stride, : width // stride].reshape(2, -1)
        for row in range(parts):
            for column in range(parts):
                inside = np.array([column + 0.5, row + 0.5]) / parts
                centres.append((np.stack([x, y], axis=1) + inside) * stride)
                sizes.append(np.full(len(x), stride / parts))
    return Cells(np.concatenate(centres).astype(np.float32), np.concatenate(sizes).astype(np.float32))


def grid(output: np.ndarray, threshold: float, cells: Cells) -> Candidates:
    """This project's detector: (1, 4 + C, N) of offset x y and log size in cells, and C logits."""
    logits = output[0, 4:]
    best = logits.max(axis=0)
    kept = np.flatnonzero(best > _logit(threshold))
    stride = cells.strides[kept]
    values = output[0, :4, kept].T
    centres = cells.centres[kept].T + values[:2] * stride
    # e^10 cells is wider than any image: the limit keeps an untrained network from overflowing.
    sizes = np.exp(np.minimum(values[2:], 10.0)) * stride
    return Candidates(_corners(centres, sizes), _sigmoid(best[kept]), logits[:, kept].argmax(axis=0))


def fastestdet(output: np.ndarray, threshold: float) -> Candidates:
    """FastestDet: (1, 5 + C, H, W) of objectness, offset x y, size w h, C class scores.

    Box centres are (cell + tanh(offset)) / grid and sizes sigmoid(size), both as shares of the image; the score is
    objectness ** 0.6 * class ** 0.4 (github.com/dog-qiuqiu/FastestDet, utils/tool.py, handle_preds). Here the boxes
    come in shares of the image, 0..1; :func:`make_decoder` scales them to pixels.
    """
    rows, columns = output.shape[2:]
    maps = output[0].reshape(output.shape[1], -1)
    scores = maps[0] ** 0.6 * maps[5:].max(axis=0) ** 0.4
    kept = np.flatnonzero(scores > threshold)
    maps = maps[:, kept]
    cells = np.stack([kept % columns, kept // columns])
    centres = (cells + np.tanh(maps[1:3])) / np.array([[columns], [rows]], np.float32)
    return Candidates(_corners(centres, _sigmoid(maps[3:5])), scores[kept], maps[5:].argmax(axis=0))


def yolov5(output: np.ndarray, threshold: float) -> Candidates:
    """YOLOv5 to v7: (1, N, 5 + C) of centre x y, size w h in pixels, objectness, C class scores."""
    objectness = output[0, :, 4]
    kept = np.flatnonzero(objectness > threshold)  # class scores are at most 1
    rows = output[0, kept]
    classes = rows[:, 5:].argmax(axis=1)
    scores = rows[:, 4] * rows[np.arange(len(rows)), 5 + classes]
    sure = scores > threshold
    rows = rows[sure].T
    return Candidates(_corners(rows[:2], rows[2:4]), scores[sure], classes[sure])


def yolov8(output: np.ndarray, threshold: float) -> Candidates:
    """YOLOv8 and later: (1, 4 + C, N) of centre x y, size w h in pixels, C class scores."""
    best = output[0, 4:].max(axis=0)
    kept = np.flatnonzero(best > threshold)
    columns = output[0][:, kept]
    return Candidates(_corners(columns[:2], columns[2:4]), best[kept], columns[4:].argmax(axis=0))


def yolox(output: np.ndarray, threshold: float, cells: Cells) -> Candidates:
    """YOLOX: (1, N, 5 + C) of offset x y and log size in cells, objectness, C class scores."""
    decoded = output.copy()
    corners = cells.centres - 0.5 * cells.strides[:, None]  # YOLOX counts offsets from the cell's corner
    decoded[0, :, :2] = corners + output[0, :, :2] * cells.strides[:, None]
    decoded[0, :, 2:4] = np.exp(np.minimum(output[0, :, 2:4], 10.0)) * cells.strides[:, None]
    return yolov5(decoded, threshold)


def end_to_end(output: np.ndarray, threshold: float) -> Candidates:
    """Suppression inside the graph: (1, N, 6) of x_min y_min x_max y_max in pixels, score, class."""
    rows = output[0][output[0, :, 4] > threshold]
    return Candidates(rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64))


def _corners(centres: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """(2, M) centres and sizes to (M, 4) corners."""
    return np.concatenate([centres - sizes / 2, centres + sizes / 2]).T.astype(np.float32, copy=False)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-values))


def _logit(score: float) -> float:
    return float(np.log(max(score, 1e-9) / max(1.0 - score, 1e-9)))


LAYOUTS: Dict[str, str] = {
    "grid": "(1, 4 + C, N), offsets, log sizes and logits per cell (this project's detector)",
    "fastestdet": "(1, 5 + C, H, W), one grid",
    "yolov5": "(1, N, 5 + C), decoded boxes, objectness, classes",
    "yolov8": "(1, 4 + C, N), decoded boxes, classes",
    "yolox": "(1, N, 5 + C), boxes relative to cells, objectness, classes",
    "end_to_end": "(1, N, 6), boxes after suppression, score, class",
}
"""Decoder name: the output it reads."""


def make_decoder(name: str, parameters: Mapping[str, Any], input_size: Tuple[int, int]) -> Decoder:
    """The decoder called ``name`` with the constants of one network.

    Args:
        name: a key of ``LAYOUTS``.
        parameters: ``strides`` for ``grid`` and ``yolox``, and ``divisions`` as in :func:`cell_grid`.
        input_size: height and width of the network's input.

    Raises:
        InputError: an unknown name, or a parameter that is missing or malformed.
    """
    height, width = input_size
    if name == "fastestdet":
        size = np.array([width, height, width, height], np.float32)
        return lambda output, threshold: _scaled(fastestdet(output, threshold), size)
    if name in ("grid", "yolox"):
        strides: Any = parameters.get("strides")
        divisions: Any = parameters.get("divisions", [1] * len(strides) if isinstance(strides, list) else None)
        if not (_are_counts(strides) and _are_counts(divisions) and len(strides) == len(divisions)):
            raise InputError(
                f"decoder {name}: parameter strides must be a list of whole numbers, and divisions, if there, as many "
                f"again; got {dict(parameters)}"
            )
        cells = cell_grid(*input_size, strides, divisions)
        decode = grid if name == "grid" else yolox
        return lambda output, threshold: decode(output, threshold, cells)
    plain = {"yolov5": yolov5, "yolov8": yolov8, "end_to_end": end_to_end}
    if name not in plain:
        raise InputError("unknown decoder {!r}; known are {}".format(name, ", ".join(LAYOUTS)))
    return plain[name]


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and bool(values) and all(type(value) is int and value > 0 for value in values)


def _scaled(candidates: Candidates, size: np.ndarray) -> Candidates:
    return candidates._replace(boxes=candidates.boxes * size)
