"""Code in the texts of pages, and findings that a worse one covers."""

from kcomp.report.finding import Finding, uncovered
from kcomp.report.page import mark_code


def test_code_is_marked_and_hostile_text_is_escaped():
    assert mark_code("call `data.folds` now") == "call <code>data.folds</code> now"
    assert mark_code("`<img src=x>` & ` alone") == "<code>&lt;img src=x&gt;</code> &amp; ` alone"
    assert mark_code("") == ""


def test_notes_about_the_images_of_an_alarm_are_covered():
    alarm = Finding("fold-leak", "error", "the same picture", ("a", "b"))
    same = Finding("near-duplicate", "note", "the same picture", ("b", "a"))
    other = Finding("near-duplicate", "note", "another picture", ("a", "c"))
    table = Finding("small-fold", "note", "few rows")
    alarm_of_table = Finding("shortcut", "warning", "quality")
    assert uncovered([alarm, same, other, table, alarm_of_table]) == [alarm, other, table, alarm_of_table]
