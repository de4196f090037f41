"""`kcomp runs`: sorted in the terminal, and as a page whose table a click sorts."""

import importlib.util
import json
import re
import shutil
from pathlib import Path

import conftest
import pytest
from test_compare import BROWSER, browse

from kcomp.report.page import Link
from kcomp.report.table import sorted_rows
from kcomp.runs.html import differing_values, folder_link, read_values, write_page
from kcomp.system.files import write_json

RUNS = [  # backend, seed, log loss (None: unfinished), values
    ("jax", 0, 0.25, {"rate": 1e-3, "size": 160, "sizes": [1, 2]}),
    ("jax", 1, None, {"rate": 1e-3, "size": 160}),
    ("torch", 10, 0.125, {"rate": 2e-4, "size": 160, "sizes": [3]}),
    ("jax", 2, None, {"rate": 1e-3, "size": 160, "other": "<b>"}),
    ("torch", 3, 0.5, {"rate": 0.01, "size": 160, "other": "plain"}),
]


@pytest.fixture
def folder(tmp_path):
    for backend, seed, loss, values in RUNS:
        run = tmp_path / "runs" / "small" / f"{seed:03d}"
        manifest = {
            "recipe": "small",
            "fingerprint": f"f{seed}",
            "table": "t",
            "classes": ["a", "b"],
            "metric": "log_loss",
            "scores": ["log_loss", "accuracy"],
        }
        write_json(run / "manifest.json", {**manifest, "backend": backend, "seed": seed, "fold": 0})
        write_json(run / "config.json", values)
        if loss is not None:
            scores = {"accuracy": 1 - loss, "log_loss": loss, "macro_f1": 0.5, "roc_auc": 0.5}
            write_json(run / "result.json", {"scores": scores, "seconds": 7})
    return tmp_path


def seeds(lines):
    return [int(re.search(r"runs/small/(\d+)", line).group(1)) for line in lines if "runs/small" in line]


def test_rows_are_sorted():
    rows = [{"score": value, "name": name} for value, name in ((3, "b"), ("-", "c"), (10, "a"), (-1.5, "d"))]
    assert [row["score"] for row in sorted_rows(rows, "score")] == [-1.5, 3, 10, "-"]
    assert [row["score"] for row in sorted_rows(rows, "-score")] == [10, 3, -1.5, "-"]
    assert [row["name"] for row in sorted_rows(rows, "-name")] == ["d", "c", "b", "a"]
    rows = [{"score": value} for value in (float("nan"), 2.0, 1.0)]
    assert [row["score"] for row in sorted_rows(rows, "score")][:2] == [1.0, 2.0]
    with pytest.raises(ValueError, match="no column 'scor'; did you mean 'score'"):
        sorted_rows(rows, "scor")


def test_values_that_differ(tmp_path):
    values = [{"a": 1, "b": [1]}, {"a": 1, "b": [2]}, {"a": 1, "c": "x"}]
    assert differing_values(values) == [{"b": [1]}, {"b": [2]}, {}]
    (tmp_path / "config.json").write_text("{")
    assert read_values(tmp_path) == {}


def test_links_lead_from_the_page_to_the_run(tmp_path):
    run = tmp_path / "runs" / "a b" / "x"
    assert folder_link(run, tmp_path / "pages") == Link("x", "../runs/a%20b/x")
    assert folder_link(Path("runs/r/x"), Path()) == Link("x", "runs/r/x")


def test_recipes_have_their_own_tables(tmp_path):
    columns = {"fingerprint": "f", "backend": "jax", "fold": 0, "accuracy": 0.5}
    rows = []
    for number, (recipe, seconds) in enumerate((("one", 3), ("two", "unfinished"), ("one", 4), ("-", "damaged"))):
        folder = tmp_path / "runs" / str(number)
        write_json(folder / "config.json", {"rate": number, "size": recipe})
        rows.append({"recipe": recipe, **columns, "seed": number, "seconds": seconds, "folder": str(folder)})
    write_page(tmp_path / "page.html", Path("runs"), rows)
    text = (tmp_path / "page.html").read_text()
    assert "4 runs, 1 unfinished, 1 damaged. Click a header to sort." in text
    assert re.findall(r"<h2>(.*?)</h2>", text) == ["one", "two", "Damaged runs"]
    first, second, _ = text.split("<h2>")[1:]
    assert first.count("<tr") == 3 and ">rate</th>" in first and "size" not in first  # the recipe "one" has one size
    assert second.count("<tr") == 2 and "rate" not in second and "1 run, 1 unfinished." in second


