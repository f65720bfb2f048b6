"""The lock is the constraints with digests, and what a wheel depends on can be told."""

import importlib.util
import json
import re
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text().splitlines()
    found = (re.match(r"([A-Za-z0-9._-]+)==([^\s;\\]+)", line) for line in lines)
    return {re.sub(r"[-_.]+", "-", m[1]).lower(): m[2] for m in found if m}


def test_the_lock_has_every_version_of_the_constraints_but_torch() -> None:
    wanted = pins("constraints.txt")
    del wanted["torch"]
    assert pins("requirements.lock") == wanted


def test_every_version_has_a_digest_and_no_address() -> None:
    text = (ROOT / "requirements.lock").read_text()
    entries = re.split(r"\n(?=[A-Za-z0-9])", text.partition("\n")[2])
    assert len(entries) == len(pins("requirements.lock"))
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", entry) for entry in entries)
    assert "://" not in text


def test_the_bill_of_materials_names_the_core_and_what_it_asks_for(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("sbom", ROOT / ".ci/sbom.py")
    assert spec is not None
    assert spec.loader is not None
    sbom = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sbom)
    wheel = tmp_path / "pocketportrait-0.1.0-py3-none-any.whl"
    told = ["Metadata-Version: 2.4", "Name: pocketportrait", "Version: 0.1.0"]
    told += ["Requires-Dist: pydantic>=2", 'Requires-Dist: pytest; extra == "dev"']
    told += ['Requires-Dist: hypothesis; extra == "more"', "Provides-Extra: more"]
    told += ['Requires-Dist: not-a-package-here; extra == "more"', "Provides-Extra: dev"]
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("pocketportrait-0.1.0.dist-info/METADATA", "\n".join(told) + "\n\n")
    made = sbom.document(wheel)
    names = {one["name"] for one in made["components"]}
    assert {"pydantic", "pydantic-core", "hypothesis"} <= names
    assert "pytest" not in names
    assert made["metadata"]["properties"][0]["value"] == "not-a-package-here"
    refs = names | {"pocketportrait"}
    assert {d["ref"] for d in made["dependencies"]} == refs
    assert all(set(d["dependsOn"]) <= refs for d in made["dependencies"])
    assert json.dumps(made) == json.dumps(sbom.document(wheel))
