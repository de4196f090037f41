"""Determine how an image file is damaged: missing, empty, truncated and so on."""

from pathlib import Path

from kcomp.data.tables import Image
from kcomp.image_files.sides import jpeg_sides
from kcomp.measurements.content import file_of, read_content

JPEG, PNG, GIF, BMP = b"\xff\xd8", b"\x89PNG", b"GIF8", b"BM"
TIFF = (b"II*\0", b"MM\0*")


def kind_of_damage(image: Image, problem: str) -> str:
    """Return how an image is damaged, after an attempt to read it failed with the message `problem`.

    - missing: there is no such file.
    - empty: the file has no bytes.
    - truncated: the file ends before the picture does, as its format shows.
    - damaged: the header of the picture can be read, but not all of its data.
    - unreadable: anything else, such as a file of another kind or without permission to read it.
    """
    path = file_of(image)
    if path and not Path(path).is_file():
        return "missing"
    try:
        content = read_content(image).encoded
    except Exception:  # noqa: BLE001  # the function of an image may raise anything
        return "unreadable"
    if not content and (path or isinstance(image, bytes)):
        return "empty"
    if is_truncated(content) or (content.startswith(TIFF) and "truncat" in problem.lower()):
        return "truncated"
    return "damaged" if has_image_header(content) else "unreadable"


def is_truncated(content: bytes) -> bool:
    if content.startswith(JPEG):
        place = scan_start(content)
        return place is None or b"\xff\xd9" not in content[place:]
    if content.startswith(PNG):
        return b"IEND" not in content
    if content.startswith(GIF):
        return not content.rstrip(b"\0").endswith(b";")
    if content.startswith(b"RIFF"):
        return 8 + int.from_bytes(content[4:8], "little") > len(content)
    return content.startswith(BMP) and int.from_bytes(content[2:6], "little") > len(content)


def scan_start(content: bytes) -> int | None:
    """Return the position in a JPEG file at which the headers end and the compressed pixels begin, or None."""
    place = 2
    while place + 4 <= len(content) and content[place] == 0xFF:
        if content[place + 1] == 0xDA:
            return place
        place += 1 if content[place + 1] == 0xFF else 2 + int.from_bytes(content[place + 2 : place + 4])
    return None


def has_image_header(content: bytes) -> bool:
    """Return whether a file begins with the header of an image format. A JPEG or PNG header must have the size, too."""
    if content.startswith(JPEG):
        return jpeg_sides(content) is not None
    if content.startswith(PNG):
        return content[12:16] == b"IHDR" and min(content[16:20], content[20:24]) > bytes(4)
    return content.startswith((GIF, BMP, *TIFF)) or content[8:12] == b"WEBP"