WIDTH = """<script>
  const tables = [...document.querySelectorAll("table")];
  const hidden = tables.filter(table => table.parentElement.scrollHeight > table.parentElement.clientHeight + 1);
  const cut = [...document.querySelectorAll("td, th")].filter(cell => cell.scrollWidth > cell.clientWidth + 1);
  document.body.dataset.found = JSON.stringify([document.querySelectorAll("tbody tr").length, hidden.length, cut.length]);
</script></body>"""


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
@pytest.mark.skipif(importlib.util.find_spec("jinja2") is None, reason="needs jinja2")
def test_a_long_wide_table_is_shown_whole(tmp_path):
    rows = []
    for number in range(200):
        folder = tmp_path / "runs" / f"jax-seed{number}-fold0"
        write_json(folder / "config.json", {f"value{k}": f"{number} and some words" for k in range(20)})
        columns = {"recipe": "r", "backend": "jax", "seed": number, "seconds": 3, "folder": str(folder)}
        rows.append(columns)
    write_page(tmp_path / "page.html", Path("runs"), rows)
    page = tmp_path / "looked.html"
    page.write_text((tmp_path / "page.html").read_text().replace("</body>", WIDTH))
    document, console = browse(page, tmp_path / "profile")
    assert console == [] and 'data-found="[200,0,0]"' in document


def test_the_command_shows_what_is_averaged(folder):
    weights = {"method": "snapshots", "weights": ["a.weights.h5", "b.weights.h5"]}
    for seed, average in (("000", weights), ("010", {"method": "EMA", "accepted": True}), ("003", {"method": "SWA"})):
        path = folder / "runs" / "small" / seed / "result.json"
        write_json(path, json.loads(path.read_text()) | {"average": average})
    lines = conftest.kcomp("runs", cwd=folder).stdout.splitlines()
    column = slice(lines[0].index("average"), lines[0].index("accuracy"))
    assert [line[column].strip() for line in lines[1:]] == ["2 snapshots", "-", "-", "-", "EMA"]


def test_submit_and_predict_say_what_to_do_with_a_folder_of_runs(folder):
    (folder / "sample.csv").write_text("image_id,a,b\n")
    for command, text in (
        (("submit", "runs", "--sample", "sample.csv", "-o", "s.csv"), "2 of 5 runs are not complete"),
        (("submit", "runs/small/001", "--sample", "sample.csv", "-o", "s.csv"), "1 of 1 runs is not complete"),
        (("predict", "runs"), "2 of 5 runs are not complete, first runs/small/001; run the same `kcomp train` again"),
    ):
        done = conftest.kcomp(*command, cwd=folder, check=False)
        assert done.returncode and text in done.stderr


def test_the_command_sorts(folder):
    assert seeds(conftest.kcomp("runs", cwd=folder).stdout.splitlines()) == [0, 1, 2, 3, 10]
    assert seeds(conftest.kcomp("runs", "--sort", "log_loss", cwd=folder).stdout.splitlines()) == [10, 0, 3, 1, 2]
    assert seeds(conftest.kcomp("runs", "--sort", "-log_loss", cwd=folder).stdout.splitlines()) == [3, 0, 10, 1, 2]
    wrong = conftest.kcomp("runs", "--sort", "logloss", cwd=folder, check=False)
    assert wrong.returncode == 2 and "did you mean 'log_loss'" in wrong.stderr


CLICKS = """<script>
  const found = {}, look = name => {
    found[name] = [...document.querySelectorAll("tbody tr")].map(row => row.cells[4].textContent);
  };
  look("written");
  const header = name => [...document.querySelectorAll("th")].find(cell => cell.textContent === name);
  for (const name of ["seed", "log_loss", "rate", "run", "backend"])
    for (const time of [1, 2]) { header(name).click(); look(name + time); }
  document.body.dataset.found = JSON.stringify(found);
</script></body>"""


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
@pytest.mark.skipif(importlib.util.find_spec("jinja2") is None, reason="needs jinja2")
def test_a_click_sorts_the_page(folder):
    done = conftest.kcomp("runs", "--html", "runs.html", cwd=folder)
    assert done.stdout.splitlines()[-1] == "runs.html"
    text = (folder / "runs.html").read_text()
    assert "http" not in text and "&lt;b&gt;" in text and "<b>" not in text
    header = re.findall(r"<th(?: [^>]*)?>(.*?)</th>", text)
    assert header[:5] == ["run", "fingerprint", "backend", "fold", "seed"] and "size" not in header
    assert header[-3:] == ["rate", "sizes", "other"] and "1,2</td>" in text
    assert re.findall(r'<a href="(.*?)">', text) == [f"runs/small/{seed:03d}" for seed in (0, 1, 2, 3, 10)]
    page = folder / "clicked.html"
    page.write_text(text.replace("</body>", CLICKS))
    document, console = browse(page, folder / "profile")
    shutil.rmtree(folder / "profile", ignore_errors=True)
    assert console == []
    found = json.loads(re.search(r'data-found="([^"]*)"', document).group(1).replace("&quot;", '"'))
    assert found["written"] == ["0", "1", "2", "3", "10"]
    assert found["seed1"] == ["0", "1", "2", "3", "10"] and found["seed2"] == ["10", "3", "2", "1", "0"]  # as numbers
    assert found["log_loss1"] == ["10", "0", "3", "2", "1"] and found["log_loss2"] == ["3", "0", "10", "2", "1"]
    assert found["rate1"][0] == "10" and found["rate1"][-1] == "3" and found["rate2"][0] == "3"
    assert found["run1"] == ["0", "1", "2", "3", "10"] and found["run2"] == ["10", "3", "2", "1", "0"]  # as texts
    assert set(found["backend1"][:3]) == {"0", "1", "2"} and set(found["backend2"][:2]) == {"3", "10"}
