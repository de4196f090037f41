"""Draw the pictures of docs/howto/augmentation.md, and write the milliseconds of each transform into its table.

    KERAS_BACKEND=torch python scripts/augmentation_pictures.py

Each picture shows an image before and after a transform, with the draws of the seeds 0 to 3. Times are the CPU time of
an image of 224 x 224 pixels in one thread: the median and the range of five means over 40 images.
"""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A
import cv2
import numpy as np
import pandas as pd
from sklearn.datasets import load_sample_image

from kcomp import augment, data

PAGE = Path(__file__).parents[1] / "docs" / "howto" / "augmentation.md"
HEAD = "| transform | milliseconds of CPU an image |\n|---|---|\n"
PICTURES = Path(__file__).parents[1] / "docs" / "images" / "augmentation"
SIZE, TILE = 224, 112


def flower() -> np.ndarray:
    """Return the middle of scikit-learn's photo of a flower, uint8 (224, 224, 3)."""
    photo = load_sample_image("flower.jpg")
    middle = photo[:, (photo.shape[1] - photo.shape[0]) // 2 :][:, : photo.shape[0]]
    return cv2.resize(middle, (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def photos() -> data.Table:
    """Return a table of scikit-learn's two photos."""
    names = ["china.jpg", "flower.jpg"]
    return data.Table(pd.DataFrame({"image_id": names, "image": [load_sample_image(name) for name in names]}))


def transforms() -> dict[str, Callable[..., dict[str, np.ndarray]]]:
    """Return the transforms of the page, by the name of their picture."""
    holes = {"hole_height_range": (0.1, 0.2), "hole_width_range": (0.1, 0.2), "p": 1.0, "strict": True}
    steps = {
        "auto-augment": augment.AutoAugment("imagenet"),
        "rand-augment": augment.RandAugment(2, 9),
        "trivial-augment": augment.TrivialAugment(),
        "aug-mix": augment.AugMix(),
        "local-warp": augment.LocalWarp(0.04, p=1.0),
        "pca-colour": augment.PCAColour(*augment.colour_components(photos()), scale=1.0),
        "channel-shift": A.RGBShift(30, 30, 30, p=1.0, strict=True),
        "holes": A.CoarseDropout(num_holes_range=(3, 8), **holes),
    }
    presets = {"light": augment.light(SIZE), "medium": augment.medium(SIZE), "heavy": augment.heavy(SIZE)}
    return presets | {name: A.Compose([step]) for name, step in steps.items()}


def draw(name: str, transform: A.Compose, image: np.ndarray) -> None:
    """Write a row of five images: the image, and its augmentations with the seeds 0 to 3."""
    tiles = [image]
    for seed in range(4):
        transform.set_random_seed(seed)
        tiles.append(transform(image=image)["image"])
    write_row(name, tiles)


def draw_mosaic(image: np.ndarray) -> None:
    """Write a row of five images: the image, and mosaics of it with parts of scikit-learn's other photo."""
    temple = load_sample_image("china.jpg")
    others = [cv2.resize(temple[:, left : left + 320], (SIZE, SIZE)) for left in (0, 160, 320)]
    batch = {"images": np.stack([image, *others]).astype(np.float32), "labels": np.eye(4, dtype=np.float32)}
    mosaics = [np.asarray(augment.Mosaic(1.0)(batch, seed=seed)["images"])[0] for seed in range(4)]
    write_row("mosaic", [image, *(mosaic.astype(np.uint8) for mosaic in mosaics)])


def write_row(name: str, tiles: Sequence[np.ndarray]) -> None:
    """Write images side by side into one file."""
    small = [cv2.resize(tile, (TILE, TILE), interpolation=cv2.INTER_AREA) for tile in tiles]
    row = cv2.cvtColor(np.hstack(small), cv2.COLOR_RGB2BGR)
    PICTURES.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(PICTURES / f"{name}.jpg"), row, [cv2.IMWRITE_JPEG_QUALITY, 80])


def milliseconds(transform: A.Compose, image: np.ndarray) -> np.ndarray:
    """Return five means of the CPU time of an image, in milliseconds."""
    means = []
    for part in range(5):
        start = time.process_time()
        for seed in range(40):
            transform.set_random_seed(1000 * part + seed)
            transform(image=image)
        means.append((time.process_time() - start) / 40 * 1000)
    return np.array(means)


def main() -> None:
    cv2.setNumThreads(0)
    image = flower()
    draw_mosaic(image)
    rows = []
    for name, transform in transforms().items():
        draw(name, transform, image)
        times = milliseconds(transform, image)
        rows.append(f"| {name} | {np.median(times):.1f} ({times.min():.1f} to {times.max():.1f}) |\n")
    text = PAGE.read_text(encoding="utf-8")
    start = text.index(HEAD) + len(HEAD)
    end = text.index("\n\n", start - 1) + 1
    PAGE.write_text(text[:start] + "".join(rows) + text[end:], encoding="utf-8")


if __name__ == "__main__":
    main()
