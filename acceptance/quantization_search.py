"""Acceptance of the search: two processes make one front, and killed ones lose no finished trial.

    python acceptance/quantization_search.py --bundle B [--out DIR] [--data DIR] [-n N]

Two `pocketportrait sweep` share a study of the shipped student's space. When some trials are finished
both are killed, each in the middle of something; two more go on to the end. Exit 1 if a trial that was
finished is gone or has changed, if the study does not end with N of them, or if one process did nothing.
Writes figures.json; the study itself is OUT/study.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from score_environment import ROOT
from self_reenactment import SHARED

from pocketportrait import atomic

SPACE = ROOT / "benchmarks" / "search_space.toml"
PAIRS = 8
PATIENCE_S = 3600.0
Trials = dict[int, Any]  # finished ones by number, as pareto.json has them


def start(options: argparse.Namespace) -> subprocess.Popen[str]:
    """Start one process of the search."""
    command = [sys.executable, "-m", "pocketportrait", "sweep", SPACE, "-o", options.out / "study"]
    command += ["--bundle", options.bundle, "--calibration", options.calibration, "--pairs", PAIRS]
    command += ["-n", options.count]
    return subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True)


def finished(study: Path) -> Trials:
    """Return the finished trials of a study."""
    path = study / "pareto.json"
    if not path.is_file():
        return {}
    return {trial["number"]: trial for trial in json.loads(path.read_text())["trials"]}


def run_until_killed(options: argparse.Namespace) -> Trials:
    """Let two processes work until some trials are finished, kill both, return those trials."""
    study, workers = options.out / "study", [start(options) for _ in range(2)]
    deadline = time.monotonic() + PATIENCE_S
    while len(finished(study)) < options.count // 2:
        if any(worker.poll() for worker in workers) or time.monotonic() > deadline:
            for worker in workers:
                worker.kill()
            sys.exit(f"error: the search ended: {''.join(w.communicate()[1] for w in workers)}")
        time.sleep(1)
    for worker in workers:
        worker.kill()
        worker.communicate()
    return finished(study)


def faults(
    before: Trials, after: Trials, said: list[str], codes: list[int], count: int
) -> list[str]:
    """Return what is wrong, in words."""
    wrong = [
        f"trial {number} was finished before the kill, and is gone or another now"
        for number, trial in before.items()
        if after.get(number) != trial
    ]
    if any(codes):
        wrong.append(f"want exit codes 0 of both processes, got {codes}: {' '.join(said)}")
    if len(after) != count:
        wrong.append(f"want {count} finished trials, got {len(after)}")
    if idle := [number for number, words in enumerate(said, 1) if "sweep:" not in words]:
        wrong.append(f"process {idle} finished no trial: the two did not share the work")
    return wrong


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--bundle", type=Path, required=True, help="with onnx/fp32")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "quantization-search")
    parser.add_argument("--data", type=Path, default=SHARED / "data")
    parser.add_argument("--calibration", type=Path, help="clips or a set; those of the train split")
    parser.add_argument("-n", dest="count", type=int, default=8)
    options = parser.parse_args()
    options.calibration = options.calibration or options.data / "train"
    shutil.rmtree(options.out / "study", ignore_errors=True)
    before = run_until_killed(options)
    print(f"killed both processes after {len(before)} finished trials", flush=True)
    workers = [start(options) for _ in range(2)]
    said = [worker.communicate()[1] for worker in workers]
    after = finished(options.out / "study")
    wrong = faults(before, after, said, [worker.returncode for worker in workers], options.count)
    print("\n".join(f"FAIL  {line}" for line in wrong) or "PASS  one front, and nothing was lost")
    record = json.loads((options.out / "study" / "pareto.json").read_text())
    figures = {
        "schema_version": 1,
        "finished_before_the_kill": len(before),
        "finished": len(after),
        "failed": record["failed"],
        "front": [
            {"recipe": after[number]["recipe"]["name"], **after[number]["figures"]}
            for number in record["front"]
        ],
        "wrong": wrong,
    }
    content = json.dumps(figures, indent=2).encode() + b"\n"
    atomic.write_bytes(options.out / "figures.json", content)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
