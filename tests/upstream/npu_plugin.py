"""A pytest plugin that lets PyTorch's device-generic test files run on npu: `-p npu_plugin`.

It must be imported before `torch.testing._internal.common_utils`, which reads the device's name
once. Hence a plugin of the command line and not a conftest, nor a file of TORCH_TEST_DEVICES,
which torch reads after that name (common_device_type.py:928 of torch 2.13).

Only device tests are kept: what torch instantiates for the device of the run. Each test writes a
line when it starts and one when it ends, so that a run that dies can be told where and go on.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest
import torch
from npu_exclusions import excluded_tests

import torch_npu_sim  # noqa: F401  (renames the device)

from torch.testing._internal import common_device_type as generic  # isort: skip

DEVICE = os.environ.get("NPU_UPSTREAM_DEVICE", "npu")


def _prepare_base() -> None:
    """Gives the base class the device's name and what it may not run."""
    base = generic.PrivateUse1TestBase
    base.setUpClass()
    # Tests marked onlyCUDA call torch.cuda; onlyCPU ones often name the CPU: off unless asked for.
    base.bypass_device_restrictions = os.environ.get("NPU_UPSTREAM_BYPASS") == "1"
    # Values come from the CPU's kernels, so that no operator needs tolerances or fewer dtypes.
    base.op_overrides = None
    base.op_allowlist = None
    base.test_exclusions = excluded_tests()


_prepare_base()


class _Lines:
    """Writes one JSON object a line, at once: the process may die in the next test."""

    def __init__(self, path: str) -> None:
        self._file: IO[str] = Path(path).open("a", buffering=1)

    def write(self, **fields: Any) -> None:
        self._file.write(json.dumps(fields) + "\n")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the file that results are appended to, and the one that names tests to leave out."""
    parser.addoption("--lines", help="append each test's start and outcome to this file")
    parser.addoption("--done", help="a file that names, one a line, the tests not to run again")
    parser.addoption("--only", help="a file that names, one a line, the only tests to run")


def pytest_configure(config: pytest.Config) -> None:
    """Opens the file of results."""
    path = config.getoption("--lines")
    if path:
        config.pluginmanager.register(_Reporter(_Lines(path)))


def is_device_test(item: pytest.Item) -> bool:
    """Whether torch instantiated the test for the device of this run."""
    cls = getattr(item, "cls", None)
    return (
        cls is not None
        and issubclass(cls, generic.DeviceTypeTestBase)
        and cls.device_type == DEVICE
    )


def key_of(item: pytest.Item) -> str:
    """`Class.test`, with the device's name taken out, so that two devices' runs can be joined."""
    cls = item.cls.__name__.removesuffix(DEVICE.upper())
    name, found, dtype = item.name.rpartition(f"_{DEVICE}")  # the device stands before the dtype
    if not found or not (dtype == "" or dtype.startswith("_")):
        return f"{cls}.{item.name}"
    return f"{cls}.{name}_DEVICE{dtype}"


def _named(config: pytest.Config, option: str) -> set[str] | None:
    path = config.getoption(option)
    return set(Path(path).read_text().splitlines()) if path else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keeps the device tests that were asked for and have not been run."""
    done = _named(config, "--done") or set()
    only = _named(config, "--only")
    kept = [
        item
        for item in items
        if is_device_test(item)
        and key_of(item) not in done
        and (only is None or key_of(item) in only)
    ]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
    items[:] = kept


class _Reporter:
    """Writes what happens to each test."""

    def __init__(self, lines: _Lines) -> None:
        self._lines = lines

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._lines.write(test=key_of(item), start=time.time())
        yield

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Iterator[None]:
        outcome = yield
        report = outcome.get_result()  # type: ignore[attr-defined]
        if report.when == "call" or report.outcome != "passed":
            self._lines.write(
                test=key_of(item),
                outcome=report.outcome,
                seconds=round(report.duration, 3),
                message=_message(report),
            )

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._lines.write(
                test="", outcome="not collected", message=str(report.longrepr)[-2000:]
            )


def _message(report: pytest.TestReport) -> str:
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])[:300]
    crash = getattr(report.longrepr, "reprcrash", None)
    return "" if crash is None else str(crash.message)[:1000]


def pytest_unconfigure() -> None:
    """Waits for the device, so that a late error is an error of this run."""
    torch.npu.synchronize()
