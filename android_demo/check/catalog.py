"""The version catalog against the dated list beside it, and the build files against the catalog."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

MARK = "# not resolved by us"


def catalog_complaints(demo: Path) -> list[str]:
    """Return what is inconsistent in a folder of the Android demo; empty where nothing is."""
    catalog = tomllib.loads((demo / "gradle" / "libs.versions.toml").read_text())
    lists = sorted((demo / "gradle").glob("versions-*.txt"))
    if len(lists) != 1 or not re.fullmatch(r"versions-\d{4}-\d{2}-\d{2}\.txt", lists[0].name):
        return [f"gradle/: want one dated list of versions, got {[f.name for f in lists]}"]
    text = lists[0].read_text()
    found = [] if text.startswith(MARK) else [f"{lists[0].name}: want it to start with {MARK!r}"]
    listed = dict(line.split()[:2] for line in text.splitlines() if line and line[0] != "#")
    versions = catalog["versions"]
    for name in sorted(versions.keys() | listed.keys()):
        have, dated = versions.get(name, "nothing"), listed.get(name, "nothing")
        if have != dated:
            found.append(f"{name}: the catalog says {have}, {lists[0].name} says {dated}")
    entries = {f"plugins.{k}": v for k, v in catalog["plugins"].items()} | catalog["libraries"]
    for alias, entry in entries.items():
        if entry["version"].get("ref") not in versions:
            found.append(f"{alias}: want a version of the catalog, got {entry['version']}")
    return found + _aliases(demo, catalog)


def catalog_versions(demo: Path) -> dict[str, str]:
    """Return the versions of the catalog, by name."""
    text = (demo / "gradle" / "libs.versions.toml").read_text()
    return dict(tomllib.loads(text)["versions"])


def _aliases(demo: Path, catalog: dict[str, dict[str, object]]) -> list[str]:
    known = {name.replace("-", ".") for name in catalog["libraries"]}
    known |= {f"plugins.{name.replace('-', '.')}" for name in catalog["plugins"]}
    known |= {f"versions.{name.replace('-', '.')}" for name in catalog["versions"]}
    scripts = [demo / "build.gradle.kts", *sorted(demo.glob("*/build.gradle.kts"))]
    used = set()
    found = []
    for script in scripts:
        for alias in re.findall(r"\blibs\.([A-Za-z][A-Za-z0-9.]*[A-Za-z0-9])", script.read_text()):
            name = re.sub(r"\.get(\b.*)?$", "", alias)
            used.add(name)
            if name not in known:
                found.append(f"{script.relative_to(demo)}: libs.{name} is not in the catalog")
    unused = sorted(known - used - {"versions." + n for n in catalog["versions"]})
    modules = re.findall(r'":([\w-]+)"', (demo / "settings.gradle.kts").read_text())
    folders = sorted(f.parent.name for f in demo.glob("*/build.gradle.kts"))
    if sorted(modules) != folders:
        found.append(f"settings.gradle.kts: want modules {folders}, got {sorted(modules)}")
    return found + [f"libs.{name}: no build file uses it" for name in unused]
