"""Acceptance: commands are killed at random moments; results stay whole, a rerun completes, nothing is left.

    python acceptance/chaos.py [--kills 5] [--only COMMAND ...] [--seed N] [--work DIR]

Each command of the `tiny` preset runs once to its end, which gives its time and its result. Then it is
started again and again over that result, its process killed (SIGKILL, only its own), and every time: its
children end, the place holds a whole result or a state that a rerun completes; after the rerun the result
is the first one's, and no hidden file, temporary folder or lock is left. Exit 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from chaos_inputs import Inputs, make_inputs  # noqa: E402

PATIENCE_S = 1200.0  # for one run of a command
CHILDREN_S = 20.0  # until the children of a killed command have ended
HIDDEN = (".part-", ".replaced")


@dataclass(frozen=True, slots=True)
class Case:
    """A command, where its result lies, and how to look at that result."""

    name: str
    arguments: Sequence[str]
    out: Path
    look: Callable[[Path], object]  # raises on what is not whole; equal results look alike
    whole: bool  # at every moment; else a state that a rerun completes


def cases(made: Inputs, work: Path) -> Iterator[Case]:
    """Yield every command with its smallest inputs."""
    film, bundle, packed = work / "film.mp4", work / "bundle", work / "packed.zip"
    told = ["--bundle", made.bundle, "--no-crop", "--consent", "a sample", "--threads", "1"]
    yield Case("animate", ["animate", made.photo, made.driver, *told, "-o", str(film)], film,
               look_at_film, True)  # fmt: skip
    onnx = ["--weights", made.weights, "-f", "onnx", "-p", "fp32", "--golden", "1"]
    yield Case("export", ["export", *onnx, "-o", str(bundle)], bundle, look_at_bundle, True)
    quantize = ["quantize", made.bundle, "-r", "w8", "-f", "onnx", "-o", str(packed)]
    yield Case("quantize", quantize, packed, look_at_bundle, True)
    study = work / "study"
    sweep = ["sweep", made.space, "--bundle", made.bundle, "-n", "4", "-o", str(study)]
    yield Case("sweep", sweep, study, look_at_study, False)
    trained = work / "trained"
    small = ["--preset", "tiny", "--plan", made.plan, "--threads", "1"]
    train = [
        "train",
        "--data",
        made.clips,
        "--out",
        str(trained),
        "--cache",
        str(work / "cache"),
        *small,
    ]
    yield Case("train", train, trained, look_at_weights, False)
    distilled = work / "distilled"
    teacher = ["--teacher", "recorded", "--teacher-weights", made.recordings, "--precision", "no"]
    store = ["--store", made.store, "--cache", str(work / "pair-cache")]
    small = ["--preset", "tiny", "--plan", made.distill_plan, "--threads", "1"]
    yield Case("distill", ["distill", *teacher, *store, *small, "--out", str(distilled)],
               distilled, look_at_weights, False)  # fmt: skip
    prepared = work / "prepared"
    prepare = ["prepare", made.driver, "--licence", "CC0-1.0", "-o", str(prepared)]
    yield Case("prepare", prepare, prepared, look_at_clips, False)


def look_at_film(path: Path) -> object:
    """Return how many frames a video has."""
    from pocketportrait.media.video import VideoReader

    reader = VideoReader(path)
    count = sum(1 for _ in reader)
    assert reader.damage is None, reader.damage
    return count


def look_at_bundle(path: Path) -> object:
    """Return the digests of a bundle's files, which are compared with them."""
    from pocketportrait.bundle import Bundle

    with Bundle.open(path) as bundle:
        return {name: facts.sha256 for name, facts in bundle.manifest.files.items()}


def look_at_study(path: Path) -> object:
    """Return how many trials a study has."""
    return len(json.loads((path / "pareto.json").read_bytes())["trials"])


def look_at_weights(path: Path) -> object:
    """Return a trained student's weights as bytes: a stopped run ends where a whole one does."""
    return (path / "student.safetensors").read_bytes()


