"""Sections of a report, as a web page of one file and as Markdown; pictures are drawn by kcomp.report.plots."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class PageTable:
    """A header and rows of texts; `marked` are the numbers of rows that stand out."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    marked: Sequence[int] = ()


@dataclass
class Section:
    """A heading, what it comes to, paragraphs, and tables and pictures (PNG bytes) with a caption each. `good` colours
    the verdict: True, False, or None where there is nothing to judge."""

    title: str
    verdict: str
    good: bool | None = None
    paragraphs: list[str] = field(default_factory=list)
    tables: list[tuple[str, PageTable]] = field(default_factory=list)
    pictures: list[tuple[str, bytes]] = field(default_factory=list)


def html(title: str, subtitle: str, sections: Sequence[Section], *, sortable: bool = False) -> str:
    """A page that needs no other file: pictures are in it. `sortable`: a click on a header sorts its table."""
    import jinja2

    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["base64"] = lambda content: base64.b64encode(content).decode()
    template = environment.get_template("page.html.j2")
    return template.render(title=title, subtitle=subtitle, sections=sections, sortable=sortable)


def markdown(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """The same without pictures."""
    parts = [f"# {title}", f"`{subtitle}`"]
    for section in sections:
        parts += [f"## {section.title}", f"**{section.verdict}**", *section.paragraphs]
        for caption, table in section.tables:
            parts += [f"{caption}:", markdown_table(table)]
    return "\n\n".join(parts) + "\n"


def markdown_table(table: PageTable) -> str:
    """Rows that stand out are bold."""
    lines = [list(table.header), ["---"] * len(table.header)]
    for number, row in enumerate(table.rows):
        lines.append([f"**{cell}**" if cell and number in table.marked else cell for cell in row])
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
