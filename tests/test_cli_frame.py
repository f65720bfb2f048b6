"""What all commands share: exit codes, one line an error, and what a missing extra says."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from pocketportrait import __version__
from pocketportrait.cli import app, main
from pocketportrait.cli.extras import needs
from pocketportrait.cli.progress import counted, stages
from pocketportrait.errors import ConverterError, InputError, MissingToolError, PortraitError


@pytest.fixture
def failing() -> Iterator[list[BaseException]]:
    """Add a command that raises what the test put into the list."""
    errors: list[BaseException] = []
    before = list(app.registered_commands)

    @app.command("failing")
    def failing_command() -> None:
        raise errors[0]

    yield errors
    app.registered_commands[:] = before


def test_version_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out == f"pocketportrait {__version__}\n"


def test_versions_of_tools_say_what_is_not_installed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version", "--tools"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines} >= {
        "pocketportrait",
        "numpy",
        "onnxruntime",
        "torch",
    }


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PortraitError("broken"), 2),
        (InputError("photo.jpg: want a face,\n  got none"), 2),
        (MissingToolError.for_extra("torch", "export"), 3),
        (ConverterError("coremltools: said no"), 4),
    ],
)
def test_our_errors_are_one_line_and_an_exit_code(
    failing: list[BaseException],
    capsys: pytest.CaptureFixture[str],
    error: PortraitError,
    code: int,
) -> None:
    failing.append(error)
    assert main(["failing"]) == code
    captured = capsys.readouterr()
    assert captured.err == f"error: {' '.join(str(error).split())}\n"
    assert captured.out == ""


def test_an_interrupt_is_130(failing: list[BaseException]) -> None:
    failing.append(KeyboardInterrupt())
    assert main(["failing"]) == 130


def test_our_own_mistakes_are_not_hidden(failing: list[BaseException]) -> None:
    failing.append(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        main(["failing"])


@pytest.mark.parametrize(
    "arguments", [["--nonsense"], ["verify"], ["nonsense"], ["train"], ["label"]]
)
def test_bad_usage_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "Usage: " in capsys.readouterr().err


def test_a_missing_package_names_the_command_that_installs_it() -> None:
    with pytest.raises(MissingToolError) as caught, needs("export"):
        raise ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")
    assert str(caught.value) == 'torch is not installed; run: pip install "pocketportrait[export]"'


def test_a_missing_module_of_ours_is_our_mistake() -> None:
    with pytest.raises(ModuleNotFoundError), needs("export"):
        raise ModuleNotFoundError("No module", name="pocketportrait.gone")


def test_progress_is_a_few_plain_lines_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    with counted("animate") as tell:
        for done in range(1001):
            tell(done, 1000)
    with stages("verify") as tell_stage:
        tell_stage("onnx/fp32")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "animate: 0 of 1000"
    assert lines[-2:] == ["animate: 1000 of 1000", "verify: onnx/fp32"]
    assert len(lines) == 12
