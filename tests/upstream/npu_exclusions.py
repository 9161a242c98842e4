"""Upstream tests that no PrivateUse1 device can pass in torch 2.13, each with what prevents it.

A test that the CPU fails too needs no line here: the runner subtracts the CPU's own failures.
"""

from collections.abc import Collection
from typing import NamedTuple


class Exclusion(NamedTuple):
    """One test method, without its device and dtype suffix, or "*" for a class."""

    test_class: str
    test: str
    reason: str


EXCLUSIONS = [
    Exclusion(
        "TestSortAndSelect",
        "test_stable_sort_against_numpy",
        "fills a device tensor by an index on the CPU; index_fill_ (TensorAdvancedIndexing.cpp) "
        "gives both to a TensorIterator, whose compute_types (TensorIterator.cpp) wants them on "
        "one device. On cuda the test returns before that (`if self.device_type == 'cuda'`)",
    ),
    *(
        Exclusion(
            "TestHigherOrderOperatorInteraction",
            test,
            "the test gives its operator kernels for the named devices' autograd keys alone; "
            "HigherOrderOperator.dispatch (torch/_ops.py:517) has no other to take",
        )
        for test in (
            "test_basic_sum",
            "test_grad_grad_sum",
            "test_grad_sum",
            "test_no_grad_inside_grad",
            "test_no_grad_outside_grad",
            "test_vmap_grad_sum",
            "test_vmap_sum",
        )
    ),
]


def excluded_tests() -> dict[str, Collection[str]]:
    """The table in the form of `PrivateUse1TestBase.test_exclusions`."""
    table: dict[str, set[str]] = {}
    for entry in EXCLUSIONS:
        table.setdefault(entry.test_class, set()).add(entry.test)
    return dict(table)
