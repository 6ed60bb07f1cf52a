"""The estimate of how long a study still takes, and the words for it."""

import pytest

from bnopt.study import progress


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
