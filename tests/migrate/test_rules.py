"""What the linter finds in a line of code, and of which kind."""

import pytest

from torch_npu_sim.migrate.findings import Kind
from torch_npu_sim.migrate.module import read_module

IMPORTS = """
import os, subprocess
import torch
import torch.nn.functional as F
import torch.distributed as dist
from torch import nn
"""
FIRST = len(IMPORTS.splitlines()) + 1


def found(code: str) -> dict[Kind, list[str]]:
    """Returns the messages about `code`, by kind."""
    kinds: dict[Kind, list[str]] = {}
    for finding in read_module("m.py", IMPORTS + code):
        kinds.setdefault(finding.kind, []).append(finding.message)
    return kinds


REDIRECTED = {
    "x.cuda()": ".cuda() moves to npu",
    "torch.zeros(3, device='cuda:1')": '"cuda:1" as a device is npu',
    "x.to(f'cuda:{rank}')": '"cuda:" as a device is npu',
    "x.to('cuda' if ok else 'cpu')": '"cuda" as a device is npu',
    "device = 'cuda'": '"cuda" is npu where a listed function of torch takes it',
    "parser.add_argument('--device', default='cuda')": "where a listed function of torch takes it",
    "x.is_cuda": ".is_cuda asks for npu",
    "torch.cuda.synchronize()": "torch.cuda.synchronize is torch.npu.synchronize",
    "from torch.cuda import Stream as S": "torch.cuda.Stream is torch.npu.Stream",
    "import torch.cuda as c\nc.empty_cache()": "torch.cuda.empty_cache is torch.npu.empty_cache",
    "torch.cuda.amp.autocast()": "torch.cuda.amp.autocast is torch.npu.amp.autocast",
    "torch.cuda.CUDAGraph()": "the simulator has no graphs yet",
    "dist.init_process_group('nccl')": "the backend nccl is hccl",
    "dist.init_process_group(backend='cpu:gloo,cuda:nccl')": "the backend nccl is hccl",
    "torch.profiler.ProfilerActivity.CUDA": "ProfilerActivity.CUDA is the card's",
}


@pytest.mark.parametrize(("code", "message"), REDIRECTED.items(), ids=list(REDIRECTED))
def test_it_is_redirected(code: str, message: str) -> None:
    kinds = found(code)
    assert set(kinds) == {Kind.REDIRECTED}
    assert any(message in text for text in kinds[Kind.REDIRECTED])


NOT_REDIRECTED = {
    "x.device.type == 'cuda'": 'a comparison with "cuda" is false: the name is npu then',
    "if dist.get_backend() == 'nccl': pass": "the name is hccl then",
    "device in ('cuda', 'cpu')": "a comparison",
    "x.type('torch.cuda.FloatTensor')": "use .to(device, dtype)",
    "torch.cuda.nvtx.range_push('a')": "use torch_npu.npu.mstx",
    "from torch.cuda import nvtx": "use torch_npu.npu.mstx",
    "torch.cuda.no_such_name()": "torch.cuda.no_such_name has no counterpart",
    "torch.version.cuda": "is None",
    "torch.asarray(x, device='cuda')": 'torch.asarray takes "cuda" as it is: pass npu',
    "torch.backends.cudnn.benchmark = True": "without effect",
    "torch.backends.cuda.matmul.allow_tf32 = True": "allow_hf32",
    "os.environ['CUDA_VISIBLE_DEVICES'] = '0'": "use ASCEND_RT_VISIBLE_DEVICES",
    "os.environ.get('PYTORCH_CUDA_ALLOC_CONF')": "use PYTORCH_NPU_ALLOC_CONF",
    "subprocess.run('nvidia-smi -q', shell=True)": "use npu-smi",
    "torch.jit.script(f)": "returns its argument uncompiled",
}


@pytest.mark.parametrize(("code", "message"), NOT_REDIRECTED.items(), ids=list(NOT_REDIRECTED))
def test_it_is_not_redirected(code: str, message: str) -> None:
    kinds = found(code)
    assert set(kinds) == {Kind.NOT_REDIRECTED}
    assert any(message in text for text in kinds[Kind.NOT_REDIRECTED])


HOST = {
    "torch.lgamma(x)": "torch.lgamma runs on the host",
    "torch.linalg.eigh(x)": "torch.linalg.eigh runs on the host",
    "F.huber_loss(x, y)": "torch.nn.functional.huber_loss runs on the host",
    "nn.HuberLoss()": "torch.nn.HuberLoss runs on the host",
    "x.digamma()": ".digamma() runs on the host, if it is a tensor's",
}


