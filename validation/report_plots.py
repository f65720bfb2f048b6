"""Plots of a page as inline SVG: no script, no font, no file beside it; colours are the page's own."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from pocketportrait.validation.bench_record import Budget, Comparison, Sustained, VariantBench

WIDTH, ROW, LEFT, RIGHT = 720, 26, 190, 90
BASE = 18  # from a row's top to its text
CURVE_HEIGHT = 160


def percentile_plot(rows: Sequence[VariantBench]) -> str:
    """Return a bar a variant up to its median frame, and a line on to its 95th percentile."""
    timed = [row for row in rows if row.frame]
    most = max((row.frame.p95_ms for row in timed if row.frame), default=0.0)
    if not most:
        return ""
    parts = []
    for i, row in enumerate(timed):
        assert row.frame is not None
        y, p50, p95 = i * ROW, _x(row.frame.p50_ms, most), _x(row.frame.p95_ms, most)
        parts += [
            _text(LEFT - 8, y + BASE, row.variant, "end"),
            f'<rect class="bar" x="{LEFT}" y="{y + 5}" width="{p50 - LEFT:.1f}" height="16"/>',
            f'<line class="line" x1="{p50:.1f}" y1="{y + 13}" x2="{p95:.1f}" y2="{y + 13}"/>',
            _text(p95 + 6, y + BASE, f"{row.frame.p50_ms:.1f} ms"),
        ]
    return _svg(parts, len(timed) * ROW, "A frame: median as a bar, 95th percentile as a line")


def interval_plot(rows: Sequence[Comparison]) -> str:
    """Return the interval of every comparison beside the band of effects too small to matter."""
    if not rows:
        return ""
    effect = max(row.smallest_effect for row in rows)
    low = min(1 / (1 + 2 * effect), *(row.low for row in rows))
    high = max(1 + 2 * effect, *(row.high for row in rows))

    def x(ratio: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (ratio - low) / (high - low)

    height = len(rows) * ROW
    left, right = x(1 / (1 + effect)), x(1 + effect)
    parts = [
        f'<rect class="band" x="{left:.1f}" y="0" width="{right - left:.1f}" height="{height}"/>',
        f'<line class="axis" x1="{x(1):.1f}" y1="0" x2="{x(1):.1f}" y2="{height}"/>',
    ]
    for i, row in enumerate(rows):
        y = i * ROW + 13
        parts += [
            _text(LEFT - 8, i * ROW + BASE, row.b, "end"),
            f'<line class="line" x1="{x(row.low):.1f}" y1="{y}" x2="{x(row.high):.1f}" y2="{y}"/>',
            f'<circle class="dot" cx="{x(row.ratio):.1f}" cy="{y}" r="4"/>',
            _text(WIDTH - RIGHT + 6, i * ROW + BASE, f"{row.ratio:.3f} x"),
        ]
    return _svg(parts, height, "Time of B / time of A with its interval; the band is no difference")


def sustained_plot(run: Sustained) -> str:
    """Return the median and the 95th percentile of every minute."""
    if len(run.minutes) < 2:
        return ""
    most = max(row.p95_ms for row in run.minutes)
    step = (WIDTH - LEFT - RIGHT) / (len(run.minutes) - 1)

    def points(values: Sequence[float]) -> str:
        return " ".join(
            f"{LEFT + i * step:.1f},{CURVE_HEIGHT - (CURVE_HEIGHT - 10) * v / most:.1f}"
            for i, v in enumerate(values)
        )

    last = run.minutes[-1]
    parts = [
        f'<line class="axis" x1="{LEFT}" y1="{CURVE_HEIGHT}" x2="{WIDTH - RIGHT}" y2="{CURVE_HEIGHT}"/>',
        f'<polyline class="curve" points="{points([m.p50_ms for m in run.minutes])}"/>',
        f'<polyline class="curve thin" points="{points([m.p95_ms for m in run.minutes])}"/>',
        _text(LEFT - 8, BASE, f"{most:.1f} ms", "end"),
        _text(LEFT - 8, CURVE_HEIGHT, "0 ms", "end"),
        _text(LEFT, CURVE_HEIGHT + BASE, "minute 1"),
        _text(WIDTH - RIGHT, CURVE_HEIGHT + BASE, f"minute {last.minute + 1}", "end"),
    ]
    name = f"{run.variant} without a pause: median, and 95th percentile as the thin line"
    return _svg(parts, CURVE_HEIGHT + ROW, name)


def budget_plot(budget: Budget) -> str:
    """Return the stages of a frame one after the other, each as long as its median."""
    whole = sum(row.timing.p50_ms for row in budget.stages)
    if not whole:
        return ""
    parts, start = [], 0.0
    for i, row in enumerate(budget.stages):
        end = start + row.timing.p50_ms
        left, right = _x(start, whole), _x(end, whole)
        parts += [
            _text(LEFT - 8, i * ROW + BASE, row.stage, "end"),
            f'<rect class="bar" x="{left:.1f}" y="{i * ROW + 5}" width="{max(right - left, 1):.1f}"'
            ' height="16"/>',
            _text(right + 6, i * ROW + BASE, f"{row.timing.p50_ms:.2f} ms"),
        ]
        start = end
    name = f"{budget.variant}: where the time of a frame goes, from file to file"
    return _svg(parts, len(budget.stages) * ROW, name)


def _x(value: float, most: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * value / most


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _svg(parts: Sequence[str], height: float, name: str) -> str:
    return (
        f'<figure class="card scroll" tabindex="0" role="region" aria-label="{escape(name)}">'
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}" role="img">'
        f"<title>{escape(name)}</title>{''.join(parts)}</svg>"
        f"<figcaption>{escape(name)}.</figcaption></figure>"
    )
