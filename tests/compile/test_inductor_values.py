"""Inductor on npu computes what the program computes eagerly, or refuses with a reason."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch._inductor import config
from torch._inductor.exc import InductorError
from torch.nn import functional as F

from torch_npu_sim import Kernel

Launches = Callable[..., list[Kernel]]


class Block(nn.Module):
    def __init__(self) -> None:
        """Makes the layers."""
        super().__init__()
        self.norm = nn.LayerNorm(16)
        self.qkv = nn.Linear(16, 48)
        self.out = nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(self.norm(x)).view(2, 8, 2, 24).transpose(1, 2).chunk(3, -1)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return x + F.gelu(self.out(attended.transpose(1, 2).reshape(2, 8, 16)))


def plus_one(x: torch.Tensor) -> torch.Tensor:
    return x + 1


def test_a_block_has_the_gradients_of_the_cpu(npu: Any) -> None:
    model = Block()
    on_card = copy.deepcopy(model).to(npu)
    x = torch.randn(2, 8, 16)
    model(x).square().mean().backward()
    got = torch.compile(on_card, fullgraph=True)(x.to(npu))
    got.square().mean().backward()
    torch.testing.assert_close(got.detach().cpu(), model(x).detach())
    for cpu, card in zip(model.parameters(), on_card.parameters(), strict=True):
        torch.testing.assert_close(card.grad.cpu(), cpu.grad, rtol=1e-4, atol=1e-5)


def test_an_input_is_mutated_through_its_views(npu: Any) -> None:
    def mutate(x: torch.Tensor) -> torch.Tensor:
        x[1:].mul_(3)
        return x.t()

    x = torch.arange(12.0, device=npu).reshape(4, 3)
    expected = x.clone()
    expected_view = mutate(expected)
    view = torch.compile(mutate, fullgraph=True)(x)
    assert torch.equal(x, expected) and torch.equal(view, expected_view)
    assert view.data_ptr() == x.data_ptr()


def test_one_graph_serves_every_shape(npu: Any) -> None:
    compiled = torch.compile(lambda x: torch.softmax(x * 2, -1), dynamic=True, fullgraph=True)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for rows in (5, 7, 130):
            x = torch.randn(rows, rows + 3)
            torch.testing.assert_close(compiled(x.to(npu)).cpu(), torch.softmax(x * 2, -1))


def test_rows_are_gathered_and_added_at_computed_places(npu: Any) -> None:
    def move(x: torch.Tensor, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return F.embedding(index, x) * 2, x.index_add(0, index, x[:5])

    x, index = torch.randn(9, 4), torch.tensor([3, 0, 3, 8, 3])
    got = torch.compile(move, fullgraph=True)(x.to(npu), index.to(npu))
    for card, cpu in zip(got, move(x, index), strict=True):
        torch.testing.assert_close(card.cpu(), cpu)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_convolution_keeps_its_layout(layout: torch.memory_format, npu: Any) -> None:
    x = torch.randn(2, 3, 8, 8, device=npu).to(memory_format=layout)
    weight = torch.randn(4, 3, 3, 3, device=npu)
    got = torch.compile(lambda x, w: F.conv2d(x, w).relu())(x, weight)
    expected = F.conv2d(x, weight).relu()
    torch.testing.assert_close(got, expected)
    assert got.stride() == expected.stride()


def test_a_seed_gives_eager_numbers_with_fallback_random(npu: Any) -> None:
    x = torch.ones(100, device=npu)
    torch.manual_seed(3)
    expected = F.dropout(x, 0.5)
    with config.patch(fallback_random=True):
        torch.manual_seed(3)
        got = torch.compile(F.dropout)(x, 0.5)
    assert torch.equal(got, expected)


def test_generated_random_numbers_follow_the_seed_of_the_card(npu: Any) -> None:
    compiled = torch.compile(lambda: torch.rand(1000, device=npu))
    torch.npu.manual_seed(3)
    first, second = compiled(), compiled()
    torch.npu.manual_seed(3)
    assert torch.equal(compiled(), first) and not torch.equal(first, second)
    assert abs(first.mean().item() - 0.5) < 0.05  # 5 standard errors of a mean of 1000


def test_results_lie_on_the_card_of_the_arguments() -> None:
    before = torch.npu.memory_allocated(0)
    y = torch.compile(plus_one)(torch.ones(1000, device="npu:3"))
    assert y.device == torch.device("npu:3") and y.eq(2).all()
    assert torch.npu.memory_allocated(0) == before


def test_an_index_out_of_range_is_an_error(npu: Any) -> None:
    compiled = torch.compile(lambda x, i: x[i])
    with pytest.raises(RuntimeError, match="index out of bounds"):
        compiled(torch.ones(3, device=npu), torch.tensor([5], device=npu))


@pytest.mark.parametrize("mode", ["reduce-overhead", "max-autotune"])
def test_modes_with_graphs_run_as_the_default_and_say_so_once(mode: str, npu: Any) -> None:
    from torch_npu_sim.compile.inductor.modes import GRAPHS_WARNING, warn_of_graphs

    warn_of_graphs.cache_clear()
    x = torch.ones(1000, device=npu)
    compiled = torch.compile(plus_one, mode=mode)
    with pytest.warns(UserWarning) as warned:
        for _ in range(3):
            assert compiled(x).eq(2).all()
    assert [str(w.message) for w in warned].count(GRAPHS_WARNING) == 1


def test_a_cpp_wrapper_is_refused_before_anything_runs(npu: Any) -> None:
    with config.patch(cpp_wrapper=True), pytest.raises(InductorError, match="cpp_wrapper off"):
        torch.compile(plus_one)(torch.ones(3, device=npu))


def test_compiling_for_the_cpu_is_unchanged() -> None:
    x = torch.randn(4, 4)
    torch.testing.assert_close(torch.compile(lambda x: torch.relu(x) * 2)(x), torch.relu(x) * 2)
