"""What the Android checks fetch: from private lists of this machine's sources, tried again, or told."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from android_demo.check import toolchain
from android_demo.check.debian import Debian, with_sources
from pocketportrait.errors import MissingToolError


def test_sources_are_named_beside_packages_in_both_forms() -> None:
    stanza = "# a mirror\nTypes: deb\nURIs: http://mirror/debian\nSuites: stable\n"
    assert with_sources(stanza) == stanza.replace("Types: deb", "Types: deb deb-src")
    line = "deb [signed-by=/k.gpg] http://mirror/debian stable main\n"
    both = line + line.replace("deb ", "deb-src ", 1)
    assert with_sources(line) == both
    assert with_sources(both) == both


def test_lists_are_fetched_once_and_only_of_debian(tmp_path: Path) -> None:
    machine = tmp_path / "etc"
    (machine / "sources.list.d").mkdir(parents=True)
    (machine / "sources.list").write_text("deb http://mirror/debian stable main\n")
    (machine / "sources.list.d" / "other.list").write_text("deb http://elsewhere/node x main\n")
    asked: list[Sequence[str]] = []
    debian = Debian(
        tmp_path / "lists", lambda command, folder: asked.append(command), sources=machine
    )
    debian.unpack(("junit4",), tmp_path)
    debian.unpack(("hamcrest",), tmp_path)
    assert [command[-1] for command in asked] == ["update", "junit4", "hamcrest"]
    kept = {file.name: file.read_text() for file in (tmp_path / "lists" / "sources").iterdir()}
    assert list(kept) == ["sources.list"]
    assert "deb-src http://mirror/debian stable main" in kept["sources.list"]
    options = " ".join(asked[0])
    assert f"Dir::State::lists={tmp_path}/lists/lists" in options  # never those of the machine
    debian.close()
    assert not (tmp_path / "lists").exists()


def test_a_download_that_fails_is_tried_again_from_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toolchain, "PAUSES_S", (0, 0))
    place, said, tries = tmp_path / "kotlin", [], []

    def fetch(folder: Path) -> None:
        assert list(folder.iterdir()) == []
        (folder / "half").touch()
        tries.append(folder)
        if len(tries) < 3:
            raise MissingToolError("npm pack failed: ECONNRESET")

    toolchain._fetch_once(place, "2", fetch, said.append)
    assert len(tries) == 3
    assert said[1] == "npm pack failed: ECONNRESET; again in 0 s"
    toolchain._fetch_once(place, "2", fetch, said.append)
    assert len(tries) == 3  # it is there
    toolchain._fetch_once(place, "3", fetch, said.append)
    assert len(tries) == 4  # another version is fetched


def test_a_download_that_fails_always_ends_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toolchain, "PAUSES_S", (0, 0))

    def fetch(folder: Path) -> None:
        raise MissingToolError("npm pack failed: 404")

    with pytest.raises(MissingToolError, match="npm pack failed: 404"):
        toolchain._fetch_once(tmp_path / "kotlin", "2", fetch, lambda line: None)
    assert not (tmp_path / "kotlin" / ".complete").exists()


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="no Debian")
def test_missing_programs_are_named_with_their_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("apt-get", "npm"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingToolError) as error:
        toolchain.fetch_tools(lambda line: None)
    assert str(error.value).endswith(
        "want javac, adb, found none; as root on Debian:"
        " apt-get install --no-install-recommends default-jdk-headless adb"
    )


def test_ci_tells_who_cannot_install_what_is_missing(tmp_path: Path) -> None:
    """Runs the script as nobody's root: `id -u` says 1000, and only the shell's own tools are there."""
    (tmp_path / "dirname").symlink_to(shutil.which("dirname") or "dirname")
    (tmp_path / "id").write_text("#!/bin/bash\necho 1000\n")
    (tmp_path / "id").chmod(stat.S_IRWXU)
    script = Path(__file__).resolve().parent.parent / ".ci" / "run"
    bash = shutil.which("bash") or "bash"
    ran = toolchain.run_command(
        [bash, script, "check"], timeout_s=30, environment={"PATH": str(tmp_path)}
    )
    assert ran.status == 3
    assert ran.said.strip() == (
        "error: want make gcc default-jdk-headless npm adb libc6-dev python3-venv, found none;"
        " as root on Debian: apt-get install make gcc default-jdk-headless npm adb libc6-dev python3-venv"
    )
