"""Check image files for damage, as a separate program.

The program reads paths from standard input, separated by zero bytes. For each path, it writes one line of JSON; see
`check_file`. It is a separate process because the decoder reports a damaged JPEG only on standard error, which all
threads of a process share. It imports nothing from kcomp, so that it starts quickly.
"""

import io
import json
import os
import re
import struct
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

if __name__ == "__main__":  # a program finds only packages that are installed, and kcomp may be in another folder
    sys.path.append(str(Path(__file__).parents[2]))
from kcomp.image_files.limits import check_sides, pillow_formats, read_file

ZEROS = bytes(64)
PNG = b"\x89PNG"
PADDING = 8  # cameras may write up to this many extra bytes before the end marker
EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
HARMLESS = ("unknown JFIF revision", "Unknown Adobe color transform", "Invalid SOS parameters")


def check_file(path: str) -> dict[str, Any]:
    """Check a file, and return the result as a dict.

    `problem` says why the file is damaged, and is None for a good file. For an image of more than eight bits a channel,
    `kind` is the type of the pixels, and `low` and `high` are the lowest and the highest pixel value. `was_read` is
    False if the file cannot be read.
    """
    try:
        content = read_file(path)
    except (OSError, ValueError) as error:
        return {"problem": getattr(error, "strerror", None) or str(error), "was_read": False}
    if not content:
        return {"problem": "the file is empty"}
    try:
        check_sides(content)
        return check_content(content)
    except Exception as error:  # noqa: BLE001  # decoders raise many types of errors for damaged files
        return {"problem": str(error) or type(error).__name__}


def check_content(content: bytes) -> dict[str, Any]:
    """Decode an image, and return the result of `check_file`."""
    if content.startswith(b"\xff\xd8"):
        return {"problem": jpeg_problem(content)}
    pixels = deep_pixels(content) if is_deep(content) else None
    if pixels is None:
        return {"problem": pillow_problem(content)}
    problem = pillow_problem(content) if content.startswith(PNG) else None  # OpenCV reads TIFFs that Pillow does not
    return {"problem": problem} if problem else range_of(pixels)


def jpeg_problem(content: bytes) -> str | None:
    """Return why a JPEG is damaged, or None for a good file.

    The reason is an error of the decoder, a warning of libjpeg, or a part of the data that consists of zero bytes.
    """
    pixels, complaint = decode(content)
    if pixels is None:
        return pillow_problem(content)
    if complaint and not is_harmless(complaint, content):
        return complaint
    return "zero bytes replace a part of the picture" if has_zeros(content) else None


def decode(content: bytes) -> tuple[np.ndarray | None, str]:
    """Decode a JPEG at an eighth of its width and height. Return the pixels, and the decoder's first error or warning.

    The pixels are None if decoding fails. The text is empty without a warning.
    """
    start = os.lseek(2, 0, os.SEEK_END)
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
    except cv2.error as error:
        return None, str(error)
    length = os.lseek(2, 0, os.SEEK_END) - start
    os.lseek(2, start, os.SEEK_SET)
    printed = os.read(2, length).decode(errors="replace").strip()
    return pixels, printed.removeprefix("Corrupt JPEG data: ").split("\n")[0]


def is_harmless(complaint: str, content: bytes) -> bool:
    """Return whether the decoder prints the warning `complaint` for good files too."""
    extraneous = EXTRANEOUS.search(complaint)
    if extraneous is None:
        return any(text in complaint for text in HARMLESS)
    count, end = int(extraneous[1]), content.rfind(b"\xff\xd9")
    return count <= PADDING or len(set(content[end - count : end])) == 1


def has_zeros(content: bytes) -> bool:
    """Return whether a part of a baseline JPEG's data was overwritten by at least 64 zero bytes.

    Zero bytes are no sign of damage if they encode a uniform area. This is the case if zero bits mean "end of block" in
    all Huffman tables (ITU-T T.81, C.2).
    """
    if ZEROS not in content:
        return False
    symbols, place, baseline = [], 2, False
    while place + 4 <= len(content) and content[place] == 0xFF:
        marker, length = content[place + 1], int.from_bytes(content[place + 2 : place + 4])
        if marker == 0xFF:  # a fill byte
            place += 1
            continue
        if marker == 0xC4:
            symbols += first_symbols(content[place + 4 : place + 2 + length])
        baseline = baseline or marker in (0xC0, 0xC1)
        place += 2 + length
        if marker == 0xDA:  # the picture begins
            end = content.rfind(b"\xff\xd9")
            return baseline and any(symbols) and ZEROS in content[place : end if end > 0 else None].rstrip(b"\0")
    return False


def first_symbols(tables: bytes) -> list[int]:
    """Return the symbol that zero bits encode in each AC Huffman table of a JPEG.

    `tables` is the content of a DHT segment, which defines Huffman tables.
    """
    symbols, place = [], 0
    while place + 17 < len(tables):
        if tables[place] >= 0x10:
            symbols.append(tables[place + 17])
        place += 17 + sum(tables[place + 1 : place + 17])
    return symbols


def pillow_problem(content: bytes) -> str | None:
    """Return what Pillow reports as damaged in an image file, or None for a good file."""
    try:
        with Image.open(io.BytesIO(content), formats=pillow_formats()) as opened:
            if opened.format == "PNG":
                opened.verify()  # the checksum of every chunk, without decoding
            else:
                opened.load()
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        known = not isinstance(error, Image.UnidentifiedImageError)
        if not known and decode(content)[0] is not None:
            return None
        return str(error) if known else "not an image in a known format"
    return None


def is_deep(content: bytes) -> bool:
    """Return whether an encoded image may have more than eight bits a channel: a 16-bit PNG, or any TIFF."""
    if content.startswith(PNG):
        return content[24:25] == b"\x10"
    return content[:4] in (b"II*\0", b"MM\0*")


def deep_pixels(content: bytes) -> np.ndarray | None:
    """Decode an image with more than eight bits a channel, and keep the type of its pixels.

    Return pixels of shape (height, width), or BGR of shape (height, width, 3). Return None if the pixels are uint8, or
    if OpenCV cannot decode the image.
    """
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)
    except cv2.error:
        return None
    return None if pixels is None or pixels.dtype == np.uint8 else pixels


def range_of(pixels: np.ndarray) -> dict[str, Any]:
    if not np.isfinite(pixels).all():
        return {"problem": "some pixels are not finite numbers"}
    return {"problem": None, "kind": str(pixels.dtype), "low": float(pixels.min()), "high": float(pixels.max())}


def main() -> None:
    cv2.setNumThreads(1)
    Image.MAX_IMAGE_PIXELS = None
    with tempfile.TemporaryFile() as errors:
        os.dup2(errors.fileno(), 2)
        for path in sys.stdin.buffer.read().split(b"\0"):
            sys.stdout.write(json.dumps(check_file(os.fsdecode(path))) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
