"""Emulated ARM CPUs: what QEMU is told, and the /proc/cpuinfo that says the same.

The two must agree: XNNPACK and ONNX Runtime choose kernels by /proc/cpuinfo, and a kernel whose
instructions the CPU lacks dies of SIGILL. Without any, ONNX Runtime reads the host's and crashes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ARMV8 = "fp asimd evtstrm aes pmull sha1 sha2 crc32"
LINKED = ("etc", "lib", "usr")  # of the common root; each CPU has a /proc and /sys of its own


@dataclass(frozen=True, slots=True)
class CpuProfile:
    """One emulated CPU."""

    name: str
    qemu: str  # value of -cpu
    features: str  # as Linux names them
    part: str  # as in the CPU's main ID register
    variant: str
    revision: str

    def cpuinfo(self) -> str:
        """Return /proc/cpuinfo of a machine with one such core."""
        return (
            "processor\t: 0\nBogoMIPS\t: 48.00\n"
            f"Features\t: {self.features}\n"
            "CPU implementer\t: 0x41\nCPU architecture: 8\n"
            f"CPU variant\t: {self.variant}\nCPU part\t: {self.part}\n"
            f"CPU revision\t: {self.revision}\n\n"
        )

    def write_root(self, folder: Path, common: Path) -> None:
        """Make the folder that QEMU looks into first: the common root, and this CPU's description."""
        (folder / "proc").mkdir(parents=True)
        (folder / "proc" / "cpuinfo").write_text(self.cpuinfo())
        cpus = folder / "sys" / "devices" / "system" / "cpu"
        cpus.mkdir(parents=True)
        for name in ("possible", "present"):  # LiteRT looks for them
            (cpus / name).write_text("0\n")
        for name in LINKED:
            if (common / name).exists():
                (folder / name).symlink_to(Path("..") / ".." / common.name / name)


PROFILES = {
    "a53": CpuProfile("a53", "cortex-a53", f"{ARMV8} cpuid", "0xd03", "0x0", "1"),
    "a76": CpuProfile(
        "a76",
        "cortex-a76",
        f"{ARMV8} atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp",
        "0xd0b",
        "0x3",
        "1",
    ),
}
