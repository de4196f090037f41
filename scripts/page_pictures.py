"""Make the pictures of the pages of kcomp check and kcomp explain in README and docs, docs/images/{check,explain}.png.

    python scripts/page_pictures.py

The images are drawn: a circle, a square or a star of any colour before a colourful background. Some are copies of
others, one file is cut off, and some labels are wrong. The script needs Chromium and Playwright, and takes minutes.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from competitions import SHAPES, Competition, photograph  # noqa: E402

ROWS, TEST_ROWS = 240, 30


def make_competition(folder):
    """Write 240 labelled and 30 test images, with faults."""
    random = np.random.default_rng(1)
    (folder / "images").mkdir(parents=True)
    names = [f"drawing-{number:03d}" for number in range(ROWS + TEST_ROWS)]
    labels = [SHAPES[number % 3] for number in range(ROWS + TEST_ROWS)]
    competition = Competition(
        folder,
        pd.DataFrame({"image_id": names[:ROWS], "label": labels[:ROWS]}),
        pd.DataFrame({"image_id": names[ROWS:]}),
    )
    for name, label in zip(names, labels, strict=True):
        colour = random.uniform(0, 255, 3).tolist()
        competition.write_image(name, photograph(random, label, 200, 240, colour=colour))
    competition.write_image(names[30], np.ascontiguousarray(competition.pixels(names[3])[:, ::-1]))
    competition.write_image(names[61], competition.pixels(names[10])[14:186, 20:228])
    competition.path(names[77]).write_bytes(competition.path(names[77]).read_bytes()[:3000])
    competition.train.loc[[20, 100, 170, 200], "label"] = "circle"
    competition.train.loc[[45, 90, 135], "label"] = "star"
    competition.write()
    sample = pd.DataFrame(1 / 3, range(TEST_ROWS), list(SHAPES))
    sample.insert(0, "image_id", names[ROWS:])
    sample.to_csv(folder / "sample_submission.csv", index=False)


def kcomp(*arguments):
    subprocess.run([sys.executable, "-m", "kcomp.cli", *arguments], check=True)


def take_picture(page, title, output, height):
    """Write a picture of a page, from the section with a title on. An empty title means the top."""
    from playwright.sync_api import sync_playwright

    scroll = (
        "title => { const header = [...document.querySelectorAll('h2')].find(x => x.textContent.includes(title));"
        " window.scrollTo(0, header.getBoundingClientRect().top + window.scrollY - 20) }"
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1180, "height": height})
        tab.goto(page.absolute().as_uri())
        if title:
            tab.evaluate(scroll, title)
        tab.wait_for_timeout(500)
        tab.screenshot(path=output)
        browser.close()
    from PIL import Image

    with Image.open(output) as picture:
        picture.convert("RGB").quantize(256).save(output, optimize=True)


def main():
    images = ROOT / "docs" / "images"
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        make_competition(Path("shapes"))
        kcomp("new", "shapes", "-o", "shapes.py")
        kcomp("check", "shapes.py", "--backend", "torch", "-o", "check")
        take_picture(Path("check/check.html"), "", images / "check.png", 1300)
        Path("shapes.py").write_text(Path("shapes.py").read_text().replace("label=", 'on_bad="drop", label='))
        kcomp("train", "shapes.py", "--backend", "torch", "--fold", "all")
        kcomp("explain", "runs/shapes", "-o", "explain")
        take_picture(Path("explain/explain.html"), "Errors", images / "explain.png", 1000)


if __name__ == "__main__":
    main()
