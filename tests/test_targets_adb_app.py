"""The app on a device: the real adb client, a daemon of the tests, and an app that is acted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from android_demo.check.tiny_bundle import write_tiny_bundle
from pocketportrait.bundle import Bundle
from pocketportrait.cli.app import main
from pocketportrait.errors import InputError, MissingToolError
from pocketportrait.runtime.targets.adb_app import AdbApp, AppJob, app_named, precisions_for
from pocketportrait.runtime.targets.protocol import TargetError
from pocketportrait.validation.phone import check_on_phone
from pocketportrait.validation.report_record import read_result
from tests.adb_daemon import Daemon, Device
from tests.adb_device import adb, connected, here, own_server
from tests.phone_app import PhoneApp

pytestmark = pytest.mark.skipif(
    shutil.which("adb") is None, reason="no adb client here; run: make device-tools"
)


@pytest.fixture(scope="module", autouse=True)
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with own_server(tmp_path_factory.mktemp("adb-home")):
        yield


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("bundle") / "tiny"
    write_tiny_bundle(folder)
    return Bundle.open(folder)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with Daemon(here(tmp_path / "device")) as running:
        yield connected(running)
        adb("disconnect", running.serial)
    assert running.device.problems == []


@pytest.fixture
def phone(daemon: Daemon, tmp_path: Path) -> PhoneApp:
    app = PhoneApp(tmp_path / "app")
    app.install(daemon, tmp_path / "programs")
    return app


@pytest.fixture
def app(daemon: Daemon, phone: PhoneApp) -> AdbApp:
    return AdbApp(daemon.serial, folder=daemon.device.inside)


def remains(daemon: Daemon, phone: PhoneApp) -> list[str]:
    left = [*Path(daemon.device.inside).iterdir(), *(phone.home / "files").iterdir()]
    return sorted(path.name for path in left if path.name != "report.json")


def test_a_bundle_is_checked_by_the_app_and_nothing_stays_there(
    daemon: Daemon, phone: PhoneApp, app: AdbApp, bundle: Bundle
) -> None:
    jobs = [AppJob(bundle, "fp32", runs=4), AppJob(bundle, "fp32", "litert", "gpu", runs=4)]
    report = check_on_phone(app, jobs)
    assert report.exit_code() == 0
    assert [v.checks[1].target for v in report.verifications] == [
        "app:onnxruntime-cpu",
        "app:litert-gpu",
    ]
    assert [b.variants[0].frame_ms for b in report.benches] == [(10.0,) * 4] * 2
    (facts,) = report.bundles
    assert facts.name == "tiny"
    assert [(w["engine"], w["accel"], w["runs"]) for w in phone.asked] == [
        ("ort", "cpu", "4"),
        ("litert", "gpu", "4"),
    ]
    assert phone.asked[0]["nonce"] != phone.asked[1]["nonce"]
    assert remains(daemon, phone) == []


def dies(daemon: Daemon, phone: PhoneApp) -> None:
    def before(device: Device, command: str) -> None:
        if command.startswith("am "):
            daemon.vanish()

    daemon.device.before = before


def goes_silent(_: Daemon, phone: PhoneApp) -> None:
    phone.change_lines = lambda lines: lines[:2]


def is_cut(_: Daemon, phone: PhoneApp) -> None:
    phone.change_bytes = lambda data: data[:-100]


def tells_another_digest(_: Daemon, phone: PhoneApp) -> None:
    phone.change_lines = lambda lines: [
        *lines[:3],
        "INSTRUMENTATION_RESULT: sha256=" + "0" * 64,
        lines[4],
    ]


def tells_another_nonce(_: Daemon, phone: PhoneApp) -> None:
    phone.change_lines = lambda lines: ["INSTRUMENTATION_RESULT: nonce=" + "0" * 32, *lines[1:]]


def is_not_found(_: Daemon, phone: PhoneApp) -> None:
    phone.change_lines = lambda _: [
        "INSTRUMENTATION_STATUS: Error=Unable to find instrumentation info for: ComponentInfo{x}",
        "INSTRUMENTATION_STATUS_CODE: -1",
        "android.util.AndroidException: INSTRUMENTATION_FAILED: x",
    ]


def crashes(_: Daemon, phone: PhoneApp) -> None:
    phone.change_lines = lambda _: [
        "INSTRUMENTATION_RESULT: shortMsg=Process crashed.",
        "INSTRUMENTATION_CODE: 0",
    ]


def has_a_full_disk(daemon: Daemon, _: PhoneApp) -> None:
    daemon.device.free_bytes = 100


def cannot_hold_the_copy(daemon: Daemon, phone: PhoneApp) -> None:
    def after(device: Device, command: str) -> None:
        if " cp " in command:
            for file in (phone.home / "files").rglob("*.zip"):
                file.write_bytes(file.read_bytes()[:100])

    daemon.device.after = after


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (dies, "vanished: the device is"),
        (goes_silent, "got: it never came to an end"),
        (is_cut, "want the report with sha256"),
        (tells_another_digest, "want the report with sha256 0{64}"),
        (tells_another_nonce, "want the nonce .* got 0{32}"),
        (is_not_found, "got: Unable to find instrumentation info"),
        (crashes, r"got: Process crashed\."),
        (has_a_full_disk, "No space left on device"),
        (cannot_hold_the_copy, "the app's copy of the bundle is another"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_phone_that_misbehaves_is_never_believed(
    daemon: Daemon,
    phone: PhoneApp,
    app: AdbApp,
    bundle: Bundle,
    fault: Callable[[Daemon, PhoneApp], None],
    words: str,
) -> None:
    fault(daemon, phone)
    with pytest.raises(TargetError, match=words):
        check_on_phone(app, [AppJob(bundle, "fp32", runs=2)])
    if daemon.device.alive:
        assert remains(daemon, phone) == []


def test_a_report_from_before_is_not_taken_for_this_one(
    daemon: Daemon, phone: PhoneApp, app: AdbApp, bundle: Bundle
) -> None:
    app.run(AppJob(bundle, "fp32", runs=2))
    act = daemon.device.before

    def before(device: Device, command: str) -> None:
        act(device, command)
        if command.startswith("am "):
            assert (phone.home / "files" / "report.json").unlink() is None

    daemon.device.before = before
    with pytest.raises(TargetError, match="got 0 bytes"):
        app.run(AppJob(bundle, "fp32", runs=2))


def test_an_app_that_is_not_there_is_said_with_what_to_do(daemon: Daemon, bundle: Bundle) -> None:
    app = AdbApp(daemon.serial, folder=daemon.device.inside)
    with pytest.raises(MissingToolError, match=r"want a debug build of dev\.pocketportrait\.demo"):
        app.run(AppJob(bundle, "fp32"))


def test_of_two_phones_one_must_be_named(
    daemon: Daemon, phone: PhoneApp, bundle: Bundle, tmp_path: Path
) -> None:
    with Daemon(here(tmp_path / "second")) as second:
        connected(second)
        with pytest.raises(MissingToolError, match=r"want one device, got .*, .*name one"):
            AdbApp().run(AppJob(bundle, "fp32"))
        adb("disconnect", second.serial)


def test_a_phone_that_is_too_slow_is_stopped(
    daemon: Daemon, phone: PhoneApp, app: AdbApp, bundle: Bundle
) -> None:
    (phone.home.parent / "programs" / "am").write_text("#!/bin/sh\nexec sleep 2\n")
    with pytest.raises(TargetError, match="want a result within 1 s"):
        app.run(AppJob(bundle, "fp32", timeout_s=1.0))
    assert any(command.startswith("am force-stop") for command in daemon.device.commands)


def test_what_is_asked_for_must_be_had(bundle: Bundle) -> None:
    assert precisions_for(bundle, "ort") == ("fp32", "w8")
    for words, make in (
        ("want ort on cpu, litert on cpu, litert on gpu, got ort on gpu", ("fp32", "ort", "gpu")),
        ("tflite/w4: not in this bundle", ("w4", "litert", "cpu")),
    ):
        with pytest.raises(InputError, match=words):
            AppJob(bundle, *make)
    with pytest.raises(InputError, match="want an engine"):
        precisions_for(bundle, "nnapi")
    for name in ("adb:", "ssh:host", "adb:-s"):
        with pytest.raises(InputError, match="want"):
            app_named(name)


def test_the_command_prints_and_writes_what_the_phone_found(
    daemon: Daemon,
    phone: PhoneApp,
    bundle: Bundle,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(AdbApp.__init__, "__kwdefaults__", {"folder": daemon.device.inside})
    record, junit = tmp_path / "phone.json", tmp_path / "phone.xml"
    words = ["targets", "app", str(bundle.root), "--device", f"adb:{daemon.serial}", "--runs", "2"]
    assert main([*words, "--json", str(record), "--junit", str(junit)]) == 0
    said = capsys.readouterr().out
    assert "onnx/fp32 (onnxruntime cpu): 10.0 ms a frame" in said
    assert "onnx/w8" in said
    assert len(read_result(record).verifications) == 2
    assert json.loads(record.read_text())["kind"] == "report"
    assert b"app:onnxruntime-cpu" in junit.read_bytes()
