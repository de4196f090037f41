"""Draw heat maps over images."""

import cv2
import numpy as np

OPACITY = 0.8  # of the colour where the heat is 1


def overlay(pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Draw a heat map over an image. Hot pixels are coloured. Cold pixels show the image in grey.

    The colours are those of the colour map "inferno": purple (low heat), orange, and yellow (high heat).

    Args:
        pixels: The image in 0..255, (height, width) or (height, width, channels). With more than three channels, the
            first three are shown. With two channels, the first is shown.
        heat: The heat map in 0..1, (height, width). A map of another size is scaled to the image.

    Returns:
        The picture, uint8 (height, width, 3).

    Examples:
        >>> import numpy as np
        >>> from kcomp.explain import overlay
        >>> overlay(np.full((2, 2, 3), 100, np.uint8), np.zeros((2, 2), np.float32))[0, 0].tolist()
        [100, 100, 100]
    """
    pixels = np.atleast_3d(np.asarray(pixels, np.float32))
    pixels = pixels[..., :3] if pixels.shape[2] > 2 else np.repeat(pixels[..., :1], 3, 2)
    height, width = pixels.shape[:2]
    heat = np.clip(np.asarray(heat, np.float32), 0, 1)
    if heat.shape != (height, width):
        heat = cv2.resize(heat, (width, height), interpolation=cv2.INTER_LINEAR)
    levels = np.rint(heat * 255).astype(np.uint8)
    colors = cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[..., ::-1].astype(np.float32)
    grey = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)[..., None]
    opacity = OPACITY * np.sqrt(heat[..., None])  # the root shows weak heat too
    return np.rint(np.clip(grey * (1 - opacity) + colors * opacity, 0, 255)).astype(np.uint8)
