"""The app's resources and manifest, linked as a build would link them."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

from android_demo.check.toolchain import Tools
from pocketportrait.runtime.targets.command import run_command

TIMEOUT_S = 300.0
ALLOWED_PERMISSIONS = {"android.permission.CAMERA"}
PACKAGE = "dev.pocketportrait.demo"
NETWORK = "android.permission.INTERNET"
ASKED = r'<uses-permission\b[^>]*?android:name="([^"]+)"[^>]*/>'
REFUSED = r'<uses-permission\b[^>]*?android:name="([^"]+)"[^>]*?tools:node="remove"[^>]*/>'
COMPONENTS = ("activity", "service", "receiver", "provider", "instrumentation")


@dataclass(frozen=True)
class Linked:
    """What aapt2 made of the app's manifest and resources."""

    generated: Path  # R.java
    package: Path  # resources and manifest
    permissions: set[str]
    complaints: tuple[str, ...]


def link_resources(demo: Path, work: Path, tools: Tools) -> Linked:
    """Compile and link against Android's own resources.

    Args:
        demo: the folder android_demo.
        work: where results go.
        tools: what was fetched.

    Returns:
        the permissions of the merged manifest, and complaints; none where all is well.

    """
    work.mkdir(parents=True, exist_ok=True)
    main, manifest = demo / "app" / "src" / "main", work / "AndroidManifest.xml"
    compiled, package = work / "resources.zip", work / "resources.apk"
    linked = Linked(work / "generated", package, set(), ())
    manifest.write_text(_merged(demo, tools))
    versions = tomllib.loads((demo / "gradle" / "libs.versions.toml").read_text())["versions"]
    sdk = ["--min-sdk-version", versions["minSdk"], "--target-sdk-version", versions["targetSdk"]]
    inputs: list[str | Path] = ["-I", tools.framework_resources, "--manifest", manifest]
    steps: tuple[list[str | Path], ...] = (
        ["compile", "--dir", main / "res", "-o", compiled],
        ["link", *inputs, *sdk, "-o", package, "--java", linked.generated, compiled],
        ["dump", "permissions", package],
    )
    for step in steps:
        ran = run_command([tools.aapt2, *step], timeout_s=TIMEOUT_S)
        if ran.status:
            return replace(linked, complaints=(f"aapt2 {step[0]}: {ran.said.strip()[-800:]}",))
    permissions = set(re.findall(r"uses-permission: name='([^']+)'", ran.out))
    complaints = tuple(_complaints(permissions, demo))
    return replace(linked, permissions=permissions, complaints=complaints)


def components(demo: Path) -> set[str]:
    """Return the classes that the app's manifest names."""
    text = (demo / "app" / "src" / "main" / "AndroidManifest.xml").read_text()
    found = re.findall(rf"<(?:{'|'.join(COMPONENTS)})\b[^>]*?android:name=\"([^\"]+)\"", text)
    return {PACKAGE + name if name.startswith(".") else name for name in found}


def component_complaints(demo: Path, classes: Path) -> list[str]:
    """Return the classes that the manifest names and nobody has compiled."""
    return [
        f"{name} has no class"
        for name in sorted(components(demo))
        if not (classes / f"{name.replace('.', '/')}.class").is_file()
    ]


def _merged(demo: Path, tools: Tools) -> str:
    """Return the manifest as a build merges it: with the package's name, and what libraries ask for.

    Our library modules have no manifest, and LiteRT's cannot be had here: for it stands a library that asks
    for the network, which the app's manifest has to refuse.
    """
    text = (demo / "app" / "src" / "main" / "AndroidManifest.xml").read_text()
    refused = set(re.findall(REFUSED, text))
    asked = re.findall(ASKED, tools.onnxruntime_manifest.read_text())
    lines = "".join(
        f'<uses-permission android:name="{name}" />'
        for name in dict.fromkeys([*asked, NETWORK])
        if name not in refused
    )
    text = re.sub(REFUSED, "", text).replace("</manifest>", f"{lines}</manifest>")
    return text.replace("<manifest ", f'<manifest package="{PACKAGE}" ', 1)


def _complaints(permissions: set[str], demo: Path) -> list[str]:
    found = [
        f"permission {name} is not one the app may have"
        for name in permissions - ALLOWED_PERMISSIONS
    ]
    extra = [m for m in demo.glob("*/src/main/AndroidManifest.xml") if m.parts[-4] != "app"]
    return found + [f"{path.parts[-4]}: a library with a manifest of its own" for path in extra]
