"""Names of targets, what they promise, and what is said where one is not there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pocketportrait.cli import main
from pocketportrait.errors import InputError
from pocketportrait.runtime.targets import install, registry
from pocketportrait.runtime.targets.arm_profiles import PROFILES
from pocketportrait.runtime.targets.command import Ran
from pocketportrait.runtime.targets.local import EnvironmentTarget
from pocketportrait.runtime.targets.protocol import TargetError
from pocketportrait.runtime.targets.qemu import QemuTarget
from pocketportrait.runtime.targets.registry import FIXED, OPEN, default_targets, target_named
from pocketportrait.runtime.targets.ssh import SshTarget


@pytest.mark.parametrize(
    "name",
    [*FIXED, "ssh:pi@raspberry.local", "adb", "adb:127.0.0.1:5555", "adb:R58M12ABCDE", "iphone"],
)
def test_every_target_has_the_name_that_it_was_asked_for_by(name: str) -> None:
    assert target_named(name).name == name


def test_only_machines_that_are_really_there_may_report_times() -> None:
    traits = {name: target_named(name).traits for name in FIXED}
    assert all(t.can_latency for n, t in traits.items() if n.startswith(("local:", "mac:")))
    assert all(t.emulated for n, t in traits.items() if n.startswith(("qemu:", "oracle:")))
    assert not [n for n, t in traits.items() if t.emulated and t.can_latency]


@pytest.mark.parametrize("name", ["", "local", "local:oracle", "qemu:riscv", "ssh:", "ssh", "adb:"])
def test_an_unknown_target_is_refused_with_those_that_there_are(name: str) -> None:
    with pytest.raises(InputError, match=r"local:onnxruntime.*ssh:HOST, adb:SERIAL, iphone:NAME"):
        target_named(name)


@pytest.mark.parametrize("host", ["-oProxyCommand=x", "a b", "a;b", "$(id)", "a@-b", "a@b@c"])
def test_a_host_that_could_be_an_option_or_a_command_is_refused(host: str) -> None:
    with pytest.raises(InputError, match="want a host"):
        SshTarget(host)


def test_names_are_divided_at_commas_and_wanted_once() -> None:
    found = registry.targets_named(["local:litert, oracle:coreml", "qemu:arm64"])
    assert [t.name for t in found] == ["local:litert", "oracle:coreml", "qemu:arm64"]
    with pytest.raises(InputError, match="each name once, got local:litert"):
        registry.targets_named(["local:litert", "local:litert"])


def test_all_names_every_target_once_and_may_be_added_to() -> None:
    names = [t.name for t in registry.targets_named(["all,ssh:pi"])]
    assert names == [*(name for name in FIXED if name != "qemu:arm64"), "ssh:pi"]
    with pytest.raises(InputError, match="each name once, got local:litert"):
        registry.targets_named(["all", "local:litert"])


def test_a_runner_is_taken_for_the_format_that_has_it() -> None:
    assert [t.name for t in default_targets(["onnx", "coreml"], "oracle")] == ["oracle:coreml"]
    with pytest.raises(InputError, match="want one of onnxruntime, got 'oracle'"):
        default_targets(["onnx"], "oracle")


def test_what_is_not_installed_says_how_to_install_it(tmp_path: Path) -> None:
    for target, name in (
        (QemuTarget("qemu:arm64", "a76", tmp_path), "qemu-arm64"),
        (EnvironmentTarget(tmp_path), "tflite-runtime"),
    ):
        probe = target.probe()
        assert not probe.available
        assert str(probe.reason).endswith(f"run: pocketportrait targets install {name}")


def test_the_list_shows_every_target(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("POCKETPORTRAIT_TARGETS", str(tmp_path))
    assert main(["targets", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [*FIXED, *OPEN]
    (qemu,) = (line for line in lines if line.startswith("qemu:arm64-a53"))
    assert "targets install qemu-arm64 (onnx, tflite; emulated; parity, instructions)" in qemu


def test_installing_something_unknown_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "install", "qemu-riscv"]) == 2
    assert "want one of qemu-arm64, tflite-runtime" in capsys.readouterr().err


def test_a_package_that_cannot_be_had_is_quoted_and_nothing_counts_as_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Ran(100, "", "E: Unable to locate package qemu-user\n")
    monkeypatch.setattr(install, "run_command", lambda *_, **__: broken)
    monkeypatch.setattr(install.shutil, "which", lambda name: name)
    with pytest.raises(TargetError, match="qemu-user failed: E: Unable to locate"):
        install.install_target("qemu-arm64", folder=tmp_path)
    assert not QemuTarget("qemu:arm64", "a76", tmp_path / "qemu-arm64").probe().available


def test_modules_of_the_emulated_python_are_compiled_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = f"python3.{sys.version_info.minor}"
    sources = [tmp_path / "site/a.py", tmp_path / f"root/usr/lib/{own}/b.py"]
    for source in sources:
        source.parent.mkdir(parents=True)
        source.write_text("x = 1\n")
    told: list[str] = []
    install._compile_modules(tmp_path, own, told.append)
    assert told == []
    assert all(list(source.parent.glob(f"__pycache__/{source.stem}.*.pyc")) for source in sources)
    monkeypatch.setattr(install.shutil, "which", lambda name: None)
    install._compile_modules(tmp_path, "python3.99", told.append)
    assert told == ["no python3.99 here to compile modules: a job will take about twice as long"]


def test_a_cpu_is_described_as_it_is_emulated(tmp_path: Path) -> None:
    (tmp_path / "root" / "usr").mkdir(parents=True)
    for name, profile in PROFILES.items():
        root = tmp_path / "cpu" / name
        profile.write_root(root, tmp_path / "root")
        assert (root / "usr").resolve() == tmp_path / "root" / "usr"
        assert f"CPU part\t: {profile.part}" in (root / "proc" / "cpuinfo").read_text()
        assert ("asimddp" in profile.features) == (profile.qemu == "cortex-a76")  # dot products


def test_a_signal_that_ended_a_runner_has_a_name() -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGILL)"
    ran = subprocess.run([sys.executable, "-c", code], check=False)
    assert Ran(ran.returncode, "", "").died_of == "SIGILL"
    assert Ran(132, "", "").died_of == "SIGILL"
    assert Ran(0, "", "").died_of == ""
