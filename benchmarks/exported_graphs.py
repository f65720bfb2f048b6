"""What the files of a bundle ask of a device: multiplications, bytes, operators, delegation, parity.

    .venv/bin/python benchmarks/exported_graphs.py BUNDLE [--verify VERIFY.json] > PAGE.md

BUNDLE holds all formats in fp32 and fp16, as `pocketportrait export` writes it; VERIFY.json is the
report of `pocketportrait verify`. Both are left in `out/demo` by `make demo`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from pocketportrait.bundle import FORMATS, Bundle
from pocketportrait.contract import GRAPHS
from pocketportrait.export.macs import count_macs
from pocketportrait.export.operators import delegation_of, operators_of
from pocketportrait.models.dims import StudentDims
from pocketportrait.models.student import Student

PRECISIONS = ("fp32", "fp16")
WHEN = {"appearance": "once a photo", "motion": "once a frame", "render": "once a frame"}


def size_mb(bundle: Bundle, format: str, precision: str, graph: str) -> float:
    """Return the megabytes of one graph's file."""
    path = bundle.variant(format, precision).graphs[graph].path
    return sum(bundle.manifest.files[f].bytes for f in bundle.manifest.files_of(path)) / 1e6


def sizes(bundle: Bundle) -> list[str]:
    """Return the table of multiplications, parameters and bytes."""
    student = Student(StudentDims.from_json(bundle.manifest.model["dims"]))
    rows = ["| graph | MAC | parameters | ONNX | TFLite | Core ML |", "|---|---|---|---|---|---|"]
    for graph in GRAPHS:
        file = bundle.file(bundle.variant("onnx", "fp32").graphs[graph].path)
        count = sum(p.numel() for p in getattr(student, graph).parameters())
        cells = [
            f"{graph}, {WHEN[graph]}",
            f"{count_macs(file) / 1e6:.0f} M",
            f"{count / 1e6:.2f} M",
        ]
        for format in FORMATS:
            both = [f"{size_mb(bundle, format, p, graph):.2f}" for p in PRECISIONS]
            cells.append(" / ".join(both) + " MB")
        rows.append("| " + " | ".join(cells) + " |")
    return rows


def delegation(bundle: Bundle) -> list[str]:
    """Return the table of what XNNPACK takes."""
    rows = ["| file | nodes | partitions | taken whole |", "|---|---|---|---|"]
    for graph in GRAPHS:
        found = [
            delegation_of(bundle.file(bundle.variant("tflite", p).graphs[graph].path))
            for p in PRECISIONS
        ]
        nodes, parts = (
            " / ".join(str(getattr(d, n)) for d in found) for n in ("nodes", "partitions")
        )
        whole = " / ".join("yes" if d.whole else "no" for d in found)
        rows.append(f"| {graph} | {nodes} | {parts} | {whole} |")
    return rows


def operators(bundle: Bundle, graph: str = "render") -> list[str]:
    """Return the operators of one graph in every format, most frequent first."""
    rows = []
    for format in FORMATS:
        found = operators_of(bundle.file(bundle.variant(format, "fp32").graphs[graph].path))
        names = sorted(found.counts, key=lambda name: (-found.counts[name], name))
        rows.append(f"- {format} (at most {found.max_rank} axes): {', '.join(names)}")
    return rows


def parity(report: Path) -> list[str]:
    """Return the worst parity of every variant and graph, from a report of `verify`."""
    worst: dict[tuple[str, str], tuple[float, float]] = {}
    for check in json.loads(report.read_text())["checks"]:
        if check.get("psnr_db") is not None:
            key = (check["variant"], check["graph"])
            old = worst.get(key, (0.0, float("inf")))
            worst[key] = (max(old[0], check["max_abs"]), min(old[1], check["psnr_db"]))
    rows = ["| variant | graph | max abs | PSNR |", "|---|---|---|---|"]
    for (variant, graph), (error, psnr) in worst.items():
        rows.append(f"| {variant} | {graph} | {error:.2g} | {psnr:.1f} dB |")
    return rows


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--verify", type=Path)
    options = parser.parse_args()
    with Bundle.open(options.bundle) as bundle:
        print("# What the exported graphs ask of a device\n")
        print(
            "Written by `benchmarks/exported_graphs.py` from what `make demo` exports; fp32 / fp16."
        )
        print(
            "`tests/test_export_operators.py` keeps true: no gather, no grid sample, no resample, no nearest"
        )
        print("resize, at most four axes, one XNNPACK partition, at most 2.0 GMAC a frame.\n")
        print("\n".join(sizes(bundle)))
        print("\n## Delegation: LiteRT, XNNPACK")
        print(
            "Taken whole: one delegate takes a file's inputs and constants and gives its outputs.\n"
        )
        print("\n".join(delegation(bundle)))
        print("\n## Operators of `render`\n")
        print("\n".join(operators(bundle)))
    if options.verify:
        print("\n## Parity with torch: the worst output on golden and fresh inputs\n")
        print("\n".join(parity(options.verify)))


if __name__ == "__main__":
    main()
