"""The adb target with the system's own adb client, against a daemon that can be made to fail."""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pocketportrait.bundle import Bundle
from pocketportrait.errors import ExitCode, InputError
from pocketportrait.runtime.targets.adb import RUNNER, AdbTarget
from pocketportrait.runtime.targets.protocol import Job, Outcome, TargetError, execute
from pocketportrait.validation.checks import Status
from pocketportrait.validation.verify import verify
from tests.adb_daemon import Daemon, Device
from tests.adb_device import adb, connected, here, own_server
from tests.native_runner import (
    compiler,
    doubling_job,
    engine_libraries,
    make_home,
    this_platform,
)

pytestmark = pytest.mark.skipif(
    shutil.which("adb") is None or compiler() is None,
    reason="no adb client or no C compiler here; run: make device-tools",
)


def runs(device: Device, command: str) -> bool:
    """Say whether a command is the one that runs a job."""
    return command.startswith(f"{device.inside}/pocketportrait/{RUNNER} ")


@pytest.fixture(scope="module", autouse=True)
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with own_server(tmp_path_factory.mktemp("adb-home")):
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    command = compiler()
    assert command is not None
    folder = tmp_path_factory.mktemp("runners")
    return make_home(folder, this_platform(), command, engine_libraries())


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    return doubling_job(tmp_path_factory.mktemp("model"))


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with Daemon(here(tmp_path / "device")) as running:
        yield connected(running)
        adb("disconnect", running.serial)
    assert running.device.problems == []


@pytest.fixture
def bare(daemon: Daemon, home: Path) -> AdbTarget:
    """A device that nothing was sent to."""
    return AdbTarget(daemon.serial, home=home, folder=daemon.device.inside)


def supply(daemon: Daemon, home: Path) -> None:
    """Let the programs be there already; sending 30 MB takes seconds."""
    programs = Path(daemon.device.inside) / "pocketportrait"
    shutil.copytree(home / this_platform(), programs, symlinks=True)


@pytest.fixture
def target(daemon: Daemon, home: Path, bare: AdbTarget) -> AdbTarget:
    """A device that has been used before."""
    supply(daemon, home)
    return bare


def doubled(outcome: Outcome, job: Job) -> bool:
    return all(np.array_equal(outcome.outputs[n]["y"], 2 * f["x"]) for n, f in job.feeds.items())


def remains(daemon: Daemon) -> list[str]:
    return sorted(path.name for path in Path(daemon.device.inside).iterdir())


def test_a_job_passes_on_a_device_and_only_its_programs_stay_there(
    daemon: Daemon, bare: AdbTarget, job: Job
) -> None:
    outcome = execute(bare, dataclasses.replace(job, warmup=1, repeats=3, threads=1))
    assert doubled(outcome, job)
    assert outcome.device.engine == "onnxruntime"
    assert outcome.device.architecture == os.uname().machine
    assert outcome.timings is not None
    assert len(outcome.timings.passes_ms) == 3
    assert all(0 < took < 1000 for took in outcome.timings.passes_ms)
    assert remains(daemon) == ["pocketportrait"]
    before = daemon.device.free_bytes
    assert doubled(execute(bare, job), job)
    assert before - daemon.device.free_bytes < 100_000  # the runner and the library are there


def test_the_only_device_needs_no_name(daemon: Daemon, home: Path, job: Job) -> None:
    supply(daemon, home)
    target = AdbTarget(home=home, folder=daemon.device.inside)
    assert target.name == "adb"
    assert doubled(execute(target, job), job)


def test_of_two_devices_one_must_be_named(
    daemon: Daemon, home: Path, tmp_path: Path, job: Job
) -> None:
    with Daemon(here(tmp_path / "second")) as second:
        connected(second)
        target = AdbTarget(home=home)
        reason = str(target.probe().reason)
        assert "adb: want one device, got " in reason
        assert daemon.serial in reason
        assert second.serial in reason
        assert reason.endswith("name one: adb:SERIAL")
        with pytest.raises(Exception, match="want one device") as caught:
            execute(target, job)
        assert caught.value.exit_code is ExitCode.MISSING_TOOL  # type: ignore[attr-defined]
        supply(second, home)
        named = AdbTarget(second.serial, home=home, folder=second.device.inside)
        assert doubled(execute(named, job), job)
        adb("disconnect", second.serial)


def vanish_before_it_runs(daemon: Daemon) -> None:
    daemon.device.before = lambda device, command: (
        daemon.vanish() if runs(device, command) else None
    )


def vanish_after_it_ran(daemon: Daemon) -> None:
    daemon.device.after = lambda device, command: daemon.vanish() if runs(device, command) else None


def vanish_before_it_is_sent(daemon: Daemon) -> None:
    daemon.device.after = lambda _, command: daemon.vanish() if "mkdir" in command else None


@pytest.mark.parametrize(
    "fault", [vanish_before_it_is_sent, vanish_before_it_runs, vanish_after_it_ran]
)
def test_a_device_that_vanishes_is_an_error(
    daemon: Daemon, target: AdbTarget, job: Job, fault: type
) -> None:
    assert target.probe().available
    fault(daemon)
    with pytest.raises(TargetError, match=r"vanished|failed|want a folder there") as caught:
        execute(target, job)
    assert caught.value.exit_code is ExitCode.MISSING_TOOL


def after_the_run(daemon: Daemon, change: object) -> None:
    def hook(device: Device, command: str) -> None:
        if runs(device, command):
            (folder,) = Path(device.inside).glob("pocketportrait-*")
            change(folder)  # type: ignore[operator]

    daemon.device.after = hook


