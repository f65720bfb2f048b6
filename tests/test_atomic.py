"""Every border of writing: the old file, zip or bundle is whole or the new one is, and nothing else stays."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pocketportrait import atomic
from pocketportrait.bundle import Bundle, BundleWriter, place
from pocketportrait.errors import InputError
from tests.faults import borders, kill

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="locks and /proc of Linux")
OLD, NEW = "old", "new"


def write_file(path: Path, licence: str) -> None:
    atomic.write_bytes(path, licence.encode() * 1000)


def read_file(path: Path) -> str:
    text = path.read_text()
    assert text in (OLD * 1000, NEW * 1000)
    return text[:3]


def write_bundle(path: Path, licence: str) -> None:
    with BundleWriter(path) as writer:
        for number in range(3):
            (writer.folder / f"{number}.txt").write_text(licence)
        writer.finish(
            graphs={}, code_slices={}, golden={}, tools={}, licence=licence, model={}
        ).close()


def read_bundle(path: Path) -> str:
    with Bundle.open(path) as bundle:
        texts = {(bundle.root / f"{number}.txt").read_text() for number in range(3)}
        assert texts == {bundle.manifest.licence}
        return bundle.manifest.licence


CASES = {
    "a.json": (write_file, read_file),
    "bundle": (write_bundle, read_bundle),
    "bundle.zip": (write_bundle, read_bundle),
}
Case = tuple[str, Callable[[Path, str], None], Callable[[Path], str]]


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return (request.param, *CASES[request.param])


def count_borders(folder: Path, case: Case) -> int:
    name, write, _ = case
    write(folder / name, OLD)
    with borders(folder) as seen:
        write(folder / name, NEW)
    shutil.rmtree(folder)
    folder.mkdir()
    return seen.count


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


def test_a_fault_at_any_border_leaves_the_old_or_the_new(folder: Path, case: Case) -> None:
    name, write, read = case
    count = count_borders(folder, case)
    assert count >= 3  # at least: made, synced, renamed
    for number in range(count):
        write(folder / name, OLD)
        # a fault behind the last rename is told, or changes nothing
        with borders(folder, number) as seen, contextlib.suppress(InputError):
            write(folder / name, NEW)
        border = f"{number}: {seen.names[number]}"
        assert read(folder / name) in (OLD, NEW), border
        assert [p.name for p in folder.iterdir()] == [name], border
        write(folder / name, NEW)
        assert read(folder / name) == NEW


def test_a_kill_at_any_border_leaves_the_old_or_the_new_and_a_rerun_clears_up(
    folder: Path, case: Case
) -> None:
    name, write, read = case
    for number in range(count_borders(folder, case)):
        write(folder / name, OLD)
        child = os.fork()
        if child == 0:
            with borders(folder, number, kill):
                write(folder / name, NEW)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL
        assert read(folder / name) in (OLD, NEW)
        write(folder / name, NEW)
        assert read(folder / name) == NEW
        assert [p.name for p in folder.iterdir()] == [name]


def test_a_disk_without_exchange_restores_the_old_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "_exchange", lambda one, other: False)
    write_bundle(folder / "b", OLD)
    write_bundle(folder / "b", NEW)
    assert read_bundle(folder / "b") == NEW
    place.restore(folder / "b")
    (folder / "b").rename(folder / f".b.{place.OLD}")  # as a kill between the renames leaves it
    place.restore(folder / "b")
    assert read_bundle(folder / "b") == NEW
    assert [p.name for p in folder.iterdir()] == ["b"]


def test_a_living_writer_is_left_alone(folder: Path) -> None:
    path = folder / "a.txt"
    with atomic.replacing(path) as first:
        first.write_text(OLD)
        atomic.write_bytes(path, NEW.encode())
        assert first.exists()
    assert path.read_text() == OLD
    with atomic.making_folder(path) as made:
        atomic.clear_leftovers(path)
        assert made.is_dir()
    assert [p.name for p in folder.iterdir()] == ["a.txt"]


def test_only_our_own_leftovers_are_removed(folder: Path) -> None:
    others = [".a.0123abcd.txt", ".a.part-xyz.txt", ".b.part-0123abcd.txt", ".a.part-0123abcd.json"]
    for name in (*others, ".a.part-0123abcd.txt"):
        (folder / name).write_text("")
    atomic.write_bytes(folder / "a.txt", b"")
    assert sorted(p.name for p in folder.iterdir()) == sorted([*others, "a.txt"])


LOOP = """
import sys
from pathlib import Path
from tests.test_atomic import CASES
name, mine = sys.argv[2:]
for _ in range(12):
    CASES[name][0](Path(sys.argv[1], name), mine)
"""


@pytest.mark.parametrize("name", ["a.json", "bundle"])
def test_two_processes_on_one_output(folder: Path, name: str) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", LOOP, folder, name, mine],
            cwd=Path(__file__).parents[1],
            stderr=subprocess.PIPE,
        )
        for mine in (OLD, NEW)
    ]
    for writer in writers:
        _, words = writer.communicate(timeout=300)
        assert writer.returncode == 0, words.decode()
    assert CASES[name][1](folder / name) in (OLD, NEW)
    assert [p.name for p in folder.iterdir()] == [name]


@pytest.mark.parametrize("hours", [-30_000, 30_000])
def test_a_clock_that_jumps_changes_nothing(
    folder: Path, case: Case, hours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, write, read = case
    write(folder / name, OLD)
    now = time.time()
    os.utime(folder / name, (now + hours * 3600,) * 2)
    monkeypatch.setattr(time, "time", lambda: now - hours * 3600)
    write(folder / name, NEW)
    assert read(folder / name) == NEW


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("a disk of 64 KiB needs root and mount")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_keeps_the_old_one(small_disk: Path, case: Case) -> None:
    name, write, read = case
    write(small_disk / name, OLD)
    with (small_disk / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1024))
    with pytest.raises(InputError, match="No space left"):
        write(small_disk / name, NEW)
    assert read(small_disk / name) == OLD
    assert sorted(p.name for p in small_disk.iterdir()) == sorted([name, "filler"])
    (small_disk / "filler").unlink()
    write(small_disk / name, NEW)
    assert read(small_disk / name) == NEW


@pytest.fixture
def read_only_disk(small_disk: Path, case: Case) -> Iterator[Path]:
    case[1](small_disk / case[0], OLD)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    yield small_disk
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)


def test_a_read_only_disk_is_said(read_only_disk: Path, case: Case) -> None:
    name, write, read = case
    with pytest.raises(InputError, match="want a writable place, got: Read-only file system"):
        write(read_only_disk / name, NEW)
    assert read(read_only_disk / name) == OLD
