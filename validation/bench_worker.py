"""The process that a variant is measured in: it loads the files, then draws frames when it is told to.

Each variant has a process of its own, so that memory, threads and the engine's start are its alone. Lines
of JSON come on standard input and are answered on standard output, one for one.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

from pocketportrait.bundle import Bundle
from pocketportrait.contract import GRAPHS, Array
from pocketportrait.errors import InputError, PortraitError
from pocketportrait.runtime.contract_runner import ContractRunner
from pocketportrait.runtime.runner import open_runner
from pocketportrait.validation.bench_residency import residency_of
from pocketportrait.validation.bench_sensors import read_peak_rss_bytes, read_threads
from pocketportrait.validation.samples import golden_samples

ENGINES = {
    "onnxruntime": "onnxruntime",
    "litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
    "coreml": "coremltools",
}


class LoadedVariant:
    """The three graphs of a variant, loaded, with a real input each."""

    def __init__(self, stack: ExitStack, job: dict[str, Any]) -> None:
        """Load a variant; what is held is freed with `stack`.

        Args:
            stack: closes the bundle and the runners.
            job: `bundle`, `format`, `precision`, `runner` and `threads`.

        Raises:
            InputError: the bundle does not hold this, or has no golden vectors.
            MissingToolError: the runner cannot be used here.

        """
        self._job = job
        self._bundle = stack.enter_context(Bundle.open(Path(job["bundle"])))
        self._runners: dict[str, ContractRunner] = {}
        self._feeds: dict[str, dict[str, Array]] = {}
        start = time.perf_counter()
        importlib.import_module(ENGINES[job["runner"]])
        self.facts: dict[str, Any] = {"import_ms": _since(start), "graphs": {}}
        for graph in GRAPHS:
            self._load(stack, graph)

    def _load(self, stack: ExitStack, graph: str) -> None:
        sample = next(golden_samples(self._bundle, graph), None)
        if sample is None:
            raise InputError(f"{graph}: want golden vectors to time it on, got none; export again")
        job = self._job
        start = time.perf_counter()
        runner = stack.enter_context(
            open_runner(
                self._bundle,
                job["format"],
                job["precision"],
                graph,
                runner=job["runner"],
                threads=job["threads"],
            )
        )
        load_ms = _since(start)
        # what belongs to the photo does not change from frame to frame, and a session binds it
        held = {
            k: v for k, v in sample.feed.items() if k.startswith("features") or k == "source_code"
        }
        runner.bind(held)
        self._runners[graph] = runner
        self._feeds[graph] = {k: v for k, v in sample.feed.items() if k not in held}
        facts = {"load_ms": load_ms, "first_ms": self._pass(graph)}
        self.facts["graphs"][graph] = facts

    def _pass(self, graph: str) -> float:
        start = time.perf_counter()
        self._runners[graph].infer(self._feeds[graph])
        return _since(start)

    def photos(self, count: int) -> list[float]:
        """Return the ms of `count` passes of `appearance`."""
        return [self._pass("appearance") for _ in range(count)]

    def frames(self, count: int) -> list[tuple[float, float]]:
        """Return the ms of `motion` and `render` in each of `count` frames."""
        return [(self._pass("motion"), self._pass("render")) for _ in range(count)]

    def frames_for(self, seconds: float) -> list[tuple[float, float]]:
        """Return the ms of all frames that begin within so many seconds."""
        end = time.perf_counter() + seconds
        found = self.frames(1)
        while time.perf_counter() < end:
            found += self.frames(1)
        return found

    def process(self) -> dict[str, int | None]:
        """Return memory and threads of this process; ask before `residency`, which loads files again."""
        return {"peak_rss_bytes": read_peak_rss_bytes(), "process_threads": read_threads()}

    def residency(self) -> dict[str, Any]:
        """Return who runs the operators of each graph, and why that is not known."""
        variant = self._bundle.variant(self._job["format"], self._job["precision"])
        found = {}
        for graph in GRAPHS:
            path = self._bundle.file(variant.graphs[graph].path)
            units, note = residency_of(path, self._job["runner"])
            found[graph] = {"residency": [u.model_dump() for u in units], "residency_note": note}
        return found


def serve(job: dict[str, Any], commands: TextIO, answers: TextIO) -> int:
    """Answer commands, each [method, argument ...], until they end; return the exit code."""

    def answer(value: Any) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    with ExitStack() as stack:
        try:
            variant = LoadedVariant(stack, job)
        except PortraitError as error:
            answer({"error": str(error), "exit_code": int(error.exit_code)})
            return int(error.exit_code)
        answer(variant.facts)
        for line in commands:
            method, *arguments = json.loads(line)
            assert method in ("photos", "frames", "frames_for", "process", "residency")
            answer(getattr(variant, method)(*arguments))
    return 0


def _since(start: float) -> float:
    return (time.perf_counter() - start) * 1e3


def main() -> int:
    """Serve on the standard streams."""
    # engines print what they like; answers keep a stream of their own
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return serve(json.loads(sys.argv[1]), sys.stdin, answers)


if __name__ == "__main__":
    sys.exit(main())
