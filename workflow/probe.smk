"""Probes: measurements on the snapshots of a run, which leave the run unchanged.

INPUTS    results/{scale}/data/images.npz, for the task vgg
          results/{scale}/runs/{condition}/seed{seed}/snapshots/ and training.csv
OUTPUTS   results/{scale}/probes/{probe}/{condition}/seed{seed}.csv
MEANWHILE results/{scale}/unfinished/{probe}-{condition}-seed{seed}/    its checkpoint
"""


rule probe:
    """Measure one probe on all snapshots of one run."""
    input:
        data=job.task_data,
        # Snakemake has checksums of files, not of folders. So the curve says whether the run is another one,
        # and not the time of its snapshots: a copy of a study whose times differ is not measured again.
        curve="results/{scale}/runs/{condition}/seed{seed}/training.csv",
        snapshots=ancient("results/{scale}/runs/{condition}/seed{seed}/snapshots"),
    output:
        table="results/{scale}/probes/{probe}/{condition}/seed{seed}.csv",
    log:
        "logs/{scale}/{probe}/{condition}/seed{seed}.log",
    priority: PROBES
    conda:
        "../environment.yml"
    threads: 1
    resources:
        gpu=GPUS_OF_A_JOB,
    params:
        checkpoint="results/{scale}/unfinished/{probe}-{condition}-seed{seed}",
        code=job.probe_code,
        settings=job.probe_settings,
    # exec: a signal would end the shell at once, and snakemake before the job has written its checkpoint.
    shell:
        r"""
        exec "$python" -m fork_server bnopt.probe \
            --settings {params.settings:q} \
            --code {params.code:q} \
            --data {input.data:q} \
            --curve {input.curve:q} \
            --snapshots {input.snapshots:q} \
            --condition {wildcards.condition:q} \
            --seed {wildcards.seed} \
            --table {output.table:q} \
            --checkpoint {params.checkpoint:q} \
            >{log:q} 2>&1
        """
