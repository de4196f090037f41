"""The inputs of ../shared/cases: files as people's real ones often are."""

import warnings

import pytest
from conftest import SHARED

from kcomp import data
from kcomp.system.notices import Notice
from kcomp.targets import AnyOf, Grades, Numbers, OneOf

CASES = SHARED.parent / "cases"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared/cases")
SHAPES = ("circle", "square", "star")


def read(case, **options):
    return data.read_csv(CASES / case / "train.csv", images="images", **options)


def test_korean_windows_encoding():
    with pytest.warns(Notice, match="is read as cp949"):
        assert read("cp949-csv", label="label").columns == ("네모", "별", "원")


def test_semicolons():
    with pytest.warns(Notice, match="is read with semicolons"):
        assert read("semicolon-csv", label="label").columns == SHAPES


@pytest.mark.parametrize(("case", "first"), [("ids-with-ending", "im000.jpg"), ("mixed-endings", "im000")])
def test_endings(case, first):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = read(case, label="label")
    assert table.columns == SHAPES and table.ids[0] == first


def test_labels_with_spaces():
    with pytest.warns(Notice, match="joined the spellings 'circle' .* 'circle '"):
        assert read("labels-with-spaces", label="label").columns == SHAPES


def test_hidden_folders():
    with pytest.warns(
        Notice, match=r"skipped 3 hidden or leftover files .*: \._0.jpg, \.ipynb_checkpoints/, Thumbs.db"
    ):
        table = data.read_folders(CASES / "hidden-folders")
    assert table.columns == SHAPES and len(table) == 15


def test_damage_inside_a_jpeg():
    with pytest.raises(ValueError, match=r"1 of 18 images are damaged: .*im004\.jpg .* on_bad=\"drop\""):
        read("jpeg-damaged-inside", label="label")
    with pytest.warns(Notice, match=r"im004\.jpg .*; 1 of 18 rows are left out"):
        table = read("jpeg-damaged-inside", label="label", on_bad="drop")
    assert len(table) == 17 and "im004" not in table.ids


def test_twelve_of_sixteen_bits():
    with pytest.warns(Notice, match="18 of 18 images have more than 8 bits: .* 0 to 4095 become 0 to 255"):
        table = read("png-12-of-16-bits", label="label")
    batches = data.Batches(table, 48, batch_size=18)
    images = batches[0]["images"]
    assert images.mean((1, 2, 3)).min() > 80 and images.std((1, 2, 3)).min() > 3


@pytest.mark.parametrize(
    ("case", "options"),
    [
        ("several-labels-in-a-cell", {"labels": "labels"}),
        ("several-one-columns", {"multi_hot": list(SHAPES)}),
        ("one-row-for-each-label", {"labels": "label"}),
    ],
)
@pytest.mark.filterwarnings("ignore::kcomp.system.notices.Notice")
def test_several_labels(case, options):
    table = read(case, **options)
    assert isinstance(table.target, AnyOf) and set(SHAPES) <= set(table.columns) and len(table) == 18
    assert len(set(table.ids)) == 18 and (table.labels.sum(1) >= 1).all() and (table.labels.sum(1) > 1).any()


def test_several_labels_read_as_one():
    with pytest.warns(Notice, match=r"labels='labels' reads 3 labels instead"):
        assert len(read("several-labels-in-a-cell", label="labels").columns) == 3


def test_grades():
    assert read("grades", id="id_code", grades="diagnosis").target == Grades(("0", "1", "2", "3", "4"))
    assert read("grades", id="id_code", numbers="diagnosis").target == Numbers(("diagnosis",))
    assert read("grades", id="id_code", label="diagnosis").target == OneOf(("0", "1", "2", "3", "4"))
    with pytest.raises(ValueError, match=r"lacks the columns \['image_id'\]; .*name the column of ids with `id=`"):
        read("grades", grades="diagnosis")


def test_a_class_with_one_row_is_read():
    assert read("class-with-one-row", label="label").labels.sum(0).tolist() == [6, 1, 6, 6]
