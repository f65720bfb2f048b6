"""A Mac and an iphone, stood in for: Core ML's answers come from the evaluator, its plan from a list.

Nothing here shows what Apple's engines compute; it shows what is asked of them, and what is made of it.
"""

from __future__ import annotations

import dataclasses
import types
from pathlib import Path
from typing import Any

import pytest

from pocketportrait.bundle import Bundle
from pocketportrait.cli import main
from pocketportrait.contract import Array
from pocketportrait.errors import InputError, MissingToolError
from pocketportrait.runtime import coreml_runner
from pocketportrait.runtime.coreml_oracle import CoremlOracle
from pocketportrait.runtime.coreml_plan import operators_by_unit, plan_line
from pocketportrait.runtime.targets import iphone
from pocketportrait.runtime.targets.iphone import IphoneTarget
from pocketportrait.runtime.targets.mac import MAC_UNITS
from pocketportrait.runtime.targets.protocol import TargetError
from pocketportrait.runtime.targets.registry import target_named
from pocketportrait.validation.bench_residency import residency_of
from pocketportrait.validation.checks import Status
from pocketportrait.validation.report_record import read_result
from pocketportrait.validation.verify import verify

DEVICES = {
    name: type(name, (), {})()
    for name in ("MLCPUComputeDevice", "MLGPUComputeDevice", "MLNeuralEngineComputeDevice")
}


def plan(*units: str | None) -> Any:
    """Return a compute plan whose operations prefer these units, the last one inside of a block."""
    space = types.SimpleNamespace
    operations = [space(blocks=[], unit=unit) for unit in units]
    last = operations.pop()
    operations.append(space(blocks=[space(operations=[last])], unit=None))
    function = space(block=space(operations=operations))
    structure = space(program=space(functions={"main": function}))

    def usage(operation: Any) -> Any:
        if operation.unit is None:
            return None
        return space(preferred_compute_device=DEVICES[operation.unit])

    return space(model_structure=structure, get_compute_device_usage_for_mlprogram_operation=usage)


