"""What more clips, and a larger student, would give: the same short training with less of each.

    python benchmarks/ablation.py --data DIR --monitor DIR --out OUT [--steps 1500] [--only NAME ..]

Five runs from random weights with equal steps, pairs a step and seed: all clips, half and a quarter of
them (each part of the one before, chosen by the digests of their names), and all clips with a student of
0.7 and 1.4 times the widths. Each is watched on the clips of `--monitor`, which none learns from. A run
that was stopped goes on where it stood, and several processes may share the work (`--only`): what is told
is read from the logs in OUT. Writes OUT/figures.json and prints the table: ratios to repeating the photo,
and correlations of the codes.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from pocketportrait import atomic
from pocketportrait.distill.plan import Phase, TrainOptions
from pocketportrait.distill.trainer import LOG, train
from pocketportrait.models.dims import StudentDims, phone

SHARES = {"all clips": 1.0, "half": 0.5, "quarter": 0.25}
WIDTHS = {"0.7 x the widths": 0.7, "1.4 x the widths": 1.4}
# no widths, but for the skip, which holds the photo itself and needs all of its channels
KEPT = ("side", "code", "appearance_blocks", "blocks", "skip")
MULTIPLE = 4  # of channels


def scaled(times: float) -> StudentDims:
    """Return the phone student's sizes with other widths."""
    dims = phone()

    def width(value: int) -> int:
        return max(MULTIPLE, round(value * times / MULTIPLE) * MULTIPLE)

    changed: dict[str, Any] = {
        name: tuple(map(width, value)) if isinstance(value, tuple) else width(value)
        for name, value in dataclasses.asdict(dims).items()
        if name not in KEPT
    }
    return dataclasses.replace(dims, **changed)


def some_labels(labels: Path, share: float, folder: Path) -> Path:
    """Return a folder with links to a share of the labels: clips without any are left out."""
    files = sorted(
        labels.glob("*.safetensors"), key=lambda f: hashlib.sha256(f.name.encode()).digest()
    )
    folder.mkdir(parents=True, exist_ok=True)
    for file in files[: round(len(files) * share)]:
        link = folder / file.name
        if not link.is_symlink():
            link.symlink_to(file.resolve())
    return folder


def run(name: str, options: TrainOptions) -> None:
    """Train to the end of the plan."""
    print(f"{name}: {options.out}", flush=True)
    train(options, lambda line: print(f"{name}: {json.dumps(line)}", flush=True))


def watched(out: Path) -> list[dict[str, float]]:
    """Return what a run's log has seen on the way, by step."""
    log = out / LOG
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
    return [{"step": line["step"], **line["monitor"]} for line in lines if "monitor" in line]


def through(out: Path, steps: int) -> dict[str, list[dict[str, float]]]:
    """Return what every run has seen that is at its end, by name."""
    seen = {name: watched(out / name) for name in (*SHARES, *WIDTHS)}
    return {name: rows for name, rows in seen.items() if rows and rows[-1]["step"] == steps}


def table(seen: dict[str, list[dict[str, float]]]) -> str:
    """Return the last figures of every run as Markdown."""
    names = ["l1_ratio", "mesh_ratio", "pose_ratio", "corr_jaw", "corr_blink", "corr_smile"]
    lines = ["| run | steps | " + " | ".join(names) + " |", "|---|---|" + "---|" * len(names)]
    for name, rows in seen.items():
        last = rows[-1]
        figures = " | ".join(f"{last[n]:.3f}" if n in last else "-" for n in names)
        lines.append(f"| {name} | {last['step']:.0f} | {figures} |")
    return "\n".join(lines)


def main() -> None:
    """Train and tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--labels", type=Path, help="DATA/labels by default")
    parser.add_argument("--monitor", type=Path, required=True)
    parser.add_argument("--monitor-labels", type=Path, help="MONITOR/labels by default")
    parser.add_argument("--cache", type=Path, help="decoded frames; OUT/cache by default")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--only", action="append", choices=[*SHARES, *WIDTHS], help="not all five")
    options = parser.parse_args()
    labels, out = options.labels or options.data / "labels", options.out
    common = TrainOptions(
        data=options.data,
        out=out,
        cache=options.cache or out / "cache",
        plan=(Phase("joint", options.side, options.batch, options.steps, options.rate, 0.05),),
        monitor=options.monitor,
        monitor_labels=options.monitor_labels,
        threads=options.threads,
    )
    for name in options.only or (*SHARES, *WIDTHS):
        chosen = some_labels(labels, SHARES.get(name, 1.0), out / "labels" / name)
        own = dataclasses.replace(common, labels=chosen, out=out / name)
        if name in WIDTHS:
            sizes = out / f"{name}.json"
            atomic.write_bytes(sizes, scaled(WIDTHS[name]).to_json().encode())
            own = dataclasses.replace(own, preset=str(sizes))
        run(name, own)
        seen = through(out, options.steps)
        atomic.write_bytes(out / "figures.json", json.dumps(seen, indent=1).encode() + b"\n")
    print(table(seen))


if __name__ == "__main__":
    main()
