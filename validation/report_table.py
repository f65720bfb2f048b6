"""Tables of a page, whose figures say where in the record they stand."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from pocketportrait.validation.checks import Status

LONG = 40  # rows


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell; `source` is the JSON pointer of the figure that it shows."""

    text: str
    source: str = ""
    scale: float = 1.0  # shown figure / figure of the record

    def attributes(self) -> str:
        """Return the attributes by which a reader finds the figure in the record."""
        if not self.source:
            return ""
        scale = f' data-scale="{self.scale:g}"' if self.scale != 1 else ""
        return f' data-from="{escape(self.source)}"{scale}'


def number(value: float | None, form: str, source: str, *, scale: float = 1.0) -> Cell:
    """Return a cell that shows a figure; none is empty, and an infinite one has no place in JSON."""
    if value is None:
        return Cell("")
    if math.isinf(value):
        return Cell("exact" if value > 0 else "none")
    return Cell(format(value if scale == 1 else value * scale, form), source, scale)


def table(
    caption: str, heads: Sequence[str], rows: Iterable[Sequence[str | Cell]], *, numbers: int
) -> str:
    """Return a table whose last `numbers` columns are right-aligned; nothing for no rows."""
    first = len(heads) - numbers
    kind = [' class="n"' if i >= first else "" for i in range(len(heads))]
    head = "".join(f'<th scope="col"{k}>{escape(h)}</th>' for h, k in zip(heads, kind, strict=True))
    body = "".join(f"<tr>{_cells(row, kind)}</tr>\n" for row in rows)
    if not body:
        return ""
    return (
        f'<div class="card scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f"<table><caption>{escape(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def folded(body: str, rows: int) -> str:
    """Return a table that opens when it is asked for if it is longer than a screen."""
    if rows <= LONG:
        return body
    return f"<details><summary>All {rows} rows</summary>{body}</details>"


def _cells(row: Sequence[str | Cell], kind: Sequence[str]) -> str:
    name = row[0] if isinstance(row[0], str) else row[0].text
    cells = [f'<th scope="row">{escape(name)}</th>']
    for value, attribute in zip(row[1:], kind[1:], strict=True):
        attribute = f' class="{value}"' if isinstance(value, Status) else attribute
        cell = value if isinstance(value, Cell) else Cell(value)
        cells.append(f"<td{attribute}{cell.attributes()}>{escape(cell.text)}</td>")
    return "".join(cells)
