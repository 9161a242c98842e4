"""torch.export of modules on npu: both modes, decomposition, saving and loading."""

import io
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from torch_npu_sim.testing.tiny_models import make_inputs, make_model


class Net(nn.Module):
    def __init__(self) -> None:
        """Makes the layers."""
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)
        self.linear = nn.Linear(4, 5)
        self.register_buffer("shift", torch.ones(5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.linear(self.convolution(x).mean((2, 3)))[None]
        return F.scaled_dot_product_attention(y, y, y) + self.shift


@pytest.fixture
def net(npu: Any) -> Iterator[Net]:
    module = Net().to(npu).eval()
    yield module
    # Strict export keeps the module it has traced for good, so its memory is given back by hand.
    for tensor in module.state_dict().values():
        tensor.untyped_storage().resize_(0)


def images(count: int) -> torch.Tensor:
    return torch.randn(count, 3, 8, 8, device="npu:0")


def exported(net: Net, strict: bool) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch", min=2, max=64)
    return torch.export.export(net, (images(2),), strict=strict, dynamic_shapes=({0: batch},))


@pytest.mark.parametrize("strict", [True, False])
def test_the_program_equals_the_module_at_another_batch_size(strict: bool, net: Net) -> None:
    program = exported(net, strict)
    devices = {
        node.meta["val"].device
        for node in program.graph.nodes
        if isinstance(node.meta.get("val"), torch.Tensor)
    }
    assert devices == {torch.device("npu:0")}
    x = images(5)
    torch.testing.assert_close(program.module()(x), net(x))


def test_a_decomposed_program_equals_the_module(net: Net) -> None:
    x = images(3)
    program = exported(net, strict=False).run_decompositions()
    torch.testing.assert_close(program.module()(x), net(x))


def test_a_saved_program_comes_back_on_npu(net: Net) -> None:
    file = io.BytesIO()
    torch.export.save(exported(net, strict=False), file)
    file.seek(0)
    program = torch.export.load(file)
    assert {tensor.device.type for tensor in program.state_dict.values()} == {"npu"}
    x = images(3)
    torch.testing.assert_close(program.module()(x), net(x))


def test_a_language_model_is_exported(npu: Any) -> None:
    pytest.importorskip("transformers", reason="transformers is an extra: [test]")
    model = make_model("llama").to(npu)
    inputs = {key: value.to(npu) for key, value in make_inputs("llama").items()}
    inputs["use_cache"] = False
    program = torch.export.export(model, (), inputs, strict=False)
    torch.testing.assert_close(program.module()(**inputs).logits, model(**inputs).logits)
