"""Files from others: nothing is unpickled, no name is a path or a program, and pages and terminals show texts only."""

import ast
import io
import json
import zipfile
from pathlib import Path

import chromium
import click
import conftest
import explained
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from kcomp.cli import main
from kcomp.report.console import PlainConsole
from kcomp.report.table import print_table
from kcomp.runs.folder import Run
from kcomp.runs.probabilities import write_probabilities
from kcomp.sweep.remote import unpack
from kcomp.system.errors import readable_errors
from kcomp.system.printable import printable
from kcomp.targets import OneOf

KCOMP = Path(conftest.ROOT) / "kcomp"
HOSTILE = (
    "[red]a[/red]:smile:",
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "$\\frac{1$ {{7*7}} `b`",
    "../../../etc/passwd; rm -rf ~ $(id)",
    "\x1b[31m\x1b]0;title\x07\u202ecod",
)
SHOWN = (*HOSTILE[:-1], "\\x1b[31m\\x1b]0;title\\x07\\u202ecod")


def calls():
    """Each call in kcomp's code: file, line, name of the function, and the names and values of keyword arguments."""
    for path in sorted(KCOMP.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                yield f"{path.relative_to(KCOMP)}:{node.lineno}", ast.unparse(node.func), options


def test_no_function_that_unpickles_or_starts_a_shell_is_called():
    forbidden = ("pickle.", "joblib.", "dill.", "shelve.", "os.system", "os.popen", "pd.read_pickle", "eval", "yaml.")
    forbidden += ("tarfile.", "shutil.unpack_archive", "zipfile.ZipFile.extract", "marshal.")
    problems = []
    for place, name, options in calls():
        if name in ("eval", "exec", "input") or (name.startswith(forbidden[:-1]) and "." in name):
            problems.append(f"{place} {name}")
        if options.get("shell") == "True" or options.get("allow_pickle") == "True" or name.endswith(".extractall"):
            problems.append(f"{place} {name} {options}")
        if name == "torch.load" and options.get("weights_only") != "True":
            problems.append(f"{place} torch.load without weights_only")
        if options.get("safe_mode") == "False" or name.endswith("enable_unsafe_deserialization"):
            problems.append(f"{place} {name} {options}")
    assert not problems


def test_objects_in_files_are_not_unpickled(tmp_path):
    """Neither from a state file nor from weights of PyTorch."""
    code = """
    import pickle
    from pathlib import Path
    import numpy as np
    from kcomp.models.checkpoints.files import read_checkpoint
    from kcomp.training.state_file import read_arrays
    folder, errors = Path(sys.argv[1]), []
    class Danger:
        def __reduce__(self):
            return Path.touch, (folder / "unpickled",)
    np.savez(folder / "state.npz", progress=np.array([Danger()], dtype=object))
    (folder / "weights.bin").write_bytes(pickle.dumps({"a": Danger()}))
    for function, name in ((read_arrays, "state.npz"), (read_checkpoint, "weights.bin")):
        try:
            function(folder / name)
        except ValueError as error:
            errors.append(str(error).replace(str(folder), ""))
    give(errors=errors)
    """
    errors = conftest.in_backend("torch", code, tmp_path)["errors"]
    assert errors[0].startswith("/state.npz is damaged: Object arrays cannot be loaded")
    assert errors[1].startswith("/weights.bin is not a readable checkpoint")
    assert not (tmp_path / "unpickled").exists()


def make_run(folder, classes, **changes):
    """A run whose recipe would create a file if it were executed."""
    random, ids = np.random.default_rng(0), [f"{name} {k}" for k in range(8) for name in HOSTILE]
    labels = np.eye(len(classes))[random.integers(0, len(classes), len(ids))]
    predictions = random.dirichlet(np.ones(len(classes)), len(ids))
    run = explained.write_run(folder, OneOf(classes), ids, labels, predictions, metric="log_loss", **changes)
    (folder / "recipe" / f"{changes.get('recipe', 'r')}.py").write_text(f"open({str(folder)!r} + '.executed', 'w')\n")
    return run


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "runs" / "foreign", tuple(sorted(HOSTILE[:-1])))


def test_runs_and_ensemble_and_submit_do_not_execute_the_recipe(run, tmp_path):
    other = make_run(tmp_path / "runs" / "second", tuple(sorted(HOSTILE[:-1])), seed=1)
    classes = sorted(HOSTILE[:-1])
    for each in (run, other):
        write_probabilities(each / "test.csv", ["t1", "t2"], classes, np.full((2, 5), 0.2))
    sample = pd.DataFrame({"image_id": ["t1", "t2"]} | {name: [0.2, 0.2] for name in classes})
    sample.to_csv(tmp_path / "sample.csv", index=False)
    for arguments in (
        ["runs", "runs", "--html", "runs.html"],
        ["ensemble", "runs"],
        ["ensemble", "runs", "-o", "ensemble.csv"],
        ["submit", "runs", "--sample", "sample.csv", "-o", "submission.csv"],
    ):
        done = conftest.kcomp(*arguments, cwd=tmp_path)
        assert done.returncode == 0 and "\x1b" not in done.stdout
    assert (tmp_path / "ensemble.csv").is_file() and (tmp_path / "submission.csv").is_file()
    assert not list(tmp_path.rglob("*.executed"))


