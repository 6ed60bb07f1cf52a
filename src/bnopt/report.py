"""Stage 7: generate all numbers, tables and figures of the LaTeX report; none is typed by hand."""

import json
import math
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from bnopt import findings, part_texts, report_tables, runtime
from bnopt.files import artefacts
from bnopt.judged import read_claims, read_json, read_stored, with_units
from bnopt.latex import escape, estimate, number
from bnopt.verdicts import VERDICTS, support

# Tables with numbers per seed that a study may lack.
PER_SEED = ("activations", "along_gradient", "curvature")


def numbers(results, study):
    r"""Return key -> LaTeX text of every value that the text of the report names by \result{key}.

    claims, seeds, scale, diverged          sizes of the study, and the number of diverged runs
    count.<verdict>, flipped                numbers of verdicts, and of those that another summary changes
    count.confirmed, count.refuted          numbers of grades
    count.gradable                          number of claims with enough seeds for a grade
    seeds.to_confirm                        the number of seeds from which on every claim can be confirmed
    registration                            a sentence per part, see `registration_text`
    p.floor                                 the smallest p value that so many seeds can give
    images.<key>                            source of the images, numbers for training and testing
    task.<task>                             empty; defined for each task of the study
    caption.<figure>                        caption of a figure of the study
    <claim>.label                           what the tables call a claim
    <claim>.estimate, <claim>.verdict       effect with its interval, and verdict
    sigma.<statistic>                       see `sigma_numbers`
    compute.<quantity>                      see `compute_numbers`
    growth.wide                             √(π/(π − 1)), see `part_texts.START`
    """
    claims, images = results.claims, results.images
    found = {
        "claims": len(claims),
        "seeds": len(study["seeds"]),
        "scale": escape(study["scale"]),
        "p.floor": number(0.5 ** len(study["seeds"])),
        **{f"count.{word}": int((claims["verdict"] == word).sum()) for word in VERDICTS},
        **{f"count.{word}": int((claims["grade"] == word).sum()) for word in ("confirmed", "refuted")},
        "count.gradable": int((claims["n"] >= claims["seeds_to_confirm"]).sum()),
        "seeds.to_confirm": int(claims["seeds_to_confirm"].max()) if len(claims) else 0,
        "registration": registration_text(study["registration"]),
        "diverged": len(study["diverged"]),
        "flipped": int((claims["flips_under"] != "").sum()),
        **dict.fromkeys((f"task.{task}" for task in study["tasks"]), ""),
        **{f"images.{key}": escape(images[key]) for key in ("source", "train", "test")},
        **{f"caption.{name}": escape(text) for name, text in study["captions"].items()},
        **compute_numbers(results.provenance),
        "growth.wide": number(math.sqrt(math.pi / (math.pi - 1))),
    }
    for claim in claims.to_dict("records"):
        found |= {
            f"{claim['claim']}.label": escape(claim["label"]),
            f"{claim['claim']}.estimate": estimate(claim),
            f"{claim['claim']}.verdict": claim["verdict"],
        }
    return found if results.activations is None else found | sigma_numbers(results.activations, claims)


def registration_text(registration):
    r"""Return a sentence per part as LaTeX text: by which hash it was judged, and the items that differ.

    registration: part -> hash, registered (a hash or ""), differs (items)
    """
    sentences = []
    for part, found in registration.items():
        there = rf"\texttt{{{found['registered']}}}" if found["registered"] else "nothing"
        other = f"while {there} is registered; they differ in: {', '.join(found['differs'])}"
        judged = rf"The part \texttt{{{escape(part)}}} was judged by \texttt{{{found['hash']}}}"
        sentences.append(f"{judged}, {other if found['differs'] else 'the registered hash'}.")
    return " ".join(sentences)


def sigma_numbers(activations, claims):
    """Return the median and extremes of σ over units, steps and seeds.

    Only conditions that are judged by a claim about σ count.
    """
    # The table lacks these columns if every run diverged at once.
    activations = activations.reindex(columns=["condition", "sigma", "sigma_min", "sigma_max"])
    judged = claims.loc[claims["quantity"] == "sigma", "condition_a"]
    rows = activations[activations["condition"].isin(judged)]
    return {
        "sigma.median": number(rows["sigma"].median()),
        "sigma.min": number(rows["sigma_min"].min()),
        "sigma.max": number(rows["sigma_max"].max()),
    }


def specification_numbers(specifications):
    """Return key -> LaTeX text of how often each headline claim is supported (`specifications.specify`).

    The keys are specification.<claim> and, if there is such a claim, specifications: their number.
    """
    found = {}
    for claim, rows in specifications.groupby("claim", sort=False):
        supported, judged = support(rows["verdict"])
        missing = len(rows) - judged
        not_run = f" ({missing} not run)" if missing else ""
        found[f"specification.{claim}"] = f"supported in {supported} of {judged}{not_run}"
    return found | ({"specifications": len(found)} if found else {})


def findings_texts(claims, stored, study):
    """Return key -> LaTeX text of sentences that follow from verdicts (`findings`).

    findings.<family>                  the sentences about each family of claims
    headline, headline.others          the verdicts on the headline claims, and what else is said of them
    """
    found = {
        f"findings.{family}": findings.sentences(rows, stored)
        for family, rows in claims.groupby("family", sort=False)
    }
    headline = claims[claims["claim"].isin(study["headline"])]
    if len(headline):
        found["headline"] = findings.counted(headline, "headline statements")
        found["headline.others"] = findings.others(headline, stored)
    return found


