"""Write a report as one HTML file or as Markdown."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

NUMBER = re.compile(r"[+-]?\d[\d.,e+-]*%?(\s|$)")
LONG = 30  # a table with at least this many rows is collapsed, unless it is sortable


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
        good: Whether the result is good or bad, which sets the colour of the verdict. None for a neutral colour.
        paragraphs: More text.
        tables: Pairs of a caption and a table.
        pictures: Pairs of a caption and the bytes of a PNG file.
        galleries: Pairs of a caption and small pictures, which are shown side by side.
    """

    title: str
    verdict: str
    good: bool | None = None
    paragraphs: list[str] = field(default_factory=list)
    tables: list[tuple[str, PageTable]] = field(default_factory=list)
    pictures: list[tuple[str, bytes]] = field(default_factory=list)
    galleries: list[tuple[str, Sequence[Picture]]] = field(default_factory=list)


def html(title: str, subtitle: str, sections: Sequence[Section], *, sortable: bool = False) -> str:
    """Return an HTML page that needs no other file.

    sortable: Whether a click on a column header sorts the table.
    """
    import jinja2

    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["base64"] = lambda content: base64.b64encode(content).decode()
    environment.filters["text"] = cell_text
    environment.tests["numeric_column"] = is_numeric_column
    template = environment.get_template("page.html.j2")
    return template.render(title=title, subtitle=subtitle, sections=sections, sortable=sortable, long=LONG)


def cell_text(cell: Cell) -> str:
    return cell.text if isinstance(cell, Link) else cell


def is_numeric_column(column: int, table: PageTable) -> bool:
    """Return whether more than half of the cells in a column begin with a number.

    Cells that are empty or contain only a dash are not counted.
    """
    texts = [cell_text(row[column]) for row in table.rows]
    numeric = [bool(NUMBER.match(text)) for text in texts if text not in ("", "-", "–")]
    return 2 * sum(numeric) > len(numeric)


def markdown(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """Return a report as Markdown, without pictures."""
    parts = [f"# {title}", f"`{subtitle}`"]
    for section in sections:
        parts += [f"## {section.title}", f"**{section.verdict}**", *section.paragraphs]
        for caption, table in section.tables:
            parts += [f"{caption}:", markdown_table(table)]
    return "\n\n".join(parts) + "\n"


def markdown_table(table: PageTable) -> str:
    """Return a table as Markdown. Rows in `table.marked` are bold."""
    lines = [list(table.header), ["---"] * len(table.header)]
    for number, row in enumerate(table.rows):
        texts = [cell_text(cell) for cell in row]
        lines.append([f"**{text}**" if text and number in table.marked else text for text in texts])
    return "\n".join("| " + " | ".join(text.replace("|", "\\|") for text in line) + " |" for line in lines)
