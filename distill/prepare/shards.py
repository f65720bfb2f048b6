"""Clips as webdataset shards: tar files that are read from end to end, for training on many machines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pocketportrait import atomic
from pocketportrait.distill.prepare.record import file_sha256

Entry = Mapping[str, Any]  # one clip of the manifest


def write_shards(data: Path, clips: Sequence[Entry], shard_bytes: float) -> list[dict[str, Any]]:
    """Write `shards/<split>-<number>.tar`; each sample is `<name>.mp4` and `<name>.json`.

    The bytes depend on the clips alone: times and owners inside are constants.

    Args:
        data: the folder with the clips.
        clips: entries of the manifest; a shard holds one split, in this order.
        shard_bytes: about how large a shard gets.

    Returns:
        `file`, `clips`, `bytes` and `sha256` of each shard.

    Raises:
        ModuleNotFoundError: webdataset is not installed (extra `prepare`).

    """
    written: list[dict[str, Any]] = []
    for name, group in _groups(clips, shard_bytes):
        path = data / "shards" / name
        with atomic.replacing(path) as temporary:
            _write(temporary, data, group)
        written.append(
            {
                "file": path.relative_to(data).as_posix(),
                "clips": len(group),
                "bytes": path.stat().st_size,
                "sha256": file_sha256(path),
            }
        )
    wanted = {Path(shard["file"]).name for shard in written}
    for path in (data / "shards").glob("*.tar"):
        if path.name not in wanted:
            path.unlink()
    return written


def _write(path: Path, data: Path, clips: Sequence[Entry]) -> None:
    # torch's loaders come with it where torch is installed: seconds
    from webdataset import TarWriter

    with path.open("wb") as file, TarWriter(file, encoder=False, mtime=0) as tar:
        for clip in clips:
            tar.write(
                {
                    "__key__": Path(clip["file"]).stem,
                    "mp4": (data / clip["file"]).read_bytes(),
                    "json": json.dumps(clip, sort_keys=True).encode(),
                }
            )


def _groups(clips: Sequence[Entry], shard_bytes: float) -> Iterator[tuple[str, list[Entry]]]:
    for split in sorted({clip["split"] for clip in clips}):
        group: list[Entry] = []
        number = used = 0
        for clip in (one for one in clips if one["split"] == split):
            group.append(clip)
            used += clip["bytes"]
            if used >= shard_bytes:
                yield f"{split}-{number:06d}.tar", group
                group, number, used = [], number + 1, 0
        if group:
            yield f"{split}-{number:06d}.tar", group
