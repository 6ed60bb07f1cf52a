"""Statistics over seeds, and the verdicts.

INPUTS    the tables of all runs: training.csv, and those of the probes
OUTPUTS   results/{scale}/statistics/{table}_per_seed.csv      one number per seed and step
          results/{scale}/statistics/{table}_over_seeds.csv    mean and interval per step
          results/{scale}/statistics/tau_per_seed.csv          rank correlations over norms
          results/{scale}/statistics/claims.csv                verdicts
          results/{scale}/statistics/claims_sensitivity.csv    the same under other summaries
          results/{scale}/statistics/claims_per_seed.csv       the effect of each seed
          results/{scale}/statistics/alternatives*.csv         claims under other definitions
          results/{scale}/statistics/specifications.csv        headline claims under other choices
"""


rule spread_rates:
    """Compute the spread of the loss over runs at several learning rates, another definition in use."""
    input:
        curves=job.spread_curves,
    output:
        table="results/{scale}/probes/rate_spread/{spread}/seed{seed}.csv",
    log:
        "logs/{scale}/rate_spread/{spread}/seed{seed}.log",
    priority: STATISTICS
    localrule: True
    conda:
        "../environment.yml"
    params:
        code=job.stage_code("rate_spread"),
        settings=job.rate_spread_settings,
    shell:
        r"""
        exec "$python" -m fork_server bnopt.rate_spread \
            --settings {params.settings:q} \
            --code {params.code:q} \
            --curves {input.curves:q} \
            --condition {wildcards.spread:q} \
            --seed {wildcards.seed} \
            --table {output.table:q} \
            >{log:q} 2>&1
        """


rule summarise:
    """Summarise one table over the seeds."""
    input:
        tables=job.tables,
    output:
        per_seed="results/{scale}/statistics/{table}_per_seed.csv",
        over_seeds="results/{scale}/statistics/{table}_over_seeds.csv",
    log:
        "logs/{scale}/summarise/{table}.log",
    priority: STATISTICS
    localrule: True
    conda:
        "../environment.yml"
    params:
        code=job.statistics_code,
        pattern=job.table_pattern,
        settings=job.statistics_settings,
    shell:
        r"""
        exec "$python" -m fork_server bnopt.statistics \
            --settings {params.settings:q} \
            --code {params.code:q} \
            --tables {params.pattern:q} \
            --per-seed {output.per_seed:q} \
            --over-seeds {output.over_seeds:q} \
            >{log:q} 2>&1
        """


rule rank_norms:
    """Rank norms by accuracy and by each measure of smoothness, and correlate the ranks."""
    input:
        tables=job.ranked,
    output:
        table="results/{scale}/statistics/tau_per_seed.csv",
    log:
        "logs/{scale}/tau.log",
    priority: STATISTICS
    localrule: True
    conda:
        "../environment.yml"
    params:
        code=job.stage_code("tau"),
        settings=job.tau_settings,
    shell:
        r"""
        exec "$python" -m fork_server bnopt.tau \
            --settings {params.settings:q} \
            --code {params.code:q} \
            --tables {input.tables:q} \
            --table {output.table:q} \
            >{log:q} 2>&1
        """


rule judge:
    """Judge every claim."""
    input:
        tables=job.statistics,
    output:
        claims=report(
            "results/{scale}/statistics/claims.csv",
            caption="report/claims_table.rst",
            category="Claims",
            labels={"what": "Table of verdicts (CSV)"},
        ),
        sensitivity=report(
            "results/{scale}/statistics/claims_sensitivity.csv",
            caption="report/claims_sensitivity.rst",
            category="Claims",
            labels={"what": "Table of other summaries (CSV)"},
        ),
        numbers="results/{scale}/statistics/claims_per_seed.csv",
    log:
        "logs/{scale}/judge.log",
    priority: STATISTICS
    localrule: True
    conda:
        "../environment.yml"
    params:
        code=job.stage_code("claims"),
        registration=job.registration_hashes,
        settings=job.claims_settings,
    shell:
        r"""
        exec "$python" -m fork_server bnopt.claims \
            --settings {params.settings:q} \
            --code {params.code:q} \
            --registration {params.registration:q} \
            --tables {input.tables:q} \
            --claims {output.claims:q} \
            --sensitivity {output.sensitivity:q} \
            --numbers {output.numbers:q} \
            >{log:q} 2>&1
        """


use rule judge as judge_alternatives with:
    output:
        claims="results/{scale}/statistics/alternatives.csv",
        numbers="results/{scale}/statistics/alternatives_per_seed.csv",
        sensitivity="results/{scale}/statistics/alternatives_sensitivity.csv",
    log:
        "logs/{scale}/judge_alternatives.log",
    params:
        code=job.stage_code("claims"),
        registration="{}",
        settings=job.alternatives_settings,


rule specify:
    """Judge the headline claims under every combination of summary, steps and step sizes."""
    input:
        runs=job.specification_runs,
        tables=job.specification_statistics,
    output:
        specifications=report(
            "results/{scale}/statistics/specifications.csv",
            caption="report/specifications_table.rst",
            category="Claims",
            labels={"what": "Table of other choices (CSV)"},
        ),
    log:
        "logs/{scale}/specify.log",
    priority: STATISTICS
    localrule: True
    conda:
        "../environment.yml"
    params:
        code=job.specifications_code,
        patterns=job.specification_patterns,
        settings=job.specifications_settings,
    shell:
        r"""
        exec "$python" -m fork_server bnopt.specifications \
            --settings {params.settings:q} \
            --code {params.code:q} \
            --tables {input.tables:q} \
            --runs {params.patterns:q} \
            --specifications {output.specifications:q} \
            >{log:q} 2>&1
        """
