"""The theorems on random layers, and one table of the results there and on trained nets.

INPUTS    results/{scale}/probes/theorems/{condition}/seed{seed}.csv
OUTPUTS   results/{scale}/theorems/random_layers.csv        every theorem on random layers
          results/{scale}/statistics/theorems.csv           errors, slacks, premises: a row per statement
"""


rule random_layers:
    """Evaluate the theorems on random layers."""
    output:
        table="results/{scale}/theorems/random_layers.csv",
    log:
        "logs/{scale}/random_layers.log",
    priority: STATISTICS
    localrule: True
    conda:
        "../environment.yml"
    params:
        code=job.stage_code("random_layers"),
        settings=job.random_layers_settings,
    shell:
        r"""
        exec "$python" -m fork_server bnopt.random_layers \
            --settings {params.settings:q} \
            --code {params.code:q} \
            --table {output.table:q} \
            >{log:q} 2>&1
        """


rule summarise_theorems:
    """Summarise errors, slacks and premises of all theorems."""
    input:
        probes=partial(job.tables, table="theorems"),
        random="results/{scale}/theorems/random_layers.csv",
    output:
        table=report(
            "results/{scale}/statistics/theorems.csv",
            caption="report/theorems.rst",
            category="Theorems",
            labels={"what": "Errors, slacks and premises"},
        ),
    log:
        "logs/{scale}/summarise_theorems.log",
    priority: STATISTICS
    localrule: True
    conda:
        "../environment.yml"
    params:
        code=job.stage_code("theorem_table"),
        pattern=partial(job.table_pattern, table="theorems"),
        settings=job.theorem_table_settings,
    shell:
        r"""
        exec "$python" -m fork_server bnopt.theorem_table \
            --settings {params.settings:q} \
            --code {params.code:q} \
            --random {input.random:q} \
            --probes {params.pattern:q} \
            --table {output.table:q} \
            >{log:q} 2>&1
        """
