"""Who signs Content Credentials: a certificate of one's own, or a local one that is made at first use."""

from __future__ import annotations

import datetime
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocketportrait import atomic
from pocketportrait.errors import InputError, MissingToolError

HOME = "POCKETPORTRAIT_HOME"  # environment variable: where the local certificates are kept
EXTRA = "provenance"
LIFE = datetime.timedelta(days=3650)
ROOT, CHAIN, KEY = "root.pem", "chain.pem", "key.pem"


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate chain, the signer's own first, and its P-256 key, as PEM."""

    chain: str
    key: str
    root: str | None = None  # of a local identity: what `inspect` trusts on this machine

    @classmethod
    def of_files(cls, chain: Path, key: Path) -> Identity:
        """Read the user's own certificate chain and key.

        Raises:
            InputError: one of them is no PEM file.

        """
        return cls(_read_pem(chain), _read_pem(key))


def home() -> Path:
    """Return the folder of the local certificates."""
    return Path(os.environ.get(HOME) or Path.home() / ".config" / "pocketportrait") / "credentials"


def local_root() -> str | None:
    """Return the local root certificate as PEM, if one was made."""
    path = home() / ROOT
    return path.read_text() if path.is_file() else None


def local_identity() -> Identity:
    """Return this machine's identity; the first call makes a root and a leaf that it signs.

    The root's key is forgotten at once: nobody can sign another leaf with it.

    Raises:
        MissingToolError: the `provenance` extra is not installed.
        InputError: the folder cannot be written to.

    """
    folder = home()
    if not all((folder / name).is_file() for name in (ROOT, CHAIN, KEY)):
        made = _make()
        for name, text in ((KEY, made.key), (ROOT, made.root or ""), (CHAIN, made.chain)):
            atomic.write_bytes(folder / name, text.encode())
            (folder / name).chmod(0o600)
    return Identity(*(_read_pem(folder / name) for name in (CHAIN, KEY, ROOT)))


def _make() -> Identity:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ModuleNotFoundError as error:
        raise MissingToolError.for_extra("cryptography", EXTRA) from error
    root_key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = _certificate("local root", root_key.public_key(), root_key, is_root=True)
    leaf = _certificate("local signer", leaf_key.public_key(), root_key, is_root=False)
    pem = serialization.Encoding.PEM
    key = leaf_key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    root_pem = root.public_bytes(pem).decode()
    return Identity(leaf.public_bytes(pem).decode() + root_pem, key.decode(), root_pem)


def _certificate(name: str, public: Any, signer: Any, *, is_root: bool) -> Any:
    """Return a certificate that C2PA takes (specification 2.1, section 14.5.1)."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def named(common: str) -> x509.Name:
        organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Pocket Portrait (local)")
        return x509.Name([organization, x509.NameAttribute(NameOID.COMMON_NAME, common)])

    now = datetime.datetime.now(datetime.UTC)
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False
    )
    builder = (
        x509.CertificateBuilder(named("local root"), named(name), public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + LIFE)
        .add_extension(x509.BasicConstraints(is_root, 0 if is_root else None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not is_root,
                key_cert_sign=is_root,
                crl_sign=is_root,
                encipher_only=False,
                decipher_only=False,
                **usage,
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    if not is_root:
        usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(usages, critical=False)
    return builder.sign(signer, hashes.SHA256())


def _read_pem(path: Path) -> str:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: want a PEM file, got one that cannot be read") from error
    if "-----BEGIN " not in text:
        raise InputError(f"{path}: want a PEM file (-----BEGIN ...), got something else")
    return text
