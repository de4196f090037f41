"""Write a report as one HTML file or as Markdown."""

import base64
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kcomp.report.finding import Severity
from kcomp.system.printable import printable

if TYPE_CHECKING:
    from markupsafe import Markup

NUMBER = re.compile(r"[+-]?\d[\d.,e+-]*%?(\s|$)")
LONG = 8  # a table with at least this many rows can be sorted and filtered
SHOWN, SHOWN_WIDE = 25, 500  # the page shows this many rows of a table until the reader asks for more
LONG_TEXT = 40  # a longer cell is broken into lines


@dataclass(frozen=True)
class Link:
    """A table cell that links to a file or folder.

    Attributes:
        text: The shown text.
        address: The path of the file or folder, relative to the page.
    """

    text: str
    address: str


Cell = str | Link


@dataclass(frozen=True)
class PageTable:
    """A table in a report.

    Attributes:
        header: The names of the columns.
        rows: The cells of each row.
        marked: The positions of rows to emphasise, from 0.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    marked: Sequence[int] = ()


@dataclass(frozen=True)
class Picture:
    """A small picture in a gallery.

    Attributes:
        image: The bytes of a JPEG or PNG file.
        lines: Lines of text below the picture, such as the image id, the label and the prediction.
    """

    image: bytes
    lines: Sequence[str] = ()


@dataclass
class Section:
    """A section of a report.

    Attributes:
        title: The heading.
        verdict: The result in a few sentences.
        good: Whether the result is good (True) or bad (False), which sets the style of the verdict. None for a neutral
            style.
        severity: The worst severity of the section's findings. Errors and warnings have their own styles and labels.
        paragraphs: More text.
        first_tables: Pairs of a caption and a table that stand above all pictures, such as errors.
        tables: Pairs of a caption and a table.
        pictures: Pairs of a caption and a PNG file.
        galleries: Pairs of a caption and small pictures, which are shown side by side.
    """

    title: str
    verdict: str
    good: bool | None = None
    severity: Severity | None = None
    paragraphs: list[str] = field(default_factory=list)
    first_tables: list[tuple[str, PageTable]] = field(default_factory=list)
    tables: list[tuple[str, PageTable]] = field(default_factory=list)
    pictures: list[tuple[str, bytes]] = field(default_factory=list)
    galleries: list[tuple[str, Sequence[Picture]]] = field(default_factory=list)


def html(title: str, subtitle: str, sections: Sequence[Section], *, wide: bool = False) -> str:
    """Return an HTML page that needs no other file.

    `wide` says whether the main content of the page is one wide table.
    """
    import jinja2
    from markupsafe import Markup

    folder = Path(__file__).parent
    loader = jinja2.FileSystemLoader(folder)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=without_controls
    )
    environment.filters["data_address"] = data_address
    environment.filters["size"] = lambda image: Markup(size_attributes(image))
    environment.tests["double"] = is_double
    environment.filters["state"] = state
    environment.filters["state_label"] = lambda section: STATES[state(section)]
    environment.filters["code"] = mark_code
    environment.filters["table_json"] = lambda table: Markup(table_json(table))
    text = environment.get_template("page.html.j2").render(
        title=title,
        subtitle=subtitle,
        sections=sections,
        wide=wide,
        numeric_columns=numeric_columns,
        long=LONG,
        shown=SHOWN_WIDE if wide else SHOWN,
        long_text=LONG_TEXT,
        style=Markup((folder / "page.css").read_text("utf-8")),
        script=Markup((folder / "page.js").read_text("utf-8")),
    )
    return text.encode("utf-8", "replace").decode()  # file names may contain surrogates, which UTF-8 cannot encode


def without_controls(value: Any) -> Any:
    """Escape control characters in a text that the template shows, but not in HTML that kcomp has made."""
    return printable(value) if type(value) is str else value


def mark_code(text: str) -> "Markup":
    """Escape a text for HTML. Text between backticks becomes code."""
    from markupsafe import Markup, escape

    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(printable(text)))))


STATES = {"": "", "good": "No problem", "bad": "Problem", "error": "Error", "warning": "Warning"}  # with their labels


def state(section: Section) -> str:
    """Return the style of a section, which is a key of `STATES`."""
    if section.severity in ("error", "warning"):
        return section.severity
    return "" if section.good is None else "good" if section.good else "bad"


def data_address(image: bytes) -> str:
    """Return a JPEG or PNG file as a data URI."""
    kind = "jpeg" if image.startswith(b"\xff\xd8") else "png"
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"


def size_attributes(image: bytes) -> str:
    """Return the attributes `width` and `height` of an HTML image, from its size in pixels and its resolution."""
    # With these attributes, the page does not move while it loads.
    picture = opened(image)
    scale = 96 / picture.info["dpi"][0] if picture.format == "PNG" and "dpi" in picture.info else 1
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return f' width="{width}" height="{height}"'


def is_double(image: bytes) -> bool:
    """Return whether a picture in a gallery is wide, such as an image beside its heat map."""
    width, height = opened(image).size
    return width >= 200 and width >= 1.25 * height


def opened(image: bytes) -> Any:
    from PIL import Image

    return Image.open(io.BytesIO(image))


def table_json(table: PageTable) -> str:
    """Return the rows of a table as JSON for a script element. A cell is a text, or a list of a text and an address."""
    rows = [
        [[printable(cell.text), cell.address] if isinstance(cell, Link) else printable(cell) for cell in row]
        for row in table.rows
    ]
    text = json.dumps({"rows": rows, "marked": list(table.marked)}, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def cell_text(cell: Cell) -> str:
    return cell.text if isinstance(cell, Link) else cell


def numeric_columns(table: PageTable) -> list[bool]:
    """Return for each column whether most of its cells are numbers."""
    flags = []
    for column in range(len(table.header)):
        texts = [cell_text(row[column]) for row in table.rows[:1000]]
        numeric = [bool(NUMBER.match(text)) for text in texts if text not in ("", "-", "–")]
        flags.append(2 * sum(numeric) > len(numeric))
    return flags


def markdown(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """Return a report as Markdown, without pictures."""
    parts = [f"# {title}", f"`{subtitle}`"]
    for section in sections:
        parts += [f"## {section.title}", f"**{section.verdict}**", *section.paragraphs]
        for caption, table in [*section.first_tables, *section.tables]:
            parts += [f"{caption}:", markdown_table(table)]
    return "\n\n".join(parts) + "\n"


def markdown_table(table: PageTable) -> str:
    """Return a table as Markdown text. Rows in `table.marked` are bold."""
    lines = [list(table.header), ["---"] * len(table.header)]
    for number, row in enumerate(table.rows):
        texts = [cell_text(cell) for cell in row]
        lines.append([f"**{text}**" if text and number in table.marked else text for text in texts])
    return "\n".join("| " + " | ".join(text.replace("|", "\\|") for text in line) + " |" for line in lines)
