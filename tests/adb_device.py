"""What tests of adb share: a server of their own, and devices that connect to it."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.adb_daemon import Daemon, Device


@contextlib.contextmanager
def own_server(home: Path) -> Iterator[None]:
    """Run an adb server of our own: no developer's phone is seen, no key of theirs is used."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
        patch.setenv("HOME", str(home))
        patch.setenv("ADB_LOCAL_TRANSPORT_MAX_PORT", "5553")  # it looks for emulators from 5554
        yield
        adb("kill-server")


def adb(*arguments: str) -> str:
    """Call the client; returns what it printed."""
    done = subprocess.run(["adb", *arguments], check=False, capture_output=True, text=True)
    return done.stdout


def connected(daemon: Daemon) -> Daemon:
    """Connect a daemon and wait until it is ready."""
    adb("connect", daemon.serial)
    for _ in range(100):
        if f"{daemon.serial}\tdevice" in (listed := adb("devices")):
            return daemon
        time.sleep(0.05)
    raise AssertionError(listed)


def here(folder: Path) -> Device:
    """Make a device whose shell is this machine's, with its files in a folder."""
    folder.mkdir()
    return Device(Path("/"), ["sh", "-c"], inside=str(folder))
