"""Acceptance: mutated files end every reader in a result or one of our own errors, within time and memory.

    python acceptance/fuzz.py [--seconds 60] [--target NAME ...] [--seed N] [--jobs N] [--keep DIR]

Each target runs in a process of its own, which a crash of a native library ends: the file that did it is
kept, and the next process goes on behind it. Exit 1 if anything was found. Good finds belong into
tests/corpus, where `make test` reads them for ever.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import hashlib
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

MOST_MEMORY_BYTES = 6 * 2**30  # of written memory; a reader that asks for more has a hole
MOST_SECONDS_A_FILE = 30
MOST_LINES = 20  # shown of one process
CURRENT = "current"  # the file that is being read, if the process dies of it


def work(name: str, seconds: float, seed: int, folder: Path) -> int:
    """Read mutated files for a while; print how many, and every find."""
    from pocketportrait.errors import PortraitError
    from tests.fuzz_targets import TARGETS, describe, mutated, random_edits, seeds_of

    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    source = random.Random(seed)
    files = seeds_of(name)
    for original in files:  # imports take their time only once
        with contextlib.suppress(PortraitError):
            TARGETS[name](original)
    count = refused = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        original = source.choice(files)
        edits = random_edits(source)
        content = mutated(original.read_bytes(), edits)
        current = folder / f"{CURRENT}{original.suffix}"
        for old in folder.glob(f"{CURRENT}*"):
            old.unlink()
        current.write_bytes(content)
        signal.alarm(MOST_SECONDS_A_FILE)  # ends this process: its parent sees a find
        try:
            TARGETS[name](current)
        except PortraitError as error:
            refused += 1
            if "\n" in " ".join(str(error).split()):
                print(f"FIND a message of two lines: {error!r}", flush=True)
        except (Exception, RecursionError) as error:
            kept = folder / f"{hashlib.sha256(content).hexdigest()[:12]}{original.suffix}"
            kept.write_bytes(content)
            print(f"FIND {type(error).__name__}: {error}; {original.name} {describe(edits)}")
            print(f"     {kept}", flush=True)
        signal.alarm(0)
        count += 1
    current.unlink(missing_ok=True)
    print(f"DONE {count} files, {refused} refused")
    return 0


def watch(name: str, seconds: float, seed: int, keep: Path) -> tuple[int, int]:
    """Run a target until its time is up, restarting it after crashes; return files read and finds."""
    end = time.monotonic() + seconds
    count = finds = 0
    while (left := end - time.monotonic()) > 1:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, "--work", name, "--seed", str(seed), "--seconds"]
            done = subprocess.run(
                [*command, str(left), "--keep", folder],
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
            lines = done.stdout.splitlines()
            finds += sum(line.startswith("FIND") for line in lines)
            told = [f"{line}\n" for line in lines[:MOST_LINES] if not line.startswith("DONE")]
            print("".join(told), end="")  # at once: other targets print, too
            count += sum(int(line.split()[1]) for line in lines if line.startswith("DONE"))
            if done.returncode != 0:
                finds += 1
                print(f"FIND {name}: its process ended with {done.returncode} (seed {seed})")
                print("\n".join(done.stderr.splitlines()[-12:]))
            for file in Path(folder).iterdir():
                keep.mkdir(parents=True, exist_ok=True)
                target = file.name.replace(CURRENT, f"crash-{seed}")
                (keep / f"{name}-{target}").write_bytes(file.read_bytes())
        seed += 1
    return count, finds


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=60, help="for each target")
    parser.add_argument("--target", action="append", help="only this one; may be repeated")
    parser.add_argument("--seed", type=int, default=0)
    jobs = len(os.sched_getaffinity(0))
    parser.add_argument("--jobs", type=int, default=jobs, help="targets at once; one a processor")
    parser.add_argument("--keep", type=Path, default=ROOT / "out" / "fuzz")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        return work(options.work, options.seconds, options.seed, options.keep)
    from tests.fuzz_targets import TARGETS

    names = options.target or list(TARGETS)

    def watched(name: str) -> tuple[int, int]:
        return watch(name, options.seconds, options.seed, options.keep)

    found = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        for name, (count, finds) in zip(names, pool.map(watched, names), strict=True):
            found += finds
            print(
                f"{'FAIL' if finds else 'PASS'}  {name}: {count} files, {finds} finds", flush=True
            )
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
