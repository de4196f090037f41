"""Imports point one way: a package imports only packages that stand before it in this list."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "kcomp"

# From docs/internals/layout.md, lowest first. A name is a package or a module at the root of kcomp.
ORDER = """
system image_files report values space averaging targets metrics recipe data measurements runs ensembles reproduce new sweep tune
augment schedules losses optimizers views tracking engine fast jax_programs models experiment prediction training find_rate probe suggest soup compare check explain notebook commands cli
""".split()
# These import neither Keras nor a backend at their top.
WITHOUT_KERAS = {*ORDER[: ORDER.index("augment")], "commands", "cli"}
IMPORTED_LATE = {
    "data.foreign_layers",
    "data.keras_dataset",
    "data.torch_transforms",
    "targets.losses",
}  # import Keras or PyTorch; imported where they are used
WITHOUT_KERAS_IN_PART = ("compare.jobs", "compare.sketch", "compare.parent")
ON_THEIR_OWN = {
    "targets",
    "data",
    "augment",
    "schedules",
    "losses",
    "optimizers",
    "views",
    "metrics",
    "models",
    "fast",
}  # work in a notebook
AT_THE_ROOT = {
    "__init__",
    "cli",
    "values",
    "space",
    "averaging",
    "recipe",
    "optimizers",
    "views",
    "tracking",
}


def name_of(path):
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
MODULES = {name_of(path): path for path in FILES}


def imports(path):
    """Names of kcomp's modules that a file imports, wherever in it, and the outside packages it imports at its top."""
    tree = ast.parse(path.read_text())
    inside, outside = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "kcomp":
            base = node.module.removeprefix("kcomp").removeprefix(".")
            for alias in node.names:
                full = f"{base}.{alias.name}".strip(".")
                inside.add(full if full in MODULES else base)
        elif isinstance(node, ast.Import):
            inside |= {alias.name.removeprefix("kcomp.") for alias in node.names if alias.name.startswith("kcomp.")}
    for node in tree.body:
        if isinstance(node, ast.Import):
            outside |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            outside.add(node.module.split(".")[0])
    return inside - {""}, outside


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_one_way(name):
    package = name.split(".")[0]
    assert package in ORDER, f"{package} has no place in the order; give it one here and in docs/internals/layout.md"
    inside, outside = imports(MODULES[name])
    later = sorted(other for other in inside if ORDER.index(other.split(".")[0]) > ORDER.index(package))
    assert not later, f"{name} imports {later}, which stand after {package}"
    if package in ON_THEIR_OWN:
        assert not {other.split(".")[0] for other in inside} & {"runs", "recipe", "cli"}
    if (package in WITHOUT_KERAS and name not in IMPORTED_LATE) or name.startswith(WITHOUT_KERAS_IN_PART):
        assert not outside & {"keras", "jax", "torch"}


def circle(graph):
    """The names of a circle in {name: names that it imports}, or an empty list."""
    done, path = set(), []

    def visit(name):
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        path.append(name)
        for other in sorted(graph.get(name, ())):
            if names := visit(other):
                return names
        done.add(path.pop())
        return []

    return next(filter(None, map(visit, sorted(graph))), [])


def test_no_module_imports_itself_in_a_circle():
    assert not circle({name: imports(path)[0] for name, path in MODULES.items()})


@pytest.mark.parametrize("package", sorted({name.split(".")[0] for name in MODULES} - {"training"}))
def test_no_subpackage_imports_itself_in_a_circle(package):
    """A subpackage is one unit here. In `training`, mixed precision and averages need each other."""
    graph = {}
    for name, path in MODULES.items():
        if name.startswith(f"{package}."):
            unit = name.split(".")[1]
            others = {other.split(".")[1] for other in imports(path)[0] if other.startswith(f"{package}.")}
            graph[unit] = graph.get(unit, set()) | others - {unit}
    assert not circle(graph)


def test_only_modules_for_recipe_authors_lie_at_the_root():
    assert {path.stem for path in PACKAGE.glob("*.py")} == AT_THE_ROOT


def test_the_command_line_imports_nothing_heavy():
    heavy = {"keras", "numpy", "pandas", "cv2", "rich", "sklearn"}
    code = f"import sys, kcomp.cli; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_training_on_jax_does_not_import_pytorch():
    code = """
import sys
from kcomp.system.backends import prepare_backend
prepare_backend("jax")
import albumentations, kcomp.training.fit, kcomp.prediction.runs
print("torch" in sys.modules, "albumentations" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False True\n"
