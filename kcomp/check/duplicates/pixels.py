"""Compare the pixels of two images to find out whether they show the same picture."""

from itertools import pairwise

import cv2
import numpy as np

from kcomp.check.duplicates.windows import Placement, turn_image

SIDE = 128  # images are compared as squares of this side
TILES = 5  # tiles along each side
TEXTURE = 1.5  # standard deviation of the fine structure in grey values, below which a tile is flat
# Correlation of the fine structure that three of four tiles must have. Copies (quality 60, half the size) have above
# 0.93; different photographs of cards on one table have up to 0.88.
SAME = 0.9
DIFFERENT = 0.6  # correlation of a tile, below which something else is in it
TURNS = (  # what each number of `turn_image` does
    "",
    "mirrored",
    "mirrored",
    "turned by 180 degrees",
    "mirrored and turned",
    "turned by 90 degrees",
    "turned by 90 degrees",
    "mirrored and turned",
)
FEW_TILES = 10  # of 25: with fewer tiles with texture, an image is flat, such as a drawing on white
PIXELS = 8.0  # mean difference in grey values of flat images that are called equal


def describe_change(first: np.ndarray, second: np.ndarray, place: Placement) -> str:
    """Return how one image differs from the other, or "" if they do not show the same picture.

    Args:
        first: RGB, uint8 (SIDE, SIDE, 3).
        second: The second image, of the same shape and type.
        place: An estimate of where one image lies in the other.

    Returns:
        "" or a text such as "copy", "mirrored", "turned by 90 degrees" or "cropped".
    """
    outer, inner = (second, first) if place.is_swapped else (first, second)
    inner = turn_image(inner, place.turn)
    correlations = compare_in_detail(grey(outer), grey(inner), place)
    if not is_same(correlations):
        return ""
    if np.isfinite(correlations).sum() < FEW_TILES and not has_equal_pixels(outer, inner):
        return ""  # drawings on a white ground look alike
    return placement_text(place)


def grey(pixels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)


def compare_in_detail(outer: np.ndarray, inner: np.ndarray, place: Placement) -> np.ndarray:
    """Return the correlation of two images in each tile, (TILES, TILES), after aligning them.

    The alignment maximises the enhanced correlation coefficient over affine maps (Evangelidis and Psarakis 2008). It
    begins at `place`. The correlations are those of `tile_correlations`. All are NaN if the images cannot be aligned.
    """
    start = np.array([[place.scale, 0, place.left * SIDE], [0, place.scale, place.top * SIDE]], np.float32)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 40, 1e-4)
    try:
        _, affine = cv2.findTransformECC(inner, outer, start, cv2.MOTION_AFFINE, stop, None, 5)
    except cv2.error:  # the images cannot be aligned
        return np.full((TILES, TILES), np.nan)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(outer, affine, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    inside = cv2.warpAffine(np.ones_like(outer), affine, (SIDE, SIDE), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)
    return tile_correlations(fine_structure(inner), fine_structure(warped), inside > 0)


def fine_structure(pixels: np.ndarray) -> np.ndarray:
    """Return the difference of two Gaussian blurs of an image, which brightness and slow shading do not change."""
    return cv2.GaussianBlur(pixels, (0, 0), 1.0) - cv2.GaussianBlur(pixels, (0, 0), 4.0)


def tile_correlations(first: np.ndarray, second: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return the correlation of two images in each tile, (TILES, TILES).

    Tiles without texture are NaN, and so are tiles with less than 80 % of their pixels in `inside`, bool (SIDE, SIDE).
    """
    edges = np.linspace(0, SIDE, TILES + 1).astype(int)
    correlations = np.full((TILES, TILES), np.nan)
    for row, (top, bottom) in enumerate(pairwise(edges)):
        for column, (left, right) in enumerate(pairwise(edges)):
            tile = np.s_[top:bottom, left:right]
            values, others = first[tile] - first[tile].mean(), second[tile] - second[tile].mean()
            spreads = values.std(), others.std()
            if inside[tile].mean() >= 0.8 and max(spreads) >= TEXTURE:
                correlations[row, column] = (values * others).mean() / max(spreads[0] * spreads[1], 1e-9)
    return correlations


def is_same(correlations: np.ndarray) -> bool:
    """Return whether the tile correlations of two images are so high that they show the same picture."""
    known = correlations[~np.isnan(correlations)]
    if not len(known) or np.quantile(known, 0.25) < SAME:
        return False
    return int((correlations[1:-1, 1:-1] < DIFFERENT).sum()) <= 1


def has_equal_pixels(first: np.ndarray, second: np.ndarray) -> bool:
    """Return whether two images are equal up to compression, brightness and contrast."""
    values, others = first.astype(np.float32), second.astype(np.float32)
    gain = float(np.cov(values.ravel(), others.ravel(), bias=True)[0, 1] / max(others.var(), 1e-9))
    difference = np.abs((values - values.mean()) - gain * (others - others.mean())).mean(2)
    tiles = cv2.resize(difference, (TILES * 2, TILES * 2), interpolation=cv2.INTER_AREA)
    return bool(tiles.max() <= PIXELS)


def placement_text(place: Placement) -> str:
    """Return how the inner image differs from the outer one, such as "mirrored", "mirrored and cropped" or "copy"."""
    words = [TURNS[place.turn], "cropped" if place.scale < 1 else ""]
    return " and ".join(filter(None, words)) or "copy"
