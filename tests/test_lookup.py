"""Image files: found by id in a folder or by a pattern, and what is skipped in folders."""

import os
import time
import unicodedata
import warnings

import cv2
import numpy as np
import pandas as pd
import pytest

from kcomp import data
from kcomp.data import lookup
from kcomp.data.listing import list_images
from kcomp.data.lookup import find_images
from kcomp.system.notices import Notice

PIXELS = np.zeros((4, 4, 3), np.uint8)


def make(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(cv2.imencode(".png", PIXELS)[1].tobytes())


def find(folder, ids, images="images", **columns):
    source = pd.DataFrame({"image_id": ids, **columns}, dtype=object)
    return [
        path.removeprefix(f"{folder}/")
        for path in find_images(source, source["image_id"], folder / "train.csv", images)
    ]


@pytest.mark.parametrize(
    ("image_id", "file"),
    [
        ("a", "a.jpg"),
        ("a.jpg", "a.jpg"),
        ("a.jpg", "a.png"),
        ("a", "a.JPG"),
        ("A", "a.jpeg"),
        ("A.jpg", "a.JPEG"),
        ("a.b", "a.b.png"),
        ("a", "deep/er/a.tif"),
        ("x/a", "x/a.png"),
        ("x/a.png", "x/a.png"),
        (" a ", "a.webp"),
        (unicodedata.normalize("NFD", "잎é"), unicodedata.normalize("NFC", "잎é.png")),
        (unicodedata.normalize("NFC", "잎É"), unicodedata.normalize("NFD", "잎é.png")),
    ],
)
def test_an_id_finds_its_file(tmp_path, image_id, file):
    make(tmp_path / "images", file, "other.png", "y/another.jpg")
    assert find(tmp_path, [image_id, "other"]) == [f"images/{file}", "images/other.png"]


def test_the_exact_name_wins(tmp_path):
    make(tmp_path / "images", "a.jpg", "A.png", "b.jpg", "b.png", "x/1.jpg", "y/1.jpg")
    assert find(tmp_path, ["a", "A", "b.png", "y/1"]) == [
        f"images/{name}" for name in ("a.jpg", "A.png", "b.png", "y/1.jpg")
    ]


@pytest.mark.parametrize("files", [("a.jpg", "a.png"), ("x/a.jpg", "y/a.jpg"), ("A.jpg", "A.jpeg")])
def test_two_files_of_one_stem_are_named(tmp_path, files):
    make(tmp_path / "images", *files, "b.jpg")
    with pytest.raises(ValueError, match=r"1 ids match several images, first 'a': .* and ") as error:
        find(tmp_path, ["b", "a"])
    assert all(name in str(error.value) for name in files)
    assert find(tmp_path, ["b"]) == ["images/b.jpg"]


def test_missing_images_are_counted_and_named(tmp_path):
    make(tmp_path / "images", "a.jpg")
    with pytest.raises(
        FileNotFoundError,
        match=r"2 of 3 images are missing in .*images, first \['b', 'c'\]; its 1 images are such as a.jpg",
    ):
        find(tmp_path, ["a", "b", "c"])
    with pytest.raises(FileNotFoundError, match=r"no folder of images at .*pictures"):
        find(tmp_path, ["a"], "pictures")


@pytest.mark.parametrize("images", ["images", None, "images/{image_id}.jpg"])
def test_missing_images_of_labelled_rows_name_the_way_out(images, tmp_path):
    make(tmp_path / "images", "a.jpg")
    frame = pd.DataFrame({"image_id": ["a", "b"], "label": ["x", "y"]})
    frame.to_csv(tmp_path / "train.csv", index=False)
    hint = '; on_bad="drop" leaves their rows out, and kcomp check lists them'
    with pytest.raises(FileNotFoundError, match=f"1 of 2 images are missing.*{hint}"):
        data.read_csv(tmp_path / "train.csv", images, label="label")
    with pytest.raises(FileNotFoundError, match="1 of 2 images are missing") as error:
        data.read_test(tmp_path / "train.csv", images)
    assert hint not in str(error.value)  # test rows are never left out


def test_patterns_use_columns(tmp_path):
    make(tmp_path, "set1/a.png", "set2/b.png")
    assert find(tmp_path, ["a", "b"], "set{part}/{image_id}.png", part=["1", "2"]) == ["set1/a.png", "set2/b.png"]
    with pytest.raises(ValueError, match=r"names the column 'parts'; there are \['image_id', 'part'\]"):
        find(tmp_path, ["a", "b"], "set{parts}/{image_id}.png", part=["1", "2"])
    with pytest.raises(FileNotFoundError, match=r"1 of 2 images are missing, first .*set2/a.png"):
        find(tmp_path, ["a", "a"], "set{part}/{image_id}.png", part=["1", "2"])


def test_a_folder_below_the_working_directory(tmp_path, monkeypatch):
    make(tmp_path / "data" / "images", "a.png")
    monkeypatch.chdir(tmp_path)
    source = pd.DataFrame({"image_id": ["a"]}, dtype=object)
    for images in (
        "images",
        "data/images",
        tmp_path / "data/images",
        "images/{image_id}.png",
        "data/images/{image_id}.png",
    ):
        paths = find_images(source, source["image_id"], tmp_path / "data" / "train.csv", images)
        assert [str(path) for path in paths] in (["data/images/a.png"], [f"{tmp_path}/data/images/a.png"])


def test_without_a_folder_the_usual_ones_are_searched(tmp_path):
    make(tmp_path, "images/a.png", "test/b.png", "x/c.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert find(tmp_path, ["a"], None) == ["images/a.png"]
    with pytest.warns(Notice, match=r"images are read from the folder .*test"):
        assert find(tmp_path, ["b"], None) == ["test/b.png"]
    with pytest.warns(Notice, match="images are read from the folder"):
        assert find(tmp_path, ["a", "c"], None) == ["images/a.png", "x/c.png"]
    with pytest.raises(
        FileNotFoundError, match=r"1 of 1 images are missing in .*images.*name another folder with `images=`"
    ):
        find(tmp_path, ["q"], None)


def test_hidden_and_leftover_files_are_skipped_and_named(tmp_path):
    make(
        tmp_path,
        "ants/1.jpg",
        "ants/._1.jpg",
        "ants/Thumbs.db",
        "bees/2.JPEG",
        "bees/notes.txt",
        ".ipynb_checkpoints/1.jpg",
    )
    make(tmp_path, "__MACOSX/ants/1.jpg")
    with pytest.warns(Notice, match=r"skipped 4 hidden .*: \._1.jpg, \.ipynb_checkpoints/, Thumbs.db, __MACOSX/"):
        table = data.read_folders(tmp_path)
    assert table.columns == ("ants", "bees") and table.ids == ["ants/1", "bees/2"]


def test_class_folders_that_differ_in_case_are_one_class(tmp_path):
    make(tmp_path, "Ants/1.jpg", "ants/2.jpg", "ants/3.jpg", "bees/1.jpg")
    with pytest.warns(Notice, match="joined the spellings 'Ants'"):
        assert data.read_folders(tmp_path).columns == ("ants", "bees")


def test_a_link_to_a_parent_folder_ends(tmp_path):
    make(tmp_path, "a/1.jpg")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    assert list_images(tmp_path) == ["a/1.jpg"]


def test_a_million_rows_within_a_minute(monkeypatch):
    """Read a tenth, in a tenth of the processor time; the listing itself is replaced."""
    count = 100_000
    monkeypatch.setattr(lookup, "list_images", lambda folder: [f"x/{row:07d}.PNG" for row in range(count)])
    monkeypatch.setattr(lookup, "existing_folder", lambda folder, images: images)
    frame = pd.DataFrame({"image_id": [f"{row:07d}" for row in range(count)], "label": ["x", "y"] * (count // 2)})
    start = time.process_time()
    table = data.read_csv(frame, "images", label="label", on_bad="ignore")
    assert len(table) == count and table.images[-1] == f"images/x/{count - 1:07d}.PNG"
    assert time.process_time() - start < 6


PATTERNS = ["images", "images/{image_id}", None]


@pytest.mark.parametrize("images", PATTERNS)
@pytest.mark.parametrize("form", ["absolute", "parent"])
def test_a_cell_leads_out_of_the_folder_of_images_only_with_permission(tmp_path, images, form):
    folder = tmp_path / "competition"
    make(tmp_path, "competition/images/a.png", "secret/b.png")
    outer = (
        str(tmp_path / "secret/b.png") if form == "absolute" else "../" * (1 + (images is not None)) + "secret/b.png"
    )
    source = pd.DataFrame({"image_id": [outer, outer]}, dtype=object)

    def paths(**options):
        return find_images(source, source["image_id"], folder / "train.csv", images, **options)

    with pytest.raises(
        ValueError,
        match=r"2 paths of images lead out of the folder .*, first '.*secret/b.png'; if the "
        r"table's origin is trusted, allow them with read_csv\(\.\.\., allow_outside=True\)",
    ):
        paths()
    assert [os.path.realpath(path) for path in paths(allow_outside=True)] == [str(tmp_path / "secret/b.png")] * 2


@pytest.mark.parametrize("images", PATTERNS)
def test_paths_that_stay_in_the_folder_and_links_need_no_permission(tmp_path, images):
    make(tmp_path, "images/x/a.png", "other/b.png")
    (tmp_path / "images/link").symlink_to(tmp_path / "other")
    base = "images/" if images is None else ""
    cells = [str(tmp_path / "images/x/a.png"), f"{base}x/../x/a.png"]
    source = pd.DataFrame({"image_id": cells}, dtype=object)
    paths = find_images(source, source["image_id"], tmp_path / "train.csv", images)
    assert {os.path.realpath(path) for path in paths} == {str(tmp_path / "images/x/a.png")}
    if images is not None:
        assert find(tmp_path, ["link/b.png", "x/a.png"], images) == ["images/link/b.png", "images/x/a.png"]
        assert find(tmp_path, ["/x/a.png"], "images/{image_id}") == ["images//x/a.png"]  # a path from the folder


def test_rows_with_and_without_absolute_paths(tmp_path):
    make(tmp_path, "images/a.png", "images/b.png")
    assert find(tmp_path, ["a", str(tmp_path / "images/b.png")]) == ["images/a.png", "images/b.png"]
    with pytest.raises(FileNotFoundError, match="1 of 2 images are missing"):
        find(tmp_path, ["a", str(tmp_path / "images/c.png")])


def test_the_table_keeps_the_permission_for_test_rows(tmp_path):
    make(tmp_path, "images/a.png", "secret/b.png")
    for name, path in (("train", "a"), ("test", str(tmp_path / "secret/b.png"))):
        (tmp_path / f"{name}.csv").write_text(f"image_id\n{path}\n")
    assert not data.read_csv(tmp_path / "train.csv", "images").allow_outside
    assert data.read_csv(tmp_path / "train.csv", "images", allow_outside=True).allow_outside
    with pytest.raises(ValueError, match="lead out of the folder"):
        data.read_test(tmp_path / "test.csv", "images")
    assert data.read_test(tmp_path / "test.csv", "images", allow_outside=True).images[0].endswith("secret/b.png")
