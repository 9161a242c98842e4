"""torch.func on npu tensors equals torch.func on the CPU."""

import pytest
import torch
from torch import func, nn


def _predict(w: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return torch.tanh(x @ w).sum()


TRANSFORMS = {
    "vmap": lambda x, w: func.vmap(lambda row: row @ w)(x),
    "vmap_in_dims": lambda x, w: func.vmap(torch.dot, in_dims=(1, 1))(x, x),
    "vmap_out_dims": lambda x, w: func.vmap(lambda r: r * 2, out_dims=1)(x),
    "vmap_nested": lambda x, w: func.vmap(func.vmap(lambda e: e.exp() + 1))(x),
    "vmap_in_place": lambda x, w: func.vmap(lambda r: r.clone().add_(1))(x),
    "vmap_index": lambda x, w: func.vmap(lambda r: r[torch.tensor([0, 2], device=x.device)])(x),
    "vmap_conv": lambda x, w: func.vmap(
        lambda r: nn.functional.conv1d(r[None, None], w.t()[:, None])
    )(x),
    "vmap_cat": lambda x, w: func.vmap(lambda r: torch.cat([r, r]))(x),
    "vmap_where": lambda x, w: func.vmap(lambda r: torch.where(r > 0, r, 0.0))(x),
    "vmap_sort": lambda x, w: func.vmap(lambda r: torch.sort(r).values)(x),
    "vmap_softmax": lambda x, w: func.vmap(lambda r: torch.softmax(r, 0))(x),
    "grad": lambda x, w: func.grad(_predict)(w, x),
    "grad_and_value": lambda x, w: func.grad_and_value(_predict)(w, x),
    "grad_twice": lambda x, w: func.grad(lambda a: func.grad(_predict)(a, x).square().sum())(w),
    "per_sample": lambda x, w: func.vmap(func.grad(_predict), in_dims=(None, 0))(w, x),
    "jvp": lambda x, w: func.jvp(lambda a: _predict(a, x), (w,), (w,)),
    "vjp": lambda x, w: func.vjp(lambda a: x @ a, w)[1](x @ w),
    "jacrev": lambda x, w: func.jacrev(lambda a: torch.tanh(x @ a))(w),
    "jacfwd": lambda x, w: func.jacfwd(lambda a: torch.tanh(x @ a))(w),
    "hessian": lambda x, w: func.hessian(_predict)(w, x),
    "linearize": lambda x, w: func.linearize(lambda a: x @ a, w)[0],
    "functionalize": lambda x, w: func.functionalize(lambda a: a.clone().view(-1).add_(1))(x),
}


@pytest.mark.parametrize("call", TRANSFORMS.values(), ids=TRANSFORMS.keys())
def test_transform_equals_the_cpu(same, call) -> None:
    same(call, torch.randn(7, 5), torch.randn(5, 3), exact=False)


@pytest.mark.parametrize("randomness", ["different", "same"])
def test_vmap_draws_the_random_numbers_of_the_cpu(same, randomness) -> None:
    def run(x):
        return func.vmap(lambda r: r + torch.rand_like(r), randomness=randomness)(x)

    same(run, torch.randn(7, 5))
    same(
        lambda x: func.vmap(lambda r: nn.functional.dropout(r), randomness=randomness)(x),
        torch.randn(7, 5),
    )


def test_functional_call_uses_the_given_parameters(npu) -> None:
    module = nn.Linear(3, 2).to(npu)
    zeros = {name: torch.zeros_like(p) for name, p in module.named_parameters()}
    assert func.functional_call(module, zeros, torch.ones(1, 3, device=npu)).tolist() == [
        [0.0, 0.0]
    ]


def test_an_ensemble_runs_as_one_call(same) -> None:
    def run(device, x):
        torch.manual_seed(0)
        models = [nn.Linear(5, 3).to(device) for _ in range(4)]
        params, buffers = func.stack_module_state(models)
        one = models[0]
        return func.vmap(
            lambda p, b, t: func.functional_call(one, (p, b), t), in_dims=(0, 0, None)
        )(params, buffers, x)

    same(run, torch.device("cpu"), torch.randn(7, 5), exact=False)


def test_vmap_over_two_devices_is_refused(npu) -> None:
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        func.vmap(torch.add)(torch.ones(3, 2, device=npu), torch.ones(3, 2))
