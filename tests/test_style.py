"""The code of kcomp keeps the limits and the names of CONTRIBUTING.md."""

import ast
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = sorted(path for path in (ROOT / "kcomp").rglob("*.py"))
FILE_LINES, FUNCTION_LINES, ARGUMENTS = 300, 40, 8
# Each argument of read_csv names columns of the file. Batches joins everything that makes a batch.
MANY_ARGUMENTS = {"read_csv", "Batches.__init__"}
# Names of a grammatical role, which do not say what a variable has.
BANNED = set(
    """
    about again asked both found given here keeper kept one said taken tell tells told wanted who drawn_on_host
    """.split()
)


NOT_VERBS = {"A", "An", "The", "This", "These", "What", "Whether", "How", "It", "Its", "If", "When", "Where", "Which"}


def position(node):
    return node.lineno, node.col_offset


def functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def bound_names(tree):
    """The names that a file binds: variables, attributes, arguments, functions and classes, with their lines."""
    for node in sorted((node for node in ast.walk(tree) if hasattr(node, "lineno")), key=position):
        if isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.alias) and node.asname:
            yield node.lineno, node.asname


def code_lines(function):
    """The lines of a function without its docstring."""
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function) is None:
        return lines
    return lines - (function.body[0].end_lineno - function.body[0].lineno + 1)


def full_names(tree):
    """The name of each function by its identity, with the name of its class."""
    names = {id(function): function.name for function in functions(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            names |= {id(method): f"{node.name}.{method.name}" for method in node.body if id(method) in names}
    return names


def argument_names(function):
    arguments = function.args
    names = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return [name for name in names if name not in ("self", "cls")]


def begins_like_a_noun(function):
    """Whether the docstring of a function begins with an article or the like; that of a property may."""
    text = ast.get_docstring(function)
    is_property = any("property" in ast.unparse(decorator) for decorator in function.decorator_list)
    return bool(text) and not is_property and text.split()[0] in NOT_VERBS


def problems_of(source):
    """The broken rules of one file, each with its line."""
    tree = ast.parse(source)
    names = full_names(tree)
    problems = [f"{line}: the name {name!r}" for line, name in bound_names(tree) if name in BANNED]
    for function in functions(tree):
        if begins_like_a_noun(function):
            problems.append(f"{function.lineno}: the docstring of {function.name} does not begin with a verb")
        if code_lines(function) > FUNCTION_LINES:
            problems.append(f"{function.lineno}: {function.name} has {code_lines(function)} lines")
        if len(argument_names(function)) > ARGUMENTS and names[id(function)] not in MANY_ARGUMENTS:
            problems.append(f"{function.lineno}: {function.name} has {len(argument_names(function))} arguments")
    count = len(source.splitlines())
    return problems + ([f"1: the file has {count} lines"] if count > FILE_LINES else [])


def test_names_and_sizes():
    problems = [
        f"{path.relative_to(ROOT)}:{problem}" for path in FILES for problem in problems_of(path.read_text("utf-8"))
    ]
    assert not problems, (
        "names say the content, docstrings begin with a verb; at most "
        f"{FILE_LINES} lines a file, {FUNCTION_LINES} a function without its docstring, {ARGUMENTS} arguments:\n"
        + "\n".join(problems)
    )


def repeated_classes(sources):
    """The names of classes that several files define, or one file twice, with the places. `sources` has texts by name."""
    places = {}
    for name, source in sources.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(f"{name}:{node.lineno}")
    return {name: where for name, where in places.items() if len(where) > 1}


def test_each_class_has_its_own_name():
    assert not repeated_classes({str(path.relative_to(ROOT)): path.read_text("utf-8") for path in FILES})


def test_classes_of_one_name_are_found():
    first, second = "class Rows: pass\nclass _Own: pass", "def f():\n    class Rows: pass\nclass Row: pass"
    assert repeated_classes({"a": first, "b": second}) == {"Rows": ["a:1", "b:2"]}
    assert not repeated_classes({"a": first})


def test_each_rule_finds_its_fault():
    def code(text):
        return problems_of(textwrap.dedent(text))

    assert code("found = 1") == ["1: the name 'found'"]
    assert code("x, kept = 1, 2\nfor one in x:\n    pass") == ["1: the name 'kept'", "2: the name 'one'"]
    assert code("class A:\n    def told(self, given): self.both = 1") == [
        "2: the name 'told'",
        "2: the name 'given'",
        "2: the name 'both'",
    ]
    assert code("def f():\n    return [taken for taken in ()]") == ["2: the name 'taken'"]
    assert code("keeping = {'found': 1}['found']; foundation = one_hot = keeping.one") == []
    assert code('def f():\n    """The sum."""') == ["1: the docstring of f does not begin with a verb"]
    assert code('class A:\n    @property\n    def f(self):\n        """The sum."""') == []
    assert code('def f():\n    """Return the sum."""') == []
    body = "\n".join(f"    x = {number}" for number in range(39))
    assert code(f"def f():\n{body}") == []
    assert code(f"def f():\n{body}\n    y = 1") == ["1: f has 41 lines"]
    assert code(f'def f():\n    """Do.\n\n    More.\n    """\n{body}') == []
    eight = ", ".join("abcdefgh")
    assert code(f"class A:\n    def f(self, {eight}): pass") == []
    assert code(f"class A:\n    def f(self, {eight}, *, i): pass") == ["2: f has 9 arguments"]
    assert code("x = 1\n" * 300) == []
    assert code("x = 1\n" * 301) == ["1: the file has 301 lines"]
