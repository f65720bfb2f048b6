"""The adb target against a device that is arm64 throughout, under QEMU: the real client, the real kernels."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pocketportrait.bundle import Bundle
from pocketportrait.runtime.targets.adb import AdbTarget
from pocketportrait.runtime.targets.place import targets_folder
from pocketportrait.runtime.targets.qemu import QEMU_ARM64
from pocketportrait.validation.checks import Status
from pocketportrait.validation.verify import verify
from tests.adb_daemon import Daemon, Device
from tests.adb_device import connected, own_server
from tests.native_runner import make_home

QEMU = targets_folder() / QEMU_ARM64  # of the user: asked before the tests take another home
CROSS_COMPILER = "aarch64-linux-gnu-gcc"
APPLETS = ("sh", "uname", "mkdir", "rm", "ls", "chmod", "sha256sum", "echo")
GETPROP = "#!/system/bin/sh\ncase $1 in *qemu) echo 1;; esac\n"


@pytest.fixture(scope="module", autouse=True)
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with own_server(tmp_path_factory.mktemp("adb-home")):
        yield


@pytest.fixture
def arm64(tmp_path: Path) -> Device:
    """A device whose shell and programs are arm64 ones, under QEMU in a root of their own."""
    root, busybox = tmp_path / "root", QEMU / "root" / "bin" / "busybox"
    missing = [name for name in ("adb", "proot", CROSS_COMPILER) if shutil.which(name) is None]
    if missing or not busybox.is_file():
        pytest.skip(
            f"no {', '.join(missing) or busybox}; run: make device-tools,"
            " pocketportrait targets install qemu-arm64"
        )
    programs = root / "system" / "bin"
    programs.mkdir(parents=True)
    (root / "data" / "local" / "tmp").mkdir(parents=True)
    shutil.copy(busybox, programs)
    for applet in APPLETS:
        (programs / applet).symlink_to("busybox")
    (programs / "getprop").write_text(GETPROP)
    (programs / "getprop").chmod(0o755)
    bound = {"/dev/null": "/dev/null", "/dev/urandom": "/dev/urandom"}
    bound |= {str(QEMU / "root" / name): f"/{name}" for name in ("lib", "usr")}
    bound |= {str(QEMU / "cpu" / "a76" / name): f"/{name}" for name in ("proc", "sys")}
    binds = [part for a, b in bound.items() for part in ("-b", f"{a}:{b}")]
    emulator = f"{QEMU}/host/usr/bin/qemu-aarch64 -cpu cortex-a76"
    libraries = sorted(map(str, (QEMU / "host" / "usr" / "lib").glob("*-linux-gnu")))
    return Device(
        root,
        ["proot", "-q", emulator, "-r", str(root), *binds, "-w", "/", "/system/bin/sh", "-c"],
        environment={
            "PATH": f"/system/bin:{os.environ['PATH']}",
            "LD_LIBRARY_PATH": os.pathsep.join([f"{QEMU}/host/usr/lib", *libraries]),
        },
    )


@pytest.mark.slow
def test_arm64_kernels_on_a_device_compute_what_torch_computed(
    tiny_bundle: Bundle, arm64: Device, tmp_path: Path
) -> None:
    site = QEMU / "site"
    libraries = {
        "onnxruntime": next(site.glob("onnxruntime/capi/libonnxruntime.so.*")),
        "litert": site / "ai_edge_litert" / "libLiteRt.so",
    }
    home = make_home(tmp_path / "home", "linux-aarch64", CROSS_COMPILER, libraries)
    with Daemon(arm64) as running:
        target = AdbTarget(connected(running).serial, home=home)
        report = verify(
            tiny_bundle, formats=["onnx", "tflite"], precisions=["fp32"], targets=[target]
        )
    assert arm64.problems == []
    assert report.of(Status.FAIL, Status.SKIP) == ()
    (facts,) = report.targets
    assert facts.emulated
    assert facts.device is not None
    assert facts.device.architecture == "aarch64"
    assert "part 0xd0b" in facts.device.processor  # the A76 that is emulated
    assert "_ms" not in report.model_dump_json()
