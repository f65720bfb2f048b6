"""Zip files that must not be unpacked."""

import stat
import zipfile
from pathlib import Path

import pytest

from pocketportrait.bundle import Bundle
from pocketportrait.errors import InputError


def zip_of(path: Path, *entries: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries:
            file.writestr(name, content)
    return path


def link(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


@pytest.mark.parametrize("name", ["../out", "/tmp/out", "a/../../out", "a\\out", "C:out"])
def test_paths_outside_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="want a relative path inside the bundle"):
        Bundle.open(zip_of(tmp_path / "b.zip", (name, b"x")))
    assert [p.name for p in tmp_path.iterdir()] == ["b.zip"]


def test_links_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="want plain files, got a link"):
        Bundle.open(zip_of(tmp_path / "b.zip", (link("a"), b"/etc/passwd")))


def test_a_bomb_is_refused_by_its_ratio(tmp_path: Path) -> None:
    with pytest.raises(
        InputError,
        match=r"manifest.json: want at most 200 bytes from one, got \d+; .*archive_ratio=N",
    ):
        Bundle.open(zip_of(tmp_path / "b.zip", ("manifest.json", bytes(5 * 2**20))))


def test_a_bomb_is_refused_by_its_size_and_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = zip_of(tmp_path / "b.zip", ("a", b"12345"), ("b", b"12345"))
    monkeypatch.setenv("POCKETPORTRAIT_LIMITS", "archive_bytes=9")
    with pytest.raises(InputError, match="want at most"):
        Bundle.open(path)
    monkeypatch.setenv("POCKETPORTRAIT_LIMITS", "archive_bytes=10 archive_files=1")
    with pytest.raises(InputError, match="want at most"):
        Bundle.open(path)


def test_an_entry_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "b.zip", ("manifest.json", b"x" * 1000))
    data = path.read_bytes().replace((1000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    path.write_bytes(data)
    with pytest.raises(InputError, match="want a bundle"):
        Bundle.open(path)


def test_names_that_differ_in_case_alone_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="each name once"):
        Bundle.open(zip_of(tmp_path / "b.zip", ("a", b"1"), ("A", b"2")))


@pytest.mark.parametrize("content", [b"", b"PK", b"a" * 5000, b"PK\x03\x04" + bytes(100)])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "b.zip").write_bytes(content)
    with pytest.raises(InputError, match="want a bundle"):
        Bundle.open(tmp_path / "b.zip")


def test_a_truncated_zip_is_refused(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "b.zip", ("manifest.json", b"{}"))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match="want a bundle"):
        Bundle.open(path)
