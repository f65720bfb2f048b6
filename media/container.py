"""What reading and writing videos share: safe opening, and exact colours."""

from __future__ import annotations

from pathlib import Path

import av
import av.error
from av.container import InputContainer
from av.video.reformatter import Interpolation

from pocketportrait.errors import InputError

# Containers people have videos in. Others stay closed: a playlist could name files and addresses,
# and FFmpeg even plays text files.
READ_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,gif,apng,yuv4mpegpipe,"
    "h264,hevc,m4v,mxf,dv,image2,jpeg_pipe,png_pipe,webp_pipe,mp3,wav,flac,aac"
)

# Between RGB and YUV: without these each way darkens by up to a level and drops colour resolution.
EXACT = int(
    Interpolation.BILINEAR
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INP
    | Interpolation.FULL_CHR_H_INT
)


def open_container(path: Path) -> InputContainer:
    """Open a video for reading; the caller closes it.

    Raises:
        InputError: FFmpeg finds no container of `READ_FORMATS` in it.

    """
    options = {"protocol_whitelist": "file", "format_whitelist": READ_FORMATS}
    try:
        return av.open(f"file:{path}", "r", options=options, metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise InputError(
            f"{path}: want a video (mp4, mov, mkv, webm, ...), got a file that cannot be opened "
            "as one; record or convert it again"
        ) from error
