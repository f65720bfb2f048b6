"""`report.html`: one file that shows what was built, how exact and fast it is, and what it draws.

Pictures are inside, nothing is fetched, and it reads well in light, in dark and on paper.
"""

from __future__ import annotations

import base64
import io
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path

import numpy as np
from PIL import Image

from pocketportrait import atomic
from pocketportrait.bundle import Bundle
from pocketportrait.contract import GRAPHS, Array
from pocketportrait.validation.checks import Status, VerifyReport
from pocketportrait.validation.latency import FrameLatency
from pocketportrait.validation.table import figure, gate

THUMB_PX, WEBP_QUALITY = 128, 88
PICTURE_PX = 272  # two rows of thumbs and the gap between them
GAP_PX = 16


@dataclass(frozen=True)
class Strip:
    """One photo and a few frames: what drove it, and what came out."""

    title: str
    photo: Array  # uint8 [H, W, 3]
    drivers: Sequence[Array]
    outputs: Sequence[Array]


def write_report(
    path: Path,
    *,
    title: str,
    bundle: Bundle,
    verification: VerifyReport,
    latencies: Sequence[FrameLatency],
    strips: Sequence[Strip],
) -> None:
    """Write the page, whole or not at all."""
    failed = verification.exit_code().value != 0
    template = resources.files("pocketportrait.validation").joinpath("report.html").read_text()
    page = string.Template(template).substitute(
        title=escape(title),
        verdict=escape(_verdict(verification)),
        verdict_class=Status.FAIL if failed else Status.PASS,
        machine=escape(verification.machine.line()),
        strips="\n".join(_strip(s) for s in strips) or "<p>No pictures were asked for.</p>",
        facts=_facts(bundle, verification),
        sizes=_sizes(bundle),
        complaints=_complaints(verification),
        parity=_parity(verification),
        latency=_latency(latencies),
        latency_note=escape(_latency_note(latencies)),
    )
    atomic.write_bytes(path, page.encode())


def _verdict(report: VerifyReport) -> str:
    compared = len(report.worst())
    skipped = {c.variant for c in report.of(Status.SKIP)}
    more = f"; {len(skipped)} variants could not run here" if skipped else ""
    if failed := sorted({f"{c.variant} {c.graph}".strip() for c in report.of(Status.FAIL)}):
        return f"Failed: {', '.join(failed)}{more}"
    return f"Verified: all {compared} outputs of the exported files keep their gates{more}"


def _facts(bundle: Bundle, report: VerifyReport) -> str:
    manifest = bundle.manifest
    facts = {**manifest.model, "licence": manifest.licence}
    facts["tools"] = ", ".join(f"{name} {version}" for name, version in manifest.tools.items())
    facts["engines here"] = ", ".join(f"{n} {v}" for n, v in report.machine.engines.items())
    rows = (f"<dt>{escape(k)}</dt><dd>{escape(_plain(v))}</dd>" for k, v in facts.items() if v)
    return f"<dl>{''.join(rows)}</dl>"


def _plain(value: str) -> str:
    """Return a value as text; JSON loses its quotes and braces."""
    return value[1:-1].replace('"', "") if value.startswith("{") else value


def _sizes(bundle: Bundle) -> str:
    rows = []
    for format, by_precision in bundle.manifest.variants.items():
        for precision, variant in by_precision.items():
            sizes = {name: _bytes_of(bundle, graph.path) for name, graph in variant.graphs.items()}
            cells = [_megabytes(sizes.get(name, 0)) for name in GRAPHS]
            rows.append(
                (f"{format}/{precision}", variant.recipe, *cells, _megabytes(sum(sizes.values())))
            )
    return _table(
        "Sizes in MB (10⁶ bytes)", ("variant", "recipe", *GRAPHS, "in all"), rows, numbers=4
    )


def _bytes_of(bundle: Bundle, path: str) -> int:
    return sum(bundle.manifest.files[name].bytes for name in bundle.manifest.files_of(path))


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.2f}"


def _parity(report: VerifyReport) -> str:
    heads = ("variant", "graph", "output", "status", "max abs", "PSNR dB", "cosine", "gate")
    rows = []
    for check in report.worst():
        figures = (
            figure(check.max_abs, ".2g"),
            figure(check.psnr_db, ".1f"),
            figure(check.cosine, ".6f"),
        )
        rows.append((check.variant, check.graph, check.tensor, check.status, *figures, gate(check)))
    return _table(f"{len(rows)} outputs", heads, rows, numbers=4)


