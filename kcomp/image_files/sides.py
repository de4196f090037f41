"""Read width, height and the number of frames from the header of an image file, without decoding it.

The functions read only bytes that a decoder reads too, and take no memory that depends on the numbers in the file.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

GIF_BLOCKS = {0x21: 2, 0x2C: 10}  # bytes before the data of an extension, and of a frame
TIFF_SIZES = {1: (1, "B"), 3: (2, "H"), 4: (4, "I"), 16: (8, "Q")}  # bytes and format of the types of whole numbers
TIFF_WIDTH, TIFF_HEIGHT, TIFF_CHANNELS, TILE_WIDTH, TILE_HEIGHT = 256, 257, 277, 322, 323
MOST_STEPS = 100_000  # pages of a TIFF, and segments of a JPEG before its size, that are read


@dataclass(frozen=True)
class Sides:
    """The size of an image file.

    Attributes:
        width: The width in pixels, of the largest page.
        height: The height in pixels, of the largest page.
        frames: The number of frames of an animation, or of pages. 1 for a usual image.
        total: The pixels of all pages of a TIFF, whose sizes may differ. A page with more than four channels counts
            once for each four. 0 for other formats.
        metadata: How many bytes of a JPEG or PNG stand before the picture.
    """

    width: int
    height: int
    frames: int = 1
    total: int = 0
    metadata: int = field(default=0, compare=False)

    @property
    def pixels(self) -> int:
        """The number of pixels in all frames."""
        return self.total or self.width * self.height * self.frames


def read_sides(content: bytes) -> Sides | None:
    """Return the size of an encoded JPEG, PNG, GIF, BMP, WebP or TIFF. None for other or damaged content."""
    reader = next((READERS[start] for start in READERS if content.startswith(start)), None)
    if reader is None:
        return None
    try:
        return reader(content)
    except (struct.error, IndexError):  # the file ends early
        return None


def jpeg_sides(content: bytes) -> Sides | None:
    """Return the size in the first frame header of a JPEG (ITU-T T.81, B.2.2). None if there is none."""
    place = 2
    for _ in range(MOST_STEPS):
        place = content.find(b"\xff", place)
        if place < 0 or place + 9 > len(content):
            return None
        marker = content[place + 1]
        if marker == 0xFF:  # a fill byte
            place += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a frame header; C4, C8 and CC are not
            height, width = struct.unpack_from(">HH", content, place + 5)
            return Sides(width, height, metadata=place)
        elif marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD8:  # no marker, or one without a segment
            place += 2
        else:
            place += 2 + int.from_bytes(content[place + 2 : place + 4])
    return None


def png_sides(content: bytes) -> Sides | None:
    """Return the size of a PNG, and the number of frames of an animated one."""
    width, height = struct.unpack_from(">II", content, 16)
    frames, place = 1, 8
    while place + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        if kind == b"acTL":
            frames = max(1, struct.unpack_from(">I", content, place + 8)[0])
        if kind == b"IDAT":
            break
        place += 12 + length
    return Sides(width, height, frames, metadata=place)


def gif_sides(content: bytes) -> Sides | None:
    """Return the size of a GIF and the number of its frames."""
    width, height, flags = struct.unpack_from("<HHB", content, 6)
    place = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    frames = 0
    while place < len(content) and content[place] in GIF_BLOCKS:
        kind = content[place]
        if kind == 0x2C and place + 10 <= len(content):
            left, upper, own_width, own_height, flags = struct.unpack_from("<HHHHB", content, place + 1)
            width, height = max(width, left + own_width), max(height, upper + own_height)
            frames += 1
            place += (3 << (flags & 7) + 1 if flags & 0x80 else 0) + 1  # the table of colours, and the size of a code
        place += GIF_BLOCKS[kind]
        while place < len(content) and content[place]:
            place += 1 + content[place]
        place += 1
    return Sides(width, height, max(frames, 1))


def bmp_sides(content: bytes) -> Sides | None:
    [length] = struct.unpack_from("<I", content, 14)
    width, height = struct.unpack_from("<HH" if length == 12 else "<ii", content, 18)
    return Sides(abs(width), abs(height))


def webp_sides(content: bytes) -> Sides | None:
    """Return the size of a WebP, and the number of frames of an animated one."""
    if content[8:12] != b"WEBP":
        return None
    width = height = frames = 0
    place = 12
    while place + 18 <= len(content):
        kind, length = struct.unpack_from("<4sI", content, place)
        if kind == b"VP8X":
            sizes = [1 + int.from_bytes(content[start : start + 3], "little") for start in (place + 12, place + 15)]
        elif kind == b"VP8 ":
            sizes = [side & 0x3FFF for side in struct.unpack_from("<HH", content, place + 14)]
        elif kind == b"VP8L":
            bits = int.from_bytes(content[place + 9 : place + 13], "little")
            sizes = [1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)]
        else:
            sizes = [0, 0]
        width, height, frames = max(width, sizes[0]), max(height, sizes[1]), frames + (kind == b"ANMF")
        place += 8 + length + length % 2
    return Sides(width, height, max(frames, 1)) if width and height else None


def tiff_sides(content: bytes) -> Sides | None:
    """Return the size of the largest page of a TIFF, and the number of its pages."""
    pages = [tiff_page(tags) for tags in tiff_directories(content)]
    if not pages:
        return None
    width, height, _ = max(pages, key=lambda page: page[0] * page[1])
    return Sides(width, height, len(pages), sum(page[0] * page[1] * page[2] for page in pages))


def tiff_page(tags: dict[int, int]) -> tuple[int, int, int]:
    """Return the width and height of a page (or of a tile, if it is larger), and its channels in groups of four."""
    width = max(tags.get(TIFF_WIDTH, 0), tags.get(TILE_WIDTH, 0))
    height = max(tags.get(TIFF_HEIGHT, 0), tags.get(TILE_HEIGHT, 0))
    return width, height, -(-max(tags.get(TIFF_CHANNELS, 1), 1) // 4)


def tiff_directories(content: bytes) -> Iterator[dict[int, int]]:
    """Yield the whole numbers of each directory of a TIFF or BigTIFF by tag; each directory is a page."""
    order = "<" if content.startswith(b"II") else ">"
    is_big = struct.unpack_from(f"{order}H", content, 2)[0] == 43
    offset, count_format, entry = ("Q", "Q", 20) if is_big else ("I", "H", 12)
    start = 8 if is_big else 4
    [place] = struct.unpack_from(order + offset, content, start)
    visited: set[int] = set()
    while 0 < place < len(content) and place not in visited and len(visited) < MOST_STEPS:
        visited.add(place)
        [count] = struct.unpack_from(order + count_format, content, place)
        place += struct.calcsize(order + count_format)
        rest = (len(content) - place) // entry
        yield dict(tiff_entries(content, place, order, entry, min(count, rest)))
        place += count * entry
        if place + struct.calcsize(order + offset) > len(content):
            return
        [place] = struct.unpack_from(order + offset, content, place)


def tiff_entries(content: bytes, place: int, order: str, entry: int, count: int) -> Iterator[tuple[int, int]]:
    """Yield tag and value of the entries of a TIFF directory that are single whole numbers of interest."""
    tags = {TIFF_WIDTH, TIFF_HEIGHT, TIFF_CHANNELS, TILE_WIDTH, TILE_HEIGHT}
    for start in range(place, place + count * entry, entry):
        tag, kind = struct.unpack_from(f"{order}HH", content, start)
        if tag in tags and kind in TIFF_SIZES:
            yield tag, struct.unpack_from(order + TIFF_SIZES[kind][1], content, start + (12 if entry == 20 else 8))[0]


READERS: dict[bytes, Callable[[bytes], Sides | None]] = {
    b"\xff\xd8": jpeg_sides,
    b"\x89PNG": png_sides,
    b"GIF8": gif_sides,
    b"BM": bmp_sides,
    b"RIFF": webp_sides,
    b"II*\0": tiff_sides,
    b"MM\0*": tiff_sides,
    b"II+\0": tiff_sides,
    b"MM\0+": tiff_sides,
}
