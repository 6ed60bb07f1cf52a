"""What a person reads while the study runs, and at its end: how far it is, and how the claims came out."""

import csv
import signal
import sys
import threading
import time
from collections import Counter

import bnopt

SECONDS = 60
PARTS = 10
# The rules whose jobs take longest.
LONG = {"train", "probe"}
TITLE = "Workflow Progress"
VERDICTS = ("supported", "contradicted", "inconclusive", "not run")


class Estimate:
    """How many jobs are done, and how long the others will take."""

    def __init__(self, counts):
        """counts: rule -> number of its jobs."""
        self.left = Counter(counts)
        self.total, self.done = sum(counts.values()), 0
        self.long = LONG & counts.keys()
        self.started, self.running, self.spent = time.monotonic(), {}, {}
        # A thread asks for the time left while jobs begin and end.
        self.lock = threading.Lock()

    def start(self, job, rule):
        """Note that a job begins."""
        with self.lock:
            self.running[job] = rule, time.monotonic()

    def finish(self, job):
        """Note that a job has ended."""
        with self.lock:
            if job in self.running:
                rule, since = self.running.pop(job)
                self.left[rule] -= 1
                self.done += 1
                self.spent.setdefault(rule, []).append(time.monotonic() - since)

    def fail(self, job):
        """Note that a job has failed; it stays among those left, as it may be tried again."""
        with self.lock:
            self.running.pop(job, None)

    def seconds(self):
        """Return the seconds that the jobs left will take, None as long as too little is known.

        That is until a run and a probe have ended: nothing follows for them from shorter jobs. A job is
        expected to take as long as the mean of its rule's so far, or of all rules if none of its rule has
        ended. As many jobs are expected to run at once as so far.
        """
        with self.lock:
            return self._seconds()

    def _seconds(self):
        ended = [seconds for of_rule in self.spent.values() for seconds in of_rule]
        if not ended or self.long - self.spent.keys():
            return None
        now = time.monotonic()
        mean = {rule: sum(of_rule) / len(of_rule) for rule, of_rule in self.spent.items()}
        mean_of_all = sum(ended) / len(ended)
        work = sum(count * mean.get(rule, mean_of_all) for rule, count in self.left.items())
        under_way = {job: now - since for job, (_, since) in self.running.items()}
        for job, (rule, _) in self.running.items():
            work -= min(under_way[job], mean.get(rule, mean_of_all))
        at_once = (sum(ended) + sum(under_way.values())) / max(now - self.started, 1e-3)
        return work / max(at_once, 1)

    def sentence(self):
        """Return how far the study is, in a line."""
        share = f"{self.done} of {self.total} jobs done ({100 * self.done // max(self.total, 1)} %)"
        seconds = self.seconds()
        return share if seconds is None or self.done == self.total else f"{share}, {about(seconds)} left"


def about(seconds):
    """Return a duration in words."""
    if seconds < 90:
        return f"about {max(10, round(seconds, -1)):.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"


class Progress:
    """A filter of Snakemake's log, which lets every message pass and shows how far the study is.

    On a terminal the bars of the logger `rich` get the estimate as their title. Elsewhere, and with other
    loggers, a line is printed every minute and at every tenth of the jobs.
    """

    def __init__(self, workflow):
        handlers = workflow.logger_manager.get_log_handlers()
        displays = [handler.live_display for handler in handlers if hasattr(handler, "live_display")]
        self.bars = next(
            (display.get_renderable() for display in displays if display.console.is_terminal), None
        )
        self.estimate, self.shown = None, (0, 0)
        self.silent = workflow.dryrun or bool(workflow.output_settings.quiet)

    def filter(self, record):
        """Count the jobs that begin and end."""
        event = getattr(getattr(record, "event", None), "name", "")
        if event == "RUN_INFO" and not self.estimate and not self.silent:
            counts = {rule: count for rule, count in record.stats.items() if rule != "total"}
            self.estimate, self.shown = Estimate(counts), (0, time.monotonic())
            threading.Thread(target=self._every_second, daemon=True).start()
        elif self.estimate and event == "JOB_INFO":
            self.estimate.start(record.jobid, record.rule_name)
        elif self.estimate and event == "JOB_FINISHED":
            self.estimate.finish(record.job_id)
            self._show()
        elif self.estimate and event == "JOB_ERROR":
            self.estimate.fail(record.jobid)
        return True

    def _every_second(self):
        while self.estimate.done < self.estimate.total:
            time.sleep(1)
            self._show()

    def _show(self):
        part = PARTS * self.estimate.done // self.estimate.total
        before, at = self.shown
        if self.bars:
            self.bars.title = f"{TITLE}: {self.estimate.sentence()}"
        elif part > before or time.monotonic() - at >= SECONDS:
            self.shown = part, time.monotonic()
            print(self.estimate.sentence(), file=sys.stderr, flush=True)


