"""Write what a wheel depends on as a CycloneDX document beside it.

    python .ci/sbom.py WHEEL [--out FILE]

Every package that the wheel or one of its extras asks for, and what those ask for, in the versions that
are installed here. Equal environments and wheels give equal bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import uuid
import zipfile
from collections.abc import Iterable
from email.parser import HeaderParser
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

SPEC_VERSION = "1.6"
DEVELOPMENT = "dev"  # an extra that nobody who uses the wheel needs


def wheel_facts(wheel: Path) -> tuple[str, str, list[str], list[str]]:
    """Return a wheel's name, version, requirements and extras."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        told = HeaderParser().parsestr(archive.read(name).decode())
    extras = [e for e in told.get_all("Provides-Extra", []) if e != DEVELOPMENT]
    return told["Name"], told["Version"], told.get_all("Requires-Dist", []), extras


def wanted(requirements: Iterable[str], extras: Iterable[str]) -> set[tuple[str, tuple[str, ...]]]:
    """Return the packages that requirements name on this system, each with its own extras."""
    found = set()
    for text in requirements:
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            extras_of = tuple(sorted(requirement.extras))
            found.add((canonicalize_name(requirement.name), extras_of))
    return found


def closure(
    own: str, first: set[tuple[str, tuple[str, ...]]]
) -> tuple[dict[str, metadata.Distribution], dict[str, set[str]], set[str]]:
    """Return all packages that are asked for, who asks for whom, and the ones that are not installed."""
    waiting, seen = list(first), set(first)
    packages: dict[str, metadata.Distribution] = {}
    edges: dict[str, set[str]] = {own: {name for name, _ in first} - {own}}
    missing: set[str] = set()
    while waiting:
        name, extras = waiting.pop()
        if name == own:
            continue  # an extra that names another one of ours, whose packages are there already
        try:
            packages[name] = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            missing.add(name)
            continue
        asked = wanted(packages[name].requires or [], extras)
        edges.setdefault(name, set()).update(n for n, _ in asked)
        waiting += asked - seen
        seen |= asked
    return packages, edges, missing


def component(package: metadata.Distribution) -> dict[str, Any]:
    """Return a package as CycloneDX has it."""
    name, version = canonicalize_name(package.metadata["Name"]), package.version
    public = version.split("+")[0]  # a build's local label is no release of the index
    made: dict[str, Any] = {
        "type": "library",
        "bom-ref": name,
        "name": name,
        "version": version,
        "purl": f"pkg:pypi/{name}@{public}",
    }
    licence = package.metadata.get("License-Expression")
    return made | ({"licenses": [{"expression": licence}]} if licence else {})


def document(wheel: Path) -> dict[str, Any]:
    """Return the document of a wheel; packages that are not installed here are named in a property."""
    name, version, requirements, extras = wheel_facts(wheel)
    own = canonicalize_name(name)
    packages, edges, missing = closure(own, wanted(requirements, extras))
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    made: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{own}:{digest}')}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": own,
                "name": own,
                "version": version,
                "purl": f"pkg:pypi/{own}@{version}",
                "licenses": [{"license": {"id": "Apache-2.0"}}],
                "hashes": [{"alg": "SHA-256", "content": digest}],
            },
            "properties": [
                {"name": "pocketportrait:not-installed", "value": one} for one in sorted(missing)
            ],
        },
        "components": [component(packages[one]) for one in sorted(packages)],
    }
    known = packages.keys() | {own}
    made["dependencies"] = [
        {"ref": one, "dependsOn": sorted(edges[one] & known)}
        for one in sorted(edges.keys() & known)
    ]
    return made


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--out", type=Path, help="beside the wheel by default")
    options = parser.parse_args()
    made = document(options.wheel)
    out = options.out or options.wheel.with_suffix(".cdx.json")
    out.write_text(json.dumps(made, indent=1) + "\n")
    sys.stdout.write(f"{out}: {len(made['components'])} packages\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
