"""The estimate of how long a study still takes, and the words for it."""

import csv
from pathlib import Path

import jinja2
import pytest

from bnopt import evidence
from bnopt.study import progress

PAGE = Path(__file__).parents[2] / "workflow" / "report" / "study.rst"


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets: clock["now"] = 10.0."""
    clock = {"now": 0.0}
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock["now"])
    return clock


def test_jobs_are_expected_to_take_as_long_as_those_of_their_rule_before(clock):
    estimate = progress.Estimate({"train": 4, "probe": 10})
    assert estimate.sentence() == "0 of 14 jobs done (0 %)"
    for job, (rule, seconds) in enumerate([("train", 100), ("probe", 10)]):
        estimate.start(job, rule)
        clock["now"] += seconds
        estimate.finish(job)
    assert estimate.seconds() == pytest.approx(3 * 100 + 9 * 10)
    assert estimate.sentence() == "2 of 14 jobs done (14 %), about 6 min left"
    # A job that is half done counts half.
    estimate.start("next", "train")
    clock["now"] += 50
    assert estimate.seconds() == pytest.approx(2.5 * 100 + 9 * 10)


def test_as_many_jobs_are_expected_at_once_as_before(clock):
    estimate = progress.Estimate({"train": 8})
    for job in (1, 2):
        estimate.start(job, "train")
    clock["now"] = 100.0
    for job in (1, 2):
        estimate.finish(job)
    assert estimate.seconds() == pytest.approx(300)


def test_a_job_that_failed_runs_no_longer(clock):
    estimate = progress.Estimate({"train": 6})
    for job in range(2):
        estimate.start(job, "train")
        clock["now"] += 10
        (estimate.fail if job == 0 else estimate.finish)(job)
    clock["now"] += 10
    # One job at a time, five are left; the failed one is among them.
    assert estimate.seconds() == pytest.approx(5 * 10)


def test_short_jobs_foretell_nothing_of_training(clock):
    estimate = progress.Estimate({"spread": 5, "train": 20, "report": 1})
    estimate.start(0, "spread")
    clock["now"] = 1.0
    estimate.finish(0)
    assert estimate.seconds() is None
    assert estimate.sentence() == "1 of 26 jobs done (3 %)"
    estimate.start(1, "train")
    clock["now"] = 101.0
    assert estimate.seconds() is None
    estimate.finish(1)
    # No report has ended: it is expected to take as long as the mean of the two jobs that have.
    assert estimate.seconds() == pytest.approx(4 * 1 + 19 * 100 + 50.5)


def test_many_figures_do_not_hold_the_estimate_back(clock):
    estimate = progress.Estimate({"train": 1, "draw": 9})
    estimate.start(0, "train")
    clock["now"] = 10.0
    estimate.finish(0)
    assert estimate.seconds() == pytest.approx(9 * 10)


def test_when_all_is_done_nothing_is_left(clock):
    estimate = progress.Estimate({"all": 1})
    estimate.start(0, "all")
    estimate.finish(0)
    estimate.finish("of another group")
    assert estimate.sentence() == "1 of 1 jobs done (100 %)"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "about 10 s"),
        (44, "about 40 s"),
        (95, "about 2 min"),
        (3000, "about 50 min"),
        (9000, "about 2.5 h"),
    ],
)
def test_durations_in_words(seconds, words):
    assert progress.about(seconds) == words


def test_without_verdicts_the_closing_message_lists_what_there_is(tmp_path):
    (tmp_path / "report.html").touch()
    said = progress.closing(tmp_path, "pdf")
    assert str(tmp_path) in said
    assert "report.html" in said
    assert "claims" not in said


def closing_of(tmp_path, rows):
    """Return the closing message after claims: verdict, grade, n, seeds_to_confirm."""
    file = tmp_path / "statistics" / "claims.csv"
    file.parent.mkdir()
    with file.open("w", encoding="utf-8", newline="") as opened:
        csv.writer(opened).writerows([["verdict", "grade", "n", "seeds_to_confirm"], *rows])
    return progress.closing(tmp_path, "pdf")


@pytest.mark.parametrize(("seeds", "words"), [(3, "3 seeds confirm"), (1, "1 seed confirms")])
def test_the_closing_message_says_that_few_seeds_confirm_nothing(tmp_path, seeds, words):
    said = closing_of(tmp_path, [["supported", "", seeds, 6], ["contradicted", "", seeds, 8]])
    assert "Of 2 claims: 1 supported, 1 contradicted." in said
    assert (
        f"{words} nothing, however large an effect: from 8 seeds on, every claim could be confirmed." in said
    )
    assert "refuted" not in said


def test_the_closing_message_counts_grades_and_claims_with_too_few_seeds_for_one(tmp_path):
    rows = [["supported", "confirmed", 6, 6], ["supported", "", 6, 8], ["contradicted", "refuted", 6, 5]]
    said = closing_of(tmp_path, rows)
    assert "1 are confirmed and 1 refuted (p ≤ 0.05 within families); 1 have too few seeds" in said
    assert "from 8 on every claim could be." in said
    assert "nothing" not in said


def test_with_enough_seeds_the_closing_message_counts_grades_alone(tmp_path):
    said = closing_of(tmp_path, [["supported", "confirmed", 8, 8], ["inconclusive", "", 8, 8]])
    assert "  1 are confirmed and 0 refuted (p ≤ 0.05 within families).\n" in said + "\n"


def test_without_claims_or_grades_the_closing_message_is_silent_on_grades(tmp_path):
    said = closing_of(tmp_path, [])
    assert "claims: none." in said
    assert "seeds" not in said
    file = tmp_path / "statistics" / "claims.csv"
    file.write_text("verdict\nsupported\n", encoding="utf-8")
    assert "confirm" not in progress.closing(tmp_path, "pdf")


@pytest.mark.parametrize("n", [1, 3, 4, 5, 7, 8, 9])
def test_the_page_says_what_so_many_seeds_can_confirm(n, config):
    template = jinja2.Template(PAGE.read_text(encoding="utf-8"))
    settings = {"scale": "digits", "scales": config["scales"], "seeds": list(range(n))}
    said = " ".join(template.render(snakemake={"config": settings}).split())
    assert ("confirm nothing" in said) == (n < evidence.seeds_to_confirm(1))
    assert ("at most claims of small families" in said) == (5 <= n < 8)
    assert ("from 8 seeds on" in said.lower()) == (n < 8)
    assert ("*grade*" in said) == (n >= evidence.seeds_to_confirm(12))
    assert f" seeds {', '.join(map(str, range(n)))}. " in said
    assert "*Claims* shows the verdicts" in said
