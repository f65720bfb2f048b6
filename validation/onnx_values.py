"""Every value on the way through an ONNX file: each operation's result as an output of its own."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from pocketportrait.contract import Array
from pocketportrait.errors import InputError, MissingToolError

ERRORS_ONLY = 3  # onnxruntime's severity


@dataclass(frozen=True, slots=True)
class Operation:
    """One node of a file; a name that is empty is an input left out."""

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class OnnxValues:
    """Run a file node by node, with no fusion, so that every value on the way exists."""

    def __init__(self, path: Path) -> None:
        """Remember the file; entering loads it."""
        self._path = path
        self._session: Any = None
        self.model: Any = None  # onnx.ModelProto, as the file has it
        self.operations: tuple[Operation, ...] = ()
        self.stored: dict[str, Array] = {}  # constants of the file by name

    def __enter__(self) -> Self:
        """Load the file.

        Raises:
            InputError: it is missing or broken.
            MissingToolError: `onnx`, of the `export` extra, is not installed.

        """
        try:
            import onnx
        except ImportError as error:
            raise MissingToolError.for_extra("onnx", "export") from error
        import onnxruntime

        if not self._path.is_file():
            raise InputError(f"{self._path}: want an .onnx file, got nothing there")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = ERRORS_ONLY
        options.intra_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            self.model = onnx.load(self._path)
            self._describe()
            probe = onnx.ModelProto()
            probe.CopyFrom(self.model)
            given = {value.name for value in probe.graph.output}
            for operation in self.operations:
                for name in operation.outputs:
                    if name and name not in given:
                        probe.graph.output.append(onnx.ValueInfoProto(name=name))
            self._session = onnxruntime.InferenceSession(
                probe.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except (
            Exception
        ) as error:  # protobuf's and onnxruntime's classes share no base of their own
            raise InputError(
                f"{self._path}: want an ONNX model, got one that does not load: {error}"
            ) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Free the session."""
        self._session = None

    def run(
        self, feed: Mapping[str, Array], keep: Collection[str] | None = None
    ) -> dict[str, Array]:
        """Return results of operations by name.

        Args:
            feed: a value for every input.
            keep: only these; None keeps all, which needs memory for all.

        """
        assert self._session is not None, "enter it first"
        names = [v.name for v in self._session.get_outputs() if keep is None or v.name in keep]
        values = self._session.run(names, dict(feed))
        return {name: np.asarray(value) for name, value in zip(names, values, strict=True)}

    def _describe(self) -> None:
        from onnx import numpy_helper

        graph = self.model.graph
        self.stored = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.stored[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        self.operations = tuple(
            Operation(n.name or n.output[0], n.op_type, tuple(n.input), tuple(n.output))
            for n in graph.node
            if n.op_type != "Constant"
        )
