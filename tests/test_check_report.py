"""The report of `kcomp check`: its verdict, the order of its sections, and its three files."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from kcomp import metrics
from kcomp.check.finding_text import example_ids, finding_line, printable_line
from kcomp.check.label_text import label_text
from kcomp.check.report import by_severity, overview, plain, verdict, write_report
from kcomp.data.tables import with_class_names
from kcomp.report.finding import Finding, findings_csv
from kcomp.report.page import Link, Section
from kcomp.report.part import Part
from kcomp.targets import AnyOf, Grades, Numbers, OneOf

HOSTILE = '<script>alert(1)</script>,"x"\x1b[31m\n\udcff'
LOADED = SimpleNamespace(name="leaves", fingerprint=lambda: "0123456789ab")


def data_set():
    frame = pd.DataFrame({"image_id": ["a", "b"], "fold": [0, 1]})
    frame["image"] = pd.Series([np.zeros((2, 2, 3), np.uint8)] * 2, dtype=object)
    table = with_class_names(frame, ["cat", "dog"])
    return SimpleNamespace(table=table, test=None, metric=metrics.get("accuracy"))


def result(*parts):
    return SimpleNamespace(data_set=data_set(), parts=list(parts), network="Features of a network.", failures=[])


def part(name, *findings, numbers=None):
    return Part(name, Section(name.capitalize(), "fine"), numbers or {}, findings)


def test_the_verdict_counts_errors_and_warnings():
    assert verdict(0, 0, 0) == "No problem was found."
    assert verdict(0, 0, 1) == "No problem was found. 1 note may be of interest."
    assert verdict(0, 1, 2) == "No error. 1 warning needs a look."
    assert verdict(2, 0, 0) == "2 errors must be repaired before training."
    assert verdict(1, 3, 0) == "1 error must be repaired before training, and 3 warnings need a look."


def test_sections_with_errors_come_first_then_warnings():
    note, warning, error = (Finding("dark", severity, "text") for severity in ("note", "warning", "error"))
    parts = [part("a", note), part("b", warning), part("c"), part("d", note, error), part("e", warning)]
    assert [part.name for part in by_severity(parts)] == ["d", "b", "e", "a", "c"]


def test_the_first_section_lists_the_ten_worst_findings():
    findings = [Finding("dark", "warning", f"warning {number}", (), number) for number in range(12)]
    findings += [Finding("empty", "error", "an error"), Finding("dark", "note", "a note")]
    labels = part("labels", Finding("contradicting-labels", "error", "the worst", (), 9.0))
    section = overview(result(part("files", *findings), labels))
    [(caption, table)] = section.tables
    assert caption == "The worst findings, 5 more are below"
    texts = ["the worst", "an error", *(f"warning {number}" for number in range(11, 3, -1))]
    assert [row[2] for row in table.rows] == texts
    assert [row[4] for row in table.rows] == [Link("Labels", "#section-3"), *[Link("Files", "#section-2")] * 9]
    assert section.good is False
    assert (
        "2 labelled rows, no test rows. 2 classes, with rows: cat (1), dog (1). The metric is accuracy."
        in section.paragraphs
    )


def test_three_files_are_written_and_keep_every_id(tmp_path):
    finding = Finding("unreadable", "error", "images cannot be read", ("a", HOSTILE))
    numbers = {"share": np.float32(0.5), "counts": np.array([1, 2]), "worst": float("nan"), 3: ("x",)}
    path = write_report(tmp_path / "out", LOADED, result(part("files", finding, numbers=numbers)), "kcomp check x")
    assert sorted(file.name for file in path.parent.iterdir()) == ["check.html", "check.json", "findings.csv"]
    content = json.loads((tmp_path / "out" / "check.json").read_text())
    assert content["parts"]["files"] == {"share": 0.5, "counts": [1, 2], "worst": None, "3": ["x"]}
    assert content["findings"][0]["image_ids"] == ["a", HOSTILE]
    with (tmp_path / "out" / "findings.csv").open(errors="surrogateescape", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["kind", "severity", "image_id", "message"]
    assert [row[2] for row in rows[1:]] == ["a", HOSTILE]
    assert "<script>alert" not in path.read_text()


def test_notes_are_listed_where_nothing_is_worse():
    note = Finding("wrong-label", "note", "1 label of 90 may be wrong", ("a",))
    section = overview(result(part("files"), part("labels", note)))
    assert (section.verdict, section.good) == ("No problem was found. 1 note may be of interest.", True)
    [(_, table)] = section.tables
    assert table.rows == [("note", "wrong-label", "1 label of 90 may be wrong", "a", Link("Labels", "#section-3"))]


def test_a_row_of_the_csv_says_what_is_wrong_with_its_image():
    details = ("labelled ant, predicted bee", "labelled bee, predicted ant")
    findings = [
        Finding("wrong-label", "warning", "2 labels look wrong", ("a", "b"), details=details),
        Finding("rare-class", "warning", "1 class is rare", ("c",)),
        Finding("shortcut", "warning", "the size predicts the label"),
    ]
    assert findings_csv(findings).splitlines() == [
        "kind,severity,image_id,message",
        'wrong-label,warning,a,"labelled ant, predicted bee"',
        'wrong-label,warning,b,"labelled bee, predicted ant"',
        "rare-class,warning,c,1 class is rare",
        "shortcut,warning,,the size predicts the label",
    ]


def test_ids_are_safe_to_print():
    assert printable_line(HOSTILE) == '<script>alert(1)</script>,"x"\\x1b[31m\\n\\udcff'
    assert example_ids(Finding("dark", "note", "x", tuple("abcde"))) == "a, b, c and 2 more"
    assert example_ids(Finding("dark", "note", "x")) == ""
    long = Finding("dark", "note", "too dark", ("folder/" * 9 + "a.png",))
    assert finding_line(long) == "note: dark: too dark (..." + ("folder/" * 9 + "a.png")[-37:] + ")"
    assert plain({"a": (np.int64(1), [np.bool_(True)])}) == {"a": [1, [True]]}


@pytest.mark.parametrize(
    ("target", "values", "text"),
    [
        (OneOf(("cat", "dog")), [0.0, 1.0], "dog"),
        (OneOf(("cat", "dog")), [0.3, 0.7], "0.70 dog + 0.30 cat"),
        (AnyOf(("rust", "scab", "rot")), [1.0, 0.0, 1.0], "rust + rot"),
        (AnyOf(("rust", "scab")), [0.0, 0.0], "no class"),
        (AnyOf(("rust", "scab")), [np.nan, 1.0], "scab + 1 missing"),
        (Numbers(("grams", "cm")), [12.5, np.nan], "grams 12.5, cm missing"),
        (Grades(("none", "mild", "severe")), [1.0], "mild"),
        (Grades(("none", "mild", "severe")), [1.3], "1.30, near mild"),
    ],
)
def test_labels_become_short_texts(target, values, text):
    assert label_text(target, np.array(values)) == text
