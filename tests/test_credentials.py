"""What a file says of its making can be read, and an altered byte is seen."""

import datetime
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from pocketportrait.bundle import Bundle
from pocketportrait.cli import app, main
from pocketportrait.cli.animate import _Agreed, _consent
from pocketportrait.errors import InputError
from pocketportrait.mark import field_of_side, mark_picture
from pocketportrait.media import consent
from pocketportrait.media.credentials import Origin, read_credentials, write_credentials
from pocketportrait.media.label import draw_label
from pocketportrait.media.photo import read_photo, write_picture
from pocketportrait.media.samples import sample_drivers, sample_photos
from pocketportrait.media.signing import HOME, Identity, home, local_identity
from pocketportrait.media.source_type import read_source_type, write_source_type
from pocketportrait.runtime.animation import AnimationOptions, animate

pytest.importorskip("c2pa", reason="the provenance extra is not installed")

ORIGIN = Origin(
    "ab" * 32, "0123456789abcdef", "onnx/fp16", "cd" * 32, "ef" * 32, "me, to this", True
)
SOURCE = "compositeWithTrainedAlgorithmicMedia"


@pytest.fixture(autouse=True)
def _own_certificates(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HOME, str(tmp_path_factory.getbasetemp() / "home"))


def made(folder: Path, suffix: str) -> Path:
    path = folder / f"made{suffix}"
    if suffix in (".mp4", ".mov"):
        shutil.copyfile(sample_drivers()[0], path)
    else:
        write_picture(path, np.full((64, 64, 3), 90, np.uint8))
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".png", ".jpg"])
def test_credentials_are_read_back(tmp_path: Path, suffix: str) -> None:
    path = made(tmp_path, suffix)
    assert read_credentials(path) is None
    assert read_source_type(path) is None
    write_source_type(path)
    write_credentials(path, ORIGIN, local_identity())
    found = read_credentials(path)
    assert found is not None
    assert (found.state, found.claim_generator) == ("Trusted", "Pocket Portrait")
    assert found.origin is not None
    assert found.origin["consent"] == "me, to this"
    assert found.origin["visible_label"] is True
    assert found.is_ours
    assert read_source_type(path) == SOURCE
    if suffix != ".mp4":
        assert (read_photo(path) == read_photo(made(tmp_path / "again", suffix))).all()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_an_altered_byte_is_seen(tmp_path: Path) -> None:
    path = made(tmp_path, ".mp4")
    write_credentials(path, ORIGIN, local_identity())
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    found = read_credentials(path)
    assert found is not None
    assert found.state == "Invalid"
    assert found.problems
    assert not found.is_ours


def test_a_strangers_signature_is_valid_but_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made(tmp_path, ".png")
    write_credentials(path, ORIGIN, local_identity())
    monkeypatch.setenv(HOME, str(tmp_path / "another machine"))
    found = read_credentials(path)
    assert found is not None
    assert found.state == "Valid"


def test_the_local_identity_is_made_once_and_kept_to_oneself() -> None:
    first = local_identity()
    assert local_identity() == first
    assert (home() / "key.pem").stat().st_mode & 0o077 == 0
    assert first.root is not None
    assert first.chain.endswith(first.root)


def test_what_is_no_certificate_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    with pytest.raises(InputError, match="want a PEM file"):
        Identity.of_files(tmp_path / "text", tmp_path / "text")
    path = made(tmp_path, ".png")
    before = path.read_bytes()
    begin = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    with pytest.raises(InputError, match="could not be signed"):
        write_credentials(path, ORIGIN, Identity(begin, begin))
    assert path.read_bytes() == before


def test_formats_without_credentials_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"want one of \.mp4"):
        write_credentials(tmp_path / "film.mkv", ORIGIN, Identity("", ""))
    assert read_credentials(tmp_path / "film.mkv") is None


