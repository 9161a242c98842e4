"""Calls that make no sense on npu say so in torch.cuda's words; nothing crashes."""

import numpy as np
import pytest
import torch


def test_numpy_of_an_npu_tensor_is_refused(npu) -> None:
    message = (
        "can't convert npu:0 device type tensor to numpy. "
        "Use Tensor.cpu\\(\\) to copy the tensor to host memory first."
    )
    x = torch.ones(2, device=npu)
    with pytest.raises(TypeError, match=message):
        x.numpy()
    with pytest.raises(TypeError, match=message):
        np.asarray(x)
    assert x.numpy(force=True).tolist() == [1.0, 1.0]


def test_numpy_arrays_and_lists_become_npu_tensors(npu) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert torch.equal(torch.tensor(array, device=npu).cpu(), torch.from_numpy(array))
    assert torch.as_tensor(array, device=npu).device == npu
    assert torch.asarray(array, device=npu).device == npu
    assert torch.tensor([[1, 2], [3, 4]], device=npu).tolist() == [[1, 2], [3, 4]]
    assert torch.scalar_tensor(3, device=npu).item() == 3
    assert torch.as_tensor(torch.ones(2, device=npu)).device == npu


REFUSED = {
    "to_mkldnn": lambda d: torch.ones(2, 2, device=d).to_mkldnn(),
    "pin_memory": lambda d: torch.ones(2, device=d).pin_memory(),
    "pinned_empty": lambda d: torch.empty(2, device=d, pin_memory=True),
    "to_cuda": lambda d: torch.ones(2, device=d).cuda(),
    "to_foreign": lambda d: torch.ones(2, device=d).to("xpu"),
    "bad_index": lambda d: torch.ones(2, device="npu:99"),
    "negative_size": lambda d: torch.empty(-1, device=d),
    "mm_shapes": lambda d: torch.ones(2, 3, device=d) @ torch.ones(2, 3, device=d),
    "mm_dtypes": lambda d: (
        torch.ones(2, 2, device=d) @ torch.ones(2, 2, device=d, dtype=torch.double)
    ),
    "broadcast": lambda d: torch.ones(2, device=d) + torch.ones(3, device=d),
    "bool_minus": lambda d: (
        torch.ones(2, device=d, dtype=torch.bool) - torch.ones(2, device=d, dtype=torch.bool)
    ),
    "embedding_index": lambda d: torch.nn.functional.embedding(
        torch.tensor([9], device=d), torch.ones(3, 2, device=d)
    ),
    "cholesky": lambda d: torch.linalg.cholesky(-torch.eye(3, device=d)),
    "inverse": lambda d: torch.linalg.inv(torch.zeros(3, 3, device=d)),
    "softmax_dim": lambda d: torch.softmax(torch.ones(2, device=d), 3),
    "cudnn": lambda d: torch.cudnn_convolution(
        torch.ones(1, 1, 3, 3, device=d),
        torch.ones(1, 1, 1, 1, device=d),
        [0, 0],
        [1, 1],
        [1, 1],
        1,
        False,
        False,
        False,
    ),
    "int_softmax": lambda d: torch.softmax(torch.ones(2, device=d, dtype=torch.long), 0),
    "max_empty": lambda d: torch.empty(0, device=d).max(),
    "cross_device_index_add": lambda d: torch.ones(3, device=d).index_add_(
        0, torch.tensor([0]), torch.ones(1)
    ),
    "dlpack_like": lambda d: torch.ones(2, device=d).share_memory_().numpy(),
    "generator_index": lambda d: torch.Generator(device="npu:99"),
    "multinomial": lambda d: torch.multinomial(torch.zeros(3, device=d), 5),
    "bernoulli": lambda d: torch.bernoulli(torch.full((3,), 2.0, device=d)),
    "unknown_attribute": lambda d: torch.ops.aten.mkldnn_linear(
        torch.ones(2, 2, device=d), torch.ones(2, 2, device=d)
    ),
}


@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED.keys())
def test_a_senseless_call_raises_and_the_device_works_on(npu, call) -> None:
    with pytest.raises((RuntimeError, ValueError, IndexError, TypeError, AssertionError)) as error:
        call(npu)
    assert "INTERNAL ASSERT" not in str(error.value)
    assert str(error.value)
    assert (torch.ones(2, device=npu) + 1).tolist() == [2.0, 2.0]


SAME_WORDS = (
    "mm_shapes mm_dtypes broadcast bool_minus cholesky inverse softmax_dim int_softmax max_empty "
    "multinomial embedding_index negative_size"
)


@pytest.mark.parametrize("name", SAME_WORDS.split())
def test_a_wrong_argument_is_refused_in_the_words_of_the_cpu(npu, name) -> None:
    messages = []
    for device in ("cpu", npu):
        with pytest.raises((RuntimeError, ValueError, IndexError)) as error:
            REFUSED[name](device)
        messages.append(str(error.value).splitlines()[0])
    assert messages[0] == messages[1]


def test_empty_is_refused_with_an_index_that_no_card_has() -> None:
    with pytest.raises(RuntimeError, match="invalid device ordinal"):
        torch.empty(2, device="npu:99")
