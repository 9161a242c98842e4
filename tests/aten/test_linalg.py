"""Linear algebra: factorisations, solvers and products, single, in batches, of nothing."""

import pytest
import torch

SQUARE = {
    "det": torch.linalg.det,
    "slogdet": torch.linalg.slogdet,
    "inv": torch.linalg.inv,
    "inv_ex": torch.linalg.inv_ex,
    "pinv": torch.linalg.pinv,
    "qr": torch.linalg.qr,
    "lu": torch.linalg.lu,
    "lu_factor": torch.linalg.lu_factor,
    "svdvals": torch.linalg.svdvals,
    "matrix_rank": torch.linalg.matrix_rank,
    "matrix_power": lambda a: torch.linalg.matrix_power(a, 3),
    "matrix_power_negative": lambda a: torch.linalg.matrix_power(a, -2),
    "matrix_exp": torch.linalg.matrix_exp,
    "matrix_norm": torch.linalg.matrix_norm,
    "matrix_norm_nuclear": lambda a: torch.linalg.matrix_norm(a, "nuc"),
    "cond": torch.linalg.cond,
    "cholesky": lambda a: torch.linalg.cholesky(a @ a.mH + torch.eye(3, device=a.device)),
    "eigvalsh": lambda a: torch.linalg.eigvalsh(a + a.mH),
    "eigvals": torch.linalg.eigvals,
    "solve": lambda a: torch.linalg.solve(a, a.mT),
    "solve_right": lambda a: torch.linalg.solve(a, a.mT, left=False),
    "solve_triangular": lambda a: torch.linalg.solve_triangular(a.triu(), a, upper=True),
    "lstsq": lambda a: torch.linalg.lstsq(a, a.mT).solution,
    "ldl_factor": lambda a: torch.linalg.ldl_factor(a + a.mT),
    "householder": lambda a: torch.linalg.householder_product(a, a[..., 0]),
    "vecdot": lambda a: torch.linalg.vecdot(a, a),
    "cross": lambda a: torch.linalg.cross(a, a.roll(1, -1)),
    "multi_dot": lambda a: torch.linalg.multi_dot([a.reshape(-1, 3)[:3], a.reshape(-1, 3)[:3]]),
    "kron": lambda a: torch.kron(a, a),
    "trace": lambda a: torch.diagonal(a, dim1=-2, dim2=-1).sum(-1),
    "tril": lambda a: a.tril(-1),
    "triu": lambda a: a.triu(1),
}
# The CPU itself gives other last bits from call to call: they depend on where its work space lies.
INEXACT = (SQUARE["lstsq"],)
BATCHES = {
    "single": lambda a: a[0, 0],
    "batch": lambda a: a[0],
    "two_batches": lambda a: a,
    "transposed": lambda a: a.mT,
    "gaps": lambda a: a[:, ::2],
    "no_batch": lambda a: a[:0],
}


def _matrices(dtype: torch.dtype) -> torch.Tensor:
    noise = torch.testing.make_tensor((2, 4, 3, 3), dtype=dtype, device="cpu", low=-1, high=1)
    return noise + 3 * torch.eye(3, dtype=dtype)


@pytest.mark.parametrize("call", SQUARE.values(), ids=SQUARE.keys())
@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES.keys())
def test_linear_algebra_of_each_batch_equals_the_cpu(same, call, batch) -> None:
    a = batch(_matrices(torch.float32))
    if a.numel() == 0 and call is SQUARE["multi_dot"]:
        pytest.skip("there is no matrix to multiply")
    same(call, a, exact=call not in INEXACT)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex64], ids=str)
@pytest.mark.parametrize("call", SQUARE.values(), ids=SQUARE.keys())
def test_linear_algebra_of_each_dtype_equals_the_cpu(same, call, dtype) -> None:
    same(call, _matrices(dtype)[0], exact=call not in INEXACT)


