"""An evaluation on a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from pocketportrait.validation.checks import Status
from pocketportrait.validation.portrait_record import ClipFigures, Evaluation, Figures
from pocketportrait.validation.table import LEAST_COLUMNS, STYLES

# figure, heading and form; those that no clip has are not shown
COLUMNS = (
    ("l1", "L1", ".3f"),
    ("psnr_db", "PSNR", ".1f"),
    ("ssim", "SSIM", ".3f"),
    ("akd_px", "AKD", ".2f"),
    ("aed", "AED", ".2f"),
    ("apd_deg", "APD", ".2f"),
    ("csim", "CSIM", ".3f"),
    ("flicker", "flicker", ".2f"),
    ("missing", "lost", ".2f"),
)
TITLES = {"self": "Self-reenactment", "cross": "Cross-reenactment"}


def print_evaluation(record: Evaluation, console: Console | None = None) -> None:
    """Print every clip, the means beside "repeat the photo", the worst clips, and what was skipped."""
    console = console or _standard_output()
    for kind in ("self", "cross"):
        if rows := record.of(kind):
            console.print(_table(record, kind, rows))
    for summary in record.summaries:
        for word, figures in (("medians", summary.medians), ("drift", _drift(summary.means))):
            if figures:
                shown = "  ".join(f"{k} {v:.3f}" for k, v in figures.items())
                line = f"{TITLES[summary.kind]}, {summary.group}: {word}: {shown}"
                console.print(line, markup=False, highlight=False, soft_wrap=True)
    _print_worst(record, console)
    for skipped in record.skipped:
        console.print("SKIP", style=STYLES[Status.SKIP], end=" ")
        said = f"{', '.join(skipped.figures)}: {skipped.reason}"
        console.print(said, markup=False, highlight=False, soft_wrap=True)


def _standard_output() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=LEAST_COLUMNS)


def _table(record: Evaluation, kind: str, rows: tuple[ClipFigures, ...]) -> Table:
    subject = " ".join(part for part in (record.subject, record.variant) if part)
    title = f"{TITLES[kind]}: {subject} (dB, px of 256, degrees)"
    table = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1)
    )
    shown = [c for c in COLUMNS if any(c[0] in row.figures for row in rows)]
    table.add_column("clip", no_wrap=True)
    table.add_column("frames", justify="right", no_wrap=True)
    for _, heading, _ in shown:
        table.add_column(heading, justify="right", no_wrap=True)

    def cells(figures: Figures, suffix: str = "", form: str | None = None) -> list[str]:
        found = [(figures.get(name + suffix), form or own) for name, _, own in shown]
        return ["" if value is None else format(value, own) for value, own in found]

    for row in rows:
        table.add_row(row.name, str(row.frames), *cells(row.figures))
    for summary in (s for s in record.summaries if s.kind == kind):
        table.add_section()
        table.add_row(f"mean, {summary.group}", str(summary.clips), *cells(summary.means))
        table.add_row("repeat the photo", "", *cells(summary.means, "_static"))
        table.add_row("ratio", "", *cells(summary.ratios, form=".3f"))
    return table


def _drift(means: Figures) -> Figures:
    return {name: value for name, value in means.items() if name.startswith("drift_")}


def _print_worst(record: Evaluation, console: Console) -> None:
    found: dict[tuple[str, str], list[str]] = {}
    for worst in record.worst:
        found.setdefault((worst.kind, worst.figure), []).append(f"{worst.clip} {worst.ratio:.2f}")
    for (kind, figure), clips in found.items():
        line = f"worst {figure} ({kind}, ratio): {'; '.join(clips)}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
