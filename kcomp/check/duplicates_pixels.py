"""Compare the pixels of two images: do they show the same picture?

One image may be a rotated, mirrored, resized, brighter, captioned, or cropped copy of the other.
"""

from itertools import pairwise

import cv2
import numpy as np

from kcomp.check.duplicates_windows import Placement, turn_image

SIDE = 128  # images are compared as squares of this side
TILES = 5  # tiles along each side
TEXTURE = 1.5  # standard deviation of the fine structure in grey values, below which a tile is flat
# Correlation of the fine structure that at least three of four tiles must have. Copies (quality 60, half the size) have
# above 0.93; different photographs of one hand before one wall have up to 0.77. 0.85 is the middle.
SAME = 0.85
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
PIXELS = 8.0  # mean difference in grey values of flat images that are called equal


def same_picture(first: np.ndarray, second: np.ndarray, place: Placement) -> str:
    """Return what was done to one image to make the other, or "" if they do not show the same picture.

    Args:
        first: RGB, uint8 (SIDE, SIDE, 3).
        second: The same of the second image.
        place: Where about one image lies in the other.

    Returns:
        "" or words such as "copy", "mirrored", "turned by 90 degrees" and "cropped".
    """
    outer, inner = (second, first) if place.is_swapped else (first, second)
    inner = turn_image(inner, place.turn)
    agreement, textured = compare_in_detail(grey(outer), grey(inner), place)
    if agreement < SAME:
        return ""
    if textured < TILES**2 / 2 and not has_equal_pixels(outer, inner):
        return ""  # drawings on a white ground look alike
    return change_in_words(place)


def grey(pixels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)


def compare_in_detail(outer: np.ndarray, inner: np.ndarray, place: Placement) -> tuple[float, int]:
    """Align two images, and compare their fine structure tile by tile.

    The alignment maximises the enhanced correlation coefficient over affine maps (Evangelidis and Psarakis 2008).

    Returns:
        Two things: the correlation that three of four tiles with texture reach, and the number of these tiles.
    """
    start = np.array([[place.scale, 0, place.left * SIDE], [0, place.scale, place.top * SIDE]], np.float32)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 40, 1e-4)
    try:
        _, affine = cv2.findTransformECC(inner, outer, start, cv2.MOTION_AFFINE, stop, None, 5)
    except cv2.error:  # the images cannot be aligned
        return 0.0, 0
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(outer, affine, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    inside = cv2.warpAffine(np.ones_like(outer), affine, (SIDE, SIDE), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)
    correlations = tile_correlations(fine_structure(inner), fine_structure(warped), inside > 0)
    return (float(np.quantile(correlations, 0.25)) if correlations else 0.0), len(correlations)


def fine_structure(pixels: np.ndarray) -> np.ndarray:
    """Return a difference of Gaussians, in which neither brightness nor slow shading matters."""
    return cv2.GaussianBlur(pixels, (0, 0), 1.0) - cv2.GaussianBlur(pixels, (0, 0), 4.0)


def tile_correlations(first: np.ndarray, second: np.ndarray, inside: np.ndarray) -> list[float]:
    """Return the correlation of two images in each tile that has texture and lies inside both images."""
    edges = np.linspace(0, SIDE, TILES + 1).astype(int)
    correlations = []
    for top, bottom in pairwise(edges):
        for left, right in pairwise(edges):
            tile = np.s_[top:bottom, left:right]
            if inside[tile].mean() < 0.8:
                continue
            one_tile, other_tile = first[tile] - first[tile].mean(), second[tile] - second[tile].mean()
            spreads = one_tile.std(), other_tile.std()
            if max(spreads) >= TEXTURE:
                correlations.append(float((one_tile * other_tile).mean() / max(spreads[0] * spreads[1], 1e-9)))
    return correlations


def has_equal_pixels(first: np.ndarray, second: np.ndarray) -> bool:
    """Return whether two images are equal up to compression: no tile differs by more than a few grey values."""
    difference = np.abs(first.astype(np.float32) - second.astype(np.float32)).mean(2)
    tiles = cv2.resize(difference, (TILES * 2, TILES * 2), interpolation=cv2.INTER_AREA)
    return bool(tiles.max() <= PIXELS)


def change_in_words(place: Placement) -> str:
    """Return what was done to one image to make the other, such as "mirrored, cropped"."""
    words = [TURNS[place.turn], "cropped" if place.scale < 1 else ""]
    return " and ".join(filter(None, words)) or "copy"
