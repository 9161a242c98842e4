"""Double backward where the CPU contradicts itself with and without oneDNN."""

import copy
from collections.abc import Callable

import pytest
import torch

pytest.importorskip("expecttest", reason="torch's test data needs expecttest: [test]")

from tests.conformance.checks import double_backward  # noqa: E402
from tests.conformance.checks.check import SampleFailed  # noqa: E402
from tests.conformance.databases import OPERATORS, databases  # noqa: E402


def _compare(factor: Callable[[torch.Tensor], int]) -> None:
    """The check of exp, times a factor that its gradients have as well."""
    entry = copy.copy(databases()[OPERATORS]["exp"])
    entry.op = lambda x: torch.exp(x) * factor(x)
    double_backward.run(entry, torch.float32)


def _wrong_with_onednn(x: torch.Tensor) -> int:
    return 3 if x.device.type == "cpu" and torch.backends.mkldnn.enabled else 1


def test_both_devices_are_asked_without_onednn_then() -> None:
    _compare(_wrong_with_onednn)


def test_a_wrong_npu_is_noticed_then_as_well() -> None:
    with pytest.raises(SampleFailed):
        _compare(lambda x: 2 if x.device.type == "npu" else _wrong_with_onednn(x))


def test_a_cpu_that_agrees_with_itself_is_not_asked_otherwise() -> None:
    with pytest.raises(SampleFailed):
        _compare(lambda x: 2 if x.device.type == "npu" and torch.backends.mkldnn.enabled else 1)
