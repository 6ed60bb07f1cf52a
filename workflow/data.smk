"""Data: the images of a scale in one compact file.

INPUTS    none; the digits come with scikit-learn, CIFAR-10 is downloaded, or a folder is read
OUTPUTS   results/{scale}/data/images.npz, and images.json, its description
"""


rule prepare:
    """Prepare the images of a scale."""
    output:
        images="results/{scale}/data/images.npz",
        summary="results/{scale}/data/images.json",
    log:
        "logs/{scale}/prepare.log",
    priority: IMAGES
    localrule: True
    conda:
        "../environment.yml"
    # First, and alone on this machine: if an image is bad, no run has been trained yet.
    threads: 9999
    params:
        code=job.data_code,
        settings=job.data_settings,
        folder=job.data_folder,
    shell:
        r"""
        "$python" -m bnopt.data \
            --settings {params.settings:q} \
            --code {params.code:q} \
            --cache resources/cifar10 \
            --folder {params.folder:q} \
            --images {output.images:q} \
            --summary {output.summary:q} \
            >{log:q} 2>&1
        """
