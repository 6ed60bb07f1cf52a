"""Training: one run is a condition at a seed.

INPUTS    results/{scale}/data/images.npz, for the task vgg
OUTPUTS   results/{scale}/runs/{condition}/seed{seed}/training.csv    loss and accuracy per step
          results/{scale}/runs/{condition}/seed{seed}/snapshots/      weights at the steps to be probed
MEANWHILE results/{scale}/unfinished/train-{condition}-seed{seed}/    its checkpoint
"""


rule train:
    """Train one run; write its curve and its snapshots."""
    input:
        data=job.task_data,
    output:
        curve="results/{scale}/runs/{condition}/seed{seed}/training.csv",
        snapshots=snapshots_folder("results/{scale}/runs/{condition}/seed{seed}/snapshots"),
    log:
        "logs/{scale}/train/{condition}/seed{seed}.log",
    priority: TRAINING
    conda:
        "../environment.yml"
    threads: 1
    resources:
        gpu=GPUS_OF_A_JOB,
    params:
        checkpoint="results/{scale}/unfinished/train-{condition}-seed{seed}",
        code=job.train_code,
        settings=job.train_settings,
    # exec: a signal would end the shell at once, and snakemake before the job has written its checkpoint.
    shell:
        r"""
        exec "$python" -m fork_server bnopt.train \
            --settings {params.settings:q} \
            --code {params.code:q} \
            --data {input.data:q} \
            --condition {wildcards.condition:q} \
            --seed {wildcards.seed} \
            --curve {output.curve:q} \
            --snapshots {output.snapshots:q} \
            --checkpoint {params.checkpoint:q} \
            >{log:q} 2>&1
        """
