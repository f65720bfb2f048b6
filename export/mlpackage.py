"""A Core ML model saved as a package that repeats byte for byte and was compared with its contract."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any, Literal

from pocketportrait import atomic
from pocketportrait.bundle import place
from pocketportrait.contract import GraphSpec
from pocketportrait.errors import ConverterError, InputError
from pocketportrait.export.converter import converter

Io = Literal["tensor", "image"]
MODEL = Path("Data/com.apple.CoreML/model.mlmodel")
ITEMS = uuid.UUID(
    "7c0b6e0a-5b0e-4d51-9a55-1f5f0c2a7d10"
)  # names the items of every package that we write
PIXEL = 255.0  # largest value of a pixel in a Core ML image


def save_checked(model: Any, spec: GraphSpec, path: Path, *, io: Io = "tensor") -> Path:
    """Save a Core ML model whose inputs and outputs were compared with the contract.

    Args:
        model: a `coremltools.models.MLModel`.
        spec: the graph's contract.
        path: `.mlpackage` folder to write or replace.
        io: how it takes and gives pictures.

    Raises:
        InputError: the place cannot be written to.
        MissingToolError: the `export` extra is not installed.
        ConverterError: the package is not what the contract says.

    """
    with atomic.making_folder(path) as folder:
        temporary = folder / path.name
        try:
            with converter("coremltools"):
                model.save(str(temporary))
                _make_repeatable(temporary)
                _check_read_back(temporary, spec, io)
            place.sync(temporary)
            place.take_place(temporary, path)
        except OSError as error:
            raise InputError(f"{path}: want a writable place, got: {error.strerror}") from error
    return path


def _make_repeatable(package: Path) -> None:
    """Drop date, tool versions and debug tables; give items fixed names and maps a fixed order."""
    from coremltools.proto import Model_pb2

    for table in package.glob("*debug_handle_mapping.json"):
        table.unlink()
    model = package / MODEL
    spec = Model_pb2.Model()
    spec.ParseFromString(model.read_bytes())
    spec.description.metadata.userDefined.clear()
    model.write_bytes(spec.SerializeToString(deterministic=True))
    file = package / "Manifest.json"
    manifest = json.loads(file.read_text())
    entries = sorted(manifest["itemInfoEntries"].items(), key=lambda item: str(item[1]["path"]))
    names = {old: str(uuid.uuid5(ITEMS, entry["path"])) for old, entry in entries}
    manifest["itemInfoEntries"] = {names[old]: entry for old, entry in entries}
    manifest["rootModelIdentifier"] = names[manifest["rootModelIdentifier"]]
    file.write_text(json.dumps(manifest, indent=4, sort_keys=True) + "\n")


def _check_read_back(package: Path, spec: GraphSpec, io: Io) -> None:
    from coremltools.proto import FeatureTypes_pb2, Model_pb2

    model = Model_pb2.Model()
    model.ParseFromString((package / MODEL).read_bytes())
    float32 = FeatureTypes_pb2.ArrayFeatureType.FLOAT32
    for side in ("inputs", "outputs"):
        features = getattr(model.description, side.removesuffix("s"))
        got = {f.name: f.type.WhichOneof("Type") for f in features}
        want = {
            t.name: "imageType" if io == "image" and t.is_image else "multiArrayType"
            for t in getattr(spec, side)
        }
        arrays = [f.type.multiArrayType for f in features if got[f.name] == "multiArrayType"]
        if got != want or any(a.dataType != float32 for a in arrays):
            raise ConverterError(f"{spec.name}: want float32 {side} {want}, got {got}")
