"""The errors that a user can mend, and the exit codes of the commands."""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """What the exit status of every command means."""

    DONE = 0  # done, and every gate passed
    GATE_FAILED = 1  # parity, quality, latency or preflight
    BAD_INPUT = 2  # bad usage or bad input
    MISSING_TOOL = 3  # a target, an extra or a tool is not there
    CONVERTER_CRASHED = 4


class PortraitError(Exception):
    """A failure that the user can mend; the message says what was wanted, what came and what to do."""

    exit_code = ExitCode.BAD_INPUT


class InputError(PortraitError, ValueError):
    """A photo, video, bundle, weights file or option that cannot be used as it is."""


class MissingToolError(PortraitError):
    """An optional package, runner or target that this command needs is not installed."""

    exit_code = ExitCode.MISSING_TOOL

    @classmethod
    def for_extra(cls, package: str, extra: str) -> MissingToolError:
        """Return the error for a package of one of our extras, with the command that installs it."""
        return cls(f'{package} is not installed; run: pip install "pocketportrait[{extra}]"')


class ConverterError(PortraitError):
    """A converter of another project failed; its own words are part of the message."""

    exit_code = ExitCode.CONVERTER_CRASHED
