"""A student becomes a bundle: every graph in every format and precision, and what proves them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from pocketportrait import __version__
from pocketportrait.bundle import (
    FORMATS,
    STANDARD_PRECISIONS,
    Bundle,
    BundleWriter,
    GraphModel,
    TensorModel,
    Variant,
    VariantGraph,
)
from pocketportrait.contract import POSE, GraphSpec
from pocketportrait.errors import InputError
from pocketportrait.export.golden import Pair, write_golden
from pocketportrait.export.marked import Mark, marked_student
from pocketportrait.export.mlpackage import Io
from pocketportrait.export.to_coreml import to_coreml
from pocketportrait.export.to_onnx import OPSET, halve_onnx, to_onnx
from pocketportrait.export.to_tflite import halve_tflite, to_tflite
from pocketportrait.models.dims import graph_specs
from pocketportrait.models.student import Student

SUFFIXES = {"onnx": ".onnx", "tflite": ".tflite", "coreml": ".mlpackage"}
TOOLS = {
    "onnx": ("onnx", "onnxscript", "onnxsim", "onnxruntime"),
    "tflite": ("litert-torch", "litert-converter", "ai-edge-quantizer", "ai-edge-litert"),
    "coreml": ("coremltools",),
}
RECIPES = {
    ("onnx", "fp32"): f"torch.onnx dynamo, opset {OPSET}, onnxsim",
    (
        "onnx",
        "fp16",
    ): f"torch.onnx dynamo, opset {OPSET}, onnxsim, float16 inside, float32 inputs and outputs",
    ("tflite", "fp32"): "litert-torch, NHWC",
    ("tflite", "fp16"): "litert-torch, NHWC, float16 weights",
    ("coreml", "fp32"): "coremltools ML program, iOS 17, float32",
    ("coreml", "fp16"): "coremltools ML program, iOS 17, float16",
}
MODEL_CARD = "MODEL_CARD.md"


def export_bundle(
    student: Student,
    out: Path,
    *,
    pairs: Sequence[Pair],
    formats: Sequence[str] = FORMATS,
    precisions: Sequence[str] = STANDARD_PRECISIONS,
    coreml_io: Io = "tensor",
    mark: Mark | None = None,
    exact: bool = True,
    model_card: Path | None = None,
    licence: str = "Apache-2.0",
    facts: Mapping[str, str] | None = None,
    figures: Mapping[str, Any] | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> Bundle:
    """Export a student as a bundle; the place holds the old bundle or the new one, never half.

    Equal students, pairs and tools give equal bytes.

    Args:
        student: in eval mode.
        out: folder, or `.zip` file, to write or replace.
        pairs: photos and driving frames, [side, side, 3] float32 0..1, for the golden vectors.
        formats: some of `onnx`, `tflite`, `coreml`.
        precisions: some of `fp32`, `fp16`.
        coreml_io: `image` makes the pictures of Core ML files Core ML images.
        mark: what `render` writes into its pictures; None leaves them as they are.
        exact: put float64 outputs into the golden vectors too, to measure float32's own noise by.
        model_card: Markdown file to put in as `MODEL_CARD.md`.
        licence: SPDX name of the weights' licence.
        facts: what is known of the model, for the manifest; the sizes are added.
        figures: quality figures for the manifest.
        progress: called with a word or two before each step.

    Returns:
        The bundle as it was read back.

    Raises:
        InputError: an option or a pair does not fit, or the place cannot be written to.
        MissingToolError: the `export` extra is not installed.
        ConverterError: a converter failed; nothing is written.

    """
    _check_options(formats, precisions, pairs, model_card)
    model = {**(facts or {}), "dims": student.dims.to_json()}
    if mark is not None:
        model |= mark.facts(student)
        student = marked_student(student, mark)
    specs = graph_specs(student.dims)
    with BundleWriter(out) as writer:
        for format in formats:
            for precision in sorted(precisions, key=STANDARD_PRECISIONS.index):
                variant = _export_variant(
                    student, writer.folder, format, precision, coreml_io, progress
                )
                writer.add_variant(format, precision, variant)
        progress("golden vectors")
        golden = write_golden(student, pairs, writer.folder, exact=exact)
        if model_card is not None:
            shutil.copyfile(model_card, writer.folder / MODEL_CARD)
        writer.finish(
            graphs={name: GraphModel.of(spec) for name, spec in specs.items()},
            code_slices={"pose": (0, len(POSE)), "expression": (len(POSE), student.dims.code)},
            golden=golden,
            tools=_tools(formats),
            licence=licence,
            model=model,
            figures=figures,
        ).close()
    return Bundle.open(out)


def _check_options(
    formats: Sequence[str],
    precisions: Sequence[str],
    pairs: Sequence[Pair],
    model_card: Path | None,
) -> None:
    for name, given, known in (
        ("format", formats, FORMATS),
        ("precision", precisions, STANDARD_PRECISIONS),
    ):
        if not given or set(given) - set(known):
            raise InputError(
                f"{name}: want some of {', '.join(known)}, got {', '.join(given) or 'none'}"
            )
    if not pairs:
        raise InputError(
            "pairs: want at least one photo and frame for the golden vectors, got none"
        )
    if model_card is not None and not model_card.is_file():
        raise InputError(f"{model_card}: want a model card, got nothing there")


def _export_variant(
    student: Student,
    folder: Path,
    format: str,
    precision: str,
    coreml_io: Io,
    progress: Callable[[str], None],
) -> Variant:
    graphs = {}
    for name, spec in graph_specs(student.dims).items():
        progress(f"{format} {precision} {name}")
        path = f"{format}/{precision}/{name}{SUFFIXES[format]}"
        full = folder / f"{format}/fp32/{name}{SUFFIXES[format]}"  # precisions come in this order
        module = getattr(student, name)
        if format == "coreml":
            to_coreml(module, spec, folder / path, precision=precision, io=coreml_io)
        elif precision == "fp16" and full.exists():
            (halve_onnx if format == "onnx" else halve_tflite)(full, spec, folder / path)
        else:
            (to_onnx if format == "onnx" else to_tflite)(
                module, spec, folder / path, precision=precision
            )
        graphs[name] = _variant_graph(path, spec, format, coreml_io)
    stored = "float16" if precision == "fp16" else "float32"
    computed = "float32" if format == "tflite" else stored  # TFLite leaves arithmetic to the device
    recipe = RECIPES[format, precision]
    return Variant(graphs=graphs, recipe=recipe, weights=stored, activations=computed)


def _variant_graph(path: str, spec: GraphSpec, format: str, coreml_io: Io) -> VariantGraph:
    def models(tensors: tuple[Any, ...]) -> tuple[TensorModel, ...]:
        pixels = format == "coreml" and coreml_io == "image"
        return tuple(
            TensorModel.of(
                t.nhwc() if format == "tflite" else t,
                kind="image" if pixels and t.is_image else "tensor",
            )
            for t in tensors
        )

    return VariantGraph(path=path, inputs=models(spec.inputs), outputs=models(spec.outputs))


def _tools(formats: Sequence[str]) -> dict[str, str]:
    packages = ("torch", "numpy", *(p for f in formats for p in TOOLS[f]))
    versions = {"pocketportrait": __version__}
    for package in packages:
        try:
            # the build after the plus (cpu, a CUDA version) changes no file
            versions[package] = metadata.version(package).partition("+")[0]
        except metadata.PackageNotFoundError:
            continue
    return versions