def look_at_clips(path: Path) -> object:
    """Return prepared clips and their manifest."""
    files = sorted(p for p in path.rglob("*") if p.is_file() and "/." not in str(p))
    return {str(p.relative_to(path)): p.read_bytes() for p in files if p.suffix in (".mp4", ".tar")}


class Chaos:
    """One command that is killed and run again."""

    def __init__(self, case: Case, work: Path, source: random.Random) -> None:
        self.case, self.work, self.source = case, work, source
        self.temporary = work / "tmp"
        self.temporary.mkdir(exist_ok=True)
        self.faults: list[str] = []
        self.usual: set[Path] = set()  # what others' libraries leave behind every run

    def run(self, kills: int) -> list[str]:
        """Return what went wrong."""
        begin = time.monotonic()
        self.complete("the first run")
        seconds = time.monotonic() - begin
        want = self.case.look(self.case.out)
        self.usual = set(self.temporary.iterdir())
        early = 0
        for number in range(kills):
            if not self.case.whole:
                self.remove()
            moment = self.source.uniform(0.02, 0.98) * seconds
            early += self.kill(moment)
            told = f"kill {number + 1} after {moment:.1f} of {seconds:.1f} s"
            if self.case.whole and self.look(told) not in (want, None):
                self.faults.append(f"{told}: neither the old result nor the new one")
            self.complete(f"the rerun behind {told}")
            if self.look(told) not in (want, None):
                self.faults.append(f"{told}: the rerun's result is another one")
            self.faults += [f"{told}: left behind: {p}" for p in self.leftovers()]
        print(
            f"      {self.case.name}: {seconds:.1f} s a run; {early} of {kills} kills met it alive"
        )
        return self.faults

    def look(self, told: str) -> object:
        """Look at the result; what is not whole is a fault."""
        try:
            return self.case.look(self.case.out)
        except (Exception, AssertionError) as error:
            self.faults.append(f"{told}: broken: {error!r}")
            return None

    def complete(self, told: str) -> None:
        """Run the command to its end."""
        process = self.start()
        words, _ = process.communicate(timeout=PATIENCE_S)
        if process.returncode != 0:
            self.faults.append(f"{told}: exit {process.returncode}: {words.decode()[-600:]}")

    def kill(self, moment: float) -> bool:
        """Kill the command's process at a moment; return whether it was still running."""
        process = self.start()
        try:
            process.communicate(timeout=moment)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
        deadline = time.monotonic() + CHILDREN_S
        while (alive := session(process.pid)) and time.monotonic() < deadline:
            time.sleep(0.2)
        if alive:
            self.faults.append(f"processes {alive} outlive the killed command")
        return process.returncode == -signal.SIGKILL

    def start(self) -> subprocess.Popen[bytes]:
        """Start the command in a session of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "pocketportrait", *map(str, self.case.arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | {"TMPDIR": str(self.temporary), "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )

    def remove(self) -> None:
        """Begin from nothing, so that a kill meets every part of the work."""
        shutil.rmtree(self.case.out, ignore_errors=True)

    def leftovers(self) -> list[str]:
        """Return hidden files of writers and temporary files."""
        hidden = [p for p in self.work.rglob(".*") if any(mark in p.name for mark in HIDDEN)]
        return [str(p) for p in (*hidden, *(set(self.temporary.iterdir()) - self.usual))]


def session(number: int) -> list[int]:
    """Return the processes of a session that have not ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, own = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue  # it ended meanwhile
        if int(own) == number and state != "Z":
            found.append(int(stat.parent.name))
    return found


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=5, help="of each command")
    parser.add_argument("--only", nargs="*", help="these commands")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=ROOT / "out" / "chaos")
    options = parser.parse_args()
    made = make_inputs(options.work / "inputs")
    failed = 0
    for case in cases(made, options.work):
        if options.only and case.name not in options.only:
            continue
        faults = Chaos(case, options.work, random.Random(options.seed)).run(options.kills)
        failed += len(faults)
        print(f"{'FAIL' if faults else 'PASS'}  {case.name}: {options.kills} kills")
        print("".join(f"      {fault}\n" for fault in faults), end="", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
