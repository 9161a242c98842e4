"""One published measurement as columns: a device, an operator on shapes, and what was measured."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

__all__ = ["Case", "inputs_of"]

COLUMNS = (
    "source",
    "device",
    "chip",
    "overrides",
    "kind",
    "operator",
    "shapes",
    "dtypes",
    "attributes",
    "quantity",
    "value",
    "unit",
    "cold",
    "single_kernel",
    "label",
)

_OWN_DESIGN = "own design: "


@dataclass(frozen=True)
class Case:
    """One measurement that the model can be asked about."""

    source: str
    device: str  # as published
    chip: str  # preset
    kind: str  # gemm, attention, vector ...
    operator: str
    shapes: tuple[Any, ...]  # of each input: a list, a list of lists for a tensor list, or None
    dtypes: tuple[str | None, ...]
    attributes: Mapping[str, Any]
    quantity: str  # "duration", the name of a pipe, or "share:" and the name of a pipe
    value: float
    unit: str  # us, or % for a share
    overrides: Mapping[str, float] = field(default_factory=dict)  # on the preset
    cold: bool = True  # the L2 was swept before the call; else the call was repeated
    single_kernel: bool = False
    label: str = ""  # the published case
    own_design: str = ""  # why the kernel is not the operator that the model is asked about

    def row(self) -> dict[str, str]:
        """Returns the case as a row of the table."""
        values = {name: getattr(self, name) for name in COLUMNS}
        for name in ("overrides", "shapes", "dtypes", "attributes"):
            plain = dict(values[name]) if isinstance(values[name], Mapping) else list(values[name])
            values[name] = json.dumps(plain, separators=(",", ":"))
        for name in ("cold", "single_kernel"):
            values[name] = "yes" if values[name] else "no"
        if self.own_design:
            values["single_kernel"] = _OWN_DESIGN + self.own_design
        return {name: str(value) for name, value in values.items()}

    @classmethod
    def from_row(cls, row: Mapping[str, str]) -> "Case":
        """Reads a row of the table."""
        return cls(
            source=row["source"],
            device=row["device"],
            chip=row["chip"],
            kind=row["kind"],
            operator=row["operator"],
            shapes=tuple(json.loads(row["shapes"])),
            dtypes=tuple(json.loads(row["dtypes"])),
            attributes=json.loads(row["attributes"]),
            quantity=row["quantity"],
            value=float(row["value"]),
            unit=row["unit"],
            overrides=json.loads(row["overrides"]),
            cold=row["cold"] == "yes",
            single_kernel=row["single_kernel"] == "yes",
            label=row["label"],
            own_design=row["single_kernel"].partition(_OWN_DESIGN)[2],
        )


def inputs_of(case: Case) -> list[torch.Tensor | None | list[torch.Tensor]]:
    """Returns the inputs of the case as meta tensors."""
    dtypes = [*case.dtypes, *[None] * (len(case.shapes) - len(case.dtypes))]
    return [_input(shape, dtype) for shape, dtype in zip(case.shapes, dtypes, strict=False)]


def _input(shape: Any, dtype: str | None) -> torch.Tensor | None | list[torch.Tensor]:
    if shape is None or dtype in (None, "null"):
        return None
    if shape and isinstance(shape[0], list):
        return [_tensor(each, str(dtype)) for each in shape]
    return _tensor(shape, str(dtype))


def _tensor(shape: list[int], dtype: str) -> torch.Tensor:
    found = getattr(torch, dtype, None)
    if not isinstance(found, torch.dtype):
        raise ValueError(f"expected the name of a torch dtype, got {dtype}")
    return torch.empty(shape, dtype=found, device="meta")
