"""Sizes and addresses at and past every limit: the CPU's result or the CPU's refusal, no crash."""

import copy
import ctypes
import gc
import sys

import pytest
import torch
from torch.utils.dlpack import from_dlpack, to_dlpack

pytestmark = pytest.mark.usefixtures("unchanged")
HUGE = 1 << 40
PAST = 1 << 62


def ones(device: str, *shape: int) -> torch.Tensor:
    """Returns ones on the device."""
    return torch.ones(shape, device=device)


def storage(device: str) -> torch.UntypedStorage:
    """Returns 20 bytes on the device."""
    return ones(device, 5).untyped_storage()


CALLS = {
    "empty negative": lambda d: torch.empty(-3, device=d),
    "empty overflow": lambda d: torch.empty(HUGE, HUGE, device=d),
    "empty of nothing, overflow": lambda d: torch.empty(0, HUGE, HUGE, device=d),
    "empty_strided negative": lambda d: torch.empty_strided((2, 2), (-1, 1), device=d),
    "empty_strided lengths": lambda d: torch.empty_strided((2, 2), (1,), device=d),
    "empty_strided overflow": lambda d: torch.empty_strided((2, 2), (PAST, PAST), device=d),
    "full overflow": lambda d: torch.full((HUGE, HUGE), 1.0, device=d),
    "arange past": lambda d: torch.arange(PAST, device=d),
    "randperm negative": lambda d: torch.randperm(-5, device=d),
    "resize_ negative": lambda d: ones(d, 10).resize_(-1),
    "resize_ overflow": lambda d: ones(d, 10).resize_(HUGE, HUGE),
    "resize_ to nothing, overflow": lambda d: ones(d, 10).resize_(0, HUGE, HUGE),
    "resize_ past": lambda d: ones(d, 10).resize_(HUGE << 5),
    "set_ negative strides": lambda d: ones(d, 10).set_(storage(d), 0, (2, 2), (-1, 1)),
    "set_ negative offset": lambda d: ones(d, 10).set_(storage(d), -3, (2,), (1,)),
    "set_ grows": lambda d: ones(d, 10).set_(storage(d), 0, (20,), (1,)).shape,
    "set_ of another device": lambda d: ones(d, 2).set_(ones("meta", 2).untyped_storage()),
    "as_strided past": lambda d: ones(d, 10).as_strided((20,), (1,)),
    "as_strided negative": lambda d: ones(d, 10).as_strided((2,), (-1,)),
    "as_strided offset past": lambda d: ones(d, 10).as_strided((2,), (1,), 100),
    "as_strided negative offset": lambda d: ones(d, 10).as_strided((2,), (1,), -5),
    "storage negative": lambda d: torch.UntypedStorage(-1, device=d),
    "storage past": lambda d: torch.UntypedStorage(PAST, device=d),
    "storage.resize_ negative": lambda d: storage(d).resize_(-1),
    "storage.resize_ past": lambda d: storage(d).resize_(PAST),
    "storage index past": lambda d: storage(d)[99],
    "storage set past": lambda d: storage(d).__setitem__(99, 1),
    "view of two unknown": lambda d: ones(d, 6).view(-1, -1),
    "expand negative": lambda d: ones(d, 1).expand(-5),
    "unfold past": lambda d: ones(d, 5).unfold(0, 9, 1),
    "repeat past": lambda d: ones(d, 2).repeat(PAST),
    "repeat negative": lambda d: ones(d, 2).repeat(-1),
    "pad past": lambda d: torch.nn.functional.pad(ones(d, 2), (PAST, PAST)),
    "narrow past": lambda d: ones(d, 5).narrow(0, 4, 3),
    "select past": lambda d: ones(d, 5).select(0, 7),
    "transpose past": lambda d: ones(d, 5, 2).transpose(0, 5),
    "index negative": lambda d: ones(d, 5)[torch.tensor([-9], device=d)],
    "index_put_ past": lambda d: ones(d, 5).index_put_(
        (torch.tensor([9], device=d),), torch.tensor(1.0, device=d)
    ),
    "index_add_ past": lambda d: ones(d, 5).index_add_(0, torch.tensor([9], device=d), ones(d, 1)),
    "scatter_add_ past": lambda d: ones(d, 5).scatter_add_(
        0, torch.tensor([9], device=d), ones(d, 1)
    ),
    "embedding past": lambda d: torch.nn.functional.embedding(
        torch.tensor([9], device=d), ones(d, 3, 3)
    ),
    "nll_loss past": lambda d: torch.nn.functional.nll_loss(
        ones(d, 3, 3), torch.tensor([9, 0, 1], device=d)
    ),
    "repeat_interleave negative": lambda d: torch.repeat_interleave(
        ones(d, 3), torch.tensor([1, -1, 2], device=d)
    ),
    "bincount negative": lambda d: torch.bincount(torch.tensor([-1], device=d)),
    "max_unpool past": lambda d: torch.nn.functional.max_unpool2d(
        ones(d, 1, 1, 2, 2), torch.full((1, 1, 2, 2), 99, device=d), 2
    ),
    "multinomial of nothing": lambda d: torch.multinomial(torch.zeros(3, device=d), 2),
    "max of nothing": lambda d: torch.tensor([], device=d).max(),
    "in-place on an overlap": lambda d: ones(d, 1).expand(5).add_(1),
    "out on an overlap": lambda d: torch.add(ones(d, 5), 1, out=ones(d, 1).expand(5)),
    "searchsorted in nothing": lambda d: torch.searchsorted(torch.tensor([], device=d), ones(d, 3)),
    "64 dimensions": lambda d: ones(d, *[1] * 64).add(1).sum(),
    "65 dimensions": lambda d: ones(d, *[1] * 65).add(1).sum(),
    "70 dimensions": lambda d: ones(d, *[1] * 70).transpose(0, 69).contiguous().sum(),
    "64 dimensions summed": lambda d: ones(d, *[1] * 64).sum(63),
    "65 dimensions summed": lambda d: ones(d, *[1] * 65).sum(64),
    "stride 0": lambda d: ones(d, 1).expand(7, 5).contiguous(),
    "sum of a huge expansion of nothing": lambda d: ones(d, 1, 0).expand(HUGE, 0).sum(),
    "a convolution too large": lambda d: torch.conv2d(ones(d, 1, 1, 2, 2), ones(d, 1, 1, 5, 5)),
}


