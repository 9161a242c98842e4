"""Exceptions in the middle of an operator: counts are what they were, and the next one works."""

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import torch_npu_sim
from torch_npu_sim import _C

pytestmark = pytest.mark.usefixtures("unchanged")
GIB = 1 << 30


class Stop(Exception):
    """What the tests raise themselves."""


@pytest.fixture(autouse=True)
def works_afterwards():
    """Runs an operator of each kind after the test, forward and backward."""
    yield
    x = torch.arange(6.0, device="npu").requires_grad_()
    (x.view(2, 3) @ x.view(3, 2)).softmax(0).square().sum().backward()
    assert x.grad.shape == (6,) and bool(x.grad.isfinite().all())
    assert torch.cat([x, x]).sort().values.tolist() == sorted([0.0, 1, 2, 3, 4, 5] * 2)
    torch.npu.synchronize()


def many(device: str) -> dict[str, torch.Tensor]:
    """Returns the tensors that the calls of RESIZES take."""
    return {
        "x": torch.ones(50, 50, device=device),
        "far": torch.full((50, 50), 99, device=device),
        "rows": torch.tensor([0] * 60 + [999], device=device),
    }


RESIZES = {
    "gather": lambda t, out: torch.gather(t["x"], 1, t["far"], out=out),
    "index_select": lambda t, out: torch.index_select(t["x"], 0, t["rows"], out=out),
    "take": lambda t, out: torch.take(t["x"], t["far"] * 99, out=out),
    "scatter": lambda t, out: torch.scatter(t["x"], 1, t["far"], t["x"], out=out),
    "scatter_add": lambda t, out: torch.scatter_add(t["x"], 1, t["far"], t["x"], out=out),
}


@pytest.mark.parametrize("name", RESIZES)
@pytest.mark.parametrize("size", [0, 3])
def test_out_that_was_resized_before_the_kernel_threw_is_as_on_the_cpu(name, size):
    found = []
    for device in ("cpu", "npu"):
        out = torch.full((size,), 7.0, device=device)
        with pytest.raises((RuntimeError, IndexError)):
            RESIZES[name](many(device), out)
        found.append((out.shape, out.untyped_storage().nbytes()))
        out.zero_()
        assert out.sum().item() == 0
    assert found[0] == found[1]


def test_out_that_was_resized_in_vain_keeps_no_memory_that_others_get():
    out = torch.zeros(3, device="npu")
    with pytest.raises(RuntimeError):
        RESIZES["gather"](many("npu"), out)
    others = [torch.ones(size, device="npu") for size in (3, 2500, 2500)]
    out.fill_(9)
    assert all(bool((other == 1).all()) for other in others)


def test_memory_refused_while_out_is_resized_leaves_a_shape_that_its_storage_holds():
    x = torch.ones(1, device="npu").expand(40 * GIB)
    for out in (torch.zeros(3, device="npu"), torch.zeros(0, device="npu")):
        with pytest.raises(torch.OutOfMemoryError):
            torch.add(x, 1, out=out)
        assert out.numel() * 4 <= out.untyped_storage().nbytes()
        out.zero_()


def test_out_that_is_an_input_too_is_resized_or_refused_as_on_the_cpu():
    for device in ("cpu", "npu"):
        x, y = torch.ones(0, device=device), torch.ones(0, device=device)
        torch.stack([x, y], out=x)
        assert x.shape == (2, 0)
        x, y = torch.ones((), device=device), torch.ones(0, device=device)
        with pytest.raises(RuntimeError):
            torch.add(x, y, out=x)
        assert x.shape == ()


def test_a_shape_past_any_number_leaves_out_as_it_was():
    for size in (0, 3):
        out = torch.zeros(size, device="npu")
        with pytest.raises(RuntimeError, match="overflow"):
            torch.eye(1 << 62, out=out)
        assert out.shape == (size,) and (out + 1).tolist() == [1.0] * size


@pytest.mark.parametrize(
    "grow",
    [
        lambda x: x.resize_(1 << 45),
        lambda x: x.set_(x.untyped_storage(), 0, (1 << 45,), (1,)),
        lambda x: x.set_(torch.ones(2, device="npu").untyped_storage(), 0, (1 << 45,), (1,)),
        lambda x: x.untyped_storage().resize_(1 << 47),
        lambda x: x.resize_as_(torch.empty(1, device="npu").expand(1 << 45)),
    ],
    ids=["resize_", "set_", "set_ to another", "storage", "resize_as_"],
)
def test_a_tensor_that_cannot_grow_stays_as_it_was(grow):
    x = torch.arange(10.0, device="npu")
    with pytest.raises(torch.OutOfMemoryError):
        grow(x)
    assert x.tolist() == list(range(10)) and x.untyped_storage().nbytes() == 40


