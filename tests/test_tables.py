"""Tables and folds: what is read, what is refused, and that order does not matter."""

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcomp import data
from kcomp.targets import AnyOf, Grades, Numbers, OneOf


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    for name in "abcdef":
        cv2.imwrite(str(tmp_path / "images" / f"{name}.jpg"), np.zeros((4, 5, 3), np.uint8))
    return tmp_path


def write(folder, text):
    (folder / "train.csv").write_text(text)
    return folder / "train.csv"


def test_a_label_column(folder):
    table = data.read_csv(write(folder, "image_id,label\nb,x\na,y\n"), label="label")
    assert table.columns == ("x", "y") and table.ids == ["b", "a"]
    np.testing.assert_array_equal(table.labels, [[1, 0], [0, 1]])


def test_one_hot_columns_keep_their_order_and_may_be_soft(folder):
    table = data.read_csv(write(folder, "image_id,y,x\nb,1,0\na,0.25,0.75\n"), one_hot=["y", "x"])
    assert table.columns == ("y", "x")
    np.testing.assert_array_equal(table.labels, [[1, 0], [0.25, 0.75]])


def test_ids_that_look_like_numbers_stay_text(folder):
    cv2.imwrite(str(folder / "images" / "007.jpg"), np.zeros((4, 5, 3), np.uint8))
    assert data.read_csv(write(folder, "image_id,label\n007,x\na,y\n"), label="label").ids == ["007", "a"]


def test_names_that_look_like_something_else_stay_text(folder):
    table = data.read_csv(
        write(folder, "id,label\na,001\nb,None\nc,NA\n"), label="label", id="id", images="images/{id}.jpg"
    )
    assert table.columns == ("001", "NA", "None") and table.id_column == "id" and table.ids == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (
            "image_id,label\nq,x\na,y\n",
            {"label": "label"},
            r"1 of 2 images are missing in .*images, first \['q'\]; its 6",
        ),
        ("image_id,label\na,x\na,y\n", {"label": "label"}, "'a'"),
        ("image_id,label\na,x\nb,\n", {"label": "label"}, "first 'b'"),
        ("image_id,label\na,x\nb,x\n", {"label": "label"}, "at least two classes"),
        ("image_id,x,y\na,1,0\nb,1,1\n", {"one_hot": ["x", "y"]}, r"first 'b' with \[1.0, 1.0\]"),
        ("image_id,x,y\na,1,0\nb,k,1\n", {"one_hot": ["x", "y"]}, "first 'b'"),
        (
            "image_id,lable\na,x\n",
            {"label": "label"},
            r"lacks the columns \['label'\]; it has \['image_id', 'lable'\]$",
        ),
        ("image_id,label\n", {"label": "label"}, "no rows"),
        ("", {}, "not a readable CSV"),
        ("image_id,label\n,x\na,y\n", {"label": "label"}, "1 of 2 have none"),
    ],
)
def test_refusals_name_what_is_wrong(folder, text, options, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        data.read_csv(write(folder, text), **options)


def test_a_folder_per_class(tmp_path):
    for name in ("ants/1.jpg", "ants/2.PNG", "bees/1.jpg", "bees/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    table = data.read_folders(tmp_path, on_bad="ignore")
    assert table.columns == ("ants", "bees") and table.ids == ["ants/1", "ants/2", "bees/1"]
    assert data.read_images(tmp_path, on_bad="ignore").ids == table.ids


def test_sklearn_digits_are_whole():
    table = data.sklearn_digits()
    assert len(table) == 1797 and len(table.columns) == 10
    assert table.images[0].dtype == np.uint8 and max(image.max() for image in table.images) == 255


def made(ids, classes):
    frame = pd.DataFrame({"image_id": ids, "image": [b""] * len(ids)})
    names = sorted(set(classes))
    for name in names:
        frame[name] = np.float32(np.array(classes) == name)
    return data.Table(frame, OneOf(tuple(names)))


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(2, 5))
def test_folds_depend_on_the_rows_and_not_on_their_order(random, count):
    ids = [f"row{number}" for number in range(40)]
    table = made(ids, ["x" if number % 4 else "y" for number in range(40)])
    order = list(range(40))
    random.shuffle(order)
    for split in (data.folds, data.stratified_folds):
        first, second = split(table, count, seed=3), split(table.rows(np.array(order)), count, seed=3)
        assert dict(zip(first.ids, first.frame.fold, strict=True)) == dict(
            zip(second.ids, second.frame.fold, strict=True)
        )
        assert first.fingerprint() == second.fingerprint()


def test_stratified_folds_share_classes_equally():
    table = data.stratified_folds(made([str(i) for i in range(50)], list("xxxxy") * 10), 5)
    for fold in range(5):
        training, held_out = data.split(table, fold)
        assert held_out.labels.sum(0).tolist() == [8, 2] and len(training) == 40
        assert not set(training.ids) & set(held_out.ids)


def test_folds_are_the_same_on_every_machine():
    """Written down once: a change here changes every competitor's folds."""
    table = data.stratified_folds(made([f"r{i}" for i in range(10)], list("xy") * 5), 5, seed=0)
    assert table.frame.fold.tolist() == [2, 0, 0, 2, 1, 1, 3, 4, 4, 3]


def test_a_table_with_the_same_labels_and_another_target_is_another_table():
    frame = pd.DataFrame({"image_id": ["p", "q"], "image": b"", "a": [1.0, 0.0], "b": [0.0, 1.0]})
    kinds = [OneOf(("a", "b")), AnyOf(("a", "b")), Numbers(("a", "b"))]
    frame = frame.assign(grade=[0.0, 1.0])
    levels = [Grades(("low", "high")), Grades(("good", "bad")), Grades(("low", "middle", "high"))]
    prints = [data.Table(frame, target).fingerprint() for target in (*kinds, *levels)]
    assert len(set(prints)) == 6
    assert data.Table(frame, Grades(("low", "high"), "ordinal")).fingerprint() == prints[3]
    assert data.Table(frame, Numbers(("a", "b"), (1.0, 2.0), (1.0, 1.0))).fingerprint() == prints[2]


def test_holdout_keeps_the_rest_for_training():
    table = data.holdout(made([str(i) for i in range(20)], list("xxxy") * 5), 0.2)
    training, held_out = data.split(table, 0)
    assert len(held_out) == 4 and len(training) == 16 and held_out.labels.sum(0).tolist() == [3, 1]


def test_splits_refuse():
    table = made([str(i) for i in range(10)], list("xxxxxxxxxy"))
    with pytest.raises(ValueError, match="between 2 and"):
        data.folds(table, 1)
    with pytest.raises(ValueError, match="no folds"):
        data.split(table, 0)
    with pytest.raises(ValueError, match=r"\[0, 1\]; received 7"):
        data.split(data.folds(table, 2), 7)
