"""What the README shows works as shown, and no page leads nowhere."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    (ROOT / "docs").rglob("*.md")
)
README = (ROOT / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
RunPython = Callable[..., subprocess.CompletedProcess[str]]


def page_name(page: Path) -> str:
    """Returns the page's path as readers see it."""
    return str(page.relative_to(ROOT))


def test_the_readme_has_a_first_taste_and_a_script() -> None:
    assert len(EXAMPLES) == 2
    assert len([line for line in EXAMPLES[1].splitlines() if line]) <= 20


def test_the_first_taste_runs(run_python: RunPython) -> None:
    done = run_python(EXAMPLES[0])
    assert re.fullmatch(r"npu:0 0\.\d{3} ms on the simulated card\n", done.stdout), done.stderr


def test_the_script_prints_its_report_and_writes_a_trace(
    run_python: RunPython, tmp_path: Path
) -> None:
    done = run_python(EXAMPLES[1])
    assert done.returncode == 0, done.stderr
    time = re.match(r"loss \d+\.\d{4}, (\d+\.\d) us on the simulated card\n", done.stdout)
    assert time is not None, done.stdout
    assert float(time[1]) > 0
    # Weights, gradients and two moments of 8.4 M parameters, two bytes each, are 67 MB.
    peak = re.search(r"^peak memory (\d+\.\d) MB$", done.stdout, re.MULTILINE)
    assert peak is not None
    assert float(peak[1]) > 67
    assert "addmm" in done.stdout
    assert json.loads((tmp_path / "step.json").read_text())["traceEvents"]


def test_the_script_takes_the_same_simulated_time_twice(run_python: RunPython) -> None:
    first, second = run_python(EXAMPLES[1]), run_python(EXAMPLES[1])
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout


def test_kernels_have_the_attributes_of_the_table() -> None:
    import torch

    import torch_npu_sim

    table = README.partition("| Attribute |")[2].partition("\n\n")[0]
    names = [name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row)]
    with torch_npu_sim.trace() as trace:
        torch.ones(64, 64, device="npu") @ torch.ones(64, 64, device="npu")
    assert len(names) == 12
    assert [n for n in names if not hasattr(trace.kernels[0], n)] == []


def test_the_commands_run(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        "import sys, torch\nprint(sys.argv[1:], (torch.ones(2, device='npu') * 3).tolist())\n"
    )
    (tmp_path / "project").mkdir()
    (tmp_path / "project/net.py").write_text("import torch\nx = torch.ones(2).cuda()\n")
    lines = re.findall(r"^npu-sim (.*?)\s*(?:#.*)?$", README, re.MULTILINE)
    assert lines[:2] == ["info", "run train.py --epochs 1"]
    assert lines[2:5] == [
        "run --report page.html train.py",
        "coverage train.py",
        "migrate project/",
    ]
    assert lines[5:] == ['explain "matmul 4096x4096x4096 mxfp4"', "validate"]
    command = str(Path(sys.executable).parent / "npu-sim")
    info, run, report, coverage, migrate, explain, validate = [
        subprocess.run(
            [command, *shlex.split(line)], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        for line in lines
    ]
    assert info.returncode == 0, info.stderr
    assert "950" in info.stdout
    assert run.returncode == 0, run.stderr
    assert "['--epochs', '1'] [3.0, 3.0]" in run.stdout
    assert "mul" in run.stdout, "the report names the operator"
    assert report.returncode == 0, report.stderr
    assert "<svg" in (tmp_path / "page.html").read_text()
    assert coverage.returncode == 0, coverage.stderr
    assert "mul" in coverage.stdout
    assert migrate.returncode == 0, migrate.stderr
    assert "What transfer_to_npu redirects" in migrate.stdout
    assert explain.returncode == 0, explain.stderr
    assert "mxfp4" in explain.stdout
    assert validate.returncode == 0, validate.stderr
    assert "ascend950pr" in validate.stdout


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    near = [link for link in links if not link.startswith(("http://", "https://"))]
    assert [link for link in near if not (page.parent / link).exists()] == []


def test_the_index_lists_every_page() -> None:
    index = (ROOT / "docs/README.md").read_text()
    pages = [str(p.relative_to(ROOT / "docs")) for p in PAGES if (ROOT / "docs") in p.parents]
    assert [p for p in pages if p != "README.md" and f"({p})" not in index] == []
