"""Probes: what is measured on the snapshots of a run. They never touch the run.

INPUTS    results/{scale}/data/images.npz, for the task vgg
          results/{scale}/runs/{condition}/seed{seed}/snapshots/
OUTPUTS   results/{scale}/probes/{probe}/{condition}/seed{seed}.csv
MEANWHILE results/{scale}/unfinished/{probe}-{condition}-seed{seed}/    what a killed job goes on from
"""


rule probe:
    """Measure one probe on all snapshots of one run."""
    input:
        data=job.task_data,
        snapshots="results/{scale}/runs/{condition}/seed{seed}/snapshots",
    output:
        table="results/{scale}/probes/{probe}/{condition}/seed{seed}.csv",
    log:
        "logs/{scale}/{probe}/{condition}/seed{seed}.log",
    benchmark:
        "benchmarks/{scale}/{probe}/{condition}/seed{seed}.tsv"
    # Before further training: snapshots that do not stay go sooner.
    priority: 1
    conda:
        "../environment.yml"
    threads: 1
    resources:
        gpu=GPUS_OF_A_JOB,
    params:
        checkpoint="results/{scale}/unfinished/{probe}-{condition}-seed{seed}",
        code=job.probe_code,
        settings=job.probe_settings,
    # exec: a shell would die of a signal at once, and snakemake end before the job has kept its state.
    shell:
        r"""
        exec python -m bnopt.probe \
            --settings {params.settings:q} \
            --code {params.code:q} \
            --data {input.data:q} \
            --snapshots {input.snapshots:q} \
            --condition {wildcards.condition:q} \
            --seed {wildcards.seed} \
            --table {output.table:q} \
            --checkpoint {params.checkpoint:q} \
            >{log:q} 2>&1
        """
