"""A real browser shows the HTML page without a network."""

import shutil
import subprocess

import pytest

from bnopt.files.artefacts import read_table

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-quic"),
    "--virtual-time-budget=10000",
)


@pytest.mark.skipif(not BROWSER, reason="needs a browser, of the package chromium")
def test_the_page_shows_its_categories_in_a_browser(finished, tmp_path):
    page = finished.results / "report.html"
    done = subprocess.run(
        [BROWSER, *FLAGS, f"--user-data-dir={tmp_path}", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    # Scripts draw the menu entries and the graph of rules: the source has no elements for them.
    for word in ("Workflow", "Statistics", "Theorems"):
        assert f">{word}<" in done.stdout
        assert f">{word}<" not in page.read_text(encoding="utf-8")
    # The report lies beside the page, which does not wait for LaTeX.
    assert 'href="report/report.pdf"' in done.stdout
    assert "<svg" in done.stdout[done.stdout.index("<body") :]


def test_the_page_of_all_claims_opens_in_place(finished, browser):
    """Chromium opens no address longer than 2 MiB in a frame, and the page comes as its own address."""
    browser.get((finished.results / "report.html").as_uri())
    clickable(browser, "//a[normalize-space()='Claims']").click()
    row = "//tr[.//*[normalize-space()='All claims: start here']]"
    clickable(browser, f"{row}//a").click()
    frame = clickable(browser, "//iframe")
    browser.switch_to.frame(frame)
    try:
        assert browser.find_element("class name", "answer").is_displayed()
        claims = read_table(finished.results / "statistics" / "claims.csv")["claim"].tolist()
        assert [row.get_attribute("id") for row in browser.find_elements("class name", "claim")] == claims
        claim = browser.find_element("xpath", "//tbody[.//a[@data-figure]]")
        claim.find_element("css selector", "h3 button").click()
        image = claim.find_element("tag name", "img")
        wide = "return arguments[0].decode().then(() => arguments[0].naturalWidth)"
        assert browser.execute_script(wide, image) > 100
        browser.find_element("name", "search").send_keys("no claim has these words")
        assert browser.find_element("id", "shown").text == f"0 of {len(claims)} claims"
    finally:
        browser.switch_to.default_content()


def clickable(browser, path):
    """Return the first element at a path, once it can be clicked."""
    from selenium.webdriver.support import expected_conditions
    from selenium.webdriver.support.wait import WebDriverWait

    return WebDriverWait(browser, 20).until(expected_conditions.element_to_be_clickable(("xpath", path)))
