"""One file twice: two passes of one engine, and two engines; what gates of parity alone let through."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pocketportrait.bundle import Bundle
from pocketportrait.contract import Array
from pocketportrait.errors import MissingToolError
from pocketportrait.runtime.targets.local import LocalTarget
from pocketportrait.runtime.targets.protocol import Job, Outcome
from pocketportrait.validation import replay
from pocketportrait.validation.checks import Check, Status, VerifyReport
from pocketportrait.validation.matrix import matrix_rows
from pocketportrait.validation.verify import verify

Change = Callable[[str, Array], Array]


class OtherEngine(LocalTarget):
    """ONNX Runtime by another name, whose outputs are changed, sample by sample."""

    def __init__(self, change: Change) -> None:
        super().__init__("onnxruntime")
        self.name, self._change = "test:other", change

    def pull(self, job: Job) -> Outcome:
        outcome = super().pull(job)
        for sample, outputs in outcome.outputs.items():
            for name, value in outputs.items():
                outputs[name] = self._change(sample, value)  # type: ignore[index]
        return outcome


def noisy(psnr_db: float) -> Change:
    """Change outputs of values v by this much of max(v) - min(v)."""
    random = np.random.default_rng(0)

    def change(sample: str, value: Array) -> Array:
        noise = random.normal(0, float(np.ptp(value)) * 10 ** (-psnr_db / 20), value.shape)
        return value + noise.astype(np.float32)

    return change


def verified(bundle: Bundle, change: Change, precision: str = "fp16") -> VerifyReport:
    return verify(bundle, formats=["onnx"], precisions=[precision], targets=[OtherEngine(change)])


def of_kind(report: VerifyReport, kind: str) -> list[Check]:
    return [check for check in report.checks if check.kind == kind]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_an_engine_that_repeats_itself_and_agrees_with_this_machine_passes(
    tiny_bundle: Bundle, precision: str
) -> None:
    report = verified(tiny_bundle, lambda _, value: value, precision)
    assert report.of(Status.FAIL, Status.WARN, Status.SKIP) == ()
    for kind in ("repeat", "here"):
        found = of_kind(report, kind)
        assert len(found) == 5  # outputs of three graphs
        assert {check.max_abs for check in found} == {0.0}
        assert all(check.max_abs_limit or check.psnr_db_limit for check in found)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_an_engine_that_differs_from_itself_fails_though_every_sample_passes(
    tiny_bundle: Bundle, precision: str
) -> None:
    """As one does that reads memory nobody wrote, or keeps something of the sample before."""

    def drift(sample: str, value: Array) -> Array:
        return value * np.float32(1.02) if sample == replay.AGAIN else value

    report = verified(tiny_bundle, drift, precision)
    assert {check.kind for check in report.of(Status.FAIL)} == {"repeat"}
    assert {row.status for row in matrix_rows(report)} == {Status.FAIL}


def test_an_engine_that_takes_a_quantized_file_for_another_one_fails(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is 25 dB from torch may be quantization; 25 dB from the same file here is a fault."""
    monkeypatch.setattr(replay, "arithmetic_of", lambda *_: "quantized")
    report = verified(tiny_bundle, noisy(25))
    assert {check.kind for check in report.of(Status.FAIL)} == {"here", "repeat"}
    golden = of_kind(report, "golden")
    assert golden
    assert all(check.status is Status.PASS for check in golden)


def test_without_an_engine_here_it_is_doubted(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> LocalTarget:
        raise MissingToolError(f"{name} is not installed")

    monkeypatch.setattr(replay, "local_target", missing)
    report = verified(tiny_bundle, lambda _, value: value)
    assert of_kind(report, "here") == list(report.of(Status.WARN))
    assert "not compared with this machine: onnxruntime is not" in report.of(Status.WARN)[0].message


def test_an_output_that_is_no_number_is_said_once(tiny_bundle: Bundle) -> None:
    report = verified(tiny_bundle, lambda _, value: value * np.float32(np.nan))
    assert {check.kind for check in report.of(Status.FAIL)} == {"golden", "fresh", "here"}
