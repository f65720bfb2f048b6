"""Targets by the names that people write: `local:litert`, `qemu:arm64-a53`, `ssh:HOST`, `adb:SERIAL`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pocketportrait.errors import InputError
from pocketportrait.runtime.runner import KINDS, available_runners
from pocketportrait.runtime.targets.adb import ADB, AdbTarget
from pocketportrait.runtime.targets.arm_profiles import PROFILES
from pocketportrait.runtime.targets.browser import KINDS as BROWSERS
from pocketportrait.runtime.targets.browser import BrowserTarget
from pocketportrait.runtime.targets.iphone import IPHONE, IphoneTarget
from pocketportrait.runtime.targets.local import local_target
from pocketportrait.runtime.targets.mac import MAC_UNITS, MacTarget
from pocketportrait.runtime.targets.protocol import Target, Traits
from pocketportrait.runtime.targets.qemu import DEFAULT_CPU, QemuTarget
from pocketportrait.runtime.targets.ssh import SshTarget

ORACLE = "oracle"
CPUS = {"qemu:arm64": DEFAULT_CPU} | {f"qemu:arm64-{name}": name for name in PROFILES}
FIXED = (
    *(f"local:{name}" for name in KINDS if name != ORACLE),
    *(name for name in MAC_UNITS if name.startswith("mac:")),
    f"{ORACLE}:coreml",
    *CPUS,
    *BROWSERS,
)
# completed by the user; adb and iphone alone are the only device there
OPEN = ("ssh:HOST", "adb:SERIAL", "iphone:NAME")
ALL = "all"  # every target with a fixed name, each under one name
ALIASES = ("qemu:arm64",)  # of targets that have another name too


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """A target that has a fixed name, and why it cannot be used now (None where it can)."""

    name: str
    traits: Traits
    reason: str | None


def target_named(name: str) -> Target:
    """Return the target of a name; nothing is looked for or sent yet.

    Raises:
        InputError: there is no such target.

    """
    kind, _, rest = name.partition(":")
    if kind == "ssh" and rest:
        return SshTarget(rest)
    if kind == ADB and (rest or name == ADB):
        return AdbTarget(rest)
    if kind == IPHONE and (rest or name == IPHONE):
        return IphoneTarget(rest)
    if name in MAC_UNITS:
        return MacTarget(name)
    if name in CPUS:
        return QemuTarget(name, CPUS[name])
    if name in BROWSERS:
        return BrowserTarget(name)
    if name in FIXED:
        return local_target(ORACLE if kind == ORACLE else rest)
    raise InputError(f"target: want one of {', '.join((*FIXED, *OPEN))}, got {name!r}")


def targets_named(names: Iterable[str]) -> list[Target]:
    """Return the targets of names, each of which may be several with commas between them.

    `all` stands for every target with a fixed name: whether it is there or not, so that what is
    missing is told.

    Raises:
        InputError: a target is unknown, named twice, or there is none.

    """
    said = [part.strip() for name in names for part in name.split(",") if part.strip()]
    every = [name for name in FIXED if name not in ALIASES]
    parts = [name for part in said for name in (every if part == ALL else [part])]
    twice = sorted({part for part in parts if parts.count(part) > 1})
    if not parts or twice:
        raise InputError(f"targets: want each name once, got {', '.join(twice) or 'none'}")
    return [target_named(part) for part in parts]


def default_targets(formats: Sequence[str], runner: str | None = None) -> list[Target]:
    """Return the best target on this machine of each format.

    Args:
        formats: of the bundle.
        runner: take this runner for the one format that has it, and nothing for others.

    Raises:
        InputError: no format of these has the runner.

    """
    found: list[Target] = []
    for format in formats:
        statuses = available_runners(format)
        best = next((s.name for s in statuses if s.available), statuses[0].name)
        if runner is None:
            found.append(local_target(best))
        elif runner in {s.name for s in statuses}:
            found.append(local_target(runner))
    if not found:
        known = ", ".join(s.name for f in formats for s in available_runners(f))
        raise InputError(f"runner: want one of {known}, got {runner!r}")
    return found


def list_targets() -> list[TargetStatus]:
    """Return every target with a fixed name, and whether it can be used."""
    found = [target_named(name) for name in FIXED]
    return [TargetStatus(t.name, t.traits, t.probe().reason) for t in found]
