"""Image files that are too large are refused by their headers, before a decoder takes memory."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from damage_here import no_process  # noqa: F401
from PIL import Image

from kcomp import data
from kcomp.data import damage
from kcomp.data.decoding import read_pixels
from kcomp.image_files.limits import check_sides, read_file
from kcomp.image_files.sides import Sides, read_sides
from kcomp.measurements.header import read_header
from kcomp.new.sizes import measure

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8))
FRAMES = [PICTURE.rotate(angle, fillcolor=(angle, 0, 0)) for angle in (0, 9, 18)]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KCOMP_CACHE", str(tmp_path / "cache"))


def encoded(format, picture=PICTURE, **options):
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


def png(width, height, *, depth=8, before=b"", pixels=b""):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), before and chunk(*before), chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(part or b"" for part in parts)


def patched(content, start, numbers):
    """The content with other numbers at `start`."""
    return content[:start] + numbers + content[start + len(numbers) :]


def tiff(width, height, *, bits=8, channels=3, order="<"):
    """A TIFF whose pixels are missing, as the numbers of its header would have them."""
    entries = [(256, width), (257, height), (258, bits), (259, 1), (262, 2), (273, 8), (277, channels), (279, 100)]
    table = struct.pack(f"{order}H", len(entries)) + b"".join(
        struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in entries
    )
    return {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", 8) + table + bytes(4)


def huge():
    """Files of a few bytes with 10^9 pixels or more, by name."""
    jpeg, progressive = encoded("JPEG"), encoded("JPEG", progressive=True)
    cmyk, webp, lossless = encoded("JPEG", PICTURE.convert("CMYK")), encoded("WEBP"), encoded("WEBP", lossless=True)
    animated = encoded("WEBP", FRAMES[0], save_all=True, append_images=FRAMES[1:])
    side = struct.pack("<I", 39_999)[:3]
    return {
        "PNG": png(40_000, 25_000),
        "PNG of 16 bits": png(40_000, 25_000, depth=16),
        "JPEG": patched(jpeg, jpeg.index(b"\xff\xc0") + 5, struct.pack(">HH", 40_000, 25_000)),
        "progressive JPEG": patched(
            progressive, progressive.index(b"\xff\xc2") + 5, struct.pack(">HH", 40_000, 25_000)
        ),
        "CMYK": patched(cmyk, cmyk.index(b"\xff\xc0") + 5, struct.pack(">HH", 40_000, 25_000)),
        "GIF": patched(encoded("GIF"), 6, struct.pack("<HH", 40_000, 25_000)),
        "BMP": patched(encoded("BMP"), 18, struct.pack("<ii", 40_000, -25_000)),
        "WebP": patched(webp, 26, struct.pack("<HH", 0x3FFF, 0x3FFF)),
        "lossless WebP": patched(lossless, 21, struct.pack("<I", 0x3FFE | 0x3FFE << 14)),
        "animated WebP": patched(animated, 24, side + side),
        "TIFF": tiff(40_000, 25_000),
        "TIFF of 16 bits": tiff(40_000, 25_000, bits=16, order=">"),
        "TIFF of 400 channels": tiff(2000, 2000, channels=400),
        "PPM": b"P6 40000 25000 255\n" + bytes(99),
    }


@pytest.mark.parametrize("format", FORMATS)
def test_sides_are_those_that_pillow_reads(format):
    pictures = [PICTURE, PICTURE.convert("L"), PICTURE.resize((1, 300))]
    assert [read_sides(encoded(format, picture)) for picture in pictures] == [
        Sides(*picture.size, total=picture.width * picture.height * (format == "TIFF")) for picture in pictures
    ]


def test_other_variants_of_a_header():
    for picture, format, options in (
        (PICTURE, "WEBP", {"lossless": True}),
        (PICTURE.convert("RGBA"), "WEBP", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"}),
        (PICTURE, "JPEG", {"progressive": True, "comment": b"\xff\xc0" * 20}),
        (PICTURE, "PNG", {"interlace": True}),
    ):
        sides = read_sides(encoded(format, picture, **options))
        assert (sides.width, sides.height, sides.frames) == (60, 40, 1)
    assert read_sides(b"BM" + bytes(12) + struct.pack("<IHH", 12, 7, 5)) == Sides(7, 5)
    assert read_sides(encoded("TIFF", big_tiff=True)).pixels == 2400
    assert read_sides(tiff(7, 5, order=">")) == Sides(7, 5, total=35)


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_frames_are_counted(format):
    content = encoded(format, FRAMES[0], save_all=True, append_images=FRAMES[1:])
    sides = read_sides(content)
    assert (sides.width, sides.height, sides.frames, sides.pixels) == (60, 40, 3, 7200)
    assert read_header(content).frames == 3


@pytest.mark.parametrize("format", FORMATS)
def test_a_header_that_ends_early_raises_no_other_error(format):
    content = encoded(format)
    for length in range(2, min(len(content), 300)):
        assert read_sides(content[:length]) in (None, read_sides(content)) or format in ("TIFF", "WEBP", "GIF", "BMP")


@pytest.mark.parametrize(("name", "content"), huge().items(), ids=huge())
def test_a_huge_image_is_refused_by_its_header(tmp_path, monkeypatch, name, content):
    """By each function that opens image files. No decoder of OpenCV or Pillow is called."""
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    monkeypatch.setattr("cv2.imdecode", lambda *_: pytest.fail("decoded"))
    if name != "PPM":  # Pillow reads its header
        monkeypatch.setattr("PIL.Image.open", lambda *_, **__: pytest.fail("opened"))
    limit = "limit of 178.?956.?970"
    for call in (lambda: read_pixels(str(path)), lambda: read_pixels(content, 8, 4)):
        with pytest.raises(ValueError, match=limit):
            call()
    with pytest.raises(ValueError, match=rf"row 'x' cannot be read \(.*a\.jpg\): .*{limit}"):
        data.Images(32).load("x", str(path))
    with pytest.raises(ValueError, match=f"1 of 1 images are damaged: .*a.jpg .*{limit}"):
        data.read_images(tmp_path)
    assert read_header(content).width == 0 and measure([path]).shape == (0, 2)


def test_the_message_says_how_to_allow_an_image():
    with pytest.raises(
        ValueError,
        match=r"^the image has 20000 x 10000 pixels, together 200,000,000, more than the "
        r"limit of 178,956,970; if its origin is trusted and memory suffices, set the environment "
        r"variable KCOMP_MAX_PIXELS=200000000$",
    ):
        check_sides(png(20_000, 10_000))
    with pytest.raises(ValueError, match="cut it into smaller images, because no setting allows more than 1,073,741"):
        check_sides(png(40_000, 30_000))


def test_many_frames_count_together(monkeypatch):
    content = encoded("GIF", FRAMES[0], save_all=True, append_images=FRAMES[1:])
    monkeypatch.setenv("KCOMP_MAX_PIXELS", "7199")
    with pytest.raises(ValueError, match=r"^3 frames of up to 60 x 40 pixels, together 7,200, more than .* 7,199; if"):
        read_pixels(content)
    monkeypatch.setenv("KCOMP_MAX_PIXELS", "7200")
    assert read_pixels(content).shape == (40, 60, 3)


def test_another_limit_gives_another_result_of_the_check(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(encoded("PNG"))
    assert damage.check_files([str(path)])[0].problem is None
    monkeypatch.setenv("KCOMP_MAX_PIXELS", "2399")
    assert "60 x 40 pixels, together 2,400" in damage.check_files([str(path)])[0].problem


@pytest.mark.parametrize("text", ["0", "-5", "many", "1e9", "1073741825", "9" * 5000])
def test_a_wrong_limit(monkeypatch, text):
    monkeypatch.setenv("KCOMP_MAX_PIXELS", text)
    with pytest.raises(ValueError, match="KCOMP_MAX_PIXELS must be a whole number of pixels from 1 to 1073741824; rec"):
        check_sides(encoded("PNG"))


@pytest.mark.parametrize("kind", ["tEXt", "zTXt", "iCCP", "EXIF"])
def test_large_metadata_are_refused(kind):
    text = bytes(20 << 20)
    if kind == "EXIF":
        jpeg = encoded("JPEG")
        content = jpeg[:2] + (b"\xff\xe1" + struct.pack(">H", 65_535) + b"Exif\0\0" + bytes(65_527)) * 300 + jpeg[2:]
    else:
        content = png(8, 8, before=(kind.encode(), text))
    with pytest.raises(ValueError, match=r"bytes of metadata before the picture, more than the limit of 16,777,216"):
        check_sides(content)


def test_other_programs_are_not_started(tmp_path, monkeypatch):
    """Pillow would start Ghostscript for an EPS file."""
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: pytest.fail("a program was started"))
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"
    with pytest.raises(ValueError, match="not an image in a known format"):
        read_pixels(eps)


def test_only_regular_files_of_limited_size_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(OSError, match="not a file, but a pipe or a device"):
        read_file(tmp_path / "pipe.jpg")
    assert "pipe or a device" in damage.check_files([str(tmp_path / "pipe.jpg")])[0].problem
    with pytest.raises(OSError, match=r"(?i)is a directory"):
        read_file(tmp_path)
    with (tmp_path / "a.jpg").open("wb") as file:
        file.truncate(3 << 30)  # a file without content on the disk
    with pytest.raises(ValueError, match=r"the file has 3,221,225,472 bytes, more than the limit of 1,431,655,760; if"):
        read_file(tmp_path / "a.jpg")
