"""Quantised tensors on npu: made there, moved, read, and computed with where the CPU can."""

import pytest
import torch


def _tensorwise(x: torch.Tensor, dtype: torch.dtype = torch.quint8) -> torch.Tensor:
    return torch.quantize_per_tensor(x, 0.1, 10, dtype)


def _channelwise(x: torch.Tensor) -> torch.Tensor:
    scales = torch.linspace(0.1, 0.5, x.shape[0], device=x.device)
    zeros = torch.zeros(x.shape[0], dtype=torch.long, device=x.device)
    return torch.quantize_per_channel(x, scales, zeros, 0, torch.qint8)


@pytest.mark.parametrize("dtype", [torch.quint8, torch.qint8, torch.qint32], ids=str)
@pytest.mark.parametrize("shape", [(1,), (3, 5), (0, 3)], ids=str)
def test_quantising_on_npu_gives_the_integers_of_the_cpu(same, dtype, shape) -> None:
    def run(x):
        q = _tensorwise(x, dtype)
        assert q.is_quantized and q.device == x.device
        return [q.int_repr(), q.dequantize(), q.q_scale(), q.q_zero_point(), str(q.qscheme())]

    same(run, torch.randn(shape))


def test_quantising_per_channel_equals_the_cpu(same) -> None:
    def run(x):
        q = _channelwise(x)
        return [q.int_repr(), q.dequantize(), q.q_per_channel_axis(), list(q.shape)]

    same(run, torch.randn(3, 5))


@pytest.mark.parametrize("quantize", [_tensorwise, _channelwise])
def test_quantised_tensors_move_to_npu_and_back(npu, quantize) -> None:
    q = quantize(torch.randn(3, 5))
    moved = q.to(npu)
    assert moved.is_quantized and moved.device == npu
    assert torch.equal(moved.int_repr().cpu(), q.int_repr())
    back = moved.cpu()
    assert back.is_quantized and torch.equal(back.int_repr(), q.int_repr())
    assert torch.equal(moved.dequantize().cpu(), q.dequantize())
    assert moved.to("npu:1").device == torch.device("npu:1")


CALLS = {
    "clone": lambda q: q.clone().int_repr(),
    "view": lambda q: q.view(-1).int_repr(),
    "slice": lambda q: q[1:, ::2].dequantize(),
    "transpose": lambda q: q.t().dequantize(),
    "contiguous": lambda q: q.t().contiguous().int_repr(),
    "relu": lambda q: torch.relu(q).int_repr(),
    "cat": lambda q: torch.cat([q, q]).int_repr(),
    "max": lambda q: q.max().dequantize() if q.max().is_quantized else q.max(),
    "add": lambda q: torch.ops.quantized.add(q, q, 0.2, 3).int_repr(),
    "mul": lambda q: torch.ops.quantized.mul(q, q, 0.2, 3).int_repr(),
    "equal": lambda q: torch.equal(q, q),
    "copy_": lambda q: (
        torch._empty_affine_quantized(
            q.shape, scale=0.1, zero_point=10, dtype=torch.quint8, device=q.device
        )
        .copy_(q)
        .int_repr()
    ),
    "sigmoid": lambda q: torch.sigmoid(q).int_repr(),
    "mean": lambda q: q.mean().dequantize(),
    "clamp": lambda q: torch.clamp(q, -1, 1).int_repr(),
    "tolist": lambda q: q.int_repr().tolist(),
    "fake": lambda q: torch.fake_quantize_per_tensor_affine(q.dequantize(), 0.1, 0, -128, 127),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_call_on_a_quantised_tensor_equals_the_cpu(same, call) -> None:
    same(lambda x: call(_tensorwise(x)), torch.randn(3, 5))


def test_quantised_linear_runs_on_npu(same) -> None:
    if "fbgemm" not in torch.backends.quantized.supported_engines:
        pytest.skip("this torch has no quantised engine")

    def run(x, w):
        packed = torch.ops.quantized.linear_prepack(
            torch.quantize_per_tensor(w, 0.1, 0, torch.qint8).cpu(), None
        )
        return torch.ops.quantized.linear(_tensorwise(x), packed, 0.2, 3).int_repr()

    same(run, torch.randn(3, 5), torch.randn(4, 5))


def test_repr_of_a_quantised_tensor_names_the_device(npu) -> None:
    assert "device='npu:0'" in repr(_tensorwise(torch.ones(2, device=npu)))
