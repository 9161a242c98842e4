"""torch.autocast on npu: which operators cast to what; nesting; other devices; scaling."""

import pytest
import torch
from torch.nn import functional

LOW = [torch.bfloat16, torch.float16]


def ones(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Returns ones on npu."""
    return torch.ones(shape, dtype=dtype, device="npu")


TO_LOW = {
    "mm": lambda x: torch.mm(x, x),
    "matmul operator": lambda x: x @ x,
    "addmm": lambda x: torch.addmm(x, x, x),
    "bmm": lambda x: torch.bmm(x[None], x[None]),
    "linear": lambda x: functional.linear(x, x, x[0]),
    "conv1d": lambda x: functional.conv1d(x[None], x[:, :, None]),
    "conv2d": lambda x: functional.conv2d(x[None, None], x[None, None, :2, :2]),
    "scaled_dot_product_attention": lambda x: functional.scaled_dot_product_attention(
        x[None], x[None], x[None]
    ),
    "einsum": lambda x: torch.einsum("ij,jk->ik", x, x),
    "prelu": lambda x: functional.prelu(x, x[0, :1]),
}
TO_FLOAT32 = {
    "softmax": lambda x: torch.softmax(x, -1),
    "log_softmax": lambda x: torch.log_softmax(x, -1),
    "layer_norm": lambda x: functional.layer_norm(x, (4,)),
    "exp": torch.exp,
    "log": torch.log,
    "pow": lambda x: x**2.5,
    "sum": torch.sum,
    "cumsum": lambda x: torch.cumsum(x, 0),
    "norm": torch.linalg.vector_norm,
    "mse_loss": lambda x: functional.mse_loss(x, x),
    "cross_entropy": lambda x: functional.cross_entropy(x, x.softmax(-1)),
}
KEEPS = {
    "add": lambda x: x + x,
    "relu": torch.relu,
    "transpose": lambda x: x.t().contiguous(),
    "max": torch.amax,
}


@pytest.mark.parametrize("dtype", LOW, ids=str)
@pytest.mark.parametrize("name", TO_LOW)
def test_matrix_operators_run_in_the_low_type(name, dtype):
    with torch.autocast("npu", dtype=dtype):
        assert TO_LOW[name](ones(4, 4)).dtype == dtype


@pytest.mark.parametrize("dtype", LOW, ids=str)
@pytest.mark.parametrize("name", TO_FLOAT32)
def test_sensitive_operators_run_in_float32(name, dtype):
    with torch.autocast("npu", dtype=dtype):
        assert TO_FLOAT32[name](ones(4, 4, dtype=dtype)).dtype == torch.float32


@pytest.mark.parametrize("name", KEEPS)
def test_other_operators_keep_the_type(name):
    for dtype in (torch.float32, torch.bfloat16):
        with torch.autocast("npu", dtype=torch.bfloat16):
            assert KEEPS[name](ones(4, 4, dtype=dtype)).dtype == dtype


@pytest.mark.parametrize(
    "combine",
    [
        lambda x, y: torch.cat([x, y]),
        lambda x, y: torch.stack([x, y]),
        lambda x, y: torch.addcmul(x, y, y),
        lambda x, y: torch.dot(x[0], y[0]),
    ],
    ids=["cat", "stack", "addcmul", "dot"],
)
def test_mixed_types_are_promoted_to_the_widest(combine):
    with torch.autocast("npu", dtype=torch.bfloat16):
        assert combine(ones(4, 4), ones(4, 4, dtype=torch.bfloat16)).dtype == torch.float32


def test_values_equal_a_cast_by_hand():
    x, y = torch.randn(16, 16, device="npu"), torch.randn(16, 16, device="npu")
    with torch.autocast("npu", dtype=torch.bfloat16):
        product = x @ y
    assert torch.equal(product, x.bfloat16() @ y.bfloat16())


def test_gradients_come_in_the_parameters_type():
    layer = torch.nn.Linear(4, 4).npu()
    with torch.autocast("npu", dtype=torch.bfloat16):
        loss = layer(ones(2, 4)).sum()
    loss.backward()
    assert layer.weight.grad.dtype == torch.float32


def test_nested_regions_restore_type_and_state():
    with torch.autocast("npu", dtype=torch.bfloat16):
        with torch.autocast("npu", dtype=torch.float16):
            assert (ones(2, 2) @ ones(2, 2)).dtype == torch.float16
            with torch.autocast("npu", enabled=False):
                assert (ones(2, 2) @ ones(2, 2)).dtype == torch.float32
            assert (ones(2, 2) @ ones(2, 2)).dtype == torch.float16
        assert (ones(2, 2) @ ones(2, 2)).dtype == torch.bfloat16
    assert not torch.is_autocast_enabled("npu")


def test_a_region_of_one_device_leaves_the_other_alone():
    on_cpu = torch.ones(2, 2)
    with torch.autocast("npu", dtype=torch.bfloat16):
        assert (on_cpu @ on_cpu).dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (ones(2, 2) @ ones(2, 2)).dtype == torch.float32
        assert (on_cpu @ on_cpu).dtype == torch.bfloat16


def test_integers_and_doubles_are_not_cast():
    with torch.autocast("npu", dtype=torch.bfloat16):
        double = ones(2, 2, dtype=torch.float64)
        assert (double @ double).dtype == torch.float64
        integer = ones(2, 2, dtype=torch.int32)
        assert (integer @ integer).dtype == torch.int32


def test_casts_of_a_parameter_are_kept_for_the_region():
    weight = torch.nn.Parameter(ones(64, 64))
    x = ones(64, 64)

    def casts() -> int:
        import torch_npu_sim

        with torch_npu_sim.trace() as trace:
            with torch.autocast("npu", dtype=torch.bfloat16):
                for _ in range(4):
                    torch.nn.functional.linear(x.bfloat16(), weight)
        return sum("copy" in kernel.op for kernel in trace.kernels)

    assert casts() == 4 + 1


def test_an_unsupported_type_warns_and_switches_off():
    with pytest.warns(UserWarning, match="(?i)npu autocast.*float16"):
        with torch.autocast("npu", dtype=torch.float32):
            assert not torch.is_autocast_enabled("npu")


def test_binary_cross_entropy_is_refused_with_the_way_out():
    with torch.autocast("npu"), pytest.raises(RuntimeError, match="with_logits"):
        functional.binary_cross_entropy(ones(2), ones(2))


def test_the_state_is_a_thread_s_own():
    import threading

    seen = []
    with torch.autocast("npu"):
        thread = threading.Thread(target=lambda: seen.append(torch.is_autocast_enabled("npu")))
        thread.start()
        thread.join()
    assert seen == [False]


def test_the_scaler_works_over_parameters_on_two_devices():
    weights = [torch.ones(1, device=f"npu:{index}", requires_grad=True) for index in range(2)]
    optimizer = torch.optim.SGD(weights, lr=1.0)
    scaler = torch.amp.GradScaler("npu", init_scale=256.0)
    scaler.scale(weights[0] * 0.5 + (weights[1] * float("inf")).to("npu:0")).backward()
    scaler.step(optimizer)
    scaler.update()
    assert [weight.item() for weight in weights] == [1.0, 1.0]
    assert scaler.get_scale() == 128.0


def test_unscaled_gradients_are_the_true_ones():
    weight = torch.ones(3, device="npu", requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=1.0)
    scaler = torch.amp.GradScaler("npu", init_scale=1024.0)
    scaler.scale((weight * 3).sum()).backward()
    scaler.unscale_(optimizer)
    assert weight.grad.tolist() == [3, 3, 3]


def test_the_scaler_s_state_comes_back():
    scaler = torch.amp.GradScaler("npu", init_scale=64.0)
    again = torch.amp.GradScaler("npu")
    again.load_state_dict(scaler.state_dict())
    assert again.state_dict() == scaler.state_dict()
