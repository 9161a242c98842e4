"""The command `npu-sim validate`, and what it prints, counts and writes."""

import csv
import json

import pytest
from typer.testing import CliRunner

from torch_npu_sim.cli import app
from torch_npu_sim.validation.accuracy_table import write_accuracy
from torch_npu_sim.validation.run import read_cases, validate
from torch_npu_sim.validation.statistics import summarize

COLUMNS = ["source", "device", "kind", "setup", "metric", "value", "unit"]
SOFTMAX = 'level2/softmax#2 {"shape":[[2048,2048]],"dtype":["float32"],"attrs":{"dim":-1}} x'
ROWS = [
    ["a tasks/ cann-bench", "Ascend950PR", "norm_reduce", f"{SOFTMAX} SINGLE_KERNEL",
     "task_duration", "15.89", "us"],
    ["b", "H100-SXM", "gemm", "bfloat16 M=4096 N=4096 K=4096", "latency", "174.3", "us"],
    ["c", "Ascend A3 x16 dies", "comm", "all gather", "latency", "5", "us"],
    ["d", "Ascend950PR", "vector", "no one knows this form", "latency", "5", "us"],
]  # fmt: skip


@pytest.fixture
def published(tmp_path):
    """A file of two rows that can be asked about and two that cannot."""
    path = tmp_path / "published.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *ROWS])
    return path


def run(*arguments: object):
    """Runs npu-sim."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_no_row_is_dropped_in_silence(published, tmp_path):
    out = tmp_path / "rows.json"
    done = run("validate", published, "--json", out)
    assert done.exit_code == 0, done.output
    content = json.loads(out.read_text())
    assert len(content["rows"]) == 2
    assert len(content["not_expressible"]) == 2
    assert "Not expressible: 2 rows" in done.output
    assert "not a kernel on one card" in done.output


def test_a_selection_keeps_rows_of_its_chip_and_kind(published, tmp_path):
    out = tmp_path / "rows.csv"
    done = run("validate", published, "--chip", "h100", "--kind", "gemm", "--csv", out)
    assert done.exit_code == 0, done.output
    with out.open() as file:
        assert [row["chip"] for row in csv.DictReader(file)] == ["h100"]


def test_a_plot_has_a_point_a_duration(published, tmp_path):
    out = tmp_path / "errors.svg"
    assert run("validate", published, "--plot", out).exit_code == 0
    assert out.read_text().count("<title>") == 2


def test_a_plot_of_another_kind_is_refused(published, tmp_path):
    done = run("validate", published, "--plot", tmp_path / "errors.png")
    assert done.exit_code == 2
    assert ".svg or .html" in done.output


def test_a_file_of_other_columns_is_refused(tmp_path):
    path = tmp_path / "other.csv"
    path.write_text("a,b\n1,2\n")
    done = run("validate", path)
    assert done.exit_code == 2
    assert "expected the columns" in done.output


def test_validation_leaves_the_chip_as_it_was(published):
    from torch_npu_sim import presets

    before = presets.get_chip().name
    validate(read_cases(published)[0])
    assert presets.get_chip().name == before


def test_the_same_rows_give_the_same_figures_twice(published):
    cases, _ = read_cases(published)
    first, second = validate(cases), validate(cases)
    assert [r.value for r in first.results] == [r.value for r in second.results]


def test_the_summary_counts_sizes_and_keeps_the_sign_of_the_bias():
    summary = summarize([-0.1, 0.2, -0.3, 0.4, -0.5, 0.6, -0.7, 0.8, -0.9, 1.0])
    assert summary.count == 10
    assert summary.median == pytest.approx(0.55)
    assert summary.p90 == pytest.approx(0.9)
    assert summary.bias == pytest.approx(0.05)


def test_the_accuracy_of_a_kind_is_that_of_its_rows(published, tmp_path):
    results = validate(read_cases(published)[0]).results
    path = write_accuracy(results, tmp_path / "accuracy.csv")
    with path.open() as file:
        rows = {(row["chip"], row["kind"]): row for row in csv.DictReader(file)}
    assert set(rows) == {("ascend950pr", "row"), ("h100", "matmul")}
    error = abs(results[0].error)
    assert float(rows["ascend950pr", "row"]["median"]) == pytest.approx(error, abs=1e-4)


def test_every_shipped_row_can_be_asked_about():
    cases, unread = read_cases(None)
    assert len(cases) > 900
    assert unread == []
    skipped = validate(cases).skipped
    assert skipped == []
