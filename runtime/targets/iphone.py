"""An iPhone on a cable of this Mac, by the remote device that coremltools has: `iphone:NAME`.

coremltools builds a small app with Xcode, signs it, and installs it; models, inputs and outputs travel
through it. Times are those of the phone's own clock, around each prediction.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
import shutil
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pocketportrait.contract import Array
from pocketportrait.errors import InputError, MissingToolError
from pocketportrait.runtime.contract_runner import ContractRunner
from pocketportrait.runtime.coreml_package import import_coremltools, open_package, package_specs
from pocketportrait.runtime.coreml_plan import operators_by_unit, plan_line
from pocketportrait.runtime.coreml_runner import why_not
from pocketportrait.runtime.file_runner import FileRunner, Specs
from pocketportrait.runtime.targets.passes import run_passes
from pocketportrait.runtime.targets.protocol import Job, Outcome, Probe, TargetError, Traits
from pocketportrait.runtime.targets.record import DeviceRecord, TimingsRecord

IPHONE = "iphone"
TEAM_VARIABLE = "POCKETPORTRAIT_APPLE_TEAM"  # the developer team that signs the app
EXPERIMENTAL = "coremltools.models.ml_program.experimental"
NS_PER_MS = 1e6

Answer = TypeVar("Answer")


class IphoneTarget:
    """One iPhone; Core ML there chooses among all of its units."""

    def __init__(self, phone: str = "") -> None:
        """Remember the phone; nothing is asked yet.

        Args:
            phone: its name as Xcode shows it; empty for the only one that is connected.

        """
        self._phone = phone
        self.name = f"{IPHONE}:{phone}" if phone else IPHONE
        self.traits = Traits(("coreml",), True, True, "", False)
        self._prepared: Any = None  # a coremltools Device with a running app
        self._outcomes: dict[str, Outcome] = {}

    def engine(self, format: str) -> str:
        """Return the engine's name."""
        return "coreml"

    def probe(self) -> Probe:
        """Say whether the phone is connected and Xcode is there."""
        if reason := why_not():
            return Probe(reason)
        for program in ("xcrun", "xcodebuild"):
            if shutil.which(program) is None:
                return Probe(f"{self.name}: want the program {program}, got none; install Xcode")
        try:
            self._connected()
        except MissingToolError as error:
            return Probe(str(error))
        return Probe()

    def push(self, job: Job) -> None:
        """Build, sign and start the app on the phone, once.

        Raises:
            MissingToolError: no such phone, or no Xcode.
            TargetError: the app does not get there.

        """
        probe = self.probe()
        if probe.reason is not None:
            raise MissingToolError(probe.reason)
        if self._prepared is not None and self._prepared.session.is_alive:
            return
        remote = importlib.import_module(f"{EXPERIMENTAL}.remote_device")
        team = os.environ.get(TEAM_VARIABLE, "")
        credentials = remote.AppSigningCredentials(development_team=team)
        device = self._connected()
        try:
            self._prepared = _awaited(device.prepare_for_model_debugging(credentials=credentials))
        except Exception as error:  # xcodebuild and devicectl fail in many ways
            raise TargetError(
                f"{self.name}: want coremltools' app on the phone, got: {_first_line(error)};"
                f" unlock it, turn developer mode on, and set {TEAM_VARIABLE}"
            ) from error

    def run(self, job: Job) -> None:
        """Run the job and keep what it gave.

        Raises:
            InputError: a file that takes pictures, or unlike the manifest.
            TargetError: the phone vanished, or Core ML refused the file there.

        """
        inner = RemoteRunner(self.name, job.model, self._prepared)
        with ContractRunner(inner, job.graph, job.declared) as runner:
            passes = run_passes(runner, job.feeds, warmup=job.warmup, repeats=job.repeats)
            residency = inner.residency()
        timings = TimingsRecord(
            load_ms=inner.load_ms,
            first_ms=inner.passes_ms[0],
            passes_ms=tuple(inner.passes_ms[-job.repeats :] if job.repeats else ()),
        )
        self._outcomes[job.nonce] = Outcome(
            target=self.name,
            emulated=False,
            outputs=passes.outputs,
            device=self._facts(),
            timings=timings,
            residency=residency,
        )

    def pull(self, job: Job) -> Outcome:
        """Return what the job gave."""
        return self._outcomes[job.nonce]

    def discard(self, job: Job) -> None:
        """Forget the job; the app stays for the next one."""
        self._outcomes.pop(job.nonce, None)

    def _connected(self) -> Any:
        """Return the phone, as coremltools knows it.

        Raises:
            MissingToolError: it is not connected, or no name was given and there are several.

        """
        import_coremltools()
        remote = importlib.import_module(f"{EXPERIMENTAL}.remote_device")
        try:
            phones = remote.Device.get_connected_devices(remote.DeviceType.IPHONE)
        except Exception as error:  # devicectl is missing or answers something else
            raise MissingToolError(
                f"{self.name}: want Xcode's list of devices, got: {_first_line(error)}"
            ) from error
        fitting = [phone for phone in phones if self._phone in ("", phone.name)]
        if len(fitting) != 1:
            names = ", ".join(phone.name for phone in phones) or "none"
            raise MissingToolError(
                f"{self.name}: want one connected iPhone, got {names};"
                f" connect it, or name one with {IPHONE}:NAME"
            )
        return fitting[0]

    def _facts(self) -> DeviceRecord:
        return DeviceRecord(
            system=f"iOS {self._prepared.os_version}",
            architecture="arm64",
            processor="iPhone",  # coremltools does not tell which
            cores=0,
            python="",
            engine="coreml",
            engine_version=self._prepared.os_build_number,
            numpy="",
        )


