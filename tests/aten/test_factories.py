"""Factories: values, dtypes and strides of what is made, and what the likes take over."""

import numpy
import pytest
import torch

MADE = {
    "zeros": lambda d: torch.zeros(2, 3, device=d),
    "ones_int": lambda d: torch.ones(2, 3, dtype=torch.int8, device=d),
    "full": lambda d: torch.full((2, 3), 2.5, device=d),
    "full_bool": lambda d: torch.full((2, 3), True, device=d),
    "full_complex": lambda d: torch.full((2,), 1 + 2j, device=d),
    "full_int": lambda d: torch.full((), 7, device=d),
    "arange": lambda d: torch.arange(7, device=d),
    "arange_float": lambda d: torch.arange(0.5, -2, -0.3, device=d),
    "arange_half": lambda d: torch.arange(5, dtype=torch.half, device=d),
    "arange_nothing": lambda d: torch.arange(0, device=d),
    "linspace": lambda d: torch.linspace(-1, 1, 9, device=d),
    "linspace_int": lambda d: torch.linspace(0, 10, 4, dtype=torch.int32, device=d),
    "linspace_one": lambda d: torch.linspace(3, 9, 1, device=d),
    "linspace_complex": lambda d: torch.linspace(0, 1j, 5, device=d),
    "logspace": lambda d: torch.logspace(0, 3, 7, base=2, device=d),
    "eye": lambda d: torch.eye(3, 5, device=d),
    "eye_bool": lambda d: torch.eye(3, dtype=torch.bool, device=d),
    "tensor": lambda d: torch.tensor([[1, 2], [3, 4]], device=d),
    "tensor_floats": lambda d: torch.tensor([1.5, 2], device=d),
    "tensor_bool": lambda d: torch.tensor(True, device=d),
    "tensor_nested_empty": lambda d: torch.tensor([[], []], device=d),
    "tensor_numpy": lambda d: torch.tensor(numpy.arange(6, dtype=numpy.int16)[::2], device=d),
    "as_tensor": lambda d: torch.as_tensor([1.0, 2.0], dtype=torch.half, device=d),
    "asarray": lambda d: torch.asarray(numpy.ones((2, 3), dtype=numpy.float32), device=d),
    "scalar_tensor": lambda d: torch.scalar_tensor(4, dtype=torch.int64, device=d),
    "complex": lambda d: torch.complex(torch.ones(3, device=d), torch.zeros(3, device=d)),
    "polar": lambda d: torch.polar(torch.ones(3, device=d), torch.arange(3.0, device=d)),
    "tril_indices": lambda d: torch.tril_indices(4, 5, -1, device=d),
    "triu_indices": lambda d: torch.triu_indices(4, 5, 1, device=d),
    "hann": lambda d: torch.hann_window(9, device=d),
    "hamming": lambda d: torch.hamming_window(8, False, device=d),
    "blackman": lambda d: torch.blackman_window(7, device=d),
    "bartlett": lambda d: torch.bartlett_window(6, device=d),
    "kaiser": lambda d: torch.kaiser_window(6, device=d),
    "fftfreq": lambda d: torch.fft.fftfreq(5, device=d),
    "rfftfreq": lambda d: torch.fft.rfftfreq(6, 0.5, device=d),
    "vander": lambda d: torch.vander(torch.arange(1, 4, device=d), 4),
    "meshgrid": lambda d: torch.meshgrid(
        torch.arange(3, device=d), torch.arange(2, device=d), indexing="xy"
    ),
    "cartesian": lambda d: torch.cartesian_prod(
        torch.arange(3, device=d), torch.arange(2, device=d)
    ),
    "combinations": lambda d: torch.combinations(
        torch.arange(4, device=d), 2, with_replacement=True
    ),
    "block_diag": lambda d: torch.block_diag(torch.ones(2, 1, device=d), torch.eye(2, device=d)),
    "bucketize": lambda d: torch.bucketize(
        torch.tensor([0.5, 2.0, 9.0], device=d), torch.tensor([1.0, 2.0, 3.0], device=d), right=True
    ),
    "one_hot": lambda d: torch.nn.functional.one_hot(torch.arange(3, device=d) % 2, 4),
    "empty_permuted": lambda d: torch.empty_permuted((2, 3, 4), (2, 0, 1), device=d).zero_(),
    "empty_strided": lambda d: torch.empty_strided((2, 3), (1, 4), device=d).zero_(),
    "channels_last": lambda d: torch.empty(
        (2, 3, 4, 5), memory_format=torch.channels_last, device=d
    ).zero_(),
}


