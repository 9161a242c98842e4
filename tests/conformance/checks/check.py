"""What a check is, and how it goes through the samples of an entry."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch


class CpuRefuses(Exception):
    """The CPU raises on this sample, so that there is nothing to compare with."""


@contextlib.contextmanager
def cpu_side() -> Iterator[None]:
    """What raises inside is the CPU's refusal of a sample."""
    try:
        yield
    except Exception as error:
        raise CpuRefuses(f"{type(error).__name__}: {error}") from error


class SampleFailed(AssertionError):
    """A sample that npu did otherwise than the CPU, with its number."""


@dataclass
class Tally:
    """How many samples were compared, and how many the CPU refused; one refusal in words."""

    compared: int = 0
    refused: int = 0
    refusal: str = ""


Run = Callable[[Any, Any], Tally]


@dataclass(frozen=True)
class Check:
    """A rule over one kind of entries.

    `dtypes(entry)` lists the dtypes it applies to, None standing for an entry that is not asked
    dtype by dtype; `run(entry, dtype)` raises at the first sample that breaks the rule. `what` and
    `bound` (which samples are left out, if any) are for the documentation.
    """

    name: str
    what: str
    dtypes: Callable[[Any], Iterable[torch.dtype | None]]
    run: Run
    bound: str = "every sample"


def each(samples: Iterable[Any], compare: Callable[[Any], None]) -> Tally:
    """Compares sample by sample; raises SampleFailed at the first difference."""
    tally = Tally()
    for number, sample in enumerate(samples):
        try:
            compare(sample)
        except CpuRefuses as refusal:
            tally.refused += 1
            tally.refusal = tally.refusal or str(refusal)
        except Exception as error:
            told = describe(sample)
            text = f"sample {number}: {type(error).__name__}: {error} [{told}]"
            raise SampleFailed(text) from error
        else:
            tally.compared += 1
    return tally


def describe(sample: Any) -> str:
    """Shapes and arguments of a sample, short."""
    values = getattr(getattr(sample, "cpu", sample), "values", "")
    return _short(values)[:300]


def _short(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
    if isinstance(value, list | tuple):
        return "(" + ", ".join(_short(part) for part in value) + ")"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}={_short(part)}" for name, part in value.items()) + "}"
    return repr(value)