class Model:
    """What is used of a loaded MLModel of coremltools, computed by the evaluator."""

    def __init__(self, path: Path, units: Any) -> None:
        self.compute_unit = units
        self._oracle = CoremlOracle(path).__enter__()

    def get_compiled_model_path(self) -> str:
        return "model.mlmodelc"

    def predict(self, feed: dict[str, Array]) -> dict[str, Array]:
        return self._oracle.infer(feed)


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Make this machine look like a Mac; gives the packages that were loaded, with their units."""
    coremltools = coremltools_here()
    from coremltools.models import compute_plan

    from pocketportrait.validation import mac as whole

    for module in (coreml_runner, whole, iphone):
        monkeypatch.setattr(module, "why_not", lambda: None)
    kind = dataclasses.replace(runner_kinds()["coreml"], why_not=lambda: None)
    monkeypatch.setitem(runner_kinds(), "coreml", kind)
    real, asked = coremltools.models.MLModel, list[tuple[str, str]]()

    def model(path: str, *, compute_units: Any = None, skip_model_load: bool = False) -> Any:
        if skip_model_load:
            return real(path, skip_model_load=True)
        asked.append((Path(path).name, compute_units.name))
        return Model(Path(path), compute_units)

    monkeypatch.setattr(coremltools.models, "MLModel", model)
    units = ("MLNeuralEngineComputeDevice", "MLNeuralEngineComputeDevice", "MLCPUComputeDevice")
    made = types.SimpleNamespace(load_from_path=lambda path, unit: plan(None, *units))
    monkeypatch.setattr(compute_plan, "MLComputePlan", made)
    return asked


def coremltools_here() -> Any:
    from pocketportrait.runtime.coreml_package import import_coremltools

    return import_coremltools()


def runner_kinds() -> Any:
    from pocketportrait.runtime.runner import KINDS

    return KINDS


def test_a_plan_is_counted_by_the_unit_that_core_ml_prefers() -> None:
    found = operators_by_unit(plan(None, "MLGPUComputeDevice", *["MLCPUComputeDevice"] * 3))
    assert plan_line(found) == "CPU 3, GPU 1"
    other = types.SimpleNamespace(model_structure=types.SimpleNamespace(program=None))
    with pytest.raises(InputError, match="want that of an ML program"):
        operators_by_unit(other)


def test_each_target_asks_core_ml_for_its_units(
    tiny_bundle: Bundle, mac: list[tuple[str, str]]
) -> None:
    names = ["mac:cpu", "mac:gpu", "mac:ne", "local:coreml"]
    targets = [target_named(name) for name in names]
    report = verify(tiny_bundle, formats=["coreml"], precisions=["fp32"], targets=targets)
    assert report.of(Status.FAIL, Status.SKIP) == ()
    assert {t.name: t.emulated for t in report.targets} == dict.fromkeys(names, False)
    assert [unit for file, unit in mac if file == "render.mlpackage"] == [
        MAC_UNITS[name] for name in names
    ]


def test_bench_tells_the_plan_of_a_package(tiny_bundle: Bundle, mac: list[tuple[str, str]]) -> None:
    units, note = residency_of(tiny_bundle.file("coreml/fp16/motion.mlpackage"), "coreml")
    assert (note, {u.unit: u.operators for u in units}) == ("", {"Neural Engine": 2, "CPU": 1})


def test_a_mac_that_has_no_plan_says_so_and_keeps_its_figures(
    tiny_bundle: Bundle, mac: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from coremltools.models import compute_plan

    from pocketportrait.validation.bench import BenchOptions, Choice
    from pocketportrait.validation.bench_target import measure_targets

    def refuse(path: str, unit: Any) -> Any:
        raise RuntimeError("MLComputePlan is only available on macOS 14.4")

    monkeypatch.setattr(compute_plan.MLComputePlan, "load_from_path", refuse)
    choice = Choice.read(tiny_bundle, "coreml/fp16")
    options = BenchOptions(rounds=20, warmup=0)
    (bench,) = measure_targets([choice], [target_named("mac:ne")], options)
    (row,) = bench.variants
    assert row.frame is not None
    assert row.graphs[0].residency_note.startswith("not told: ")
    assert row.graphs[0].residency_note.endswith("available on macOS 14.4")


def test_the_script_writes_a_record_that_another_machine_imports(
    tiny_bundle: Bundle,
    mac: list[tuple[str, str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pocketportrait.validation import mac as whole

    units = {name: MAC_UNITS[name] for name in ("mac:cpu", "mac:ne")}
    monkeypatch.setattr(whole, "MAC_UNITS", units)  # half of them, which is quicker
    out, merged = tmp_path / "mac.json", tmp_path / "report.json"
    rounds = ["--rounds", "20", "--warmup", "0"]
    assert main(["mac", str(tiny_bundle.root), "-o", str(out), *rounds]) == 0
    assert "coreml/fp16 on mac:ne" in capsys.readouterr().out
    assert main(["import-result", str(out), "--report", str(merged)]) == 0
    report = read_result(merged)
    (found,) = report.verifications
    assert {t.name for t in found.targets} == {"local:onnxruntime", "mac:cpu", "mac:ne"}
    rows = [row for bench in report.benches for row in bench.variants]
    assert {(row.variant, row.target) for row in rows} == {
        (f"coreml/{precision}", name) for precision in ("fp32", "fp16") for name in units
    }
    assert all(row.frame and not row.emulated for row in rows)
    assert {graph.residency_note for row in rows for graph in row.graphs} == {
        "Neural Engine 2, CPU 1"
    }
    assert {c.kind for c in found.checks if c.target == "mac:ne"} == {
        "specs",
        "golden",
        "fresh",
        "repeat",
    }


def test_another_system_is_told_that_it_is_no_mac(
    tiny_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    if coreml_runner.why_not() is None:
        pytest.skip("this is a Mac")
    assert main(["mac", str(tiny_bundle.root)]) == 3
    assert "Core ML runs on macOS alone" in capsys.readouterr().err
    assert "macOS alone" in str(target_named("mac:ne").probe().reason)
    assert "macOS alone" in str(target_named("iphone").probe().reason)


def test_a_bundle_without_core_ml_is_refused(
    tiny_bundle: Bundle, mac: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pocketportrait.validation import mac as whole

    monkeypatch.setattr(whole, "all_variants", lambda bundle: ())
    with pytest.raises(InputError, match="with coreml variants, got none"):
        whole.measure_mac(tiny_bundle.root)


class Phone:
    """What is used of coremltools' Device."""

    os_version, os_build_number = "18.1", "22B83"

    def __init__(self, name: str = "Anna's iPhone") -> None:
        self.name = name
        self.session = types.SimpleNamespace(is_alive=True)
        self.prepared: list[str] = []
        self.trouble: Exception | None = None

    async def prepare_for_model_debugging(self, credentials: Any) -> Phone:
        if self.trouble:
            raise self.trouble
        self.prepared.append(credentials.development_team)
        return self


