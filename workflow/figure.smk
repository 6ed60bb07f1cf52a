"""Figures, numbered as in the paper, the forest plot of the claims, and the specification curves.

INPUTS    results/{scale}/statistics/{table}_over_seeds.csv, claims.csv, specifications.csv
          the first seed's tables, for figures that show a single run
          the training curves of the runs shown, to mark those that diverged
          paper/figures.mplstyle
OUTPUTS   results/{scale}/figures/{figure}.pdf and .png
          results/{scale}/figures/specification_{claim}.pdf and .png
"""


rule draw:
    """Draw one of the paper's figures."""
    input:
        curves=job.figure_curves,
        first_seed=job.figure_runs,
        over_seeds=job.figure_statistics,
        style=STYLE,
    output:
        pdf="results/{scale}/figures/{figure}.pdf",
        png=report(
            "results/{scale}/figures/{figure}.png",
            caption="report/figure.rst",
            category="Figures",
            labels=jobs.figure_labels,
        ),
    log:
        "logs/{scale}/draw/{figure}.log",
    priority: FIGURES
    localrule: True
    conda:
        "../environment.yml"
    params:
        code=job.figure_code,
        curves=partial(job.table_pattern, table=study.TRAINING),
        settings=job.figure_settings,
    shell:
        r"""
        exec "$python" -m fork_server bnopt.figure \
            --settings {params.settings:q} \
            --code {params.code:q} \
            --figure {wildcards.figure:q} \
            --style {input.style:q} \
            --over-seeds {input.over_seeds:q} \
            --first-seed {input.first_seed:q} \
            --curves {params.curves:q} \
            --pdf {output.pdf:q} \
            --png {output.png:q} \
            >{log:q} 2>&1
        """


rule draw_claims:
    """Draw the effect, interval and verdict of every claim."""
    input:
        claims="results/{scale}/statistics/claims.csv",
        style=STYLE,
    output:
        pdf="results/{scale}/figures/claims.pdf",
        png=report(
            "results/{scale}/figures/claims.png",
            caption="report/claims.rst",
            category="Claims",
            labels={"what": "Forest plot"},
        ),
    log:
        "logs/{scale}/draw/claims.log",
    priority: FIGURES
    localrule: True
    conda:
        "../environment.yml"
    params:
        code=job.forest_plot_code,
        settings=job.forest_plot_settings,
    shell:
        r"""
        exec "$python" -m fork_server bnopt.figure \
            --settings {params.settings:q} \
            --code {params.code:q} \
            --figure claims \
            --style {input.style:q} \
            --over-seeds {input.claims:q} \
            --pdf {output.pdf:q} \
            --png {output.png:q} \
            >{log:q} 2>&1
        """


rule draw_specification:
    """Draw the specification curve of one claim."""
    input:
        specifications="results/{scale}/statistics/specifications.csv",
        style=STYLE,
    output:
        pdf="results/{scale}/figures/specification_{claim}.pdf",
        png=report(
            "results/{scale}/figures/specification_{claim}.png",
            caption="report/specification.rst",
            category="Claims",
            labels=job.curve_labels,
        ),
    log:
        "logs/{scale}/draw/specification_{claim}.log",
    priority: FIGURES
    localrule: True
    conda:
        "../environment.yml"
    params:
        code=job.specification_code,
        settings=job.specification_settings,
    shell:
        r"""
        exec "$python" -m fork_server bnopt.figure \
            --settings {params.settings:q} \
            --code {params.code:q} \
            --figure specification \
            --style {input.style:q} \
            --over-seeds {input.specifications:q} \
            --pdf {output.pdf:q} \
            --png {output.png:q} \
            >{log:q} 2>&1
        """
