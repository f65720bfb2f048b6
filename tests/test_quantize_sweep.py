"""Search: spaces, fronts and picking; two processes share a study, and a killed one loses nothing."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from pocketportrait.bundle import Bundle
from pocketportrait.cli import main
from pocketportrait.contract import GRAPHS
from pocketportrait.errors import ConverterError, InputError
from pocketportrait.models.dims import phone
from pocketportrait.models.student import Student
from pocketportrait.quantize.front import Front, Tried, front_schema
from pocketportrait.quantize.judging import Figures
from pocketportrait.quantize.layers import Layer
from pocketportrait.quantize.plan import make_plan
from pocketportrait.quantize.recipe import Recipe, parse_recipe
from pocketportrait.quantize.space import Space, read_space, space_schema

pytest.importorskip("optuna")

from pocketportrait.quantize.study import Study

ROOT = Path(__file__).parents[1]

SPACE: dict[str, Any] = {
    "name": "trial",
    "objectives": ["psnr_db", "bytes"],
    "base": {"scheme": "fp32"},
    "choices": [
        {"name": "body", "graph": "motion", "layers": r"body\..*", "schemes": ["w8", "fp32"]},
        {"name": "rest", "graph": "render", "schemes": ["w8", "fp32"]},
        {"name": "photo", "graph": "appearance", "schemes": ["w8", "fp32"]},
    ],
}

# a process of its own: what is tried costs nothing, begins when as many processes as told try something,
# and may say that it began and then hang
WORKER = """
import json, os, sys, time
from pathlib import Path
from pocketportrait.quantize.judging import Figures
from pocketportrait.quantize.space import Space
from pocketportrait.quantize.study import Study

folder, space = Path(sys.argv[1]), json.loads(sys.argv[2])
count, hang, processes = map(int, sys.argv[3:])
done = 0

def judge(recipe):
    global done
    if done == hang:
        (folder / "hanging").touch()
        time.sleep(600)
    (folder / f"began-{os.getpid()}").touch()
    while len(list(folder.glob("began-*"))) < processes:
        time.sleep(0.02)
    done += 1
    time.sleep(0.02)
    floats = sum(rule.scheme == "fp32" for rule in recipe.rules)
    return Figures(psnr_db=40 + floats, worst_db=40, lost_db=1, bytes=100 + floats)

with Study(folder, Space.model_validate(space), "key") as study:
    study.run(count, judge)
