"""torch_npu_sim: chips and chip files."""

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.presets import load_chip

CHIP = """
import sys, torch, torch_npu_sim
x = torch.ones(64 << 20, dtype=torch.float32, device="npu")
torch.npu.synchronize()
with torch_npu_sim.trace() as trace:
    x + 1
print(torch_npu_sim.get_chip().name, trace.kernels[0].alone_us)
"""


def test_a_chip_file_changes_the_time(run_python, tmp_path):
    bandwidth = torch_npu_sim.get_chip()["hibl_bytes_per_s"]
    path = tmp_path / "fast.yaml"
    path.write_text(f"base: ascend950pr\nname: fast\nhibl_bytes_per_s: {2 * bandwidth:.6e}\n")
    name, slow_us = run_python(CHIP, NPU_SIM_CHIP="ascend950pr").stdout.split()
    assert name == "ascend950pr"
    name, fast_us = run_python(CHIP, NPU_SIM_CHIP=str(path)).stdout.split()
    assert name == "fast"
    assert float(fast_us) < float(slow_us)


def test_a_changed_number_says_that_the_user_set_it(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("base: ascend950pr\nclock_hz: 1.5e9\n")
    chip = load_chip(path)
    assert chip.name == "mine"
    assert chip.summary == "A user's chip, made from ascend950pr"
    assert chip["clock_hz"] == 1.5e9
    sources = {parameter.name: parameter.source for parameter in chip.parameters}
    assert sources["clock_hz"] == "set by the user"
    assert sources["memory_bytes"] != "set by the user"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- a list", "expected a mapping with the key base"),
        ("base: [", "expected YAML"),
        ("base: ascend950pr\nclock_hz: fast", "expected a number for clock_hz, got 'fast'"),
        ("base: ascend950pr\nwheels: 4", "wheels"),
        ("base: abacus", "abacus"),
    ],
)
def test_a_wrong_chip_file_is_a_value_error(tmp_path, content, message):
    path = tmp_path / "wrong.yaml"
    path.write_text(content)
    with pytest.raises(ValueError, match=message.replace("[", r"\[")):
        load_chip(path)


def test_the_chip_cannot_change_under_tensors():
    x = torch.ones(1, device="npu")
    with pytest.raises(RuntimeError, match="set_chip: expected no allocated memory"):
        torch_npu_sim.set_chip("h20")
    del x


def test_set_chip_makes_every_device_that_chip(run_python):
    code = (
        "import torch, torch_npu_sim; torch_npu_sim.set_chip('h20');"
        "print(torch_npu_sim.get_chip().name, torch.npu.mem_get_info(1)[1]"
        " == torch_npu_sim.get_chip()['memory_bytes'])"
    )
    assert run_python(code).stdout == "h20 True\n"


def test_every_number_of_every_preset_has_a_source():
    for name in torch_npu_sim.chips():
        for parameter in load_chip(name).parameters:
            assert parameter.source.strip(), f"{name}.{parameter.name}"
            assert parameter.source != "set by the user"
