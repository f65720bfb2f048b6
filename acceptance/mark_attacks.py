"""What happens to clips in life, by name: each takes and gives uint8 frames [H, W, 3] of one size."""

from __future__ import annotations

import io
from collections.abc import Callable

import av
import numpy as np
from PIL import Image

from pocketportrait.contract import Array

Frames = list[Array]
BICUBIC, BILINEAR = Image.Resampling.BICUBIC, Image.Resampling.BILINEAR


def encoded(frames: Frames, codec: str, container: str, options: dict[str, str]) -> Frames:
    """Return frames as they come back from a lossy video file."""
    height, width = (n - n % 2 for n in frames[0].shape[:2])
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(codec, 25, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        for frame in frames:
            even = np.ascontiguousarray(frame[:height, :width])
            out.mux(stream.encode(av.VideoFrame.from_ndarray(even, "rgb24")))
        out.mux(stream.encode(None))
    file.seek(0)
    with av.open(file, "r") as back:
        return [frame.to_ndarray(format="rgb24") for frame in back.decode(video=0)]


def h264(frames: Frames, crf: int) -> Frames:
    """Encode with x264's medium preset."""
    return encoded(frames, "libx264", "mp4", {"crf": str(crf), "preset": "medium"})


def vp9(frames: Frames) -> Frames:
    """Encode with libvpx at a constant quality of 36."""
    options = {"crf": "36", "b": "0", "deadline": "realtime", "cpu-used": "6"}
    return encoded(frames, "libvpx-vp9", "webm", options)


def gif(frames: Frames) -> Frames:
    """Take 256 colours a frame, dithered; every second frame, as GIFs have."""
    dither = Image.Dither.FLOYDSTEINBERG
    small = [Image.fromarray(frame).quantize(256, dither=dither) for frame in frames[::2]]
    return [np.asarray(picture.convert("RGB")) for picture in small]


def resized(frames: Frames, scale: float, how: Image.Resampling = BICUBIC) -> Frames:
    """Scale both sides."""
    height, width = frames[0].shape[:2]
    size = round(width * scale), round(height * scale)
    return [np.asarray(Image.fromarray(frame).resize(size, how)) for frame in frames]


def cropped(frames: Frames, share: float) -> Frames:
    """Lose a share of both sides, unevenly."""
    height, width = frames[0].shape[:2]
    top, left = round(height * share * 0.7), round(width * share * 0.2)
    bottom, right = top + round(height * (1 - share)), left + round(width * (1 - share))
    return [frame[top:bottom, left:right] for frame in frames]


def brighter(frames: Frames, gain: float) -> Frames:
    """Multiply."""
    return [np.clip(frame * np.float32(gain), 0, 255).astype(np.uint8) for frame in frames]


def bent(frames: Frames, gamma: float) -> Frames:
    """Apply a power to values of 0..1."""
    table = np.rint(255 * (np.arange(256) / 255) ** gamma).astype(np.uint8)
    return [table[frame] for frame in frames]


def screenshot(frames: Frames) -> Frames:
    """Show at another size, cut a little beside the edge, and record that."""
    return h264(cropped(resized(frames, 1.37, BILINEAR), 0.05), 23)


ATTACKS: dict[str, Callable[[Frames], Frames]] = {
    "none": lambda frames: frames,
    "H.264 CRF 28": lambda frames: h264(frames, 28),
    "VP9": vp9,
    "GIF": gif,
    "resized x0.5": lambda frames: resized(frames, 0.5),
    "resized x0.75": lambda frames: resized(frames, 0.75),
    "resized x2": lambda frames: resized(frames, 2),
    "cropped 20 %": lambda frames: cropped(frames, 0.2),
    "brightness +10 %": lambda frames: brighter(frames, 1.1),
    "brightness -10 %": lambda frames: brighter(frames, 0.9),
    "gamma 1.1": lambda frames: bent(frames, 1.1),
    "gamma 0.9": lambda frames: bent(frames, 0.9),
    "screenshot": screenshot,
}