class Interrupts:
    """A filter of Snakemake's log, which lets no message pass after Ctrl-C.

    The first Ctrl-C prints a sentence. Without it Snakemake shows the log of every job that it stopped.
    """

    SENTENCE = "stopped: jobs that run save their state first; call snakemake again to resume"

    def __init__(self):
        self.noted = False
        main = threading.current_thread() is threading.main_thread()
        # Behind `nohup` and in the background of a script, Ctrl-C is ignored and stays so.
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._note)
            bnopt.explain_interrupts("")

    def _note(self, number, frame):
        if not self.noted:
            self.noted = True
            print(self.SENTENCE, file=sys.stderr, flush=True)
        signal.default_int_handler(number, frame)

    def filter(self, record):
        """Return whether a message may be shown."""
        return not self.noted


def _grades(rows):
    """Return a sentence on the grades of the claims, if their table has any; see `bnopt.evidence`."""
    if not rows or "grade" not in rows[0]:
        return []
    seeds, enough = max(int(row["n"]) for row in rows), max(int(row["seeds_to_confirm"]) for row in rows)
    if not any(int(row["n"]) >= int(row["seeds_to_confirm"]) for row in rows):
        one = "1 seed confirms" if seeds == 1 else f"{seeds} seeds confirm"
        return [
            f"{one} nothing, however large an effect: from {enough} seeds on, every claim could be confirmed."
        ]
    grades = Counter(row["grade"] for row in rows)
    few = sum(int(row["n"]) < int(row["seeds_to_confirm"]) for row in rows)
    graded = f"{grades['confirmed']} are confirmed and {grades['refuted']} refuted (p ≤ 0.05 within families)"
    more = f"; {few} have too few seeds to be confirmed, from {enough} on every claim could be" if few else ""
    return [f"{graded}{more}."]


def closing(results, report):
    """Return the closing message: how the claims came out, which results exist, and where.

    results: the folder of a scale; report: the format in which the report is made.
    """
    about_files = {
        "report.html": "figures and verdicts in a browser",
        "claims.html": "every claim, to filter and search, in a browser",
        f"report/report.{report}": "the report",
        "statistics/claims.csv": "every claim with its verdict",
        "figures/": "the paper's figures as PDF and PNG",
    }
    lines = [f"Results of the scale {results.name}: {results}"]
    claims = results / "statistics" / "claims.csv"
    if claims.exists():
        with claims.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        verdicts = Counter(row["verdict"] for row in rows)
        came_out = ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in VERDICTS if verdicts[verdict])
        lines.append(f"  Of {sum(verdicts.values())} claims: {came_out or 'none'}.")
        lines += [f"  {sentence}" for sentence in _grades(rows)]
    lines += [f"  {name:24}{text}" for name, text in about_files.items() if (results / name).exists()]
    if report == "tex" and (results / "report" / "report.tex").exists():
        lines.append(
            "LaTeX is not installed, so the report was not compiled. Install latexmk with TeX Live and call "
            f"snakemake again, or run latexmk -pdf report.tex in a copy of {results / 'report'} elsewhere."
        )
    return "\n".join(lines)
