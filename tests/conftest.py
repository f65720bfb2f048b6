"""What several rooms' tests share: a tiny student with weights that mean something, and its bundle."""

import fcntl
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pocketportrait.contract import Array

if TYPE_CHECKING:
    from pocketportrait.bundle import Bundle
    from pocketportrait.models.student import Student


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-skips", action="store_true", help="what would be skipped fails, with the reason"
    )


def refuse_skip(report: Any, config: pytest.Config) -> Any:
    """Make a skip a failure where every tool is promised to be there."""
    if report.skipped and not hasattr(report, "wasxfail") and config.getoption("--no-skips"):
        report.outcome, report.longrepr = "failed", f"no skips, but: {report.longrepr[2]}"
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of `tiny_bundle` last, but for one, which has it made meanwhile.

    Its export takes most of a minute, and a worker that waits for another's export is idle.
    """
    users = [item for item in items if "tiny_bundle" in getattr(item, "fixturenames", ())]
    mine = set(users)
    items[:] = [*users[:1], *(item for item in items if item not in mine), *users[1:]]


@pytest.fixture(autouse=True)
def _own_precision() -> Iterator[None]:
    """Accelerate keeps the precision of a process's first run; tests train in two of them."""
    yield
    if (state := sys.modules.get("accelerate.state")) is not None:
        state.AcceleratorState._reset_state()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    return refuse_skip((yield), item.config)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, Any]:
    return refuse_skip((yield), collector.config)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Tests share the machine; torch reads this when it is imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="session", autouse=True)
def _forked_decoders() -> Iterator[None]:
    """Files are decoded in processes that are forked, not started: most tests open some."""
    if sys.platform != "linux":  # its sockets keep the borders of messages
        yield
        return
    from pocketportrait.media import decoder
    from tests.decoder_nursery import Nursery

    nursery = Nursery()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoder, "subprocess", nursery)
        yield
    nursery.close()


@pytest.fixture
def fresh_decoders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoders start as a user's do, interpreter and all."""
    from pocketportrait.media import decoder

    monkeypatch.setattr(decoder, "subprocess", subprocess)


def random_student(dims: Any, seed: int = 0) -> "Student":
    """Make a student whose every part shows in its outputs: batch norms move and scale, fields
    displace by a few pixels, pictures are neither black nor white."""
    import torch
    from torch import nn

    from pocketportrait.models.student import POSE_SPREAD, Student

    # sums over batches in one order, or workers would disagree about the last bits of a student
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        student = Student(dims)
        with torch.no_grad():
            for part in student.modules():
                if isinstance(part, nn.BatchNorm2d):
                    part.weight.uniform_(0.6, 1.4)
                    part.bias.normal_(0, 0.2)
                    part.momentum = 1.0  # the pass below sets means and variances
            pictures = np.stack(smooth_pictures(8, dims.side)).transpose(0, 3, 1, 2)
            student.train()
            for network in (student.appearance, student.motion):
                network(torch.from_numpy(np.ascontiguousarray(pictures)))
            # faces differ more than eight pictures of one kind do, and no unit of a trained encoder
            # is nearly still: small variances would make noise of a level's rounding, and of half
            # precision (onnx/fp16 on a Cortex-A76: 52.6 dB so, 46.8 at four times, a trained one 61.9)
            seen = student.motion.gather[1].running_var
            seen.copy_(16 * seen.clamp_min(float(seen.mean())))
            student.motion.head.weight.mul_(8)
            # poses move by tenths; the renderer counts on it
            spread = torch.tensor(POSE_SPREAD)[:, None]
            student.motion.head.weight[: len(POSE_SPREAD)] *= spread
            render = student.render
            for weight, std in (
                (render.flow.coarse_linear.weight, 0.01),
                (render.flow.coarse.weight, 0.01),
                (render.flow.head.weight, 0.02),
                (render.paint.weight, 0.03),
                (student.appearance.detail_stem.weight, 0.01),
            ):
                weight.normal_(0, std)
            for block in render.modules():
                if hasattr(block, "film"):
                    block.film.weight.normal_(0, 0.1)
    return student.eval()


def smooth_pictures(count: int, side: int, seed: int = 0) -> list[Array]:
    """Return pictures [side, side, 3], float32 0..1, with large and small shapes."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side
    pictures = []
    for _ in range(count):
        waves = [
            np.sin(
                2
                * np.pi
                * (random.uniform(-4, 4) * x + random.uniform(-4, 4) * y + random.random())
            )
            for _ in range(9)
        ]
        picture = 0.5 + 0.15 * np.stack([sum(waves[c::3]) for c in range(3)], -1)
        picture = picture + random.normal(0, 0.03, picture.shape)
        pictures.append(np.clip(picture, 0, 1).astype(np.float32))
    return pictures


@pytest.fixture(scope="session")
def names_of() -> Callable[[Callable[[], Any]], set[tuple[str, tuple[int, ...], str]]]:
    """Return a function that gives a network's weights as key lists do: name, shape, type."""
    import torch

    def names(build: Callable[[], Any]) -> set[tuple[str, tuple[int, ...], str]]:
        with torch.device("meta"):
            state = build().state_dict()
        return {
            (key, tuple(v.shape), str(v.dtype).removeprefix("torch.")) for key, v in state.items()
        }

    return names


