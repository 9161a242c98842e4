"""Every public name of torch_npu 2.13 is there, and can be called or says why not."""

import json
from pathlib import Path

import pytest

from tests.python_session import PythonSession

LISTS = json.loads((Path(__file__).parent / "public_names.json").read_text())["names"]

# Objects whose attributes are options.
NOT_CALLABLE = {"config", "conv", "matmul"}
# Exposed in op-plugin's list, but no schema of the public 2.13.0 wheel has it.
ABSENT = {"npu_bmmV2"}


def test_the_lists_are_those_of_the_real_modules() -> None:
    sizes = {module: len(names) for module, names in LISTS.items()}
    assert sizes["torch_npu"] == 119
    assert sizes["torch_npu.npu"] == 142
    assert sizes["torch_npu.profiler"] == 14
    assert sizes["torch_npu.contrib"] == 26
    assert sizes["torch_npu.optim"] == 10
    assert sizes["torch_npu.npu.amp"] == 4


@pytest.mark.parametrize("module", LISTS)
def test_every_name_of_the_module_exists_and_can_be_called(
    module: str, shim: PythonSession
) -> None:
    found = shim.run(
        "import importlib, json\n"
        f"module = importlib.import_module({module!r})\n"
        f"names = {sorted(set(LISTS[module]) - ABSENT)!r}\n"
        "print(json.dumps([[n for n in names if not hasattr(module, n)],"
        " [n for n in names if not callable(getattr(module, n, print))]]))"
    )
    missing, not_callable = json.loads(found)
    assert missing == []
    assert set(not_callable) <= NOT_CALLABLE


def test_every_operator_of_the_wheel_is_an_attribute(shim: PythonSession) -> None:
    shim.run(
        "from torch_npu_sim import _operators\n"
        "names = _operators.names()\n"
        "assert len(names) > 380, len(names)\n"
        "other = {'get_npu_format'}\n"  # returns a Format instead of a number
        "assert all(getattr(torch_npu, n) is getattr(torch.ops.npu, n) for n in names - other)"
    )


REFUSALS = {
    "torch_npu.npu.graph()": "launch the operators eagerly",
    "torch_npu.npu.make_graphed_callables()": "call them as they are",
    "torch_npu.npu.super_kernel_scope_begin('x')": "launch the operators eagerly",
    "torch_npu.npu.npurt()": "use torch.npu.Stream",
    "torch_npu.npu.get_npu_overflow_flag()": "torch.isfinite",
    "torch_npu._C._distributed_c10d.ParallelStore()": "dist.TCPStore",
    "torch_npu.contrib.PSROIPool()(x, x)": "npu_ps_roi_pooling",
    "torch_npu.contrib.npu_fused_attention(x, x, x, x, 1.0, 1.0)": "npu_fused_attention_score_fwd",
    "contrib.MultiheadAttention(8, 2).npu()(x, x, x, 1, 4, 4)": "npu_multi_head_attention",
    "torchair.dynamo_export()": "torch.export",
    "torch.npu_swiglu(x)": "Use torch_npu.npu_swiglu instead",
}


@pytest.mark.parametrize(("call", "reason"), REFUSALS.items(), ids=list(REFUSALS))
def test_what_cannot_be_done_says_why(call: str, reason: str, shim: PythonSession) -> None:
    shim.run("import torchair; contrib = torch_npu.contrib; x = torch.ones(4, 8).npu()")
    message = shim.run(
        "try:\n"
        f"    {call}\n"
        "    print('nothing was raised')\n"
        "except (NotImplementedError, RuntimeError) as error:\n"
        "    print(error)"
    )
    assert reason in message
