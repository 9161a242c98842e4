"""A report as one HTML page that needs nothing else: no network, no script."""

from pathlib import Path

from jinja2 import Environment, PackageLoader

from torch_npu_sim.migrate.findings import TITLES, Kind, Report

__all__ = ["write_page"]


def write_page(report: Report, path: Path) -> None:
    """Writes the page."""
    environment = Environment(
        loader=PackageLoader("torch_npu_sim.migrate", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sections = [(TITLES[kind], report.of(kind)) for kind in Kind]
    text = environment.get_template("page.html").render(report=report, sections=sections)
    path.write_text(text, encoding="utf-8")
