"""Losses of language models: cross entropy, whole and split over the vocabulary.

Source: docs/zh/custom_APIs/torch_npu of Ascend/op-plugin@517f2e7d, a page an operator.
"""

import torch

__all__ = [
    "cross_entropy_loss",
    "fused_cross_entropy_loss_with_max_sum",
    "fused_linear_online_max_sum",
]


def cross_entropy_loss(
    x: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss ([N] or [1]) and log-probabilities [N, C] of logits `x` [N, C], in float64.

    A negative `ignore_index` ignores nothing.
    """
    x = x.double()
    rows, classes = x.shape
    weights = torch.ones(classes, dtype=x.dtype) if weight is None else weight.double()
    log_prob = x - torch.logsumexp(x, 1, keepdim=True)
    kept = torch.ones(rows, dtype=x.dtype)
    if ignore_index >= 0:
        kept = (target != ignore_index).double()
    hard = -log_prob[torch.arange(rows), target] * weights[target] * kept
    soft = -(log_prob * weights).sum(1) * kept / classes
    loss = (1 - label_smoothing) * hard + label_smoothing * soft
    if reduction == "sum":
        loss = loss.sum().reshape(1)
    elif reduction == "mean":
        loss = (loss.sum() / (weights[target] * kept).sum()).reshape(1)
    return loss, log_prob


def fused_linear_online_max_sum(
    x: torch.Tensor, weight: torch.Tensor, target: torch.Tensor, first: int, last: int
) -> dict[str, torch.Tensor]:
    """What a card that holds the classes `first` to `last` knows of the loss of logits x weight^T.

    `x` is [N, H], `weight` [V, H], `target` [N] of global classes. The mask is packed eight rows a
    byte, the first row in the highest bit, with ones behind the last row.
    """
    logits = x.double() @ weight.double().T
    most = logits.max(1).values
    below = logits - most[:, None]
    outside = (target < first) | (target > last)
    place = torch.where(outside, 0, target - first)
    predicted = torch.where(outside, 0.0, below[torch.arange(len(x)), place.long()])
    bits = [bool(b) for b in outside] + [True] * (-len(x) % 8)
    mask = [
        sum(bit << (7 - i) for i, bit in enumerate(bits[k : k + 8])) for k in range(0, len(bits), 8)
    ]
    return {
        "logits_max": most,
        "sum_exp_logits": below.exp().sum(1),
        "predicted_logits": predicted,
        "target_mask": torch.tensor(mask, dtype=torch.uint8),
        "masked_target": place,
        "vocab_parallel_logits": logits,
    }


def fused_cross_entropy_loss_with_max_sum(
    logits_max: torch.Tensor,
    sum_exp_logits: torch.Tensor,
    predicted_logits: torch.Tensor,
    vocab_parallel_logits: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss [N] and softmax [N, V] from sums over the whole vocabulary."""
    softmax = (vocab_parallel_logits - logits_max[:, None]).exp() / sum_exp_logits[:, None]
    return sum_exp_logits.log() - predicted_logits, softmax
