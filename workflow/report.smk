"""The reports: a LaTeX document, the page of all claims, and Snakemake's own HTML page.

INPUTS    paper/main.tex, the hand-written text
          workflow/page/, template, style and script of the page of all claims
          docs/results/{scale}/, stored results of other scales
          results/{scale}/statistics/claims*.csv, specifications.csv, results/{scale}/figures/
OUTPUTS   results/{scale}/provenance.json, the records of all tables
          results/{scale}/report/report.tex and generated/, ready for LaTeX
          results/{scale}/report/report.pdf, where latexmk is installed
          results/{scale}/claims.html, every claim, to filter and search
          results/{scale}/report.html, self-contained
"""


rule gather:
    """Gather the records of all tables in one file."""
    input:
        "results/{scale}/data/images.json",
        "results/{scale}/statistics/alternatives.csv",
        "results/{scale}/statistics/claims.csv",
        "results/{scale}/statistics/specifications.csv",
        "results/{scale}/statistics/theorems.csv",
    output:
        provenance="results/{scale}/provenance.json",
    log:
        "logs/{scale}/gather.log",
    localrule: True
    conda:
        "../environment.yml"
    params:
        code=job.stage_code("gather"),
        settings=job.gather_settings,
    shell:
        r"""
        "$python" -m bnopt.gather \
            --settings {params.settings:q} \
            --code {params.code:q} \
            --provenance {output.provenance:q} \
            >{log:q} 2>&1
        """


rule bundle:
    """Gather text, numbers, tables and figures, ready for LaTeX."""
    input:
        activations=partial(job.measured, table="activations"),
        along_gradient=partial(job.measured, table="along_gradient"),
        alternatives="results/{scale}/statistics/alternatives.csv",
        claims="results/{scale}/statistics/claims.csv",
        curvature=partial(job.measured, table="curvature"),
        figures=job.figures,
        images="results/{scale}/data/images.json",
        stored=jobs.stored_of_others(STORED, "claims.csv"),
        stored_figures=jobs.stored_of_others(STORED, "fig*.png"),
        stored_images=jobs.stored_of_others(STORED, "images.json"),
        provenance="results/{scale}/provenance.json",
        sensitivity="results/{scale}/statistics/claims_sensitivity.csv",
        specifications="results/{scale}/statistics/specifications.csv",
        text=TEXT,
        theorems="results/{scale}/statistics/theorems.csv",
        training="results/{scale}/statistics/training_per_seed.csv",
    output:
        generated=directory("results/{scale}/report/generated"),
        report="results/{scale}/report/report.tex",
    log:
        "logs/{scale}/bundle.log",
    localrule: True
    conda:
        "../environment.yml"
    params:
        code=job.stage_code("report"),
        registration=job.registration,
        settings=job.report_settings,
    shell:
        r"""
        exec "$python" -m fork_server bnopt.report \
            --settings {params.settings:q} \
            --code {params.code:q} \
            --registration {params.registration:q} \
            --text {input.text:q} \
            --claims {input.claims:q} \
            --sensitivity {input.sensitivity:q} \
            --specifications {input.specifications:q} \
            --alternatives {input.alternatives:q} \
            --theorems {input.theorems:q} \
            --activations {input.activations:q} \
            --along_gradient {input.along_gradient:q} \
            --curvature {input.curvature:q} \
            --training {input.training:q} \
            --images {input.images:q} \
            --stored {input.stored:q} \
            --provenance {input.provenance:q} \
            --figures {input.figures:q} \
            --generated {output.generated:q} \
            --report {output.report:q} \
            >{log:q} 2>&1
        """


rule compile:
    """Compile the report with LaTeX."""
    input:
        generated="results/{scale}/report/generated",
        report="results/{scale}/report/report.tex",
    output:
        "results/{scale}/report/report.pdf",
    log:
        "logs/{scale}/compile.log",
    localrule: True
    shadow:
        "minimal"
    conda:
        "../environment.yml"
    params:
        code=job.stage_code("compile"),
        settings=job.compile_settings,
    shell:
        r"""
        "$python" -m bnopt.compile \
            --settings {params.settings:q} \
            --code {params.code:q} \
            --report {input.report:q} \
            >{log:q} 2>&1
        """


rule page:
    """Make the page of all claims, to filter, search and sort."""
    input:
        alternatives="results/{scale}/statistics/alternatives.csv",
        claims="results/{scale}/statistics/claims.csv",
        figures=job.figure_images,
        images="results/{scale}/data/images.json",
        per_seed="results/{scale}/statistics/claims_per_seed.csv",
        script=f"{PAGE}/claims.js",
        sensitivity="results/{scale}/statistics/claims_sensitivity.csv",
        specifications="results/{scale}/statistics/specifications.csv",
        stored=jobs.stored_of_others(STORED, "claims.csv"),
        stored_images=jobs.stored_of_others(STORED, "images.json"),
        style=f"{PAGE}/claims.css",
        template=f"{PAGE}/claims.html.jinja",
    output:
        report(
            "results/{scale}/claims.html",
            caption="report/claims_page.rst",
            category="Claims",
            labels={"what": "All claims: start here"},
        ),
    log:
        "logs/{scale}/page.log",
    localrule: True
    conda:
        "../environment.yml"
    params:
        code=job.stage_code("page"),
        settings=job.page_settings,
    shell:
        r"""
        exec "$python" -m fork_server bnopt.page \
            --settings {params.settings:q} \
            --code {params.code:q} \
            --template {input.template:q} \
            --style {input.style:q} \
            --script {input.script:q} \
            --claims {input.claims:q} \
            --sensitivity {input.sensitivity:q} \
            --per-seed {input.per_seed:q} \
            --alternatives {input.alternatives:q} \
            --specifications {input.specifications:q} \
            --images {input.images:q} \
            --stored {input.stored:q} \
            --figures {input.figures:q} \
            --page {output:q} \
            >{log:q} 2>&1
        """


rule web:
    """Make the self-contained HTML page: figures, verdicts, and how each was made."""
    input:
        captions=CAPTIONS,
        files=study_files,
    output:
        "results/{scale}/report.html",
    log:
        "logs/{scale}/web.log",
    # Before the PDF, on which the page does not depend: if LaTeX fails, the page is there.
    priority: TRAINING
    localrule: True
    conda:
        "../environment.yml"
    params:
        options=not_tracked(OPTIONS),
        partial="results/{scale}/.report.partial.html",
        settings=job.report_settings,
        snakefile=not_tracked(f"{workflow.basedir}/Snakefile"),
    shell:
        r"""
        "$python" -m snakemake \
            --snakefile {params.snakefile:q} \
            --profile none \
            --workflow-profile none \
            {params.options:q} \
            --nolock \
            --report {params.partial:q} \
            -- {input.files:q} \
            >{log:q} 2>&1
        mv {params.partial:q} {output:q}
        """
