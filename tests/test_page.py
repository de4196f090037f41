"""The page of a report in a real Chromium: pictures, tables, navigation, hostile names."""

import contextlib
import io
import time
import tomllib
import unicodedata
from pathlib import Path

import pytest
from chromium import missing, needs_chromium, one_browser, open_page
from PIL import Image

from kcomp.report import page
from kcomp.report.finding import Finding
from kcomp.report.page import Link, PageTable, Picture, Section, html
from kcomp.report.part import Part

HOSTILE = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module", autouse=True)
def browser():
    with contextlib.nullcontext() if missing else one_browser():
        yield


def image(form="png", size=(40, 30), colour=(200, 30, 30)):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, form)
    return file.getvalue()


def table(count):
    """A table whose second column has numbers in an unsorted order, and whose fourth has missing values."""
    numbers = [(7 * row) % count for row in range(count)]
    rows = [
        [f"img{row}", str(number), "even" if number % 2 == 0 else "odd", "-" if number == 3 else f"{number} %"]
        for row, number in enumerate(numbers)
    ]
    return PageTable(["id", "number", "kind", "share"], rows, marked=(1,))


def write(folder, *sections, title="A page", **options):
    path = folder / "page.html"
    path.write_bytes(html(title, "kcomp check x.py", sections, **options).encode())
    return path


@needs_chromium
def test_pictures_have_pixels_and_lines(tmp_path):
    pictures = [Picture(image(form), [f"id{number}", "truth: cat"]) for number, form in enumerate(("png", "jpeg"))]
    section = Section("Files", "Two.", galleries=[("Dark", pictures)], pictures=[("A plot", image(size=(1296, 300)))])
    with open_page(write(tmp_path, section)) as shown:
        shown.check()
        kinds = shown.page.evaluate(
            "[...document.images].map(image => [image.src.slice(0, 15), image.alt, image.naturalWidth])"
        )
        assert kinds == [
            ["data:image/png;", "A plot", 1296],
            ["data:image/png;", "id0, truth: cat", 40],
            ["data:image/jpeg", "id1, truth: cat", 40],
        ]
        assert shown.figure("Dark").locator("li").all_inner_texts() == ["id0\ntruth: cat", "id1\ntruth: cat"]
        boxes = [item.bounding_box() for item in shown.figure("Dark").locator("li").all()]
        assert boxes[0]["y"] == boxes[1]["y"] and boxes[0]["x"] < boxes[1]["x"]  # side by side


@needs_chromium
@pytest.mark.parametrize("count", [8, 30])  # all rows in the page; some rows only as JSON
def test_a_table_is_sorted_and_filtered(tmp_path, count):
    count += 1  # so that 7 and the count have no common divisor
    with open_page(write(tmp_path, Section("Rows", "Many.", tables=[("All", table(count))]))) as shown:
        visible = min(count, 25)
        assert shown.column("All", "id") == [f"img{row}" for row in range(visible)]
        assert shown.sort("All", "number") == [str(number) for number in range(visible)]
        assert shown.sort("All", "number") == [str(number) for number in reversed(range(count))][:visible]
        assert shown.sort("All", "share")[:3] == ["0 %", "1 %", "2 %"] and shown.column("All", "share")[3] == "4 %"
        assert shown.sort("All", "id")[:3] == ["img0", "img1", "img2"]  # img10 comes after img9
        assert shown.figure("All").locator("tr.marked td").first.inner_text() == "img1"
        odd = count // 2
        assert shown.filter("All", "ODD") == odd and shown.count("All") == f"{odd} of {count} rows"
        assert shown.filter("All", "odd img0") == 0
        assert shown.filter("All", "") == visible
        shown.check()


@needs_chromium
def test_hostile_names_are_text(tmp_path):
    rows = [[HOSTILE, "<!--<script>", Link(HOSTILE, "a%3Cb")]] * 30
    section = Section(HOSTILE, HOSTILE, paragraphs=[HOSTILE], tables=[(HOSTILE, PageTable([HOSTILE, "b", "c"], rows))])
    section.pictures.append((HOSTILE, image()))
    section.galleries.append((HOSTILE + " ", [Picture(image(), ["\udcff\"'>", HOSTILE])]))
    with open_page(write(tmp_path, section, section, section, title=HOSTILE)) as shown:
        shown.check()
        assert shown.page.title() == HOSTILE and shown.page.locator("h1").inner_text() == HOSTILE
        assert shown.page.locator("img").count() == 6 and shown.page.locator("script").count() == 1
        first = shown.page.locator("figure.table").first
        first.get_by_role("button", name="Show 5 more").click()
        cells = first.locator("tbody tr").nth(29).locator("td").all_inner_texts()
        assert cells == [HOSTILE, "<!--<script>", HOSTILE]
        assert first.locator("tbody tr").nth(29).locator("a").get_attribute("href") == "a%3Cb"
        assert shown.page.locator("nav a").all_inner_texts() == [HOSTILE] * 3
        shown.check()


