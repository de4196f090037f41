"""Ids that occur in several rows: a few are mistakes, which are reported; many belong together."""

import warnings

import cv2
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from kcomp import data
from kcomp.check.labels.repeated import repeated_findings, repeated_tables
from kcomp.cli import main
from kcomp.data.bad_images import RepeatedId, keeping_damaged
from kcomp.data.repeated import are_mistakes
from kcomp.system.notices import Notice

IDS = [f"im{number}" for number in range(20)]


@pytest.fixture
def folder(tmp_path):
    """Images im0 to im19."""
    (tmp_path / "insects" / "images").mkdir(parents=True)
    for number, name in enumerate(IDS):
        pixels = np.random.default_rng(number).integers(0, 255, (20, 24, 3))
        cv2.imwrite(str(tmp_path / "insects" / "images" / f"{name}.png"), pixels)
    return tmp_path / "insects"


def write(folder, column, values, *more):
    """Write train.csv: a value for each image, and further rows (id, value)."""
    rows = [*zip(IDS, values, strict=True), *more]
    pd.DataFrame(rows, columns=["image_id", column]).to_csv(folder / "train.csv", index=False)
    return folder / "train.csv"


def test_a_tenth_of_the_ids_may_be_mistakes():
    assert not are_mistakes(pd.Series(IDS))
    assert are_mistakes(pd.Series([*IDS, "im3"])) and are_mistakes(pd.Series([*IDS, "im3", "im4", "im4"]))
    assert not are_mistakes(pd.Series([*IDS, "im3", "im4", "im5"]))  # 3 of 20 ids
    assert not are_mistakes(pd.Series([*IDS, None, None]))


@pytest.mark.parametrize(
    ("column", "values", "repeated", "other"),
    [
        ("label", ["ant", "bee"] * 10, " Ant", "bee"),
        ("numbers", list(range(20)), "0.0", "0.5"),
        ("grades", ["1", "2"] * 10, "1", "2"),
    ],
)
def test_rows_that_repeat_an_id(column, values, repeated, other, folder):
    with pytest.warns(Notice, match="1 rows repeat an id and its label, first 'im0'; each id is used once"):
        table = data.read_csv(write(folder, column, values, ("im0", repeated)), "images", **{column: column})
    assert table.ids == IDS
    path = write(folder, column, values, ("im0", repeated), ("im2", other))
    with pytest.raises(ValueError, match=r"1 ids are repeated with different labels, first 'im2' .*kcomp check lists"):
        data.read_csv(path, "images", **{column: column})
    with warnings.catch_warnings(), keeping_damaged() as problems:
        warnings.filterwarnings("error", message=".*repeat")
        table = data.read_csv(path, "images", **{column: column})
    assert table.ids == IDS
    first, second = problems.repeated
    assert (first.image_id, first.rows, first.labels) == ("im0", 2, (str(values[0]),))
    assert (second.image_id, second.rows, second.labels) == ("im2", 2, (str(values[2]), other))


def test_labels_in_several_columns(folder):
    frame = pd.DataFrame({"image_id": [*IDS, "im0", "im1"], "ant": [1, 0] * 11, "bee": [0, 1] * 11})
    with pytest.warns(Notice, match="2 rows repeat an id"):
        assert len(data.read_csv(frame, folder / "images", one_hot=["ant", "bee"])) == 20
    frame.loc[21, ["ant", "bee"]] = 1, 0
    with pytest.raises(ValueError, match="first 'im1' with 'bee' and 'ant'"):
        data.read_csv(frame, folder / "images", one_hot=["ant", "bee"])


def test_findings_name_the_ids():
    repeated = [RepeatedId("a", 2, ("ant",)), RepeatedId("b", 3, ("ant", "bee")), RepeatedId("c", 2, ("bee",))]
    unlike, equal = repeated_findings(repeated)
    assert (unlike.kind, unlike.severity, unlike.image_ids) == ("contradicting-labels", "error", ("b",))
    assert unlike.message == "1 id occurs in several rows with different labels; keep one row"
    assert unlike.details == ("labelled ant and bee in 3 rows",)
    assert (equal.kind, equal.severity, equal.image_ids) == ("repeated-id", "warning", ("a", "c"))
    [(_, table)] = repeated_tables(repeated)
    assert table.rows[1] == ["b", "3", "ant; bee"] and list(table.marked) == [1]
    assert repeated_findings([]) == [] == repeated_tables([])


@pytest.mark.parametrize("other", ["ant", "bee"])
def test_a_recipe_for_a_table_with_a_repeated_id(other, folder):
    """It has one class for each image: neither items nor several labels."""
    write(folder, "label", ["ant", "bee"] * 10, ("im0", other))
    done = CliRunner().invoke(main, ["new", str(folder), "-o", str(folder / "mine.py")])
    source = (folder / "mine.py").read_text()
    assert done.exit_code == 0 and 'label="label"' in source and "item" not in source
    assert "1 of 20 ids have several rows, probably by mistake: kcomp check lists them" in done.output


def test_a_repeated_id_does_not_make_names_of_numbers(folder):
    """A text column that differs in the two rows of one id is not a column of names of numbers."""
    frame = pd.DataFrame({"image_id": [*IDS, "im0"], "grams": np.arange(21) + 0.5, "site": ["x", "y"] * 10 + ["y"]})
    frame.to_csv(folder / "train.csv", index=False)
    CliRunner().invoke(main, ["new", str(folder), "-o", str(folder / "mine.py"), "--label", "grams"])
    assert 'numbers="grams"' in (folder / "mine.py").read_text()
