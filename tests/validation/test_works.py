"""Works from shapes alone: torch's operators as their route says, fused ones by their tensors."""

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.works.call import Call
from torch_npu_sim.works.matmul import group_sizes
from torch_npu_sim.works.registry import NotExpressibleError, describe_call
from torch_npu_sim.works.text import kernels_of


def meta(*shape: int, dtype: torch.dtype = torch.float16) -> torch.Tensor:
    """A tensor without bytes."""
    return torch.empty(shape, dtype=dtype, device="meta")


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.softmax(x, -1),
        lambda x: torch.nn.functional.gelu(x),
        lambda x: x @ x.mT,
        lambda x: x.mT.contiguous(),
        lambda x: x.sum(0) * 2.5,
        lambda x: torch.topk(x, 3),
        lambda x: x.float().exp(),
        lambda x: x[1:3].clone(),
    ],
)
def test_shapes_alone_are_described_as_a_run_on_the_card(function):
    call = Call("operators", [meta(24, 40)], {})
    call.torch(function, call.tensor(0))
    x = torch.ones(24, 40, dtype=torch.float16, device="npu")
    with torch_npu_sim.trace() as trace:
        function(x)
    ran = [dict(kernel.fields) for kernel in trace.kernels]
    assert [kernel.work for kernel in call.kernels] == ran


def test_an_in_place_operator_writes_its_first_operand():
    call = Call("relu_", [meta(8)], {})
    call.torch(torch.relu_, call.tensor(0))
    (kernel,) = call.kernels
    assert kernel.writes[0] is call.tensor(0)


@pytest.mark.parametrize(
    ("name", "inputs", "attributes"),
    [
        ("cross_entropy_loss", [meta(8, 99), meta(8, 99)], {"reduction": "mean"}),
        ("conv_2d", [meta(1, 4, 8, 8), meta(8, 4, 3, 3)], {"strides": [1, 1], "pads": [1, 1]}),
        ("depthwise_conv_2d", [meta(1, 4, 8, 8), meta(4, 1, 3, 3)], {"pads": [1, 1, 1, 1]}),
        ("dilation_2d", [meta(1, 8, 8, 4), meta(3, 3, 4)], {"strides": [1, 2, 2, 1]}),
        ("grid_sampler_3d", [meta(1, 2, 4, 4, 4), meta(1, 4, 4, 4, 3)], {}),
        ("strided_slice", [meta(8, 9)], {"begin": [0, 0], "end": [8, 9], "strides": [1, 2]}),
        ("foreach_addcdiv_scalar", [[meta(8)], [meta(8)], [meta(8)]], {"scalar": 0.5}),
        ("apply_rotary_pos_emb", [meta(2, 8, 4, 64), meta(2, 8, 4, 64), meta(8, 32), meta(8, 32)],
         {}),
        ("conv_3d_backprop_filter",
         [meta(1, 4, 8, 8, 8), meta(8, 4, 3, 3, 3), meta(1, 8, 6, 6, 6)], {"strides": [1, 1, 1]}),
    ],
)  # fmt: skip
def test_a_published_operator_asks_something_of_the_card(name, inputs, attributes):
    kernels = describe_call(name, inputs, attributes)
    assert all(kernel.work["kind"] not in ("none", "host", "undescribed") for kernel in kernels)


def test_an_operator_without_a_description_is_tried_as_one_of_torch():
    (kernel,) = describe_call("maximum", [meta(8, 8), meta(8, 8)], {})
    assert kernel.op == "aten::maximum"
    assert kernel.work["read"] == 2 * 64 * 2


def test_an_unknown_operator_is_not_expressible():
    with pytest.raises(NotExpressibleError, match="no such operator"):
        describe_call("frobnicate", [meta(8)], {})


def test_groups_end_where_the_rows_do():
    assert group_sizes([2, 2, 5, 99], 8) == [2, 0, 3, 3]


def test_a_grouped_product_knows_the_rows_of_each_group():
    weight = meta(3, 16, 32)
    (kernel,) = describe_call("grouped_matmul", [meta(10, 16), weight], {"group_list": [1, 7, 10]})
    assert sorted(kernel.work["rows"]) == [1, 3, 6]
    assert (kernel.work["k"], kernel.work["n"]) == (16, 32)


def test_latent_attention_reads_its_values_with_its_keys():
    latent, rope = meta(2, 1, 128, 512), meta(2, 1, 128, 64)
    keys, key_rope = meta(2, 64, 1, 512), meta(2, 64, 1, 64)
    (kernel,) = describe_call("mla", [latent, rope, keys, key_rope, keys], {})
    work = kernel.work
    assert (work["qk_dim"], work["v_dim"], work["v_in_k"]) == (576, 512, True)
    assert (work["q_heads"], work["kv_heads"], work["kv_len"]) == (128, 1, 64)


@pytest.mark.parametrize(
    ("name", "inputs", "read", "written"),
    [
        ("rms_norm", [meta(4, 8), meta(8)], 2 * (32 + 8), 2 * 32 + 4 * 4),
        ("dynamic_quant", [meta(4, 8)], 2 * 32, 32 + 4 * 4),
        ("swi_glu", [meta(4, 8)], 2 * 32, 2 * 16),
        ("apply_adam_w", [meta(4, 8) for _ in range(4)], 4 * 64, 3 * 64),
        ("dynamic_mx_quant", [meta(4, 64)], 2 * 256, 256 + 8),
    ],
)
def test_a_fused_kernel_moves_the_bytes_of_its_tensors(name, inputs, read, written):
    (kernel,) = describe_call(name, inputs, {})
    assert (kernel.work["read"], kernel.work["written"]) == (read, written)


def test_a_line_names_a_product():
    (kernel,) = kernels_of("matmul 64x128x256 mxfp4")
    work = kernel.work
    assert (work["m"], work["k"], work["n"]) == (64, 128, 256)
    assert (work["a"], work["b"], work["out"]) == ("mxfp4", "mxfp4", "bf16")


def test_a_line_names_attention_with_fewer_key_heads():
    (kernel,) = kernels_of("attention h=32 kv=8 s=512 q=1 bf16 causal")
    assert (kernel.work["q_heads"], kernel.work["kv_heads"]) == (32, 8)
    assert (kernel.work["q_len"], kernel.work["kv_len"]) == (1, 512)
    assert kernel.work["causal"]


def test_a_line_names_any_operator_of_torch():
    (kernel,) = kernels_of("softmax 8x16 fp32 dim=0")
    assert kernel.op == "aten::_softmax"
    assert (kernel.work["rows"], kernel.work["columns"]) == (16, 8)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("", "expected an operator"),
        ("matmul 4x4 bf16", "one shape of 3 or 4 numbers"),
        ("matmul 4x4x4 bf17", "got 'bf17'"),
        ("attention s=8", "h=8"),
        ("softmax bf16", "expected a shape"),
    ],
)
def test_a_line_that_is_not_understood_says_what_is_missing(line, complaint):
    with pytest.raises(NotExpressibleError, match=complaint):
        kernels_of(line)
