"""A real Ctrl-C and a real kill, in the middle of a real command: the old file stays, whole."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PATIENCE_S = 60
OLD = b"what was here before"
# the samples through the package's own bundle: seconds of work
COMMAND = [sys.executable, "-m", "pocketportrait", "animate"]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "film.mp4").write_bytes(OLD)
    return folder / "film.mp4"


def stop_in_the_middle(out: Path, how: signal.Signals) -> tuple[int, str]:
    """Start the command, wait until it writes, stop it; return its exit status and its words."""
    process = subprocess.Popen(
        [*COMMAND, "-o", str(out)],
        stderr=subprocess.PIPE,
        text=True,
        # a shell's background job, which a CI may be, has Ctrl-C switched off and hands that on
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + PATIENCE_S
    while not any(f.stat().st_size for f in out.parent.iterdir() if f != out):
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < deadline, "it never began to write"
        time.sleep(0.02)
    process.send_signal(how)
    _, words = process.communicate(timeout=PATIENCE_S)
    return process.returncode, words


@pytest.mark.parametrize(("how", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_and_sigterm_leave_the_old_file_and_nothing_beside_it(
    out: Path, how: signal.Signals, status: int
) -> None:
    code, words = stop_in_the_middle(out, how)
    assert code == status
    assert "Traceback" not in words
    assert out.read_bytes() == OLD
    assert list(out.parent.iterdir()) == [out]


def test_kill_leaves_the_old_file(out: Path) -> None:
    code, _ = stop_in_the_middle(out, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert out.read_bytes() == OLD