def test_inspect_says_whose_a_picture_is(tmp_path: Path) -> None:
    photo = read_photo(sample_photos()[1])[128:384, 128:384]
    path = tmp_path / "marked.png"
    write_picture(path, mark_picture(photo, field_of_side(0xABC, 256)))
    write_credentials(path, ORIGIN, local_identity())
    ran = CliRunner().invoke(app, ["inspect", str(path), "--json", str(tmp_path / "said.json")])
    assert ran.exit_code == 0
    assert "made by Pocket Portrait, bundle 0000000000000abc, confidence > 99.9999 %" in ran.output
    assert "content credentials: trusted" in ran.output
    said = json.loads((tmp_path / "said.json").read_text())
    assert said["mark"]["found"]
    assert said["credentials"]["origin"]["photo_sha256"] == ORIGIN.photo_sha256


def test_inspect_fails_where_nothing_says_so(tmp_path: Path) -> None:
    assert main(["inspect", str(sample_photos()[0])]) == 1
    assert main(["inspect", str(tmp_path / "none.png")]) == 2


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_still_is_signed_and_labelled(tmp_path: Path, tiny_bundle: Bundle, suffix: str) -> None:
    driver, out = tmp_path / "driver.png", tmp_path / f"still{suffix}"
    write_picture(driver, np.full((64, 64, 3), 120, np.uint8))
    shutil.copyfile(sample_photos()[0], photo := tmp_path / "photo.jpg")
    said = ["animate", str(photo), str(driver), "-o", str(out), "--bundle", str(tiny_bundle.root)]
    ran = CliRunner().invoke(app, [*said, "--no-crop", "--label", "--consent", "me, to a test"])
    assert ran.exit_code == 0, ran.output
    found = read_credentials(out)
    assert found is not None
    assert found.state == "Trusted"
    assert found.origin is not None
    assert (found.origin["consent"], found.origin["visible_label"]) == ("me, to a test", True)
    assert read_source_type(out) == SOURCE
    assert read_photo(out).shape == (64, 64, 3)


def test_a_video_drives_no_still(tmp_path: Path, tiny_bundle: Bundle) -> None:
    shutil.copyfile(sample_photos()[0], photo := tmp_path / "photo.jpg")
    options = AnimationOptions(bundle=tiny_bundle.root, crop=False, threads=1)
    with pytest.raises(InputError, match=r"name a \.mp4"):
        animate(photo, sample_drivers()[0], tmp_path / "still.png", options)
    assert [p.name for p in tmp_path.iterdir()] == ["photo.jpg"]


def test_a_samples_own_consent_is_not_written_over(tmp_path: Path) -> None:
    sample = sample_photos()[0]
    agreed = _consent(sample, "another")
    assert agreed == _Agreed("another")  # no place to keep it
    shutil.copyfile(sample, photo := tmp_path / "photo.jpg")
    assert _consent(photo, "another") == _Agreed("another", photo)


def test_consent_is_bound_to_the_photo(tmp_path: Path) -> None:
    photo = made(tmp_path, ".png")
    assert consent.recorded_consent(photo) is None
    sidecar = consent.record_consent(photo, "  the sitter, to a demo ")
    assert consent.recorded_consent(photo) == "the sitter, to a demo"
    record = json.loads(sidecar.read_text())
    assert datetime.datetime.fromisoformat(record["recorded"]).tzinfo is not None
    write_picture(photo, np.zeros((8, 8, 3), np.uint8))
    assert consent.recorded_consent(photo) is None
    sidecar.write_text("[]")
    assert consent.recorded_consent(photo) is None
    with pytest.raises(InputError, match="1 to 500 characters"):
        consent.record_consent(photo, "  ")


def test_samples_carry_their_consent() -> None:
    assert all(consent.recorded_consent(photo) for photo in sample_photos())


def test_without_a_terminal_consent_must_be_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = made(tmp_path, ".png")
    assert main(["animate", str(photo), "--out", str(tmp_path / "out.mp4")]) == 2
    assert "--consent" in capsys.readouterr().err
    assert not (tmp_path / "out.mp4").exists()


def test_the_label_is_seen_in_its_corner() -> None:
    grey = np.full((256, 256, 3), 128, np.uint8)
    labelled = draw_label(grey)
    changed = (labelled != grey).any(-1)
    assert labelled.max() > 230
    assert changed[-25:, :90].any()
    assert not changed[:-40].any()
    assert draw_label(grey[:10, :10]).shape == (10, 10, 3)
