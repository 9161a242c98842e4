"""Rewrites what docs/validation.md shows: tables, plots, and the errors that reports quote.

python scripts/make_validation_page.py
"""

import re
from pathlib import Path

from torch_npu_sim.report.drawing import Point, scatter_svg, write_drawing
from torch_npu_sim.validation.accuracy_table import write_accuracy
from torch_npu_sim.validation.report import kind_of, label
from torch_npu_sim.validation.run import Result, read_cases, validate
from torch_npu_sim.validation.statistics import Summary, group, summarize

PAGE = Path(__file__).parents[1] / "docs/validation.md"
FIGURES = PAGE.parent / "figures"
PLOTTED = ("ascend950pr", "ascend950pr_128g", "ascend910b2", "h100")
HEADER = (
    "| Chip | Kind | n | median | p90 | bias | base median | base p90 |\n"
    "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n"
)


def main() -> None:
    """Validates every shipped row and writes page, plots and accuracy."""
    results = validate(read_cases(None)[0]).results
    write_accuracy(results)
    single = [result for result in results if result.case.single_kernel]
    text = PAGE.read_text(encoding="utf-8")
    text = replaced(text, "single", table(single))
    text = replaced(text, "other", table([r for r in results if not r.case.single_kernel]))
    PAGE.write_text(text, encoding="utf-8")
    FIGURES.mkdir(exist_ok=True)
    for chip in PLOTTED:
        draw([r for r in single if r.case.chip == chip], chip)


def replaced(text: str, name: str, content: str) -> str:
    """Returns the page with what stands between two marks of `name` replaced."""
    pattern = rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)"
    found, count = re.subn(pattern, lambda m: m[1] + content + m[2], text, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"{PAGE}: expected the marks of {name} once, got {count}")
    return found


def table(results: list[Result]) -> str:
    """Returns errors by chip and kind, and of all durations of a chip."""
    lines = []
    for (chip,), of_chip in group(results, lambda result: (result.case.chip,)).items():
        for (_, kind), rows in group(of_chip, kind_of).items():
            lines.append(line(chip, kind, rows))
        durations = [result for result in of_chip if result.case.quantity == "duration"]
        if durations:
            lines.append(line(chip, "**all durations**", durations))
    return HEADER + "".join(lines)


def line(chip: str, kind: str, results: list[Result]) -> str:
    """Returns one row of the table."""
    model = summarize(result.error for result in results)
    errors = [result.baseline_error for result in results]
    base = summarize(error for error in errors if error is not None)
    cells = [chip, kind, str(model.count), *percents(model), f"{model.bias:+.1%}"]
    return "| " + " | ".join([*cells, *percents(base)]) + " |\n"


def percents(summary: Summary) -> list[str]:
    """Returns median and p90 of the errors' sizes."""
    if summary.count == 0:
        return ["", ""]
    return [f"{summary.median:.1%}", f"{summary.p90:.1%}"]


def draw(results: list[Result], chip: str) -> None:
    """Draws simulated against measured durations of one chip."""
    points = [
        Point(result.case.kind, result.case.value, result.value, label(result))
        for result in results
        if result.case.quantity == "duration"
    ]
    title = f"{chip}: {len(points)} published kernel times"
    write_drawing(scatter_svg(points, title), FIGURES / f"validation_{chip}.svg")


if __name__ == "__main__":
    main()
