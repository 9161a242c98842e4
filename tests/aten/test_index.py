"""Indexing: integers, slices, index tensors of either device, masks, None, assignment."""

import pytest
import torch

READS = {
    "integer": lambda x, i, m: x[1],
    "negative": lambda x, i, m: x[-1, -2],
    "slice": lambda x, i, m: x[::2, 1:],
    "none": lambda x, i, m: x[None, :, None],
    "ellipsis": lambda x, i, m: x[..., 0],
    "index": lambda x, i, m: x[i],
    "index_second": lambda x, i, m: x[:, i],
    "index_pair": lambda x, i, m: x[i, i],
    "index_broadcast": lambda x, i, m: x[i[:, None], i],
    "index_apart": lambda x, i, m: x.view(4, 2, 3)[i, :, i],
    "index_none": lambda x, i, m: x[i, None],
    "list": lambda x, i, m: x[[0, 2]],
    "mask": lambda x, i, m: x[m],
    "mask_rows": lambda x, i, m: x[m[:, 0]],
    "mask_and_index": lambda x, i, m: x[m[:, 0].nonzero().squeeze(1), 0],
    "mask_none": lambda x, i, m: x[m & ~m],
    "byte_mask": lambda x, i, m: x.take(i),
    "take_along": lambda x, i, m: torch.take_along_dim(x, i[None].expand(4, 3), 1),
    "gather": lambda x, i, m: x.gather(1, i[None].expand(4, 3)),
    "index_select": lambda x, i, m: x.index_select(1, i),
    "masked_select": lambda x, i, m: x.masked_select(m),
    "where": lambda x, i, m: torch.where(m, x, -x),
    "where_one": lambda x, i, m: torch.where(m),
    "nonzero": lambda x, i, m: m.nonzero(),
    "nonzero_tuple": lambda x, i, m: m.nonzero(as_tuple=True),
    "argwhere": lambda x, i, m: torch.argwhere(m),
    "tensor_scalar": lambda x, i, m: x[i[0]],
    "bool_scalar": lambda x, i, m: x[True],
    "empty_index": lambda x, i, m: x[i[:0]],
}


def _values() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    x = torch.arange(24.0).view(4, 6)
    return x, torch.tensor([2, 0, 2]), x % 3 == 0


@pytest.mark.parametrize("read", READS.values(), ids=READS.keys())
def test_read_by_index_equals_the_cpu(same, read) -> None:
    same(read, *_values())


