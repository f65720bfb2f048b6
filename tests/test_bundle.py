"""Reading and writing bundles: what is refused, and that a writer never leaves half."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from pocketportrait.bundle import (
    Bundle,
    BundleWriter,
    GraphModel,
    TensorModel,
    Variant,
    VariantGraph,
    manifest_schema,
    write_zip,
)
from pocketportrait.bundle.manifest import Manifest
from pocketportrait.contract import GraphSpec, TensorSpec, image_spec
from pocketportrait.errors import InputError

ROOT = Path(__file__).parents[1]
MOTION = GraphSpec("motion", (image_spec("frame", 8),), (TensorSpec("code", (1, 7), layout="NC"),))


def fill(writer: BundleWriter, content: bytes = b"weights") -> None:
    for path in ("onnx/fp32/motion.onnx", "coreml/fp32/motion.mlpackage/Data/model.bin"):
        file = writer.folder / path
        file.parent.mkdir(parents=True)
        file.write_bytes(content)
    (writer.folder / "golden").mkdir()
    golden = {"frame": np.zeros((1, 3, 8, 8), np.float32), "code": np.ones((1, 7), np.float32)}
    save_file(golden, str(writer.folder / "golden/motion-0.safetensors"))
    for format, path in (
        ("onnx", "onnx/fp32/motion.onnx"),
        ("coreml", "coreml/fp32/motion.mlpackage"),
    ):
        tensors = GraphModel.of(MOTION)
        graph = VariantGraph(path=path, inputs=tensors.inputs, outputs=tensors.outputs)
        writer.add_variant(format, "fp32", Variant(graphs={"motion": graph}, recipe="none"))


def finish(writer: BundleWriter) -> Bundle:
    return writer.finish(
        graphs={"motion": GraphModel.of(MOTION)},
        code_slices={"pose": (0, 6), "expression": (6, 7)},
        golden={"motion": ("golden/motion-0.safetensors",)},
        tools={"torch": "2"},
        licence="Apache-2.0",
        model={"name": "test"},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with BundleWriter(tmp_path / "bundle") as writer:
        fill(writer)
        finish(writer)
    return tmp_path / "bundle"


def test_a_bundle_reads_back_as_written(folder: Path) -> None:
    bundle = Bundle.open(folder)
    assert bundle.graph_spec("motion") == MOTION
    assert bundle.variant("onnx", "fp32").graphs["motion"].path == "onnx/fp32/motion.onnx"
    assert (bundle.root / "onnx/fp32/motion.onnx").read_bytes() == b"weights"
    with pytest.raises(InputError, match="want an ONNX model"):  # b"weights" is none
        bundle.file("onnx/fp32/motion.onnx")
    (golden,) = bundle.golden("motion")
    assert golden["code"].sum() == 7
    assert list(folder.parent.iterdir()) == [folder]  # no temporary folder is left


def test_unbounded_ranges_survive_json() -> None:
    spec = TensorSpec("code", (1, 7), layout="NC")
    assert TensorModel.model_validate_json(TensorModel.of(spec).model_dump_json()).spec() == spec


def test_the_same_bundle_has_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    with BundleWriter(tmp_path / "again") as writer:
        fill(writer)
        finish(writer)
    assert (tmp_path / "again/manifest.json").read_bytes() == (
        folder / "manifest.json"
    ).read_bytes()


def test_an_absent_variant_names_those_that_exist(folder: Path) -> None:
    with pytest.raises(InputError, match="it holds coreml/fp32, onnx/fp32"):
        Bundle.open(folder).variant("onnx", "w8")


def test_only_listed_files_are_given(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    bundle = Bundle.open(folder)
    for name in ("notes.txt", "../bundle/manifest.json", "/etc/passwd"):
        with pytest.raises(InputError, match=r"that manifest\.json lists"):
            bundle.file(name)


def remove(folder: Path) -> None:
    (folder / "onnx/fp32/motion.onnx").unlink()


def damage(folder: Path) -> None:
    (folder / "onnx/fp32/motion.onnx").write_bytes(b"Weights")


def shorten(folder: Path) -> None:
    (folder / "onnx/fp32/motion.onnx").write_bytes(b"w")


def link_outside(folder: Path) -> None:
    outside = folder.parent / "outside"
    outside.write_bytes(b"weights")
    remove(folder)
    (folder / "onnx/fp32/motion.onnx").symlink_to(outside)


def add_to_package(folder: Path) -> None:
    (folder / "coreml/fp32/motion.mlpackage/Data/more.bin").write_bytes(b"x")


def drop_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def edit(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        data = json.loads((folder / "manifest.json").read_text())
        change(data)
        (folder / "manifest.json").write_text(json.dumps(data))

    return apply


def list_file(name: str) -> Callable[[Path], None]:
    return edit(lambda m: m["files"].update({name: {"bytes": 1, "sha256": "0" * 64}}))


def write_manifest(text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "manifest.json").write_text(text) and None


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (remove, "onnx/fp32/motion.onnx: listed but missing"),
        (damage, "sha256 is not the listed one"),
        (shorten, "want 7 bytes, got 1"),
        (link_outside, "a link that leaves the bundle"),
        (add_to_package, "more.bin: a file that manifest.json does not list"),
        (drop_manifest, "no manifest.json in it"),
        (write_manifest("{"), "want a JSON object"),
        (write_manifest("[" * 100_000), "want a JSON object"),
        (write_manifest("[1]"), "want a JSON object"),
        (edit(lambda m: m.update(schema_version=99)), "want schema_version 1, got 99"),
        (edit(lambda m: m.pop("schema_version")), "want schema_version 1, got None"),
        (edit(lambda m: m.update(more=1)), "more: Extra inputs"),
        (edit(lambda m: m.pop("graphs")), "graphs: Field required"),
        (
            edit(lambda m: m["golden"].update(motion=["golden/9.safetensors"])),
            "not among the files",
        ),
        (
            edit(lambda m: m["variants"]["onnx"]["fp32"]["graphs"]["motion"].update(inputs=[])),
            "want inputs",
        ),
        (edit(lambda m: m["files"].pop("onnx/fp32/motion.onnx")), "is not among the files"),
        (list_file("../outside"), "want a relative path inside the bundle"),
        (list_file("/etc/passwd"), "want a relative path inside the bundle"),
        (list_file("C:\\a"), "want a relative path inside the bundle"),
        (list_file("a/./b"), "want a relative path inside the bundle"),
        (list_file("ONNX/fp32/motion.onnx"), "differ in case alone"),
    ],
)
def test_a_spoilt_bundle_is_refused(
    folder: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(folder)
    with pytest.raises(InputError, match=message) as caught:
        Bundle.open(folder)
    assert "\n" not in str(caught.value)


def test_a_missing_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="got nothing there"):
        Bundle.open(tmp_path / "none")


def test_an_exception_leaves_the_old_bundle(folder: Path) -> None:
    old = (folder / "manifest.json").read_bytes()

    def fail_halfway() -> None:
        with BundleWriter(folder) as writer:
            fill(writer, b"new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert (folder / "manifest.json").read_bytes() == old
    assert list(folder.parent.iterdir()) == [folder]


def test_a_new_bundle_takes_the_old_ones_place(folder: Path) -> None:
    with BundleWriter(folder) as writer:
        fill(writer, b"new")
        finish(writer)
    assert (Bundle.open(folder).root / "onnx/fp32/motion.onnx").read_bytes() == b"new"
    assert list(folder.parent.iterdir()) == [folder]


def test_it_also_does_where_the_system_cannot_exchange(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pocketportrait.bundle.place._exchange", lambda *_: False)
    test_a_new_bundle_takes_the_old_ones_place(folder)


def test_a_folder_of_other_things_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    with (
        pytest.raises(InputError, match="want a new folder or an old bundle"),
        BundleWriter(tmp_path),
    ):
        pass
    assert (tmp_path / "letters.txt").read_text() == "dear"


def test_a_full_disk_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No space left"), BundleWriter(tmp_path / "bundle"):
        raise OSError(28, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_variants_carry_over_into_another_bundle(folder: Path, tmp_path: Path) -> None:
    with BundleWriter(tmp_path / "more") as writer:
        writer.carry_over(Bundle.open(folder))
        finish(writer)
    assert Bundle.open(tmp_path / "more").manifest == Bundle.open(folder).manifest


def test_the_published_schema_is_the_models() -> None:
    published = json.loads((ROOT / "docs/schemas/manifest-1.json").read_text())
    assert published == manifest_schema()


def test_a_written_manifest_follows_the_published_schema(folder: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(json.loads((folder / "manifest.json").read_text()), manifest_schema())


def test_a_zip_holds_the_same_bundle(folder: Path, tmp_path: Path) -> None:
    write_zip(folder, tmp_path / "a.zip")
    write_zip(folder, tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with Bundle.open(tmp_path / "a.zip") as bundle:
        assert bundle.manifest == Bundle.open(folder).manifest
        assert (bundle.root / "onnx/fp32/motion.onnx").read_bytes() == b"weights"
        root = bundle.root
    assert not root.exists()


def test_manifest_bytes_are_stable() -> None:
    empty: dict[str, Any] = {
        "graphs": {},
        "code_slices": {},
        "variants": {},
        "files": {},
        "golden": {},
    }
    manifest = Manifest(**empty, tools={}, licence="x", model={})
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest
