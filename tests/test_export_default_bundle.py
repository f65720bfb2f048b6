"""The bundle in the package is what the weights in the package export to."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pocketportrait.bundle import Bundle
from pocketportrait.contract import GRAPHS
from pocketportrait.export.default_bundle import default_bundle_path, write_default_bundle
from pocketportrait.models.weights import read_facts, shipped_weights

LIMIT_BYTES = 16_000_000


@pytest.fixture(scope="module")
def shipped() -> Iterator[Bundle]:
    with Bundle.open(default_bundle_path()) as bundle:
        yield bundle


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bundle]:
    with write_default_bundle(tmp_path_factory.mktemp("default") / "bundle") as bundle:
        yield bundle


def test_default_bundle_fits() -> None:
    files = [f for f in default_bundle_path().rglob("*") if f.is_file()]
    assert sum(f.stat().st_size for f in files) <= LIMIT_BYTES


def test_weights_fit_and_state_their_licence() -> None:
    assert shipped_weights().stat().st_size <= 10_000_000
    assert "non-commercial" in read_facts(shipped_weights())["licence"]


@pytest.mark.slow
def test_model_files_are_what_the_weights_export_to(shipped: Bundle, again: Bundle) -> None:
    for graph in GRAPHS:
        path = shipped.variant("onnx", "fp16").graphs[graph].path
        assert again.file(path).read_bytes() == shipped.file(path).read_bytes()


@pytest.mark.slow
def test_golden_samples_are_what_the_weights_compute(shipped: Bundle, again: Bundle) -> None:
    """By value: another processor may sum in another order."""
    for graph in GRAPHS:
        pairs = list(zip(shipped.golden(graph), again.golden(graph), strict=True))
        assert len(pairs) == (1 if graph == "appearance" else 2)
        for old, new in pairs:
            assert old.keys() == new.keys()
            for name in old:
                np.testing.assert_allclose(new[name], old[name], atol=1e-4, rtol=1e-4)


def test_default_bundle_carries_its_model_card(shipped: Bundle) -> None:
    card = Path(shipped_weights().with_name("MODEL_CARD.md"))
    assert shipped.file("MODEL_CARD.md").read_bytes() == card.read_bytes()
