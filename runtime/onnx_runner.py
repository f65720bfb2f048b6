"""ONNX files, run by ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pocketportrait.contract import Array, TensorSpec
from pocketportrait.errors import InputError, MissingToolError
from pocketportrait.runtime.file_runner import FileRunner, Specs
from pocketportrait.runtime.layout import plain_layout

TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
}
ERRORS_ONLY = 3  # onnxruntime's severity


class OnnxRunner(FileRunner):
    """Run one `.onnx` file; entering loads it, leaving frees it."""

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        """Remember the file.

        Args:
            path: the `.onnx` file.
            threads: for operators; None lets ONNX Runtime choose.

        """
        super().__init__(path)
        self._threads = threads
        self._session: Any = None

    def _load(self) -> tuple[Specs, Specs]:
        try:
            import onnxruntime  # takes half a second to import
        except ImportError as error:
            raise MissingToolError(
                "onnxruntime is not installed; run: pip install onnxruntime"
            ) from error
        options = onnxruntime.SessionOptions()
        options.log_severity_level = ERRORS_ONLY
        if self._threads is not None:
            options.intra_op_num_threads = self._threads
        if not self._path.is_file():
            raise InputError(f"{self._path}: want an .onnx file, got nothing there")
        try:
            self._session = onnxruntime.InferenceSession(
                str(self._path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its classes share no base of their own
            raise InputError(
                f"{self._path}: want an ONNX model, got one that does not load: {error}"
            ) from error
        nodes = self._session.get_inputs(), self._session.get_outputs()
        inputs, outputs = (tuple(map(self._spec, side)) for side in nodes)
        return inputs, outputs

    def _free(self) -> None:
        self._session = None

    def _run(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        assert self._session is not None, "enter the runner first"
        names = [spec.name for spec in self._outputs]
        # an output that is an input's own buffer would change under the caller
        values = self._session.run(
            names, {name: np.ascontiguousarray(v) for name, v in feed.items()}
        )
        return {name: np.array(value) for name, value in zip(names, values, strict=True)}

    def _spec(self, node: Any) -> TensorSpec:
        if not all(isinstance(size, int) for size in node.shape):
            raise InputError(
                f"{self._path.name}: {node.name}: want a fixed shape, got {node.shape}"
            )
        if node.type not in TYPES:
            raise InputError(
                f"{self._path.name}: {node.name}: values of {node.type} are not covered"
            )
        shape = tuple(node.shape)
        return TensorSpec(node.name, shape, TYPES[node.type], plain_layout(shape, "NCHW"))
