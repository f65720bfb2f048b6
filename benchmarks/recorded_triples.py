"""Triples for a `recorded` teacher: clips that show one motion on two faces.

    python benchmarks/recorded_triples.py --data DIR --out FOLDER [--repository NAME]

DeepFaceLive's examples show a person at the left and, beside them, the same film with another face: two
crops of one file, equal in time. The left one is the driver, the right one the output, and its first frame
the photo. Only pairs whose two clips are in the `train` split are taken. The licence of a repository
covers its code, so what is learnt from the triples is for research alone, as the data is.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
from pathlib import Path
from typing import Any

from pocketportrait import atomic
from pocketportrait.media.photo import write_picture
from pocketportrait.models.teachers.recorded import MANIFEST, Triple, TripleManifest
from pocketportrait.validation.portrait_clips import Clip

REPOSITORY = "iperov/DeepFaceLive"


def pairs(clips: list[dict[str, Any]], repository: str) -> list[tuple[Path, Path]]:
    """Return drivers and outputs, relative to the data's folder, in the order of their files."""

    def moment(clip: dict[str, Any]) -> tuple[str, int, int]:
        return clip["path"], clip["start_frame"], clip["frames"]

    taken = [c for c in clips if (c["repo"], c["split"]) == (repository, "train")]
    found = []
    for _, group in itertools.groupby(sorted(taken, key=moment), moment):
        both = sorted(group, key=lambda clip: clip["crop"][0])
        if len(both) == 2:
            found.append((Path(both[0]["file"]), Path(both[1]["file"])))
    return found


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="with manifest.json and clips")
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    parser.add_argument("--repository", default=REPOSITORY)
    options = parser.parse_args()
    clips = json.loads((options.data / "manifest.json").read_text())["clips"]
    found = pairs(clips, options.repository)
    if not found:
        parser.error(f"{options.data}: want pairs of {options.repository}, got none")
    if options.out.exists():
        parser.error(f"{options.out}: want a new folder, got one that is there; remove it")
    triples = []
    for name in ("photos", "drivers", "outputs"):
        (options.out / name).mkdir(parents=True)
    for driver, output in found:
        photo = f"photos/{output.stem}.png"
        write_picture(options.out / photo, Clip(output.stem, options.data / output).first_frame())
        triple = Triple(
            photo=photo, driver=f"drivers/{driver.name}", output=f"outputs/{output.name}"
        )
        shutil.copy(options.data / driver, options.out / triple.driver)
        shutil.copy(options.data / output, options.out / triple.output)
        triples.append(triple)
    manifest = TripleManifest(
        schema_version=1,
        system=options.repository,
        licence="research only: the licence covers the code, and nobody says where the faces are from",
        triples=tuple(triples),
    )
    text = manifest.model_dump_json(indent=1, exclude_none=True)
    atomic.write_bytes(options.out / MANIFEST, text.encode() + b"\n")
    print(f"{options.out}: {len(triples)} triples of {options.repository}")


if __name__ == "__main__":
    main()
