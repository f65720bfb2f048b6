"""The app as a package (full): dexed, linked, aligned, signed, and read back by apksigner and androguard.

A check and no release: the only dexer that can be had takes class files of Java 7, so `DexReady.java` takes
out what is newer, LiteRT's library is missing, and nobody has run the result.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import struct
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from android_demo.check.kotlin import JVM, STUBS, Compilation
from android_demo.check.native import PAGE_BYTES
from android_demo.check.resources import ALLOWED_PERMISSIONS, PACKAGE, components
from android_demo.check.toolchain import Tools
from pocketportrait.errors import MissingToolError
from pocketportrait.runtime.targets.command import Ran, run_command

READY = Path(__file__).with_name("DexReady.java")
READER = Path(__file__).with_name("read_package.py")
MODULES = ("pipeline", "engine-ort", "engine-litert", "app")
OPTIONS = (
    "-jvm-target", "1.8", "-Xlambdas=class", "-Xsam-conversions=class", "-Xstring-concat=inline",
    "-jvm-default=disable",
)  # fmt: skip
STUBBED = "com/google/ai/edge/litert"  # signatures by hand, not to be packed
MISSING = (f"L{STUBBED}/",)  # what classes of the package name and nobody has
NATIVE = "lib/arm64-v8a"
WORD_BYTES = 4
ALIGNMENT_FIELD = 0xD935  # of apksigner, which keeps it
STORED = (".so", ".arsc", ".onnx", ".tflite", ".safetensors", ".mp4")
SCHEMES = ("Verified using v2 scheme (APK Signature Scheme v2): true",
           "Verified using v3 scheme (APK Signature Scheme v3): true")  # fmt: skip
TIMEOUT_S = 1800.0


def package_compilation(demo: Path, work: Path, generated: Path, tools: Tools) -> Compilation:
    """Return the compilation of all modules into class files without invokedynamic."""
    sources = [demo / module / "src" / "main" / "kotlin" for module in MODULES]
    classpath = (tools.android_jar, tools.onnxruntime)
    return Compilation(
        "package", (*sources, STUBS, generated), classpath, work / "package", OPTIONS
    )


def package_complaints(demo: Path, work: Path, resources: Path, tools: Tools) -> list[str]:
    """Return what is wrong with the package; empty where it is whole, signed and as the manifest says.

    Args:
        demo: the folder android_demo.
        work: has the classes of `package_compilation`; gets everything else.
        resources: the package of the resources and the manifest, linked by aapt2.
        tools: what was fetched.

    """
    shutil.rmtree(work / "package" / STUBBED, ignore_errors=True)
    inputs: dict[str, Path] = {
        "classes": work / "package",
        "classes2": tools.onnxruntime,
        "classes3": tools.kotlin / "kotlin-stdlib.jar",
    }
    dexed = {name: _dex(name, source, inputs, work, tools) for name, source in inputs.items()}
    files = {f"{name}.dex": path for name, path in dexed.items()}
    files |= {f"{NATIVE}/{path.name}": path for path in tools.native_libraries}
    shipped = demo.parent / "pocketportrait" / "assets"
    bundle = shipped / "default_bundle"
    files |= {
        f"assets/bundle/{file.relative_to(bundle).as_posix()}": file
        for file in sorted(bundle.rglob("*"))
        if file.is_file()
    }
    files["assets/driving.mp4"] = shipped / "samples" / "driving_london_024.mp4"
    assemble(resources, files, work / "unsigned.apk")
    signed = work / "signed.apk"
    _sign(work, signed, tools)
    return [
        *_signature_complaints(signed, work, tools),
        *alignment_complaints(signed),
        *_content_complaints(demo, signed, tools),
    ]


def _dex(name: str, source: Path, all_: dict[str, Path], work: Path, tools: Tools) -> Path:
    ready, dex = work / f"{name}.jar", work / f"{name}.dex"
    others = [str(path) for path in all_.values() if path != source]
    _java(["-cp", str(tools.asm), str(READY), str(ready), str(source), *others], "DexReady")
    command = ["com.android.dx.command.Main", "--dex", f"--output={dex}", str(ready)]
    _java(["-Xmx1200m", "-cp", os.pathsep.join(map(str, tools.dx)), *command], "dx")
    return dex


def assemble(resources: Path, files: dict[str, Path], target: Path) -> None:
    """Put everything into one archive; what is read in place is stored where a page or word begins.

    Args:
        resources: the package that aapt2 linked; its entries come first.
        files: further ones, by their names in the package.
        target: the package, not yet signed.

    """
    with zipfile.ZipFile(target, "w") as archive, zipfile.ZipFile(resources) as linked:
        contents = {name: linked.read(name) for name in linked.namelist()}
        for name in [*contents, *files]:
            data = contents[name] if name in contents else files[name].read_bytes()
            entry = zipfile.ZipInfo(name, (1981, 1, 1, 1, 1, 2))
            is_stored = name.endswith(STORED)
            if is_stored:
                assert archive.fp is not None
                entry.extra = _padding(archive.fp.tell() + 30 + len(name.encode()), _multiple(name))
            entry.compress_type = zipfile.ZIP_STORED if is_stored else zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)


def _multiple(name: str) -> int:
    return PAGE_BYTES if name.endswith(".so") else WORD_BYTES


def _padding(start: int, multiple: int) -> bytes:
    """Return an extra field after which, at `start`, a multiple begins."""
    spare = -(start + 6) % multiple
    return struct.pack("<HHH", ALIGNMENT_FIELD, 2 + spare, multiple) + bytes(spare)


def alignment_complaints(package: Path) -> list[str]:
    """Return the stored files of a package that do not begin where they have to."""
    found = []
    with zipfile.ZipFile(package) as archive, package.open("rb") as file:
        for entry in archive.infolist():
            if not entry.filename.endswith(STORED):
                continue
            file.seek(entry.header_offset + 26)
            name, extra = struct.unpack("<HH", file.read(4))
            start, multiple = entry.header_offset + 30 + name + extra, _multiple(entry.filename)
            if entry.compress_type != zipfile.ZIP_STORED or start % multiple:
                found.append(f"{entry.filename}: want it stored at a multiple of {multiple}")
    return found


def _sign(work: Path, signed: Path, tools: Tools) -> None:
    key, word = work / "key.p12", secrets.token_hex(16)
    names = ["-keystore", str(key), "-storepass", word, "-alias", "check", "-dname", "CN=check"]
    kind = ["-storetype", "PKCS12", "-keyalg", "EC", "-groupname", "secp256r1", "-validity", "2"]
    _run(["keytool", "-genkeypair", *names, *kind], "keytool")
    # the first scheme is for Android before 7
    options = ["--ks", str(key), "--ks-pass", f"pass:{word}", "--v1-signing-enabled", "false"]
    options += ["--out", str(signed)]
    _apksigner(["sign", *options, str(work / "unsigned.apk")], tools, must_pass=True)


def _signature_complaints(signed: Path, work: Path, tools: Tools) -> list[str]:
    said = _apksigner(["verify", "--verbose", str(signed)], tools).out
    found = [f"apksigner does not say: {scheme}" for scheme in SCHEMES if scheme not in said]
    changed = bytearray(signed.read_bytes())
    changed[100] ^= 1
    (work / "changed.apk").write_bytes(changed)
    if _apksigner(["verify", str(work / "changed.apk")], tools).status == 0:
        found.append("apksigner takes a package of which one bit was changed")
    return found


def _content_complaints(demo: Path, signed: Path, tools: Tools) -> list[str]:
    command = [sys.executable, "-S", str(READER), str(signed)]
    environment = {**os.environ, "PYTHONPATH": str(tools.androguard)}
    ran = run_command(command, timeout_s=TIMEOUT_S, environment=environment)
    if ran.status:
        return [f"androguard does not read the package: {ran.said[-600:]}"]
    return content_complaints(json.loads(ran.out), demo)


def content_complaints(got: Mapping[str, Any], demo: Path) -> list[str]:
    """Return where a package differs from what the app's own files say.

    Args:
        got: what `read_package.py` wrote.
        demo: the folder android_demo.

    """
    versions = tomllib.loads((demo / "gradle" / "libs.versions.toml").read_text())["versions"]
    named = components(demo)
    want = {
        "package": PACKAGE,
        "min_sdk": versions["minSdk"],
        "target_sdk": versions["targetSdk"],
        "permissions": sorted(ALLOWED_PERMISSIONS),
        "components": sorted(named),
        "schemes": [False, True, True],
    }
    found = [
        f"{key}: want {value}, got {got[key]}" for key, value in want.items() if got[key] != value
    ]
    classes = set(got["classes"])
    found += [f"no class of the package is {name}" for name in sorted(named - _dotted(classes))]
    own = re.compile(r"L(dev/pocketportrait|kotlin|ai/onnxruntime)/")
    gone = {t for t in got["types"] if own.match(t) and not t.startswith(MISSING)} - classes
    return found + [f"{name} is named and nobody has it" for name in sorted(gone)]


def _dotted(descriptors: set[str]) -> set[str]:
    return {name[1:-1].replace("/", ".") for name in descriptors}


def _apksigner(arguments: Sequence[str], tools: Tools, *, must_pass: bool = False) -> Ran:
    jars = os.pathsep.join(map(str, tools.apksigner))
    command = ["java", *JVM, "-cp", jars, "com.android.apksigner.ApkSignerTool", *arguments]
    return _run(command, "apksigner") if must_pass else run_command(command, timeout_s=TIMEOUT_S)


def _java(arguments: Sequence[str], what: str) -> Ran:
    return _run(["java", *JVM, *arguments], what)


def _run(command: Sequence[str], what: str) -> Ran:
    try:
        ran = run_command(command, timeout_s=TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise MissingToolError(f"{what}: want it to end, got nothing") from error
    if ran.status:
        raise MissingToolError(f"{what}: want it to run, got: {ran.said.strip()[-1500:]}")
    return ran
