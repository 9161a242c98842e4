"""torch's databases of test data, each a dictionary from a name to its entry."""

from functools import cache
from typing import Any

import torch_npu_sim  # noqa: F401  (names the device before torch.testing looks at it)

from torch.testing._internal.common_methods_invocations import (  # isort: skip
    foreach_binary_op_db,
    foreach_other_op_db,
    foreach_pointwise_op_db,
    foreach_reduce_op_db,
    foreach_unary_op_db,
    op_db,
)
from torch.testing._internal.common_modules import module_db  # isort: skip
from torch.testing._internal.common_optimizers import optim_db  # isort: skip

OPERATORS, FOREACH, MODULES, OPTIMIZERS = "op_db", "foreach_db", "module_db", "optim_db"

FOREACH_ENTRIES = (
    foreach_unary_op_db
    + foreach_binary_op_db
    + foreach_pointwise_op_db
    + foreach_reduce_op_db
    + foreach_other_op_db
)


def name_of(entry: Any) -> str:
    """The entry's name with its variant: `linalg.norm.subgradients_at_zero`."""
    variant = getattr(entry, "variant_test_name", "")
    return f"{entry.name}.{variant}" if variant else entry.name


def _named(entries: list[Any]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for entry in entries:
        name = name_of(entry)
        if name in named:
            raise ValueError(f"expected names of their own, got {name} twice in torch's database")
        named[name] = entry
    return named


@cache
def databases() -> dict[str, dict[str, Any]]:
    """Every database by name."""
    return {
        OPERATORS: _named(op_db),
        FOREACH: _named(FOREACH_ENTRIES),
        MODULES: _named(module_db),
        OPTIMIZERS: _named(optim_db),
    }
