"""Make small competitions: clean ones, and ones with one known fault."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image

SHAPES = ("circle", "square", "star")


@dataclass
class Competition:
    """A folder of images with train.csv and test.csv.

    Attributes:
        folder: The folder. `write` writes the tables.
        train: The labelled rows, with the columns image_id and label.
        test: The rows to predict, with the column image_id.
        options: Further lines of the recipe's table(), as Python source.
        expected: Pairs of a kind of finding and the ids that it must name; no id for the whole table.
    """

    folder: Path
    train: pd.DataFrame
    test: pd.DataFrame
    ending: str = ".jpg"
    options: list[str] = field(default_factory=list)
    expected: list[tuple[str, set[str]]] = field(default_factory=list)

    def path(self, image_id: str) -> Path:
        return self.folder / "images" / f"{image_id}{self.ending}"

    def pixels(self, image_id: str) -> np.ndarray:
        return np.array(Image.open(self.path(image_id)).convert("RGB"))

    def write_image(self, image_id: str, pixels: np.ndarray, quality: int = 90) -> None:
        Image.fromarray(pixels).save(self.path(image_id), quality=quality)

    def write(self) -> None:
        self.train.to_csv(self.folder / "train.csv", index=False)
        self.test.to_csv(self.folder / "test.csv", index=False)


COLOURS = {"circle": (230, 60, 60), "square": (60, 200, 70), "star": (70, 80, 230)}


def photograph(
    random: np.random.Generator, shape: str, height: int, width: int, colour: Sequence[float] | None = None
) -> np.ndarray:
    """Draw a picture that is like no other: a background of smooth noise, lines, and a shape of the class.

    colour: RGB in 0..255. None for the colour of the class.
    """
    canvas = np.zeros((height, width, 3))
    for cells, strength in ((3, 60), (7, 35), (17, 20), (40, 8)):
        coarse = random.normal(0, strength, (cells, cells, 3))
        canvas += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    canvas += random.uniform(80, 160, 3)
    for _ in range(int(random.integers(3, 7))):
        ends = [tuple(int(value) for value in random.integers(0, (width, height))) for _ in range(2)]
        cv2.line(canvas, *ends, random.uniform(0, 255, 3).tolist(), int(random.integers(1, 4)))
    radius = random.uniform(0.2, 0.3) * min(height, width)
    centre = random.uniform(0.4, 0.6, 2) * (width, height)
    corners = {"circle": 60, "square": 4, "star": 10}[shape]
    angles = np.arange(corners) * 2 * np.pi / corners + random.uniform(0, 0.3)
    lengths = np.where(np.arange(corners) % 2, 0.45, 1.0) if shape == "star" else np.ones(corners)
    points = centre + radius * lengths[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
    cv2.fillPoly(canvas, [points.astype(np.int32)], COLOURS[shape] if colour is None else colour)
    canvas += random.normal(0, 3, canvas.shape)
    return np.clip(canvas, 0, 255).astype(np.uint8)


def make_clean(folder: Path, seed: int = 0, rows: int = 90, test_rows: int = 30) -> Competition:
    """Write the images of a competition with three classes and without faults."""
    random = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    names = random.permutation([f"im{number:04d}" for number in range(rows + test_rows)])
    train = pd.DataFrame(
        {"image_id": names[:rows], "label": random.permutation([SHAPES[row % 3] for row in range(rows)])}
    )
    competition = Competition(folder, train, pd.DataFrame({"image_id": names[rows:]}))
    shapes = [*train["label"], *random.permutation([SHAPES[row % 3] for row in range(test_rows)])]
    for name, shape in zip(names, shapes, strict=True):
        height, width = random.integers(110, 131, 2)
        competition.write_image(name, photograph(random, str(shape), int(height), int(width)))
    return competition


def encoded(pixels: np.ndarray, kind: str = "JPEG", **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


Fault = Callable[[Competition, np.random.Generator], None]


def choose(competition: Competition, random: np.random.Generator, count: int) -> list[str]:
    """Choose labelled images that no fault names yet."""
    named = {name for _, ids in competition.expected for name in ids}
    unnamed = [name for name in competition.train["image_id"] if name not in named]
    return [str(name) for name in random.choice(unnamed, count, replace=False)]


def replace_bytes(kind: str, count: int, change: Callable[[Competition, str, np.random.Generator], bytes]) -> Fault:
    """Return a fault that writes other bytes into the files of `count` images."""

    def apply(competition: Competition, random: np.random.Generator) -> None:
        names = choose(competition, random, count)
        for name in names:
            competition.path(name).write_bytes(change(competition, name, random))
        competition.expected.append((kind, set(names)))

    return apply


def replace_pixels(kind: str, count: int, change: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Fault:
    """Return a fault that writes other pixels into the files of `count` images."""
    return replace_bytes(
        kind, count, lambda competition, name, random: encoded(change(competition.pixels(name), random), quality=90)
    )


def content(competition: Competition, name: str) -> bytes:
    return competition.path(name).read_bytes()


def zero_bytes(competition: Competition, name: str, random: np.random.Generator) -> bytes:
    data = bytearray(content(competition, name))
    start = len(data) // 2
    data[start : start + 300] = bytes(300)
    return bytes(data)


def random_bytes(competition: Competition, name: str, random: np.random.Generator) -> bytes:
    data = bytearray(content(competition, name))
    start = len(data) // 3
    data[start : start + 400] = random.bytes(400)
    return bytes(data)


def cut_off(share: float) -> Callable[[Competition, str, np.random.Generator], bytes]:
    def change(competition: Competition, name: str, random: np.random.Generator) -> bytes:
        data = content(competition, name)
        return data[: int(share * len(data))]

    return change


def as_format(kind: str, **options: object) -> Callable[[Competition, str, np.random.Generator], bytes]:
    return lambda competition, name, random: encoded(competition.pixels(name), kind, **options)


def cmyk(competition: Competition, name: str, random: np.random.Generator) -> bytes:
    file = io.BytesIO()
    Image.fromarray(competition.pixels(name)).convert("CMYK").save(file, "JPEG")
    return file.getvalue()


def grey(competition: Competition, name: str, random: np.random.Generator) -> bytes:
    file = io.BytesIO()
    Image.fromarray(competition.pixels(name)).convert("L").save(file, "JPEG")
    return file.getvalue()


def missing(count: int) -> Fault:
    def apply(competition: Competition, random: np.random.Generator) -> None:
        names = choose(competition, random, count)
        for name in names:
            competition.path(name).unlink()
        competition.expected.append(("missing", set(names)))

    return apply


def copies(
    kind: str,
    change: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None,
    *,
    test: bool = False,
    pairs: int = 3,
    quality: int = 90,
) -> Fault:
    """Return a fault: `pairs` images get the content of other images of their class, changed by `change`."""

    def apply(competition: Competition, random: np.random.Generator) -> None:
        train = competition.train
        for name in choose(competition, random, pairs):
            label = train.loc[train["image_id"] == name, "label"].iloc[0]
            others = train.loc[(train["label"] == label) & (train["image_id"] != name), "image_id"]
            copy = str(random.choice(competition.test["image_id"] if test else others))
            if change is None:
                competition.path(copy).write_bytes(content(competition, name))
            else:
                competition.write_image(copy, change(competition.pixels(name), random), quality)
            competition.expected.append((kind, {name, copy}))

    return apply


def contradiction(competition: Competition, random: np.random.Generator) -> None:
    circle, star = (
        str(competition.train.loc[competition.train["label"] == shape, "image_id"].iloc[2])
        for shape in ("circle", "star")
    )
    competition.path(star).write_bytes(content(competition, circle))
    competition.expected.append(("contradicting-labels", {circle, star}))


def crop(pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    height, width = pixels.shape[:2]
    top, left = int(random.integers(0, height // 6)), int(random.integers(0, width // 6))
    return np.ascontiguousarray(pixels[top : top + int(0.84 * height), left : left + int(0.84 * width)])


def rare_class(competition: Competition, random: np.random.Generator) -> None:
    competition.train.loc[competition.train.index[:1], "label"] = "comet"
    competition.expected.append(("rare-class", set()))


def spelling(text: Callable[[str], str]) -> Fault:
    def apply(competition: Competition, random: np.random.Generator) -> None:
        rows = competition.train.index[competition.train["label"] == "circle"][:7]
        competition.train.loc[rows, "label"] = text("circle")
        competition.expected.append(("label-spelling", set()))

    return apply


def wrong_labels(count: int) -> Fault:
    def apply(competition: Competition, random: np.random.Generator) -> None:
        names = choose(competition, random, count)
        for name in names:
            row = competition.train["image_id"] == name
            label = competition.train.loc[row, "label"].iloc[0]
            competition.train.loc[row, "label"] = SHAPES[(SHAPES.index(label) + 1) % 3]
        competition.expected.append(("wrong-label", set(names)))

    return apply


def other_quality(competition: Competition, random: np.random.Generator) -> None:
    for name in competition.train.loc[competition.train["label"] == "star", "image_id"]:
        competition.write_image(name, competition.pixels(name), 60)
    competition.expected.append(("shortcut", set()))


def other_size(competition: Competition, random: np.random.Generator) -> None:
    for name in competition.train.loc[competition.train["label"] == "square", "image_id"]:
        competition.write_image(name, cv2.resize(competition.pixels(name), None, fx=1.3, fy=1.3))
    competition.expected.append(("shortcut", set()))


def other_ending(competition: Competition, random: np.random.Generator) -> None:
    competition.ending = ".jpg"
    for name in competition.train.loc[competition.train["label"] == "circle", "image_id"]:
        pixels = competition.pixels(name)
        competition.path(name).unlink()
        Image.fromarray(pixels).save(competition.path(name).with_suffix(".png"))
    competition.expected.append(("shortcut", set()))


def groups_cross_folds(competition: Competition, random: np.random.Generator) -> None:
    competition.train["patient"] = [f"p{row // 3}" for row in range(len(competition.train))]
    competition.options.append(
        "rows = dataclasses.replace(rows, frame=rows.frame.assign(group=[f'p{row // 3}' for row in range(len(rows))]))"
    )
    competition.expected.append(("group-leak", set()))


def test_differs(change: Callable[[np.ndarray], np.ndarray]) -> Fault:
    def apply(competition: Competition, random: np.random.Generator) -> None:
        for name in competition.test["image_id"]:
            competition.write_image(name, change(competition.pixels(name)))
        competition.expected.append(("train-test-shift", set()))

    return apply


def animated(competition: Competition, name: str, random: np.random.Generator) -> bytes:
    file, pixels = io.BytesIO(), competition.pixels(name)
    frames = [Image.fromarray(np.roll(pixels, shift, 0)) for shift in (0, 20, 40)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


def sixteen_bits(competition: Competition, name: str, random: np.random.Generator) -> bytes:
    grey_values = cv2.cvtColor(competition.pixels(name), cv2.COLOR_RGB2GRAY).astype(np.uint16) * 16
    return cv2.imencode(".png", grey_values)[1].tobytes()


def blur(pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return cv2.GaussianBlur(pixels, (0, 0), 6)


def noise(pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return np.clip(pixels + random.normal(0, 50, pixels.shape), 0, 255).astype(np.uint8)


FAULTS: dict[str, Fault] = {
    "missing-1": missing(1),
    "missing-4": missing(4),
    "unreadable-text": replace_bytes("unreadable", 2, lambda *_: b"<html>404 not found</html>"),
    "unreadable-bytes": replace_bytes("unreadable", 1, lambda competition, name, random: random.bytes(3000)),
    "truncated-half": replace_bytes("truncated", 2, cut_off(0.5)),
    "truncated-end": replace_bytes("truncated", 1, cut_off(0.9)),
    "damaged-zeros": replace_bytes("damaged", 2, zero_bytes),
    "damaged-random": replace_bytes("damaged", 1, random_bytes),
    "empty-1": replace_bytes("empty", 1, lambda *_: b""),
    "empty-3": replace_bytes("empty", 3, lambda *_: b""),
    "wrong-ending-png": replace_bytes("wrong-ending", 2, as_format("PNG")),
    "wrong-ending-webp": replace_bytes("wrong-ending", 1, as_format("WEBP")),
    "wrong-ending-bmp": replace_bytes("wrong-ending", 3, as_format("BMP")),
    "animated-gif": replace_bytes("animated", 1, animated),
    "mode-cmyk": replace_bytes("odd-mode", 2, cmyk),
    "mode-grey": replace_bytes("odd-mode", 1, grey),
    "depth-16": replace_bytes("odd-depth", 2, sixteen_bits),
    "constant-black": replace_pixels("constant", 2, lambda pixels, random: np.zeros_like(pixels)),
    "constant-grey": replace_pixels("constant", 1, lambda pixels, random: np.full_like(pixels, 127)),
    "dark": replace_pixels("dark", 2, lambda pixels, random: (pixels * 0.06).astype(np.uint8)),
    "bright": replace_pixels("bright", 2, lambda pixels, random: (222 + pixels * 0.12).astype(np.uint8)),
    "blurred": replace_pixels("blurred", 2, blur),
    "noisy": replace_pixels("noisy", 2, noise),
    "size-tiny": replace_pixels("odd-size", 2, lambda pixels, random: cv2.resize(pixels, (14, 14))),
    "size-huge": replace_pixels("odd-size", 1, lambda pixels, random: cv2.resize(pixels, (1400, 1400))),
    "aspect-wide": replace_pixels("odd-aspect", 1, lambda pixels, random: cv2.resize(pixels, (480, 30))),
    "aspect-tall": replace_pixels("odd-aspect", 2, lambda pixels, random: cv2.resize(pixels, (40, 360))),
    "rare-class": rare_class,
    "spelling-case": spelling(str.upper),
    "spelling-space": spelling(lambda text: f"{text} "),
    "equal-bytes": copies("equal-bytes", None, pairs=2),
    "equal-bytes-test": copies("test-leak", None, test=True),
    "contradiction": contradiction,
    "near-recoded": copies("near-duplicate", lambda pixels, random: pixels, quality=55),
    "near-mirrored": copies("near-duplicate", lambda pixels, random: np.ascontiguousarray(pixels[:, ::-1])),
    "near-turned": copies("near-duplicate", lambda pixels, random: np.ascontiguousarray(np.rot90(pixels))),
    "near-smaller": copies("near-duplicate", lambda pixels, random: cv2.resize(pixels, None, fx=0.7, fy=0.7)),
    "near-cropped": copies("near-duplicate", crop),
    "near-brighter": copies(
        "near-duplicate", lambda pixels, random: np.clip(pixels * 1.12 + 5, 0, 255).astype(np.uint8)
    ),
    "near-test": copies("test-leak", lambda pixels, random: np.ascontiguousarray(pixels[::-1]), test=True),
    "groups": groups_cross_folds,
    "shortcut-quality": other_quality,
    "shortcut-size": other_size,
    "shortcut-ending": other_ending,
    "shift-dark": test_differs(lambda pixels: (pixels * 0.6).astype(np.uint8)),
    "shift-blur": test_differs(lambda pixels: cv2.GaussianBlur(pixels, (0, 0), 2)),
    "wrong-5": wrong_labels(5),
    "wrong-3": wrong_labels(3),
}


def equal_pixels(competition: Competition, random: np.random.Generator) -> None:
    """Two PNG files of the same pixels with different bytes."""
    first, second = choose(competition, random, 2)
    pixels = competition.pixels(first)
    for name, level in ((first, 1), (second, 9)):
        competition.path(name).unlink()
        Image.fromarray(pixels).save(competition.path(name).with_suffix(".png"), compress_level=level)
    competition.expected.append(("equal-pixels", {first, second}))


FAULTS["equal-pixels"] = equal_pixels


def is_reported(findings, kind, ids):
    """Whether findings of a kind name all the ids; without ids, whether there is one."""
    named = {row["image_id"] for row in findings if row["kind"] == kind}
    return bool(named) and set(ids) <= named