print(done)
"""


def start(folder: Path, count: int, hang: int = -1, processes: int = 1) -> subprocess.Popen[str]:
    arguments = [
        sys.executable,
        "-c",
        WORKER,
        str(folder),
        json.dumps(SPACE),
        str(count),
        str(hang),
        str(processes),
    ]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def figures(recipe: Recipe) -> Figures:
    floats = sum(rule.scheme == "fp32" for rule in recipe.rules)
    return Figures(psnr_db=40 + floats, worst_db=40, lost_db=1, bytes=100 + floats)


def tried(number: int, db: float, size: int, ms: float | None = None) -> Tried:
    found = Figures(psnr_db=db, worst_db=db, lost_db=0, bytes=size, frame_ms=ms)
    recipe = parse_recipe(f'name = "r{number}"\nscheme = "w8"')
    return Tried(number=number, chosen={"a": "w8"}, recipe=recipe, figures=found)


def front_of(*rows: Tried) -> Front:
    return Front.of(rows, ("psnr_db", "bytes"), space="s", format="onnx")


def test_the_front_holds_what_nothing_beats() -> None:
    front = front_of(tried(0, 40, 100), tried(1, 39, 100), tried(2, 38, 90), tried(3, 38, 95))
    assert front.front == (0, 2)


def test_picking_takes_the_cheapest_that_keeps_all_conditions() -> None:
    front = front_of(tried(0, 44, 300, 3), tried(1, 41, 200, 5), tried(2, 36, 100, 1))
    assert front.pick(["psnr_db>=38"]).number == 0
    assert front.pick(["psnr_db>=38, bytes<=250"]).number == 1
    with pytest.raises(InputError, match=r"none on the front of 3; the nearest has psnr_db 44"):
        front.pick(["psnr_db>=50"])
    with pytest.raises(InputError, match="want FIGURE>=NUMBER"):
        front.pick(["ssim>=1"])


def test_a_space_is_read_and_follows_its_schema(tmp_path: Path) -> None:
    (tmp_path / "space.json").write_text(json.dumps(SPACE))
    space = read_space(tmp_path / "space.json")
    assert [r.rules[0].scheme for r in space.corners()] == ["w8", "fp32"]
    for name, schema in (("space", space_schema()), ("front", front_schema())):
        assert json.loads((ROOT / f"docs/schemas/{name}-1.json").read_text()) == schema
    (tmp_path / "space.json").write_text(json.dumps({**SPACE, "choices": [{"name": "x"}]}))
    with pytest.raises(InputError, match=r"choices\.0\.schemes"):
        read_space(tmp_path / "space.json")


def test_the_space_of_the_shipped_student_names_its_layers() -> None:
    space = read_space(ROOT / "benchmarks/search_space.toml")
    student = Student(phone())
    layers = {
        graph: tuple(
            Layer(name, "linear" if isinstance(part, nn.Linear) else "conv", np.ones(1), (), 0)
            for name, part in getattr(student, graph).named_modules()
            if isinstance(part, nn.Linear | nn.Conv2d)
        )
        for graph in GRAPHS
    }
    for recipe in space.corners():
        plans = make_plan(recipe, layers, (space.format,))
        assert plans["motion"].settings["head"].scheme == "fp32"
    assert plans["render"].settings["flow.head"].scheme == "w8a8"


def test_equal_choices_have_equal_names_and_toml_is_the_recipe() -> None:
    space = Space.model_validate(SPACE)
    recipe = space.recipe({"body": "w8", "rest": "fp32", "photo": "w8"})
    assert recipe == space.recipe({"photo": "w8", "rest": "fp32", "body": "w8"})
    assert recipe != space.recipe(space.first())
    assert parse_recipe(recipe.to_toml()) == recipe


def test_two_processes_make_one_front(tmp_path: Path) -> None:
    workers = [start(tmp_path, 12, processes=2) for _ in range(2)]
    done = [int(worker.communicate(timeout=280)[0]) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    record = json.loads((tmp_path / "pareto.json").read_text())
    assert sorted(t["number"] for t in record["trials"]) == list(range(12))
    assert sum(done) <= 12  # what was tried before is not made again
    assert min(done) > 0
    assert {t["figures"]["bytes"] for t in record["trials"] if t["number"] in record["front"]} <= {
        100,
        101,
        102,
        103,
    }


def test_a_killed_process_loses_no_finished_trial(tmp_path: Path) -> None:
    worker = start(tmp_path, 6, hang=2)
    deadline = time.monotonic() + 280
    while not (tmp_path / "hanging").exists():
        assert worker.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.kill(worker.pid, signal.SIGKILL)
    worker.communicate()
    with Study(tmp_path, Space.model_validate(SPACE), "key") as study:
        before = study.front()
        assert len(before.trials) >= 2
        after = study.run(6, figures)
    assert len(after.trials) == 6
    assert after.failed == 0
    kept = [one for one in after.trials if one.number in {b.number for b in before.trials}]
    assert kept == list(before.trials)
    tried_again = [one for one in after.trials if one.number > max(b.number for b in before.trials)]
    assert len(tried_again) == 6 - len(before.trials)


def test_another_study_is_not_continued(tmp_path: Path) -> None:
    with Study(tmp_path, Space.model_validate(SPACE), "key") as study:
        study.run(1, figures)
    other = Study(tmp_path, Space.model_validate(SPACE), "other bundle")
    with pytest.raises(InputError, match="another space, bundle or calibration set"), other:
        pass


def test_a_failed_tool_fails_its_trial_alone(tmp_path: Path) -> None:
    def fails_once(recipe: Recipe) -> Figures:
        if recipe.rules[0].scheme == "w8" and recipe.rules[1].scheme == "w8":
            raise ConverterError("the tool broke")
        return figures(recipe)

    with Study(tmp_path, Space.model_validate(SPACE), "key") as study:
        front = study.run(5, fails_once)
    assert front.failed >= 1
    assert len(front.trials) + front.failed == 5


def test_a_sweep_of_the_tiny_student_writes_all_it_promises(
    tiny_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "space.json").write_text(json.dumps(SPACE))
    out = tmp_path / "study"
    arguments = ["sweep", str(tmp_path / "space.json"), "--bundle", str(tiny_bundle.root)]
    arguments += ["-n", "4", "-o", str(out), "--pick", "psnr_db>=30"]
    assert main(arguments) == 0
    said = capsys.readouterr()
    assert "sweep: 4 of 4" in said.err
    assert f"recipe: {out / 'picked.toml'}" in said.out
    record = json.loads((out / "pareto.json").read_text())
    assert len(record["trials"]) == 4
    assert (out / "pareto.csv").read_text().count("\n") == 5
    assert "<svg" in (out / "pareto-bytes.svg").read_text()
    picked = tomllib.loads((out / "picked.toml").read_text())
    sizes = {t["recipe"]["name"]: t["figures"]["bytes"] for t in record["trials"]}
    assert sizes[picked["name"]] == min(sizes.values())


def test_a_terminal_shows_the_front_while_the_search_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pocketportrait.cli.sweep import _fronts

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with _fronts(3) as tell:
        tell(front_of(tried(0, 41.5, 100)), 2)
    assert "2/3" in shown.getvalue()
    assert "41.5" in shown.getvalue()


def test_what_a_format_cannot_do_is_told_before_any_trial(
    tiny_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    choices = [
        {"name": "one", "op": "linear", "schemes": ["w8", "palette6"]},
        {"name": "two", "layers": "nothing", "schemes": ["w8", "fp32"]},
    ]
    (tmp_path / "space.json").write_text(json.dumps({**SPACE, "choices": choices}))
    arguments = ["sweep", str(tmp_path / "space.json"), "--bundle", str(tiny_bundle.root)]
    assert main([*arguments, "-o", str(tmp_path / "study")]) == 2
    said = capsys.readouterr().err
    assert "onnx cannot be palette6" in said
    assert "matches no layer" in said
    assert not (tmp_path / "study" / "journal.log").exists()
