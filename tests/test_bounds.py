"""The lower bounds of pyproject.toml and the page that lists the tested versions."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def declared_bounds():
    """The lower bound of each library that scripts/test_bounds.sh tests, but for the single releases of `lite`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    return dict(
        re.match(r"([\w-]+)>=([\d.]+)", line).groups()
        for line in [*project["dependencies"], *extras["jax"], *extras["torch"]]
        if ">=" in line
    )


def test_the_page_lists_the_lower_bounds():
    page = (ROOT / "docs" / "internals" / "dependencies.md").read_text()
    table = page[page.index("| library | lower bound |") :].split("\n\n")[0]
    rows = [line.split("|")[1:3] for line in table.splitlines()[2:]]
    assert {name.strip(): bound.strip() for name, bound in rows} == declared_bounds()
