"""TFLite files from strangers: what LiteRT takes for granted is looked at before it sees them.

LiteRT checks that inputs and outputs are tensors of the graph, but lets -1 ("left out") stand anywhere; most
kernels then read at address 0, or memory is freed twice, and the process dies.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

from pocketportrait import limits
from pocketportrait.errors import InputError

# Field numbers of the tables of TFLite's schema.
OPERATOR_CODES, SUBGRAPHS = 1, 2  # of Model
CODE_BYTE, CODE = 0, 3  # of OperatorCode: newer files have both
TENSORS, GRAPH_INPUTS, GRAPH_OUTPUTS, OPERATORS = range(4)  # of SubGraph
CODE_INDEX, INPUTS, OUTPUTS = range(3)  # of Operator

# From which input on an operator may leave some out, by its builtin code.
MAY_LACK = {
    3: 2,  # CONV_2D: its bias
    4: 2,  # DEPTHWISE_CONV_2D
    9: 2,  # FULLY_CONNECTED
    16: 1,  # LSTM: gates and peepholes
    27: 4,  # SVDF
    44: 1,  # UNIDIRECTIONAL_SEQUENCE_LSTM
    46: 1,  # BIDIRECTIONAL_SEQUENCE_RNN
    52: 1,  # BIDIRECTIONAL_SEQUENCE_LSTM
    67: 3,  # TRANSPOSE_CONV
    132: 2,  # CONV_3D
    144: 3,  # CONV_3D_TRANSPOSE
    32: 0,  # CUSTOM: only its author knows
}


class _Table:
    """A table of a flat buffer; every number is read within the file's bounds."""

    def __init__(self, data: mmap.mmap, place: int) -> None:
        self._data, self._place = data, place
        self._fields = place - _number(data, "i", place)
        self._end = _number(data, "H", self._fields)

    def number(self, field: int, kind: str) -> int:
        """Return a number, 0 where it is not told."""
        at = self._at(field)
        return _number(self._data, kind, at) if at else 0

    def tables(self, field: int) -> list[_Table]:
        """Return the tables of a list, none where it is not told."""
        begin, count = self._list(field)
        places = range(begin, begin + 4 * count, 4)
        return [_Table(self._data, place + _number(self._data, "I", place)) for place in places]

    def count(self, field: int) -> int:
        """Return how many entries a list has."""
        return self._list(field)[1]

    def numbers(self, field: int) -> tuple[int, ...]:
        """Return a list of int32."""
        begin, count = self._list(field)
        return struct.unpack_from(f"<{count}i", self._data, begin)

    def _list(self, field: int) -> tuple[int, int]:
        at = self._at(field)
        if not at:
            return 0, 0
        begin = at + _number(self._data, "I", at)
        count = _number(self._data, "I", begin)
        if begin + 4 + count * 4 > len(self._data):
            raise ValueError("a list ends behind the file")
        return begin + 4, count

    def _at(self, field: int) -> int:
        slot = 4 + 2 * field
        if slot >= self._end:
            return 0
        offset = _number(self._data, "H", self._fields + slot)
        return self._place + offset if offset else 0


def check_tflite(path: Path, data: mmap.mmap, most: limits.Limits) -> None:
    """Look at the graphs of a file.

    Args:
        path: named in errors.
        data: the whole file, not empty.
        most: operators and tensors that it may have.

    Raises:
        InputError: no TFLite file, too many tensors, or a tensor that is needed and left out.
        ValueError, struct.error, IndexError: damaged.

    """
    if data[4:8] != b"TFL3":
        raise InputError(f"{path}: want a TFLite model, got a file without its mark TFL3")
    model = _Table(data, _number(data, "I", 0))
    codes = [
        max(code.number(CODE, "i"), code.number(CODE_BYTE, "b"))
        for code in model.tables(OPERATOR_CODES)
    ]
    for graph in model.tables(SUBGRAPHS):
        count = graph.count(TENSORS) + graph.count(OPERATORS)
        most.check("model_tensors", count, path, "nodes and tensors")
        _check_graph(path, graph, codes)


def _check_graph(path: Path, graph: _Table, codes: list[int]) -> None:
    ends = (*graph.numbers(GRAPH_INPUTS), *graph.numbers(GRAPH_OUTPUTS))
    if min(ends, default=0) < 0:
        raise InputError(
            f"{path}: want a graph whose inputs and outputs are tensors, got {list(ends)};"
            " convert the model again"
        )
    for place, operator in enumerate(graph.tables(OPERATORS)):
        code = codes[operator.number(CODE_INDEX, "I")]
        inputs = operator.numbers(INPUTS)[: MAY_LACK.get(code)]
        needed = (*inputs, *operator.numbers(OUTPUTS))
        if min(needed, default=0) < 0:
            raise InputError(
                f"{path}: want operators with all the inputs and outputs that they need, got"
                f" operator {place} (builtin code {code}) with {list(needed)}; convert the model again"
            )


def _number(data: mmap.mmap, kind: str, place: int) -> int:
    if place < 0:
        raise ValueError("an offset leads out of the file")
    value: int = struct.unpack_from(f"<{kind}", data, place)[0]
    return value
