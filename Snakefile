"""From raw data to the report: `snakemake` makes everything of the scale that config.yaml names."""

from snakemake.utils import min_version

min_version("9.27")


include: "workflow/start.smk"


configfile: "config.yaml"
configfile: "claims.yaml"


report: "workflow/report/study.rst"


include: "workflow/common.smk"
include: "workflow/data.smk"
include: "workflow/train.smk"
include: "workflow/probe.smk"
include: "workflow/statistics.smk"
include: "workflow/theorems.smk"
include: "workflow/figure.smk"
include: "workflow/report.smk"


rule all:
    """Everything of one scale: figures, verdicts, and the reports about them."""
    default_target: True
    input:
        expand("results/{scale}/claims.html", scale=STUDY["scale"]),
        expand("results/{scale}/report.html", scale=STUDY["scale"]),
        expand("results/{scale}/report/report.{format}", scale=STUDY["scale"], format=REPORT_FORMATS),
        expand("results/{scale}/statistics/claims.csv", scale=STUDY["scale"]),
        expand(
            "results/{scale}/figures/{figure}.{format}",
            scale=STUDY["scale"],
            figure=job.figure_names,
            format=["pdf", "png"],
        ),


rule another_scale:
    """Refuse targets of a scale other than the chosen one."""
    input:
        refused,
    output:
        "results/{another}/{file}",


rule another_part:
    """Refuse targets of a part that was not chosen."""
    input:
        refused_part,
    output:
        "results/{scale}/{of_another_part}",


# Its table has a rule, but without its part there is nothing to rank.
ruleorder: another_part > rank_norms


onstart:
    if workflow.local_exec:
        # Snakemake 9.27 looks for jobs anew a second after every look, so each job that ends adds a look per
        # second, until the end. That is for --max-jobs-per-timespan, which matters on clusters only.
        workflow.scheduler.job_rate_limiter = None
    fork_server.start(workflow, exports, config.get("device") or os.environ.get("BNOPT_DEVICE"))


onsuccess:
    print(progress.closing(RESULTS, REPORT_FORMATS[-1]))


onerror:
    if not (interrupts and interrupts.noted):
        print(progress.closing(RESULTS, REPORT_FORMATS[-1]))