def stored_numbers(stored):
    """Return key -> LaTeX text of the values of each scale with stored results.

    The keys are stored.<scale>.count.<verdict>, .claims, .seeds and .source, the source of the images.
    """
    return {
        f"stored.{scale}.{key}": value
        for scale, of_scale in stored.items()
        for key, value in {
            **{f"count.{word}": int((of_scale.claims["verdict"] == word).sum()) for word in VERDICTS},
            "claims": len(of_scale.claims),
            "seeds": int(of_scale.claims["n"].max()),
            "source": escape(of_scale.images["source"]),
        }.items()
    }


def compute_numbers(provenance):
    """Return key -> LaTeX text of jobs, hours on CPUs and largest memory (GiB) of all jobs with a record."""
    jobs = report_tables.jobs(provenance)
    return {
        "compute.jobs": len(jobs),
        "compute.hours": number(jobs["cpu_seconds"].sum(min_count=1) / 3600),
        "compute.memory": number(jobs["memory_mib"].max() / 1024),
    }


@dataclass(frozen=True)
class Results:
    """The tables and descriptions that a report shows; those per seed are None if the study lacks them.

    claims, alternatives: with the unit of each effect (`judged.with_units`), as those of `judged.Stored` here
    """

    claims: pd.DataFrame
    sensitivity: pd.DataFrame
    specifications: pd.DataFrame
    alternatives: pd.DataFrame
    theorems: pd.DataFrame
    activations: pd.DataFrame | None
    along_gradient: pd.DataFrame | None
    curvature: pd.DataFrame | None
    images: dict
    provenance: dict


def write(folder, results, stored, *, study, figures):
    """Write numbers.tex, the tables, the sections of the parts beyond the paper, and the figures.

    results: `Results` of this scale
    stored: scale -> `Stored`
    study: the settings of the job and, as `diverged`, the diverged runs; as `registration`, its registration
    figures: files to copy
    """
    folder = Path(folder)
    definitions = numbers(results, study) | stored_numbers(stored)
    definitions |= specification_numbers(results.specifications)
    definitions |= findings_texts(results.claims, stored, study)
    lines = [rf"\setresult{{{key}}}{{{value}}}" for key, value in definitions.items()]
    (folder / "numbers.tex").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name, text in report_tables.tables(results, stored, study).items():
        (folder / f"{name}.tex").write_text(text, encoding="utf-8")
    judged = pd.concat([results.claims, results.alternatives], ignore_index=True)
    for part, text in part_texts.sections(judged, study).items():
        (folder / f"part_{part}.tex").write_text(text, encoding="utf-8")
    for figure in figures:
        shutil.copy(figure, folder)
    for scale, of_scale in stored.items():
        for figure in of_scale.figures:
            shutil.copy(figure, folder / f"{scale}_{figure.name}")


def _diverged(training):
    """Return condition, seed and first step of every diverged run, from the training table."""
    lost = training[training["diverged"] == 1]
    return lost.groupby(["condition", "seed"])["step"].min().reset_index().to_dict("records")


def main(argv=None):
    """Write the LaTeX bundle from the command line: the text, and beside it the generated files."""
    parser = runtime.parser(__spec__.name, __doc__)
    recorded = ("claims", "sensitivity", "specifications", "alternatives", "theorems", "training")
    for name in ("text", *recorded, "images", "provenance"):
        parser.add_argument(f"--{name}", required=True, help="file to read")
    for name in PER_SEED:
        parser.add_argument(f"--{name}", nargs="?", help="file to read, if the study has this table")
    parser.add_argument("--figures", nargs="+", required=True, help="files to copy (.pdf)")
    parser.add_argument("--stored", nargs="*", default=[], help="<scale>/claims.csv of other scales")
    parser.add_argument("--generated", required=True, help="folder to write")
    parser.add_argument(
        "--registration", type=json.loads, required=True, help="see `study.registration.compared` (JSON)"
    )
    parser.add_argument("--report", required=True, help="file to write (.tex)")
    options = parser.parse_args(argv)
    per_seed = {name: getattr(options, name) for name in PER_SEED}
    accuracies = options.settings["accuracies"]
    results = Results(
        claims=with_units(read_claims(options.claims), accuracies),
        sensitivity=artefacts.read_table(options.sensitivity),
        specifications=artefacts.read_table(options.specifications),
        alternatives=with_units(artefacts.read_table(options.alternatives), accuracies),
        theorems=artefacts.read_table(options.theorems),
        **{name: artefacts.read_table(file) if file else None for name, file in per_seed.items()},
        images=read_json(options.images),
        provenance=read_json(options.provenance),
    )
    diverged = _diverged(artefacts.read_table(options.training))
    stored = {folder.name: read_stored(folder) for folder in (Path(file).parent for file in options.stored)}
    with artefacts.atomic_folder(options.generated) as folder:
        write(
            folder,
            results,
            {
                scale: replace(of_scale, claims=with_units(of_scale.claims, accuracies))
                for scale, of_scale in stored.items()
            },
            study=options.settings | {"diverged": diverged, "registration": options.registration},
            figures=options.figures,
        )
    text = Path(options.text).read_text(encoding="utf-8")
    artefacts.write_recorded(text, options.report, job=runtime.job_of(options))


if __name__ == "__main__":
    runtime.run(main)
