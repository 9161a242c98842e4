"""Layers whose kernels torch chooses by device: convolutions, norms, recurrence, losses, bags."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F


def _train(call):
    def run(*tensors):
        leaves = [t.requires_grad_() for t in tensors if t.is_floating_point()]
        out = call(*tensors)
        out.square().sum().backward()
        return [out, *[t.grad for t in leaves]]

    return run


CONVS = {
    "1d": (lambda x, w, b: F.conv1d(x, w, b, padding=1), (2, 4, 9), (6, 4, 3)),
    "1d_same": (lambda x, w, b: F.conv1d(x, w, b, padding="same"), (2, 4, 9), (6, 4, 3)),
    "2d": (lambda x, w, b: F.conv2d(x, w, b, stride=2, padding=1), (2, 4, 7, 9), (6, 4, 3, 3)),
    "2d_unbatched": (lambda x, w, b: F.conv2d(x, w, b), (4, 7, 9), (6, 4, 3, 3)),
    "2d_dilated": (lambda x, w, b: F.conv2d(x, w, b, dilation=2), (2, 4, 7, 9), (6, 4, 3, 3)),
    "2d_grouped": (lambda x, w, b: F.conv2d(x, w, b, groups=2), (2, 4, 7, 9), (6, 2, 3, 3)),
    "depthwise": (lambda x, w, b: F.conv2d(x, w, b, groups=4), (2, 4, 7, 9), (4, 1, 3, 3)),
    "1x1": (lambda x, w, b: F.conv2d(x, w, b), (1, 4, 1, 1), (6, 4, 1, 1)),
    "3d": (lambda x, w, b: F.conv3d(x, w, b), (1, 2, 4, 5, 6), (3, 2, 2, 2, 2)),
    "empty_batch": (lambda x, w, b: F.conv2d(x, w, b), (0, 4, 7, 9), (6, 4, 3, 3)),
    "channels_last": (
        lambda x, w, b: F.conv2d(x.contiguous(memory_format=torch.channels_last), w, b),
        (2, 4, 7, 9),
        (6, 4, 3, 3),
    ),
    "transposed_1d": (lambda x, w, b: F.conv_transpose1d(x, w, b, stride=2), (2, 4, 9), (4, 6, 3)),
    "transposed_2d": (
        lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2, output_padding=1),
        (2, 4, 5, 5),
        (4, 6, 3, 3),
    ),
    "transposed_3d": (
        lambda x, w, b: F.conv_transpose3d(x, w, b),
        (1, 2, 3, 3, 3),
        (2, 6, 2, 2, 2),
    ),
}


@pytest.mark.parametrize("call,x,w", CONVS.values(), ids=CONVS.keys())
def test_convolution_and_its_gradients_equal_the_cpu(same, call, x, w) -> None:
    same(_train(call), torch.randn(x), torch.randn(w), torch.randn(6 if 6 in w else w[0]))


@pytest.mark.parametrize("wanted", list(itertools.product([False, True], repeat=3)), ids=str)
def test_only_wanted_gradients_of_a_convolution_are_made(npu, wanted) -> None:
    for device in ("cpu", npu):
        x, w, b = (
            torch.randn(1, 2, 5, 5, device=device),
            torch.randn(3, 2, 3, 3, device=device),
            [3],
        )
        grads = torch.ops.aten.convolution_backward(
            torch.ones(1, 3, 3, 3, device=device),
            x,
            w,
            b,
            [1, 1],
            [0, 0],
            [1, 1],
            False,
            [0, 0],
            1,
            list(wanted),
        )
        assert [g is not None for g in grads] == list(wanted)
        assert {g.device.type for g in grads if g is not None} <= {torch.device(device).type}


NORMS = {
    "batch": lambda: nn.BatchNorm2d(4),
    "group": lambda: nn.GroupNorm(2, 4),
    "instance": lambda: nn.InstanceNorm2d(4, affine=True),
    "layer": lambda: nn.LayerNorm([6, 6]),
    "rms": lambda: nn.RMSNorm([6]),
    "local": lambda: nn.LocalResponseNorm(2),
    "max_pool": lambda: nn.MaxPool2d(2),
    "avg_pool": lambda: nn.AvgPool2d(3, 2, 1),
    "adaptive": lambda: nn.AdaptiveAvgPool2d(3),
    "adaptive_max": lambda: nn.AdaptiveMaxPool2d(3),
    "upsample": lambda: nn.Upsample(scale_factor=2, mode="bilinear"),
    "pixel_shuffle": lambda: nn.PixelShuffle(2),
    "reflect": lambda: nn.ReflectionPad2d(1),
    "prelu": lambda: nn.PReLU(),
    "fold": lambda: nn.Unfold(2),
}


@pytest.mark.parametrize("make", NORMS.values(), ids=NORMS.keys())
@pytest.mark.parametrize("training", [True, False])
def test_layer_and_its_gradients_equal_the_cpu(same, make, training) -> None:
    def run(x):
        module = make().to(x.device).train(training)
        x.requires_grad_()
        out = module(x)
        out.square().sum().backward()
        return [out, x.grad, *[p.grad for p in module.parameters()], *module.buffers()]

    same(run, torch.randn(3, 4, 6, 6))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize(
    "options", [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False, "batch_first": True}]
)
def test_recurrent_layer_equals_the_cpu(same, kind, options) -> None:
    def run(x):
        torch.manual_seed(0)
        module = kind(4, 5, **options).to(x.device)
        x.requires_grad_()
        out, state = module(x)
        out.square().sum().backward()
        states = list(state) if isinstance(state, tuple) else [state]
        return [out, *states, x.grad, *[p.grad for p in module.parameters()]]

    same(run, torch.randn(6, 3, 4), exact=False)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("enforce", [True, False])
def test_packed_sequences_equal_the_cpu(same, kind, enforce) -> None:
    def run(x):
        torch.manual_seed(0)
        module = kind(4, 5).to(x.device)
        lengths = torch.tensor([6, 4, 1] if enforce else [4, 6, 1])
        packed = nn.utils.rnn.pack_padded_sequence(
            x.requires_grad_(), lengths, enforce_sorted=enforce
        )
        out, _ = module(packed)
        padded, got = nn.utils.rnn.pad_packed_sequence(out)
        padded.sum().backward()
        assert torch.equal(got, lengths)
        return [padded, x.grad]

    same(run, torch.randn(6, 3, 4), exact=False)


@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
@pytest.mark.parametrize("bias", [True, False])
def test_recurrent_cell_equals_the_cpu(same, kind, bias) -> None:
    def run(x):
        torch.manual_seed(0)
        cell = kind(4, 5, bias=bias).to(x.device)
        x.requires_grad_()
        state = cell(x)
        hidden = state[0] if isinstance(state, tuple) else state
        hidden.square().sum().backward()
        return [hidden, x.grad, *[p.grad for p in cell.parameters()]]

    same(run, torch.randn(3, 4), exact=False)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("weighted", [False, True])
def test_embedding_bag_equals_the_cpu(same, mode, weighted) -> None:
    if weighted and mode != "sum":
        pytest.skip("torch weighs sums only")

    def run(w, i, offsets):
        weights = torch.linspace(0, 1, 5, device=w.device) if weighted else None
        out = F.embedding_bag(i, w.requires_grad_(), offsets, mode=mode, per_sample_weights=weights)
        out.square().sum().backward()
        return [out, w.grad]

    same(run, torch.randn(7, 3), torch.tensor([1, 5, 1, 0, 6]), torch.tensor([0, 2, 2]))


@pytest.mark.parametrize("lengths", ["host", "device", "list"])
def test_ctc_loss_equals_the_cpu(same, lengths) -> None:
    def run(x, targets):
        x.requires_grad_()
        ins, outs = torch.full((2,), 9), torch.tensor([3, 2])
        if lengths == "device":
            ins, outs = ins.to(x.device), outs.to(x.device)
        if lengths == "list":
            ins, outs = ins.tolist(), outs.tolist()
        loss = F.ctc_loss(F.log_softmax(x, -1), targets, ins, outs)
        loss.backward()
        return [loss, x.grad]

    same(run, torch.randn(9, 2, 5), torch.randint(1, 5, (2, 3)))


LOSSES = {
    "cross_entropy": lambda x, t: F.cross_entropy(x, t, label_smoothing=0.1, ignore_index=2),
    "nll": lambda x, t: F.nll_loss(F.log_softmax(x, 1), t, weight=torch.ones(5, device=x.device)),
    "bce": lambda x, t: F.binary_cross_entropy_with_logits(
        x[:, 0], t.float() / 5, pos_weight=x.new_ones(3)
    ),
    "kl": lambda x, t: F.kl_div(
        F.log_softmax(x, 1), F.softmax(x.detach(), 1), reduction="batchmean"
    ),
    "huber": lambda x, t: F.huber_loss(x[:, 0], t.float()),
    "margin": lambda x, t: F.multi_margin_loss(x, t),
    "cosine": lambda x, t: F.cosine_embedding_loss(x, x.detach() + 1, t.sign()),
    "triplet": lambda x, t: F.triplet_margin_loss(x, x.detach() + 1, x.detach() - 1),
    "cdist": lambda x, t: torch.cdist(x, x.detach() + 1).sum(),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())
def test_loss_and_its_gradient_equal_the_cpu(same, loss) -> None:
    same(_train(loss), torch.randn(3, 5), torch.tensor([1, 4, 0]))


def test_batch_norm_without_an_update_equals_the_cpu(npu):
    x, mean, variance = torch.randn(2, 3, 4), torch.randn(3), torch.rand(3) + 1
    call = torch.ops.aten._batch_norm_no_update
    expected = call(x, None, None, mean, variance, 0.1, 1e-5)
    results = call(x.to(npu), None, None, mean.to(npu), variance.to(npu), 0.1, 1e-5)
    torch.testing.assert_close([r.cpu() for r in results], list(expected))
