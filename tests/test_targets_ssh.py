"""The ssh target against a real sshd on this machine, with a throwaway key and configuration."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pocketportrait.bundle import Bundle
from pocketportrait.errors import ExitCode
from pocketportrait.runtime.targets.protocol import TargetError
from pocketportrait.runtime.targets.ssh import SshTarget
from pocketportrait.validation.checks import Status
from pocketportrait.validation.verify import verify

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:" + os.environ.get("PATH", ""))
pytestmark = pytest.mark.skipif(
    SSHD is None or shutil.which("ssh-keygen") is None,
    reason="no sshd here; install openssh-server",
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A running sshd that lets one key in, and the client's configuration for it as host `device`."""
    folder = tmp_path_factory.mktemp("sshd")
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True)
    shutil.copy(folder / "user.pub", folder / "authorized")
    port = free_port()
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\n"
        f"AuthorizedKeysFile {folder / 'authorized'}\nPidFile none\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nPermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n"
    )
    client = folder / "config"
    client.write_text(
        f"Host device\n  HostName 127.0.0.1\n  Port {port}\n  IdentityFile {folder / 'user'}\n"
        f"  IdentitiesOnly yes\n  UserKnownHostsFile {folder / 'known'}\n"
        "  StrictHostKeyChecking accept-new\nHost nobody\n  HostName 127.0.0.1\n"
        f"  Port {free_port()}\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd locks itself in, or it does not start
    assert SSHD is not None
    log = folder / "log"
    with log.open("wb") as said:
        server = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stdout=said, stderr=said
        )
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert server.poll() is None, log.read_text()
            time.sleep(0.1)
        yield client
    finally:
        server.terminate()
        server.wait()


def remains() -> set[Path]:
    return set(Path("/tmp").glob("pocketportrait.*"))


def test_a_variant_passes_on_a_host_and_nothing_stays_there(
    tiny_bundle: Bundle, config: Path
) -> None:
    before = remains()
    target = SshTarget("device", config=config, python=sys.executable)
    report = verify(tiny_bundle, formats=["onnx"], precisions=["fp32"], targets=[target])
    assert report.of(Status.FAIL, Status.SKIP) == ()
    there = [c for c in report.checks if c.target == "ssh:device"]
    assert {c.kind for c in there} == {"specs", "golden", "fresh", "repeat", "here"}
    (facts,) = report.targets
    assert facts.device is not None
    assert facts.device.engine == "onnxruntime"
    assert remains() == before


def test_a_host_that_does_not_answer_is_skipped_and_strict_says_so(
    tiny_bundle: Bundle, config: Path
) -> None:
    target = SshTarget("nobody", config=config)
    report = verify(tiny_bundle, formats=["onnx"], precisions=["fp32"], targets=[target])
    messages = {c.message for c in report.of(Status.SKIP)}
    assert len(messages) == 1
    assert "ssh:nobody: is not reachable" in messages.pop()
    assert report.exit_code(strict=True) is ExitCode.MISSING_TOOL


def test_a_program_is_quoted_and_one_that_is_not_there_is_named(
    config: Path, tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    python = f"no such python; touch {marker}"
    reason = SshTarget("device", config=config, python=python).probe().reason
    assert reason is not None
    assert reason.startswith(f"ssh:device: want {python} with numpy")
    assert "No such file" in reason or "not found" in reason
    assert not marker.exists()


def test_a_host_that_vanishes_in_the_middle_fails_and_never_passes(
    tiny_bundle: Bundle, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = remains()
    target = SshTarget("device", config=config, python=sys.executable)

    def vanish(*_: object) -> None:
        monkeypatch.setattr(target, "_host", "nobody")
        raise TargetError("ssh:device: is not reachable: Connection closed")

    monkeypatch.setattr(target, "_execute", vanish)
    report = verify(tiny_bundle, formats=["onnx"], precisions=["fp32"], targets=[target])
    assert "not reachable" in report.of(Status.FAIL)[0].message
    assert not [c for c in report.checks if c.target == target.name and c.kind == "golden"]
    assert report.exit_code() is ExitCode.GATE_FAILED
    for left in remains() - before:  # nobody could be asked to remove it
        shutil.rmtree(left)
