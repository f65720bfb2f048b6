"""Acceptance: one command gives the matrix of every variant on every target that counts here.

    python acceptance/matrix.py [--bundle B] [--targets T] [--out DIR] [--limit-s N]

Without --bundle a student of the `tiny` preset is exported in three formats and quantized by every shipped
recipe first. The command is `pocketportrait verify BUNDLE --targets T`; T is local engines, the evaluator,
two emulated ARM CPUs and the browser, or `all`. Exit 1 if a variant fails on a target, if one of those is
missing, or if the command took too long. Writes matrix.json, matrix.xml and figures.json.

Emulated CPUs take minutes a variant of the `phone` student, so a bundle that is given is verified variant
by variant: what DIR/variants has of the same files is taken from there, and a run that was stopped goes
on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import resource
import subprocess
import sys
import time
from pathlib import Path

from quantized_chain import files_digest
from score_environment import ROOT

from pocketportrait import atomic
from pocketportrait.bundle import Bundle
from pocketportrait.bundle.reader import sha256_of
from pocketportrait.validation.checks import Status, VerifyReport
from pocketportrait.validation.junit import write_junit
from pocketportrait.validation.matrix import MatrixRow, matrix_rows

# by format, the targets without which there is no acceptance; others may be asked for
WANTED = {
    "onnx": ("local:onnxruntime", "qemu:arm64-a53", "qemu:arm64-a76", "browser"),
    "tflite": ("local:litert", "qemu:arm64-a53", "qemu:arm64-a76", "browser"),
    "coreml": ("oracle:coreml",),
}
RECIPES = {  # and the formats that have them
    "w8": ("onnx", "tflite", "coreml"),
    "w8a8": ("onnx", "tflite", "coreml"),
    "mixed": ("onnx", "tflite", "coreml"),
    "w4": ("onnx", "tflite"),
    "palette6": ("coreml",),
}
# tflite-runtime 2.14 is older than 4-bit weights and computes something else without a word
KNOWN = {("tflite/w4", "local:tflite-runtime")}
TINY_LIMIT_S = 600.0
CALIBRATION_FRAMES = range(4, 60, 8)


def tiny_bundle(out: Path) -> Path:
    """Write a bundle of a tiny student with random weights in every format and precision."""
    sys.path.insert(0, str(ROOT))  # the tests' student: every part of it shows in its outputs
    from pocketportrait.export.assemble import export_bundle
    from pocketportrait.media.samples import sample_drivers
    from pocketportrait.models.dims import tiny
    from pocketportrait.quantize.calibration import CalibrationFrame, CalibrationSet
    from pocketportrait.quantize.laboratory import quantize_bundle
    from pocketportrait.quantize.recipe import shipped_recipe
    from tests.conftest import random_student, smooth_pictures

    a, b, c, d = smooth_pictures(4, tiny().side)
    bundle = out / "bundle"
    export_bundle(random_student(tiny()), bundle, pairs=[(a, b), (c, d)]).close()
    clip = sample_drivers()[0]
    frames = tuple(
        CalibrationFrame(clip=clip.name, sha256=sha256_of(clip), frame=k)
        for k in CALIBRATION_FRAMES
    )
    listed = out / "calibration.json"
    CalibrationSet(name="tiny", folder=str(clip.parent), frames=frames).write(listed)
    for name, formats in RECIPES.items():
        print(f"quantize: {name}", flush=True)
        recipe = shipped_recipe(name)
        made = quantize_bundle(bundle, recipe, bundle, formats=formats, calibration=listed)
        made.bundle.close()
    return bundle


def verify(bundle: Path, targets: str, record: Path, *chosen: str) -> tuple[VerifyReport, float]:
    """Run the command; return what it wrote, and the seconds that its processors took."""
    record.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pocketportrait", "verify", str(bundle), "--targets", targets]
    busy = _children_s()
    subprocess.run([*command, *chosen, "--json", str(record)], check=False)
    if not record.is_file():
        sys.exit("error: want a matrix, got none; see the words above")
    return VerifyReport.model_validate_json(record.read_bytes()), _children_s() - busy


def verify_each(bundle: Bundle, targets: str, out: Path) -> tuple[VerifyReport, float]:
    """Verify one variant after another, those that `out` has not; return all of it as one report.

    Processor seconds are not a number where some were there before: nobody counted theirs.
    """
    out.mkdir(parents=True, exist_ok=True)
    reports, busy = [], 0.0
    for format, by in bundle.manifest.variants.items():
        for precision in by:
            files = files_digest(bundle, ["onnx/fp32", f"{format}/{precision}"])
            where = hashlib.sha256(targets.encode()).hexdigest()[:8]
            kept = out / f"{format}-{precision}-{files}-{where}.json"
            if kept.is_file():
                report = VerifyReport.model_validate_json(kept.read_bytes())
                busy = math.nan
            else:
                half = kept.with_suffix(".new")
                chosen = ("-f", format, "-p", precision)
                report, took = verify(bundle.root, targets, half, *chosen)
                half.replace(kept)
                busy += took
            reports.append(report)
    found = {facts.name: facts for report in reports for facts in report.targets}
    return (
        reports[0].model_copy(
            update={
                "seconds": sum(report.seconds for report in reports),
                "targets": tuple(found.values()),
                "checks": tuple(check for report in reports for check in report.checks),
            }
        ),
        busy,
    )


def _children_s() -> float:
    """Return the processor's time of all commands that have ended; others' work does not move it."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def missed(variants: list[str], rows: list[MatrixRow]) -> list[str]:
    """Return a line for every cell that did not pass though it had to."""
    found = {(row.variant, row.target): row.status for row in rows}
    lines = [
        f"{variant} on {target}: {status}"
        for (variant, target), status in found.items()
        if status is Status.FAIL and (variant, target) not in KNOWN
    ]
    for variant in variants:
        for target in WANTED[variant.partition("/")[0]]:
            status = found.get((variant, target))
            if status in (None, Status.SKIP):
                lines.append(f"{variant} on {target}: want it there, got {status or 'nothing'}")
    return lines


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--bundle", type=Path, help="a tiny one is made by default")
    every = dict.fromkeys(target for targets in WANTED.values() for target in targets)
    parser.add_argument("--targets", default=",".join(every))
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "matrix")
    parser.add_argument("--limit-s", type=float, help="600 for the tiny one, none for a bundle")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    bundle = options.bundle or tiny_bundle(options.out)
    record = options.out / "matrix.json"
    with Bundle.open(bundle) as opened:
        held = opened.manifest.variants.items()
        variants = [f"{format}/{precision}" for format, by in held for precision in by]
        start = time.perf_counter()
        if options.bundle:
            report, busy = verify_each(opened, options.targets, options.out / "variants")
            atomic.write_bytes(record, report.model_dump_json(indent=1).encode() + b"\n")
            seconds = report.seconds
        else:
            report, busy = verify(bundle, options.targets, record)
            seconds = time.perf_counter() - start
    write_junit(report, options.out / "matrix.xml")
    rows = matrix_rows(report)
    lines = missed(variants, rows)
    counts = {str(status): sum(row.status is status for row in rows) for status in Status}
    limit_s = options.limit_s or (math.inf if options.bundle else TINY_LIMIT_S)
    if seconds > limit_s:
        lines.append(f"want the matrix within {limit_s:.0f} s, got {seconds:.0f} s")
    figures = {
        "schema_version": 1,
        "machine": report.machine.model_dump(),
        "variants": len(variants),
        "cells": counts,
        "figures": sum(row.compared for row in rows),
        "seconds": round(seconds, 1),
        "processor_seconds": None if math.isnan(busy) else round(busy, 1),
        "missed": lines,
    }
    atomic.write_bytes(options.out / "figures.json", json.dumps(figures, indent=2).encode() + b"\n")
    took = f"{seconds:.0f} s, of processors {busy:.0f} s"
    print(f"\n{len(variants)} variants, {len(rows)} cells {counts}, {took}")
    print("\n".join(f"FAIL  {line}" for line in lines) or "PASS")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
