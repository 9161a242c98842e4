"""docs/operators.md is what the code says, and what it says of the operators holds."""

from pathlib import Path

import pytest

from torch_npu_sim.testing.describer_kinds import DescriberKinds
from torch_npu_sim.testing.operator_table import OperatorTests, lines, rows

ROOT = Path(__file__).parents[2]


def test_the_committed_table_is_current() -> None:
    committed = (ROOT / "docs/operators.md").read_text().splitlines()
    assert committed == lines(rows()), "run python -m torch_npu_sim.testing.operator_table"


def test_every_schema_has_a_row() -> None:
    assert len(rows()) == 407


def test_what_is_built_is_tested() -> None:
    kernels = [row for row in rows() if row.status in {"built", "raises"}]
    assert [row.name for row in kernels if not row.test] == []


def test_only_kernels_that_always_raise_have_no_work() -> None:
    silent = [row.name for row in rows() if row.status == "raises"]
    assert silent == [
        "npu_apply_adam",
        "npu_apply_adam_w",
        "npu_grouped_matmul_swiglu_quant",
        "npu_mla_prolog_v2",
        "npu_quant_grouped_matmul_dequant",
    ]


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("npu_swiglu", ["vector"]),
        ("npu_rms_norm", ["row"]),
        ("npu_fused_linear_online_max_sum", ["matmul"]),
        ("npu_confusion_transpose", ["copy"]),
        ("npu_apply_adam_w.out", ["vector"]),
        ("npu_gather_sparse_index", ["gather"]),
        ("npu_nonsense", []),
    ],
)
def test_the_kind_of_work_is_read_from_the_describer(name: str, kinds: list[str]) -> None:
    assert DescriberKinds(ROOT / "csrc").of(name) == kinds


def test_a_test_that_only_mentions_an_operator_in_prose_is_not_its_test(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text('"""About npu_x."""\nimport torch\nD = torch.float16\n')
    (tmp_path / "test_b.py").write_text("import torch\nD = torch.int8\ntorch.ops.npu.npu_x\n")
    tests = OperatorTests(tmp_path)
    assert tests.file_of("npu_x") == "test_b.py"
    assert tests.dtypes_of("npu_x") == ["int8"]