@pytest.fixture
def stop_training(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return a function that has training killed, once, after some more steps."""
    from pocketportrait.distill.stage import Stage

    step = Stage.step

    def stop_after(steps: int) -> None:
        left = iter(range(steps))

        def dying_step(stage: Stage, *rest: Any) -> Any:
            if next(left, None) is None:
                monkeypatch.setattr(Stage, "step", step)
                raise KeyboardInterrupt
            return step(stage, *rest)

        monkeypatch.setattr(Stage, "step", dying_step)

    return stop_after


@pytest.fixture
def refusal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[[list[str]], str]:
    """Return a function that runs a command in an empty folder and gives its only line of error.

    It has checked that the exit code is 2, that nothing else is said, and that no file was written.
    """
    from pocketportrait.cli import main

    monkeypatch.chdir(tmp_path)

    def refuse(arguments: list[str]) -> str:
        assert main(arguments) == 2
        said = capsys.readouterr()
        (line,) = said.err.splitlines()
        assert line.startswith("error: ")
        assert said.out == ""
        assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
        return str(line)

    return refuse


@pytest.fixture(scope="session", autouse=True)
def _own_certificates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Files that commands sign are not signed with the user's own certificate."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POCKETPORTRAIT_HOME", str(tmp_path_factory.getbasetemp() / "home"))
        yield


@pytest.fixture(scope="session")
def tiny_student() -> "Student":
    from pocketportrait.models.dims import tiny

    return random_student(tiny())


@pytest.fixture(scope="session")
def phone_student() -> "Student":
    """The shipped sizes with random weights, for what depends on sizes alone."""
    from pocketportrait.models.dims import phone

    return random_student(phone())


@pytest.fixture(scope="session")
def unseen_pair() -> tuple[Array, Array]:
    """A photo and a frame that are not among the golden vectors of `tiny_bundle`."""
    photo, frame = smooth_pictures(2, 64, seed=7)
    return photo, frame


@pytest.fixture(scope="session")
def tiny_pairs() -> list[tuple[Array, Array]]:
    """Photo and frame pairs, [64, 64, 3] float32 0..1."""
    pictures = smooth_pictures(4, 64)
    return [(pictures[0], pictures[1]), (pictures[2], pictures[3])]


@pytest.fixture
def run_mil(tmp_path: Path) -> Callable[..., list[Array]]:
    """Return a function that saves the program `build(mb, x, ..)` and lets the Core ML oracle run it."""

    def run(
        build: Callable[..., Any], *feed: Array, target: str = "iOS17", half: bool = False
    ) -> list[Array]:
        import torch

        from pocketportrait.runtime.coreml_package import import_coremltools
        from pocketportrait.runtime.mil.program import MilProgram

        ct = import_coremltools()
        mb = ct.converters.mil.Builder
        # the builder counts and names a function's parameters
        main = {
            1: lambda x: build(mb, x),
            2: lambda x, y: build(mb, x, y),
            3: lambda x, y, z: build(mb, x, y, z),
        }
        version = getattr(ct.target, target)
        specs = [mb.TensorSpec(value.shape) for value in feed]
        program = mb.program(input_specs=specs, opset_version=version)(main[len(feed)])
        model = ct.convert(
            program,
            minimum_deployment_target=version,
            compute_precision=ct.precision.FLOAT16 if half else ct.precision.FLOAT32,
            skip_model_load=True,
        )
        model.save(str(tmp_path / "program.mlpackage"))
        oracle = MilProgram(tmp_path / "program.mlpackage")
        values = dict(zip("xyz", map(torch.from_numpy, feed), strict=False))
        return [value.numpy() for value in oracle.run(values).values()]

    return run


@pytest.fixture(scope="session")
def tiny_bundle(
    tiny_student: "Student",
    tiny_pairs: list[tuple[Array, Array]],
    tmp_path_factory: pytest.TempPathFactory,
    worker_id: str,
) -> "Bundle":
    """The tiny student in every format and precision, read only; made once, also under xdist."""
    from pocketportrait.bundle import Bundle
    from pocketportrait.export.assemble import export_bundle

    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "tiny_bundle"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            export_bundle(tiny_student, folder, pairs=tiny_pairs)
    return Bundle.open(folder)
