"""The documentation agrees with the code: examples run, every public name has one, numbers are those that were measured."""

import ast
import importlib.util
import json
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import ROOT, ForkServer, backends, in_backend

DOCS = ROOT / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if "results" not in page.parts)
FENCE = re.compile(
    r'^(?P<indent> *)```(?P<kind>python|sh)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^(?P=indent)```$', re.M | re.S
)
MODULES = (
    "data",
    "augment",
    "models",
    "schedules",
    "losses",
    "optimizers",
    "views",
    "averaging",
    "recipe",
    "space",
    "tracking",
    "targets",
    "explain",
    "suggest",
)
# Names at the top of these modules that other parts of kcomp use, and recipes do not.
INTERNAL = {
    "recipe": {"Loaded"},
    "schedules": {"check_rates", "schedules_of", "rate_of"},
    "space": {"check_bounds", "check_range", "declared_in"},
}

RUN_PAGE = """
import os, shlex, types
from click.testing import CliRunner
from kcomp.cli import main

page, start = types.ModuleType("page"), os.getcwd()
sys.modules["page"] = page
os.chdir(sys.argv[1])
try:
    for kind, title, text in json.loads(sys.argv[2]):
        if title:
            with open(title, "w") as file:
                file.write(text)
        elif kind == "python":
            exec(compile(text, "page", "exec"), vars(page))
        else:
            for line in text.replace("\\\\\\n", " ").splitlines():
                name, *arguments = shlex.split(line, comments=True)
                assert name == "kcomp", line
                result = CliRunner().invoke(main, arguments)
                assert result.exit_code == 0, f"{line}: {result.output}"
finally:
    os.chdir(start)
    del sys.modules["page"]
give(done=True)
"""


@dataclass(frozen=True)
class Block:
    """One block of code of a page: `marker` is the comment on the line before it."""

    kind: str
    title: str | None
    marker: str
    text: str

    @property
    def runs(self):
        return not self.marker.startswith("not run") and (self.kind == "python" or self.marker == "run")


def blocks_of(page):
    text = page.read_text()
    blocks = []
    for match in FENCE.finditer(text):
        comment = re.search(r"<!-- ([^\n]*) -->\n\Z", text[: match.start()])
        blocks.append(
            Block(match["kind"], match["title"], comment[1] if comment else "", textwrap.dedent(match["text"]))
        )
    return blocks


def name_of(page):
    return page.relative_to(DOCS).as_posix()


@pytest.mark.parametrize("page", [page for page in PAGES if any(b.runs for b in blocks_of(page))], ids=name_of)
def test_code_of_a_page_runs(page, tmp_path):
    installed = [parameter.values[0] for parameter in backends() if not parameter.marks[0].args[0]]
    code = [(block.kind, block.title, block.text) for block in blocks_of(page) if block.runs]
    ForkServer.start_all()
    assert in_backend(installed[-1], RUN_PAGE, tmp_path, json.dumps(code))["done"]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_block_that_does_not_run_says_why(page):
    for block in blocks_of(page):
        assert block.runs or re.fullmatch(r"not run: \w.{8,}", block.marker), block.text


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_begins_with_what_its_reader_can_do(page):
    if "--8<--" not in page.read_text():
        title, _, opening = page.read_text().split("\n")[:3]
        assert title.startswith("# ") and re.match(r"After reading this page you (can|know)", opening)


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_has_an_example(module):
    examples = "\n".join(block.text for block in blocks_of(DOCS / "reference" / f"{module}.md"))
    missing = [name for name in public_names(module) if not re.search(rf"\b{name}\b", examples)]
    assert not missing


def public_names(module):
    """Return `__all__` of a module, or its classes and functions, without importing it."""
    path = ROOT / "kcomp" / module
    tree = ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text())
    listed = [
        node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    if listed:
        return ast.literal_eval(listed[0])
    names = [node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    return [name for name in names if not name.startswith("_") and name not in INTERNAL.get(module, ())]


def test_the_readme_is_short_and_begins_with_its_two_commands():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    assert re.findall(r"<!-- (main job|tests) -->\n```sh\n", text) == ["main job", "tests"]
    before = text[: text.index("<!-- tests -->")]
    assert before.count("```sh") == 1


def test_every_command_is_in_the_navigation_and_the_reference():
    from kcomp.cli import main

    navigation, reference = (ROOT / "mkdocs.yml").read_text(), (DOCS / "reference" / "index.md").read_text()
    for name in main.commands:
        assert f"reference/commands/{name}.md" in navigation and f"commands/{name}.md" in reference


def test_internals_and_tutorial_are_short():
    for page in [*(DOCS / "internals").glob("*.md"), DOCS / "tutorial.md"]:
        assert len(page.read_text().splitlines()) < 150, page


def test_links_to_files_of_the_repository_exist():
    for page in [*PAGES, *DOCS.glob("results/*.md"), ROOT / "README.md"]:
        for path in re.findall(r"`((?:kcomp|scripts|tests|recipes)/[\w/]+\.py)`", page.read_text()):
            assert Path(ROOT, path).is_file(), f"{page.name} names {path}"


def import_script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_timm_networks_is_that_of_the_file():
    write_timm_page = import_script("write_timm_page")
    assert write_timm_page.PAGE.read_text() == write_timm_page.page_text(), "run scripts/write_timm_page.py"


def test_numbers_are_those_of_the_file():
    write_numbers = import_script("write_numbers")
    expected = write_numbers.texts(json.loads(write_numbers.NUMBERS.read_text()))
    assert {path.name for path in expected} >= {"README.md", "digits.py"}
    for path, text in expected.items():
        assert path.read_text() == text, f"run scripts/write_numbers.py: {path.name} has other numbers"


@pytest.mark.parametrize("path", sorted(ROOT.glob("recipes/*.py")), ids=lambda path: path.stem)
def test_a_recipe_has_no_score_from_elsewhere(path):
    header = ast.get_docstring(ast.parse(path.read_text()))
    measured = json.loads((DOCS / "numbers.json").read_text())
    assert path.stem in measured or not re.search(r"0\.\d{3}", header)
