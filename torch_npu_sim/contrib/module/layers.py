"""Layers and helpers of training that are plain torch."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

__all__ = [
    "BiLSTM",
    "ChannelShuffle",
    "FastBatchNorm1d",
    "FastBatchNorm2d",
    "FastBatchNorm3d",
    "FastSyncBatchNorm",
    "Focus",
    "LabelSmoothingCrossEntropy",
    "Mish",
    "Prefetcher",
    "SiLU",
    "Swish",
]

Mish = nn.Mish
SiLU = nn.SiLU
Swish = nn.SiLU
# Theirs differ in the type of a counter.
FastBatchNorm1d = nn.BatchNorm1d
FastBatchNorm2d = nn.BatchNorm2d
FastBatchNorm3d = nn.BatchNorm3d
FastSyncBatchNorm = nn.SyncBatchNorm


class ChannelShuffle(nn.Module):
    """Concatenates two tensors along channels and interleaves the groups, as ShuffleNet does."""

    def __init__(self, in_channels: int, groups: int = 2, split_shuffle: bool = True) -> None:
        """Takes the channels of the result; `split_shuffle` returns it as two halves."""
        super().__init__()
        self.groups = groups
        self.group_len = in_channels // groups
        self.split_shuffle = split_shuffle

    def check_self(self, x: torch.Tensor) -> None:
        """Would move the indices to the device of `x`: there are none here."""
        del x

    def forward(self, x1: torch.Tensor, x2: torch.Tensor) -> Any:
        """Returns the shuffled channels, as two tensors if they are to be split."""
        shuffled = torch.channel_shuffle(torch.cat([x1, x2], 1), self.groups)
        if not self.split_shuffle:
            return shuffled
        return shuffled[:, : self.group_len], shuffled[:, self.group_len :]


class Focus(nn.Module):
    """YOLOv5's first layer: four shifted halves of an image as channels, then a convolution."""

    def __init__(
        self,
        c1: int,
        c2: int,
        k: int = 1,
        s: int = 1,
        p: int | None = None,
        g: int = 1,
        act: bool = True,
    ) -> None:
        """Takes channels in and out, kernel, stride, padding, groups, and whether to activate."""
        super().__init__()
        padding = k // 2 if p is None else p
        self.conv = nn.Sequential(
            nn.Conv2d(c1 * 4, c2, k, s, padding, groups=g, bias=False),
            nn.BatchNorm2d(c2),
            nn.LeakyReLU(0.1, inplace=True) if act else nn.Identity(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Takes [n, c1, h, w], returns [n, c2, h / 2, w / 2] with stride 1."""
        halves = [x[..., down::2, right::2] for right in (0, 1) for down in (0, 1)]
        made: torch.Tensor = self.conv(torch.cat(halves, 1))
        return made


class LabelSmoothingCrossEntropy(nn.Module):
    """Cross entropy with a part of the probability spread over the other classes."""

    def __init__(self, num_classes: int = 1000, smooth_factor: float = 0.0) -> None:
        """Takes how many classes there are, and the part that is spread."""
        super().__init__()
        self.on_value = 1.0 - smooth_factor
        self.off_value = smooth_factor / (num_classes - 1)

    def forward(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Returns the mean loss, fp32, of logits [n, classes] and classes [n]."""
        wanted = torch.full_like(pred, self.off_value)
        wanted.scatter_(1, target.long()[:, None], self.on_value)
        losses = -(wanted * torch.log_softmax(pred, -1)).sum(-1)
        return losses.mean(dtype=torch.float32)


class BiLSTM(nn.Module):
    """Two LSTMs over [time, batch, input], one of them from the end; their results side by side."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        """Takes the widths of input and state."""
        super().__init__()
        self.fw_rnn = nn.LSTM(input_size, hidden_size)
        self.bw_rnn = nn.LSTM(input_size, hidden_size)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Returns [time, batch, 2 hidden]."""
        forward, _ = self.fw_rnn(inputs)
        backward, _ = self.bw_rnn(inputs.flip(0))
        return torch.cat([forward, backward.flip(0)], 2)


class Prefetcher:
    """Copies the next batch to the card on a stream of its own while the last one is used."""

    def __init__(self, loader: Iterable[Any], stream: torch.Stream | None = None) -> None:
        """Takes pairs of tensors, and copies the first."""
        from torch_npu_sim import npu

        self.loader = iter(loader)
        self.stream = stream or npu.Stream()
        self.preload()

    def preload(self) -> None:
        """Starts to copy the next pair; None, None after the last one."""
        from torch_npu_sim import npu

        self.next_input: Any
        self.next_target: Any
        self.next_input, self.next_target = next(self.loader, (None, None))
        if self.next_input is None:
            return
        with npu.stream(self.stream):
            self.next_input = self.next_input.npu(non_blocking=True)
            self.next_target = self.next_target.npu(non_blocking=True)

    def next(self) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Returns the pair that was copied, and starts with the one after it."""
        from torch_npu_sim import npu

        npu.current_stream().wait_stream(self.stream)
        pair = self.next_input, self.next_target
        if pair[1] is not None:
            self.preload()
        return pair
