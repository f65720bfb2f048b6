"""A report with something in every part, made up."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from pocketportrait.bundle import (
    Bundle,
    BundleWriter,
    GraphModel,
    TensorModel,
    Variant,
    VariantGraph,
)
from pocketportrait.contract import GRAPHS, Array, GraphSpec, TensorSpec
from pocketportrait.validation.bench_record import (
    Bench,
    Budget,
    Comparison,
    GraphBench,
    Minute,
    Regression,
    Residency,
    Stage,
    Sustained,
    Timing,
    VariantBench,
)
from pocketportrait.validation.checks import Check, Status, VerifyReport
from pocketportrait.validation.machine import Machine
from pocketportrait.validation.parity import Parity
from pocketportrait.validation.portrait_gates_record import PortraitGate, PortraitGates
from pocketportrait.validation.portrait_record import ClipFigures, Evaluation, summarize
from pocketportrait.validation.report_pictures import strip, worst
from pocketportrait.validation.report_record import BundleFacts, Report
from pocketportrait.validation.tolerance import Tolerance

FILE_BYTES = 1_234_567
MACHINE = Machine(
    system="Linux",
    architecture="x86_64",
    processor="A <b> & C",
    cores=2,
    python="3.11",
    engines={"numpy": "2.4"},
)
OTHER = MACHINE.model_copy(update={"processor": "=Phone|1", "architecture": "aarch64"})


def compared(max_abs: float, psnr_db: float, **more: str) -> Check:
    facts = {"variant": "onnx/fp32", "graph": "render", "tensor": "image", "sample": "golden-0"}
    row = Check(kind="golden", status=Status.PASS, **(facts | more))  # type: ignore[arg-type]
    return row.with_parity(Parity(max_abs, psnr_db, 0.5), Tolerance(max_abs=1e-4))


def verification(*checks: Check, machine: Machine = MACHINE) -> VerifyReport:
    return VerifyReport(bundle="bundle", machine=machine, seconds=1.5, checks=checks)


def timing(scale: float = 1.0) -> Timing:
    return Timing.of((scale * np.linspace(10.123, 20.456, 40)).tolist()).model_copy(
        update={"warmup": 5}
    )


def timed_variant(scale: float = 1.0) -> VariantBench:
    graphs = tuple(
        GraphBench(
            graph=graph,
            load_ms=31.25,
            first_ms=41.75,
            warm=timing(scale / 2),
            residency=(Residency(unit="XNNPACK", operators=7),),
        )
        for graph in GRAPHS
    )
    return VariantBench(
        bundle="bundle",
        variant="onnx/fp32",
        runner="onnxruntime",
        threads=1,
        import_ms=512.5,
        graphs=graphs,
        frame=timing(scale),
        peak_rss_bytes=150 * 2**20 + 12345,
        process_threads=3,
        frame_ms=(1.5, 2.5),
    )


def comparison(verdict: str = "slower") -> Comparison:
    return Comparison(
        a="onnx/fp32",
        b="onnx/w8a8",
        verdict=verdict,  # type: ignore[arg-type]
        ratio=1.1234,
        low=1.0871,
        high=1.1622,
        alpha=0.01,
        smallest_effect=0.03,
        block=6,
        rounds=160,
    )


def bench(machine: Machine = MACHINE, scale: float = 1.0) -> Bench:
    minutes = tuple(
        Minute(
            minute=i,
            frames=4000 - i,
            p50_ms=12.0 + i,
            p95_ms=15.5 + i,
            clock_mhz=2400.5 - 100 * i,
            temperature_c=None if i else 41.5,
        )
        for i in range(3)
    )
    stages = tuple(
        Stage(stage=name, timing=timing(0.1 * (i + 1)))
        for i, name in enumerate(("decode", "render"))
    )
    skipped = VariantBench(
        bundle="bundle", variant="coreml/fp16", runner="oracle", emulated=True, skipped="x<y"
    )
    return Bench(
        tool="t",
        machine=machine,
        started="2026-01-01T00:00:00+00:00",
        load_1m=1.5,
        variants=(timed_variant(scale), skipped),
        comparisons=(comparison(),),
        sustained=(Sustained(variant="onnx/fp32", seconds=180.0, minutes=minutes),),
        budgets=(
            Budget(
                variant="onnx/fp32", driver="d.mp4", frames=40, stages=stages, total=timing(0.3)
            ),
        ),
        regressions=(
            Regression(
                variant="onnx/fp32 (onnxruntime)",
                status=Status.PASS,
                message="held",
                comparison=comparison("not distinguishable"),
            ),
        ),
    )


def gates(status: Status = Status.PASS) -> PortraitGates:
    row = PortraitGate(
        variant="onnx/w8a8",
        figure="psnr_db",
        status=status,
        reference=20.125,
        value=19.875,
        bound=19.625,
        side="at least",
    )
    skipped = PortraitGate(
        variant="onnx/w8a8", figure="csim", status=Status.SKIP, message="no --score-models"
    )
    return PortraitGates(
        bundle="bundle",
        reference="onnx/fp32",
        data="clips",
        clips=2,
        machine=MACHINE,
        seconds=2.0,
        rows=(row, skipped),
    )


def evaluation() -> Evaluation:
    clips = (ClipFigures(kind="self", clip="one", frames=9, faces=0, figures={"psnr_db": 21.5}),)
    return Evaluation(
        subject="bundle",
        variant="onnx/fp32",
        machine=MACHINE,
        seconds=1.0,
        clips=clips,
        summaries=summarize(clips),
        worst=(),
    )


def small_bundle(folder: Path) -> Bundle:
    tensor = TensorModel.of(TensorSpec("t", (1, 2), layout="NC"))
    graph = GraphModel.of(GraphSpec("motion", (tensor.spec(),), (tensor.spec(),)))
    with BundleWriter(folder) as writer:
        graphs = {}
        for name in GRAPHS:
            path = f"onnx/fp32/{name}.onnx"
            (writer.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (writer.folder / path).write_bytes(b"x" * FILE_BYTES)
            graphs[name] = VariantGraph(path=path, inputs=(tensor,), outputs=(tensor,))
        writer.add_variant("onnx", "fp32", Variant(graphs=graphs, recipe="float32 <as trained>"))
        return writer.finish(
            graphs=dict.fromkeys(GRAPHS, graph),
            code_slices={"pose": (0, 1)},
            golden={},
            tools={"torch": "2.13.0"},
            licence="research only",
            model={"name": "a student"},
        )


def pictures() -> tuple[Array, Array]:
    random = np.random.default_rng(0)
    return random.integers(0, 255, (64, 64, 3), np.uint8), np.full((64, 64, 3), 90, np.uint8)


def full_report(folder: Path) -> Report:
    noise, grey = pictures()
    skipped = Check(kind="run", status=Status.SKIP, variant="coreml/fp16", message="x<y")
    with small_bundle(folder) as bundle:
        facts = BundleFacts.of(bundle)
    return Report(
        title="A <demo>",
        bundles=(facts,),
        verifications=(
            verification(
                compared(1e-6, 120.0),
                compared(0.0, math.inf, tensor="exact"),
                skipped,
            ),
        ),
        evaluations=(evaluation(),),
        benches=(bench(),),
        gates=(gates(),),
        pictures=(
            strip("one & two", noise, [noise] * 3, [grey] * 3),
            worst("onnx/w8a8", noise, noise, grey, 12.5),
        ),
    )
