"""What one small operator costs the host more on npu than on the CPU."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

Operator = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

# 8 x 8 leaves nothing to compute: what is seen is dispatch, description and the simulated clock.
SHAPE = (8, 8)
LIMIT_US = 1.0

OPERATORS: dict[str, Operator] = {
    "add": lambda a, b: a + b,
    "mm": lambda a, b: a @ b,
    "softmax": lambda a, b: torch.softmax(a, -1),
    "layer_norm": lambda a, b: torch.nn.functional.layer_norm(a, SHAPE[1:]),
    "cat": lambda a, b: torch.cat((a, b)),
    "view": lambda a, b: a.view(-1),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_a_small_operator_costs_at_most_a_microsecond_more(
    name: str, measure: Callable[..., Any]
) -> None:
    operator = OPERATORS[name]
    a, b = torch.randn(SHAPE), torch.randn(SHAPE)
    on_npu = (a.to("npu:0"), b.to("npu:0"))
    with torch.no_grad():
        paired = measure(
            name, lambda: operator(a, b), lambda: operator(*on_npu), calls=2000, rounds=25
        )
    assert paired.overhead_us <= LIMIT_US
