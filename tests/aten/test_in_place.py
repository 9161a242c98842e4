"""In-place operators write the tensor they are called on, and nothing else."""

import pytest
import torch

WRITES = {
    "add_": lambda x: x.add_(x),
    "mul_scalar_": lambda x: x.mul_(3),
    "neg_": lambda x: x.neg_(),
    "zero_": lambda x: x.zero_(),
    "fill_": lambda x: x.fill_(2),
    "copy_": lambda x: x.copy_(torch.ones_like(x)),
    "masked_fill_": lambda x: x.masked_fill_(x == x, 3),
    "index_fill_": lambda x: (
        x.index_fill_(0, torch.zeros(1, dtype=torch.long, device=x.device), 2)
        if x.numel() and x.dim()
        else x
    ),
    "square_": lambda x: x.square_(),
    "iadd": lambda x: x.__iadd__(1),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_in_place_result_is_the_tensor_itself_with_the_cpu_values(same, tensor, write) -> None:
    if any(s == 0 and n > 1 for s, n in zip(tensor.stride(), tensor.shape, strict=True)):
        tensor = tensor.contiguous()

    def call(x):
        result = write(x)
        assert result is x
        return result

    same(call, tensor)


@pytest.mark.parametrize("write", [WRITES["add_"], WRITES["mul_scalar_"]])
def test_writing_an_expanded_tensor_is_refused_in_the_words_of_the_cpu(npu, write) -> None:
    messages = []
    for device in ("cpu", npu):
        x = torch.ones(1, 3, device=device).expand(2, 3)
        with pytest.raises(RuntimeError) as error:
            write(x)
        messages.append(str(error.value))
    assert messages[0] == messages[1]


def test_a_write_through_a_view_reaches_the_base(same) -> None:
    def call(x):
        x[1:, ::2].t()[0].mul_(10)
        return x

    same(call, torch.arange(24.0).view(4, 6))


def test_overlapping_copy_within_a_tensor_gives_the_cpu_result(same) -> None:
    def call(x):
        x[1:].copy_(x[:-1].clone())
        return x

    same(call, torch.arange(9.0))


def test_copy_onto_a_partly_overlapping_view_behaves_as_on_the_cpu(npu) -> None:
    def outcome(device):
        x = torch.arange(9.0, device=device)
        try:
            x[1:].copy_(x[:-1])
        except RuntimeError as error:
            return str(error)
        return x.tolist()

    assert outcome("cpu") == outcome(npu)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x[1:].add_(x[:-1]),
        lambda x: torch.add(x[1:], 1, out=x[:-1]),
        lambda x: x.as_strided((3, 3), (1, 1)).mul_(2),
        lambda x: x.index_copy_(0, torch.tensor([0, 1], device=x.device), x[:2]),
        lambda x: x.scatter_(0, torch.tensor([0, 1], device=x.device), x[1:3]),
        lambda x: x.expand(3, 9).copy_(torch.ones(3, 9, device=x.device)),
    ],
)
def test_overlap_is_refused_where_the_cpu_refuses_it(npu, call) -> None:
    def outcome(device):
        x = torch.arange(9.0, device=device)
        try:
            return call(x).tolist()
        except RuntimeError as error:
            return str(error)

    assert outcome("cpu") == outcome(npu)


def test_in_place_promotion_is_refused_as_on_the_cpu(npu) -> None:
    with pytest.raises(
        RuntimeError, match="result type Float can't be cast to the desired output type Long"
    ):
        torch.ones(3, dtype=torch.long, device=npu).add_(0.5)


def test_in_place_with_another_device_is_refused(npu) -> None:
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        torch.ones(3, device=npu).add_(torch.ones(3))
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        torch.ones(3).add_(torch.ones(3, device=npu))


def test_each_write_raises_the_version_of_all_views(same) -> None:
    def call(x):
        view = x[1:]
        versions = [x._version, view._version]
        x.add_(1)
        versions += [x._version, view._version]
        view.mul_(2)
        versions += [x._version, view._version, x.detach()._version, x.data._version]
        torch.add(view, 1, out=view)
        x.data.add_(1)
        return versions + [x._version]

    same(call, torch.ones(4))


def test_deepest_view_shares_the_bytes_of_the_base(npu) -> None:
    x = torch.zeros(6, 8, device=npu)
    view = x[1:].select(1, 3).unsqueeze(0).expand(2, 5)[1, 2:]
    x.fill_(7)
    assert view.tolist() == [7.0, 7.0, 7.0]
    assert view.data_ptr() - x.data_ptr() == (3 * 8 + 3) * 4
