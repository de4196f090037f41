"""kcomp check finds missing, damaged and odd image files, and nothing in clean ones."""

import io

import cv2
import numpy as np
import pandas as pd
import pytest
from check_data import plausible_facts
from damage_here import no_process  # noqa: F401
from PIL import Image

from kcomp import data, metrics
from kcomp.check.data_set import DataSet
from kcomp.check.files.damage import kind_of_damage
from kcomp.check.files.part import check_files, file_findings
from kcomp.check.files.rules import blur_radius, odd_pixels, odd_shapes, outlier_limit, z_scores
from kcomp.data.bad_images import keeping_damaged
from kcomp.measurements import measure, measure_images

COUNT = 24


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KCOMP_CACHE", str(tmp_path / "cache"))


def scene(seed, height=96, width=128):
    """A picture with coarse and fine detail and a little noise, as a photograph has."""
    random = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), 120.0)
    for cells, strength in ((4, 60), (12, 40), (40, 25)):
        detail = random.normal(0, strength, (cells, cells, 3)).astype(np.float32)
        pixels += cv2.resize(detail, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(pixels + random.normal(0, 2, pixels.shape), 0, 255).astype(np.uint8)


def encoded(pixels, format="PNG", mode=None, **options):
    file = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(file, format, **options)
    return file.getvalue()


def part_of(folder, changes=(), test_changes=(), **options):
    """Check `COUNT` labelled and 12 test images, in which `changes` replaces the content of some file names."""
    for part, count, replaced in (("images", COUNT, dict(changes)), ("test", 12, dict(test_changes))):
        (folder / part).mkdir(parents=True)
        for number in range(count):
            content = encoded(scene(number + 100 * (part == "test")), "JPEG", quality=92)
            content = replaced.pop(f"{number}.jpg", content)
            if content is not None:
                (folder / part / f"{number}.jpg").write_bytes(content)
        for name, content in replaced.items():
            (folder / part / name).write_bytes(content)
    names = [str(number) for number in range(COUNT)]
    with keeping_damaged() as bad:
        frame = pd.DataFrame({"image_id": names, "label": ["x", "y"] * (COUNT // 2)})
        table = data.read_csv(frame, folder / "images", label="label", **options)
        test = data.read_test(folder / "test")
    return check_files(
        DataSet(
            table=table,
            facts=measure(table),
            metric=metrics.accuracy,
            test=test,
            test_facts=measure(test),
            left_out=frozenset(bad.dropped),
        )
    )


def summary(part):
    return {(finding.kind, finding.severity, finding.image_ids) for finding in part.findings}


def test_clean_files_have_no_finding(tmp_path):
    part = part_of(tmp_path)
    assert part.findings == () and part.section.good is True
    assert [(caption, len(pictures)) for caption, pictures in part.section.galleries] == [
        ("The extremes of each measurement, which need not be bad", 10)  # no image is noisy
    ]
    assert part.section.verdict == "All 36 images can be read, and none of them stands out."
    assert part.numbers["images"] == COUNT and part.numbers["test_images"] == 12 and part.numbers["kinds"] == {}
    assert part.numbers["formats"] == {"JPEG": 36} and part.numbers["medians"]["width"] == 128


GOOD = encoded(scene(1), "JPEG", quality=92)
DAMAGED = {
    "1.jpg": None,
    "2.jpg": b"",
    "3.jpg": b"<html>not found</html>",
    "4.jpg": GOOD[: len(GOOD) // 2],
    "5.jpg": GOOD[: len(GOOD) // 2] + bytes(300) + GOOD[len(GOOD) // 2 + 300 :],
}
KINDS = ("missing", "empty", "unreadable", "truncated", "damaged")


def test_each_damage_is_an_error(tmp_path):
    part = part_of(tmp_path, DAMAGED, {"5.jpg": DAMAGED["5.jpg"]})
    assert summary(part) == {
        *((kind, "error", (str(number),)) for number, kind in enumerate(KINDS, 1)),
        ("damaged", "error", ("5",)),
    }
    assert len(part.findings) == 6 and part.section.good is False
    assert "6 of 36 images cannot be used" in part.section.verdict
    messages = [finding.message for finding in part.findings]
    missing = "1 labelled image is missing: there is no file where it is expected"
    assert f'{missing}; on_bad="drop" leaves out such rows' in messages  # test rows are never left out
    [(_, table)] = part.section.first_tables  # errors stand above all pictures
    assert {row[0] for row in table.rows} == set(KINDS)
    assert "1 test image is damaged inside" in messages


def test_damage_that_the_recipe_leaves_out_is_a_warning(tmp_path):
    part = part_of(tmp_path, DAMAGED, {"5.jpg": b""}, on_bad="drop")
    assert {(finding.kind, finding.severity) for finding in part.findings} == {
        *((kind, "warning") for kind in KINDS),
        ("empty", "error"),
    }
    assert part.numbers["left_out"] == 5 and any("rows of 5 images" in text for text in part.section.paragraphs)
    assert part.findings[0].message.endswith("; the recipe leaves it out")
    advice = 'Replace the files, or leave out their rows with `on_bad="drop"` in the recipe.'
    assert part.section.verdict == f"6 of 36 images cannot be used. {advice}"
    part = part_of(tmp_path / "two", {"1.jpg": b"", "2.jpg": b""}, on_bad="drop")
    assert part.findings[0].message == "2 labelled images are empty: the file has no bytes; the recipe leaves them out"


def test_the_verdict_says_what_is_left_out_and_what_stands_out(tmp_path):
    odd = {kind: content for kind, _, content in ODD}
    part = part_of(tmp_path, DAMAGED | {"7.jpg": odd["blurred"], "8.jpg": odd["dark"]}, on_bad="drop")
    assert part.section.verdict == (
        "5 of 36 images cannot be used, and the recipe leaves their rows out. Look at those that stand out: dark, blurred."
    )


@pytest.mark.parametrize(
    ("format", "cut"),
    [("JPEG", 300), ("JPEG", 40), ("PNG", 60), ("GIF", 20), ("BMP", 50), ("WEBP", 20), ("TIFF", 100)],
)
def test_cut_files_of_every_format_are_truncated(format, cut):
    content = encoded(scene(0), format)
    facts = measure_images([content, content[:-cut]])
    assert facts.problem[0] == "" and facts.problem[1] != ""
    assert kind_of_damage(content[:-cut], facts.problem[1]) == "truncated"


def test_a_failing_function_is_unreadable():
    def failing():
        raise RuntimeError("no network")

    assert kind_of_damage(failing, "no network") == "unreadable"
    assert kind_of_damage(b"", "the file is empty") == "empty"


def pixels_of(change):
    return encoded(change(scene(3).astype(np.float32)).clip(0, 255).astype(np.uint8), "JPEG", quality=95)


def noise(pixels):
    return pixels + np.random.default_rng(0).normal(0, 50, pixels.shape)


def rotated(orientation=6):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return encoded(np.ascontiguousarray(np.rot90(scene(3))), "JPEG", exif=tags)


TRANSPARENT = np.dstack([scene(3), np.tile(np.arange(128, dtype=np.uint8), (96, 1))])
ODD = [
    ("wrong-ending", "warning", encoded(scene(3), "PNG")),
    ("rotated", "note", rotated()),
    ("animated", "warning", encoded(scene(3), "GIF", save_all=True, append_images=[Image.fromarray(scene(4))])),
    ("odd-mode", "warning", encoded(scene(3), "JPEG", "CMYK")),
    ("odd-mode", "note", encoded(scene(3), "JPEG", "L")),
    ("odd-mode", "note", encoded(scene(3), "PNG", "P")),
    ("odd-mode", "note", encoded(scene(3), "PNG", "RGBA")),
    ("odd-mode", "warning", encoded(TRANSPARENT)),
    ("odd-depth", "warning", encoded(scene(3)[:, :, 0].astype(np.uint16) << 8)),
    ("odd-size", "warning", encoded(scene(3, 20, 26), "JPEG")),
    ("odd-size", "note", encoded(scene(3, 480, 640), "JPEG")),
    ("odd-aspect", "warning", encoded(scene(3, 48, 240), "JPEG")),
    ("constant", "warning", encoded(np.full((96, 128, 3), 77, np.uint8), "JPEG")),
    ("dark", "warning", pixels_of(lambda pixels: pixels * 0.1)),
    ("bright", "warning", pixels_of(lambda pixels: 220 + pixels * 0.1)),
    ("blurred", "warning", pixels_of(lambda pixels: cv2.GaussianBlur(pixels, (0, 0), 6))),
    ("noisy", "warning", pixels_of(noise)),
]


@pytest.mark.parametrize(("kind", "severity", "content"), ODD)
@pytest.mark.filterwarnings("ignore::kcomp.system.notices.Notice")
def test_each_odd_image_is_found(tmp_path, kind, severity, content):
    others = {"wrong-ending"} if kind in ("animated", "odd-depth") or content[:4] == b"\x89PNG" else set()
    if kind in ("odd-depth", "animated"):
        others |= {"odd-mode"}
    if kind == "odd-size":
        others |= {"blurred"}  # an enlarged picture is
    part = part_of(tmp_path, {"7.jpg": content})
    assert (kind, severity, ("7",)) in summary(part)
    assert {finding.kind for finding in part.findings} - {kind} <= others
    caption, pictures = next(gallery for gallery in part.section.galleries if gallery[0].startswith(f"{kind} ("))
    assert caption == f"{kind} ({severity})" and pictures[0].lines[0] == "7"
    assert Image.open(io.BytesIO(pictures[0].image)).format == "JPEG"
    assert part.section.good is (True if {finding.severity for finding in part.findings} == {"note"} else None)


def test_test_images_are_named_as_such(tmp_path):
    part = part_of(tmp_path, test_changes={"3.jpg": {kind: content for kind, _, content in ODD}["blurred"]})
    assert summary(part) == {("blurred", "warning", ("3",))}
    assert part.findings[0].message.startswith("1 test image is blurred") and part.findings[0].weight == 1 / 12
    assert part.findings[0].details[0].startswith("this test image is blurred, unlike the other images (blur of ")
    assert part.section.galleries[0][1][0].lines[0] == "3 (test)"
    assert part.section.tables[0][1].rows[0][:4] == ["blurred", "warning", "3", "test"]


def test_headers_are_enough_for_damage_formats_and_sizes(tmp_path):
    kinds = {"wrong-ending", "rotated", "odd-aspect", "damaged", "blurred"}
    contents = {kind: content for kind, _, content in ODD} | {"damaged": DAMAGED["5.jpg"]}
    images = [encoded(scene(number), "JPEG") for number in range(15)] + [contents[kind] for kind in sorted(kinds)]
    paths = [str(tmp_path / f"{number}.jpg") for number in range(20)]
    for path, content in zip(paths, images):
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(content)
    table = data.Table(pd.DataFrame({"image_id": [str(number) for number in range(20)], "image": paths}))
    findings = file_findings(DataSet(table=table, facts=measure(table, pixels=False), metric=metrics.accuracy))
    assert {finding.kind for finding in findings} == kinds - {"blurred"}
    assert {finding.kind for finding in findings} <= {
        finding.kind for finding in file_findings(DataSet(table=table, facts=measure(table), metric=metrics.accuracy))
    }


def test_galleries_are_bounded(tmp_path):
    part = part_of(tmp_path, {f"{number}.jpg": rotated() for number in range(20)})
    caption, pictures = part.section.galleries[0]
    assert caption == "rotated (note): 12 of 20" and len(pictures) == 12
    assert len(part.findings[0].image_ids) == 20


@pytest.mark.parametrize("kind", ["deep", "grey", "rgba", "arrays", "tiny"])
@pytest.mark.filterwarnings("ignore::kcomp.system.notices.Notice")
def test_clean_data_of_other_kinds_have_no_finding(kind, tmp_path):
    def image(number):
        pixels = scene(number)
        if kind == "deep":
            return encoded(pixels[:, :, 0].astype(np.uint16) << 4)
        if kind == "grey":
            return encoded(pixels, mode="L")
        if kind == "rgba":
            return encoded(TRANSPARENT)
        return pixels if kind == "arrays" else np.ascontiguousarray(pixels[:8, :8])

    table = data.Table(pd.DataFrame({"image_id": list("abcdefghij"), "image": [image(number) for number in range(10)]}))
    part = check_files(DataSet(table=table, facts=measure(table), metric=metrics.accuracy))
    assert part.findings == () and part.section.good


def drawn(number):
    """A dark shape on white, as in drawings: the 1st percentile of the grey values varies."""
    pixels = np.full((64, 64, 3), 255, np.uint8)
    return cv2.circle(pixels, (20 + number % 20, 30), 6 + number % 9, (number * 6, 90, 130), -1)


def kinds_of(images):
    ids = [str(number) for number in range(len(images))]
    table = data.Table(pd.DataFrame({"image_id": ids, "image": images}))
    part = check_files(DataSet(table=table, facts=measure(table), metric=metrics.accuracy))
    return [(finding.kind, finding.severity, len(finding.image_ids)) for finding in part.findings]


def test_a_washed_out_drawing_is_bright_among_drawings():
    images = [drawn(number) for number in range(30)]
    assert kinds_of(images) == []
    images[4] = (images[4] * 0.1 + 229).astype(np.uint8)
    assert kinds_of(images) == [("bright", "warning", 1)]


def test_a_blurred_drawing_of_low_contrast_is_blurred():
    images = [(drawn(number) * 0.1 + 100).astype(np.uint8) for number in range(30)]
    assert kinds_of(images) == []
    images[4] = cv2.GaussianBlur(images[4], (0, 0), 3)
    assert kinds_of(images) == [("blurred", "warning", 1)]


def test_a_dark_image_is_not_blurred_too():
    """Few grey values remain of the smooth picture, so that little is left of its detail."""
    smooth = (cv2.GaussianBlur(scene(0), (0, 0), 2) * 0.06).astype(np.uint8)
    assert kinds_of([*(scene(number) for number in range(30)), smooth]) == [("dark", "warning", 1)]


def test_values_that_use_only_a_part_of_the_range_are_dark():
    assert kinds_of([scene(number) // 16 for number in range(10)]) == [("dark", "warning", 10)]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_or_no_usable_images_are_no_error(count):
    images = [scene(0)] * count + [b"broken"]
    table = data.Table(pd.DataFrame({"image_id": list("abc")[: count + 1], "image": images}))
    part = check_files(DataSet(table=table, facts=measure(table), metric=metrics.accuracy))
    assert [finding.kind for finding in part.findings] == ["unreadable"]


# ---- rules


def test_scores_by_hand():
    """The median is 3 and the median distance 1, so that a unit is 1.482602."""
    assert z_scores(np.array([1, 2, 3, 4, 9.0]), 0.1) == pytest.approx(np.array([-2, -1, 0, 1, 6]) / 1.482602)
    assert z_scores(np.array([3, 3, 3, 4, np.nan]), 0.5)[3] == 2
    assert np.isnan(z_scores(np.full(3, np.nan), 1)).all()
    assert outlier_limit(1) == 3.5 and outlier_limit(1000) == pytest.approx(
        4.7534, abs=1e-4
    )  # of a normal tail of 1e-6


@pytest.mark.parametrize("sigma", [2, 3, 5])
def test_the_blur_radius_is_that_of_blurred_noise(sigma):
    grey = cv2.GaussianBlur(np.random.default_rng(0).normal(120, 120, (256, 256)).astype(np.float32), (0, 0), sigma)
    grey = ((grey - grey.mean()) / grey.std() * 50 + 120).clip(0, 255).astype(np.uint8)
    facts = measure_images([np.repeat(grey[:, :, None], 3, 2)])
    assert blur_radius(facts)[0] == pytest.approx(sigma, rel=0.1)


def test_what_is_common_is_a_note():
    facts = plausible_facts(100, width=np.where(np.arange(100) < 21, 2000, 200), height=np.full(100, 200))
    assert [odd.severity for odd in odd_shapes(facts) if odd.kind == "odd-aspect"] == ["note"]
    facts = plausible_facts(100, width=np.where(np.arange(100) < 20, 2000, 200), height=np.full(100, 200))
    assert [odd.severity for odd in odd_shapes(facts) if odd.kind == "odd-aspect"] == ["warning"]


def test_random_clean_measurements_rarely_alarm():
    tables = [plausible_facts(300, seed) for seed in range(40)]
    alarms = [list(odd_pixels(facts)) + list(odd_shapes(facts)) for facts in tables]
    assert sum(map(bool, alarms)) <= 1
