"""Faults that are planted on purpose: a check that none of them fails checks nothing."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

PIPELINE = "pipeline/src/main/kotlin/dev/pocketportrait/pipeline"
RESOURCES = "pipeline/src/test/resources"
APP = "app/src/main"


@dataclass(frozen=True)
class Fault:
    """One change of one file, and where it has to be noticed."""

    name: str
    file: str  # relative to android_demo
    sound: str
    faulty: str
    noticed_by: str  # the JUnit test, or what a complaint has to hold


# Noticed by JUnit, all in one compilation: each has to fail the test that it names.
PIPELINE_FAULTS = (
    Fault(
        "a swapped channel",
        f"{PIPELINE}/Yuv.kt",
        "toByte(light + red)",
        "toByte(light + blue)",
        "red of the chroma plane V becomes the first channel",
    ),
    Fault(
        "a digest that nobody compares",
        f"{PIPELINE}/Bundle.kt",
        "if (digest != facts.sha256)",
        "if (digest.length != facts.sha256.length)",
        "a changed file is refused with both digests",
    ),
    Fault(
        "a sign in the code arithmetic",
        f"{PIPELINE}/MotionTransfer.kt",
        "own[it] + (driving[it] - start[it])",
        "own[it] - (driving[it] - start[it])",
        "codes are moved as the Python runtime moves them, bit for bit",
    ),
    Fault(
        "a percentile without interpolation",
        f"{PIPELINE}/Percentile.kt",
        "val part = place - below",
        "val part = (place - below) * 0",
        "percentiles are those of NumPy",
    ),
)

# Noticed by JUnit with sound classes: what a bundle's manifest says is wrong.
MANIFEST_FAULTS = (
    Fault(
        "a wrong field in a manifest",
        f"{RESOURCES}/bundle/manifest.json",
        '"licence":',
        '"license":',
        "a bundle of the Python package opens, field for field",
    ),
    Fault(
        "a file without its hash",
        f"{RESOURCES}/bundle/manifest.json",
        '"sha256":',
        '"md5":',
        "a bundle of the Python package opens, field for field",
    ),
)

# Noticed by the compiler, all in one compilation: each has to be complained of.
APP_FAULTS = (
    Fault(
        "a framework call that Android does not have",
        f"{APP}/kotlin/dev/pocketportrait/demo/CameraSource.kt",
        "manager.cameraIdList.firstOrNull",
        "manager.listOfCameras.firstOrNull",
        "unresolved reference 'listOfCameras'",
    ),
    Fault(
        "a framework call with a wrong argument",
        f"{APP}/kotlin/dev/pocketportrait/demo/Recorder.kt",
        "muxer.writeSampleData(track, buffer, info)",
        "muxer.writeSampleData(buffer, track, info)",
        "Recorder.kt",
    ),
    Fault(
        "a text that the resources do not have",
        f"{APP}/kotlin/dev/pocketportrait/demo/SelfTestActivity.kt",
        "R.string.self_test_running",
        "R.string.self_test_runs",
        "unresolved reference 'self_test_runs'",
    ),
)

# Noticed by aapt2 or the look at what it linked.
MANIFEST = f"{APP}/AndroidManifest.xml"
CAMERA = '<uses-permission android:name="android.permission.CAMERA" />'
RESOURCE_FAULTS = (
    Fault(
        "a wrong field in the app's manifest",
        MANIFEST,
        "android:allowBackup=",
        "android:allowBackups=",
        "allowBackups",
    ),
    Fault(
        "the permission to use the network",
        MANIFEST,
        CAMERA,
        CAMERA + CAMERA.replace("CAMERA", "INTERNET"),
        "android.permission.INTERNET",
    ),
    Fault(
        "a library that gets the network because nobody refuses it",
        MANIFEST,
        'android.permission.INTERNET" tools:node="remove"',
        'android.permission.VIBRATE" tools:node="remove"',
        "android.permission.INTERNET",
    ),
    Fault(
        "a text that a layout asks for and nobody has",
        f"{APP}/res/layout/main.xml",
        "@string/choose_photo",
        "@string/choose_picture",
        "choose_picture",
    ),
)

# Noticed beside the classes that were compiled.
COMPONENT_FAULTS = (
    Fault(
        "an instrumentation that the manifest names and nobody wrote",
        MANIFEST,
        ".ParityInstrumentation",
        ".PairityInstrumentation",
        "PairityInstrumentation",
    ),
)

CATALOG_FAULTS = (
    Fault(
        "a version that the dated list does not have",
        "gradle/libs.versions.toml",
        'litert = "2.3.0"',
        'litert = "2.4.0"',
        "litert",
    ),
    Fault(
        "an alias that the catalog does not have",
        "app/build.gradle.kts",
        "libs.versions.targetSdk",
        "libs.versions.newestSdk",
        "newestSdk",
    ),
)


def planted(demo: Path, copy: Path, faults: tuple[Fault, ...]) -> Path:
    """Return a copy of the Android demo that has these faults.

    Raises:
        ValueError: a fault cannot be planted, because its place has changed.

    """
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(demo, copy, ignore=shutil.ignore_patterns("build", ".gradle", "__pycache__"))
    for fault in faults:
        file = copy / fault.file
        text = file.read_text()
        if fault.sound not in text:
            raise ValueError(f"{fault.name}: {fault.file} has no {fault.sound!r} any more")
        file.write_text(text.replace(fault.sound, fault.faulty, 1))
    return copy
