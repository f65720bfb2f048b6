"""`pocketportrait report merge` and `pocketportrait import-result`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pocketportrait.cli.app import app

reports = typer.Typer(
    help="Reports: one record, many forms.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(reports, name="report")

Title = Annotated[str | None, typer.Option(help="Of the report; the first record's by default.")]
Strict = Annotated[bool, typer.Option("--strict", help="Warnings and skips are errors too.")]


@reports.callback()
def _frame() -> None:
    """Reports: one record, many forms."""


@reports.command("merge")
def merge_reports(
    records: Annotated[
        list[Path],
        typer.Argument(help="JSON that bench, gates, verify, evaluate or report wrote, anywhere."),
    ],
    out: Annotated[
        list[Path], typer.Option("--out", "-o", help=".html, .md, .csv, .xml or .json; repeatable.")
    ],
    title: Title = None,
    strict: Strict = False,
) -> None:
    """Put the records of several machines side by side; exit 1 if one of them failed."""
    # pydantic models take a moment to build; `--help` must not pay for them
    from pocketportrait.validation.report import check_forms, write_report
    from pocketportrait.validation.report_page import verdict
    from pocketportrait.validation.report_record import merge, read_result

    check_forms(out)
    merged = merge([read_result(path) for path in records], title)
    for path in out:
        write_report(merged, path)
        typer.echo(f"report: {path}")
    typer.echo(f"machines: {len(merged.machines())}")
    typer.echo(verdict(merged))
    raise typer.Exit(merged.exit_code(strict=strict))


@app.command("import-result")
def import_result(
    result: Annotated[Path, typer.Argument(help="A record that another machine wrote.")],
    report: Annotated[
        Path, typer.Option(help="The report's JSON: made, or what it holds stays.")
    ] = Path("out/report.json"),
    title: Title = None,
    strict: Strict = False,
) -> None:
    """Bring a result of another machine into a report; exit 1 if the result failed."""
    from pocketportrait.validation.report import check_forms
    from pocketportrait.validation.report_record import findings, merge, read_result

    check_forms([report], only=".json")
    new = read_result(result)
    held = [read_result(report)] if report.exists() else []
    merged = merge([*held, new], title)
    merged.to_json(report)
    machines = "; ".join(machine.line() for machine in new.machines())
    typer.echo(f"from: {machines or 'no machine'}")
    typer.echo(f"judged: {len(findings(new))}")
    typer.echo(f"report: {report}")
    raise typer.Exit(new.exit_code(strict=strict))
