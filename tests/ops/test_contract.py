"""The operators of torch_npu 2.13: registered to the letter, and honest about what is missing."""

from pathlib import Path

import pytest
import torch

import torch_npu_sim
from torch_npu_sim.testing.schemas import differences, registered

SCHEMAS = (Path(__file__).parents[2] / "csrc/ops/schemas.txt").read_text().splitlines()
ABSENT = [
    name
    for file in ("aclop_only.txt", "lacking.txt")
    for name in (Path(__file__).parents[2] / "csrc/ops" / file).read_text().split()
]


def test_every_schema_is_registered_to_the_letter() -> None:
    assert len(SCHEMAS) == 407
    assert differences(SCHEMAS) == []


@pytest.mark.parametrize(
    "change", [("Tensor input", "Tensor x"), ("dim=-1", "dim=0"), ("int dim", "int? dim")]
)
def test_a_changed_schema_is_a_difference(change: tuple[str, str]) -> None:
    lines = [s.replace(*change) if s.startswith("npu_swiglu(") else s for s in SCHEMAS]
    (complaint,) = differences(lines)
    assert complaint.startswith("npu_swiglu: expected")


def test_a_missing_and_a_surplus_operator_are_differences() -> None:
    lines = ["npu_nonsense(Tensor x) -> Tensor", *SCHEMAS[1:]]
    assert len(differences(lines)) == 2


def test_every_operator_is_a_name_of_the_package() -> None:
    names = {name.split(".")[0] for name in registered()}
    assert len(names) == 386
    for name in names:
        assert getattr(torch_npu_sim, name) is getattr(torch.ops.npu, name)
    assert names <= set(dir(torch_npu_sim))


def test_an_operator_that_the_card_lacks_says_so(npu: torch.device) -> None:
    with pytest.raises(RuntimeError, match="npu_silu: .*Ascend950PR_9579 lacks.*ERR01007"):
        torch_npu_sim.npu_silu(torch.ones(4, device=npu))


def test_an_operator_with_a_kernel_of_other_cards_says_so(npu: torch.device) -> None:
    logits, k, p = torch.ones(1, 4, device=npu), torch.ones(1, device=npu).int(), torch.ones(1)
    with pytest.raises(RuntimeError, match="npu_top_k_top_p_sample: .* lacks.*ERR01007"):
        torch_npu_sim.npu_top_k_top_p_sample(logits, k, p.npu())


def test_an_operator_not_built_yet_says_so(npu: torch.device) -> None:
    x = torch.ones(1, 1, 1, device=npu)
    with pytest.raises(NotImplementedError, match=r"torch_npu\._lstm_npu: not built in"):
        torch_npu_sim._lstm_npu(x, [x, x], [x, x], False, 1, 0.0, False, False)


def test_an_operator_refuses_tensors_of_the_cpu() -> None:
    with pytest.raises(ValueError, match="expected tensors on npu, got CPU tensors"):
        torch_npu_sim.npu_swiglu(torch.ones(4))


@pytest.mark.parametrize("name", ABSENT)
def test_no_kernel_is_built_for_an_operator_that_the_card_lacks(name: str) -> None:
    assert not torch._C._dispatch_has_kernel_for_dispatch_key(f"npu::{name}", "PrivateUse1")
