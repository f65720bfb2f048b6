"""Who made a bundle: an Ed25519 signature of its manifest, which holds the digest of every file.

It lies beside the manifest as `manifest.sig.json`. A bundle that is changed, by quantization too, loses it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

from pocketportrait import atomic
from pocketportrait.bundle.archive import extract, write_zip
from pocketportrait.bundle.manifest import MANIFEST
from pocketportrait.bundle.reader import Bundle
from pocketportrait.documents import read_document
from pocketportrait.errors import ExitCode, InputError, MissingToolError, PortraitError

SIGNATURE = "manifest.sig.json"
SCHEMA_VERSION: Final = 1
ALGORITHM = "ed25519"
PURPOSE = b"pocketportrait bundle manifest 1\0"  # a signature of something else is none of a bundle
MOST_KEY_BYTES = 10_000


class SignatureError(PortraitError):
    """A bundle that is not signed, or not by the key that is trusted."""

    exit_code = ExitCode.GATE_FAILED


def make_key(path: Path) -> Path:
    """Write a new private key, readable by its owner alone, and return its public key's path, PATH.pub.

    Raises:
        InputError: there is a file already, or the place cannot be written to.
        MissingToolError: the `provenance` extra is not installed.

    """
    library = _library()
    public = path.with_name(path.name + ".pub")
    if path.exists() or public.exists():
        raise InputError(
            f"{path}: want a new name for a key, got one that is taken; choose another"
        )
    key = library.ed25519.Ed25519PrivateKey.generate()
    serialization = library.serialization
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    shown = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    atomic.write_bytes(public, shown)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise InputError(f"{path}: want a writable place, got: {error.strerror}") from error
    with os.fdopen(handle, "wb") as file:
        file.write(private)
        file.flush()
        os.fsync(handle)
    return public


def sign(path: Path, key: Path) -> None:
    """Sign a bundle, a folder or a `.zip`; a signature that it has is replaced.

    Raises:
        InputError: no bundle, no private Ed25519 key, or the place cannot be written to.
        MissingToolError: the `provenance` extra is not installed.

    """
    library = _library()
    try:
        private = library.serialization.load_pem_private_key(_key_bytes(key), None)
    except (ValueError, TypeError, library.UnsupportedAlgorithm) as error:
        raise InputError(f"{key}: want a private key (PEM), got another file") from error
    if not isinstance(private, library.ed25519.Ed25519PrivateKey):
        raise InputError(
            f"{key}: want an Ed25519 key, got another kind; run: pocketportrait make-key"
        )
    if path.is_dir():
        _sign_folder(path, private)
        return
    with atomic.making_folder(path) as folder:
        root = extract(path, folder)
        _sign_folder(root, private)
        write_zip(root, path)


def check_signature(bundle: Bundle, trusted: Path) -> None:
    """Compare the signature of a bundle, whose files were verified, with a public key.

    Raises:
        SignatureError: it is not signed, or by another key, or altered.
        InputError: the key is none.
        MissingToolError: the `provenance` extra is not installed.

    """
    library = _library()
    try:
        public = library.serialization.load_pem_public_key(_key_bytes(trusted))
    except (ValueError, TypeError, library.UnsupportedAlgorithm) as error:
        raise InputError(f"{trusted}: want a public key (PEM), got another file") from error
    if not isinstance(public, library.ed25519.Ed25519PublicKey):
        raise InputError(f"{trusted}: want an Ed25519 key, got another kind")
    place = bundle.root / SIGNATURE
    if not place.is_file():
        raise SignatureError(f"{SIGNATURE}: want a signed bundle, got one without a signature")
    said = read_document(place, "a bundle's signature")
    try:
        if (said["schema_version"], said["algorithm"]) != (SCHEMA_VERSION, ALGORITHM):
            raise ValueError("of another kind")
        signature = bytes.fromhex(said["signature"])
        # the manifest that was read; the file might be another one by now, or hold more blanks
        public.verify(signature, PURPOSE + bundle.manifest.to_bytes())
        if (bundle.root / MANIFEST).read_bytes() != bundle.manifest.to_bytes():
            raise ValueError(f"{MANIFEST} is not as it was written")
    except library.InvalidSignature as error:
        raise SignatureError(
            f"{SIGNATURE}: want a signature by {trusted}, got another key's or an altered bundle;"
            " do not use it"
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise SignatureError(f"{SIGNATURE}: want a signature, got: {error}") from error


def _sign_folder(folder: Path, private: Any) -> None:
    with Bundle.open(folder) as bundle:
        content = bundle.manifest.to_bytes()
    if (folder / MANIFEST).read_bytes() != content:
        raise InputError(f"{folder}: want a manifest as it is written here; export it again")
    signature = private.sign(PURPOSE + content).hex()
    said = {"schema_version": SCHEMA_VERSION, "algorithm": ALGORITHM, "signature": signature}
    atomic.write_bytes(folder / SIGNATURE, json.dumps(said, indent=2).encode() + b"\n")


def _key_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MOST_KEY_BYTES)
    except OSError as error:
        raise InputError(
            f"{path}: want a key file, got: {error.strerror}; check the path"
        ) from error


class _Library:
    """What is used of `cryptography`."""

    def __init__(self) -> None:
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519

        self.InvalidSignature, self.UnsupportedAlgorithm = InvalidSignature, UnsupportedAlgorithm
        self.serialization, self.ed25519 = serialization, ed25519


def _library() -> _Library:
    try:
        return _Library()
    except ImportError as error:
        raise MissingToolError.for_extra("cryptography", "provenance") from error
