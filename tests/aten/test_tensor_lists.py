"""Operators on lists of tensors: cat and stack of anything, _foreach_, block_diag, einsum."""

import pytest
import torch


def _list() -> list[torch.Tensor]:
    return [torch.randn(3, 5), torch.randn(0, 5), torch.randn(1, 5), torch.randn(5, 4).t()]


CATS = {
    "rows": lambda xs: torch.cat(xs),
    "with_legacy_empty": lambda xs: torch.cat([torch.empty(0, device=xs[0].device), *xs]),
    "all_empty": lambda xs: torch.cat([xs[1], xs[1]]),
    "columns": lambda xs: torch.cat([xs[0], xs[0]], 1),
    "mixed_dtypes": lambda xs: torch.cat([xs[0], xs[0].long(), xs[0].double()]),
    "one": lambda xs: torch.cat([xs[0]]),
    "stack": lambda xs: torch.stack([xs[0], xs[0] * 2], 1),
    "vstack": lambda xs: torch.vstack(xs),
    "hstack": lambda xs: torch.hstack([xs[0], xs[0]]),
    "block_diag": lambda xs: torch.block_diag(xs[0], xs[2]),
    "meshgrid": lambda xs: torch.meshgrid(xs[0][:, 0], xs[0][0], indexing="ij"),
    "broadcast_tensors": lambda xs: torch.broadcast_tensors(xs[0], xs[2]),
    "einsum": lambda xs: torch.einsum("ij,kj->ik", xs[0], xs[3]),
    "multi_dot": lambda xs: torch.linalg.multi_dot([xs[0], xs[0].t(), xs[0]]),
    "chain_matmul": lambda xs: xs[0] @ xs[0].t() @ xs[0],
    "cartesian": lambda xs: torch.cartesian_prod(xs[0][0], xs[0][1]),
}


@pytest.mark.parametrize("call", CATS.values(), ids=CATS.keys())
def test_call_on_a_list_equals_the_cpu(same, call) -> None:
    same(call, _list())


def test_cat_of_nothing_is_refused_as_on_the_cpu(npu) -> None:
    with pytest.raises((RuntimeError, ValueError), match="expected a non-empty list of Tensors"):
        torch.cat([])
    with pytest.raises(RuntimeError, match="Sizes of tensors must match except in dimension 0"):
        torch.cat([torch.ones(2, 3, device=npu), torch.ones(2, 4, device=npu)])


FOREACH = {
    "add": lambda xs: torch._foreach_add(xs, 2),
    "add_list": lambda xs: torch._foreach_add(xs, xs, alpha=3),
    "add_tensor": lambda xs: torch._foreach_add(xs, torch.tensor(2.0, device=xs[0].device)),
    "mul_scalars": lambda xs: torch._foreach_mul(xs, [1.0, 2.0, 3.0, 4.0]),
    "addcdiv": lambda xs: torch._foreach_addcdiv(xs, xs, [x + 9 for x in xs], 0.5),
    "addcmul": lambda xs: torch._foreach_addcmul(xs, xs, xs, 0.5),
    "lerp": lambda xs: torch._foreach_lerp(xs, [x + 1 for x in xs], 0.25),
    "sqrt": lambda xs: torch._foreach_sqrt([x.abs() for x in xs]),
    "norm": lambda xs: torch._foreach_norm(xs),
    "max": lambda xs: torch._foreach_max([xs[0], xs[2]]),
    "pow": lambda xs: torch._foreach_pow(xs, 2),
    "neg": lambda xs: torch._foreach_neg(xs),
}


@pytest.mark.parametrize("call", FOREACH.values(), ids=FOREACH.keys())
def test_foreach_equals_the_cpu(same, call) -> None:
    same(call, _list())


@pytest.mark.parametrize(
    "call",
    [
        lambda xs: torch._foreach_add_(xs, 2),
        lambda xs: torch._foreach_mul_(xs, [1.0, 2.0, 3.0, 4.0]),
        lambda xs: torch._foreach_zero_(xs),
        lambda xs: torch._foreach_copy_(xs, [x + 1 for x in xs]),
        lambda xs: torch._foreach_addcmul_(xs, [x + 1 for x in xs], xs, 0.5),
    ],
)
def test_foreach_in_place_writes_each_tensor(same, call) -> None:
    def run(xs):
        call(xs)
        assert all(x._version > 0 for x in xs)
        return xs

    same(run, _list())


def test_gradient_clipping_over_a_list_equals_the_cpu(same) -> None:
    def run(xs):
        for x in xs:
            x.requires_grad_()
            x.grad = x.detach() * 2
        total = torch.nn.utils.clip_grad_norm_(xs, 0.5, foreach=True)
        return [total, *[x.grad for x in xs]]

    same(run, [x.contiguous() for x in _list()])


@pytest.mark.parametrize("mode", ["foreach", "fused", "plain"])
@pytest.mark.parametrize(
    "optimizer,options",
    [
        (torch.optim.AdamW, {"lr": 0.1, "amsgrad": True}),
        (torch.optim.Adam, {"lr": 0.1}),
        (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
        (torch.optim.Adagrad, {"lr": 0.1}),
    ],
)
def test_optimizer_steps_equal_the_cpu(same, optimizer, options, mode) -> None:
    extra = {"foreach": mode == "foreach", "fused": mode == "fused"}

    def run(x):
        opt = optimizer([x], **options, **extra)
        for _ in range(3):
            opt.zero_grad()
            (x * x).sum().backward()
            opt.step()
        return x

    same(run, torch.randn(3, 5).requires_grad_())


FOREACH_WRITES = {
    "in_place": lambda xs, out: torch._foreach_abs_(xs),
    "two_lists": lambda xs, out: torch._foreach_add_(xs, out),
    "zero": lambda xs, out: torch._foreach_zero_(xs),
    "copy": lambda xs, out: torch._foreach_copy_(xs, out),
    "out": lambda xs, out: torch.ops.aten._foreach_abs.out(xs, out=out),
}


@pytest.mark.parametrize("write", FOREACH_WRITES.values(), ids=FOREACH_WRITES.keys())
def test_foreach_counts_versions_of_what_it_writes(npu, write) -> None:
    def versions(device):
        xs, out = ([torch.ones(3, device=device) for _ in range(2)] for _ in range(2))
        write(xs, out)
        return [x._version for x in xs + out]

    assert versions(npu) == versions("cpu")


def test_backward_refuses_what_foreach_has_overwritten(npu) -> None:
    x = torch.ones(3, device=npu, requires_grad=True)
    y = x.exp()
    torch._foreach_zero_([y.detach()])
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
