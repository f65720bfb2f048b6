"""A report written as what its file's name asks for; every form is made from the same record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pocketportrait import atomic
from pocketportrait.errors import InputError
from pocketportrait.validation.junit import junit_cases
from pocketportrait.validation.report_csv import csv_text
from pocketportrait.validation.report_page import page
from pocketportrait.validation.report_record import Report, findings
from pocketportrait.validation.report_text import markdown

FORMS: dict[str, Callable[[Report], str | bytes]] = {
    ".json": lambda report: report.model_dump_json(indent=2) + "\n",
    ".html": page,
    ".md": markdown,
    ".csv": csv_text,
    ".xml": lambda report: junit_cases(report.title, findings(report)),
}


def check_forms(paths: Sequence[Path], *, only: str = "") -> None:
    """Refuse names that no form has, before any work.

    Raises:
        InputError: a suffix that is none of json, html, md, csv and xml, or another than `only`.

    """
    known = [only] if only else list(FORMS)
    for path in paths:
        if path.suffix not in known:
            raise InputError(f"{path}: want a name that ends in {', '.join(known)}; choose one")


def write_report(report: Report, path: Path, *, form: str = "") -> None:
    """Write a report, whole or not at all.

    Args:
        report: the record.
        path: `.json` the record itself, `.html` the page, `.md` Markdown, `.csv` one figure a line,
            `.xml` JUnit.
        form: one of these suffixes, whatever the path is called.

    Raises:
        InputError: another suffix, or a place that cannot be written.

    """
    if not form:
        check_forms([path])
    text = FORMS[form or path.suffix](report)
    atomic.write_bytes(path, text if isinstance(text, bytes) else text.encode())
