"""Content Credentials (C2PA): what a file is, how it was made, signed into the file itself."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pocketportrait import __version__, atomic
from pocketportrait.errors import InputError, MissingToolError
from pocketportrait.media.signing import EXTRA, Identity, local_root
from pocketportrait.media.source_type import SOURCE_TYPE

MIME = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
}
ASSERTION = "org.pocketportrait.animation"
GENERATOR = "Pocket Portrait"


@dataclass(frozen=True, slots=True)
class Origin:
    """How an animation was made; photo and driver are named by their digests, never shown."""

    bundle_sha256: str  # of its manifest, which holds the digest of every other file
    bundle_id: str | None  # the mark's, in hexadecimal
    variant: str
    photo_sha256: str
    driving_sha256: str
    consent: str | None
    visible_label: bool


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a file's credentials say, and whether they hold."""

    state: str  # Trusted: signed by this machine's root; Valid: unbroken; Invalid: altered
    signed_by: str | None
    claim_generator: str | None
    origin: dict[str, Any] | None  # fields of `Origin`
    problems: tuple[str, ...] = ()

    @property
    def is_ours(self) -> bool:
        """True where they are unbroken and say that Pocket Portrait made the file."""
        return self.state in ("Valid", "Trusted") and self.origin is not None


def sha256_of(path: Path) -> str:
    """Return the digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def can_sign(path: Path) -> bool:
    """Return whether the file's format holds credentials."""
    return path.suffix.lower() in MIME


def write_credentials(path: Path, origin: Origin, identity: Identity) -> None:
    """Sign a file's making into it; it is replaced whole or stays as it was.

    Raises:
        InputError: the format holds none, or the certificate is not one that C2PA takes.
        MissingToolError: the `provenance` extra is not installed.

    """
    if not can_sign(path):
        raise InputError(f"{path}: want one of {', '.join(MIME)} for credentials, got another")
    c2pa = _library()
    manifest = {
        "claim_generator_info": [{"name": GENERATOR, "version": __version__}],
        "title": path.name,
        "assertions": [
            {
                "label": "c2pa.actions.v2",
                "data": {
                    "actions": [
                        {
                            "action": "c2pa.created",
                            "digitalSourceType": SOURCE_TYPE,
                            "softwareAgent": {"name": GENERATOR, "version": __version__},
                        }
                    ]
                },
            },
            {"label": ASSERTION, "data": asdict(origin)},
        ],
    }
    try:
        # the library wants bytes here, whatever its signature says
        info = c2pa.C2paSignerInfo(b"es256", identity.chain.encode(), identity.key.encode(), None)
        with atomic.replacing(path) as temporary:
            shutil.copyfile(path, temporary)
            signer = c2pa.Signer.from_info(info)
            with path.open("rb") as source, temporary.open("w+b") as target:
                c2pa.Builder(json.dumps(manifest)).sign(
                    signer, MIME[path.suffix.lower()], source, target
                )
    except c2pa.C2paError as error:
        raise InputError(
            f"{path}: could not be signed ({error}); want a P-256 key and a chain, leaf first,"
            " that C2PA takes"
        ) from error


def read_credentials(path: Path) -> Credentials | None:
    """Read and verify a file's credentials; None where it has none, or its format holds none.

    Raises:
        MissingToolError: the `provenance` extra is not installed.

    """
    if not can_sign(path):
        return None
    c2pa = _library()
    root = local_root()
    settings = {"trust": {"trust_anchors": root}} if root else {}
    context = c2pa.Context.from_dict(settings)
    try:
        reader = c2pa.Reader.try_create(path, context=context)
    except c2pa.C2paError as error:
        return Credentials("Invalid", None, None, None, (str(error),))
    if reader is None:
        return None
    with reader:
        active = reader.get_active_manifest() or {}
        state = str(reader.get_validation_state())
        results = reader.get_validation_results() or {}
    failures = results.get("activeManifest", {}).get("failure", [])
    found = {a["label"]: a.get("data") for a in active.get("assertions", [])}
    origin = found.get(ASSERTION)
    generators = active.get("claim_generator_info") or [{}]
    return Credentials(
        state=state,
        signed_by=active.get("signature_info", {}).get("common_name")
        or active.get("signature_info", {}).get("issuer"),
        claim_generator=generators[0].get("name"),
        origin=origin if isinstance(origin, dict) else None,
        problems=tuple(str(f.get("code")) for f in failures),
    )


def _library() -> Any:
    try:
        import c2pa  # loads a large shared library
    except ModuleNotFoundError as error:
        raise MissingToolError.for_extra("c2pa-python", EXTRA) from error
    return c2pa
