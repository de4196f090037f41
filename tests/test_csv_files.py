"""CSV files: encodings, delimiters, spaces and DataFrames; and spellings of a class name."""

import unicodedata
import warnings

import cv2
import numpy as np
import pandas as pd
import pytest

from kcomp import data
from kcomp.data.csv_file import read_texts
from kcomp.data.spelling import join_spellings
from kcomp.system.notices import Notice

TEXT = "image_id,label\na,원\nb,사각\n"


def write(tmp_path, content):
    path = tmp_path / "train.csv"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("text", "encoding", "read_as"),
    [
        (TEXT, "cp949", "cp949"),
        (TEXT, "utf-16", "utf-16"),
        (TEXT, "utf-16-le", "utf-16-le"),
        (TEXT, "utf-16-be", "utf-16-be"),
        ("image_id,label\na,école\nb,Müll\n", "latin-1", "iso8859-1"),
        ("image_id,label\na,été\nb,Ölüm\n", "latin-1", "iso8859-1"),
    ],
)
def test_encodings_are_detected_and_named(tmp_path, text, encoding, read_as):
    with pytest.warns(Notice, match=f"train.csv is read as {read_as}$"):
        cells = read_texts(write(tmp_path, text.encode(encoding)), ["image_id"])
    assert cells.to_csv(index=False, lineterminator="\n") == text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_utf8_is_read_silently_with_and_without_a_mark(tmp_path, encoding):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_texts(write(tmp_path, TEXT.encode(encoding)), ["image_id"])["label"].tolist() == ["원", "사각"]


@pytest.mark.parametrize(
    ("label", "encoding"), [("まる,しかく", "shift_jis"), ("圆形,方形,红色", "gb18030"), ("“quoted” – dash", "cp1252")]
)
def test_other_encodings_are_refused_with_one_to_try(tmp_path, label, encoding):
    path = write(tmp_path, f'image_id,label\na,"{label}"\n'.encode(encoding))
    with pytest.raises(ValueError, match=f"train.csv is not UTF-8.*encoding='{encoding}'"):
        read_texts(path, ["image_id"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_texts(path, ["image_id"], encoding=encoding)["label"].tolist() == [label]


def test_a_wrong_encoding_is_refused(tmp_path):
    path = write(tmp_path, TEXT.encode("cp949"))
    with pytest.raises(ValueError, match=r"is not utf-8: .* at byte 17"):
        read_texts(path, ["image_id"], encoding="utf-8")
    with pytest.raises(ValueError, match="received 'klingon'"):
        read_texts(path, ["image_id"], encoding="klingon")


@pytest.mark.parametrize(("mark", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")])
def test_delimiters_are_detected_and_named(tmp_path, mark, name):
    content = f'image_id{mark}label{mark}note\na{mark}x{mark}"1, 2, 3, 4"\n'.encode()
    with pytest.warns(Notice, match=f"train.csv is read with {name} between cells"):
        cells = read_texts(write(tmp_path, content), ["image_id", "label"])
    assert cells.iloc[0].tolist() == ["a", "x", "1, 2, 3, 4"]


def test_spaces_after_commas_and_around_names_are_removed(tmp_path):
    cells = read_texts(write(tmp_path, b'image_id, label , note\na, x, "1, 2"\n'), ["image_id", "label"])
    assert list(cells) == ["image_id", "label", "note"] and cells.iloc[0].tolist() == ["a", "x", "1, 2"]


def test_rows_with_more_cells_than_names_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"more cells than the 2 names.*quote cells that contain commas"):
        read_texts(write(tmp_path, b"image_id,labels\na,x,y\nb,x,z\n"), ["image_id"])


def test_repeated_column_names_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\['label'\] are repeated"):
        read_texts(write(tmp_path, b"image_id,label ,label\na,x,y\n"), ["image_id"])


def test_a_data_frame_reads_as_its_csv_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("7", "8"):
        cv2.imwrite(f"{name}.png", np.zeros((4, 4, 3), np.uint8))
    frame = pd.DataFrame({"image_id": [7, 8], "label": [1.0, 2.0]}, index=[5, 5])
    frame.to_csv("train.csv", index=False)
    with pytest.warns(Notice, match="images are read from the folder ."):
        table = data.read_csv(frame, label="label")
    assert table.ids == ["7", "8"] and table.columns == ("1", "2")
    frame.loc[:, "label"] = np.nan
    with pytest.raises(ValueError, match="2 rows have no 'label', first '7'"):
        data.read_csv(frame, label="label", images=".")


def test_spellings_become_the_most_frequent_one():
    nfd = unicodedata.normalize("NFD", "épée")
    names = pd.Series(["Rust", "rust", "rust ", "scab", nfd, "épée", " ", None, "a", "A"])
    with pytest.warns(
        Notice, match=r"t.csv: joined the spellings 'Rust' \(1\), 'rust' \(1\), 'rust ' \(1\) as 'rust'; "
    ):
        joined = join_spellings(names, "t.csv")
    assert joined.tolist() == ["rust", "rust", "rust", "scab", "épée", "épée", None, None, "a", "A"]


def test_distinct_names_are_left_without_a_notice():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert join_spellings(pd.Series(["b", "B", "rust"]), "t.csv").tolist() == ["b", "B", "rust"]
