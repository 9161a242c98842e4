"""Compares the registered operators of torch_npu with a list of schemas.

    python -m torch_npu_sim.testing.schemas SCHEMAS.txt

The file has one schema a line, without the namespace: ``npu_add(Tensor x, ...) -> Tensor``.
"""

import sys
from pathlib import Path

import torch

import torch_npu_sim  # noqa: F401  registers the operators

__all__ = ["differences", "registered"]


def registered() -> dict[str, torch._C.FunctionSchema]:
    """Returns the schemas of ``torch.ops.npu`` by name with overload: ``npu_transpose.out``."""
    schemas = torch._C._jit_get_all_schemas()
    return {_name(s): s for s in schemas if s.name.startswith("npu::")}


def _name(schema: torch._C.FunctionSchema) -> str:
    base = schema.name.removeprefix("npu::")
    return f"{base}.{schema.overload_name}" if schema.overload_name else base


def differences(lines: list[str]) -> list[str]:
    """Returns one line a difference between `lines` and what is registered; none if all agree.

    Compared are names, overloads, arguments with order, types, defaults and aliases, and returns.

    Raises:
        RuntimeError: a line is not a schema.
    """
    wanted = [torch._C.parse_schema(f"npu::{line}") for line in lines if line.strip()]
    found = registered()
    complaints = []
    for schema in wanted:
        have = found.pop(_name(schema), None)
        if have is None:
            complaints.append(f"{_name(schema)}: expected it registered, got none")
        elif str(have) != str(schema):
            complaints.append(f"{_name(schema)}: expected {schema}, got {have}")
    complaints += [f"{name}: expected no such operator, got {s}" for name, s in found.items()]
    return complaints


def main() -> None:
    """Prints the differences and ends with status 1 if there are any."""
    if len(sys.argv) != 2:
        sys.exit("schemas: expected one file of schemas; python -m torch_npu_sim.testing.schemas F")
    lines = Path(sys.argv[1]).read_text().splitlines()
    complaints = differences(lines)
    for complaint in complaints:
        print(complaint)
    print(f"{len(lines)} schemas compared, {len(complaints)} differences")
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
