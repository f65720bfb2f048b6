"""A signed bundle is trusted until one byte of it changes."""

import shutil
from pathlib import Path

import pytest

from pocketportrait.bundle import Bundle, BundleWriter
from pocketportrait.bundle.signature import (
    SIGNATURE,
    SignatureError,
    check_signature,
    make_key,
    sign,
)
from pocketportrait.cli import main
from pocketportrait.errors import InputError

pytest.importorskip("cryptography", reason="extra provenance")


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "ours.pem"
    assert make_key(path) == path.with_name("ours.pem.pub")
    assert path.stat().st_mode & 0o077 == 0
    return path


def public(key: Path) -> Path:
    return key.with_name(key.name + ".pub")


@pytest.fixture(params=["bundle", "bundle.zip"])
def signed(request: pytest.FixtureRequest, tmp_path: Path, key: Path) -> Path:
    path = tmp_path / str(request.param)
    with BundleWriter(path) as writer:
        (writer.folder / "a.txt").write_bytes(b"content")
        writer.finish(
            graphs={}, code_slices={}, golden={}, tools={}, licence="ours", model={}
        ).close()
    sign(path, key)
    return path


def test_a_signed_bundle_is_trusted(signed: Path, key: Path) -> None:
    with Bundle.open(signed) as bundle:
        check_signature(bundle, public(key))
    sign(signed, key)  # again
    with Bundle.open(signed) as bundle:
        check_signature(bundle, public(key))


def test_another_key_is_not_trusted(signed: Path, tmp_path: Path) -> None:
    other = make_key(tmp_path / "other.pem")
    with Bundle.open(signed) as bundle, pytest.raises(SignatureError, match="do not use it"):
        check_signature(bundle, other)


def test_a_bundle_without_a_signature_is_not_trusted(signed: Path, key: Path) -> None:
    if signed.is_dir():
        (signed / SIGNATURE).unlink()
        with Bundle.open(signed) as bundle, pytest.raises(SignatureError, match="without a sign"):
            check_signature(bundle, public(key))


def test_any_altered_byte_fails(signed: Path, key: Path, tmp_path: Path) -> None:
    if not signed.is_dir():
        pytest.skip("the folder is what has bytes to alter one by one")
    for name in ("manifest.json", "a.txt", SIGNATURE):
        whole = (signed / name).read_bytes()
        for place in range(0, len(whole), max(1, len(whole) // 40)):
            copy = tmp_path / "copy"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(signed, copy)
            content = bytearray(whole)
            content[place] ^= 1
            (copy / name).write_bytes(content)
            if name == SIGNATURE and bytes(content).split() == whole.split():
                continue  # blanks of the JSON mean nothing
            with pytest.raises((InputError, SignatureError)), Bundle.open(copy) as bundle:
                check_signature(bundle, public(key))


def test_blanks_are_bytes_too(signed: Path, key: Path) -> None:
    if signed.is_dir():
        manifest = signed / "manifest.json"
        manifest.write_bytes(manifest.read_bytes().replace(b" ", b"\t", 1))
        with Bundle.open(signed) as bundle, pytest.raises(SignatureError, match="not as it was"):
            check_signature(bundle, public(key))


def test_a_private_key_or_another_file_is_no_public_key(signed: Path, key: Path) -> None:
    with Bundle.open(signed) as bundle, pytest.raises(InputError, match="want a public key"):
        check_signature(bundle, key)
    with pytest.raises(InputError, match="want a private key"):
        sign(signed, public(key))


def test_a_key_is_never_overwritten(key: Path) -> None:
    before = key.read_bytes()
    with pytest.raises(InputError, match="one that is taken"):
        make_key(key)
    assert key.read_bytes() == before


def test_the_commands(signed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["make-key", str(tmp_path / "k")]) == 0
    assert main(["sign", str(signed), "--key", str(tmp_path / "k")]) == 0
    assert main(["make-key", str(tmp_path / "other")]) == 0
    assert main(["verify", str(signed), "--trust", str(tmp_path / "other.pub")]) == 1
    assert "want a signature by" in capsys.readouterr().err
