"""Every operation that Inductor may put into a kernel has an instruction count."""

import inspect

import pytest
from torch._inductor.ops_handler import OpsHandler

from torch_npu_sim.compile.inductor.instructions import (
    Instructions,
    instructions_of,
    is_known,
    reduction_instructions,
)

# Operations of code generators other than C++.
NEVER_IN_CPP = {"scan", "sort", "inline_asm_elementwise"}
OPERATIONS = sorted(
    name
    for name, _ in inspect.getmembers(OpsHandler, inspect.isfunction)
    if not name.startswith("_") and name not in NEVER_IN_CPP
)


def test_every_operation_of_inductor_is_counted() -> None:
    assert "sigmoid" in OPERATIONS and len(OPERATIONS) > 100
    assert [name for name in OPERATIONS if not is_known(name)] == []


def test_an_unknown_operation_is_refused_by_name() -> None:
    with pytest.raises(NotImplementedError, match="'frobnicate'.*aot_eager"):
        instructions_of("frobnicate")


def test_a_welford_reduction_costs_more_than_a_sum() -> None:
    (total, across), (moments, twice) = map(reduction_instructions, ("sum", "welford_reduce"))
    assert (total, across) == (Instructions(1), 1)
    assert moments.linear > total.linear and twice == 2
