"""A few mutated files for every reader, within seconds; `acceptance/fuzz.py` has a minute for each."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pocketportrait.errors import PortraitError
from tests.fuzz_targets import KINDS, SEEDS_OF, SPLICES, TARGETS, Edit, mutated, seeds_of

EDITS = st.lists(
    st.builds(
        Edit,
        st.sampled_from(KINDS),
        st.floats(0, 1),
        st.sampled_from(SPLICES) | st.binary(min_size=1, max_size=4),
    ),
    min_size=1,
    max_size=6,
)
EXAMPLES = 40  # of each target; native libraries that may crash a process are left to acceptance


@pytest.mark.parametrize("name", TARGETS)
def test_saved_files_end_in_a_result_or_our_own_error(name: str) -> None:
    for path in seeds_of(name):
        with contextlib.suppress(PortraitError):
            TARGETS[name](path)


@pytest.mark.parametrize("name", [n for n in TARGETS if n not in ("onnx", "tflite", "mlpackage")])
def test_mutated_files_end_in_a_result_or_our_own_error(name: str, tmp_path: Path) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(seeds_of(name)), EDITS)
    def attack(original: Path, edits: list[Edit]) -> None:
        path = tmp_path / f"current{original.suffix}"
        path.write_bytes(mutated(original.read_bytes(), edits))
        with contextlib.suppress(PortraitError):
            TARGETS[name](path)

    attack()


def test_every_target_has_seeds() -> None:
    assert all(seeds_of(name) for name in TARGETS)
    assert SEEDS_OF.keys() <= TARGETS.keys()
