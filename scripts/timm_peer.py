"""Import timm without torchvision's compiled operators, which PyPI builds only for CUDA."""

import torch

for name in ("nms", "qnms"):  # torchvision describes them on import, and fails where they do not exist
    torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import timm  # noqa: E402

__all__ = ["timm"]
