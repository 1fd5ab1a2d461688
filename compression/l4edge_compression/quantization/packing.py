"""Storage of weights in as many bits as their formats need, in standard operators that onnxruntime folds at load.

Rows that together use at most 16 different codes are stored as two codes per byte, rows that use two as eight per byte.
A constant part of the graph unpacks them: each byte looks up its codes in a table, groups of rows are joined and put in
order. No 4-bit type of ONNX is involved, so the oldest onnxruntime of a vehicle reads the file, and since the unpacked
weights are the same int8 tensors, results and speed are the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from l4edge_compression.quantization.onnx_graph import EditableGraph

if TYPE_CHECKING:
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[Any]"

BYTE_VALUES = 256

LEAST_SAVING = 2048
"""Bytes that packing a layer must save to be worth the nodes that unpack it."""


class RowGroup(NamedTuple):
    """Rows that share a table.

    Attributes:
        rows: indices, ascending. values: the table, ascending int8; None where the rows are stored as they are.
        per_byte: codes in one byte.
    """

    rows: Array
    values: Array | None
    per_byte: int


def group_rows(codes: Array) -> list[RowGroup]:
    """Rows of weights by the table that can hold their codes.

    Args:
        codes: (O, n) int8.

    Returns:
        Groups that together hold every row once.
    """
    used = [frozenset(row.tolist()) for row in codes]
    rows = np.arange(len(codes))
    binary = frozenset().union(*(values for values in used if len(values) <= 2))
    if len(binary) <= 2 and all(len(values) <= 2 for values in used):
        return [RowGroup(rows, _table(binary, 2), 8)]
    tables: list[set[int]] = []
    members: list[list[int]] = []
    wide = []
    # Rows with many different codes first: they define the tables that the others then fit into.
    for row in sorted(rows.tolist(), key=lambda index: (-len(used[index]), index)):
        if len(used[row]) > 16:
            wide.append(row)
            continue
        place = min(
            (index for index, table in enumerate(tables) if len(table | used[row]) <= 16),
            key=lambda index: len(used[row] - tables[index]),
            default=None,
        )
        if place is None:
            tables.append(set())
            members.append([])
            place = len(tables) - 1
        tables[place] |= used[row]
        members[place].append(row)
    groups = [
        RowGroup(np.sort(np.asarray(own)), _table(frozenset(table), 16), 2)
        for own, table in zip(members, tables, strict=True)
    ]
    return groups + ([RowGroup(np.sort(np.asarray(wide)), None, 1)] if wide else [])


def _table(values: frozenset[int], size: int) -> Array:
    """Ascending values, filled up to ``size`` with the last."""
    ordered = sorted(values)
    return np.asarray(ordered + ordered[-1:] * (size - len(ordered)), np.int8)


def pack_codes(codes: Array, values: Array, per_byte: int) -> Array:
    """Flat int8 codes as bytes, the first code in the lowest bits; the end is filled with the table's first entry."""
    places = np.searchsorted(np.unique(values), codes.ravel()).astype(np.uint8)
    places = np.concatenate([places, np.zeros(-len(places) % per_byte, np.uint8)]).reshape(-1, per_byte)
    bits = 8 // per_byte
    packed = np.zeros(len(places), np.uint8)
    for place in range(per_byte):
        packed |= places[:, place] << np.uint8(place * bits)
    return packed


def unpacking_table(values: Array, per_byte: int) -> Array:
    """(256, per_byte) int8: the codes that each byte holds."""
    bits = 8 // per_byte
    shifts = np.arange(per_byte) * bits
    places = (np.arange(BYTE_VALUES)[:, None] >> shifts) & (2**bits - 1)
    return values[places].astype(np.int8)


def pack(content: bytes) -> bytes:
    """The same graph with its int8 weights packed.

    Args:
        content: ONNX file whose weights are int8 constants read by DequantizeLinear along axis 0.

    Returns:
        The ONNX file with packed weights. Weights for which packing saves nothing stay as they are.
    """
    graph = EditableGraph(content)
    tables: dict[bytes, str] = {}
    for node in [node for node in graph.nodes if node.op_type == "DequantizeLinear"]:
        codes = graph.constants.get(node.input[0])
        if codes is None or codes.dtype != np.int8 or codes.ndim < 2:
            continue
        groups = group_rows(codes.reshape(len(codes), -1))
        saved = sum(len(group.rows) * (1 - 1 / group.per_byte) for group in groups) / len(codes) * codes.size
        if saved > LEAST_SAVING:
            node.input[0] = _insert_unpacking(graph, node, codes, groups, tables)
    graph.drop_unused()
    return graph.content()


def _insert_unpacking(
    graph: EditableGraph, node: Any, codes: Array, groups: list[RowGroup], tables: dict[bytes, str]
) -> str:
    width = codes[0].size
    parts = []
    for group in groups:
        chosen = codes.reshape(len(codes), -1)[group.rows]
        if group.values is None:
            parts.append(graph.constant(chosen, "codes"))
            continue
        table = unpacking_table(group.values, group.per_byte)
        name = tables.setdefault(table.tobytes(), "") or graph.constant(table, "table")
        tables[table.tobytes()] = name
        packed = graph.constant(pack_codes(chosen, group.values, group.per_byte), "packed")
        index = graph.insert(node, "Cast", [packed], "index", to=6)
        flat = graph.insert(node, "Gather", [name, index], "unpacked", axis=0)
        if chosen.size % group.per_byte:
            whole = graph.constant(np.asarray([-1], np.int64), "whole")
            flat = graph.insert(node, "Reshape", [flat, whole], "unpacked")
            limits = [graph.constant(np.asarray([value], np.int64), "limit") for value in (0, chosen.size, 0)]
            flat = graph.insert(node, "Slice", [flat, *limits], "unpacked")
        sizes = graph.constant(np.asarray([len(group.rows), width], np.int64), "sizes")
        parts.append(graph.insert(node, "Reshape", [flat, sizes], "rows"))
    joined = parts[0]
    if len(parts) > 1:
        joined = graph.insert(node, "Concat", parts, "joined", axis=0)
        order = np.argsort(np.concatenate([group.rows for group in groups])).astype(np.int32)
        joined = graph.insert(node, "Gather", [joined, graph.constant(order, "order")], "ordered", axis=0)
    sizes = graph.constant(np.asarray(codes.shape, np.int64), "sizes")
    return graph.insert(node, "Reshape", [joined, sizes], "codes")
