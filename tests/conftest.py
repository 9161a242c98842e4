"""Fixtures of every room: the device, fresh seeds, Python programs of their own."""

import gc
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import torch

FAILED = pytest.StashKey[bool]()

InThreads = Callable[[int, Callable[[int], None]], None]
RunPython = Callable[..., subprocess.CompletedProcess[str]]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the flag that lets benchmarks run."""
    parser.addoption("--benchmark", action="store_true", help="run tests/benchmarks too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Validation first: it exchanges the chip, which wants cards that nobody has used.

    Skips benchmarks unless they were asked for: they need a quiet machine.
    """
    folder = Path(__file__).parent
    items.sort(key=lambda item: folder / "validation" not in item.path.parents)
    if config.getoption("--benchmark"):
        return
    for item in items:
        if folder / "benchmarks" in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="a benchmark; run with --benchmark"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Notes a failure: its traceback keeps the test's tensors."""
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Starts every test with torch_npu_sim imported and every generator seeded with 0."""
    import torch

    import torch_npu_sim  # noqa: F401  registers the device where autoload is off

    random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def nothing_left_on_the_cards(seeded: None, request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test that passed and yet leaves more memory in use on the cards than it found."""
    from torch_npu_sim import _C

    before = _C.live_blocks()
    yield
    excused = FAILED in request.node.stash or request.node.get_closest_marker("leaves_memory")
    if excused or _C.live_blocks() <= before:
        return
    request.node.funcargs.clear()
    gc.collect()
    left = _C.live_blocks() - before
    assert left <= 0, f"the test has ended and {left} blocks of npu memory are still in use"


@pytest.fixture
def npu() -> "torch.device":
    """The first simulated device."""
    import torch

    return torch.device("npu:0")


@pytest.fixture
def run_python(tmp_path: Path) -> RunPython:
    """Runs code in a fresh Python, in an empty folder, with variables of the environment set.

    `run_python("print(1)", NPU_SIM_DEVICES="2")` returns the completed process, whose output is
    captured as text. A run that takes over two minutes fails.
    """

    def run(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("NPU_SIM_", "TORCH_"))}
        return subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=kept | variables,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def in_threads() -> InThreads:
    """Runs work(0), work(1) and so on at the same time; raises what one of them raised."""

    def run(count: int, work: Callable[[int], None]) -> None:
        errors: list[BaseException] = []
        meet = threading.Barrier(count)

        def guarded(index: int) -> None:
            meet.wait()
            try:
                work(index)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=guarded, args=(index,)) for index in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=120)
        assert not any(thread.is_alive() for thread in threads)
        if errors:
            raise errors[0]

    return run
