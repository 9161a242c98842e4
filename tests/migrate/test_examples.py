"""The CUDA scripts of examples/migration run with two lines more."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.python_session import PythonSession

FOLDER = Path(__file__).parents[2] / "examples/migration"
LINES = "import torch_npu\nfrom torch_npu.contrib import transfer_to_npu\n"

# A pattern that all the output matches.
OUTPUTS = {
    "autograd_function.py": (
        r"the gradient is right\ntorch.float32, gradient torch.float64 on npu:0, sum 11\.045\n"
    ),
    "infer_streams.py": (
        r"256 answers, npu, half torch.float16\ntime 0\.\d{3} ms on Ascend950PR_9579\nTrue\n"
    ),
    "profile_step.py": r" +Name .*Self CPU %.*\nlinear layers: 8\n1 trace\n",
    "train_amp.py": (
        r"epoch 0: loss 0\.\d{3}\nepoch 1: loss 0\.\d{3}\nepoch 2: loss 0\.[0-3]\d{2}\n"
        r"on npu:0, is_cuda True\npeak memory True\n"
    ),
    "train_ddp.py": r"rank 0 of 1, backend hccl: loss 0\.0000\n",
}


def test_every_script_has_its_output_here() -> None:
    assert sorted(OUTPUTS) == sorted(path.name for path in FOLDER.glob("*.py"))


@pytest.mark.parametrize("script", OUTPUTS)
def test_the_script_knows_nothing_of_npu(script: str) -> None:
    assert not re.search(r"\bnpu", (FOLDER / script).read_text())


@pytest.mark.parametrize("script", OUTPUTS)
def test_the_script_runs_with_two_lines_more(script: str, moved: PythonSession) -> None:
    output = moved.run(
        "import sys; sys.argv = ['script']\n" + LINES + (FOLDER / script).read_text()
    )
    assert re.fullmatch(OUTPUTS[script], output), output


def test_npu_sim_runs_such_a_script_and_reports(tmp_path: Path) -> None:
    script = tmp_path / "ddp.py"
    script.write_text(LINES + (FOLDER / "train_ddp.py").read_text())
    command = str(Path(sys.executable).parent / "npu-sim")
    done = subprocess.run(
        [command, "run", str(script)], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert re.match(OUTPUTS["train_ddp.py"], done.stdout)
    assert "addmm" in done.stdout, "the report follows"
