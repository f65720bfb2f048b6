"""From a weights file to a bundle, with golden vectors of the shipped samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pocketportrait.bundle import FORMATS, STANDARD_PRECISIONS, Bundle
from pocketportrait.export.assemble import MODEL_CARD, export_bundle
from pocketportrait.export.marked import DEFAULT_MARK, Mark
from pocketportrait.export.mlpackage import Io
from pocketportrait.export.sample_pairs import sample_pairs
from pocketportrait.models.weights import load_student, read_facts, shipped_weights

NO_LICENCE = "not stated by the weights"


def export_weights(
    weights: Path | None,
    out: Path,
    *,
    formats: Sequence[str] | None = None,
    precisions: Sequence[str] | None = None,
    coreml_io: Io = "tensor",
    mark: Mark | None = DEFAULT_MARK,
    num_golden: int = 3,
    model_card: Path | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> Bundle:
    """Export the student of a weights file as a bundle; the shipped one by default.

    Args:
        weights: a student's safetensors file; None for the shipped one.
        out: folder, or `.zip` file, to write or replace.
        formats: all by default.
        precisions: fp32 and fp16 by default.
        coreml_io: `image` makes the pictures of Core ML files Core ML images.
        mark: what `render` writes into its pictures.
        num_golden: golden samples a graph.
        model_card: by default the one beside the weights, if there is one.
        progress: called with a word or two before each step.

    Raises:
        InputError: no student in the file, an option does not fit, or the place cannot be written to.
        MissingToolError: a package of the `export` extra is not installed.
        ConverterError: a converter failed; nothing is written.

    """
    path = weights or shipped_weights()
    student = load_student(path)
    facts, licence = facts_and_licence(path)
    beside = path.with_name(MODEL_CARD)
    return export_bundle(
        student,
        out,
        pairs=sample_pairs(num_golden, student.dims.side),
        formats=formats or FORMATS,
        precisions=precisions or STANDARD_PRECISIONS,
        coreml_io=coreml_io,
        mark=mark,
        model_card=model_card or (beside if beside.is_file() else None),
        licence=licence,
        facts=facts,
        progress=progress,
    )


def facts_and_licence(weights: Path) -> tuple[dict[str, str], str]:
    """Return what a weights file says of itself, and its licence."""
    facts = read_facts(weights)
    for name in ("format", "dims"):
        facts.pop(name)
    licence = facts.pop("licence", NO_LICENCE)
    return facts, licence
