"""Kotlin's compiler and JUnit; many compilations share one process, because it starts slowly."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from android_demo.check.toolchain import Tools
from pocketportrait.errors import MissingToolError
from pocketportrait.runtime.targets.command import run_command

COMPILE_ALL = Path(__file__).with_name("CompileAll.java")
STUBS = Path(__file__).with_name("stubs")
REPLAY = Path(__file__).with_name("jvm") / "Replay.kt"
COMPILER_JARS = (
    "kotlin-compiler", "kotlin-stdlib", "kotlin-script-runtime", "kotlin-reflect",
    "kotlin-daemon-client", "annotations-13.0", "kotlinx-coroutines-core-jvm",
)  # fmt: skip
# The compiler runs for seconds: the second compiler of the JVM never earns its time. With the first alone the
# JVM keeps 48 MB for code, which four compilations in one process can fill.
JVM = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:ReservedCodeCacheSize=240m")
ANDROID_MODULES = ("engine-ort", "engine-litert", "app")
TIMEOUT_S = 3000.0


@dataclass(frozen=True)
class Compilation:
    """One run of the compiler."""

    name: str
    sources: tuple[Path, ...]
    classpath: tuple[Path, ...]
    output: Path
    options: tuple[str, ...] = ("-jvm-target", "17", "-Werror")


@dataclass(frozen=True)
class Compiled:
    """How it ended."""

    succeeded: bool
    said: str


@dataclass(frozen=True)
class TestRun:
    """What JUnit found."""

    passed: int
    failed: tuple[str, ...]  # names of methods
    said: str


def pipeline_compilation(name: str, demo: Path, work: Path, tools: Tools) -> Compilation:
    """Return the compilation of `pipeline/` with its tests."""
    output = work / name
    return Compilation(name, (demo / "pipeline" / "src",), tools.junit, output)


def app_compilation(
    name: str, demo: Path, work: Path, pipeline: Path, generated: Path, tools: Tools
) -> Compilation:
    """Return the compilation of engines and app against Android's API 29 and ONNX Runtime's classes.

    Args:
        name: of the compilation.
        demo: the folder android_demo.
        work: where classes go.
        pipeline: classes of the pipeline.
        generated: sources that aapt2 wrote.
        tools: what was fetched.

    """
    sources = [demo / module / "src" / "main" / "kotlin" for module in ANDROID_MODULES]
    classpath = (pipeline, tools.android_jar, tools.onnxruntime)
    return Compilation(name, (*sources, STUBS, generated), classpath, work / name)


def replay_compilation(demo: Path, work: Path, pipeline: Path, tools: Tools) -> Compilation:
    """Return the compilation of the ONNX Runtime engine for desktop Java, with what replays a bundle."""
    sources = (demo / "engine-ort" / "src" / "main" / "kotlin", REPLAY)
    return Compilation("replay", sources, (pipeline, tools.desktop_onnxruntime), work / "replay")


def run_replay(work: Path, pipeline: Path, arguments: Sequence[str | Path], tools: Tools) -> None:
    """Run `jvm/Replay.kt`.

    Raises:
        MissingToolError: it broke off; the message quotes why.

    """
    jars = [
        work / "replay",
        pipeline,
        tools.desktop_onnxruntime,
        tools.kotlin / "kotlin-stdlib.jar",
    ]
    command = [
        "java",
        *JVM,
        "-cp",
        os.pathsep.join(map(str, jars)),
        "dev.pocketportrait.jvm.ReplayKt",
    ]
    _java([*command, *map(str, arguments)], "the replay on the JVM")


def compile_all(jobs: Sequence[Compilation], work: Path, tools: Tools) -> dict[str, Compiled]:
    """Compile one after the other; warnings are errors unless a job's options say otherwise.

    Raises:
        MissingToolError: the compiler itself does not run.

    """
    lines = ["\t".join([job.name, *_arguments(job, tools)]) for job in jobs]
    (work / "jobs.txt").write_text("\n".join(lines) + "\n")
    classpath = os.pathsep.join(str(tools.kotlin / f"{jar}.jar") for jar in COMPILER_JARS)
    command = [
        "java",
        "-Xmx1800m",
        *JVM,
        "-cp",
        classpath,
        str(COMPILE_ALL),
        str(work / "jobs.txt"),
    ]
    _java(command, "Kotlin's compiler")
    found = {}
    for job in jobs:
        first, _, said = (work / f"{job.name}.log").read_text().partition("\n")
        found[job.name] = Compiled(first == "OK", said)
    return found


def _arguments(job: Compilation, tools: Tools) -> list[str]:
    classpath = os.pathsep.join(map(str, [tools.kotlin / "kotlin-stdlib.jar", *job.classpath]))
    options = ["-no-stdlib", "-no-reflect", *job.options]
    return [*options, "-cp", classpath, "-d", str(job.output), *map(str, job.sources)]


def run_junit(classes: Path, resources: Path, tests: Path, report: Path, tools: Tools) -> TestRun:
    """Run every test class of a folder of sources.

    Args:
        classes: what was compiled.
        resources: what tests read.
        tests: the sources, by whose names the classes are found.
        report: where a test writes the report that Python then reads.
        tools: what was fetched.

    Raises:
        MissingToolError: JUnit did not run to its end.

    """
    names = [
        ".".join(file.relative_to(tests).with_suffix("").parts)
        for file in sorted(tests.rglob("*Test.kt"))
    ]
    jars = [classes, resources, tools.kotlin / "kotlin-stdlib.jar", *tools.junit]
    classpath = os.pathsep.join(map(str, jars))
    command = ["java", *JVM, f"-Dpocketportrait.report={report}", "-cp", classpath]
    said = _java([*command, "org.junit.runner.JUnitCore", *names], "JUnit", accept=(0, 1))
    return read_junit(said)


def read_junit(said: str) -> TestRun:
    """Read what JUnit's console runner printed.

    Raises:
        MissingToolError: it did not end as it does.

    """
    if match := re.search(r"^OK \((\d+) tests?\)", said, re.M):
        return TestRun(int(match[1]), (), said)
    match = re.search(r"^Tests run: (\d+),\s+Failures: (\d+)", said, re.M)
    if not match:
        raise MissingToolError(f"JUnit: want its closing line, got: {said[-500:]}")
    failed = tuple(re.findall(r"^\d+\) (.*?)\(", said, re.M))
    return TestRun(int(match[1]) - int(match[2]), failed, said)


def _java(command: list[str], what: str, accept: tuple[int, ...] = (0,)) -> str:
    try:
        ran = run_command(command, timeout_s=TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise MissingToolError(
            f"{what}: want it to end, got nothing for {TIMEOUT_S:.0f} s"
        ) from error
    if ran.status not in accept:
        raise MissingToolError(
            f"{what}: want it to run, got status {ran.status}: {ran.said[-1500:]}"
        )
    return ran.out
