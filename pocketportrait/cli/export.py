"""`pocketportrait export`."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from pocketportrait.cli.app import app
from pocketportrait.cli.extras import needs
from pocketportrait.cli.progress import stages


class CoremlIo(enum.StrEnum):
    """How Core ML files take and give pictures."""

    TENSOR = "tensor"
    IMAGE = "image"


@app.command()
def export(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The bundle: a folder, or a .zip.")
    ] = Path("out/bundle"),
    weights: Annotated[
        Path | None, typer.Option(help="A student's safetensors file; the shipped one by default.")
    ] = None,
    format: Annotated[
        list[str] | None,
        typer.Option("--format", "-f", help="onnx, tflite or coreml; may be repeated."),
    ] = None,
    precision: Annotated[
        list[str] | None, typer.Option("--precision", "-p", help="fp32 or fp16; may be repeated.")
    ] = None,
    io: Annotated[CoremlIo, typer.Option(help="Pictures of Core ML files.")] = CoremlIo.TENSOR,
    golden: Annotated[int, typer.Option(min=1, help="Golden samples a graph.")] = 3,
    mark_key: Annotated[
        Path | None,
        typer.Option(help="Mark pictures with a private key (a file), not the public one."),
    ] = None,
    model_card: Annotated[
        Path | None, typer.Option(help="MODEL_CARD.md of the bundle; the shipped one's by default.")
    ] = None,
) -> None:
    """Export a student to ONNX, TFLite and Core ML, as one bundle that can be verified."""
    from pocketportrait.mark.key import read_key

    with needs("export"):
        # torch and the converters take seconds to import; `--help` must not pay for them
        from pocketportrait.export.marked import DEFAULT_MARK, Mark
        from pocketportrait.export.shipped import export_weights
    with needs("export"), stages("export") as tell:
        bundle = export_weights(
            weights,
            out,
            formats=format,
            precisions=precision,
            coreml_io=io.value,
            num_golden=golden,
            mark=Mark(read_key(mark_key)) if mark_key else DEFAULT_MARK,
            model_card=model_card,
            progress=tell,
        )
    with bundle:
        for name, by_precision in bundle.manifest.variants.items():
            for recipe, variant in by_precision.items():
                files = (
                    f for g in variant.graphs.values() for f in bundle.manifest.files_of(g.path)
                )
                count = sum(bundle.manifest.files[f].bytes for f in files)
                typer.echo(f"{name}/{recipe}: {count / 1e6:.2f} MB ({variant.recipe})")
    typer.echo(f"bundle: {out}")
