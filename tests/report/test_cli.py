"""The command npu-sim."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import torch_npu_sim


def npu_sim(*args: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "torch_npu_sim.cli", *map(str, args)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=cwd,
    )


@pytest.fixture
def script(tmp_path):
    """Writes a script and returns its path."""

    def write(text: str, name: str = "script.py") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def test_chips_lists_every_preset():
    run = npu_sim("chips")
    assert run.returncode == 0, run.stderr
    assert all(name in run.stdout for name in torch_npu_sim.chips())


def test_info_fits_a_terminal_of_100_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    run = npu_sim("info", "--chip", "ascend950pr")
    lines = run.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    assert any("hibl_bytes_per_s" in line and "1.4 TB/s" in line for line in lines)
    assert any("memory_bytes" in line and "112 GiB" in line for line in lines)


def test_info_says_which_numbers_of_a_chip_file_are_the_user_s(tmp_path):
    path = tmp_path / "wide.yaml"
    path.write_text("base: ascend950pr\nhibl_bytes_per_s: 2.0e12\n")
    run = npu_sim("info", "--chip", path)
    (line,) = [line for line in run.stdout.splitlines() if "set by the user" in line]
    assert "hibl_bytes_per_s" in line
    assert "2 TB/s" in line


def test_info_shows_every_parameter_with_its_source():
    run = npu_sim("info", "--chip", "h20")
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("h20")
    assert "hibl_bytes_per_s" in run.stdout
    assert "source" in run.stdout


def test_an_unknown_chip_is_one_line_and_code_2():
    run = npu_sim("info", "--chip", "abacus")
    assert run.returncode == 2
    assert len(run.stderr.splitlines()) == 1
    assert "abacus" in run.stderr


def test_run_reports_what_the_script_launched(script):
    path = script("import torch\nx = torch.ones(64, 64, device='npu')\nprint((x @ x)[0, 0].item())")
    run = npu_sim("run", path)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("64.0\n")
    assert "aten::mm" in run.stdout


def test_run_gives_the_script_its_arguments_and_name(script):
    path = script("import sys\nprint(__name__, sys.argv[1:], sys.argv[0] == __file__)")
    run = npu_sim("run", path, "--top", "3", "-x", "word")
    assert run.stdout.startswith("__main__ ['--top', '3', '-x', 'word'] True\n")


def test_run_finds_modules_beside_the_script(script, tmp_path):
    script("value = 42", "neighbour.py")
    path = script("import neighbour\nprint(neighbour.value)")
    run = npu_sim("run", path, cwd=tmp_path.parent)
    assert run.stdout.startswith("42\n"), run.stderr


def test_run_passes_the_exit_code_on_and_still_reports(script):
    path = script("import sys, torch\ntorch.ones(1, device='npu')\nsys.exit(7)")
    run = npu_sim("run", path)
    assert run.returncode == 7
    assert "Simulated time by operator" in run.stdout


@pytest.mark.parametrize(
    ("ending", "code", "said"),
    [
        ("", 0, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit(False)", 0, ""),
        ("sys.exit('no input')", 1, "no input\n"),
        ("sys.exit(300)", 300 % 256, ""),
        ("raise KeyboardInterrupt", 130, ""),
    ],
)
def test_run_ends_as_python_would(script, ending, code, said):
    run = npu_sim("run", script(f"import sys\n{ending}"))
    assert (run.returncode, run.stderr) == (code, said)


def test_run_starts_processes_of_the_script_s_functions(script):
    path = script(
        "import multiprocessing\n"
        "def double(x): return 2 * x\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(pool.map(double, [1, 2]))\n"
    )
    run = npu_sim("run", path)
    assert run.stdout.startswith("[2, 4]\n"), run.stderr


def test_run_shows_the_script_s_own_traceback(script):
    path = script("def fail():\n    raise KeyError('lost')\nfail()\n")
    run = npu_sim("run", path)
    assert run.returncode == 1
    lines = run.stderr.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1] == f'  File "{path}", line 3, in <module>'
    assert lines[-1] == "KeyError: 'lost'"
    assert "runpy" not in run.stderr


def test_run_writes_a_trace(script, tmp_path):
    path = script("import torch\ntorch.ones(8, device='npu') + 1")
    run = npu_sim("run", "--trace", tmp_path / "out.json", path)
    assert run.returncode == 0, run.stderr
    events = json.loads((tmp_path / "out.json").read_text())["traceEvents"]
    assert any(event["ph"] == "X" for event in events)


def test_run_simulates_the_chip_asked_for(script):
    path = script("import torch\nprint(torch.npu.get_device_name())")
    run = npu_sim("run", "--chip", "h20", path)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[0] != torch_npu_sim.get_chip().soc_name
    assert "chip         h20" in run.stdout


def test_a_missing_script_is_one_line_and_code_2(tmp_path):
    run = npu_sim("run", tmp_path / "missing.py")
    assert run.returncode == 2
    assert len(run.stderr.splitlines()) == 1
    assert "missing.py" in run.stderr