@pytest.mark.parametrize(("code", "message"), HOST.items(), ids=list(HOST))
def test_the_operator_runs_on_the_host(code: str, message: str) -> None:
    assert [text[: len(message)] for text in found(code)[Kind.HOST_OPERATOR]] == [message]


EXTENSIONS = {
    "import flash_attn": "npu_fusion_attention",
    "from flash_attn.bert_padding import pad_input": "npu_fusion_attention",
    "from apex.optimizers import FusedAdam": "torch_npu.optim",
    "import triton.language as tl": "triton-ascend",
    "from numba import cuda": "torch operators",
    "from torch.utils.cpp_extension import CUDAExtension\nCUDAExtension('a', [])": "CUDA sources",
    "from torch.utils import cpp_extension\ncpp_extension.load_inline('a')": "compiles",
}


@pytest.mark.parametrize(("code", "message"), EXTENSIONS.items(), ids=list(EXTENSIONS))
def test_it_is_an_extension(code: str, message: str) -> None:
    kinds = found(code)
    assert set(kinds) == {Kind.EXTENSION}
    assert message in kinds[Kind.EXTENSION][0]


FUSIONS = {
    "F.silu(a) * b": "npu_swiglu",
    "w * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps))": "npu_rms_norm",
    "self.rms_norm(x + residual)": "npu_add_rms_norm",
    "F.gelu(x @ w + bias)": "npu_fused_matmul",
    "torch.softmax(x, -1).sum(); torch.topk(scores.softmax(-1), 2)": "npu_moe_gating_top_k_softmax",
    "torch.optim.AdamW(p)": "torch_npu.optim.NpuFusedAdamW",
    "def rotate_half(x): pass": "npu_rotary_mul",
    "def f(q, k, v):\n  p = torch.softmax(q @ k.mT, -1)\n  return p @ v": "npu_fusion_attention",
    "def f(q, k, v):\n  s = torch.matmul(q, k.transpose(-2, -1))\n  return "
    "torch.matmul(s.softmax(-1), v)": "npu_fusion_attention",
}


@pytest.mark.parametrize(("code", "operator"), FUSIONS.items(), ids=list(FUSIONS))
def test_a_fused_operator_is_suggested_once(code: str, operator: str) -> None:
    kinds = found(code)
    assert set(kinds) == {Kind.FUSION}
    assert len(kinds[Kind.FUSION]) == 1
    assert operator in kinds[Kind.FUSION][0]


def test_every_suggested_operator_exists() -> None:
    import re

    from torch_npu_sim import _operators, optim
    from torch_npu_sim.migrate import advice

    texts = [*FUSIONS.values(), *advice.LIBRARIES.values()]
    names = {name for text in texts for name in re.findall(r"\bnpu_\w+", text)}
    assert len(names) > 12
    assert names <= _operators.names()
    fused = {name for text in texts for name in re.findall(r"NpuFused\w+", text)}
    assert fused <= set(optim.__all__)


NOTHING = [
    "x = {'device': 'cpu'}",
    "'''cuda'''",
    "# torch.cuda.nvtx\npass",
    "class A:\n    '''Uses cuda.'''",
    "f(q, k)",
    "def f(x):\n    return torch.softmax(x @ w, -1)",
    "a * b",
    "dist.init_process_group('gloo')",
    "import numba",
    "torch.cuda",
    "cuda.synchronize()",
]


@pytest.mark.parametrize("code", NOTHING)
def test_nothing_is_found(code: str) -> None:
    assert found(code) == {}


def test_a_finding_tells_its_line_and_column() -> None:
    (finding,) = read_module("m.py", IMPORTS + "x = 3\ny = x.cuda()\n")
    assert (finding.path, finding.line, finding.column) == ("m.py", FIRST + 1, 5)
    assert finding.code == "y = x.cuda()"


def test_what_the_host_runs_is_what_the_chip_lacks() -> None:
    import torch

    from torch_npu_sim.migrate import host_operators

    for name in host_operators.FUNCTIONS | host_operators.MODULES:
        found: object = torch
        for part in name.split(".")[1:]:
            found = getattr(found, part)
        assert callable(found), name
    assert all(hasattr(torch.Tensor, name) for name in host_operators.METHODS)
