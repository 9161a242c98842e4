"""Upstream's device-generic tests run on npu, and only what the CPU passes counts against it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("expecttest", reason="torch.testing._internal needs expecttest: [test]")

RUNNER = Path(__file__).with_name("run_upstream.py")
SAMPLE = """
import os
import torch
from torch.testing._internal.common_device_type import (
    deviceCountAtLeast, dtypes, instantiate_device_type_tests, onlyCPU, onlyCUDA, ops)
from torch.testing._internal.common_methods_invocations import unary_ufuncs
from torch.testing._internal.common_utils import TestCase, run_tests

class TestPlain(TestCase):
    def test_without_a_device(self):
        raise AssertionError

class TestSample(TestCase):
    def test_device(self, device):
        assert torch.ones(2, device=device).device == torch.device(device)

    @dtypes(torch.float32, torch.int64)
    def test_dtypes(self, device, dtype):
        assert torch.ones(2, device=device, dtype=dtype).sum() == 2

    @ops([op for op in unary_ufuncs if op.name == "exp"], allowed_dtypes=(torch.float32,))
    def test_ops(self, device, dtype, op):
        for sample in op.sample_inputs(device, dtype):
            op(sample.input)

    @deviceCountAtLeast(2)
    def test_two(self, devices):
        assert len(set(devices)) == len(devices)

    def test_only_npu_fails(self, device):
        assert not device.startswith("npu")

    def test_both_fail(self, device):
        raise AssertionError

    def test_dies(self, device):
        if device.startswith("npu"):
            os._exit(3)

    @onlyCUDA
    def test_cuda(self, device):
        raise AssertionError

    @onlyCPU
    def test_cpu(self, device):
        raise AssertionError

class TestOnlyCuda(TestCase):
    def test_of_custom_devices(self, device):
        assert "npu" in device

instantiate_device_type_tests(TestSample, globals())
instantiate_device_type_tests(TestOnlyCuda, globals(), only_for="cuda")
if __name__ == "__main__":
    run_tests()
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the shape of a checkout of PyTorch, of one test file."""
    folder = tmp_path_factory.mktemp("pytorch")
    (folder / "test").mkdir()
    (folder / "test" / "test_sample.py").write_text(SAMPLE)
    return folder


@pytest.fixture(scope="module")
def run(checkout: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(RUNNER), "--pytorch", str(checkout), "test_sample"]
    return subprocess.run(
        [*command, "--out", str(checkout / "out")],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


@pytest.fixture
def counts(run: subprocess.CompletedProcess[str], checkout: Path) -> dict[str, object]:
    """The summary of the sample file."""
    assert run.returncode in (0, 1), run.stderr
    summary = json.loads((checkout / "out" / "summary.json").read_text())
    return summary[0]


def test_device_tests_run_on_npu_and_plain_ones_do_not(counts) -> None:
    assert counts["passed"] == 6  # device, two dtypes, ops, two devices, a class only for cuda
    assert counts["run"] == 9


def test_what_only_npu_fails_is_named(counts) -> None:
    assert set(counts["differ"]) == {
        "TestSample.test_only_npu_fails_DEVICE",
        "TestSample.test_dies_DEVICE",
    }


def test_what_the_cpu_fails_too_does_not_count(counts) -> None:
    assert counts["cpu_fails_too"] == 1


def test_a_test_that_ends_the_process_is_told_and_the_rest_runs(counts) -> None:
    assert counts["differ"]["TestSample.test_dies_DEVICE"] == "crashed: exit status 3"
    assert counts["unfinished"] == 0


def test_tests_of_other_devices_are_skipped(counts) -> None:
    assert counts["skipped"] == 2


def test_a_difference_makes_the_run_fail(run) -> None:
    assert run.returncode == 1


def test_a_wrong_folder_is_refused(tmp_path) -> None:
    command = [sys.executable, str(RUNNER), "--pytorch", str(tmp_path), "test_sample"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "expected a checkout with a folder test/" in refused.stderr


def test_each_exclusion_stands_in_the_documentation() -> None:
    listing = "from npu_exclusions import EXCLUSIONS as e; print(*(f'{x[0]}.{x[1]}' for x in e))"
    names = subprocess.run(
        [sys.executable, "-c", listing],
        cwd=RUNNER.parent,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    page = (RUNNER.parents[2] / "docs" / "upstream.md").read_text()
    assert names
    assert [name for name in names if f"`{name}`" not in page] == []