THROW = {
    "linalg": lambda: torch.linalg.cholesky(-torch.eye(4, device="npu")),
    "shape": lambda: torch.ones(2, 3, device="npu") @ torch.ones(2, 3, device="npu"),
    "index": lambda: torch.ones(3, device="npu")[torch.tensor([7], device="npu")],
    "index_put_": lambda: torch.ones(3, device="npu").index_put_(
        (torch.tensor([7], device="npu"),), torch.ones(1, device="npu")
    ),
    "dtype": lambda: torch.ones(3, device="npu").add_(1j),
    "random": lambda: torch.multinomial(torch.zeros(3, device="npu"), 2),
    "dropout": lambda: torch.native_dropout(
        torch.ones(3, device="npu", dtype=torch.int), 2.0, True
    ),
    "host answer": lambda: torch.ones(3, device="npu").item(),
    "to the host": lambda: torch.ones(3, device="npu").to("cpu", dtype=torch.quint8),
    "sparse": lambda: torch.sparse_coo_tensor(
        torch.tensor([[5]], device="npu"), torch.ones(1, device="npu"), (3,), check_invariants=True
    ),
    "list": lambda: torch._foreach_add(
        [torch.ones(2, device="npu")], [torch.ones(3, device="npu")]
    ),
    "nested": lambda: torch.nested.nested_tensor([torch.ones(2).npu(), torch.ones(3).npu()]).sum(),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", THROW)
def test_an_operator_that_throws_launches_no_kernel_and_keeps_nothing(name):
    expected = None
    for _ in range(3):
        with torch_npu_sim.trace() as trace, pytest.raises((RuntimeError, IndexError)):
            THROW[name]()
        ops = [kernel.op for kernel in trace.kernels]
        assert expected is None or ops == expected
        expected = ops


def test_an_operator_that_throws_leaves_the_random_numbers_of_both_devices_alone():
    torch.manual_seed(1)
    states = torch.get_rng_state(), torch.npu.get_rng_state()
    with pytest.raises(RuntimeError):
        torch.native_dropout(torch.ones(3, device="npu", dtype=torch.int), 2.0, True)
    assert torch.equal(states[0], torch.get_rng_state())
    assert torch.equal(states[1], torch.npu.get_rng_state())


HOOKS = {
    "tensor": lambda x, fail: x.mul(2).register_hook(fail),
    "leaf": lambda x, fail: x.register_hook(fail),
    "post accumulate": lambda x, fail: x.register_post_accumulate_grad_hook(fail),
    "node": lambda x, fail: x.mul(2).grad_fn.register_hook(lambda *_: fail(x)),
    "prehook": lambda x, fail: x.mul(2).grad_fn.register_prehook(lambda *_: fail(x)),
}


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_that_throws_in_backward_is_raised_and_the_graph_is_freed(name):
    def fail(_):
        raise Stop

    x = torch.ones(100, device="npu", requires_grad=True)
    y = x.exp()
    HOOKS[name](x, fail) if name in ("leaf", "post accumulate") else None
    z = y * 2
    if name == "tensor":
        z.register_hook(fail)
    elif name == "node":
        z.grad_fn.register_hook(lambda *_: fail(x))
    elif name == "prehook":
        z.grad_fn.register_prehook(lambda *_: fail(x))
    with pytest.raises(Stop):
        (z * y).sum().backward()


class Broken(torch.autograd.Function):
    """Throws where its second argument says, after it has allocated."""

    @staticmethod
    def forward(ctx, x, where):
        """Doubles x."""
        ctx.save_for_backward(x.clone())
        ctx.where = where
        if where == "forward":
            raise Stop
        return x * 2

    @staticmethod
    def backward(ctx, grad):
        """Doubles the gradient."""
        held = ctx.saved_tensors[0] + grad
        if ctx.where == "backward":
            raise Stop
        return held * 2 if ctx.where != "shape" else held[:1], None


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_a_function_that_throws_is_raised_with_its_own_error(where):
    x = torch.ones(100, device="npu", requires_grad=True)
    for _ in range(3):
        with pytest.raises(Stop):
            Broken.apply(x.exp(), where).sum().backward()
    assert x.grad is None


def test_a_function_that_returns_a_wrong_gradient_is_refused():
    x = torch.ones(100, device="npu", requires_grad=True)
    with pytest.raises(RuntimeError, match="(?i)invalid gradient"):
        Broken.apply(x.exp(), "shape").sum().backward()


def test_memory_refused_inside_operators_gives_everything_back():
    x = torch.ones(1, device="npu", dtype=torch.uint8)
    # As much as fits but for one GiB, whatever other tests hold.
    free = torch.npu.mem_get_info()[0] // GIB
    held = torch.empty((free - 1) * GIB, dtype=torch.uint8, device="npu")
    wide = x.expand(2 * GIB)
    before = torch.npu.memory_allocated()
    for operator in (wide.clone, lambda: wide + 1, lambda: wide.sort(), lambda: wide.nonzero()):
        with pytest.raises(torch.OutOfMemoryError):
            operator()
        assert torch.npu.memory_allocated() == before
    assert held.numel() == (free - 1) * GIB


class FailingDispatch(TorchDispatchMode):
    """Throws at the second operator, after it has run."""

    def __init__(self):
        """Counts from 0."""
        super().__init__()
        self.calls = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Runs the operator, then throws."""
        result = func(*args, **(kwargs or {}))
        self.calls += 1
        if self.calls == 2:
            raise Stop
        return result


class FailingFunction(TorchFunctionMode):
    """Throws after a call of exp."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Runs the function, then throws."""
        result = func(*args, **(kwargs or {}))
        if func is torch.Tensor.exp:
            raise Stop
        return result


@pytest.mark.parametrize("mode", [FailingDispatch, FailingFunction])
def test_a_mode_that_throws_is_raised_and_left(mode):
    x = torch.ones(100, device="npu", requires_grad=True)
    with pytest.raises(Stop), mode():
        x.mul(2).exp().sum().backward()
    assert x.exp().shape == (100,)


def test_a_subclass_that_throws_in_torch_function_is_raised():
    class Strict(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            if func is torch.add:
                raise Stop
            return super().__torch_function__(func, types, args, kwargs or {})

    x = torch.ones(4, device="npu").as_subclass(Strict)
    with pytest.raises(Stop):
        torch.add(x, 1)
    assert (x * 2).tolist() == [2.0] * 4


def test_an_operator_written_in_python_that_throws_is_raised():
    with torch.library._scoped_library("robustness", "FRAGMENT") as library:
        library.define("throws(Tensor x) -> Tensor")

        def throws(x):
            held = x * 2
            if held.numel():
                raise Stop
            return held

        library.impl("throws", throws, "CPU")
        for _ in range(3):
            with pytest.raises(Stop):
                torch.ops.robustness.throws(torch.ones(100, device="npu"))


def test_a_stopped_card_refuses_and_keeps_nothing():
    x = torch.ones(4, device="npu:1")
    blocks = _C.live_blocks()
    torch.npu.stop_device(1)
    try:
        with pytest.raises(RuntimeError):
            (x + 1).item()
        assert _C.live_blocks() == blocks
    finally:
        torch.npu.restart_device(1)
    assert (x + 1).tolist() == [2.0] * 4


def test_a_trace_that_an_exception_leaves_ends():
    with pytest.raises(Stop), torch_npu_sim.trace():
        torch.ones(2, device="npu").add_(1)
        raise Stop
    with torch_npu_sim.trace() as trace:
        torch.ones(2, device="npu")
    assert len(trace.kernels) == 1


def test_a_stream_and_a_device_that_an_exception_leaves_are_left():
    with pytest.raises(Stop), torch.npu.device(3), torch.npu.stream(torch.npu.Stream()):
        raise Stop
    assert torch.npu.current_device() == 0
    assert torch.npu.current_stream(3) == torch.npu.default_stream(3)


def test_an_exception_while_another_is_handled_frees_both():
    def fail():
        held = torch.ones(1000, device="npu")
        try:
            held.view(7)
        except RuntimeError:
            torch.linalg.inv(torch.zeros(3, 3, device="npu"))

    with pytest.raises(RuntimeError):
        fail()
