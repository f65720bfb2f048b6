"""A bundle of a few kilobytes with graphs that any engine can imitate: what JUnit opens and replays."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from pocketportrait.bundle import (
    Bundle,
    FileFacts,
    GraphModel,
    Manifest,
    TensorModel,
    Variant,
    VariantGraph,
)
from pocketportrait.contract import GRAPHS, Array, GraphSpec, TensorSpec, image_spec

SIDE, CODE = 4, 8
FEATURES = TensorSpec("features", (1, 2, SIDE, SIDE))
SPECS = {
    "appearance": GraphSpec("appearance", (image_spec("photo", SIDE),), (FEATURES,)),
    "motion": GraphSpec(
        "motion",
        (image_spec("frame", SIDE),),
        (TensorSpec("code", (1, CODE), layout="NC"),),
    ),
    "render": GraphSpec(
        "render",
        (
            FEATURES,
            TensorSpec("source_code", (1, CODE), layout="NC"),
            TensorSpec("driving_code", (1, CODE), layout="NC"),
        ),
        (image_spec("image", SIDE),),
    ),
}


def write_tiny_bundle(folder: Path) -> None:
    """Write the bundle, anew if it is there, and open it as any other."""
    shutil.rmtree(folder, ignore_errors=True)
    files: dict[str, bytes] = {}
    variants = {
        "onnx": {
            "fp32": _variant("onnx", "fp32", files),
            "w8": _variant("onnx", "w8", files, weights="int8"),
        },
        "tflite": {"fp32": _variant("tflite", "fp32", files)},
    }
    golden = {
        f"golden/{graph}-0.safetensors": save(tensors) for graph, tensors in _golden().items()
    }
    files |= golden
    manifest = Manifest(
        graphs={name: GraphModel.of(spec) for name, spec in SPECS.items()},
        code_slices={"pose": (0, 6), "expression": (6, CODE)},
        variants=variants,
        files={
            path: FileFacts(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
            for path, data in files.items()
        },
        golden={graph: (f"golden/{graph}-0.safetensors",) for graph in GRAPHS},
        tools={"numpy": "2"},
        licence="for tests",
        model={"preset": "tiny"},
        figures={"loss": 0.5},
    )
    for path, data in {**files, "manifest.json": manifest.to_bytes()}.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    Bundle.open(folder)


def _variant(
    format: str, precision: str, files: dict[str, bytes], weights: str = "float32"
) -> Variant:
    graphs = {}
    for name, spec in SPECS.items():
        path = f"{format}/{precision}/{name}.{format}"
        files[path] = f"stands for {path}".encode()
        inputs, outputs = (
            tuple(TensorModel.of(t.nhwc() if format == "tflite" else t) for t in tensors)
            for tensors in (spec.inputs, spec.outputs)
        )
        graphs[name] = VariantGraph(path=path, inputs=inputs, outputs=outputs)
    return Variant(graphs=graphs, recipe="by hand", weights=weights)


def _golden() -> dict[str, dict[str, Array]]:
    """Return inputs and outputs of each graph; SelfTestTest.kt has the same arithmetic."""
    generator = np.random.default_rng(9)
    photo, frame = generator.random((2, 1, 3, SIDE, SIDE), dtype=np.float32)
    features, source, driving = photo[:, :2] * np.float32(0.5), _code(photo), _code(frame)
    wide = features[:, [0, 1, 0]]
    image = np.clip(wide + (driving - source)[:, :3, None, None], 0, 1).astype(np.float32)
    pairs = {
        "appearance": {"photo": photo, "features": features},
        "motion": {"frame": frame, "code": driving},
        "render": {
            "features": features,
            "source_code": source,
            "driving_code": driving,
            "image": image,
        },
    }
    for graph, tensors in pairs.items():
        for output in SPECS[graph].outputs:
            tensors[f"{output.name}.float64"] = tensors[output.name].astype(np.float64)
    return pairs


def _code(picture: Array) -> Array:
    flat = picture.reshape(1, -1)
    return np.ascontiguousarray(flat[:, :CODE] - flat[:, 16 : 16 + CODE])
