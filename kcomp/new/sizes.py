"""Measure the images of a competition, and choose the image size for training."""

import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kcomp.image_files.limits import check_sides, read_file

SAMPLE = 200  # how many images are measured at most
STEP = 32  # the side is a multiple of this, because networks halve it five times
LARGEST = {"CPU": 224, "GPU": 384}  # the longest side of a square, in pixels


@dataclass(frozen=True)
class Size:
    """An image size for training (pixels of a square's side, or height and width), and the reason for it."""

    size: int | tuple[int, int]
    reason: str


def choose_size(paths: Sequence[Path], device: str | None = None) -> Size:
    """Choose the image size: the median size of the images, rounded to a multiple of 32 pixels.

    It is a square with sides of at most 384 pixels on a GPU and 224 on a CPU, unless most images have another aspect
    ratio.

    Args:
        paths: The images. At most 200 of them are read.
        device: "CPU" or "GPU". None is "GPU" if this machine has one, else "CPU".
    """
    shapes = measure(paths)
    device = device or ("GPU" if has_gpu() else "CPU")
    limit = LARGEST[device]
    if not len(shapes):
        return Size(limit, "no image could be measured")
    height, width = np.median(shapes, 0)
    ratios = shapes[:, 1] / shapes[:, 0]
    is_uniform = bool(np.mean(np.abs(ratios / (width / height) - 1) < 0.05) > 0.9)
    side = min(np.sqrt(height * width), limit)
    text = f"the median image is {height:.0f} x {width:.0f} pixels; at most {limit} on a {device}"
    if is_uniform and not 0.8 <= width / height <= 1.25:
        scale = side / np.sqrt(height * width)
        return Size((rounded(height * scale), rounded(width * scale)), text)
    return Size(rounded(side), text)


def rounded(side: float) -> int:
    return max(STEP, int(side / STEP + 0.5) * STEP)


def measure(paths: Sequence[Path]) -> np.ndarray:
    """Return the height and width of at most 200 images, float of shape (images, 2). Skip unreadable files."""
    positions = np.linspace(0, len(paths) - 1, min(SAMPLE, len(paths))).astype(int)
    shapes = []
    for path in (paths[position] for position in positions):
        with contextlib.suppress(OSError, ValueError):  # damaged, or of more pixels than kcomp decodes
            sides = check_sides(read_file(path))
            shapes.append((sides.height, sides.width))
    return np.array(shapes, np.float64).reshape(-1, 2)


def has_gpu() -> bool:
    """Return whether this machine has an NVIDIA GPU with a driver."""
    return shutil.which("nvidia-smi") is not None or Path("/dev/nvidia0").exists()