def outcome(call, device: str) -> object:
    """Returns what the call gives, or whether it raises RuntimeError or IndexError."""
    try:
        result = call(device)
    except (RuntimeError, IndexError, ValueError) as error:
        # Out of memory is a RuntimeError on the CPU.
        return RuntimeError if isinstance(error, RuntimeError) else type(error)
    return result.tolist() if isinstance(result, torch.Tensor) else result


@pytest.mark.parametrize("name", CALLS)
def test_a_call_at_a_limit_does_what_the_cpu_does(name):
    assert outcome(CALLS[name], "npu") == outcome(CALLS[name], "cpu")


USES = {
    "operator": lambda x: x + 1,
    "typed operator": lambda x: x * x,
    "in-place": lambda x: x.add_(1),
    "download": lambda x: x.cpu(),
    "list": lambda x: x.tolist(),
    "print": repr,
    "copy into": lambda x: x.copy_(torch.ones(x.shape)),
    "deepcopy": copy.deepcopy,
    "view": lambda x: x.view(2, 5).sum(),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("left", [0, 4, 36])
def test_a_tensor_whose_storage_shrank_is_refused_with_the_way_out(use, left):
    x = torch.arange(10.0, device="npu")
    x.untyped_storage().resize_(left)
    if use == "deepcopy" and left:
        return  # copies the storage, whatever the shape
    if use != "deepcopy":
        with pytest.raises(RuntimeError, match=rf"resized to {left} bytes.*resize_\(\)"):
            USES[use](x)
    x.untyped_storage().resize_(40)
    assert (x.zero_() + 1).tolist() == [1.0] * 10


@pytest.mark.parametrize("index", [8, 127])
@pytest.mark.parametrize(
    "use",
    [
        lambda i: torch.ones(1, device=torch.device("npu", i)),
        lambda i: torch.npu.set_device(i),
        lambda i: torch.npu.memory_stats(i),
        lambda i: torch.npu.synchronize(i),
        lambda i: torch.npu.mem_get_info(i),
        lambda i: torch.npu.empty_cache() or torch.npu.reset_peak_memory_stats(i),
        lambda i: torch.npu.get_device_properties(i),
        lambda i: torch.npu.Stream(device=i),
        lambda i: torch.npu.default_generators[i],
        lambda i: torch.ones(1).npu(i),
        lambda i: torch.npu.get_rng_state(i),
    ],
    ids=range(11),
)
def test_a_device_index_that_is_not_there_is_refused(use, index):
    with pytest.raises((RuntimeError, ValueError, IndexError, AssertionError, OverflowError)):
        use(index)
    assert torch.ones(1, device="npu").device.index == torch.npu.current_device() == 0


def test_dlpack_keeps_the_memory_until_the_last_user_is_gone():
    x = torch.arange(1000.0, device="npu")
    capsule = to_dlpack(x)
    pointer = x.data_ptr()
    del x
    others = [torch.zeros(1000, device="npu") for _ in range(4)]
    y = from_dlpack(capsule)
    assert y.data_ptr() == pointer and y.tolist() == list(range(1000))
    assert all(int(other.sum()) == 0 for other in others)
    with pytest.raises(RuntimeError, match="(?i)capsule|dltensor"):
        from_dlpack(capsule)
    z = y[5:]
    del y
    gc.collect()
    assert (z + 1)[0].item() == 6


def test_a_capsule_that_nobody_takes_frees_its_memory():
    to_dlpack(torch.ones(1000, device="npu"))


def test_foreign_memory_on_the_host_goes_up_and_stays_apart():
    buffer = (ctypes.c_float * 4)(1, 2, 3, 4)
    x = torch.frombuffer(buffer, dtype=torch.float32).npu()
    buffer[0] = 99
    del buffer
    gc.collect()
    assert x.tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("address", [0, 1, 4096, 1 << 40])
def test_an_address_that_is_no_block_is_refused_not_freed(address):
    if address == 0:
        torch.npu.caching_allocator_delete(address)
        return
    with pytest.raises(ValueError, match="caching_allocator_delete"):
        torch.npu.caching_allocator_delete(address)


def test_a_block_is_freed_once():
    address = torch.npu.caching_allocator_alloc(1000)
    with pytest.raises(ValueError, match="caching_allocator_delete"):
        torch.npu.caching_allocator_delete(address + 512)
    torch.npu.caching_allocator_delete(address)
    with pytest.raises(ValueError, match="nobody has freed"):
        torch.npu.caching_allocator_delete(address)


def test_a_deep_graph_goes_backward_and_is_freed():
    x = torch.ones(1, device="npu", requires_grad=True)
    y = x
    for _ in range(20_000):
        y = y + 1
    y.backward()
    assert x.grad.item() == 1
    z = x
    for _ in range(20_000):
        z = z * 1
    del y, z


def test_deep_views_of_views_are_right_and_freed():
    x = torch.arange(4.0, device="npu")
    y = x
    for _ in range(20_000):
        y = y.view(-1)
    y.add_(1)
    assert x.tolist() == [1, 2, 3, 4]


def test_recursion_in_python_through_operators_is_python_s_error():
    x = torch.ones(2, device="npu")

    def deeper(depth: int) -> torch.Tensor:
        return deeper(depth + 1) + x

    limit = sys.getrecursionlimit()
    with pytest.raises(RecursionError):
        deeper(0)
    assert sys.getrecursionlimit() == limit and (x + 1).tolist() == [2, 2]


def test_recursion_through_hooks_and_functions_is_an_error_not_a_crash():
    class Again(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, depth):
            ctx.depth = depth
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            if ctx.depth == 0:
                return grad, None
            with torch.enable_grad():
                y = torch.ones(2, device="npu", requires_grad=True)
                Again.apply(y, ctx.depth - 1).sum().backward()
            return grad * y.grad, None

    x = torch.ones(2, device="npu", requires_grad=True)
    Again.apply(x, 100).sum().backward()
    assert bool(x.grad.isfinite().all())


def test_a_hundred_thousand_tensors_in_one_list_operator():
    parts = list(torch.zeros(10_000, device="npu").split(1))
    torch._foreach_add_(parts, 1)
    assert torch.cat(parts).sum().item() == 10_000
    assert torch.stack(parts).shape == (10_000, 1)
