"""Open the HTML pages of kcomp in a real headless Chromium, through Playwright.

@needs_chromium
def test_the_page(tmp_path):
    with open_page(tmp_path / "check.html") as shown:
        shown.check()
        assert shown.sort("Findings", "image") == ["a.png", "b.png"]
"""

import contextlib
import importlib.util
import shutil
from dataclasses import dataclass, field
from typing import Any

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
missing = [name for name in ("playwright", "jinja2") if importlib.util.find_spec(name) is None]
missing += [] if BROWSER else ["chromium"]
needs_chromium = pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")
running: list[Any] = []  # the browser of `one_browser`


@dataclass
class ShownPage:
    """A page in Chromium.

    Attributes:
        page: Playwright's page.
        problems: Console messages, errors of scripts, dialogs, and requests of anything but the page.
    """

    page: Any
    problems: list[str] = field(default_factory=list)

    def check(self):
        """Assert that nothing went wrong and that every picture has pixels and an alternative text."""
        assert self.problems == []
        pictures = self.page.evaluate("[...document.images].map(image => [image.naturalWidth, image.alt.length])")
        assert all(width > 0 and length > 0 for width, length in pictures), pictures
        width = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert width == 0, f"the page is {width} pixels wider than the window"

    def figure(self, caption):
        """The figure of the only table or gallery with exactly this caption."""
        exact = self.page.get_by_text(caption, exact=True)
        return self.page.locator("figure").filter(has=self.page.locator("figcaption").and_(exact))

    def header(self, caption):
        return self.figure(caption).locator("thead th").all_inner_texts()

    def column(self, caption, header):
        """The shown cells of a column."""
        number = self.header(caption).index(header) + 1
        return self.figure(caption).locator(f"tbody td:nth-child({number})").all_inner_texts()

    def sort(self, caption, header):
        """Click on a header, and return the shown cells of its column."""
        number = self.header(caption).index(header)
        self.figure(caption).locator("thead th").nth(number).click()
        return self.column(caption, header)

    def filter(self, caption, text):
        """Write into the box above a table, and return how many rows are shown."""
        self.figure(caption).get_by_role("searchbox").fill(text)
        return self.figure(caption).locator("tbody tr").count()

    def count(self, caption):
        """The text that says how many rows a table has."""
        return self.figure(caption).locator("output").inner_text()

    def tab_to(self, name, *, limit=300):
        """Press Tab until the element with this text or label has the focus."""
        script = "(element => (element.labels?.[0] ?? element).textContent.trim())(document.activeElement)"
        names = []
        while len(names) < limit:
            self.page.keyboard.press("Tab")
            names.append(self.page.evaluate(script))
            if names[-1] == name:
                return
        raise AssertionError(f"Tab does not reach {name!r}; it reaches {sorted(set(names))}")

    def screenshot(self, path, *, full_page=True):
        """Save a picture of the page as a PNG file, after all of its pictures are decoded."""
        self.page.evaluate("Promise.all([...document.images].map(image => image.decode()))")
        self.page.screenshot(path=str(path), full_page=full_page)

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def type(self, text):
        self.page.keyboard.type(text)


@contextlib.contextmanager
def launch():
    """Start Chromium, and yield Playwright's browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def one_browser():
    """Open all pages inside a `with` block in one Chromium, which saves most of the time of a test."""
    with launch() as browser:
        running.append(browser)
        try:
            yield
        finally:
            running.clear()


@contextlib.contextmanager
def open_page(path, *, width=1366, height=900):
    """Open a file in Chromium, and yield a `ShownPage`. Playwright waits until its scripts ran."""
    with contextlib.nullcontext(running[0]) if running else launch() as browser:
        page = browser.new_page(viewport={"width": width, "height": height})
        try:
            shown = ShownPage(page)
            page.on("console", lambda message: shown.problems.append(f"console: {message.text}"))
            page.on("pageerror", lambda error: shown.problems.append(f"script: {error}"))
            page.on("dialog", lambda dialog: (shown.problems.append(f"dialog: {dialog.message}"), dialog.dismiss()))
            page.on("requestfailed", lambda request: shown.problems.append(f"request failed: {request.url[:200]}"))
            page.on("request", lambda request: shown.problems.extend(outside(request.url, path.as_uri())))
            page.goto(path.as_uri())
            yield shown
        finally:
            page.close()


def outside(address, page):
    """The address in a list, unless it is the page or a data URI."""
    return [] if address == page or address.startswith("data:") else [f"request: {address[:200]}"]
