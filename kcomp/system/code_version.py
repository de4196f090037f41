"""Compute a hash of the part of kcomp's code that determines the results of training."""

import ast
import functools
import hashlib
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
# The code that determines a weight, a prediction or the best epoch. Packages that only start, show, compare or
# combine runs are left out: system, report, runs, ensembles, reproduce, sweep, tune, soup, compare, suggest, new,
# notebook, commands, tracking.
DETERMINES_RESULTS = (
    "averaging.py",
    "recipe.py",
    "augment",
    "schedules",
    "losses",
    "optimizers.py",
    "views.py",
    "targets",
    "metrics",
    "image_files",
    "data",
    "engine",
    "fast",
    "jax_programs",
    "models",
    "experiment",
    "prediction",
    "training",
)
# Files in the packages above that do not change results.
DISPLAY_ONLY = ("prediction/onnx.py", "training/opening.py")


@functools.cache
def code_version(package: Path = PACKAGE) -> str:
    """Return a hash, as 12 hexadecimal digits, of the code in kcomp that determines the results of training.

    The hash ignores comments, docstrings, blank lines, the command line and HTML pages.
    """
    digest = hashlib.sha256()
    for path in source_files(package):
        code = without_comments(path.read_text(encoding="utf-8"))
        digest.update(f"{path.relative_to(package).as_posix()}\0{code}\0".encode())
    return digest.hexdigest()[:12]


def source_files(package: Path) -> list[Path]:
    """Return the Python files that determine the results of training, sorted by path."""
    files = [
        path
        for name in DETERMINES_RESULTS
        for path in ([package / name] if name.endswith(".py") else (package / name).rglob("*.py"))
    ]
    display = {package / name for name in DISPLAY_ONLY}
    return sorted(set(files) - display, key=lambda path: path.relative_to(package).as_posix())


def without_comments(source: str) -> str:
    """Return Python source without comments, docstrings, blank lines and spaces at line ends."""
    source = source.replace("\r\n", "\n")
    lines = source.encode().split(b"\n")
    for first, start, last, end in sorted([*docstrings(source), *comments(source)], reverse=True):
        lines[first - 1 : last] = [lines[first - 1][:start] + lines[last - 1][end:]]
    stripped = [line.rstrip() for line in lines]
    return b"\n".join(line for line in stripped if line).decode()


BLOCKS = (ast.stmt, ast.excepthandler, ast.match_case)

# First line (from 1), first byte in this line, last line, and the byte in the last line at which the text ends.
Span = tuple[int, int, int, int]


def docstrings(source: str) -> Iterator[Span]:
    """Yield (first line, first byte, last line, end byte) of each docstring."""
    nodes: list[ast.AST] = [ast.parse(source)]
    for node in nodes:  # grows; expressions contain no docstrings
        nodes += [child for child in ast.iter_child_nodes(node) if isinstance(child, BLOCKS)]
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        first = node.body[0] if node.body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            yield first.lineno, first.col_offset, first.end_lineno or 0, first.end_col_offset or 0


def comments(source: str) -> Iterator[Span]:
    """Yield (first line, first byte, last line, end byte) of each comment."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            line, (number, start) = token.line, token.start
            begin = len(line[:start].encode())
            yield number, begin, number, begin + len(token.string.encode())
