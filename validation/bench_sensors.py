"""What a machine tells of itself while it is measured: clock, heat, memory, threads, load.

A reading that a machine does not have is None; nothing is guessed.
"""

from __future__ import annotations

import os
import re
import statistics
import sys
from pathlib import Path

ROOT = Path("/")
KIB = 1024


def read_clock_mhz(root: Path = ROOT) -> float | None:
    """Return the mean clock of the cores in MHz."""
    folder = root / "sys/devices/system/cpu"
    found = [_number(f) for f in sorted(folder.glob("cpu[0-9]*/cpufreq/scaling_cur_freq"))]
    if khz := [value for value in found if value is not None]:
        return statistics.fmean(khz) / 1e3
    cpuinfo = root / "proc/cpuinfo"
    if cpuinfo.is_file():
        mhz = re.findall(r"^cpu MHz\s*:\s*([\d.]+)", cpuinfo.read_text(errors="replace"), re.M)
        if mhz:
            return statistics.fmean(map(float, mhz))
    return None


def read_temperature_c(root: Path = ROOT) -> float | None:
    """Return the temperature of the hottest zone in degrees Celsius."""
    found = [_number(f) for f in (root / "sys/class/thermal").glob("thermal_zone*/temp")]
    millidegrees = [value for value in found if value is not None and value > 0]
    return max(millidegrees) / 1e3 if millidegrees else None


def read_load() -> float | None:
    """Return how many processes wanted a core in the last minute, on average."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):  # systems without it
        return None


def read_peak_rss_bytes(root: Path = ROOT) -> int | None:
    """Return the most memory that this process has held since it was started."""
    # ru_maxrss would also count what the parent held when it forked
    if (kib := _status("VmHWM", root)) is not None:
        return kib * KIB
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None


def read_threads(root: Path = ROOT) -> int | None:
    """Return how many threads this process has."""
    return _status("Threads", root)


def _status(key: str, root: Path) -> int | None:
    path = root / "proc/self/status"
    if not path.is_file():
        return None
    found = re.search(rf"^{key}:\s*(\d+)", path.read_text(), re.M)
    return int(found[1]) if found else None


def _number(path: Path) -> float | None:
    try:
        return float(path.read_text())
    except (OSError, ValueError):  # zones that are off cannot be read
        return None
