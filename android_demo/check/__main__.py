"""Run all checks: `make android-check`, or `python -m android_demo.check`.

Exit codes are those of the command line: 1 a check failed, 3 a tool could not be had.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from android_demo.check.api_levels import ApiLevels, level_complaints
from android_demo.check.catalog import catalog_complaints, catalog_versions
from android_demo.check.faults import (
    APP_FAULTS,
    CATALOG_FAULTS,
    COMPONENT_FAULTS,
    MANIFEST_FAULTS,
    PIPELINE_FAULTS,
    RESOURCE_FAULTS,
    planted,
)
from android_demo.check.framework_calls import (
    FRAMEWORK,
    JAVA,
    ApiList,
    SignatureList,
    calls_into,
)
from android_demo.check.kotlin import (
    Compiled,
    TestRun,
    app_compilation,
    compile_all,
    pipeline_compilation,
    replay_compilation,
    run_junit,
)
from android_demo.check.native import page_complaints
from android_demo.check.outcome import Outcome
from android_demo.check.package import package_compilation, package_complaints
from android_demo.check.reports import report_complaints
from android_demo.check.resources import component_complaints, link_resources
from android_demo.check.signatures import read_signatures
from android_demo.check.toolchain import Tools, fetch_tools
from pocketportrait.errors import PortraitError

DEMO = Path(__file__).resolve().parent.parent
RESOURCES = Path("pipeline") / "src" / "test" / "resources"
TESTS = DEMO / "pipeline" / "src" / "test" / "kotlin"


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetch what is missing, check everything, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m android_demo.check", description=__doc__)
    parser.add_argument(
        "--full", action="store_true", help="a real bundle on the JVM, and a signed package too"
    )
    full = parser.parse_args(arguments).full
    start = time.monotonic()
    outcome = Outcome()
    try:
        tools = fetch_tools(_tell, full=full)
        fetched = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="android-check-") as folder:
            _check_all(Path(folder), tools, outcome)
            if full:
                _check_end_to_end(Path(folder), tools, outcome)
                _check_package(Path(folder), tools, outcome)
    except PortraitError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    _tell(f"{time.monotonic() - fetched:.0f} s, after {fetched - start:.0f} s for tools")
    print(outcome.closing_line())
    return 1 if outcome.failed else 0


def _check_all(work: Path, tools: Tools, outcome: Outcome) -> None:
    _check_catalog(work, outcome)
    linked = link_resources(DEMO, work / "resources", tools)
    outcome.judge(
        "resources and manifest link, the camera is the only permission", linked.complaints
    )
    _check_resource_faults(work, tools, outcome)
    what = "native libraries of ONNX Runtime are made for pages of 16 KB"
    outcome.judge(what, page_complaints(tools.native_libraries))
    faulty = planted(DEMO, work / "faulty", (*PIPELINE_FAULTS, *APP_FAULTS))
    jobs = [
        pipeline_compilation("pipeline", DEMO, work, tools),
        app_compilation("app", DEMO, work, work / "pipeline", linked.generated, tools),
        pipeline_compilation("faulty-pipeline", faulty, work, tools),
        app_compilation("faulty-app", faulty, work, work / "pipeline", linked.generated, tools),
    ]
    _tell("compiling")
    compiled = compile_all(jobs, work, tools)
    for name, what in (("pipeline", "pipeline"), ("app", "engines and app against API 29")):
        outcome.judge(f"{what} compile without a warning", _said(compiled[name]))
    if compiled["pipeline"].succeeded:
        _check_junit(work, tools, outcome)
    if compiled["app"].succeeded:
        _check_calls(work, tools, outcome)
        _check_components(work, outcome)
    _check_planted(work, tools, compiled, outcome)


def _check_end_to_end(work: Path, tools: Tools, outcome: Outcome) -> None:
    # torch, which exports, takes seconds to import
    from android_demo.check.replay import replay_complaints

    _tell("a real bundle, from the shipped weights, through Kotlin and through Python")
    job = replay_compilation(DEMO, work, work / "pipeline", tools)
    compiled = compile_all([job], work, tools)[job.name]
    outcome.judge("the ONNX Runtime engine compiles for desktop Java", _said(compiled))
    if compiled.succeeded:
        what = "golden vectors and pictures of a real bundle on the JVM are those of Python"
        outcome.judge(what, replay_complaints(work, tools))


def _check_package(work: Path, tools: Tools, outcome: Outcome) -> None:
    _tell("a package: dexed, aligned, signed, and read back")
    linked = link_resources(DEMO, work / "resources", tools)
    job = package_compilation(DEMO, work, linked.generated, tools)
    compiled = compile_all([job], work, tools)[job.name]
    outcome.judge("all modules compile to what the dexer takes", _said(compiled))
    if compiled.succeeded:
        what = "the package is whole, aligned, signed (v2, v3) and what the manifest says"
        outcome.judge(what, package_complaints(DEMO, work, linked.package, tools))


def _check_components(work: Path, outcome: Outcome) -> None:
    what = "the manifest names classes that there are"
    outcome.judge(what, component_complaints(DEMO, work / "app"))
    for fault in COMPONENT_FAULTS:
        found = component_complaints(planted(DEMO, work / "components", (fault,)), work / "app")
        outcome.noticed(fault, any(fault.noticed_by in complaint for complaint in found))


def _check_catalog(work: Path, outcome: Outcome) -> None:
    outcome.judge("the version catalog is that of the dated list", catalog_complaints(DEMO))
    for fault in CATALOG_FAULTS:
        found = catalog_complaints(planted(DEMO, work / "catalog", (fault,)))
        outcome.noticed(fault, any(fault.noticed_by in complaint for complaint in found))


def _check_resource_faults(work: Path, tools: Tools, outcome: Outcome) -> None:
    for fault in RESOURCE_FAULTS:
        copy = planted(DEMO, work / "resource-fault", (fault,))
        found = link_resources(copy, work / "resource-fault-linked", tools).complaints
        outcome.noticed(fault, any(fault.noticed_by in complaint for complaint in found))


def _check_junit(work: Path, tools: Tools, outcome: Outcome) -> None:
    report = work / "report.json"
    run = run_junit(work / "pipeline", DEMO / RESOURCES, TESTS, report, tools)
    outcome.junit(run)
    outcome.judge("the report of the JVM is one that Python reads", report_complaints(report))
    for fault in MANIFEST_FAULTS:
        copy = planted(DEMO, work / "manifest", (fault,))
        broken = run_junit(work / "pipeline", copy / RESOURCES, TESTS, work / "unread.json", tools)
        outcome.noticed(fault, fault.noticed_by in broken.failed or _class_failed(broken))


def _check_calls(work: Path, tools: Tools, outcome: Outcome) -> None:
    framework = calls_into(FRAMEWORK, work / "app")
    tests = [file.stem for file in TESTS.rglob("*.kt")]  # they run on a JVM alone
    folders = (work / "app", work / "pipeline")
    java = {c for f in folders for c in calls_into(JAVA, f, results=True, but=tests)}
    least = int(catalog_versions(DEMO)["minSdk"])
    what = f"all calls exist since API {least}, or stand behind a look at the version"
    both = framework | {replace(call, returns="") for call in java}
    outcome.judge(what, level_complaints(both, ApiLevels(tools.api_levels), least))
    newest, oldest = ApiList(tools.api_list), SignatureList(read_signatures(tools.signatures))
    for what, calls, known in (
        ("framework calls exist in API 36", framework, newest),
        ("calls into java.* exist in API 29", java, oldest),
    ):
        missing = [
            f"{c.owner}.{c.name} with {c.arity} parameters {c.returns}"
            for c in sorted(calls)
            if not known.has(c)
        ]
        outcome.judge(f"{len(calls)} {what}", missing if calls else ["none was found"])


def _check_planted(
    work: Path, tools: Tools, compiled: dict[str, Compiled], outcome: Outcome
) -> None:
    pipeline, app = compiled["faulty-pipeline"], compiled["faulty-app"]
    outcome.judge("the faulty pipeline compiles, so that tests can notice", _said(pipeline))
    if pipeline.succeeded:
        run = run_junit(
            work / "faulty-pipeline", DEMO / RESOURCES, TESTS, work / "unread.json", tools
        )
        for fault in PIPELINE_FAULTS:
            outcome.noticed(fault, fault.noticed_by in run.failed)
    for fault in APP_FAULTS:
        outcome.noticed(fault, not app.succeeded and fault.noticed_by in app.said)


def _class_failed(run: TestRun) -> bool:
    """Say whether a whole class of tests could not start: what it opens first was refused."""
    return any(name == "initializationError" for name in run.failed)


def _said(compiled: Compiled) -> list[str]:
    return [] if compiled.succeeded else [compiled.said[-3000:]]


def _tell(line: str) -> None:
    print(f"android-check: {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