@needs_chromium
def test_fifty_thousand_rows_are_quick(tmp_path):
    path = write(tmp_path, *[Section("Rows", "Many.", tables=[("All", table(50_000))])] * 3)
    started = time.monotonic()
    with open_page(path) as shown:
        assert shown.page.locator("tbody tr").count() == 3 * 25
        first = shown.page.locator("figure.table").first
        first.locator("thead th").nth(1).click()
        assert first.locator("tbody td:nth-child(2)").all_inner_texts() == [str(number) for number in range(25)]
        first.get_by_role("searchbox").fill("img4999")
        assert first.locator("tbody tr").count() == 11 and first.locator("output").inner_text() == "11 of 50,000 rows"
        first.get_by_role("searchbox").fill("")
        first.get_by_role("button", name="Show 200 more").click()
        assert first.locator("tbody tr").count() == 225
        seconds = (
            shown.page.evaluate("performance.timing.domContentLoadedEventEnd - performance.timing.navigationStart")
            / 1000
        )
        shown.check()
    print(f"{seconds:.2f} s to load, {time.monotonic() - started:.2f} s in all, {path.stat().st_size / 2**20:.1f} MiB")
    assert seconds < 3


@needs_chromium
def test_errors_and_warnings_have_their_own_style_and_label(tmp_path):
    finding = {severity: Finding("dark", severity, "text") for severity in ("error", "warning", "note")}
    parts = [Part(name, Section(name, "Look.", good=None), findings=(each,)) for name, each in finding.items()]
    both = Part("both", Section("both", "Look.", good=True), findings=tuple(reversed(finding.values())))
    rows = table(3)
    shown = Section("Files", "Look.", first_tables=[("Errors", rows)], galleries=[("Dark", [Picture(image())])])
    with open_page(write(tmp_path, *(part.shown for part in [*parts, both]), shown)) as opened:
        verdicts = opened.page.locator(".verdict")
        assert verdicts.all_inner_texts() == ["Error Look.", "Warning Look.", "Look.", "Error Look.", "Look."]
        styles = [
            opened.page.evaluate(
                "([e]) => getComputedStyle(e).borderLeft + getComputedStyle(e).backgroundColor", [each]
            )
            for each in verdicts.element_handles()
        ]
        assert styles[0] == styles[3] and len(set(styles)) == 3
        assert opened.page.locator("nav a").all_text_contents()[:3] == ["error (error)", "warning (warning)", "note"]
        captions = opened.page.locator("figcaption").all_inner_texts()
        assert captions == ["Errors", "Dark"]


@needs_chromium
def test_the_keyboard_alone(tmp_path):
    sections = [
        Section(title, "Fine.", good, tables=[(f"Rows of {title}", table(31))])
        for title, good in (("First", True), ("Second", False), ("Third", None))
    ]
    with open_page(write(tmp_path, *sections)) as shown:
        assert shown.page.locator("nav a").all_text_contents() == ["First (no problem)", "Second (problem)", "Third"]
        shown.press("Tab")
        assert shown.page.evaluate("document.activeElement.textContent") == "Skip to the content"
        assert shown.page.locator(".skip").bounding_box()["x"] >= 0  # visible while it has the focus
        shown.press("Enter")
        assert shown.page.evaluate("document.activeElement.id") == "content"
        shown.tab_to("Filter")
        shown.type("even")
        assert shown.count("Rows of First") == "16 of 31 rows"
        shown.tab_to("number")
        shown.press("Enter")
        assert shown.column("Rows of First", "number")[:3] == ["0", "2", "4"]
        shown.press("Space")
        assert shown.column("Rows of First", "number")[:3] == ["30", "28", "26"]
        header = shown.figure("Rows of First").locator("th").nth(1)
        assert header.get_attribute("aria-sort") == "descending"
        shown.tab_to("Show 6 more of 6")  # of the second table
        shown.press("Enter")
        assert shown.count("Rows of Second") == "31 rows" and len(shown.column("Rows of Second", "id")) == 31
        shown.page.locator("nav a").first.focus()
        shown.press("Tab", "Tab", "Enter")
        assert shown.page.evaluate("location.hash") == "#section-3"
        shown.check()


