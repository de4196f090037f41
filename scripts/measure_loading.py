"""Measure the speed of loading images: decoded or from the cache, in full or reduced, and in augmented batches.

    python scripts/measure_loading.py --csv data/ants-bees/train.csv

Decoding and reading use one thread, and resize to a shorter side of 256 px. The batches are those of
recipes/ants_bees.py without mixing (crop and flip by albumentations, 224 px, 16 images), from a warm cache, with one
and two threads. The large images are the first 24 images, enlarged to 2000 x 1500, saved as JPEGs of quality 90, and
read at 224 px. The script prints how much reduced decoding changes their pixels, and those of the original images read
at 60 px.

Each speed is the median of `--repeats` measurements. Beside images a second, the script prints milliseconds of CPU time
for each image, which is more reliable on a busy machine. The cache is in a temporary folder.
"""

import argparse
import os
import statistics
import tempfile
import time

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A
import cv2
import numpy as np

from kcomp import data


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--csv", default="data/ants-bees/train.csv")
    arguments.add_argument("--repeats", type=int, default=5)
    chosen = arguments.parse_args()
    cv2.setNumThreads(0)
    rows = data.read_csv(chosen.csv, images="images", label="label")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["KCOMP_CACHE"] = folder
        for name, cache_bytes in (("decoded", 0), ("from the cache", 1 << 30)):
            images = data.Images(256, fit="shorter", cache_bytes=cache_bytes)
            report(f"{len(rows)} images, {name}", chosen.repeats, lambda images=images: read(images, rows.images))
        for threads in (1, 2):
            batches = training_batches(rows)
            batches.workers = threads
            report(f"batches, {threads} threads", chosen.repeats, lambda b=batches: count(b.epochs(1, 4)))
    large(rows.images[:24], chosen.repeats)


def training_batches(rows):
    crop = A.RandomResizedCrop((224, 224), scale=(0.5, 1.0), strict=True)
    transform = A.Compose([crop, A.HorizontalFlip(p=0.5, strict=True)])
    images = data.Images(256, fit="shorter")
    return data.Batches(rows, 224, batch_size=16, training=True, transform=transform, images=images)


def large(paths, repeats):
    big = []
    for path in paths:
        pixels = cv2.imread(str(path))
        sides = (2000, 1500) if pixels.shape[1] >= pixels.shape[0] else (1500, 2000)
        pixels = cv2.resize(pixels, sides, interpolation=cv2.INTER_CUBIC)
        big.append(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
    full, fast = (data.Images(224, reduced=reduced, cache_bytes=0) for reduced in (False, True))
    for name, images in (("in full", full), ("reduced", fast)):
        report(f"{len(big)} images of 2000 x 1500, {name}", repeats, lambda images=images: read(images, big))
    compare(big, 224)
    compare(paths, 60)


def compare(sources, size):
    full, fast = (data.Images(size, reduced=reduced, cache_bytes=0) for reduced in (False, True))
    found = [np.abs(full.load("", one).astype(int) - fast.load("", one)).mean() for one in sources]
    print(
        f"reduced to {size} px: other by {np.mean(found):.2f} of 255 on average, at most {max(found):.2f} in an image"
    )


def read(images, sources):
    for source in sources:
        images.load("", source)
    return len(sources)


def count(batches):
    return sum(len(batch["images"]) for batch in batches)


def report(name, repeats, work):
    work()  # warms the cache, and files
    rates, costs = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        images = work()
        rates.append(images / (time.perf_counter() - wall))
        costs.append((time.process_time() - cpu) / images * 1e3)
    print(f"{name}: {statistics.median(rates):.0f} images/s, {statistics.median(costs):.2f} ms of CPU", flush=True)


if __name__ == "__main__":
    main()
