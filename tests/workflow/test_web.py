"""A real browser shows the HTML page without a network."""

import shutil
import subprocess

import pytest

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
