"""The page: one file with everything inside, which fetches nothing and runs no script.

Every figure names its place in the record (`data-from`, a JSON pointer), so that a test can compare both.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from html import escape
from importlib import resources

from pocketportrait.contract import GRAPHS
from pocketportrait.validation.checks import Status, VerifyReport
from pocketportrait.validation.matrix import GRAVEST
from pocketportrait.validation.report_matrix import matrix_sections
from pocketportrait.validation.report_record import BundleFacts, Picture, Report, findings
from pocketportrait.validation.report_speed import NO_LATENCY, speed_sections
from pocketportrait.validation.report_table import Cell, folded, number, table
from pocketportrait.validation.table import gate

TEMPLATE = "report.html"
MEGA = 1e-6
SHOWN_FIGURES = ("psnr_db", "ssim", "akd_px", "aed", "apd_deg", "csim", "flicker", "drift_l1")


def page(report: Report) -> str:
    """Return the page of a report."""
    template = resources.files("pocketportrait.validation").joinpath(TEMPLATE).read_text()
    machines = report.machines()
    return string.Template(template).substitute(
        title=escape(report.title),
        verdict=escape(verdict(report)),
        verdict_class=_gravest(report),
        machines="<br>".join(escape(machine.line()) for machine in machines),
        sections="\n".join(
            f'<section aria-labelledby="{name}"><h2 id="{name}">{escape(title)}</h2>\n{body}\n</section>'
            for name, title, body in _sections(report)
            if body
        ),
    )


def _gravest(report: Report) -> Status | str:
    """Return how the whole ended: what was not run or not judged does not look like what passed."""
    found = {finding.status for finding in findings(report)}
    return next((status for status in GRAVEST if status in found), "")


def verdict(report: Report) -> str:
    """Return the sentence that a reader needs first."""
    said = []
    failed: set[str] = set()
    for one in report.verifications:
        failed |= {f"{c.variant} {c.graph}".strip() for c in one.of(Status.FAIL)}
    failed |= {
        f"{g.variant} portrait {g.figure}"
        for gates in report.gates
        for g in gates.rows
        if g.status is Status.FAIL
    }
    failed |= {
        f"{r.variant} slower than the baseline"
        for bench in report.benches
        for r in bench.regressions
        if r.status is Status.FAIL
    }
    if failed:
        return f"Failed: {', '.join(sorted(failed))}"
    compared = sum(len(one.worst()) for one in report.verifications)
    if compared:
        said.append(f"Verified: all {compared} outputs of the exported files keep their gates")
    if held := sum(g.status is Status.PASS for gates in report.gates for g in gates.rows):
        said.append(f"{held} portrait figures keep theirs")
    said += [
        f"{one.b} is {one.verdict}{' than' if one.verdict in ('slower', 'faster') else ' from'} {one.a}"
        for bench in report.benches
        for one in bench.comparisons
    ]
    skipped = {c.variant for one in report.verifications for c in one.of(Status.SKIP)}
    if skipped:
        said.append(f"not run here: {', '.join(sorted(skipped))}")
    return "; ".join(said) or "Measured; nothing was judged"


def _sections(report: Report) -> Iterator[tuple[str, str, str]]:
    strips = [_picture(p) for p in report.pictures if p.kind == "strip"]
    worst = [_picture(p) for p in report.pictures if p.kind == "worst"]
    yield "pictures", "What it draws", "\n".join(strips)
    yield "built", "What was built", "\n".join(_bundles(report))
    yield "parity", "Parity with torch", "\n".join(_parity(report))
    yield "speed", "Milliseconds a frame", speed_sections(report) or f"<p>{NO_LATENCY}</p>"
    yield "portrait", "Portrait gates against fp32", "\n".join([*_gates(report), *worst])
    yield "evaluation", "Portrait figures", "\n".join(_evaluations(report))


def _picture(picture: Picture) -> str:
    title = escape(picture.title)
    images = [
        f'<img src="data:image/webp;base64,{image.webp_base64}" alt="{escape(image.alt)}"'
        f' width="{image.width}" height="{image.height}">'
        for image in picture.images
    ]
    caption = f"<figcaption>{title}. {escape(picture.caption)}</figcaption></figure>"
    if picture.kind == "worst":
        return f'<figure class="card"><div class="row">{"".join(images)}</div>{caption}'
    photo, *frames = images
    return (
        f'<figure class="card"><div class="strip">{photo}<div class="scroll" tabindex="0"'
        f' role="region" aria-label="Frames of {title}">{"".join(frames)}</div></div>{caption}'
    )


def _bundles(report: Report) -> Iterator[str]:
    for i, bundle in enumerate(report.bundles):
        facts = {"bundle": bundle.name, **bundle.model, "licence": bundle.licence}
        facts["tools"] = ", ".join(f"{name} {version}" for name, version in bundle.tools.items())
        rows = (f"<dt>{escape(k)}</dt><dd>{escape(_plain(v))}</dd>" for k, v in facts.items() if v)
        yield f'<div class="card"><dl>{"".join(rows)}</dl></div>'
        sizes: list[tuple[str | Cell, ...]] = []
        for j, size in enumerate(bundle.sizes):
            source = f"/bundles/{i}/sizes/{j}/graph_bytes"
            cells = [
                number(size.graph_bytes.get(graph), ".2f", f"{source}/{graph}", scale=MEGA)
                for graph in GRAPHS
            ]
            whole = Cell(f"{sum(size.graph_bytes.values()) * MEGA:.2f}")
            sizes.append((size.variant, *cells, whole))
        yield table("Sizes in MB (10⁶ bytes)", ("variant", *GRAPHS, "in all"), sizes, numbers=4)
        yield _recipes(bundle)
    for machine in report.machines():
        engines = ", ".join(f"{n} {v}" for n, v in machine.engines.items())
        yield f'<p class="quiet">{escape(machine.line())}: {escape(engines)}</p>'


def _recipes(bundle: BundleFacts) -> str:
    """Return what variants were made by, once for all formats that share it."""
    made: dict[str, list[str]] = {}
    for size in bundle.sizes:
        made.setdefault(size.recipe, []).append(size.variant)
    rows = (
        f"<dt>{escape(', '.join(variants))}</dt><dd>{escape(recipe)}</dd>"
        for recipe, variants in made.items()
    )
    body = f'<div class="card"><dl>{"".join(rows)}</dl></div>'
    return f"<details><summary>How each variant was made</summary>{body}</details>"


def _plain(value: str) -> str:
    """Return a value as text; JSON loses its quotes and braces."""
    return value[1:-1].replace('"', "") if value.startswith("{") else value


def _parity(report: Report) -> Iterator[str]:
    if report.verifications:
        yield (
            "<p>Each exported file replays stored inputs of real frames (golden), and fresh random"
            " photos and frames (fresh). Engines are also compared with themselves on a second pass"
            " (repeat), and with this machine's engine on the same file (here). Shown is the worst"
            " of all samples; the gate is what a file must keep.</p>"
        )
    heads = ("variant", "graph", "output", "status", "max abs", "PSNR dB", "cosine", "gate")
    for i, one in enumerate(report.verifications):
        yield _complaints(one)
        place = {id(check): f"/verifications/{i}/checks/{j}" for j, check in enumerate(one.checks)}
        rows = []
        for check in one.worst():
            source = place[id(check)]
            figures = (
                number(check.max_abs, ".2g", f"{source}/max_abs"),
                number(check.psnr_db, ".1f", f"{source}/psnr_db"),
                number(check.cosine, ".6f", f"{source}/cosine"),
            )
            where = check.target or check.runner
            name = f"{check.variant} ({where})" if where else check.variant
            rows.append((name, check.graph, check.tensor, check.status, *figures, gate(check)))
        yield from matrix_sections(one, f"/verifications/{i}")
        yield folded(table(f"{one.bundle}: {len(rows)} outputs", heads, rows, numbers=4), len(rows))
        yield _costs(one, f"/verifications/{i}")


def _costs(report: VerifyReport, source: str) -> str:
    """Return what passes cost on targets that count instead of timing."""
    rows = [
        (
            check.variant,
            check.target,
            check.graph,
            check.cost_unit,
            number(check.cost, "d", f"{source}/checks/{j}/cost"),
        )
        for j, check in enumerate(report.checks)
        if check.cost is not None
    ]
    heads = ("variant", "target", "graph", "counted", "a pass")
    return table(f"{report.bundle}: what a pass costs", heads, rows, numbers=1)


def _complaints(report: VerifyReport) -> str:
    found = report.of(Status.FAIL, Status.WARN, Status.SKIP)
    items = (
        f'<li><span class="{c.status}">{c.status}</span> {escape(c.name)}: {escape(c.message)}</li>'
        for c in found
    )
    return f"<ul>{''.join(items)}</ul>" if found else ""


def _gates(report: Report) -> Iterator[str]:
    heads = ("variant", "figure", "status", "why", "fp32", "this", "bound")
    for i, gates in enumerate(report.gates):
        rows = []
        for j, row in enumerate(gates.rows):
            source = f"/gates/{i}/rows/{j}"
            figures = (
                number(row.reference, ".4g", f"{source}/reference"),
                number(row.value, ".4g", f"{source}/value"),
                number(row.bound, ".4g", f"{source}/bound"),
            )
            rows.append((row.variant, row.figure, row.status, row.message or row.side, *figures))
        caption = f"{gates.bundle} on {gates.clips} clips of {gates.data}, beside {gates.reference}"
        yield table(caption, heads, rows, numbers=3)


def _evaluations(report: Report) -> Iterator[str]:
    for i, one in enumerate(report.evaluations):
        held = {name for summary in one.summaries for name in summary.means}
        shown = [name for name in SHOWN_FIGURES if name in held]
        rows: list[tuple[str | Cell, ...]] = []
        for j, summary in enumerate(one.summaries):
            source = f"/evaluations/{i}/summaries/{j}"
            cells = [number(summary.means.get(n), ".3f", f"{source}/means/{n}") for n in shown]
            clips = number(summary.clips, "d", f"{source}/clips")
            rows.append((f"{summary.kind}, {summary.group}", clips, *cells))
        caption = " ".join(part for part in (one.subject, one.variant) if part)
        yield table(
            f"{caption}: means", ("clips of", "clips", *shown), rows, numbers=len(shown) + 1
        )
