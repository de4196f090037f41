"""Rules that find unusual images by their measurements. docs/internals/check.md describes each rule."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from kcomp.measurements.facts import Facts
from kcomp.report.finding import Severity

FALSE_ALARM = 0.001  # probability that any image of a normally distributed data set is an outlier
MODIFIED = 3.5  # the least modified z-score of an outlier (Iglewicz and Hoaglin 1993)
COMMON = 0.2  # if a larger share of the images is odd, the finding is only a note
DARK, BRIGHT = 0.32 * 255, 0.68 * 255  # grey values; the first is that of CleanVision
BLACK = 255 / 8  # grey value
FLAT = DARK / np.sqrt(12)  # the standard deviation of grey values that are spread evenly from 0 to DARK
BLUR = 3.0  # pixels of an image of 256 pixels
NOISE = 20.0  # grey values: a PSNR of 22 dB. The images of four clean data sets have at most 17
SMALLEST = 32  # pixels; in smaller images, detail looks like noise, and few pixels like blur
TIMES = 4.0  # ratio of the root of the area to its median, or of one side to the other


@dataclass(frozen=True)
class OddImages:
    """Images that have one kind of problem.

    Attributes:
        kind: The kind of problem, such as "blurred".
        severity: The severity of the finding.
        rows: The positions of the images in `Facts` and `PooledRows`.
        sentence: What is wrong, as the end of a sentence that begins with a count such as "3 images". `{is}`, `{has}`
            and `{them}` stand for words in the singular or plural.
        texts: A short text for each image, such as the measured value.
    """

    kind: str
    severity: Severity
    rows: np.ndarray
    sentence: str
    texts: list[str]


def z_scores(values: np.ndarray, least_scale: float) -> np.ndarray:
    """Return the modified z-score of each value: its distance from the median in robust standard deviations.

    The robust standard deviation is the median absolute deviation times 1.4826, at least `least_scale`.
    """
    if not np.isfinite(values).any():
        return np.full(len(values), np.nan)
    deviation = float(stats.median_abs_deviation(values, scale="normal", nan_policy="omit"))
    return (values - np.nanmedian(values)) / max(deviation, least_scale)


def outlier_limit(count: int) -> float:
    """Return the modified z-score above which an image counts as an outlier among `count` images."""
    return max(MODIFIED, float(stats.norm.isf(FALSE_ALARM / max(count, 1))))


def odd_images(
    facts: Facts,
    kind: str,
    mask: np.ndarray,
    order: np.ndarray,
    sentence: str,
    text: Callable[[Any], str],
    severity: Severity = "warning",
) -> Iterator[OddImages]:
    """Yield one `OddImages` with the images at which `mask` is True. Yield nothing if there are none.

    If these are more than a fifth of the undamaged images, the severity is "note".

    Args:
        facts: Measurements of all images.
        kind: The kind of problem.
        mask: Whether each image has the problem.
        order: A number for each image. The images with the highest numbers come first.
        sentence: See `OddImages`.
        text: Takes the position of an image, and returns the text about this image.
        severity: The severity of the finding.
    """
    rows = np.flatnonzero(mask)
    if not len(rows):
        return
    rows = rows[np.argsort(-order[rows], kind="stable")]
    common = len(rows) > COMMON * max(int((facts.problem == "").sum()), 1)
    yield OddImages(kind, "note" if common else severity, rows, sentence, [text(row) for row in rows])


def odd_pixels(facts: Facts) -> Iterator[OddImages]:
    """Yield the constant, very dark, very bright, blurred and noisy images, one `OddImages` for each kind."""
    constant = facts.readable & (facts.contrast < 1)
    sentence = "{is} of one colour: the standard deviation of the grey values is below 1"
    yield from odd_images(
        facts, "constant", constant, -facts.contrast, sentence, lambda row: f"grey {facts.brightness[row]:.0f}"
    )
    usable = facts.readable & ~constant
    detailed = usable & (np.minimum(facts.width, facts.height) >= SMALLEST)
    for problem in odd_light(facts, usable):
        yield problem
        detailed[problem.rows] = False  # rounding removes the detail of very dark and bright images
    yield from odd_detail(facts, detailed)


def odd_light(facts: Facts, usable: np.ndarray) -> Iterator[OddImages]:
    """Yield the very dark and the very bright images among the images in `usable`, bool (images,)."""

    def text(row: Any) -> str:
        return f"brightness {facts.brightness[row]:.0f}"

    threshold = outlier_limit(int(usable.sum()))
    black = usable & (facts.high < BLACK)
    if black.sum() > usable.sum() / 2:
        sentence = (
            f"{{is}} almost black: 99 % of the pixels are below {BLACK:.0f} of 255; is the range of values right?"
        )
        rows = np.flatnonzero(black)
        yield OddImages("dark", "warning", rows, sentence, [text(row) for row in rows])
    flat = usable & (facts.contrast < FLAT)
    faint = usable_z_scores(np.log(np.maximum(facts.contrast, 1)), usable, 0.1) < -threshold
    score = usable_z_scores(facts.high, usable, 10)
    sentence = f"{{is}} very dark: 99 % of the pixels are below {DARK:.0f} of 255, unlike in the other images"
    mask = flat & (facts.high < DARK) & ((score < -threshold) | (faint & (score < 0)))
    yield from odd_images(facts, "dark", mask, -score, sentence, text)
    score = usable_z_scores(facts.low, usable, 10)
    sentence = f"{{is}} very bright: 99 % of the pixels are above {BRIGHT:.0f} of 255, unlike in the other images"
    mask = flat & (facts.low > BRIGHT) & ((score > threshold) | (faint & (score > 0)))
    yield from odd_images(facts, "bright", mask, score, sentence, text)


def odd_detail(facts: Facts, usable: np.ndarray) -> Iterator[OddImages]:
    """Yield the blurred and the noisy images among the images in `usable`, bool (images,)."""
    threshold = outlier_limit(int(usable.sum()))
    radius = blur_radius(facts)
    mask = usable & (radius > BLUR) & (usable_z_scores(np.log(radius), usable, 0.025) > threshold)
    sentence = "{is} blurred, unlike the other images"
    yield from odd_images(facts, "blurred", mask, radius, sentence, lambda row: f"blur of {radius[row]:.1f} px")
    mask = usable & (facts.noise > NOISE) & (usable_z_scores(facts.noise, usable, 1) > threshold)
    sentence = f"{{has}} noise with a standard deviation above {NOISE:.0f} grey values, unlike the other images"
    yield from odd_images(facts, "noisy", mask, facts.noise, sentence, lambda row: f"noise {facts.noise[row]:.0f}")


def usable_z_scores(values: np.ndarray, usable: np.ndarray, least_scale: float) -> np.ndarray:
    """Return the modified z-scores of the images in `usable`, computed from these images only. Other images have 0."""
    return np.where(usable, z_scores(np.where(usable, values, np.nan), least_scale), 0)


def blur_radius(facts: Facts) -> np.ndarray:
    """Return the estimated blur of each image: the standard deviation of a Gaussian blur in pixels, (images,)."""
    sharpness = np.maximum(facts.sharpness - 20 / 12, 0.1)
    return (2 * np.maximum(facts.contrast, 1) ** 2 / sharpness) ** 0.25


def odd_shapes(facts: Facts) -> Iterator[OddImages]:
    """Yield the images of unusual size and the images of unusual aspect ratio."""
    usable = (facts.problem == "") & (facts.width > 0)  # known from the header, too
    threshold = outlier_limit(int(usable.sum()))
    width, height = np.maximum(facts.width, 1).astype(float), np.maximum(facts.height, 1).astype(float)
    with np.errstate(invalid="ignore"):
        side = np.log(np.where(usable, np.sqrt(width * height), np.nan))
        score, ratio = (
            np.nan_to_num(z_scores(side, 0.1)),
            np.nan_to_num(side - np.nanmedian(side)) if usable.any() else side,
        )

    def size(row: int) -> str:
        return f"{facts.width[row]} x {facts.height[row]} px"

    sentence = f"{{is}} much smaller than the others: the area is at most 1/{TIMES**2:.0f} of the median"
    small = usable & (ratio <= -np.log(TIMES)) & (score < -threshold)
    yield from odd_images(facts, "odd-size", small, -ratio, sentence, size)
    sentence = f"{{is}} much larger than the others: the area is at least {TIMES**2:.0f} times the median"
    large = usable & (ratio >= np.log(TIMES)) & (score > threshold)
    yield from odd_images(facts, "odd-size", large, ratio, sentence, size, "note")
    aspect = np.log(width / height)
    score = z_scores(np.where(usable, aspect, np.nan), 0.1)
    sentence = f"{{is}} unusually long or high: one side is at least {TIMES:.0f} times the other"
    mask = usable & (np.abs(aspect) >= np.log(TIMES)) & (np.abs(np.nan_to_num(score)) > threshold)
    yield from odd_images(facts, "odd-aspect", mask, np.abs(aspect), sentence, size)
