"""The page of all claims in a real browser: what a reader sees, types and clicks."""

import csv
import itertools
import json
import math
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STORED = ROOT / "docs" / "results" / "digits"
AXE = (ROOT / "tests" / "axe" / "axe.min.js").read_text(encoding="utf-8")
PHONE, DESKTOP = (360, 740), (1280, 900)


@pytest.fixture(scope="module")
def rows():
    with (STORED / "claims.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def file(page_of):
    return page_of("digits")


@pytest.fixture
def seen(browser, file):
    """The page, newly opened at the size of a desktop in light mode."""
    return open_page(browser, file)


def open_page(browser, file, size=DESKTOP, *, dark=False, fragment=""):
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": scheme})
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get("about:blank")
    browser.get(file.as_uri() + fragment)
    return browser


def shown(browser):
    """Return the names of the claims that are visible, from top to bottom."""
    return browser.execute_script(
        "return [...document.querySelectorAll('.claim')].filter(c => c.offsetHeight > 0)"
        ".sort((a, b) => a.getBoundingClientRect().top - b.getBoundingClientRect().top).map(c => c.id)"
    )


def choose(browser, name, value):
    """Choose an option as a reader does; return what is visible then."""
    from selenium.webdriver.support.select import Select

    Select(browser.find_element("name", name)).select_by_value(value)
    return shown(browser)


def type_in(browser, words):
    field = browser.find_element("name", "search")
    field.clear()
    field.send_keys(words)
    return shown(browser)


def is_open(browser, name):
    return browser.execute_script(
        "const more = document.getElementById(arguments[0] + '.more'); return more.offsetHeight > 0", name
    )


# -- what loads -------------------------------------------------------------------------------------


def test_every_figure_shows_and_nothing_fails_or_is_fetched(seen):
    images = seen.execute_script(
        "return Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth, () => 0)))"
    )
    assert len(images) == 16 + 15  # figures and specification curves
    assert min(images) > 100
    assert seen.get_log("browser") == []
    asked = []
    for entry in seen.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        assert message["method"] != "Network.loadingFailed", message
        if message["method"] == "Network.requestWillBeSent":
            asked.append(message["params"]["request"]["url"].split(":")[0])
    assert asked.count("file") == 1
    assert set(asked) <= {"file", "data", "about"}


def test_without_scripts_everything_can_be_read(seen, file, rows):
    seen.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        seen.get(file.as_uri() + "?")
        # The driver's own scripts run even so.
        assert shown(seen) == [row["claim"] for row in rows]
        assert all(is_open(seen, row["claim"]) for row in rows)
        assert not seen.find_element("css selector", "form").is_displayed()
        assert seen.find_element("css selector", "#fig4 img").is_displayed()
    finally:
        seen.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


# -- filters, search, sorting -----------------------------------------------------------------------


def test_filters_leave_the_claims_that_fit_all_of_them(seen, rows):
    everything = [row["claim"] for row in rows]
    assert shown(seen) == everything
    contradicted = [row["claim"] for row in rows if row["verdict"] == "contradicted"]
    assert choose(seen, "verdict", "contradicted") == contradicted
    status = seen.find_element("id", "shown").text
    assert status == f"{len(contradicted)} of {len(rows)} claims"
    of_figure_6 = [row["claim"] for row in rows if row["family"] == "fig6"]
    assert choose(seen, "figure", "fig6") == [name for name in of_figure_6 if name in contradicted]
    assert choose(seen, "verdict", "*") == of_figure_6
    assert choose(seen, "figure", "fig8") == [row["claim"] for row in rows if "8" in row["source"]]
    assert choose(seen, "figure", "*") == everything
    of_vgg = [row["claim"] for row in rows if row["condition_a"].startswith(("vgg", "all_norms"))]
    assert choose(seen, "task", "vgg") == of_vgg
    assert choose(seen, "task", "deep_linear") == [name for name in everything if name not in of_vgg]
    seen.find_element("css selector", "button[type=reset]").click()
    seen.execute_async_script("setTimeout(arguments[0], 50)")
    assert shown(seen) == everything


def test_the_search_finds_all_words_in_any_text_of_a_claim(seen, rows):
    assert type_in(seen, "trains FASTER") == ["bn_trains_faster"]
    # The word stands only in the part that opens.
    with (STORED / "alternatives.csv").open(encoding="utf-8", newline="") as file:
        varied = {row["source"] for row in csv.DictReader(file) if "Algorithm" in row["statement"]}
    assert type_in(seen, "algorithm") == [row["claim"] for row in rows if row["claim"] in varied] != []
    assert type_in(seen, "no claim has these words") == []
    assert seen.find_element("css selector", ".nothing").is_displayed()
    assert type_in(seen, " ") == [row["claim"] for row in rows]
    assert not seen.find_element("css selector", ".nothing").is_displayed()


ORDER = ["supported", "contradicted", "inconclusive", "not run"]
KEYS = {
    "effect": lambda row: float(row["effect"]),
    "spread": lambda row: float(row["ci_high"]) - float(row["ci_low"]),
    "verdict": lambda row: ORDER.index(row["verdict"]),
}


@pytest.mark.parametrize("key", KEYS)
def test_a_click_on_a_heading_sorts_and_another_one_turns_the_order(seen, rows, key):
    button = seen.find_element("css selector", f"th[data-key={key}] button")
    for direction, sign in (("ascending", 1), ("descending", -1)):
        button.click()
        expected = sorted(rows, key=lambda row: sign * KEYS[key](row))
        assert shown(seen) == [row["claim"] for row in expected]
        heading = seen.find_element("css selector", f"th[data-key={key}]")
        assert heading.get_attribute("aria-sort") == direction
    assert len(seen.find_elements("css selector", "[aria-sort]")) == 1


@pytest.mark.parametrize(
    ("key", "column"), [("claim", "label"), ("source", "source"), ("paper", "paper_value")]
)
def test_texts_are_sorted_as_people_do_and_missing_ones_come_last(seen, rows, key, column):
    names = choose(seen, "sort", key)
    of = {row["claim"]: row[column] for row in rows}
    values = [of[name] for name in names]
    filled = [value for value in values if value]
    assert values == filled + [""] * (len(values) - len(filled))
    assert sorted(names) == sorted(of)
    if key == "source":
        assert [v for v in dict.fromkeys(filled) if v.startswith("Figure 1")] == [
            *("Figure 1(a)", "Figure 1(b), Appendix A", "Figure 1(c)", "Figure 1(c), our extension"),
            *("Figure 10", "Figure 10, our extension", "Figure 11", "Figure 12", "Figure 13"),
        ]
        assert filled.index("Figure 2") < filled.index("Figure 10")
    else:
        letters = ["".join(c for c in v.lower() if c.isalpha())[:1] for v in filled]
        assert [x for x in letters if x] == sorted(x for x in letters if x) or key == "paper"
    down = choose(seen, "sort", f"-{key}")
    assert [of[name] for name in down if of[name]] == filled[::-1]
    assert choose(seen, "sort", "") == list(of)


def test_figures_below_the_table_are_those_of_the_claims_that_fit(seen):
    def figures():
        drawn = seen.find_elements("css selector", ".gallery figure")
        return {figure.get_attribute("id") for figure in drawn if figure.is_displayed()}

    everything = figures()
    names = choose(seen, "figure", "fig2")
    assert figures() == {"fig2", "fig8"} | {f"specification_{name}" for name in names} & everything
    assert "specification_noisy_bn_matches_bn" in figures()
    choose(seen, "figure", "*")
    assert figures() == everything


def test_the_answer_leads_to_its_claims(seen):
    link = seen.find_element("css selector", ".answer a[href='#bn_smooths_beta']")
    assert not is_open(seen, "bn_smooths_beta")
    link.click()
    assert is_open(seen, "bn_smooths_beta")
    assert "bn_smooths_loss" in type_in(seen, "landscape smoother")


def test_sorting_keeps_the_filter(seen, rows):
    choose(seen, "verdict", "contradicted")
    found = choose(seen, "sort", "effect")
    chosen = [row for row in rows if row["verdict"] == "contradicted"]
    assert found == [row["claim"] for row in sorted(chosen, key=KEYS["effect"])]


# -- rows that open, by keyboard --------------------------------------------------------------------


def test_a_row_opens_by_keyboard_and_shows_its_figures(seen):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    name = "noise_destabilises_mean"
    assert not is_open(seen, name)
    keys = ActionChains(seen)
    seen.find_element("css selector", "[name=search]").click()
    choose(seen, "figure", "fig8")
    seen.find_element("css selector", "button[type=reset]").send_keys("")
    for _ in range(40):
        ActionChains(seen).send_keys(Keys.TAB).perform()
        at = seen.switch_to.active_element
        if at.get_attribute("aria-controls") == f"{name}.more":
            break
    assert at.get_attribute("aria-controls") == f"{name}.more", "the tab key does not reach the row"
    assert at.value_of_css_property("outline-style") != "none"
    keys.send_keys(Keys.ENTER).perform()
    assert is_open(seen, name)
    assert at.get_attribute("aria-expanded") == "true"
    widths = seen.execute_script(
        "return [...document.getElementById(arguments[0]).querySelectorAll('img')].map(i => i.naturalWidth)",
        name,
    )
    assert len(widths) == 2  # Figures 2 and 8
    assert min(widths) > 100
    ActionChains(seen).send_keys(Keys.SPACE).perform()
    assert not is_open(seen, name)
    ActionChains(seen).send_keys(Keys.SPACE).perform()
    assert is_open(seen, name)
    again = seen.execute_script(
        "return document.getElementById(arguments[0]).querySelectorAll('img').length", name
    )
    assert again == 2


def test_a_headline_claim_opens_to_its_specification_curve_and_another_does_not(seen):
    for name, expected in (
        ("bn_smooths_loss", ["Figure 4", "Specification curve"]),
        ("bn_smooths_beta_at_lr", ["Figure 4"]),
    ):
        row = seen.find_element("id", name)
        assert not row.find_elements("css selector", ".parts img")
        row.find_element("css selector", "h3 button").click()
        images = row.find_elements("css selector", ".parts img")
        assert [image.get_attribute("alt").split(":")[0] for image in images] == expected
        assert all(image.is_displayed() and image.size["width"] > 100 for image in images)
        row.find_element("css selector", "h3 button").click()
        assert not any(image.is_displayed() for image in images)


def test_all_rows_that_fit_open_and_close_at_once(seen):
    names = choose(seen, "verdict", "contradicted")
    button = seen.find_element("name", "open")
    button.click()
    assert all(is_open(seen, name) for name in names)
    choose(seen, "verdict", "*")
    assert not is_open(seen, "bn_trains_faster")
    button.click()
    assert not any(is_open(seen, name) for name in shown(seen))


def test_an_address_with_a_claim_opens_it(browser, file):
    seen = open_page(browser, file, fragment="#noisy_bn_matches_bn")
    assert is_open(seen, "noisy_bn_matches_bn")
    assert not is_open(seen, "noisy_bn_beats_plain")


# -- sizes, colours, paper --------------------------------------------------------------------------


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, (800, 1000), DESKTOP], ids=["phone", "tablet", "desktop"])
def test_the_page_never_scrolls_sideways_and_can_be_read_by_everyone(browser, file, size, dark):
    seen = open_page(browser, file, size, dark=dark)
    seen.find_element("name", "open").click()
    seen.find_element("css selector", ".key summary").click()
    assert seen.execute_script("return document.documentElement.scrollWidth") <= size[0]
    ground = seen.find_element("tag name", "body").value_of_css_property("background-color")
    brightness = sum(map(int, ground.replace("rgba(", "").replace("rgb(", "").rstrip(")").split(",")[:3]))
    assert (brightness < 150) == dark
    seen.set_script_timeout(120)
    seen.execute_script(AXE)
    # One kind of claim after another: all 85 open rows at once take axe minutes.
    choose(seen, "figure", "fig2")
    # In the dark colours are all that is different.
    rules = "runOnly: ['color-contrast'], " if dark else ""
    found = seen.execute_async_script(
        f"const done = arguments[arguments.length - 1], options = {{{rules}resultTypes: ['violations']}};"
        "axe.run(document, options).then(r => done(r), e => done({failed: String(e)}))"
    )
    assert [(v["id"], v["nodes"][0]["html"], v["help"]) for v in found["violations"]] == []
    assert found["testEngine"]["name"] == "axe-core"


