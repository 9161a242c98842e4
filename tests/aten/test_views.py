"""Views: geometry as on the CPU, bytes shared with the base."""

import pytest
import torch

VIEWS = {
    "as_strided": lambda x: x.as_strided((2, 3), (1, 2), 1),
    "view": lambda x: x.view(-1),
    "view_2d": lambda x: x.view(8, 3),
    "unflatten": lambda x: x.unflatten(1, (2, 3)),
    "unfold": lambda x: x.unfold(1, 3, 2),
    "expand": lambda x: x.unsqueeze(1).expand(4, 5, 6),
    "select": lambda x: x.select(1, -2),
    "slice": lambda x: x[1:-1:2, 1:],
    "empty_slice": lambda x: x[2:2],
    "diagonal": lambda x: x.diagonal(1),
    "chunk": lambda x: x.chunk(4, 1),
    "split": lambda x: x.split([1, 2, 3], 1),
    "unbind": lambda x: x.unbind(1),
    "tensor_split": lambda x: x.tensor_split(5, 1),
    "hsplit": lambda x: x.hsplit(3),
    "narrow": lambda x: x.narrow(1, 2, 3),
    "movedim": lambda x: x.view(2, 2, 6).movedim(0, 2),
    "permute": lambda x: x.view(2, 2, 6).permute(2, 0, 1),
    "T": lambda x: x.T,
    "mT": lambda x: x.view(2, 2, 6).mT,
    "mH": lambda x: x.mH,
    "squeeze": lambda x: x.view(4, 1, 6, 1).squeeze(),
    "unsqueeze": lambda x: x.unsqueeze(-1),
    "view_dtype_same": lambda x: x.view(torch.int32),
    "view_dtype_small": lambda x: x.view(torch.uint8),
    "view_dtype_large": lambda x: x.view(torch.float64),
    "view_as_complex": lambda x: torch.view_as_complex(x.view(4, 3, 2)),
    "real_of_complex": lambda x: torch.view_as_complex(x.view(4, 3, 2)).real,
    "imag_of_complex": lambda x: torch.view_as_complex(x.view(4, 3, 2)).imag,
    "imag_of_conj": lambda x: torch.view_as_complex(x.view(4, 3, 2)).conj().imag,
    "view_as_real": lambda x: torch.view_as_real(torch.view_as_complex(x.view(4, 3, 2)).t()),
    "detach": lambda x: x.detach(),
    "alias": lambda x: torch.ops.aten.alias(x),
    "swapaxes": lambda x: x.swapaxes(0, 1),
    "view_as": lambda x: x.view_as(torch.empty(3, 8)),
    "ravel": lambda x: x.ravel(),
    "reshape_alias": lambda x: x.t().reshape(3, 2, 4),
    "atleast_3d": lambda x: torch.atleast_3d(x),
    "broadcast_to": lambda x: torch.broadcast_to(x, (2, 4, 6)),
    "chained": lambda x: x[1:].t()[::2].unsqueeze(0).expand(3, 3, 3)[1].diagonal().unfold(0, 2, 1),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS.keys())
def test_view_has_the_geometry_and_the_bytes_of_the_cpu_view(same, view) -> None:
    def run(x):
        results = view(x)
        parts = results if isinstance(results, tuple) else (results,)
        for part in parts:
            assert part.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()
            if part.numel():
                offset = part.storage_offset() * part.element_size()
                assert part.data_ptr() - x.data_ptr() == offset
        return list(parts)

    same(run, torch.randn(4, 6))


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS.keys())
def test_view_is_tracked_as_a_view_of_its_base(same, view) -> None:
    def run(x):
        results = view(x)
        first = results[0] if isinstance(results, tuple) else results
        return [first._is_view(), first._base is x, first._version]

    same(run, torch.randn(4, 6))


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS.keys())
def test_gradient_flows_through_a_view(same, view) -> None:
    def run(x):
        y = x * 2
        results = view(y)
        parts = results if isinstance(results, tuple) else (results,)
        for part in parts:
            if part.requires_grad and part.numel():
                part.abs().sum().backward(retain_graph=True)
        return x.grad if x.grad is not None else 0

    same(run, torch.randn(4, 6).requires_grad_())


def test_writing_a_view_raises_no_copy(same) -> None:
    def run(x):
        x.unfold(0, 2, 2)[0].fill_(5)
        x.view(torch.int32)[-1] = 0
        torch.view_as_complex(x.view(4, 3, 2)).imag.zero_()
        return x

    same(run, torch.randn(4, 6))


@pytest.mark.parametrize(
    "write",
    [
        lambda x: x.unsqueeze_(1),
        lambda x: x.unsqueeze_(0).squeeze_(),
        lambda x: x.t_(),
        lambda x: x.transpose_(0, 1),
        lambda x: x.swapdims_(0, 1),
        lambda x: x.as_strided_((2, 2), (1, 3), 1),
        lambda x: x.detach_(),
        lambda x: x.squeeze_(0),
    ],
)
def test_in_place_view_changes_the_tensor_itself(same, write) -> None:
    def run(x):
        pointer = x.untyped_storage().data_ptr()
        assert write(x) is x
        assert x.untyped_storage().data_ptr() == pointer
        return x

    same(run, torch.randn(4, 6))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x.t().view(-1),
        lambda x: x.view(5),
        lambda x: x.as_strided((100,), (1,)),
        lambda x: x.select(0, 9),
        lambda x: x.narrow(0, 3, 3),
        lambda x: x[:, :3].view(torch.float64),
        lambda x: torch.view_as_real(x),
        lambda x: x.unfold(0, 9, 1),
        lambda x: x.expand(3, 6),
    ],
)
def test_an_impossible_view_is_refused_in_the_words_of_the_cpu(npu, call) -> None:
    messages = []
    for device in ("cpu", npu):
        with pytest.raises((RuntimeError, IndexError)) as error:
            call(torch.zeros(4, 6, device=device))
        messages.append(str(error.value).splitlines()[0])
    assert messages[0] == messages[1]


def test_is_set_to_holds_for_the_same_bytes_and_geometry(npu) -> None:
    x = torch.ones(3, 4, device=npu)
    assert x.is_set_to(x.view(3, 4))
    assert not x.is_set_to(x.t())
    assert not x.is_set_to(x.clone())


def test_channels_last_is_kept_by_operators(same) -> None:
    def run(x):
        y = x.contiguous(memory_format=torch.channels_last)
        assert y.is_contiguous(memory_format=torch.channels_last)
        z = torch.relu(y) + 1
        return (
            y,
            z,
            torch.empty_like(z).fill_(0),
            z.to(torch.float64),
            z.clone(),
            z[:, :1].contiguous(),
        )

    same(run, torch.randn(2, 3, 4, 5))
    same(lambda x: x.to(memory_format=torch.channels_last_3d), torch.randn(2, 3, 4, 5, 2))
