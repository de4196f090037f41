"""Plots and thumbnails of reports: any names, NaN, nothing to show, small files."""

import io
import warnings

import numpy as np
import pytest
from PIL import Image

from kcomp.report.canvas import label
from kcomp.report.thumbnail import thumbnail

NAMES = {
    0: [],
    2: ["ants", "bees"],
    40: [*(f"class_{k} $x_{k}$ with a very long name" for k in range(37)), "한국어 이름", "_\n\0\udcff", "</script>"],
}
DRAWS = np.random.default_rng(0)


def calls(names):
    """Every plot of as many names, with random numbers of which some are NaN."""
    from kcomp.report import plots

    count = len(names)
    values = DRAWS.random(count)
    values[1::7] = np.nan
    ends = np.sort(DRAWS.random((count, 2)), axis=1)
    groups = {name: DRAWS.normal(size=50) for name in names[:9]}
    return {
        "bars": lambda: plots.bars(names, values, xlabel="score", notes=names, intervals=ends, reference=0.5),
        "points": lambda: plots.points(names, values, ends, xlabel="score", notes=names),
        "histogram": lambda: plots.histogram(groups, xlabel="size", lines={"$1": 0.5}),
        "one histogram": lambda: plots.histogram({"all": values}, xlabel="size"),
        "curves": lambda: plots.curves(values, dict.fromkeys(names, values), xlabel="x", ylabel="y", bands=dict.fromkeys(names, (values, values + 1))),
        "calibration": lambda: plots.curves(values, {"run": values}, xlabel="x", ylabel="y", diagonal=True),
        "confusion": lambda: plots.matrix(DRAWS.integers(0, 9, (count, count)), names, xlabel="x", ylabel="y", by_row=True),
        "correlation": lambda: plots.matrix(values[:, None] - values, names, xlabel="x", ylabel="y"),
        "scatter": lambda: plots.scatter(values, values, xlabel="x", ylabel="y", diagonal=True, zero=True),
        "many dots": lambda: plots.scatter(np.tile(values, 500), DRAWS.random(500 * count), xlabel="x", ylabel="y"),
    }  # fmt: skip


@pytest.mark.parametrize("count", NAMES)
def test_plots_of_any_names(count):
    pytest.importorskip("matplotlib")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, draw in calls(NAMES[count]).items():
            content = draw()
            picture = Image.open(io.BytesIO(content))
            assert picture.format == "PNG" and len(content) < 120 * 1024, (name, len(content))
            assert 400 < picture.width <= 1080 and round(picture.info["dpi"][0]) == 120, (name, picture.size)
            assert len(picture.convert("RGB").getcolors(10**7)) > 5, name  # not only a white area


def test_bars_have_the_lengths_of_their_values():
    """The blue pixels in the row of each bar, relative to the longest bar."""
    pytest.importorskip("matplotlib")
    from kcomp.report import plots

    pixels = np.asarray(Image.open(io.BytesIO(plots.bars(["a", "b", "c"], [1, 4, np.nan], xlabel="n"))).convert("RGB"))
    blue = (np.abs(pixels.astype(int) - (0x3B, 0x6F, 0xB6)).sum(axis=2) < 10).sum(axis=1)
    lengths = sorted(set(blue[blue > 50].tolist()))
    assert lengths[0] / lengths[-1] == pytest.approx(0.25, abs=0.02) and len(lengths) <= 4


def test_confusion_colours_are_shares_of_the_row():
    """1 of 2 and 100 of 200 have one colour; the other cells of the diagonal have another."""
    pytest.importorskip("matplotlib")
    from kcomp.report import plots

    counts = np.full((20, 20), 0)  # too many cells for numbers
    np.fill_diagonal(counts, 7)
    counts[0, :2], counts[1, :2] = (1, 1), (100, 100)
    content = plots.matrix(counts, [f"c{k}" for k in range(20)], xlabel="x", ylabel="y", by_row=True)
    colours = Image.open(io.BytesIO(content)).convert("RGB").getcolors(10**6)
    cells = [number for number, _ in sorted(colours, reverse=True)[:4]]  # zeros, margin, the diagonal, the four halves
    assert cells[2] / cells[3] == pytest.approx(18 / 4, rel=0.1)


def test_labels_are_literal_and_short():
    assert label("cat") == "cat" and label("a$b$") == r"a\$b\$" and label("_a") == " _a"
    assert label("a\nb\0\udcff") == "a?b??"
    assert label("abcdefghij", 6) == "abc…ij" and label("한국어 이름", 7) == "한…름"
    assert label("abcdef", 6) == "abcdef"


def shown(pixels, **options):
    picture = Image.open(io.BytesIO(thumbnail(pixels, **options)))
    assert picture.format == "JPEG"
    return np.asarray(picture.convert("RGB")).astype(int)


def test_thumbnails():
    red = np.zeros((300, 600, 3), np.uint8)
    red[..., 0] = 250
    assert shown(red).shape == (80, 160, 3)  # the aspect ratio stays
    assert np.abs(shown(red) - (250, 0, 0)).max() < 8  # the order of channels stays
    assert shown(red[:100, :100], side=160).shape == (100, 100, 3)  # not enlarged by less than 2
    assert shown(red[:28, :28], side=160).shape == (140, 140, 3)  # by the whole number 5
    assert shown(np.full((40, 3000, 1), 90, np.uint8)).shape == (2, 160, 3)
    assert shown(np.full((1, 3000, 1), 90, np.uint8)).shape == (1, 160, 3)
    clear = np.concatenate([red, np.zeros((300, 600, 1), np.uint8)], axis=2)
    assert shown(clear).min() > 250  # transparent pixels are white
    assert len(thumbnail(DRAWS.integers(0, 256, (480, 640, 3), np.uint8))) < 20_000
    for wrong in (red[..., 0], red[..., :2], red.astype(np.float32), red[:0]):
        with pytest.raises(ValueError, match=r"pixels must be uint8 of shape .*; received"):
            thumbnail(wrong)
