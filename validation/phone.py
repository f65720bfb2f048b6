"""A bundle checked by the app on a phone: its report is read, and judged anew here.

The app replays the golden vectors and says how far it was; the gates are computed here from this machine's
bundle, so that an app with other gates, or one that forgot a graph, does not pass.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from pocketportrait.errors import InputError
from pocketportrait.runtime.targets.adb_app import FORMATS, AdbApp, AppAnswer, AppJob
from pocketportrait.runtime.targets.protocol import TargetError
from pocketportrait.validation.checks import Check, Status, VerifyReport
from pocketportrait.validation.parity import Parity
from pocketportrait.validation.report_record import MANIFEST, Report, merge, parse_result
from pocketportrait.validation.samples import golden_samples, noise_floors
from pocketportrait.validation.tolerance import Tolerance, arithmetic_of, tolerance_for

ENGINES = {"ort": "onnxruntime", "litert": "litert"}  # as reports call them
Key = tuple[str, str, str]  # graph, tensor, sample


def check_on_phone(
    app: AdbApp, jobs: Sequence[AppJob], tell: Callable[[str], None] = lambda _: None
) -> Report:
    """Let the app check variants of a bundle, one after the other.

    Args:
        app: on one device.
        jobs: the variants.
        tell: called with the name of each before it starts.

    Raises:
        InputError: the bundle does not hold a variant, or no variant is wanted.
        MissingToolError: the device or the app is not there.
        TargetError: a report is missing, cut off, foreign or not complete.

    """
    reports = []
    for job in jobs:
        tell(f"{FORMATS[job.engine]}/{job.precision} by {job.engine} on {job.accelerator}")
        reports.append(believed(app.run(job), job))
    return merge(reports)


def believed(answer: AppAnswer, job: AppJob) -> Report:
    """Return the report with every check judged by this machine's gates.

    Raises:
        TargetError: it is no report, is of another bundle, variant or engine, holds other checks than there
            are golden vectors, times of an emulator, or fewer passes than were asked for.

    """
    try:
        report = parse_result(answer.report, "the report")
    except InputError as error:
        raise TargetError(f"{answer.target}: {error}") from error
    digest = hashlib.sha256((job.bundle.root / MANIFEST).read_bytes()).hexdigest()
    variant = f"{FORMATS[job.engine]}/{job.precision}"
    if [facts.sha256 for facts in report.bundles] != [digest]:
        raise _refused(answer, f"the bundle {digest}", [b.sha256 for b in report.bundles])
    if len(report.verifications) != 1 or len(report.benches) != 1:
        parts = (len(report.verifications), len(report.benches))
        raise _refused(answer, "one verification and one bench", parts)
    _check_bench(answer, report, job, variant, digest)
    verification = report.verifications[0]
    judged = _judged(answer, verification, job, variant)
    return report.model_copy(
        update={"verifications": (verification.model_copy(update={"checks": judged}),)}
    )


def _check_bench(answer: AppAnswer, report: Report, job: AppJob, variant: str, digest: str) -> None:
    rows = report.benches[0].variants
    if [(row.variant, row.bundle_sha256) for row in rows] != [(variant, digest)]:
        raise _refused(answer, f"times of {variant}", [row.variant for row in rows])
    (row,) = rows
    if row.frame is None:
        return
    if answer.emulated:
        raise TargetError(f"{answer.target}: is emulated and reported times; they mean nothing")
    counts = {graph.graph: graph.warm.repeats for graph in row.graphs}
    want = dict.fromkeys(job.bundle.manifest.graphs, job.runs)
    if counts != want or len(row.frame_ms) != job.runs:
        raise _refused(answer, f"{job.runs} passes of every graph", counts)


def _judged(
    answer: AppAnswer, verification: VerifyReport, job: AppJob, variant: str
) -> tuple[Check, ...]:
    target = f"app:{ENGINES[job.engine]}-{job.accelerator}"
    gates = _gates(job)
    judged = []
    for check in verification.checks:
        if check.kind == "golden":
            key = (check.graph, check.tensor, check.sample)
            if key not in gates or (check.variant, check.target) != (variant, target):
                got = " ".join((check.variant, *key, "on", check.target))
                raise _refused(answer, f"each golden vector of {variant} on {target} once", got)
            judged.append(_with_gate(answer, check, gates.pop(key)))
        elif check.kind == "run" and check.status is not Status.FAIL:
            raise _refused(answer, "only failures without figures", check.name)
        else:
            judged.append(check)
    broken = {c.graph for c in judged if c.kind == "run"}
    if missing := sorted({graph for graph, _, _ in gates} - broken):
        raise _refused(answer, f"every golden vector on {target}", f"none of {missing}")
    return tuple(judged)


def _with_gate(answer: AppAnswer, check: Check, gate: Tolerance) -> Check:
    if check.max_abs is None or check.psnr_db is None:
        raise _refused(answer, f"figures of {check.name}", "none")
    found = check.with_parity(Parity(check.max_abs, check.psnr_db, check.cosine or 0.0), gate)
    if check.status is Status.PASS or found.status is Status.FAIL:
        return found
    return found.model_copy(update={"status": Status.FAIL, "message": check.message})


def _gates(job: AppJob) -> dict[Key, Tolerance]:
    """Return the gate of every output of every golden vector, from this machine's files."""
    bundle, found = job.bundle, {}
    variant = bundle.variant(FORMATS[job.engine], job.precision)
    arithmetic = arithmetic_of(job.precision, variant.weights, variant.activations)
    for graph in bundle.manifest.graphs:
        floors = noise_floors(bundle, graph)
        outputs = {output.name: output for output in bundle.graph_spec(graph).outputs}
        for sample in golden_samples(bundle, graph):
            for name, reference in sample.want.items():
                found[graph, name, sample.name] = tolerance_for(
                    arithmetic, outputs[name], reference, floors.get(name)
                )
    return found


def _refused(answer: AppAnswer, want: str, got: object) -> TargetError:
    return TargetError(f"{answer.target}: the report: want {want}, got {got}; run it again")
