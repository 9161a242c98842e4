"""torch.jit, torch.fx, fake tensors and dispatch modes on npu tensors."""

import warnings

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.linear(x)) + torch.arange(3, device=x.device)
        if y.sum() > 0:
            y = y * 2
        return y.softmax(-1)


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture
def net() -> _Net:
    torch.manual_seed(0)
    return _Net()


def test_scripted_module_runs_on_npu_as_on_the_cpu(npu, net) -> None:
    x = torch.randn(7, 5)
    expected = net(x)
    scripted = torch.jit.script(net).to(npu)
    for _ in range(3):
        assert torch.equal(scripted(x.to(npu)).cpu(), expected)


def test_script_gradients_equal_the_cpu(npu, net) -> None:
    x = torch.randn(7, 5)
    net(x).square().sum().backward()
    expected = net.linear.weight.grad.clone()
    net.zero_grad()
    scripted = torch.jit.script(net).to(npu)
    for _ in range(3):
        scripted.zero_grad()
        scripted(x.to(npu)).square().sum().backward()
    torch.testing.assert_close(scripted.linear.weight.grad.cpu(), expected)


@pytest.mark.leaves_memory(reason="torch keeps a traced graph and constants folded into it")
def test_traced_module_runs_on_npu(npu, net) -> None:
    x = torch.randn(7, 5, device=npu)
    net.to(npu)
    traced = torch.jit.trace(net, x)
    assert torch.equal(traced(x), net(x))


def test_saved_script_loads_onto_npu(npu, net, tmp_path) -> None:
    torch.jit.save(torch.jit.script(net), tmp_path / "net.pt")
    loaded = torch.jit.load(tmp_path / "net.pt", map_location=npu)
    assert loaded.linear.weight.device == npu


def test_script_names_the_device(npu) -> None:
    @torch.jit.script
    def make(n: int, device: torch.device) -> torch.Tensor:
        return torch.zeros([n], device=device) + 1

    assert make(3, npu).tolist() == [1.0, 1.0, 1.0]


def test_script_reads_and_writes_by_mask_and_by_index(npu) -> None:
    @torch.jit.script
    def bound(x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        x[x < 2] = 1.0
        x[:, index] = 7.0
        return x[index]

    index = torch.tensor([2, 0])
    expected = bound(torch.arange(12.0).view(3, 4), index)
    assert bound(torch.arange(12.0).view(3, 4).to(npu), index.to(npu)).cpu().equal(expected)


def test_fx_graph_runs_on_npu(npu) -> None:
    module = nn.Sequential(nn.Linear(5, 3), nn.ReLU()).to(npu)
    traced = torch.fx.symbolic_trace(module)
    x = torch.randn(7, 5, device=npu)
    assert torch.equal(traced(x), module(x))


def test_make_fx_records_the_operators_of_an_npu_function(npu) -> None:
    from torch.fx.experimental.proxy_tensor import make_fx

    x = torch.randn(3, 5, device=npu)
    graph = make_fx(lambda t: torch.relu(t @ t.t()).sum())(x)
    assert torch.equal(graph(x), torch.relu(x @ x.t()).sum())
    assert torch.ops.aten.mm.default in [node.target for node in graph.graph.nodes]


def test_fake_tensors_have_the_npu_device_and_no_values(npu) -> None:
    with FakeTensorMode() as mode:
        x = torch.empty(3, 5, device=npu)
        y = torch.nn.functional.linear(x, torch.empty(4, 5, device=npu)).softmax(-1)[:, 1:]
    assert y.device == npu and y.shape == (3, 3)
    fake = mode.from_tensor(torch.ones(2, 3, device=npu))
    assert fake.device == npu


def test_a_dispatch_mode_sees_every_npu_operator(npu) -> None:
    class Log(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.names = []

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.names.append(func.name())
            return func(*args, **(kwargs or {}))

    x = torch.ones(3, 3, device=npu)
    with Log() as log:
        (x @ x + 1).sum()
    assert log.names == ["aten::mm", "aten::add.Tensor", "aten::sum"]


def test_a_tensor_subclass_wraps_npu_tensors(npu) -> None:
    class Tagged(torch.Tensor):
        pass

    x = torch.ones(3, device=npu).as_subclass(Tagged)
    y = x * 2
    assert isinstance(y, Tagged) and y.device == npu


@pytest.mark.parametrize("size", [(3,), (3, 5), (2, 3, 4, 5)], ids=str)
def test_deterministic_mode_fills_what_would_be_undefined(npu, size) -> None:
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.empty(size, device=npu).isnan().all()
        assert (
            torch.empty(size, dtype=torch.int32, device=npu) == torch.iinfo(torch.int32).max
        ).all()
        assert torch.empty_strided(size, [1] * len(size), device=npu).isnan().all()
        assert torch.ones(1, device=npu).resize_(size).flatten()[1:].isnan().all()
        x = torch.zeros(5, device=npu).index_add_(
            0, torch.tensor([1, 1], device=npu), torch.ones(2, device=npu)
        )
        assert x.tolist() == [0.0, 2.0, 0.0, 0.0, 0.0]
    finally:
        torch.use_deterministic_algorithms(False)
