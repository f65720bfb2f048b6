"""Models that name files outside of themselves, or hold too much, are refused before a library reads them."""

import json
import struct
from pathlib import Path

import pytest

from pocketportrait.bundle.intake import check_model
from pocketportrait.errors import InputError
from tests.fuzz_targets import CORPUS


@pytest.mark.parametrize("name", ["onnx/conv.onnx", "onnx/branches.onnx", "tflite/add.tflite"])
def test_good_files_pass(name: str) -> None:
    assert check_model(CORPUS / name) == CORPUS / name


def test_external_data_is_refused() -> None:
    with pytest.raises(InputError, match=r"external data\); save it as one file"):
        check_model(CORPUS / "onnx/external.onnx")


def test_external_data_in_a_branch_is_refused(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="extra export")
    model = onnx.load(CORPUS / "onnx/branches.onnx")
    branch = next(a.g for a in model.graph.node[0].attribute if a.name == "then_branch")
    branch.node[0].attribute[0].t.data_location = 1
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="external data"):
        check_model(tmp_path / "a.onnx")


@pytest.mark.parametrize(
    ("limit", "message"),
    [("model_bytes=100", "at most 100 bytes"), ("model_tensors=2", "at most 2 nodes and tensors")],
)
def test_limits_hold(limit: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETPORTRAIT_LIMITS", limit)
    with pytest.raises(InputError, match=message):
        check_model(CORPUS / "onnx/conv.onnx")


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"hello, this is no model"])
def test_what_is_no_protocol_buffer_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(InputError, match="want an ONNX model"):
        check_model(tmp_path / "a.onnx")


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 40, b"hello, this is no model", b"\x08\0\0\0TFL3" + b"\xff" * 40]
)
def test_what_is_no_flat_buffer_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tflite").write_bytes(content)
    with pytest.raises(InputError, match="want a TFLite model"):
        check_model(tmp_path / "a.tflite")


@pytest.mark.parametrize("number", [0, 1])
def test_an_operator_without_its_input_is_refused(tmp_path: Path, number: int) -> None:
    content = (CORPUS / "tflite/add.tflite").read_bytes()
    inputs = struct.pack("<3i", 2, 0, 1)  # the list of the first operator: two tensors
    assert content.count(inputs) == 1
    lacking = struct.pack("<3i", 2, *(-1 if n == number else n for n in (0, 1)))
    (tmp_path / "a.tflite").write_bytes(content.replace(inputs, lacking))
    with pytest.raises(InputError, match=r"^[^(]*operator 0 \(builtin code 0\) with \[.*-1"):
        check_model(tmp_path / "a.tflite")


@pytest.mark.parametrize(("tensor", "lists"), [(2, 1), (3, 2)])
def test_a_tflite_list_of_outputs_without_a_tensor_is_refused(
    tmp_path: Path, tensor: int, lists: int
) -> None:
    """Of an operator; and of the graph, which LiteRT freed twice."""
    content = (CORPUS / "tflite/add.tflite").read_bytes()
    told, lacking = struct.pack("<2i", 1, tensor), struct.pack("<2i", 1, -1)
    places = [k for k in range(0, len(content), 4) if content[k : k + 8] == told]
    assert len(places) == lists
    for place in places:
        path = tmp_path / f"{place}.tflite"
        path.write_bytes(content[:place] + lacking + content[place + 8 :])
        with pytest.raises(InputError, match="outputs"):
            check_model(path)


def test_tensors_of_tflite_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETPORTRAIT_LIMITS", "model_tensors=5")
    with pytest.raises(InputError, match="at most 5 nodes and tensors"):
        check_model(CORPUS / "tflite/add.tflite")


def package(folder: Path, entry: str) -> Path:
    path = folder / "a.mlpackage"
    (path / "Data").mkdir(parents=True)
    (path / "Data/model.mlmodel").write_bytes(b"model")
    manifest = {"itemInfoEntries": {"1": {"path": entry}}}
    (path / "Manifest.json").write_text(json.dumps(manifest))
    return path


def test_a_package_of_its_own_files_passes(tmp_path: Path) -> None:
    assert check_model(package(tmp_path, "model.mlmodel")).is_dir()


@pytest.mark.parametrize("entry", ["../../secret", "/etc/passwd", "missing", "a\\b"])
def test_entries_that_lead_out_of_a_package_are_refused(tmp_path: Path, entry: str) -> None:
    with pytest.raises(InputError, match=r"want a Core ML package whose Manifest.json lists"):
        check_model(package(tmp_path, entry))


def test_links_in_a_package_are_refused(tmp_path: Path) -> None:
    path = package(tmp_path, "model.mlmodel")
    (path / "Data/more").symlink_to("/etc/passwd")
    with pytest.raises(InputError, match="got a link"):
        check_model(path)
