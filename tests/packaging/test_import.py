"""How the device comes into a process, and what it says when it cannot."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RunPython = Callable[..., subprocess.CompletedProcess[str]]

# Each costs a tenth of a second or more, or belongs to a command rather than to the device.
HEAVY = [
    *("typer", "rich", "yaml", "transformers", "pandas", "matplotlib"),
    *("torch._dynamo", "torch._inductor"),
]


def test_import_torch_alone_makes_npu_available(run_python: RunPython) -> None:
    done = run_python("import torch; print(torch.npu.is_available(), torch.ones(2).npu().sum())")
    assert done.stdout == "True tensor(2., device='npu:0')\n", done.stderr


def test_autoload_can_be_switched_off(run_python: RunPython) -> None:
    code = "import sys, torch; print('torch_npu_sim' in sys.modules, hasattr(torch, 'npu'))"
    done = run_python(code, TORCH_DEVICE_BACKEND_AUTOLOAD="0")
    assert done.stdout == "False False\n", done.stderr


@pytest.mark.parametrize("autoload", ["0", "1"])
def test_importing_the_package_first_works(autoload: str, run_python: RunPython) -> None:
    code = "import torch_npu_sim, torch; print(torch.ones(2, device='npu').device)"
    done = run_python(code, TORCH_DEVICE_BACKEND_AUTOLOAD=autoload)
    assert done.stdout == "npu:0\n", done.stderr


def test_importing_twice_in_both_orders_is_harmless(run_python: RunPython) -> None:
    code = "import torch, torch_npu_sim, torch; print(torch_npu_sim.__name__)"
    assert run_python(code).stdout == "torch_npu_sim\n"


def test_the_import_loads_nothing_heavy(run_python: RunPython) -> None:
    code = (
        "import sys, torch; before = set(sys.modules); import torch_npu_sim;"
        f"print([m for m in {HEAVY} if m in sys.modules and m not in before])"
    )
    done = run_python(code, TORCH_DEVICE_BACKEND_AUTOLOAD="0")
    assert done.stdout == "[]\n", done.stderr


def test_another_torch_is_refused_in_one_sentence(run_python: RunPython) -> None:
    code = "import torch; torch.__version__ = '2.12.1'; import torch_npu_sim"
    done = run_python(code, TORCH_DEVICE_BACKEND_AUTOLOAD="0")
    assert done.returncode != 0
    sentence = done.stderr.splitlines()[-1]
    assert sentence.startswith("ImportError: torch_npu_sim ")
    assert "expected torch 2.13, got torch 2.12.1; install torch==2.13.0" in sentence


def build_facts(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the script by which the build looks at torch."""
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT, check=False
    )


def test_the_build_accepts_the_running_torch() -> None:
    done = build_facts("cmake/torch_facts.py", "2.13.0")
    folder, version, abi = done.stdout.splitlines()
    assert (Path(folder) / "include/ATen/ATen.h").is_file()
    assert version.startswith("2.13.0")
    assert abi == "1"


def test_the_build_refuses_another_torch_in_one_sentence() -> None:
    done = build_facts("cmake/torch_facts.py", "2.99.0")
    assert done.returncode == 1
    assert done.stderr.startswith("torch_npu_sim: expected torch 2.99.0 for ")
    assert "got 2.13.0" in done.stderr
    assert "`pip install torch==2.99.0`" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_build_says_that_torch_is_missing() -> None:
    # -S leaves site-packages out, -I the current folder: a Python without torch.
    done = build_facts("-S", "-I", "cmake/torch_facts.py", "2.13.0")
    assert done.returncode == 1
    assert "got no torch" in done.stderr
    assert "`pip install torch==2.13.0`" in done.stderr