PRODUCTS = {
    "vector_vector": ((3,), (3,)),
    "matrix_vector": ((4, 3), (3,)),
    "vector_matrix": ((3,), (3, 5)),
    "matrix_matrix": ((4, 3), (3, 5)),
    "batch_matrix": ((2, 4, 3), (3, 5)),
    "batch_vector": ((2, 4, 3), (3,)),
    "broadcast": ((2, 1, 4, 3), (6, 3, 5)),
    "no_inner": ((4, 0), (0, 5)),
    "no_rows": ((0, 3), (3, 5)),
    "no_batch": ((0, 4, 3), (0, 3, 5)),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.complex64])
@pytest.mark.parametrize("shapes", PRODUCTS.values(), ids=PRODUCTS.keys())
def test_matmul_of_each_pair_of_shapes_equals_the_cpu(same, shapes, dtype) -> None:
    a, b = (
        torch.testing.make_tensor(shape, dtype=dtype, device="cpu", low=-3, high=3)
        for shape in shapes
    )
    same(torch.matmul, a, b)


@pytest.mark.parametrize("shapes", PRODUCTS.values(), ids=PRODUCTS.keys())
def test_matmul_gradients_equal_the_cpu(same, shapes) -> None:
    def run(a, b):
        return torch.autograd.grad(torch.matmul(a, b).sum(), (a, b))

    same(run, *(torch.randn(shape).requires_grad_() for shape in shapes))


GRADIENTS = ("det", "slogdet", "inv", "qr", "svdvals", "matrix_exp", "cholesky", "solve", "pinv")


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_of_linear_algebra_equal_the_cpu(same, name) -> None:
    def run(a):
        results = SQUARE[name](a)
        parts = results if isinstance(results, tuple) else (results,)
        return torch.autograd.grad(sum(part.sum() for part in parts), a)

    same(run, _matrices(torch.float64)[0].requires_grad_())


REFUSED = {
    "inv_singular": lambda d: torch.linalg.inv(torch.zeros(3, 3, device=d)),
    "solve_singular": lambda d: torch.linalg.solve(
        torch.zeros(3, 3, device=d), torch.ones(3, device=d)
    ),
    "cholesky_indefinite": lambda d: torch.linalg.cholesky(-torch.eye(3, device=d)),
    "inv_not_square": lambda d: torch.linalg.inv(torch.ones(2, 3, device=d)),
    "inv_integer": lambda d: torch.linalg.inv(torch.ones(3, 3, dtype=torch.int64, device=d)),
    "matmul_shapes": lambda d: torch.ones(2, 3, device=d) @ torch.ones(2, 3, device=d),
    "matmul_dtypes": lambda d: torch.ones(2, 2, device=d) @ torch.ones(2, 2, device=d).half(),
    "bmm_batches": lambda d: torch.bmm(
        torch.ones(2, 2, 2, device=d), torch.ones(3, 2, 2, device=d)
    ),
    "mm_of_vector": lambda d: torch.mm(torch.ones(2, device=d), torch.ones(2, 2, device=d)),
    "addmm_bias": lambda d: torch.addmm(
        torch.ones(3, device=d), torch.ones(2, 2, device=d), torch.ones(2, 2, device=d)
    ),
    "dot_shapes": lambda d: torch.dot(torch.ones(2, device=d), torch.ones(3, device=d)),
    "cross_of_two": lambda d: torch.linalg.cross(torch.ones(2, device=d), torch.ones(2, device=d)),
    "einsum": lambda d: torch.einsum(
        "ij,jk", torch.ones(2, 3, device=d), torch.ones(2, 3, device=d)
    ),
}


@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED.keys())
def test_impossible_linear_algebra_is_refused_in_the_words_of_the_cpu(npu, call) -> None:
    texts = []
    for device in ("cpu", npu):
        with pytest.raises(RuntimeError) as error:
            call(device)
        texts.append((error.type, str(error.value)))
    assert texts[0] == texts[1]
