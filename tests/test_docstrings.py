"""Every public name has a docstring with an example, and every example runs on both backends."""

import ast
import json

import pytest
from conftest import ROOT, in_backend, one_slow

MODULES = (
    "data",
    "metrics",
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
NEEDS = {  # optional packages
    "read_tfds": "tensorflow_datasets",
    "TensorBoard": "tensorboardX",
    "WandB": "wandb",
    "timm": "zeromodels",
    "hub": "keras_hub",
    "hub_preprocessing": "keras_hub",
}

RUN_EXAMPLES = """
import doctest, importlib, importlib.util, io
from kcomp.engine.initial_weights import draw_weights_on_host
modules, needs = json.loads(sys.argv[1]), json.loads(sys.argv[2])
missing, failures, count = [], {}, 0
for module in modules:
    package = importlib.import_module(f"kcomp.{module}")
    for name in package.__all__:
        value = getattr(package, name)
        if not callable(value):
            continue  # a constant
        tests = doctest.DocTestFinder().find(value, f"{module}.{name}", module=False, globs={})
        if not any(test.examples for test in tests):
            missing.append(f"{module}.{name}")
        if name in needs and importlib.util.find_spec(needs[name]) is None:
            continue
        for test in tests:
            output = io.StringIO()
            with draw_weights_on_host(0):  # JAX would compile a program for the shape of each weight
                result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=output.write)
            count += result.attempted
            if result.failed:
                failures[test.name] = output.getvalue()
give(missing=missing, failures=failures, count=count)
"""


@pytest.mark.parametrize("backend", one_slow(slow="jax"))
def test_examples_run(backend, tmp_path):
    outcome = in_backend(backend, RUN_EXAMPLES, json.dumps(MODULES), json.dumps(NEEDS), cache=tmp_path)
    assert outcome["missing"] == [], "public names without an example"
    assert outcome["failures"] == {}, "\n".join(outcome["failures"].values())
    assert outcome["count"] > 150


def public_definitions():
    """The functions and classes that the modules for recipe authors define or re-export, by name."""
    for module in MODULES:
        path = ROOT / "kcomp" / module
        files = sorted(path.glob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
        trees = [ast.parse(file.read_text()) for file in files]
        exported = next(
            ast.literal_eval(node.value)
            for file, tree in zip(files, trees)
            for node in tree.body
            if file.stem in ("__init__", module)
            and isinstance(node, ast.Assign)
            and getattr(node.targets[0], "id", "") == "__all__"
        )
        for tree in trees:
            for node in tree.body:
                if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in exported:
                    yield pytest.param(node, id=f"{module}.{node.name}")


@pytest.mark.parametrize("node", public_definitions())
def test_docstrings_describe_every_argument(node):
    text = ast.get_docstring(node) or ""
    assert text.split("\n")[0].endswith("."), "the first line must be one sentence"
    arguments = text.partition("Args:\n")[2].partition("\n\n")[0]
    described = {
        line.strip().partition(":")[0].lstrip("*") for line in arguments.splitlines() if line.startswith("    ")
    }
    if isinstance(node, ast.ClassDef):
        annotated = [item for item in node.body if isinstance(item, ast.AnnAssign) and item.target.id != "_"]
        fields = [item.target.id for item in annotated if "ClassVar" not in ast.unparse(item.annotation)]
        inits = [item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"]
    else:
        fields, inits = [], [node]
    names = [
        argument.arg
        for init in inits
        for argument in (*init.args.args, *init.args.kwonlyargs)
        if argument.arg not in ("self", "cls")
    ]
    missing = [name for name in (names or fields) if name not in described]
    assert missing == [], "arguments that the docstring does not describe"
