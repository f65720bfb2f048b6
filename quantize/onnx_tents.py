"""The warp's tent matrices in ONNX files that compute in integers: one operator less, the same numbers."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def tents_in_one(model: onnx.ModelProto) -> int:
    """Replace each `relu(1 - |x|)` by the hard sigmoid of |x| with slope -1; return how many.

    The numbers are the same bit for bit. The matrices are 4 million numbers a frame, ONNX Runtime fuses
    none of it on a CPU, and beside integer convolutions each pass over them counts. Files that compute in
    float keep the longer form: NNAPI takes it, and no hard sigmoid.

    Args:
        model: changed in place.

    """
    from onnx import helper, numpy_helper

    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    readers = collections.Counter(name for node in graph.node for name in node.input)
    ones = {t.name for t in graph.initializer if (numpy_helper.to_array(t) == 1).all()}
    dropped: set[str] = set()
    for node in graph.node:
        if node.op_type != "Relu" or node.input[0] not in makers:
            continue
        flipped = makers[node.input[0]]
        if flipped.op_type != "Sub" or flipped.input[0] not in ones or readers[node.input[0]] != 1:
            continue
        size = makers.get(flipped.input[1])
        if size is None or size.op_type != "Abs":
            continue
        dropped.add(flipped.output[0])
        tent = helper.make_node(
            "HardSigmoid", [size.output[0]], list(node.output), node.name, alpha=-1.0, beta=1.0
        )
        node.CopyFrom(tent)
    kept = [node for node in graph.node if not dropped & set(node.output)]
    values = [value for value in graph.value_info if value.name not in dropped]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(kept)
    graph.value_info.extend(values)
    return len(dropped)