def test_on_a_phone_each_cell_says_what_it_is(browser, file):
    seen = open_page(browser, file, PHONE)
    words = seen.execute_script(
        "return [...document.querySelectorAll('#bn_trains_faster td[data-label]')]"
        ".map(c => getComputedStyle(c, '::before').content)"
    )
    labels = ("Where in the paper", "The paper shows", "Effect here", "Seeds", "Verdict", "Grade")
    assert words == [f'"{label}"' for label in labels]
    rows = seen.execute_script(
        "return [...document.querySelectorAll('#bn_trains_faster > tr:first-child > *')]"
        ".map(c => Math.round(c.getBoundingClientRect().left))"
    )
    assert len(set(rows)) == 1, "cells stand below one another"


def test_on_paper_there_are_all_claims_and_no_controls(browser, file, rows):
    import base64

    seen = open_page(browser, file, dark=True)
    seen.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    assert not seen.find_element("css selector", "form").is_displayed()
    assert shown(seen) == [row["claim"] for row in rows]
    ground = seen.find_element("tag name", "body").value_of_css_property("background-color")
    assert ground.replace(" ", "") in ("rgba(255,255,255,1)", "rgb(255,255,255)")
    pdf = base64.b64decode(seen.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert pdf.startswith(b"%PDF-")
    assert pdf.count(b"/Type /Page\n") > 5


def test_strips_have_dots_where_the_numbers_say(seen, rows):
    """The dot of a larger effect is further to the right on the screen."""
    with (STORED / "claims_per_seed.csv").open(encoding="utf-8", newline="") as file:
        effects = list(csv.DictReader(file))
    for name in [row["claim"] for row in rows][::9]:
        where = seen.execute_script(
            "return [...document.getElementById(arguments[0]).querySelectorAll('circle')]"
            ".map(c => c.getBoundingClientRect().left)",
            name,
        )
        values = [float(row["effect"]) for row in effects if row["claim"] == name and row["effect"]]
        assert len(where) == len(values) >= 7
        assert not any(math.isnan(x) for x in where)
        ordered = [x for _, x in sorted(zip(values, where, strict=True))]
        assert all(left <= right + 0.5 for left, right in itertools.pairwise(ordered))
