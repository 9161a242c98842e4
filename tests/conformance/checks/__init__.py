"""The checks, and which database each is made on."""

from functools import cache
from typing import Any

from tests.conformance.checks import (
    aliases,
    backward,
    compiled,
    double_backward,
    errors,
    forward,
    in_place,
    meta,
    modules,
    noncontiguous,
    optimizers,
    out,
    vmap,
)
from tests.conformance.checks.check import Check
from tests.conformance.databases import (
    FOREACH,
    MODULES,
    OPERATORS,
    OPTIMIZERS,
    databases,
)
from tests.conformance.items import Item, dtype_name

_OPERATOR_CHECKS = (
    forward.CHECK,
    in_place.CHECK,
    out.CHECK,
    backward.CHECK,
    double_backward.CHECK,
    noncontiguous.CHECK,
    errors.CHECK,
    aliases.CHECK,
    meta.CHECK,
    vmap.CHECK,
    compiled.CHECK,
)
_FOREACH_CHECKS = (forward.CHECK, in_place.CHECK, backward.CHECK, aliases.CHECK, meta.CHECK)

CHECKS: dict[str, tuple[Check, ...]] = {
    OPERATORS: _OPERATOR_CHECKS,
    FOREACH: _FOREACH_CHECKS,
    MODULES: modules.CHECKS,
    OPTIMIZERS: optimizers.CHECKS,
}


def check_of(item: Item) -> Check:
    """The check that an item names."""
    for check in CHECKS[item.database]:
        if check.name == item.check:
            return check
    raise KeyError(f"expected a check of {item.database}, got {item.check}")


def entry_of(item: Item) -> Any:
    """The entry of torch's database that an item names."""
    return databases()[item.database][item.name]


@cache
def all_items() -> tuple[Item, ...]:
    """Every item there is, in the order of the databases, cheap checks first."""
    return tuple(
        Item(database, name, check.name, dtype_name(dtype))
        for database, checks in CHECKS.items()
        for check in checks
        for name, entry in databases()[database].items()
        for dtype in check.dtypes(entry)
    )
