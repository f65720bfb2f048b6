"""What adb and phones say, as their sources print it, and what becomes of it; no adb is needed."""

from __future__ import annotations

import pytest

from pocketportrait.runtime.targets import adb_client
from pocketportrait.runtime.targets.adb import Platform, platform_of
from pocketportrait.runtime.targets.adb_client import AdbClient, told
from pocketportrait.runtime.targets.command import Ran
from pocketportrait.runtime.targets.protocol import TargetError

HEAD = "List of devices attached\n"
STARTING = "* daemon not running; starting now at tcp:5037\n* daemon started successfully\n"
DENIED = (
    "no permissions (user in plugdev group; are your udev rules wrong?);"
    " see [http://developer.android.com/tools/device.html]"
)


def ran(out: str, status: int = 0) -> Ran:
    return Ran(status, out, out)


@pytest.mark.parametrize(
    ("listed", "serial", "words"),
    [
        ("", "", "adb: want one device, got none; connect one"),
        ("A1\tdevice\nB2\toffline\n", "", "adb: want one device, got A1, B2; .*adb:SERIAL"),
        ("A1\tdevice\n", "B2", "adb: want this device, got A1; connect it"),
        ("A1\tunauthorized\n", "A1", "one that is unauthorized; accept this computer's key"),
        ("A1\toffline\n", "", "one that is offline; reconnect it"),
        (f"A1\t{DENIED}\n", "", "one that is no permissions; install android-sdk"),
        ("A1\trecovery\n", "", "one that is recovery; see: adb devices"),
    ],
)
def test_a_device_that_cannot_be_used_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, listed: str, serial: str, words: str
) -> None:
    monkeypatch.setattr(adb_client.shutil, "which", lambda name: name)
    monkeypatch.setattr(adb_client, "run_command", lambda *_, **__: ran(STARTING + HEAD + listed))
    reason = AdbClient("adb", serial).missing()
    with pytest.raises(LookupError, match=words):
        raise LookupError(reason)


def test_a_client_that_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adb_client.shutil, "which", lambda _: None)
    assert "want the program adb, got none" in str(AdbClient("adb:A1", "A1").missing())


def test_words_of_a_command_are_quoted_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []

    def record(arguments: list[str], **_: object) -> Ran:
        calls.append(arguments)
        return ran("")

    monkeypatch.setattr(adb_client, "run_command", record)
    AdbClient("adb:A1", "A1").shell(["ls", "a b", "$(id)", "it's"])
    assert calls == [["adb", "-s", "A1", "shell", "ls 'a b' '$(id)' 'it'\"'\"'s'"]]


@pytest.mark.parametrize(
    ("answer", "platform"),
    [
        ("Linux\naarch64\n14\narm64-v8a\n\n\n", Platform("android-arm64-v8a", False)),
        ("Linux\naarch64\n16\narm64-v8a\n\n1\n", Platform("android-arm64-v8a", True)),
        ("Linux\nx86_64\n9\nx86_64\n1\n\n", Platform("android-x86_64", True)),
        ("Linux\naarch64\n\n\n\n\n", Platform("linux-aarch64", False)),
    ],
)
def test_a_device_is_known_by_what_it_answers(answer: str, platform: Platform) -> None:
    assert platform_of(ran(answer)) == platform
    assert platform_of(ran(answer.replace("\n", "\r\n"))) == platform


@pytest.mark.parametrize(
    "answer", ["", "error: closed\n", "Linux\n", "Linux\naarch64\n14\n../../etc\n\n\n"]
)
def test_a_device_that_answers_something_else_is_refused(answer: str) -> None:
    with pytest.raises(TargetError, match="want the device's system and CPU, got"):
        platform_of(ran(answer))


def test_the_error_is_told_and_not_the_summary_after_it() -> None:
    failed = "adb: error: failed to copy 'a' to '/b': remote No space left on device\n"
    assert told(ran(failed + "0 files pushed. 9.8 MB/s\n", 1)) == failed.strip()
    assert told(ran("ls: /x: no such file\n", 1)) == "ls: /x: no such file"
    assert told(ran("", 137)) == "nothing, status 137"