class RemoteRunner(FileRunner):
    """One package on a phone that was prepared."""

    def __init__(self, target: str, path: Path, device: Any) -> None:
        """Remember the package.

        Args:
            target: its name, for messages.
            path: the `.mlpackage` folder.
            device: a prepared `coremltools` Device.

        """
        super().__init__(path)
        self._target, self._device = target, device
        self._model: Any = None
        self.load_ms = 0.0
        self.passes_ms: list[float] = []  # every prediction's, by the phone's clock

    def residency(self) -> str:
        """Return how many operations the phone means to run on each unit, or why it does not tell."""
        try:
            return plan_line(operators_by_unit(_awaited(self._model.retrieve_compute_plan())))
        except Exception as error:  # not every version of coremltools can carry a plan over
            return f"not told: {_first_line(error)}"

    def _load(self) -> tuple[Specs, Specs]:
        specs = package_specs(open_package(self._path).get_spec())
        if pictures := [spec.name for part in specs for spec in part if spec.dtype == "uint8"]:
            raise InputError(
                f"{self._path.name}: want tensors, got pictures ({', '.join(pictures)}), which"
                " coremltools does not carry to a phone; export with --io tensor"
            )
        coremltools = import_coremltools()
        wrapper = importlib.import_module(f"{EXPERIMENTAL}.async_wrapper").MLModelAsyncWrapper
        self._model = wrapper.from_spec_or_path(
            spec_or_path=str(self._path),
            weights_dir="",
            compute_units=coremltools.ComputeUnit.ALL,
            device=self._device,
        )
        self._on_phone(self._model.load())
        self.load_ms = self._model.load_duration_in_nano_seconds / NS_PER_MS
        return specs

    def _free(self) -> None:
        self._on_phone(self._model.unload())
        self._model = None

    def _run(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        values = self._on_phone(self._model.predict(dict(feed)))
        duration_ns = self._model.last_predict_duration_in_nano_seconds
        if duration_ns is None:
            raise TargetError(f"{self._target}: want the phone's time of a prediction, got none")
        self.passes_ms.append(duration_ns / NS_PER_MS)
        return {s.name: values[s.name].astype(s.dtype).reshape(s.shape) for s in self._outputs}

    def _on_phone(self, call: Coroutine[Any, Any, Answer]) -> Answer:
        try:
            return _awaited(call)
        except Exception as error:  # the phone's words arrive as many types
            raise TargetError(f"{self._target}: {_first_line(error)}") from error


def _awaited(call: Coroutine[Any, Any, Answer]) -> Answer:
    return asyncio.run(call)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
