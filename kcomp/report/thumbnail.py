"""Make small pictures of images for report pages."""

import numpy as np


def thumbnail(pixels: np.ndarray, side: int = 160) -> bytes:
    """Return a smaller copy of an image as a JPEG file.

    A very small image is enlarged by a whole number.

    Args:
        pixels: uint8, (height, width, channels) with 1 (grey), 3 (RGB) or 4 (RGB and alpha) channels. Transparent
            pixels become white.
        side: The greatest height and width of the copy.

    Raises:
        ValueError: If the pixels have another shape or type.
    """
    import cv2

    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or pixels.dtype != np.uint8 or not pixels.size:
        raise ValueError(
            "pixels must be uint8 of shape (height, width, 1, 3 or 4); "
            f"received {pixels.dtype} of shape {tuple(pixels.shape)}"
        )
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    scale = float(int(scale)) if scale >= 2 else min(scale, 1.0)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale <= 1 else cv2.INTER_NEAREST)
    small = small.reshape(size[1], size[0], -1)
    if small.shape[2] == 4:
        alpha = small[..., 3:].astype(np.float32) / 255
        small = np.round(small[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    _, content = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])
    return content.tobytes()
