"""The bundle: the only thing that leaves the project, and the only thing that a device needs."""

from pocketportrait.bundle.archive import write_zip
from pocketportrait.bundle.manifest import (
    FORMATS,
    SCHEMA_VERSION,
    STANDARD_PRECISIONS,
    FileFacts,
    GraphModel,
    Manifest,
    TensorModel,
    Variant,
    VariantGraph,
    manifest_schema,
)
from pocketportrait.bundle.reader import Bundle
from pocketportrait.bundle.writer import BundleWriter

__all__ = [
    "FORMATS",
    "SCHEMA_VERSION",
    "STANDARD_PRECISIONS",
    "Bundle",
    "BundleWriter",
    "FileFacts",
    "GraphModel",
    "Manifest",
    "TensorModel",
    "Variant",
    "VariantGraph",
    "manifest_schema",
    "write_zip",
]
