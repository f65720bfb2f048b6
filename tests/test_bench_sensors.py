"""What machines tell of themselves, on made-up file systems, and who runs an operator."""

from __future__ import annotations

from pathlib import Path

import pytest

from pocketportrait.validation.bench_residency import operators_by_unit
from pocketportrait.validation.bench_sensors import (
    read_clock_mhz,
    read_load,
    read_peak_rss_bytes,
    read_temperature_c,
    read_threads,
)


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_clock_is_the_mean_of_the_cores(tmp_path: Path) -> None:
    for core, khz in enumerate((1_000_000, 2_000_000)):
        put(tmp_path / f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq", f"{khz}\n")
    assert read_clock_mhz(tmp_path) == 1500


def test_clock_is_read_off_cpuinfo_where_the_governor_is_hidden(tmp_path: Path) -> None:
    put(tmp_path / "proc/cpuinfo", "processor\t: 0\ncpu MHz\t\t: 2400.5\n\ncpu MHz\t\t: 2600.5\n")
    assert read_clock_mhz(tmp_path) == 2500.5


def test_temperature_is_that_of_the_hottest_zone_that_can_be_read(tmp_path: Path) -> None:
    for zone, text in enumerate(("41000\n", "67500\n", "no\n", "-274000\n")):
        put(tmp_path / f"sys/class/thermal/thermal_zone{zone}/temp", text)
    assert read_temperature_c(tmp_path) == 67.5


def test_what_a_machine_does_not_tell_is_none(tmp_path: Path) -> None:
    assert read_clock_mhz(tmp_path) is None
    assert read_temperature_c(tmp_path) is None
    assert read_threads(tmp_path) is None
    assert read_peak_rss_bytes(tmp_path) is None or read_peak_rss_bytes(tmp_path) > 0


def test_memory_is_the_peak_of_this_process(tmp_path: Path) -> None:
    put(tmp_path / "proc/self/status", "Name:\tx\nVmHWM:\t  2048 kB\nVmRSS:\t 1 kB\nThreads:\t7\n")
    assert (read_peak_rss_bytes(tmp_path), read_threads(tmp_path)) == (2 * 2**20, 7)


def test_load_is_none_on_systems_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.getloadavg")
    assert read_load() is None


def operator(name: str, inputs: list[int], outputs: list[int]) -> dict[str, object]:
    return {"op_name": name, "inputs": inputs, "outputs": outputs}


def test_operators_inside_a_delegate_are_those_between_its_inputs_and_outputs() -> None:
    chain = [
        operator("CONV_2D", [0, 9], [1]),
        operator("RELU", [1], [2]),
        operator("CUSTOM", [2], [3]),
        operator("ADD", [3, 0], [4]),
    ]
    assert operators_by_unit(chain) == ["kernels"] * 4
    first = operator("DELEGATE", [0, 9], [2])
    assert operators_by_unit([*chain, first]) == ["XNNPACK", "XNNPACK", "kernels", "kernels"]
    second = operator("DELEGATE", [3, 0], [4])
    assert operators_by_unit([*chain, first, second]) == [
        "XNNPACK partition 1",
        "XNNPACK partition 1",
        "kernels",
        "XNNPACK partition 2",
    ]
