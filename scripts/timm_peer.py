"""timm, the peer of the benchmarks, without torchvision's compiled operators: PyPI builds them for CUDA only."""

import torch

for name in ("nms", "qnms"):  # torchvision describes them on import, and fails where they do not exist
    torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import timm  # noqa: E402

__all__ = ["timm"]