def cut(folder: Path) -> None:
    report = folder / "result.json"
    report.write_bytes(report.read_bytes()[:-40])


def other_nonce(folder: Path) -> None:
    report = folder / "result.json"
    text = report.read_text()
    start = text.index('"nonce": "') + len('"nonce": "')
    report.write_text(text[:start] + "0" * 32 + text[start + 32 :])


def other_output(folder: Path) -> None:
    np.savez(folder / "out" / "one.npz", y=np.zeros((1, 3, 4, 4), np.float32))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: (f / "result.json").unlink(), "want a report, got none"),
        (cut, "want a complete report"),
        (other_nonce, "got another nonce"),
        (other_output, "got another output of one"),
        (lambda f: (f / "out" / "two.npz").unlink(), "got another output of two"),
    ],
)
def test_a_report_that_is_cut_off_or_foreign_never_counts(
    daemon: Daemon, target: AdbTarget, job: Job, change: object, words: str
) -> None:
    after_the_run(daemon, change)
    with pytest.raises(TargetError, match=words):
        execute(target, job)
    assert remains(daemon) == ["pocketportrait"]


def test_a_model_that_changed_on_the_way_is_refused_by_the_device(
    daemon: Daemon, target: AdbTarget, job: Job
) -> None:
    def corrupt(device: Device, command: str) -> None:
        if runs(device, command):
            (model,) = Path(device.inside).glob("*/model.onnx")
            model.write_bytes(model.read_bytes()[:-1])

    daemon.device.before = corrupt
    with pytest.raises(InputError, match=r"model\.onnx: want sha256 .* send it again"):
        execute(target, job)


def test_a_runner_that_changed_on_the_way_is_not_started(
    daemon: Daemon, bare: AdbTarget, job: Job
) -> None:
    def corrupt(device: Device, command: str) -> None:
        if "chmod" in command:
            (Path(device.inside) / "pocketportrait" / RUNNER).write_bytes(b"other")

    daemon.device.after = corrupt
    with pytest.raises(TargetError, match=rf"{RUNNER}: want sha256 \w+ there, got \w+"):
        execute(bare, job)
    assert not [c for c in daemon.device.commands if runs(daemon.device, c)]


def test_a_disk_that_is_full_before_the_run_is_said(
    daemon: Daemon, bare: AdbTarget, job: Job
) -> None:
    daemon.device.free_bytes = 1000
    with pytest.raises(TargetError, match=r"the copy failed: .*No space left on device"):
        execute(bare, job)


def test_a_disk_that_fills_up_during_the_run_is_said(
    daemon: Daemon, target: AdbTarget, job: Job
) -> None:
    def fill(device: Device, command: str) -> None:
        if runs(device, command):
            (folder,) = Path(device.inside).glob("pocketportrait-*")
            (folder / "out").mkdir()
            (folder / "out" / "two.npz.part").symlink_to("/dev/full")

    daemon.device.before = fill
    with pytest.raises(TargetError, match=r"two\.npz: cannot be written: No space left"):
        execute(target, job)


def test_a_device_that_takes_too_long_is_not_waited_for(
    daemon: Daemon, target: AdbTarget, job: Job
) -> None:
    assert target.probe().available
    daemon.device.before = lambda d, command: time.sleep(3) if runs(d, command) else None
    with pytest.raises(TargetError, match="want a result within 1 s, got none"):
        execute(target, dataclasses.replace(job, timeout_s=1))


def test_a_device_that_is_emulated_reports_no_times(
    daemon: Daemon, home: Path, job: Job, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    getprop = tmp_path / "bin" / "getprop"
    getprop.write_text("#!/bin/sh\ncase $1 in *qemu) echo 1;; esac\n")
    getprop.chmod(0o755)
    daemon.device.environment = {"PATH": f"{getprop.parent}:{os.environ['PATH']}"}
    supply(daemon, home)
    target = AdbTarget(daemon.serial, home=home, folder=daemon.device.inside)
    outcome = execute(target, dataclasses.replace(job, repeats=2))
    assert outcome.emulated
    assert outcome.timings is None
    assert not target.traits.can_latency


def test_a_device_that_is_not_there_is_named_with_those_that_are(
    daemon: Daemon, home: Path
) -> None:
    reason = str(AdbTarget("R58M12", home=home).probe().reason)
    assert reason.startswith(f"adb:R58M12: want this device, got {daemon.serial};")


def test_a_runner_that_was_not_built_says_how(daemon: Daemon, tmp_path: Path) -> None:
    reason = str(AdbTarget(daemon.serial, home=tmp_path).probe().reason)
    assert f"want {RUNNER} for {this_platform()} in {tmp_path}" in reason


@pytest.mark.parametrize("serial", ["-d", "a b", "a;b", "$(id)"])
def test_a_serial_that_could_be_an_option_or_a_command_is_refused(serial: str) -> None:
    with pytest.raises(InputError, match="want a serial number"):
        AdbTarget(serial)


@pytest.mark.slow
def test_variants_pass_on_a_device_and_a_vanishing_one_fails_the_gate(
    tiny_bundle: Bundle, daemon: Daemon, target: AdbTarget
) -> None:
    report = verify(tiny_bundle, formats=["onnx", "tflite"], precisions=["fp32"], targets=[target])
    assert report.of(Status.FAIL, Status.SKIP) == ()
    vanish_before_it_runs(daemon)
    report = verify(tiny_bundle, formats=["onnx"], precisions=["fp32"], targets=[target])
    assert "vanished" in report.of(Status.FAIL)[0].message
    assert not [c for c in report.checks if c.target == target.name and c.kind == "golden"]
    assert report.exit_code() is ExitCode.GATE_FAILED
