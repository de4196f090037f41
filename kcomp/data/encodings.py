"""Detect the encoding of a text file from its bytes."""

import codecs
import itertools
from pathlib import Path

MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
OTHERS = ("shift_jis", "gb18030", "big5", "cp1252", "cp1251")  # no rule detects these; the error message names them


def detect_encoding(content: bytes, path: Path) -> str:
    """Return the name of a text's encoding: utf-8, utf-16, utf-16-le, utf-16-be, cp949 or latin-1.

    CP949 and Latin-1 are accepted only if the decoded text looks like Korean or Western European text.

    Raises:
        ValueError: If no encoding fits. The message names `path`.
    """
    for mark, name in MARKS.items():
        if content.startswith(mark):
            return name
    if b"\0" in content:
        zeros = [content[start::2].count(0) for start in (0, 1)]
        name = "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
        if max(zeros) > len(content) / 8 and decodes(content, name):
            return name
    for name, is_plausible in (("utf-8", None), ("cp949", is_korean), ("latin-1", is_western)):
        if decodes(content, name) and (is_plausible is None or is_plausible(content)):
            return name
    likely = [name for name in OTHERS if decodes(content, name)]
    raise ValueError(
        f"{path} is not UTF-8, UTF-16, CP949 or Latin-1; name its encoding, such as "
        + " or ".join(f"encoding={name!r}" for name in likely or OTHERS)
    )


def decodes(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def is_korean(content: bytes) -> bool:
    """Return whether the bytes, decoded as CP949, look like Korean text.

    At least 90 % of the letters outside ASCII must be common Korean syllables, which are those in KS X 1001.
    """
    letters = [letter for letter in content.decode("cp949") if letter > "\x7f" and letter.isalpha()]
    common = [letter for letter in letters if "\uac00" <= letter <= "\ud7a3" and can_encode(letter, "euc_kr")]
    return bool(letters) and len(common) >= 0.9 * len(letters)


def can_encode(letter: str, encoding: str) -> bool:
    try:
        return len(letter.encode(encoding)) == 2  # rarer syllables take eight bytes in EUC-KR
    except UnicodeEncodeError:
        return False


def is_western(content: bytes) -> bool:
    """Return whether the bytes, decoded as Latin-1, look like Western European text.

    No character may be a control character of 0x80 to 0x9f. At most a quarter of the characters outside ASCII may
    directly follow another character outside ASCII.
    """
    high = [place for place, byte in enumerate(content) if byte > 0x7F]
    if any(content[place] < 0xA0 for place in high):
        return False
    adjacent = sum(later - earlier == 1 for earlier, later in itertools.pairwise(high))
    return adjacent <= len(high) / 4
