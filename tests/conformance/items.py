"""What is checked: one entry of one of torch's databases, in one dtype, by one check."""

from dataclasses import dataclass
from typing import Any, Self

import torch

# The dtype of an item whose entry is not asked dtype by dtype (error inputs).
ANY_DTYPE = "any"


@dataclass(frozen=True, order=True)
class Item:
    """One line of the result file."""

    database: str
    name: str
    check: str
    dtype: str

    @property
    def id(self) -> str:
        """The item as `op_db/add/forward/float32`."""
        return f"{self.database}/{self.name}/{self.check}/{self.dtype}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The inverse of `id`."""
        return cls(*text.split("/"))

    @property
    def torch_dtype(self) -> torch.dtype | None:
        """The dtype, or None for `any`."""
        return None if self.dtype == ANY_DTYPE else getattr(torch, self.dtype)


def dtype_name(dtype: torch.dtype | None) -> str:
    """`float32` for torch.float32, `any` for None."""
    return ANY_DTYPE if dtype is None else str(dtype).removeprefix("torch.")


@dataclass(frozen=True)
class Result:
    """What became of an item.

    `result` is passed, failed, skipped, or cpu_refuses: the CPU refuses every sample, or there is
    none. `samples` were compared, `refused` ones the CPU itself raised on.
    """

    item: Item
    result: str
    samples: int = 0
    refused: int = 0
    seconds: float = 0.0
    message: str = ""

    def to_json(self) -> dict[str, Any]:
        """A flat dictionary, the line of the result file."""
        line: dict[str, Any] = {
            "id": self.item.id,
            "result": self.result,
            "samples": self.samples,
            "refused": self.refused,
            "seconds": round(self.seconds, 3),
        }
        return line | ({"message": self.message} if self.message else {})

    @classmethod
    def from_json(cls, line: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        fields = {name: value for name, value in line.items() if name != "id"}
        return cls(item=Item.parse(line["id"]), **fields)
