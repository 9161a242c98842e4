"""Boxes of detection: overlaps, encodings, suppression. All of them call operators of the card."""

from collections.abc import Sequence

import torch

__all__ = [
    "npu_batched_multiclass_nms",
    "npu_bbox_coder_decode_xywh2xyxy",
    "npu_bbox_coder_encode_xyxy2xywh",
    "npu_bbox_coder_encode_yolo",
    "npu_ciou",
    "npu_diou",
    "npu_giou",
    "npu_iou",
    "npu_multiclass_nms",
    "npu_ptiou",
    "npu_single_level_responsible_flags",
]

_NO_SHIFT = (0.0, 0.0, 0.0, 0.0)
_NO_SCALE = (1.0, 1.0, 1.0, 1.0)


def _check_boxes(caller: str, boxes: torch.Tensor, others: torch.Tensor) -> None:
    if boxes.size(0) != others.size(0) or boxes.size(-1) != 4 or others.size(-1) != 4:
        raise ValueError(
            f"{caller}: expected as many boxes twice, each of 4 numbers, "
            f"got {tuple(boxes.shape)} and {tuple(others.shape)}"
        )


def npu_iou(
    boxes1: torch.Tensor,
    boxes2: torch.Tensor,
    mode: str = "ptiou",
    is_normalized: bool = False,
    normalized_scale: float = 100.0,
) -> torch.Tensor:
    """Returns the overlaps of all pairs, `mode` "iou" or "ptiou" (the older operator)."""
    if mode not in ("iou", "ptiou"):
        raise ValueError(f"npu_iou: expected mode iou or ptiou, got {mode!r}")
    scale = normalized_scale if is_normalized else 1.0
    operator = torch.ops.npu.npu_iou if mode == "iou" else torch.ops.npu.npu_ptiou
    overlaps: torch.Tensor = operator(boxes2.float() * scale, boxes1.float() * scale)
    return overlaps


npu_ptiou = npu_iou


def npu_giou(boxes1: torch.Tensor, boxes2: torch.Tensor, is_permuted: bool = True) -> torch.Tensor:
    """Returns the generalised overlap of each pair of [n, 4] boxes."""
    if boxes1.shape != boxes2.shape:
        raise ValueError(
            f"npu_giou: expected equal shapes, got {tuple(boxes1.shape)}, {tuple(boxes2.shape)}"
        )
    one, other = boxes1.float(), boxes2.float()
    if is_permuted:
        one, other = one.permute(1, 0), other.permute(1, 0)
    overlaps: torch.Tensor = torch.ops.npu.npu_giou(one, other, trans=True, is_cross=False)
    return overlaps


def npu_diou(
    boxes1: torch.Tensor,
    boxes2: torch.Tensor,
    trans: bool = True,
    is_cross: bool = False,
    mode: int = 0,
) -> torch.Tensor:
    """Returns the overlap of each pair, less the distance of their centres."""
    overlaps: torch.Tensor = torch.ops.npu.npu_diou(boxes1, boxes2, trans, is_cross, mode)
    return overlaps


def npu_ciou(
    boxes1: torch.Tensor,
    boxes2: torch.Tensor,
    trans: bool = True,
    is_cross: bool = False,
    mode: int = 0,
) -> torch.Tensor:
    """Returns the same, less the difference of their aspects."""
    overlaps: torch.Tensor = torch.ops.npu.npu_ciou(boxes1, boxes2, trans, is_cross, mode, True)
    return overlaps


def npu_bbox_coder_encode_yolo(
    bboxes: torch.Tensor, gt_bboxes: torch.Tensor, stride: torch.Tensor
) -> torch.Tensor:
    """Returns what moves boxes to the true ones, in YOLO's encoding."""
    _check_boxes("npu_bbox_coder_encode_yolo", bboxes, gt_bboxes)
    encoded: torch.Tensor = torch.ops.npu.npu_yolo_boxes_encode(
        bboxes.float(), gt_bboxes.float(), stride.int(), performance_mode=False
    )
    return encoded


def npu_bbox_coder_encode_xyxy2xywh(
    bboxes: torch.Tensor,
    gt_bboxes: torch.Tensor,
    means: Sequence[float] | None = None,
    stds: Sequence[float] | None = None,
    is_normalized: bool = False,
    normalized_scale: float = 10000.0,
) -> torch.Tensor:
    """Returns what moves boxes given by corners to the true ones, by centre and size."""
    _check_boxes("npu_bbox_coder_encode_xyxy2xywh", bboxes, gt_bboxes)
    scale = normalized_scale if is_normalized else 1.0
    encoded: torch.Tensor = torch.ops.npu.npu_bounding_box_encode(
        bboxes.float() * scale,
        gt_bboxes.float() * scale,
        *(means or _NO_SHIFT),
        *(stds or _NO_SCALE),
    )
    return encoded


def npu_bbox_coder_decode_xywh2xyxy(
    bboxes: torch.Tensor,
    pred_bboxes: torch.Tensor,
    means: Sequence[float] | None = None,
    stds: Sequence[float] | None = None,
    max_shape: Sequence[int] | None = None,
    wh_ratio_clip: float = 16 / 1000,
) -> torch.Tensor:
    """Returns the corners of boxes moved by predictions of centre and size."""
    _check_boxes("npu_bbox_coder_decode_xywh2xyxy", bboxes, pred_bboxes)
    decoded: torch.Tensor = torch.ops.npu.npu_bounding_box_decode(
        bboxes.float(),
        pred_bboxes.float(),
        *(means or _NO_SHIFT),
        *(stds or _NO_SCALE),
        max_shape or [9999, 9999],
        wh_ratio_clip,
    )
    return decoded


def npu_single_level_responsible_flags(
    featmap_size: Sequence[int],
    gt_bboxes: torch.Tensor,
    stride: Sequence[int],
    num_base_anchors: int,
) -> torch.Tensor:
    """Returns which anchors of a feature map are responsible for a true box."""
    flags: torch.Tensor = torch.ops.npu.npu_anchor_response_flags(
        gt_bboxes.float(), featmap_size, stride, num_base_anchors
    )
    return flags


def npu_batched_multiclass_nms(
    multi_bboxes: torch.Tensor,
    multi_scores: torch.Tensor,
    score_thr: float = 0.05,
    nms_thr: float = 0.45,
    max_num: int = 50,
    score_factors: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Suppresses boxes of a batch: [b, n, 4] or [b, n, 4 classes], scores [b, n, classes + 1].

    Returns boxes with scores [b, max_num, 5] and classes [b, max_num].
    """
    batch, boxes = multi_scores.shape[:2]
    scores = multi_scores[..., :-1]
    if score_factors is not None:
        scores = scores * score_factors[..., None]
    found, found_scores, classes, _ = torch.ops.npu.npu_batch_nms(
        multi_bboxes.reshape(batch, boxes, -1, 4).half(),
        scores.half(),
        score_thr,
        nms_thr,
        max_num,
        max_num,
    )
    return torch.cat([found, found_scores[..., None]], -1), classes


def npu_multiclass_nms(
    multi_bboxes: torch.Tensor,
    multi_scores: torch.Tensor,
    score_thr: float = 0.05,
    nms_thr: float = 0.45,
    max_num: int = 50,
    score_factors: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same for one image."""
    factors = None if score_factors is None else score_factors[None]
    found, classes = npu_batched_multiclass_nms(
        multi_bboxes[None], multi_scores[None], score_thr, nms_thr, max_num, factors
    )
    return found[0], classes[0]
