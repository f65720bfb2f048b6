"""The Android demo, acted: `am` and `run-as` on a device of the tests, and a report as the app writes it.

It opens the bundle that was sent, so that what got there is whole. What it prints has the form that Android's
source gives `am instrument -r`; no phone has printed it.
"""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pocketportrait.bundle import Bundle
from pocketportrait.runtime.targets.adb_app import INSTRUMENTATION, PACKAGE
from pocketportrait.validation.bench_record import Bench, GraphBench, Timing, VariantBench
from pocketportrait.validation.checks import Check, Status, VerifyReport
from pocketportrait.validation.machine import Machine
from pocketportrait.validation.report_record import BundleFacts, Report
from pocketportrait.validation.samples import golden_samples
from tests.adb_daemon import Daemon, Device

MACHINE = Machine(
    system="Android 16 (API 36)",
    architecture="arm64-v8a",
    processor="Acme One (acme)",
    cores=8,
    python="none",
    engines={"onnxruntime": "1.29.0"},
)
RUN_AS = """#!/bin/sh
[ "$1" = {package} ] && [ -d {home} ] || {{ echo "run-as: unknown package: $1" >&2; exit 1; }}
shift
cd {home} && exec "$@"
"""
AM = """#!/bin/sh
cat {said}
"""


@dataclass
class PhoneApp:
    """An app that is installed on a device; its lines and its report can be changed on the way."""

    home: Path  # the app's own folder
    change_report: Callable[[Report], Report] = lambda report: report
    change_bytes: Callable[[bytes], bytes] = lambda data: data  # after its digest was told
    change_lines: Callable[[list[str]], list[str]] = lambda lines: lines
    asked: list[dict[str, str]] = field(default_factory=list)

    def install(self, daemon: Daemon, programs: Path) -> None:
        """Give the device the programs, and the app its folder."""
        (self.home / "files").mkdir(parents=True)
        programs.mkdir()
        texts = {
            "run-as": RUN_AS.format(package=PACKAGE, home=shlex.quote(str(self.home))),
            "am": AM.format(said=shlex.quote(str(self._said))),
        }
        for name, text in texts.items():
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        daemon.device.environment = {"PATH": f"{programs}:{os.environ['PATH']}"}
        daemon.device.before = self.act

    @property
    def _said(self) -> Path:
        return self.home / "am.txt"

    def act(self, device: Device, command: str) -> None:
        """Do what the instrumentation does, if this is what the command asks for."""
        words = shlex.split(command)
        if words[:2] != ["am", "instrument"]:
            return
        assert words[2:4] == ["-w", "-r"]
        assert words[-1] == INSTRUMENTATION
        wishes = {n: v for e, n, v in zip(*[iter(words[4:-1])] * 3, strict=True) if e == "-e"}
        self.asked.append(wishes)
        sent = self.home / "files" / wishes["bundle"]
        with Bundle.open(sent) as bundle:
            report = self.change_report(report_of(bundle, wishes, sent.stem))
        data = report.model_dump_json().encode()
        (self.home / "files" / "report.json").write_bytes(self.change_bytes(data))
        passed = all(c.status is Status.PASS for v in report.verifications for c in v.checks)
        lines = [
            f"INSTRUMENTATION_RESULT: nonce={wishes['nonce']}",
            f"INSTRUMENTATION_RESULT: passed={str(passed).lower()}",
            f"INSTRUMENTATION_RESULT: report=/data/user/0/{PACKAGE}/files/report.json",
            f"INSTRUMENTATION_RESULT: sha256={hashlib.sha256(data).hexdigest()}",
            "INSTRUMENTATION_CODE: -1",
        ]
        self._said.write_text("\n".join(self.change_lines(lines)) + "\n")


def report_of(bundle: Bundle, wishes: dict[str, str], name: str = "tiny") -> Report:
    """Return what a phone reports that computes nearly what was exported."""
    engine, format = {"ort": ("onnxruntime", "onnx"), "litert": ("litert", "tflite")}[
        wishes["engine"]
    ]
    row = Check(
        kind="golden",
        status=Status.PASS,
        variant=f"{format}/{wishes['precision']}",
        target=f"app:{engine}-{wishes['accel']}",
        runner=engine,
        max_abs=1e-8,
        psnr_db=140.0,
        cosine=1.0,
    )
    checks = [Check(kind="files", status=Status.PASS)]
    for graph in bundle.manifest.graphs:
        for sample in golden_samples(bundle, graph):
            for tensor in sample.want:
                place = {"graph": graph, "tensor": tensor, "sample": sample.name}
                checks.append(row.model_copy(update=place))
    facts = BundleFacts.of(bundle).model_copy(update={"name": name})
    verification = VerifyReport(
        bundle=facts.name, machine=MACHINE, seconds=1.0, checks=tuple(checks)
    )
    bench = Bench(
        tool="pocketportrait android",
        machine=MACHINE,
        started="2026-11-22T12:00:00Z",
        load_1m=None,
        variants=(_times(facts, row, int(wishes["runs"]), list(bundle.manifest.graphs)),),
    )
    return Report(bundles=(facts,), verifications=(verification,), benches=(bench,))


def _times(facts: BundleFacts, row: Check, runs: int, graphs: list[str]) -> VariantBench:
    warm = Timing.of([5.0] * runs)
    return VariantBench(
        bundle=facts.name,
        bundle_sha256=facts.sha256,
        variant=row.variant,
        runner=f"{row.runner} cpu",
        graphs=tuple(GraphBench(graph=g, load_ms=1.0, first_ms=9.0, warm=warm) for g in graphs),
        frame=Timing.of([10.0] * runs),
        frame_ms=(10.0,) * runs,
    )
