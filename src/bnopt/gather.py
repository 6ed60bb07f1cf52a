"""Side stage: gather the records of all tables of a scale in one file."""

import json
from pathlib import Path

from bnopt import runtime
from bnopt.files import artefacts, records

# The tables of verdicts, in the folder of statistics.
JUDGED = {
    f"{of}{more}.csv" for of in ("claims", "alternatives") for more in ("", "_sensitivity", "_per_seed")
}


def gather(results, *, tables, seeds):
    """Return path -> record (`records.describe`) of every table of a study, sorted by path.

    results: the folder of results; tables: table -> the conditions for which the study needs it.
    Tables of other conditions and seeds, which the folder may also hold, are left out. So are copies that
    an editor or a synchronisation left, figures and reports; a line says how many. The fingerprints of
    single modules stay in the record beside each table.
    """
    results = Path(results)
    found, others = {}, []
    for file in sorted(results.rglob(f"*{records.SUFFIX}")):
        table = file.with_name(file.name.removesuffix(records.SUFFIX))
        path = table.relative_to(results)
        if not _belongs(path.parts, tables, seeds):
            others.append(str(path))
        elif table.exists():
            record = records.read(table)
            found[str(path)] = {k: v for k, v in record.items() if k != "modules"}
    if others:
        print(f"ignored {len(others)} other files with a record: {', '.join(others[:5])}")
    return found


def _belongs(path, tables, seeds):
    """Return whether a path is a table of this study."""
    match path:
        case ("runs", condition, seed, "training.csv"):
            return condition in tables["training"] and seed in {f"seed{n}" for n in seeds}
        case ("probes", table, condition, file):
            return condition in tables.get(table, []) and file in {f"seed{n}.csv" for n in seeds}
        case ("statistics", file):
            over_seeds = {f"{table}_{of}.csv" for table in tables for of in ("per_seed", "over_seeds")}
            return file in over_seeds | JUDGED | {"specifications.csv", "theorems.csv"}
    return path in (("data", "images.json"), ("theorems", "random_layers.csv"))


def main(argv=None):
    """Gather the records from the command line."""
    parser = runtime.parser(__spec__.name, __doc__)
    parser.add_argument("--provenance", required=True, help="file to write (.json) about its folder")
    options = parser.parse_args(argv)
    job = runtime.job_of(options)
    found = gather(Path(options.provenance).parent, **job.settings)
    text = json.dumps(found, indent=1, ensure_ascii=False)
    artefacts.write_recorded(f"{text}\n", options.provenance, job=job)


if __name__ == "__main__":
    runtime.run(main)
