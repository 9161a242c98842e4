"""Paired timing: the same work on the CPU and on npu, turn by turn in one process."""

import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import torch


@dataclass(frozen=True)
class PairedTime:
    """Host time of one call on each device: the fastest of the rounds.

    Other load on the machine only ever adds time, so the minimum is what repeats.

    Attributes:
        cpu_us: wall microseconds a call on the CPU.
        npu_us: wall microseconds a call on npu, simulated clock included.
    """

    cpu_us: float
    npu_us: float

    @property
    def overhead_us(self) -> float:
        """What the device costs more than the CPU, in microseconds a call."""
        return self.npu_us - self.cpu_us

    @property
    def ratio(self) -> float:
        """How many times as long a call takes on npu."""
        return self.npu_us / self.cpu_us


Measure = Callable[[str, Callable[[], object], Callable[[], object], int, int], PairedTime]


def wall_us(call: Callable[[], object], calls: int) -> float:
    """Returns the wall microseconds of one call, averaged over a run of calls."""
    start = time.perf_counter_ns()
    for _ in range(calls):
        call()
    return (time.perf_counter_ns() - start) / calls / 1000


@pytest.fixture
def measure(capsys: pytest.CaptureFixture[str]) -> Iterator[Measure]:
    """Gives `measure(name, on_cpu, on_npu, calls, rounds)`: one thread, no garbage collection.

    The figure is printed as well, so that a passing run reports it.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    gc.collect()
    gc.disable()

    def run(
        name: str,
        on_cpu: Callable[[], object],
        on_npu: Callable[[], object],
        calls: int,
        rounds: int,
    ) -> PairedTime:
        cpu, npu = [], []
        for _ in range(rounds + 1):
            cpu.append(wall_us(on_cpu, calls))
            npu.append(wall_us(on_npu, calls))
            torch.npu.synchronize()
        paired = PairedTime(min(cpu[1:]), min(npu[1:]))
        with capsys.disabled():
            print(
                f"\n{name:28} cpu {paired.cpu_us:12.2f} us  npu {paired.npu_us:12.2f} us  "
                f"{paired.overhead_us:+10.2f} us  x{paired.ratio:.3f}",
                end="",
            )
        return paired

    yield run
    gc.enable()
    torch.set_num_threads(threads)
