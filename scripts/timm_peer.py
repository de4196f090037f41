"""timm, the peer of the benchmarks, without torchvision's compiled operators: PyPI builds them for CUDA only."""

import torch

_library = torch.library.Library("torchvision", "FRAGMENT")
for _name in ("nms", "qnms"):  # torchvision describes them on import, and fails where they do not exist
    _library.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import timm  # noqa: E402

__all__ = ["timm"]
