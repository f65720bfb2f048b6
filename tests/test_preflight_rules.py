"""Every rule: it finds its bad graph, lets the rewrite pass, and both graphs give equal numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pocketportrait.contract import Array
from pocketportrait.validation.onnx_values import OnnxValues
from pocketportrait.validation.preflight.check import RULES, findings_of
from pocketportrait.validation.preflight.ranges import ranges_of
from pocketportrait.validation.preflight.reader import read_graph
from pocketportrait.validation.preflight.report import Finding
from pocketportrait.validation.preflight.rule import Severity
from pocketportrait.validation.preflight.targets import TARGETS
from tests.preflight_cases import CASES
from tests.preflight_net import Case, Net, floats


def found(path: Path, case: Case, feed: Mapping[str, Array]) -> list[Finding]:
    return findings_of(read_graph(path), TARGETS[case.target], ranges_of(path, [feed]))


def output_of(path: Path, feed: Mapping[str, Array]) -> Array:
    with OnnxValues(path) as values:
        name = values.model.graph.output[0].name
        return values.run(feed, keep=[name])[name]


@pytest.mark.parametrize(
    ("rule", "make"), CASES, ids=[f"{rule}-{make.__name__[5:]}" for rule, make in CASES]
)
def test_a_rule_finds_the_bad_graph_and_its_rewrite_gives_the_same_numbers(
    rule: str, make: Callable[[], Case], tmp_path: Path
) -> None:
    case = make()
    feed = {name: floats(*shape) * np.float32(case.scale) for name, shape in case.inputs.items()}
    bad, good = Net(**(case.inputs | case.bad_shapes)), Net(**case.inputs)
    bad_file = bad.save(tmp_path / "bad.onnx", case.bad(bad))
    good_file = good.save(tmp_path / "good.onnx", case.good(good))
    hits = [f for f in found(bad_file, case, feed) if f.rule == rule]
    assert hits
    assert {hit.severity for hit in hits} == {case.severity}
    assert [f for f in found(good_file, case, feed) if f.rule == rule] == []
    want, got = output_of(bad_file, feed), output_of(good_file, feed)
    assert want.size == got.size
    assert float(np.abs(want.ravel() - got.ravel()).max()) <= case.tolerance * max(
        1.0, float(np.abs(want).max())
    )


def test_every_rule_that_can_fail_is_tried_above() -> None:
    notes = {r.id for r in RULES if set(r.severity.values()) == {Severity.NOTE}}
    assert {rule.id for rule in RULES} - notes == {rule for rule, _ in CASES}
    assert len({rule.id for rule in RULES}) == len(RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rule_names_its_targets_and_what_it_stands_on(rule: Any) -> None:
    assert set(rule.severity) <= set(TARGETS)
    root = Path(__file__).resolve().parent.parent
    for place in rule.evidence:
        assert place.startswith("https://") or (root / place).is_file()


def test_what_runs_beside_xnnpack_is_a_note_that_never_fails(tmp_path: Path) -> None:
    net = Net(x=(1, 2, 4, 4))
    path = net.save(tmp_path / "n.onnx", net.Abs(net.Conv("x", floats(2, 2, 1, 1))))
    (note,) = findings_of(read_graph(path), TARGETS["ort-xnnpack"])
    assert (note.rule, note.severity) == ("own-kernels", Severity.NOTE)
    assert "1 of 2 nodes" in note.why
    assert "Abs 1" in note.why