def test_names_in_a_manifest_do_not_leave_the_run_folder(run, tmp_path):
    manifest = json.loads((run / "manifest.json").read_text())
    for changes, message in (
        ({"recipe": "../../evil"}, "'recipe' must be a file name; received '../../evil'"),
        ({"recipe": ".."}, "'recipe' must be a file name"),
        ({"seed": "../0"}, "'seed' must be a whole number; received '../0'"),
        ({"classes": [1, 2]}, "'classes' must be a list of texts"),
    ):
        (run / "manifest.json").write_text(json.dumps(manifest | changes))
        with pytest.raises(ValueError, match=f"manifest.json is damaged: {message}"):
            _ = run.manifest
    for changes in ({"fingerprint": "../../x"}, {"backend": "a/b"}, {"soup": {"key": "../x"}}):
        (run / "manifest.json").write_text(json.dumps(manifest | changes))
        with pytest.raises(ValueError, match="its entries must form a file name"):
            _ = run.name
    result = json.loads((run / "result.json").read_text())
    for names in (["../best.weights.h5"], ["/etc/passwd"], ["a/../../b"], [5], "best.weights.h5"):
        (run / "result.json").write_text(json.dumps(result | {"average": {"weights": names}}))
        with pytest.raises(ValueError, match="'average' must name weights in the run's folder"):
            _ = run.weights
    (run / "result.json").write_text(json.dumps(result | {"average": {"weights": ["snapshots/1.weights.h5"]}}))
    assert run.weights == [run / "snapshots/1.weights.h5"]


@pytest.mark.parametrize("name", ["../outside", "/absolute", "a/../../b", "a\\..\\b"])
def test_a_packed_run_is_not_unpacked_outside_of_its_folder(tmp_path, name):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("manifest.json", "{}")
        file.writestr(name, "x")
    with pytest.raises(ValueError, match="must stay in its folder; received"):
        unpack(content.getvalue(), Run(tmp_path / "run"))
    assert list(tmp_path.iterdir()) == []


def test_the_terminal_shows_names_as_they_are(capsys):
    print_table(
        PlainConsole(force_terminal=False), [{"name": name, "score": 0.5} for name in HOSTILE], title=HOSTILE[0]
    )
    printed = capsys.readouterr().out
    assert all(name in printed for name in SHOWN) and not {"\x1b", "\x07", "\u202e"} & set(printed)
    PlainConsole().print(HOSTILE[0], HOSTILE[-1], soft_wrap=True)
    assert capsys.readouterr().out == f"{SHOWN[0]} {SHOWN[-1]}\n"
    assert printable("a\tb\n 한글 é 😀") == "a\tb\n 한글 é 😀"


def test_errors_do_not_carry_control_characters():
    @click.command()
    @readable_errors
    def command():
        raise ValueError(f"no class {HOSTILE[-1]}")

    done = CliRunner().invoke(command)
    assert done.exit_code == 1 and done.stderr == f"kcomp: no class {SHOWN[-1]}\n"
    done = CliRunner().invoke(main, ["runs", "--sort", "\x1b[31m"])
    assert "\x1b" not in done.output


def test_pages_show_hostile_names_as_text(run, tmp_path):
    """The classes, the ids, the recipe and its values. No script runs, no picture is requested."""
    values = {f"<b>{number}": name for number, name in enumerate(HOSTILE)}
    names = dict.fromkeys(values, 0)
    (run / "config.json").write_text(json.dumps(values))
    second = make_run(tmp_path / "runs" / "<i>second", tuple(sorted(HOSTILE[:-1])), recipe="<img onerror=alert(1)>")
    (second / "config.json").write_text(json.dumps(names))
    conftest.kcomp("runs", "runs", "--html", "runs.html", cwd=tmp_path)
    conftest.kcomp("explain", "runs/foreign", "-o", "out", cwd=tmp_path)
    for page in (tmp_path / "runs.html", tmp_path / "out" / "explain.html"):
        text = page.read_text()
        assert "<script>alert" not in text and "<img src=x" not in text and "<img onerror" not in text
        assert "alert(1)" in text and not {"\x1b", "\x07", "\u202e"} & set(text)
        with chromium.open_page(page) as shown:
            assert not shown.problems
