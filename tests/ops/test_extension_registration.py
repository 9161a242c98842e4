"""torch.ops.custom and torch.ops.cann_ops_transformer are there on demand, to the letter."""

from pathlib import Path

import pytest
import torch

import torch_npu_sim
from tests.conftest import RunPython

torch_npu_sim.enable_custom_ops()

SCHEMAS = (Path(__file__).parents[2] / "csrc/ops/extension_schemas.txt").read_text().splitlines()
ONLY_ON_910 = [
    "dsa_plan",
    "dsa_serve",
    "npu_dequant_swiglu_clamp_quant",
    "npu_gather_selection_kv_cache",
    "npu_rms_norm_dynamic_quant",
    "npu_swiglu_clip_quant",
]


def operator(schema: str) -> torch._ops.OpOverloadPacket:
    space, _, name = schema[: schema.index("(")].partition("::")
    return getattr(getattr(torch.ops, space), name)


def test_the_namespaces_are_empty_until_they_are_asked_for(run_python: RunPython) -> None:
    done = run_python(
        "import torch, torch_npu_sim\n"
        "names = torch._C._dispatch_get_all_op_names()\n"
        "spaces = ('custom::', 'cann_ops_transformer::')\n"
        "assert not [n for n in names if n.startswith(spaces)]\n"
        "try:\n"
        "    torch.ops.custom.npu_hc_pre\n"
        "    raise SystemExit('it is there')\n"
        "except AttributeError:\n"
        "    pass\n"
        "torch_npu_sim.enable_custom_ops()\n"
        "torch_npu_sim.enable_custom_ops()\n"
        "print(len([n for n in torch._C._dispatch_get_all_op_names() if n.startswith(spaces)]))\n"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(len(SCHEMAS))]


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema[: schema.index("(")])
def test_schemas_are_those_of_the_packages(schema: str) -> None:
    assert str(operator(schema).default._schema) == str(torch._C.parse_schema(schema))


@pytest.mark.parametrize("name", ONLY_ON_910)
def test_operators_of_the_910_are_refused(name: str) -> None:
    schema = next(s for s in SCHEMAS if s.startswith(f"custom::{name}("))
    x = torch.zeros(4, 8, device="npu")
    arguments = torch._C.parse_schema(schema).arguments
    tensors = [x for a in arguments if isinstance(a.type, torch.TensorType)]
    with pytest.raises(RuntimeError, match=f"{name}: .*ERR01007"):
        operator(schema)(*tensors)


def test_calls_with_cpu_tensors_are_refused() -> None:
    x = torch.zeros(2, 4, 8, dtype=torch.bfloat16)
    with pytest.raises(ValueError, match="npu_hc_pre_inv_rms|ERR01002"):
        torch.ops.custom.npu_hc_pre_inv_rms(x)


def test_written_arguments_count_a_version() -> None:
    x = torch.zeros(1, 1, 1, 8, device="npu")
    angles = torch.zeros(1, 1, 1, 4, device="npu")
    before = x._version
    torch.ops.custom.inplace_partial_rotary_mul(
        x, angles, angles, rotary_mode="interleave", partial_slice=[4, 8]
    )
    assert x._version > before