class RemoteModel:
    """What is used of coremltools' MLModelAsyncWrapper: 2 ms to load, 5 ms a prediction."""

    def __init__(self, path: str, phone: Phone) -> None:
        self._oracle, self._phone = CoremlOracle(Path(path)).__enter__(), phone
        self.load_duration_in_nano_seconds = 2_000_000
        self.last_predict_duration_in_nano_seconds: int | None = None

    async def load(self) -> None:
        return None

    async def unload(self) -> None:
        return None

    async def predict(self, feed: dict[str, Array]) -> dict[str, Array]:
        if self._phone.trouble:
            raise self._phone.trouble
        self.last_predict_duration_in_nano_seconds = 5_000_000
        return self._oracle.infer(feed)

    async def retrieve_compute_plan(self) -> Any:
        return plan(None, "MLNeuralEngineComputeDevice", "MLCPUComputeDevice")


@pytest.fixture
def phones(monkeypatch: pytest.MonkeyPatch) -> list[Phone]:
    """A Mac with Xcode, and the iPhones on its cables."""
    coremltools_here()
    from coremltools.models.ml_program.experimental import async_wrapper, remote_device

    connected = [Phone()]
    monkeypatch.setattr(iphone, "why_not", lambda: None)
    monkeypatch.setattr(iphone.shutil, "which", lambda name: name)
    monkeypatch.setenv(iphone.TEAM_VARIABLE, "TEAM123456")
    monkeypatch.setattr(remote_device.Device, "get_connected_devices", lambda kind: connected)
    monkeypatch.setattr(
        async_wrapper.MLModelAsyncWrapper,
        "from_spec_or_path",
        lambda spec_or_path, weights_dir, compute_units, device: RemoteModel(spec_or_path, device),
    )
    return connected


def test_an_iphone_passes_and_its_own_clock_counts(
    tiny_bundle: Bundle, phones: list[Phone]
) -> None:
    from pocketportrait.validation.bench import BenchOptions, Choice
    from pocketportrait.validation.bench_target import measure_targets

    target = target_named("iphone:Anna's iPhone")
    report = verify(tiny_bundle, formats=["coreml"], precisions=["fp32"], targets=[target])
    assert report.of(Status.FAIL, Status.SKIP) == ()
    (facts,) = report.targets
    assert facts.device is not None
    assert (facts.device.system, facts.device.engine_version) == ("iOS 18.1", "22B83")
    choice = Choice.read(tiny_bundle, "coreml/fp32")
    (bench,) = measure_targets([choice], [target], BenchOptions(rounds=20, warmup=2))
    (row,) = bench.variants
    assert row.frame is not None
    assert (row.frame.p50_ms, row.frame.repeats, row.graphs[0].load_ms) == (10.0, 20, 2.0)
    assert row.graphs[0].residency_note == "Neural Engine 1, CPU 1"
    assert bench.machine.line() == "iPhone, iOS 18.1 arm64"
    assert phones[0].prepared == ["TEAM123456"]  # once for all jobs


def test_a_phone_that_breaks_off_fails_and_never_passes(
    tiny_bundle: Bundle, phones: list[Phone], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = target_named("iphone")
    assert isinstance(target, IphoneTarget)
    run = target.run

    def vanish(job: Any) -> None:
        phones[0].trouble = ConnectionError("The device was unplugged")
        run(job)

    monkeypatch.setattr(target, "run", vanish)
    report = verify(tiny_bundle, formats=["coreml"], precisions=["fp32"], targets=[target])
    failed = report.of(Status.FAIL)
    assert failed[0].message == "iphone: The device was unplugged"
    assert not [c for c in report.checks if c.kind == "golden" and c.target == "iphone"]


def test_an_app_that_cannot_be_signed_says_what_to_do(
    tiny_bundle: Bundle, phones: list[Phone]
) -> None:
    from pocketportrait.runtime.targets.protocol import Job

    phones[0].trouble = ValueError("Signing requires a development team\nlog")
    files = tiny_bundle.variant("coreml", "fp32").graphs["motion"]
    job = Job(tiny_bundle.root, "coreml", tiny_bundle.graph_spec("motion"), files, {})
    with pytest.raises(
        TargetError, match=r"development team; unlock it.*POCKETPORTRAIT_APPLE_TEAM"
    ):
        IphoneTarget().push(job)


@pytest.mark.parametrize(("names", "said"), [((), "got none"), (("a", "b"), "got a, b")])
def test_a_phone_that_is_not_there_or_not_named_is_told(
    names: tuple[str, ...], said: str, phones: list[Phone]
) -> None:
    phones[:] = [Phone(name) for name in names]
    assert said in str(IphoneTarget().probe().reason)
    with pytest.raises(MissingToolError, match="want one connected iPhone"):
        IphoneTarget("c").push(None)  # type: ignore[arg-type]
