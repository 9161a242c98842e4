"""Rows as publishers write them become cases, or say why they cannot."""

import json

import pytest

from torch_npu_sim.validation.case import Case
from torch_npu_sim.validation.published import case_of
from torch_npu_sim.works.registry import NotExpressibleError

CANN_BENCH = "hicann/cann-bench@d59d44c tasks/metadata/950pr.json"


def row(setup: str, **changes: str) -> dict[str, str]:
    """A published row; what is not stated is a task duration of 10 us on the 950PR."""
    return {
        "source": CANN_BENCH,
        "device": "Ascend950PR",
        "kind": "vector",
        "setup": setup,
        "metric": "task_duration",
        "value": "10",
        "unit": "us",
    } | changes


def cann_bench(name: str, shapes: list, dtypes: list, **attributes: object) -> str:
    """The set-up text of a cann-bench row."""
    content = {"shape": shapes, "dtype": dtypes, "attrs": attributes}
    return f"level1/{name}#7 {json.dumps(content)} roofline_us=1 kernels=X×1 SINGLE_KERNEL"


def test_a_cann_bench_row_keeps_shapes_dtypes_and_attributes():
    case = case_of(row(cann_bench("softmax", [[8, 16]], ["float16"], dim=0)))
    assert (case.operator, case.shapes, case.dtypes) == ("softmax", ([8, 16],), ("float16",))
    assert case.attributes == {"dim": 0}
    assert case.single_kernel
    assert case.label == "level1/softmax#7"


def test_a_kernel_of_its_own_design_says_why_and_keeps_it_in_the_table():
    case = case_of(
        row(
            "MXFP4 GEMM m,k,n=2048,2048,2048 base 256x256x256 (a5)",
            source="hw-native-sys/pto-isa@3186c38 kernels/*/README.md",
            device="Ascend950PR",
        )
    )
    assert case.own_design
    assert not case.single_kernel
    assert Case.from_row(case.row()) == case


def test_rows_whose_publisher_sweeps_the_cache_are_cold():
    setup = cann_bench("gelu", [[8]], ["float16"])
    warm = "hicann/cann-bench@d59d44c bench_lab/kernel_bench/metadata/950pr.json"
    assert case_of(row(setup)).cold
    assert not case_of(row(setup, source=warm)).cold


@pytest.mark.parametrize(
    ("setup", "operator", "shapes"),
    [
        ("bfloat16 M=16 N=7168 K=2048", "matmul", ([16, 2048], [2048, 7168])),
        ("FP8 dense M=64 N=2112 K=7168", "matmul", ([64, 7168], [7168, 2112])),
        ("FP16 matmul M=128 N=12288 K=12288", "matmul", ([128, 12288], [12288, 12288])),
        ("MXFP4 GEMM m,k,n=2040,8192,8100 base 256x256x256 (a5)", "matmul",
         ([2040, 8192], [8192, 8100])),
        ("MXFP8(e5m2,e8m0 scale) GEMM m=k=n=2048, base 128x128x256 (a5, 32 AIC)", "matmul",
         ([2048, 2048], [2048, 2048])),
        ("q_proj 16x5120x5120 bf16, 20 blocks 1 wave", "matmul", ([16, 5120], [5120, 5120])),
        ("causal prefill bf16 H32 KV8 D128 B=1 S=512", "gqa",
         ([1, 512, 32, 128], [1, 512, 8, 128], [1, 512, 8, 128])),
        ("decode bf16 H32 KV8 D128 B=16 kv_len=1024", "gqa",
         ([16, 1, 32, 128], [16, 1024, 8, 128], [16, 1024, 8, 128])),
        ("FlashAttention fwd fp16 1 head D=128 S0=S1=4096 torch_npu", "mha",
         ([1, 4096, 1, 128],) * 3),
        ("softmax shape 4096x32 fp16", "softmax", ([4096, 32],)),
        ("grouped masked 4 groups m=256 N7168 K2048", "grouped_matmul",
         ([1024, 2048], [4, 2048, 7168])),
    ],
)  # fmt: skip
def test_every_publishers_form_gives_operator_and_shapes(setup, operator, shapes):
    case = case_of(row(setup, source="another", device="H100-SXM"))
    assert case.operator == operator
    assert case.shapes == shapes


@pytest.mark.parametrize(
    ("how", "attributes"),
    [
        ("tile 128B", {"run": 128, "block_rows": 1}),
        ("tile 128KB", {"run": 131072, "block_rows": 1}),
        ("re-read 4x sliced (L2 hit 66.6%)", {"sweeps": 4, "sliced": True}),
    ],
)
def test_a_copy_into_the_cores_says_its_commands(how, attributes):
    setup = f"DataCopy GM->UB [12288,12288] half {how}"
    case = case_of(row(setup, source="asc-devkit"))
    assert (case.operator, case.shapes) == ("data_copy", ([12288, 12288],))
    assert attributes.items() <= case.attributes.items()


def test_a_rate_becomes_the_time_of_its_work():
    case = case_of(
        row("FP8 dense M=64 N=2112 K=7168", metric="throughput", value="206", unit="TFLOPS")
    )
    assert case.unit == "us"
    assert case.value == pytest.approx(2 * 64 * 2112 * 7168 / 206e6)


def test_cores_that_a_row_states_are_the_chips():
    setup = "FlashAttention fwd fp16 D=128, 2 AICs, S0=256 S1=1024"
    case = case_of(row(setup, device="Ascend A3 die", source="another"))
    assert case.chip == "ascend910c"
    assert case.overrides == {"cube_cores": 2, "vector_cores": 4}
    assert case.shapes[:2] == ([1, 256, 1, 128], [1, 1024, 1, 128])


def test_the_pipe_of_a_row_is_what_is_compared():
    setup = "matmul_high_performance FP16 8192^3 C8 final"
    case = case_of(row(setup, metric="mac_time", value="2549.7", source="asc-devkit"))
    assert (case.quantity, case.chip) == ("cube", "ascend950pr_128g")
    ratio = case_of(row(setup, metric="mte2_ratio", value="90", unit="%", source="asc-devkit"))
    assert ratio.quantity == "share:mte2"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kind": "e2e"}, "not a kernel on one card"),
        ({"setup": cann_bench("all_gather_matmul", [[8, 8]], ["float16"])}, "other cards"),
        ({"setup": "something else"}, "no form of set-up fits"),
        ({"device": "TPU"}, "no preset for TPU"),
        ({"unit": "cycles"}, "metric task_duration in cycles"),
        ({"setup": "matmul_high_performance FP16 8192^3 C1 single core"}, "before its optim"),
    ],
)
def test_a_row_that_cannot_be_asked_says_why(changes, reason):
    base = row(cann_bench("gelu", [[8]], ["float16"]))
    with pytest.raises(NotExpressibleError, match=reason):
        case_of(base | changes)


def test_a_case_survives_the_table():
    case = case_of(row(cann_bench("foreach_norm", [[[8, 4], [2]]], ["float32"], scalar=2.0)))
    assert Case.from_row(case.row()) == case