@pytest.mark.parametrize("make", MADE.values(), ids=MADE.keys())
def test_a_factory_makes_what_it_makes_on_the_cpu(same, make) -> None:
    same(make, torch.device("cpu"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64], ids=str)
@pytest.mark.parametrize("name", ["zeros", "linspace", "eye", "tensor_floats", "hann", "full"])
def test_a_factory_follows_the_default_dtype(same, name, dtype) -> None:
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(dtype)
        made = same(MADE[name], torch.device("cpu"))
    finally:
        torch.set_default_dtype(before)
    assert made.dtype == dtype


@pytest.mark.parametrize("name", ["zeros", "arange", "linspace", "eye", "tensor", "full", "hann"])
def test_a_factory_without_device_makes_on_the_device_of_the_context(npu, name) -> None:
    with torch.device(npu):
        made = MADE[name](None)
    assert made.device == npu
    assert made.cpu().equal(MADE[name]("cpu"))


LIKES = {
    "zeros_like": lambda x, **k: torch.zeros_like(x, **k),
    "ones_like": lambda x, **k: torch.ones_like(x, **k),
    "full_like": lambda x, **k: torch.full_like(x, 3, **k),
    "empty_like": lambda x, **k: torch.empty_like(x, **k).zero_(),
    "clone": lambda x, **k: x.clone(**{n: v for n, v in k.items() if n == "memory_format"}),
    "new_zeros": lambda x, **k: x.new_zeros(3, 4),
    "new_full": lambda x, **k: x.new_full((2, 2), 1),
    "new_tensor": lambda x, **k: x.new_tensor([1, 2]),
    "new_empty_strided": lambda x, **k: x.new_empty_strided((2, 3), (3, 1)).zero_(),
}
LAYOUTS = {
    "dense": lambda: torch.ones(2, 3, 4, 5),
    "permuted": lambda: torch.ones(2, 3, 4, 5).permute(3, 1, 0, 2),
    "channels_last": lambda: torch.ones(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "gaps": lambda: torch.ones(2, 3, 4, 10)[..., ::2],
    "expanded": lambda: torch.ones(1, 3, 1, 5).expand(2, 3, 4, 5),
    "nothing": lambda: torch.ones(2, 0, 4, 5),
}


@pytest.mark.parametrize("like", LIKES.values(), ids=LIKES.keys())
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_a_like_takes_the_strides_it_takes_on_the_cpu(same, layout, like) -> None:
    same(like, layout())
    same(lambda x: like(x, memory_format=torch.contiguous_format), layout())


@pytest.mark.parametrize("dtype", [torch.int64, torch.bfloat16, torch.complex64], ids=str)
@pytest.mark.parametrize("name", ["zeros_like", "ones_like", "full_like", "empty_like"])
def test_a_like_takes_another_dtype_and_device(npu, name, dtype) -> None:
    x = torch.ones(2, 3).t()
    made = LIKES[name](x, dtype=dtype, device=npu)
    assert (made.device, made.dtype, made.stride()) == (npu, dtype, x.stride())
    assert made.cpu().equal(LIKES[name](x, dtype=dtype))


REFUSED = {
    "arange_step": lambda d: torch.arange(0, 5, 0, device=d),
    "arange_direction": lambda d: torch.arange(0, 5, -1, device=d),
    "arange_infinite": lambda d: torch.arange(0, float("inf"), device=d),
    "linspace_steps": lambda d: torch.linspace(0, 1, -1, device=d),
    "eye_size": lambda d: torch.eye(-1, device=d),
    "negative_size": lambda d: torch.empty(2, -3, device=d),
    "strided_size": lambda d: torch.empty_strided((2, 3), (1,), device=d),
    "negative_stride": lambda d: torch.empty_strided((2, 3), (-1, 1), device=d),
    "ragged": lambda d: torch.tensor([[1, 2], [3]], device=d),
    "channels_last_of_3": lambda d: torch.empty(
        (2, 3, 4), memory_format=torch.channels_last, device=d
    ),
    "tril": lambda d: torch.tril_indices(-1, 2, device=d),
    "hann": lambda d: torch.hann_window(-1, device=d),
}


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_made_is_refused_in_the_words_of_the_cpu(npu, make) -> None:
    texts = []
    for device in ("cpu", npu):
        with pytest.raises((RuntimeError, ValueError, TypeError)) as error:
            make(device)
        texts.append((error.type, str(error.value)))
    assert texts[0] == texts[1]
