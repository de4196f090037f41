"""List what differs between two runs: recipe, values, data, kcomp's code, versions, backend, machine, seed and fold."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kcomp.runs.folder import Run
from kcomp.system.files import read_json

# Entries of manifest.json by subject. Others follow from these, or name only the time and the command.
ENTRIES = {
    "kcomp's code": ("code",),
    "data": ("table", "pseudo", "image_pattern", "item_average", "value_range"),
    "target": ("target",),
    "start": ("from",),
    "seed": ("seed",),
    "fold": ("fold",),
    "backend": ("backend",),
    "device": ("device", "processor"),
    "threads": ("threads",),
    "arithmetic": ("precision", "deterministic", "fast"),
}
LINES = 30  # of the differences of recipes


@dataclass(frozen=True)
class Cause:
    """A difference between two runs that can change their scores.

    Attributes:
        subject: What it belongs to, such as "versions".
        name: What differs, such as "numpy".
        first: The value of the first run, as a text.
        second: The value of the second run, as a text.
    """

    subject: str
    name: str
    first: str
    second: str


def causes(first: Run, second: Run) -> list[Cause]:
    """Return all recorded differences between two runs, the recipe and its values first."""
    return [*source_causes(first, second), *value_causes(first, second), *manifest_causes(first, second)]


def source_causes(first: Run, second: Run) -> Iterator[Cause]:
    """Yield a difference for each Python file of the recipes that is not equal in both runs."""
    sources = [recipe_sources(run) for run in (first, second)]
    for name in dict.fromkeys([*sources[0], *sources[1]]):
        texts = [source.get(name) for source in sources]
        if texts[0] != texts[1]:
            counts = ["missing" if text is None else f"{len(text.splitlines())} lines" for text in texts]
            yield Cause("recipe", name, *counts)


def recipe_sources(run: Run) -> dict[str, str]:
    """Return the text of each Python file of a run's recipe, by its path."""
    folder = run / "recipe"
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.py"))
    }


def source_lines(first: Run, second: Run) -> list[str]:
    """Return the lines that differ between the recipes of two runs, as `diff -u` shows them, at most `LINES`."""
    sources = [recipe_sources(run) for run in (first, second)]
    lines: list[str] = []
    for name in dict.fromkeys([*sources[0], *sources[1]]):
        texts = [source.get(name, "").splitlines() for source in sources]
        titles = f"{first.folder}: {name}", f"{second.folder}: {name}"
        lines += difflib.unified_diff(texts[0], texts[1], *titles, n=1, lineterm="")
    hidden = len(lines) - LINES
    return lines if hidden <= 0 else [*lines[:LINES], f"and {hidden} more lines"]


def value_causes(first: Run, second: Run) -> Iterator[Cause]:
    """Yield the values of the recipes that differ."""
    for name, values in differing(read_json(first / "config.json"), read_json(second / "config.json")):
        yield Cause("values", name, *values)


def manifest_causes(first: Run, second: Run) -> Iterator[Cause]:
    """Yield the differences of manifest.json, and of the images' checksum in result.json."""
    manifests = [run.manifest for run in (first, second)]
    for subject, names in ENTRIES.items():
        for name, values in differing(*({name: manifest.get(name) for name in names} for manifest in manifests)):
            yield Cause(subject, name, *values)
    if first.complete and second.complete:
        checksums = [{"images": run.result.get("images")} for run in (first, second)]
        for name, values in differing(*checksums):
            yield Cause("data", name, *values)
    for name, values in differing(*(manifest.get("versions", {}) for manifest in manifests)):
        yield Cause("versions", name, *values)


def differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield (name, (value of `first`, value of `second`)) for each name with different values. Values are texts."""
    for name in dict.fromkeys([*first, *second]):
        if first.get(name) != second.get(name):
            yield name, (as_text(first, name), as_text(second, name))


def as_text(values: Mapping[str, Any], name: str) -> str:
    """Return a value as a text of at most 40 characters. "-" if it is missing."""
    text = "-" if values.get(name) is None else str(values[name])
    return text if len(text) <= 40 else f"{text[:39]}…"
