"""Grouped products by their formulas, in plain torch on CPU tensors, fp64.

Operands come decoded and scales as factors spread over every element, so that a product is one
line; the layouts of scales are undone by the functions below.
"""

import torch

__all__ = [
    "add_by_k",
    "blocks_of_columns",
    "blocks_of_rows",
    "decode_int4",
    "finalize_routing",
    "group_list",
    "mx_columns",
    "mx_rows",
    "products_by_k",
    "products_by_rows",
    "swiglu",
]


def group_list(sizes: list[int], kind: int) -> torch.Tensor:
    """The group list of torch_npu: running sums, counts, or pairs with empty groups last."""
    counts = torch.tensor(sizes, dtype=torch.int64)
    if kind == 0:
        return counts.cumsum(0)
    if kind == 1:
        return counts
    pairs = [[g, size] for g, size in enumerate(sizes)]
    pairs.sort(key=lambda pair: pair[1] == 0)
    return torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)


def decode_int4(packed: torch.Tensor) -> torch.Tensor:
    """int4 codes, eight to an int32, the first in the low bits: [..., n / 8] as [..., n]."""
    nibbles = (packed.unsqueeze(-1) >> torch.arange(0, 32, 4)) & 15
    return torch.where(nibbles > 7, nibbles - 16, nibbles).flatten(-2)


def mx_rows(codes: torch.Tensor, k: int) -> torch.Tensor:
    """E8M0 codes [m, ceil(k / 64), 2] as factors of each element, [m, k]."""
    return _powers(codes).flatten(-2).repeat_interleave(32, -1)[..., :k]


def mx_columns(codes: torch.Tensor, k: int) -> torch.Tensor:
    """E8M0 codes [groups, ceil(k / 64), n, 2] as factors of each element, [groups, k, n]."""
    return mx_rows(codes.transpose(-2, -3), k).transpose(-1, -2)


def blocks_of_rows(scale: torch.Tensor, k: int) -> torch.Tensor:
    """Scales of runs of 128, [m, ceil(k / 128)], as factors [m, k]."""
    return scale.double().repeat_interleave(128, -1)[..., :k]


def blocks_of_columns(scale: torch.Tensor, k: int, n: int) -> torch.Tensor:
    """Scales of blocks of 128, [.., ceil(k / 128), ceil(n / 128)], as factors [.., k, n]."""
    return scale.double().repeat_interleave(128, -2)[..., :k, :].repeat_interleave(128, -1)[..., :n]


def products_by_rows(x: torch.Tensor, weight: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    """Each run of rows of x [m, k] by its matrix of weight [groups, k, n]: [m, n].

    Rows past the last run are zeros.
    """
    out = torch.zeros(x.shape[0], weight.shape[2], dtype=torch.float64)
    first = 0
    for group, size in enumerate(sizes):
        rows = slice(first, first + size)
        out[rows] = x[rows].double() @ weight[group].double()
        first += size
    return out


def products_by_k(x: torch.Tensor, weight: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    """Each run of k of x [m, k] and weight [k, n]: [groups, m, n]."""
    ends = torch.tensor(sizes).cumsum(0).tolist()
    starts = [end - size for end, size in zip(ends, sizes, strict=True)]
    return torch.stack(
        [
            x[:, start:end].double() @ weight[start:end].double()
            for start, end in zip(starts, ends, strict=True)
        ]
    )


def add_by_k(
    sums: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, sizes: list[int]
) -> torch.Tensor:
    """Sums [groups, m, n] and the products of the runs of k, in fp32."""
    return (sums.double() + products_by_k(x, weight, sizes)).float()


def swiglu(product: torch.Tensor) -> torch.Tensor:
    """silu(left half) * right half of the last axis."""
    left, right = product.double().chunk(2, -1)
    return left * torch.sigmoid(left) * right


def finalize_routing(
    product: torch.Tensor,
    logit: torch.Tensor,
    row_index: torch.Tensor,
    rows: int,
    shared: torch.Tensor | None = None,
    shared_weight: float = 1.0,
    shared_offset: int = 0,
) -> torch.Tensor:
    """Rows of product [m, n] times their logits, summed into the rows that row_index [m] names."""
    out = torch.zeros(rows, product.shape[1], dtype=torch.float64)
    if shared is not None:
        out[shared_offset : shared_offset + shared.shape[0]] = shared.double() * shared_weight
    for i, row in enumerate(row_index.tolist()):
        out[row] += product[i].double() * logit[i].double()
    return out.float()


def _powers(codes: torch.Tensor) -> torch.Tensor:
    return torch.exp2(codes.view(torch.uint8).double() - 127)
