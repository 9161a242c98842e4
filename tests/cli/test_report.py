"""npu-sim run --report and npu-sim coverage: one process for both commands, all told."""

import json
from pathlib import Path

import pytest

from tests.python_session import PythonSession

SCRIPT = """
import sys
import torch
import torch_npu
x = torch.rand(32, 32, device="npu")
torch.lgamma(x)
torch.nn.functional.silu(x) * x
print("said", sys.argv[1:])
sys.exit(5)
"""
RUN = """
from typer.testing import CliRunner
from torch_npu_sim.cli import app
result = CliRunner().invoke(app, {arguments!r})
print(result.exit_code)
print(result.output)
"""


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    (folder / "script.py").write_text(SCRIPT)
    with PythonSession(folder) as opened:
        yield opened, folder


def npu_sim(session, *arguments: str) -> tuple[int, str, Path]:
    opened, folder = session
    code, _, output = opened.run(RUN.format(arguments=list(arguments))).partition("\n")
    return int(code), output, folder


def test_run_writes_a_report_and_passes_the_exit_code_on(session):
    code, output, folder = npu_sim(session, "run", "--report", "out.html", "script.py", "--all")
    assert code == 5
    assert "said ['--all']" in output
    assert "report       out.html" in output
    text = (folder / "out.html").read_text()
    assert "<title>script.py on ascend950pr</title>" in text
    assert "aten::lgamma" in text
    assert "torch_npu.npu_swiglu" in text


def test_coverage_names_the_fallback_and_writes_json(session):
    code, output, folder = npu_sim(session, "coverage", "--json", "out.json", "script.py")
    assert code == 5
    assert "host fallback" in output
    data = json.loads((folder / "out.json").read_text())
    (fallback,) = [use for use in data["operators"] if use["support"] == "host fallback"]
    assert fallback["op"] == "aten::lgamma"
    assert fallback["lost_us"] > 0


def test_coverage_of_no_script_is_code_2(session):
    code, output, _ = npu_sim(session, "coverage", "absent.py")
    assert code == 2
    assert "expected the path of a Python script, got absent.py" in output


def test_coverage_on_an_unknown_chip_is_code_2(session):
    code, output, _ = npu_sim(session, "coverage", "--chip", "abacus", "script.py")
    assert code == 2
    assert "abacus" in output
