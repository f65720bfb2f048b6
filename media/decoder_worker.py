"""The process that decodes one file from a stranger: little memory, no network name, nobody to harm.

    python -m pocketportrait.media.decoder_worker KIND PATH [ARGUMENT ...]

Standard input tells what is wanted, standard output gets the answers (`media.decoder`).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from pocketportrait import limits
from pocketportrait.contract import Array
from pocketportrait.errors import PortraitError

Answer = tuple[Mapping[str, Any], Array | None]


def main(arguments: list[str]) -> int:
    """Answer until the asking side is gone; return the exit status."""
    kind, path, *more = arguments
    answers = _own_pipe()
    _take_limits(limits.current())
    try:
        if kind == "sound":
            from pocketportrait.media.sound_decoding import copy_sound

            copy_sound(Path(path), answers)
            return 0
        for said, picture in _ANSWERS[kind](Path(path), *more):
            _send(answers, said, picture)
    except BrokenPipeError:
        return 0  # nobody listens any more
    except PortraitError as error:
        _send(answers, {"error": str(error)}, None)
    return 0


def _photo(path: Path) -> Iterator[Answer]:
    from pocketportrait.media.photo_decoding import decode_photo

    picture = decode_photo(path)
    yield {"shape": picture.shape}, picture


def _video(path: Path) -> Iterator[Answer]:
    """Tell the facts; then, as often as asked, every n-th frame and what was lost."""
    from pocketportrait.media.video_decoding import VideoDecoding

    decoding = VideoDecoding(path)
    yield decoding.facts.to_json(), None
    for line in sys.stdin:
        for frame in decoding.frames(every=int(json.loads(line)["every"])):
            place = {"index": frame.index, "pts": frame.pts, "shape": frame.rgb.shape}
            yield place, frame.rgb
        yield {"damage": decoding.damage}, None


def _plain(path: Path) -> Iterator[Answer]:
    """Give all frames as FFmpeg converts them by default."""
    from pocketportrait.media.video_decoding import plain_frames

    for picture in plain_frames(path):
        yield {"shape": picture.shape}, picture
    yield {}, None


_ANSWERS = {"photo": _photo, "video": _video, "plain": _plain}


def _own_pipe() -> IO[bytes]:
    """Keep standard output for answers: what a library prints goes where errors go."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    return answers


def _take_limits(most: limits.Limits) -> None:
    if sys.platform == "win32":
        return  # it has no such limits
    import resource

    for kind, number in (
        # Linux counts what is written to; elsewhere the limit is taken and not kept
        (resource.RLIMIT_DATA, most.decoder_bytes),
        (resource.RLIMIT_FSIZE, 0),  # a decoder writes no files
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        number = number if hard == resource.RLIM_INFINITY else min(number, hard)
        resource.setrlimit(kind, (number, number))


def _send(answers: IO[bytes], said: Mapping[str, Any], picture: Array | None) -> None:
    _write(answers, memoryview(json.dumps(said).encode() + b"\n"))
    if picture is not None:
        _write(answers, picture.data.cast("B"))


def _write(answers: IO[bytes], data: memoryview) -> None:
    while data:
        data = data[answers.write(data) :]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
