"""Label columns of a table: what each argument of `read_csv` reads, refuses and says."""

import warnings

import cv2
import numpy as np
import pytest

from kcomp import data
from kcomp.system.notices import Notice
from kcomp.targets import AnyOf, Grades, Numbers, OneOf


@pytest.fixture
def read(tmp_path):
    """Read a CSV's text; images a to f exist."""
    (tmp_path / "images").mkdir()
    for name in "abcdef":
        cv2.imwrite(str(tmp_path / "images" / f"{name}.png"), np.zeros((4, 5, 3), np.uint8))

    def read(text, **options):
        (tmp_path / "train.csv").write_text(text)
        return data.read_csv(tmp_path / "train.csv", **{"on_bad": "ignore", **options})

    return read


def silently(read, text, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read(text, **options)


def test_one_class_a_row(read):
    table = silently(read, "image_id,label\na,x\nb,y\nc,x\n", label="label")
    assert table.target == OneOf(("x", "y")) and table.labels.tolist() == [[1, 0], [0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("cells", "name"),
    [
        (("ace ten", "ten", "", "king ace"), "spaces"),
        (("ace,ten", "ten", "", "king, ace"), "commas"),
        (("ace;ten", "ten", "", "king; ace"), "semicolons"),
        (("ace|ten", "ten", "", " king | ace "), "vertical bars"),
    ],
)
def test_several_labels_in_a_cell(read, cells, name):
    text = "image_id,ranks\n" + "".join(f'{image_id},"{cell}"\n' for image_id, cell in zip("abcd", cells))
    with pytest.warns(Notice, match=f"train.csv, ranks: cells are split at {name}, into 3 labels"):
        table = read(text, labels="ranks")
    assert table.target == AnyOf(("ace", "king", "ten"))
    assert table.labels.tolist() == [[1, 0, 1], [0, 0, 1], [0, 0, 0], [1, 1, 0]]


def test_a_separator_wins_over_others_in_the_cells(read):
    text = 'image_id,labels\na,"leaf rust/scab"\nb,scab\n'
    assert silently(read, text, labels="labels", separator="/").columns == ("leaf rust", "scab")
    with pytest.raises(ValueError, match="`separator` stands between the labels of a cell"):
        read(text, label="labels", separator="/")


def test_spellings_are_joined_within_cells(read):
    with pytest.warns(Notice, match=r"joined the spellings 'Rust' \(1\), 'rust' \(2\) as 'rust'"):
        table = read("image_id,labels\na,rust|scab\nb,Rust\nc,rust|scab\n", labels="labels")
    assert table.columns == ("rust", "scab") and table.labels[1].tolist() == [1, 0]


def test_a_row_for_each_label_is_joined(read):
    text = "image_id,label,patient\nb,x,p\na,y,q\nb,z w,p\nc,,q\n"
    with pytest.warns(Notice, match="4 rows are joined by 'image_id' into 3 images"):
        table = read(text, labels="label", group="patient")
    assert table.ids == ["b", "a", "c"] and table.columns == ("x", "y", "z w")
    assert table.labels.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert table.frame["group"].tolist() == ["p", "q", "q"]
    with pytest.raises(ValueError, match="rows of one id must have one 'patient'; 1 ids have several, first 'b'"):
        read(text.replace("b,z w,p", "b,z w,q"), labels="label", group="patient")


def test_a_class_column_with_several_labels_gives_a_hint(read):
    text = "image_id,label\na,x y\nb,y\nc,x\nd,x y z\ne,z\n"
    with pytest.warns(
        Notice, match="5 classes such as 'x y' look like several labels in a cell; labels='label' reads 3"
    ):
        assert len(read(text, label="label").columns) == 5


@pytest.mark.parametrize("names", [("red car", "blue bus", "van"), ("leaf rust", "scab", "leaf spot")])
def test_class_names_of_two_words_give_no_hint(read, names):
    text = "image_id,label\n" + "".join(f"{image_id},{name}\n" for image_id, name in zip("abc", names))
    assert set(silently(read, text, label="label").columns) == set(names)


def test_multi_hot_columns_may_miss_labels(read):
    table = silently(read, "image_id,x,y\na,1,1\nb,,0.5\nc,0,True\n", multi_hot=["x", "y"])
    assert table.target == AnyOf(("x", "y"))
    np.testing.assert_array_equal(table.labels, [[1, 1], [np.nan, 0.5], [0, 1]])
    with pytest.raises(ValueError, match="'x' must hold numbers; 1 rows do not, first 'b' with 'maybe'"):
        read("image_id,x,y\na,1,1\nb,maybe,0\n", multi_hot=["x", "y"])


def test_one_hot_columns_with_several_ones_name_multi_hot(read):
    with pytest.raises(
        ValueError, match=r"1 rows have several, first 'b' with \[1.0, 1.0\]; `multi_hot` allows several"
    ):
        read("image_id,x,y\na,1,0\nb,1,1\n", one_hot=["x", "y"])


def test_numbers_may_be_one_or_several(read):
    text = "image_id,grams,days\na,1.5,3\nb,,4\nc,1e3,nan\n"
    assert silently(read, text.replace("nan", "5"), numbers="days").labels.tolist() == [[3], [4], [5]]
    table = silently(read, text, numbers=["grams", "days"])
    assert table.target == Numbers(("grams", "days"))
    np.testing.assert_array_equal(table.labels, [[1.5, 3], [np.nan, 4], [1000, np.nan]])


def test_a_row_for_each_number_is_joined(read):
    """Columns are sorted by name, and a row that is absent is a missing number."""
    text = "image_id,name,value,plot\nb,grams,1.5,p\na,days,3,q\nb,days,4,p\na,grams,,q\nc,days,7,q\n"
    with pytest.warns(Notice, match="5 rows are joined by 'image_id' into 3 images with 2 numbers"):
        table = read(text, numbers={"name": "value"}, group="plot")
    assert table.ids == ["b", "a", "c"] and table.target == Numbers(("days", "grams"))
    np.testing.assert_array_equal(table.labels, [[4, 1.5], [3, np.nan], [7, np.nan]])
    assert table.frame["group"].tolist() == ["p", "q", "q"]


@pytest.mark.parametrize(
    ("old", "new", "options", "message"),
    [
        ("a,days,3,q", "a,grams,3,q", {}, "one row for each 'name'; 1 rows are repeated, first 'grams' of 'a'"),
        ("a,days,3,q", "a,,3,q", {}, "every row needs a name in 'name'; 1 have none"),
        ("a,days,3,q", ",days,3,q", {}, "every row needs an image id"),
        ("a,days,3,q", "a,days,many,q", {}, "'days' must hold numbers; 1 rows do not, first 'a' with 'many'"),
        ("a,days,3,q", "a,plot,3,q", {}, r"'name' may not hold the name of a column that is used; it holds \['plot'\]"),
        ("a,days,3,q", "a,days,3,r", {}, "rows of one id must have one 'plot'; 1 ids have several, first 'a'"),
        ("", "", {"numbers": {"name": ["value"]}}, "a mapping is grades="),
        ("", "", {"numbers": {}}, "a mapping is grades="),
        ("", "", {"item": "plot"}, "leave out `item` and `box`"),
    ],
)
def test_a_row_for_each_number_is_refused(old, new, options, message, read):
    text = "image_id,name,value,plot\nb,grams,1.5,p\na,days,3,q\nb,days,4,p\na,grams,,q\n".replace(old, new)
    with pytest.raises(ValueError, match=message):
        read(text, **{"numbers": {"name": "value"}, "group": "plot", **options})


def test_decimal_commas(read):
    with pytest.warns(Notice, match="semicolons"):
        assert read("image_id;grams\na;1,5\nb;-2\n", numbers="grams").labels.tolist() == [[1.5], [-2]]


def test_grades_are_ordered_numbers_or_names_in_a_known_order(read):
    table = silently(read, "image_id,g\na,0\nb,4\nc,2.0\nd,10\n", grades="g")
    assert table.target == Grades(tuple(map(str, range(11)))) and table.labels.tolist() == [[0], [4], [2], [10]]
    assert silently(read, "image_id,g\na,1\nb,1.5\nc,3\n", grades="g").target == Grades(("1", "1.5", "3"))
    text = "image_id,g\na,mild\nb,none\nc,severe\n"
    table = silently(read, text, grades={"g": ["none", "mild", "severe"]})
    assert table.target == Grades(("none", "mild", "severe")) and table.labels.tolist() == [[1], [0], [2]]
    with pytest.raises(ValueError, match="'g' holds 'mild', which is not a number; give the order of the grades"):
        read(text, grades="g")
    with pytest.raises(
        ValueError, match=r"'g' must be one of \['none', 'mild'\]; 1 rows are not, first 'c' with 'severe'"
    ):
        read(text, grades={"g": ["none", "mild"]})
    with pytest.raises(ValueError, match="1 rows have no 'g', first 'b'"):
        read("image_id,g\na,1\nb,\n", grades="g")


def test_arguments_exclude_each_other(read):
    with pytest.raises(ValueError, match=r"set one of label, labels, .*; received label='x', numbers='y'"):
        read("image_id,x,y\na,1,2\n", label="x", numbers="y")


def test_a_label_column_called_like_a_column_of_the_table_is_refused(read):
    with pytest.raises(ValueError, match=r"received \['group'\]"):
        read("image_id,group,p\na,1,x\n", numbers="group", group="p")


def test_an_item_has_several_images(read):
    text = "image_id,label,case\na,x,1\nb,x,1\nc,y,2\n"
    assert read(text, label="label", item="case").frame["item"].tolist() == ["1", "1", "2"]
    repeated = "case,label,image\n1,x,a\n1,x,b\n2,y,c\n"
    with pytest.raises(ValueError, match=r"image ids must be unique; 1 are repeated, first '1'; .*`labels=`.*`item=`"):
        read(repeated, id="case", label="label", images="images/{image}.png")
    table = read(repeated, id="case", item="case", label="label", images="images/{image}.png")
    assert table.ids == ["1#0", "1#1", "2#0"] and table.frame["item"].tolist() == ["1", "1", "2"]
    assert [path[-5:] for path in table.images] == ["a.png", "b.png", "c.png"]
