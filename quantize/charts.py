"""Charts as SVG, drawn by hand: the same figures give the same bytes, and nothing has to be installed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

ROW, BAR, LABEL, PLOT, SPACE = 18, 12, 240, 420, 60  # pixels
WIDTH, HEIGHT, MARGIN = 720, 440, 64
TICKS = 5
COLOURS = ("#4269d0", "#ff725c", "#3ca951", "#9c6b4e")


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar."""

    label: str
    value: float
    group: str  # bars of one group have one colour


@dataclass(frozen=True, slots=True)
class Dot:
    """One point of a scatter plot."""

    x: float
    y: float
    label: str
    on_front: bool


def bar_chart(title: str, unit: str, bars: Sequence[Bar]) -> str:
    """Return an SVG of horizontal bars, in the order given.

    Args:
        title: above the chart.
        unit: behind every number.
        bars: with values of 0 or more.

    """
    groups = list(dict.fromkeys(bar.group for bar in bars))
    largest = max((bar.value for bar in bars), default=0) or 1
    parts = [_text(8, 20, title, size=14, weight="bold")]
    for number, group in enumerate(groups):
        colour = COLOURS[number % len(COLOURS)]
        parts.append(
            f'<rect x="{8 + 110 * number}" y="30" width="10" height="10" fill="{colour}"/>'
        )
        parts.append(_text(22 + 110 * number, 39, group))
    for row, bar in enumerate(bars):
        y = SPACE + row * ROW
        width = PLOT * bar.value / largest
        colour = COLOURS[groups.index(bar.group) % len(COLOURS)]
        parts.append(_text(LABEL - 6, y + 10, bar.label, anchor="end"))
        parts.append(
            f'<rect x="{LABEL}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{colour}"/>'
        )
        parts.append(_text(LABEL + width + 5, y + 10, f"{bar.value:.3g} {unit}"))
    return _svg(LABEL + PLOT + 110, SPACE + ROW * len(bars) + 10, parts)


def scatter_plot(title: str, x_name: str, y_name: str, dots: Sequence[Dot]) -> str:
    """Return an SVG of points; those on the front are joined, filled and labelled."""
    x_low, x_high = _span([dot.x for dot in dots])
    y_low, y_high = _span([dot.y for dot in dots])

    def place(x: float, y: float) -> tuple[float, float]:
        across = MARGIN + (x - x_low) / (x_high - x_low) * (WIDTH - 2 * MARGIN)
        return across, HEIGHT - MARGIN - (y - y_low) / (y_high - y_low) * (HEIGHT - 2 * MARGIN)

    parts = [_text(MARGIN, 24, title, size=14, weight="bold")]
    parts += [_text(WIDTH / 2, HEIGHT - 14, x_name, anchor="middle"), _text(8, MARGIN - 14, y_name)]
    for tick in range(TICKS):
        share = tick / (TICKS - 1)
        x, y = x_low + share * (x_high - x_low), y_low + share * (y_high - y_low)
        across, up = place(x, y)
        parts += [
            _line(across, MARGIN, across, HEIGHT - MARGIN),
            _line(MARGIN, up, WIDTH - MARGIN, up),
            _text(across, HEIGHT - MARGIN + 16, f"{x:.4g}", anchor="middle"),
            _text(MARGIN - 6, up + 4, f"{y:.4g}", anchor="end"),
        ]
    front = sorted((dot for dot in dots if dot.on_front), key=lambda dot: dot.x)
    path = " ".join("{:.1f},{:.1f}".format(*place(dot.x, dot.y)) for dot in front)
    parts.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[0]}"/>')
    for dot in dots:
        across, up = place(dot.x, dot.y)
        fill = COLOURS[0] if dot.on_front else "#bbbbbb"
        parts.append(
            f'<circle cx="{across:.1f}" cy="{up:.1f}" r="4" fill="{fill}">'
            f"<title>{escape(dot.label)}</title></circle>"
        )
        if dot.on_front:
            parts.append(_text(across + 6, up - 6, dot.label))
    return _svg(WIDTH, HEIGHT, parts)


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    return low - room, high + room


def _line(x: float, y: float, to_x: float, to_y: float) -> str:
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" stroke="#e4e4e4"/>'


def _text(
    x: float, y: float, text: str, *, size: int = 11, weight: str = "normal", anchor: str = "start"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}"'
        f' text-anchor="{anchor}">{escape(text)}</text>'
    )


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}" font-family="sans-serif">'
    )
    back = f'<rect width="{width}" height="{height}" fill="white"/>'
    return "\n".join([head, back, *parts, "</svg>", ""])
