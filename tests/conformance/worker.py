"""Runs one item: its check, the clock, and the card's memory before and after."""

import gc
import random
import time
import traceback
import warnings
from multiprocessing.connection import Connection

import numpy
import torch

from tests.conformance.checks import check_of, entry_of
from tests.conformance.items import Item, Result
from tests.conformance.samples import NPU
from tests.conformance.skips import skip_of


def run_item(item: Item) -> Result:
    """The result of one item; what the check raises is a failure, and so is leaked memory."""
    skip = skip_of(item)
    if skip is not None:
        return Result(item, "skipped", message=f"{skip.reason} ({skip.source})")
    start = time.perf_counter()
    before = torch.npu.memory_allocated(NPU)
    result = _checked(item)
    leaked = _leaked_since(before)
    if leaked > 0:
        # A cache (of the last compiled code, say) holds on to one call's tensors; a leak grows.
        before = torch.npu.memory_allocated(NPU)
        result = _checked(item)
        leaked = _leaked_since(before)
    seconds = time.perf_counter() - start
    if leaked > 0 and result.result != "failed":
        message = f"{leaked} bytes of the card are still allocated after the item"
        return Result(item, "failed", result.samples, result.refused, seconds, message)
    return Result(item, result.result, result.samples, result.refused, seconds, result.message)


def _checked(item: Item) -> Result:
    try:
        tally = check_of(item).run(entry_of(item), item.torch_dtype)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        told = f"{type(error).__name__}: {error}"[:2000]
        return Result(item, "failed", message=f"{told} ({place.name}:{place.lineno})")
    if tally.compared == 0:
        reason = tally.refusal or "torch has no sample for it"
        return Result(item, "cpu_refuses", 0, tally.refused, message=reason[:300])
    return Result(item, "passed", tally.compared, tally.refused)


def _leaked_since(before: int) -> int:
    """Bytes of the card that are still allocated; cycles are collected first."""
    if torch.npu.memory_allocated(NPU) == before:
        return 0
    gc.collect()
    return torch.npu.memory_allocated(NPU) - before


def serve(pipe: Connection) -> None:
    """Answers every item that comes through the pipe with its result, until None comes."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    random.seed(0)
    numpy.random.seed(0)
    gc.collect()
    gc.freeze()  # what was imported need not be looked through after every item
    while (item := pipe.recv()) is not None:
        pipe.send(run_item(item))
