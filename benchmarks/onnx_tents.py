"""What one operator for the warp's tent matrices saves in ONNX Runtime.

    .venv/bin/python benchmarks/onnx_tents.py BUNDLE [--turns 60]

For `render` of onnx/fp32 and of every other ONNX variant that computes in float32 or integers: CPU
milliseconds of one thread with `relu(1 - |x|)` spelt out and as a hard sigmoid, pass by pass in turns, the
tenth percentile; that both give the same picture, bit for bit, is checked.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from pocketportrait.bundle import Bundle
from pocketportrait.quantize.onnx_tents import tents_in_one
from pocketportrait.validation.samples import golden_samples

WARMUP, PERCENTILE = 5, 10


def spelt_out(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy in which every tent is `relu(1 - |x|)` again."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    nodes = []
    for node in copy.graph.node:
        if node.op_type == "HardSigmoid":
            flipped = f"{node.output[0]}_flipped"
            nodes.append(helper.make_node("Sub", ["tent_one", node.input[0]], [flipped], flipped))
            nodes.append(helper.make_node("Relu", [flipped], list(node.output), node.name))
        else:
            nodes.append(node)
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    copy.graph.initializer.append(numpy_helper.from_array(np.ones((), np.float32), "tent_one"))
    return copy


def main() -> None:
    """Print milliseconds by variant and spelling."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--turns", type=int, default=60)
    arguments = parser.parse_args()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    took: dict[str, list[float]] = {}
    with Bundle.open(arguments.bundle) as bundle:
        feed = next(golden_samples(bundle, "render")).feed
        sessions, pictures = {}, {}
        for name, variant in bundle.manifest.variants["onnx"].items():
            if name.startswith("fp16"):
                continue
            plain = spelt_out(onnx.load(bundle.file(variant.graphs["render"].path)))
            joined = onnx.ModelProto()
            joined.CopyFrom(plain)
            tents_in_one(joined)
            for spelling, model in ((name, plain), (f"{name}, tents in one", joined)):
                sessions[spelling] = onnxruntime.InferenceSession(
                    model.SerializeToString(), options
                )
                pictures[spelling] = sessions[spelling].run(None, dict(feed))[0]
            assert np.array_equal(pictures[name], pictures[f"{name}, tents in one"])
        for turn in range(WARMUP + arguments.turns):
            for spelling, session in sessions.items():
                start = time.thread_time()
                session.run(None, dict(feed))
                if turn >= WARMUP:
                    took.setdefault(spelling, []).append((time.thread_time() - start) * 1e3)
    for spelling, values in took.items():
        print(f"{spelling:24} {np.percentile(values, PERCENTILE):6.1f} ms")


if __name__ == "__main__":
    main()
