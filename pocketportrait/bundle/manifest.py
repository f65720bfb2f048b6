"""The manifest: what a bundle holds, as data that is checked before anything else is read.

Its JSON Schema is published as `docs/schemas/manifest-1.json`.
"""

from __future__ import annotations

import math
import re
from pathlib import PurePosixPath
from typing import Annotated, Any, Final, Literal, Self

import pydantic_core
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from pocketportrait import limits
from pocketportrait.contract import GraphSpec, Layout, TensorSpec
from pocketportrait.errors import InputError

SCHEMA_VERSION: Final = 1
MANIFEST = "manifest.json"
FORMATS = ("onnx", "tflite", "coreml")
STANDARD_PRECISIONS = ("fp32", "fp16")
PACKAGE = ".mlpackage"  # a Core ML model is a folder; its files are listed one by one


def relative_path(text: str) -> str:
    """Return `text` if it is a plain relative POSIX path that stays where it starts.

    Raises:
        ValueError: it is absolute, climbs with `..`, or is spelled in a way that only some systems read.

    """
    path = PurePosixPath(text)
    plain = text == str(path) and text not in ("", ".") and len(text) <= 500
    if (
        not plain
        or path.is_absolute()
        or ".." in path.parts
        or re.search(r'[\\:*?"<>|\x00-\x1f]', text)
    ):
        raise ValueError(f"want a relative path inside the bundle, got {text!r}")
    return text


RelativePath = Annotated[str, AfterValidator(relative_path)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileFacts(_Strict):
    """Size and digest of one file."""

    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class TensorModel(_Strict):
    """A tensor as a file has it; `low` and `high` are inclusive, null means unbounded."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    layout: Layout = "NCHW"
    low: float | None = None
    high: float | None = None
    kind: Literal["tensor", "image"] = "tensor"  # image: a Core ML ImageType, pixels 0..255

    @model_validator(mode="after")
    def _size_is_sane(self) -> Self:
        most = limits.current().tensor_elements
        if not all(0 < size <= most for size in self.shape) or math.prod(self.shape) > most:
            raise ValueError(f"{self.name!r}: want 1 to {most} elements, got shape {self.shape}")
        return self

    @classmethod
    def of(cls, spec: TensorSpec, *, kind: Literal["tensor", "image"] = "tensor") -> Self:
        """Return the model of a spec."""
        low, high = (v if math.isfinite(v) else None for v in (spec.low, spec.high))
        return cls(
            name=spec.name,
            shape=spec.shape,
            dtype=spec.dtype,
            layout=spec.layout,
            low=low,
            high=high,
            kind=kind,
        )

    def spec(self) -> TensorSpec:
        """Return the contract's form of this tensor."""
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        return TensorSpec(self.name, self.shape, self.dtype, self.layout, low, high)


class GraphModel(_Strict):
    """A graph of the contract: NCHW, float32."""

    inputs: tuple[TensorModel, ...]
    outputs: tuple[TensorModel, ...]

    @classmethod
    def of(cls, spec: GraphSpec) -> Self:
        """Return the model of a spec."""
        return cls(
            inputs=tuple(TensorModel.of(t) for t in spec.inputs),
            outputs=tuple(TensorModel.of(t) for t in spec.outputs),
        )

    def spec(self, name: str) -> GraphSpec:
        """Return the contract's form of this graph."""
        return GraphSpec(
            name, tuple(t.spec() for t in self.inputs), tuple(t.spec() for t in self.outputs)
        )


class VariantGraph(_Strict):
    """One exported graph: the file (or `.mlpackage` folder), and tensors as that file has them.

    Tensors are matched with the contract by name; their order means nothing.
    """

    path: RelativePath
    inputs: tuple[TensorModel, ...]
    outputs: tuple[TensorModel, ...]


class Variant(_Strict):
    """All graphs in one format, made by one recipe."""

    graphs: dict[Name, VariantGraph]
    recipe: str  # one line that names how it was made
    weights: str = "float32"  # how weights are stored
    activations: str = "float32"  # what the graph computes in
    quantization: dict[str, Any] = {}  # recipe in full, calibration set, what was read back


class Manifest(_Strict):
    """Everything that `manifest.json` says."""

    schema_version: Literal[1] = SCHEMA_VERSION
    graphs: dict[Name, GraphModel]
    code_slices: dict[Name, tuple[int, int]]  # named parts of a code: first index, end
    variants: dict[Name, dict[Name, Variant]]  # format, then precision
    files: dict[RelativePath, FileFacts]
    golden: dict[Name, tuple[RelativePath, ...]]
    tools: dict[str, str]  # package and version
    licence: str
    model: dict[str, str]
    figures: dict[str, Any] = {}  # parity and quality, as measured when the bundle was made

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        for format, by_precision in self.variants.items():
            for precision, variant in by_precision.items():
                for name, graph in variant.graphs.items():
                    self._check_graph(f"{format}/{precision}", name, graph)
        for name, paths in self.golden.items():
            if name not in self.graphs:
                raise ValueError(f"golden vectors of an unknown graph {name!r}")
            if unlisted := [p for p in paths if p not in self.files]:
                raise ValueError(f"golden file {unlisted[0]!r} is not among the files")
        folded: dict[str, str] = {}
        for path in self.files:
            if folded.setdefault(path.casefold(), path) != path:
                raise ValueError(f"{path!r} and {folded[path.casefold()]!r} differ in case alone")
        return self

    def _check_graph(self, variant: str, name: str, graph: VariantGraph) -> None:
        if name not in self.graphs:
            raise ValueError(f"{variant}: unknown graph {name!r}")
        for side in ("inputs", "outputs"):
            want = sorted(t.name for t in getattr(self.graphs[name], side))
            got = sorted(t.name for t in getattr(graph, side))
            if want != got:
                raise ValueError(f"{variant}/{name}: want {side} {want}, got {got}")
        if not self.files_of(graph.path):
            raise ValueError(f"{variant}/{name}: {graph.path!r} is not among the files")

    def files_of(self, path: str) -> tuple[str, ...]:
        """Return the listed files that a path stands for: itself, or all in an `.mlpackage`."""
        if path in self.files:
            return (path,)
        return tuple(sorted(f for f in self.files if f.startswith(path + "/")))

    def to_bytes(self) -> bytes:
        """Return the file's content; equal manifests give equal bytes."""
        data = self.model_dump(mode="json")
        data["files"] = dict(sorted(data["files"].items()))
        return pydantic_core.to_json(data, indent=2) + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read a manifest.

        Raises:
            InputError: no JSON, another schema version, or contents unlike the schema.

        """
        try:
            version = pydantic_core.from_json(data).get("schema_version")
        except (ValueError, AttributeError, RecursionError) as error:
            raise InputError(
                f"{MANIFEST}: want a JSON object, got something else ({error})"
            ) from error
        if version != SCHEMA_VERSION or isinstance(version, bool):
            raise InputError(
                f"{MANIFEST}: want schema_version {SCHEMA_VERSION}, got {version!r};"
                " export the bundle again, or update pocketportrait"
            )
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "content"
            raise InputError(
                f"{MANIFEST}: {where}: {first['msg']}; export the bundle again"
            ) from error


def manifest_schema() -> dict[str, Any]:
    """Return the JSON Schema of `manifest.json`."""
    schema = Manifest.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
