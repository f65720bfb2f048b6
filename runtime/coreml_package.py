"""What an `.mlpackage` says of itself: its program, weights, and the tensors and pictures it takes."""

from __future__ import annotations

import importlib
import logging
from pathlib import Path
from typing import Any

from pocketportrait.contract import TensorSpec
from pocketportrait.errors import InputError, MissingToolError
from pocketportrait.runtime.layout import plain_layout

COLOUR_ORDERS = {20: "RGB", 30: "BGR"}  # ImageFeatureType.ColorSpace
ARRAY_TYPES = {
    65568: "float32",
    65600: "float64",
    65552: "float16",
    131104: "int32",
    131080: "int8",
}


def import_coremltools() -> Any:
    """Import coremltools without the lines it logs wherever it is not on macOS.

    Raises:
        MissingToolError: it is not installed.

    """
    logging.disable(logging.WARNING)
    try:
        return importlib.import_module("coremltools")
    except ImportError as error:
        raise MissingToolError.for_extra("coremltools", "export") from error
    finally:
        logging.disable(logging.NOTSET)


def open_package(path: Path) -> Any:
    """Read a package without compiling it; returns a `coremltools.models.MLModel`.

    Raises:
        InputError: not there, not a package, or not an ML program.
        MissingToolError: coremltools is not installed.

    """
    if not path.is_dir():
        raise InputError(f"{path}: want an .mlpackage folder, got nothing there")
    coremltools = import_coremltools()
    try:
        model = coremltools.models.MLModel(str(path), skip_model_load=True)
    except Exception as error:  # its C++ half raises RuntimeError, protobuf its own DecodeError
        raise InputError(
            f"{path}: want a Core ML package, got one that cannot be read: {error}"
        ) from error
    kind = model.get_spec().WhichOneof("Type")
    if kind != "mlProgram":
        raise InputError(
            f"{path}: want an ML program, got {kind}; convert it with convert_to='mlprogram'"
        )
    return model


def package_specs(spec: Any) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Return inputs and outputs as the file declares them.

    A feature of type image is a uint8 picture [1, H, W, 3] in RGB, whatever its order in the file.
    """
    description = spec.description
    return tuple(map(_feature, description.input)), tuple(map(_feature, description.output))


def colour_orders(spec: Any) -> dict[str, str]:
    """Return "RGB" or "BGR" for every feature of type image: the order of channels in the program."""
    features = [*spec.description.input, *spec.description.output]
    return {
        feature.name: COLOUR_ORDERS[feature.type.imageType.colorSpace]
        for feature in features
        if feature.type.WhichOneof("Type") == "imageType"
    }


def _feature(feature: Any) -> TensorSpec:
    kind = feature.type.WhichOneof("Type")
    if kind == "imageType":
        return _picture(feature)
    if kind != "multiArrayType":
        raise InputError(f"{feature.name}: want a tensor or a picture, got Core ML type {kind}")
    array = feature.type.multiArrayType
    shape = tuple(int(size) for size in array.shape)
    return TensorSpec(feature.name, shape, ARRAY_TYPES[array.dataType], plain_layout(shape, "NCHW"))


def _picture(feature: Any) -> TensorSpec:
    image = feature.type.imageType
    if image.colorSpace not in COLOUR_ORDERS:
        raise InputError(
            f"{feature.name}: want a colour picture, got Core ML colour space {image.colorSpace}"
        )
    shape = (1, int(image.height), int(image.width), 3)
    return TensorSpec(feature.name, shape, "uint8", "NHWC", 0, 255)
