"""A report in the terminal: a summary, and a table of each kind."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from torch_npu_sim.migrate.findings import TITLES, Kind, Report

__all__ = ["show"]


def show(report: Report, every: bool = False, console: Console | None = None) -> None:
    """Prints a report. What is redirected is only counted, unless `every` is set."""
    console = console or Console()
    summary = Table("what", "places", title=f"{report.files} files in {escape(str(report.root))}")
    summary.columns[1].justify = "right"
    for kind, count in report.counts().items():
        summary.add_row(TITLES[kind], str(count))
    console.print(summary)
    for kind in Kind:
        findings = report.of(kind)
        if not findings or (kind is Kind.REDIRECTED and not every):
            continue
        table = Table("place", "code", "what to do", title=TITLES[kind], title_justify="left")
        table.columns[0].overflow = "fold"
        for finding in findings:
            place = f"{finding.path}:{finding.line}"
            table.add_row(escape(place), escape(finding.code), escape(finding.message))
        console.print(table)
    for path, reason in report.unread.items():
        console.print(f"not read: {path}: {reason}", style="yellow", markup=False)
