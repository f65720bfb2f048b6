"""The wheel holds everything, and what it holds works where torch is not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("media", "models", "distill", "quantize", "export", "runtime", "validation")
WITHOUT_TORCH = ("bundle", "cli", "media", "quantize", "runtime", "validation")
DATA = (
    "py.typed",
    "runtime/targets/insncount.c",
    "validation/report.html",
    *(f"runtime/web/page/{file.name}" for file in (ROOT / "runtime/web/page").iterdir()),
    "assets/samples/SAMPLES.json",
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build from a copy of what is committed, so that no stale build folder joins in."""
    copy = tmp_path_factory.mktemp("source") / "repository"
    copy.mkdir()
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        if os.path.lexists(ROOT / name):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name, follow_symlinks=False)
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(copy)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    (built,) = out.glob("*.whl")
    return built


def test_every_module_and_asset_is_in_the_wheel(wheel: Path) -> None:
    wanted = {f"pocketportrait/{name}" for name in DATA}
    for stage in STAGES:
        wanted |= {
            f"pocketportrait/{f.relative_to(ROOT).as_posix()}"
            for form in ("*.py", "*.toml")
            for f in (ROOT / stage).rglob(form)
        }
    for file in (ROOT / "pocketportrait").rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            wanted.add(file.relative_to(ROOT).as_posix())
    held = {
        name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("pocketportrait/")
    }
    committed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    known = set(committed.stdout.splitlines())
    wanted = {w for w in wanted if w in known or w.removeprefix("pocketportrait/") in known}
    assert wanted - held == set()
    assert held - wanted == set()


def test_the_wheel_carries_its_licence_and_its_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        texts = {
            Path(n).name: archive.read(n).decode() for n in archive.namelist() if ".dist-info/" in n
        }
    assert "pocketportrait = pocketportrait.cli:main" in texts["entry_points.txt"]
    assert "License-Expression: Apache-2.0" in texts["METADATA"]
    assert "Apache License" in texts["LICENSE"]


def test_the_core_imports_from_the_wheel_without_torch(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = f"""
import importlib, pkgutil, sys
sys.path.insert(0, {str(tmp_path)!r})
class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "onnx", "nncf", "coremltools", "litert_torch"):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, NoTorch())
import pocketportrait
assert pocketportrait.__file__.startswith({str(tmp_path)!r}), pocketportrait.__file__
skipped = ("pocketportrait.runtime.coreml_oracle", "pocketportrait.runtime.mil")
# what drives converters and trains comes with the extra `quantize`, and torch with that
tools = "fake laboratory onnx_backend qat sensitivity sweep tflite_backend workbench".split()
skipped += tuple("pocketportrait.quantize." + tool for tool in tools)
for stage in {WITHOUT_TORCH!r}:
    package = importlib.import_module("pocketportrait." + stage)
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.startswith(skipped):
            importlib.import_module(module.name)
"""
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
