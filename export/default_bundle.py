"""The bundle that ships in the package, so that a core install animates at once.

    python -m pocketportrait.export.default_bundle [OUT]

It is written again whenever the shipped weights change; a test compares it with what they export to.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pocketportrait.bundle import Bundle
from pocketportrait.export.assemble import MODEL_CARD, export_bundle
from pocketportrait.export.marked import DEFAULT_MARK
from pocketportrait.export.sample_pairs import sample_pairs
from pocketportrait.export.shipped import facts_and_licence
from pocketportrait.models.weights import load_student, shipped_weights

NUM_GOLDEN = 2
PRECISION = "fp16"  # half the bytes; fp32 files and their golden vectors would not fit in 16 MB


def default_bundle_path() -> Path:
    """Return where the package keeps its bundle."""
    return shipped_weights().with_name("default_bundle")


def write_default_bundle(out: Path) -> Bundle:
    """Export the shipped weights as ONNX with two golden samples that share a photo.

    Raises:
        InputError: the place cannot be written to.
        MissingToolError: the `export` extra is not installed.

    """
    weights = shipped_weights()
    student = load_student(weights)
    facts, licence = facts_and_licence(weights)
    return export_bundle(
        student,
        out,
        pairs=sample_pairs(NUM_GOLDEN, student.dims.side, one_photo=True),
        formats=("onnx",),
        precisions=(PRECISION,),
        mark=DEFAULT_MARK,
        exact=False,
        model_card=weights.with_name(MODEL_CARD),
        licence=licence,
        facts=facts,
    )


if __name__ == "__main__":
    write_default_bundle(Path(sys.argv[1]) if sys.argv[1:] else default_bundle_path()).close()
