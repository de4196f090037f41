"""The inputs of ../shared/cases: files as people's real ones often are."""

import warnings

import pytest
from conftest import SHARED

from kcomp import data
from kcomp.system.notices import Notice

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