WRITES = {
    "integer": lambda x, i, m: x.__setitem__(1, 5),
    "slice": lambda x, i, m: x.__setitem__(slice(None, None, 2), torch.ones(2, 6, device=x.device)),
    "index": lambda x, i, m: x.__setitem__(i[:2], torch.ones(2, 6, device=x.device)),
    "index_scalar": lambda x, i, m: x.__setitem__((i, i), 9),
    "mask": lambda x, i, m: x.__setitem__(m, -1),
    "mask_values": lambda x, i, m: x.__setitem__(m, torch.arange(8.0, device=x.device)),
    "accumulate": lambda x, i, m: x.index_put_(
        (i, i), torch.ones(3, device=x.device), accumulate=True
    ),
    "accumulate_rows": lambda x, i, m: x.index_put_(
        (i,), torch.ones(6, device=x.device), accumulate=True
    ),
    "put": lambda x, i, m: x.put_(i, torch.ones(3, device=x.device), accumulate=True),
    "index_add": lambda x, i, m: x.index_add_(0, i, torch.ones(3, 6, device=x.device)),
    "index_copy": lambda x, i, m: x.index_copy_(0, i[:2], torch.ones(2, 6, device=x.device)),
    "scatter_add": lambda x, i, m: x.scatter_add_(
        0, i[None].expand(1, 3), torch.ones(1, 3, device=x.device)
    ),
    "scatter_reduce": lambda x, i, m: x.scatter_reduce_(
        0, i[:, None].expand(3, 6), torch.ones(3, 6, device=x.device), reduce="amax"
    ),
    "masked_scatter": lambda x, i, m: x.masked_scatter_(m, torch.arange(24.0, device=x.device)),
    "masked_fill_rows": lambda x, i, m: x.masked_fill_(m[:, :1], 3),
    "index_none": lambda x, i, m: x.__setitem__((slice(None), None, i), 4),
    "fill_diagonal": lambda x, i, m: x.fill_diagonal_(7),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_write_by_index_equals_the_cpu(same, write) -> None:
    def run(x, i, m):
        write(x, i, m)
        return x

    same(run, *_values())


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_write_through_a_noncontiguous_view_equals_the_cpu(same, write) -> None:
    def run(x, i, m):
        write(x[:, ::2], i, m)
        return x

    x = torch.arange(48.0).view(4, 12)
    same(run, x, torch.tensor([2, 0, 2]), x[:, ::2] % 3 == 0)


def test_cpu_index_tensors_index_npu_tensors(npu) -> None:
    x, i, m = _values()
    on_npu = x.to(npu)
    assert torch.equal(on_npu[i].cpu(), x[i])
    assert torch.equal(on_npu[m].cpu(), x[m])
    assert torch.equal(on_npu[:, i].cpu(), x[:, i])
    on_npu[i] = 3
    x[i] = 3
    on_npu[m] = torch.tensor(4.0)
    x[m] = 4
    assert torch.equal(on_npu.cpu(), x)


def test_an_npu_index_does_not_index_a_cpu_tensor(npu) -> None:
    with pytest.raises(RuntimeError, match="indices should be either on cpu or on the same device"):
        torch.ones(3)[torch.tensor([0], device=npu)]


def test_gradient_of_indexing_accumulates_as_on_the_cpu(same) -> None:
    def run(x, i, m):
        (
            x[i, i].sum() * 2 + x[m].square().sum() + x.gather(1, i[None].expand(4, 3)).sum()
        ).backward()
        return x.grad

    x, i, m = _values()
    same(run, x.requires_grad_(), i, m)


def test_an_index_out_of_range_is_refused(npu) -> None:
    with pytest.raises(IndexError, match="index 9 is out of bounds for dimension 0 with size 4"):
        torch.ones(4, device=npu)[torch.tensor([9], device=npu)]
    with pytest.raises(IndexError, match="index 9 is out of bounds for dimension 0 with size 4"):
        torch.ones(4, device=npu)[9]


UNIQUES = {
    "unique": lambda x: torch.unique(x),
    "inverse": lambda x: torch.unique(x, return_inverse=True, return_counts=True),
    "dim": lambda x: torch.unique(x, dim=0, return_inverse=True, return_counts=True),
    "consecutive": lambda x: torch.unique_consecutive(x, return_inverse=True, return_counts=True),
    "sort": lambda x: torch.sort(x, dim=-1, stable=True),
    "sort_descending": lambda x: torch.sort(x, dim=0, descending=True, stable=True),
    "argsort": lambda x: torch.argsort(x, stable=True),
    "topk": lambda x: torch.topk(x, 1, dim=-1),
    "kthvalue": lambda x: torch.kthvalue(x, 1, dim=-1),
    "median": lambda x: torch.median(x, dim=-1),
    "mode": lambda x: torch.mode(x, dim=-1),
    "bincount": lambda x: torch.bincount(x.reshape(-1)),
    "histc": lambda x: torch.histc(x.float(), 3, 0, 2),
    "searchsorted": lambda x: torch.searchsorted(torch.arange(3, device=x.device), x),
    "isin": lambda x: torch.isin(x, torch.tensor([1, 2], device=x.device)),
}


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (3, 1)], ids=str)
@pytest.mark.parametrize("call", UNIQUES.values(), ids=UNIQUES.keys())
def test_sorting_and_counting_equal_the_cpu_ties_included(same, call, shape) -> None:
    same(call, torch.randint(0, 3, shape))


def test_repeat_interleave_takes_counts_of_either_device(npu) -> None:
    x = torch.arange(3, device=npu)
    counts = torch.tensor([1, 0, 2])
    assert x.repeat_interleave(counts.to(npu)).tolist() == [0, 2, 2]
    assert x.repeat_interleave(2).tolist() == [0, 0, 1, 1, 2, 2]
