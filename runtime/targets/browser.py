"""A browser: the files under onnxruntime-web and LiteRT.js in a real headless Chromium.

`browser` computes in WebAssembly on this very CPU and may report its times. `browser:webgpu` computes on the
GPU that the browser has; `browser:swiftshader` runs the same shaders on a CPU, for parity alone.
"""

from __future__ import annotations

import json
import platform
import weakref
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from pocketportrait.errors import MissingToolError
from pocketportrait.runtime.targets.chromium import VARIABLE, Chromium, find_chromium
from pocketportrait.runtime.targets.device import describe_device
from pocketportrait.runtime.targets.folder import JOB
from pocketportrait.runtime.targets.folder_target import FolderTarget, Pushed
from pocketportrait.runtime.targets.protocol import Probe, Traits
from pocketportrait.runtime.targets.record import Backend, JobRecord
from pocketportrait.runtime.web.server import LocalServer
from pocketportrait.runtime.web.vendor import BROWSER, VERSIONS, browser_home, vendor_folder

ENGINES = {"onnx": "onnxruntime-web", "tflite": "litert-js"}
PACKAGES = {"onnxruntime-web": "onnxruntime-web", "litert-js": "@litertjs/core"}
SHOWN = ("system", "architecture", "processor")


@dataclass(frozen=True, slots=True)
class Kind:
    """What a target asks the browser to compute on."""

    backend: Backend
    emulated: bool
    flags: tuple[str, ...]


WEBGPU = "--enable-unsafe-webgpu"  # where Chromium does not yet trust the driver
KINDS = {
    BROWSER: Kind("wasm", False, ("--disable-gpu",)),
    f"{BROWSER}:webgpu": Kind("webgpu", False, (WEBGPU, "--enable-features=Vulkan")),
    f"{BROWSER}:swiftshader": Kind("webgpu", True, (WEBGPU, "--use-webgpu-adapter=swiftshader")),
}


class BrowserTarget(FolderTarget):
    """One headless Chromium, started by the first job and kept for the next ones."""

    def __init__(self, name: str, home: Path | None = None) -> None:
        """Take one of `KINDS`.

        Args:
            name: as it is written on the command line.
            home: where it is installed; by default where `targets install` puts it.

        """
        self._kind = KINDS[name]
        emulated = self._kind.emulated
        super().__init__(name, Traits(tuple(ENGINES), True, not emulated, "", emulated), ENGINES)
        self._home = home or browser_home()
        self._probed: Probe | None = None
        self._page: tuple[int | None, LocalServer, Chromium] | None = None
        self._stack = ExitStack()
        weakref.finalize(self, self._stack.close)

    def probe(self) -> Probe:
        """Say whether engines and a browser are here, and an adapter where one is needed; asked once."""
        if self._probed is None:
            try:
                self._probed = Probe(self._missing())
            except MissingToolError as error:
                self._probed = Probe(f"{self.name}: {error}")
        return self._probed

    def _missing(self) -> str | None:
        vendor = vendor_folder(self._home)
        if self._kind.backend == "wasm":
            self._program()
            return None
        with (
            LocalServer({"vendor": vendor}, home="job.html") as server,
            Chromium(self._program(), self._kind.flags) as browser,
        ):
            browser.open(f"{server.origin}/")
            adapter = browser.value("import('/page/job.js').then(job => job.adapterName())")
        if adapter is None:
            return f"{self.name}: Chromium has no WebGPU adapter here"
        if "swiftshader" in str(adapter).lower() and not self._kind.emulated:
            return (
                f"{self.name}: the only adapter here is SwiftShader; {BROWSER}:swiftshader uses it"
            )
        return None

    def _program(self) -> Path:
        program = find_chromium(self._home)
        if program is None:
            raise MissingToolError(
                f"want Chromium or Chrome, got none; install one, or name it with {VARIABLE}"
            )
        return program

    def _backend(self) -> Backend | None:
        return self._kind.backend

    def _execute(self, pushed: Pushed, timeout_s: float) -> None:
        job = JobRecord.model_validate_json((pushed.folder / JOB).read_bytes())
        wanted = {"result.json", "failure.json", *(f"out/{name}.npz" for name in job.samples)}
        server, browser = self._opened(job.threads)
        server.mounts["job"] = pushed.folder
        server.inbox = lambda path: pushed.folder / path if path in wanted else None
        told = {"token": server.token, "device": self._device(job.engine, browser.version)}
        call = f"import('/page/job.js').then(job => job.runJob({json.dumps(told)}))"
        try:
            ended = browser.value(call, timeout_s)
        except BaseException:
            self.close()  # a page that broke off is not asked again
            raise
        finally:
            pushed.said = "\n".join(browser.complaints)
            browser.complaints.clear()
            server.inbox = None
            del server.mounts["job"]
        if ended != "done":
            self.close()

    def _opened(self, threads: int | None) -> tuple[LocalServer, Chromium]:
        """Return the page that jobs run in: engines take long to compile, and keep their threads."""
        if self._page is None or self._page[0] != threads:
            self.close()
            with ExitStack() as stack:
                server = LocalServer({"vendor": vendor_folder(self._home)}, home="job.html")
                stack.enter_context(server)
                browser = Chromium(self._program(), self._kind.flags)
                stack.enter_context(browser)
                browser.open(f"{server.origin}/")
                self._stack.push(stack.pop_all())
            self._page = (threads, server, browser)
        return self._page[1:]

    def close(self) -> None:
        """End the browser; the next job starts another one. Happens by itself with the target."""
        self._page = None
        self._stack.close()

    def _device(self, engine: str, browser: str) -> dict[str, str]:
        """Return what a page cannot know of this machine; it adds the rest."""
        machine = describe_device(engine)
        known = {key: str(machine[key]) for key in SHOWN}
        known["system"] = f"{platform.system()}, {browser}"
        return known | {"engine_version": VERSIONS[PACKAGES[engine]], "python": "", "numpy": ""}