@needs_chromium
@pytest.mark.parametrize("width", [1366, 1000, 480])
def test_the_page_fits_its_window(tmp_path, width):
    """Wide tables scroll in their box; the list of sections is beside the text only where there is room."""
    cells = PageTable([f"column {number}" for number in range(30)], [["some words"] * 30] * 9)
    pair = image(size=(200, 150))
    section = Section("A" * 90, "Fine.", tables=[("Wide", cells)], pictures=[("Plot", image(size=(1296, 300)))])
    section.galleries.append(("Small", [Picture(image(), ["x" * 90]), Picture(pair, ["pair"])]))
    with open_page(write(tmp_path, section, section, section), width=width) as shown:
        shown.check()
        text, sections = (shown.page.locator(name).bounding_box() for name in ("main", "nav"))
        assert (sections["x"] + sections["width"] < text["x"]) is (width == 1366)
        assert (sections["y"] + sections["height"] <= text["y"]) is (width != 1366)
        single, double = (
            item.bounding_box()["width"] for item in shown.page.locator(".gallery").first.locator("li").all()
        )
        assert single == 160 and double == pytest.approx(332.8, abs=0.1)
        shown.page.emulate_media(media="print")
        assert not shown.page.locator("nav").is_visible() and not shown.page.get_by_role("searchbox").first.is_visible()


@needs_chromium
def test_a_table_of_texts_does_not_scroll(tmp_path):
    """Cells and headers break between words, so that eight columns of texts fit into a window of 1366 pixels."""
    header = ["change", "realistic strength", "worse by", "p", "better by", "with", "p of better", "what helps"]
    cells = [
        "mirroring",
        "-15 or 15 degrees",
        "0.2735",
        "1.3e-07",
        "-0.002",
        "the most confident of each image",
        "0.76",
    ]
    rows = [[*cells, "train with layers.RandomRotation, or predict with views=8"]] * 9
    with open_page(write(tmp_path, Section("Stress", "Fine.", tables=[("Changes", PageTable(header, rows))]))) as shown:
        box = shown.page.locator(".wide")
        assert box.evaluate("box => box.scrollWidth - box.clientWidth") == 0
        assert box.locator("tbody tr").first.bounding_box()["height"] < 80  # at most three lines


@needs_chromium
def test_a_filter_finds_other_unicode_forms(tmp_path):
    rows = [[unicodedata.normalize("NFD", name)] for name in ("고양이", "강아지", "CAFÉ", "a", "b", "c", "d", "e")]
    with open_page(write(tmp_path, Section("Rows", "Many.", tables=[("All", PageTable(["class"], rows))]))) as shown:
        assert shown.filter("All", "고양이") == 1 and shown.filter("All", "café") == 1 and shown.filter("All", "e") == 1


def test_a_page_without_scripts_shows_the_first_rows():
    pytest.importorskip("jinja2")
    text = html("A page", "x", [Section("Rows", "Many.", tables=[("All", table(40))])])
    assert text.count("<tr") == 1 + 25 and "The first 25 of 40 rows." in text and "http" not in text


def test_the_wheel_has_the_files_of_the_page():
    """Every file beside the modules of kcomp.report is named in pyproject.toml."""
    folder = Path(page.__file__).parent
    files = {path.name for path in folder.iterdir() if path.is_file() and path.suffix != ".py"}
    project = tomllib.loads((folder.parents[1] / "pyproject.toml").read_text())
    assert set(project["tool"]["setuptools"]["package-data"]["kcomp.report"]) == files


@needs_chromium
def test_the_order_of_cells(tmp_path):
    """Numbers with a sign, thousands, per cent or an interval, then texts, then empty cells, in both directions."""
    ascending = ["−2.5", "-1e-3", "0.93 (0.91 to 0.95)", "50 %", "1,200", "img2", "img10", "-", ""]
    rows = [[text] for text in (ascending[n] for n in (4, 8, 1, 6, 3, 0, 7, 5, 2))]
    with open_page(write(tmp_path, Section("Rows", "Many.", tables=[("All", PageTable(["value"], rows))]))) as shown:
        assert shown.sort("All", "value")[:7] == ascending[:7] and set(shown.column("All", "value")[7:]) == {"-", ""}
        assert shown.sort("All", "value")[:7] == [*ascending[4::-1], "img10", "img2"]