def _complaints(report: VerifyReport) -> str:
    found = report.of(Status.FAIL, Status.WARN, Status.SKIP)
    items = (
        f'<li><span class="{c.status}">{c.status}</span> {escape(c.name)}: {escape(c.message)}</li>'
        for c in found
    )
    return f"<ul>{''.join(items)}</ul>" if found else ""


def _latency(latencies: Sequence[FrameLatency]) -> str:
    heads = (
        "variant",
        "runner",
        "motion p50",
        "p95",
        "render p50",
        "p95",
        "a frame",
        "frames a second",
        "photo",
    )
    rows = [
        (
            one.variant,
            one.runner,
            f"{one.motion.p50_ms:.1f}",
            f"{one.motion.p95_ms:.1f}",
            f"{one.render.p50_ms:.1f}",
            f"{one.render.p95_ms:.1f}",
            f"{one.frame_ms:.1f}",
            f"{1e3 / one.frame_ms:.1f}",
            f"{one.appearance.p50_ms:.1f}",
        )
        for one in latencies
    ]
    return _table("Wall time in ms; photo is paid once", heads, rows, numbers=7)


def _latency_note(latencies: Sequence[FrameLatency]) -> str:
    if not latencies:
        return "Nothing was timed."
    one = latencies[0].motion
    return (
        f"{one.repeats} calls after {one.warmup} that do not count. These are figures of this machine and of"
        " what else it did; they are no phone's. Evaluators of Core ML files are not timed."
    )


def _table(
    caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: int
) -> str:
    """Return a table whose last `numbers` columns are right-aligned."""
    first = len(heads) - numbers
    kind = [' class="n"' if i >= first else "" for i in range(len(heads))]
    head = "".join(f'<th scope="col"{k}>{escape(h)}</th>' for h, k in zip(heads, kind, strict=True))
    body = "".join(f"<tr>{_cells(row, kind)}</tr>\n" for row in rows)
    return (
        f"<table><caption>{escape(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _cells(row: Sequence[str], kind: Sequence[str]) -> str:
    cells = [f'<th scope="row">{escape(row[0])}</th>']
    for value, attribute in zip(row[1:], kind[1:], strict=True):
        attribute = f' class="{value}"' if isinstance(value, Status) else attribute
        cells.append(f"<td{attribute}>{escape(value)}</td>")
    return "".join(cells)


def _strip(strip: Strip) -> str:
    title = escape(strip.title)
    rows = [np.concatenate(_spaced([_resized(f, THUMB_PX) for f in frames], axis=1), axis=1)
            for frames in (strip.drivers, strip.outputs)]  # fmt: skip
    both = np.concatenate(_spaced(rows, axis=0), axis=0)
    photo = _image(_resized(strip.photo, PICTURE_PX), f"The photo: {strip.title}")
    frames = _image(
        both, f"{len(strip.drivers)} driving frames above, and below each the photo performing it"
    )
    return (
        f'<figure class="card"><div class="strip">{photo}'
        f'<div class="scroll" tabindex="0" role="region" aria-label="Frames of {title}">{frames}</div></div>'
        f"<figcaption>{title}. Upper row: the driver."
        " Lower row: the photo, drawn by the exported files.</figcaption></figure>"
    )


def _spaced(parts: Sequence[Array], axis: int) -> list[Array]:
    """Put transparent gaps between RGBA pictures."""
    spaced: list[Array] = []
    for part in parts:
        shape = list(part.shape)
        shape[axis] = GAP_PX if axis == 0 else GAP_PX // 4
        spaced += [np.zeros(shape, np.uint8), part] if spaced else [part]
    return spaced


def _resized(picture: Array, height: int) -> Array:
    image = Image.fromarray(picture).convert("RGBA")
    width = round(image.width * height / image.height)
    return np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))


def _image(picture: Array, description: str) -> str:
    """Return an `img` with the picture inside; WebP, because gaps are transparent in both themes."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "WEBP", quality=WEBP_QUALITY, method=4)
    data = base64.b64encode(buffer.getvalue()).decode()
    height, width = picture.shape[:2]
    return (
        f'<img src="data:image/webp;base64,{data}" alt="{escape(description)}"'
        f' width="{width}" height="{height}">'
    )
