"""Sparse layouts on npu: made there, moved there and back, computed with, differentiated."""

import pytest
import torch
from torch.nn import functional as F

LAYOUTS = {
    "coo": lambda x: x.to_sparse(),
    "csr": lambda x: x.to_sparse_csr(),
    "csc": lambda x: x.to_sparse_csc(),
    "bsr": lambda x: x.to_sparse_bsr((2, 2)),
    "bsc": lambda x: x.to_sparse_bsc((2, 2)),
}


def _matrix() -> torch.Tensor:
    x = torch.randn(4, 6)
    return x * (x > 0)


@pytest.mark.parametrize("convert", LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize("matrix", [_matrix, lambda: torch.zeros(4, 6), lambda: torch.ones(2, 2)])
def test_conversion_to_sparse_and_back_equals_the_cpu(same, convert, matrix) -> None:
    same(lambda x: [convert(x), convert(x).to_dense()], matrix())


@pytest.mark.parametrize("convert", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_sparse_tensors_move_to_npu_and_back(npu, convert) -> None:
    sparse = convert(_matrix())
    moved = sparse.to(npu)
    assert moved.device == npu and moved.layout == sparse.layout
    assert torch.equal(moved.to_dense().cpu(), sparse.to_dense())
    back = moved.cpu()
    assert back.device.type == "cpu" and back.layout == sparse.layout
    assert torch.equal(back.to_dense(), sparse.to_dense())
    assert moved.to("npu:1").device == torch.device("npu:1")


@pytest.mark.parametrize("convert", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_parts_of_a_sparse_tensor_lie_on_npu(same, convert) -> None:
    def run(x):
        s = convert(x)
        if s.layout == torch.sparse_coo:
            return [s.indices(), s.values(), s._nnz(), s.sparse_dim(), s.is_coalesced()]
        if s.layout in (torch.sparse_csr, torch.sparse_bsr):
            return [s.crow_indices(), s.col_indices(), s.values(), s._nnz()]
        return [s.ccol_indices(), s.row_indices(), s.values(), s._nnz()]

    same(run, _matrix())


def _duplicated(device: torch.device) -> torch.Tensor:
    indices = torch.tensor([[0, 1, 0], [2, 0, 2]], device=device)
    return torch.sparse_coo_tensor(indices, torch.tensor([1.0, 2.0, 3.0], device=device), (2, 3))


COO = {
    "made": lambda s: s,
    "coalesce": lambda s: s.coalesce(),
    "to_dense": lambda s: s.to_dense(),
    "add": lambda s: (s + s).coalesce(),
    "add_dense": lambda s: torch.ones(2, 3, device=s.device) + s,
    "mul": lambda s: (s.coalesce() * s.coalesce()).coalesce(),
    "mul_scalar": lambda s: s * 3,
    "mm": lambda s: torch.sparse.mm(s, torch.arange(6.0, device=s.device).view(3, 2)),
    "mm_sparse": lambda s: torch.sparse.mm(s, s.t()).to_dense(),
    "addmm": lambda s: torch.sparse.addmm(
        torch.ones(2, 2, device=s.device), s, torch.ones(3, 2, device=s.device)
    ),
    "matvec": lambda s: s @ torch.ones(3, device=s.device),
    "transpose": lambda s: s.t().coalesce(),
    "sum": lambda s: torch.sparse.sum(s),
    "sum_dim": lambda s: torch.sparse.sum(s, 0).to_dense(),
    "softmax": lambda s: torch.sparse.softmax(s.coalesce(), 1),
    "index_select": lambda s: s.index_select(0, torch.tensor([1], device=s.device)),
    "narrow": lambda s: s.narrow_copy(0, 0, 1),
    "cat": lambda s: torch.cat([s, s]).coalesce(),
    "clone": lambda s: s.clone(),
    "abs": lambda s: s.coalesce().abs(),
    "relu": lambda s: s.coalesce().relu(),
    "mask": lambda s: torch.ones(2, 3, device=s.device).sparse_mask(s.coalesce()),
    "double": lambda s: s.double(),
    "zero_": lambda s: s.clone().zero_().to_dense(),
    "add_": lambda s: s.clone().add_(s).coalesce(),
    "mul_": lambda s: s.coalesce().mul_(2),
    "resize": lambda s: s.clone().sparse_resize_((4, 5), 2, 0).to_dense(),
    "neg": lambda s: (-s).coalesce(),
    "empty_like": lambda s: torch.zeros_like(s).to_dense(),
    "select": lambda s: s.coalesce()[0].to_dense(),
    "unsqueeze": lambda s: s.unsqueeze(0).to_dense(),
    "csr": lambda s: s.to_sparse_csr(),
}


@pytest.mark.parametrize("call", COO.values(), ids=COO.keys())
def test_coo_call_equals_the_cpu(same, call) -> None:
    same(lambda d: call(_duplicated(d)), torch.device("cpu"))


CSR = {
    "mm": lambda s: s @ torch.arange(12.0, device=s.device).view(6, 2),
    "matvec": lambda s: s @ torch.ones(6, device=s.device),
    "mm_sparse": lambda s: (s @ s.t().to_sparse_csr()).to_dense(),
    "add": lambda s: (s + s).to_dense(),
    "mul_scalar": lambda s: s * 2,
    "clone": lambda s: s.clone(),
    "transpose": lambda s: s.t().to_dense(),
    "relu": lambda s: s.relu(),
    "sum": lambda s: s.sum(),
    "double": lambda s: s.to(torch.float64),
    "to_coo": lambda s: s.to_sparse(),
    "addmm": lambda s: torch.addmm(
        torch.ones(4, 2, device=s.device), s, torch.ones(6, 2, device=s.device)
    ),
}


@pytest.mark.parametrize("call", CSR.values(), ids=CSR.keys())
def test_csr_call_equals_the_cpu(same, call) -> None:
    same(lambda x: call(x.to_sparse_csr()), _matrix())


def test_sparse_tensors_are_made_from_their_parts(same) -> None:
    def run(d):
        rows, columns = torch.tensor([0, 1, 2], device=d), torch.tensor([1, 0], device=d)
        values = torch.tensor([1.0, 2.0], device=d)
        return [
            torch.sparse_csr_tensor(rows, columns, values, (2, 2)),
            torch.sparse_csc_tensor(rows, columns, values, (2, 2)),
            torch.sparse_coo_tensor((3, 4), device=d),
            torch.sparse_coo_tensor(columns[None], torch.ones(2, 3, device=d)),
            torch.sparse_bsr_tensor(rows, columns, values.view(2, 1, 1), (2, 2)),
            torch.sparse_csr_tensor([0, 1, 2], [1, 0], [1.0, 2.0], device=d),
            torch.sparse_coo_tensor([[0], [1]], [3.0], device=d),
            torch.sparse.spdiags(torch.ones(1, 3), torch.tensor([0]), (3, 3)).to(d),
        ]

    same(run, torch.device("cpu"))


def test_gradient_of_a_sparse_product_equals_the_cpu(same) -> None:
    def run(x, w):
        torch.sparse.mm(x.to_sparse(), w).square().sum().backward()
        return x.grad, w.grad

    same(run, _matrix().requires_grad_(), torch.randn(6, 3).requires_grad_())


def test_sparse_embedding_has_a_sparse_gradient(same) -> None:
    def run(w, i):
        F.embedding(i, w, sparse=True).square().sum().backward()
        bag = w.detach().requires_grad_()
        F.embedding_bag(
            i, bag, torch.tensor([0, 2], device=i.device), sparse=True, mode="sum"
        ).sum().backward()
        return w.grad, w.grad.coalesce(), bag.grad.coalesce()

    same(run, torch.randn(7, 3).requires_grad_(), torch.tensor([1, 5, 1]))


def test_sparse_gradients_train(same) -> None:
    def run(w, i):
        for optimizer in (
            torch.optim.SGD([w], lr=0.1),
            torch.optim.SparseAdam([w], lr=0.1),
            torch.optim.Adagrad([w]),
        ):
            optimizer.zero_grad()
            F.embedding(i, w, sparse=True).square().sum().backward()
            optimizer.step()
        return w

    same(run, torch.randn(7, 3).requires_grad_(), torch.tensor([1, 5, 1]))


def test_sparse_copy_crosses_devices(npu) -> None:
    source = _duplicated(torch.device("cpu")).coalesce()
    target = torch.sparse_coo_tensor((2, 3), device=npu)
    target.copy_(source)
    assert torch.equal(target.to_dense().cpu(), source.to_dense())
    back = torch.sparse_coo_tensor((2, 3))
    back.copy_(target)
    assert torch.equal(back.to_dense(), source.to_dense())


def test_sparse_repr_names_the_device(npu) -> None:
    assert "device='npu:0'" in repr(_duplicated(npu))
    assert "device='npu:0'" in repr(_matrix().to(npu).to_sparse_csr())


def test_sparse_on_two_devices_is_refused(npu) -> None:
    with pytest.raises(RuntimeError, match="device"):
        torch.sparse.mm(_duplicated(npu), torch.ones(3, 2))
    with pytest.raises(RuntimeError, match="device"):
        torch.sparse_coo_tensor(
            torch.zeros(1, 1, dtype=torch.long, device=npu), torch.ones(1), (2,)
        ).coalesce()
