"""Side stage: one file that tells how every table of a scale came about."""

import json
from pathlib import Path

from bnopt import artefacts, records, runtime

NAME = "provenance.json"


def gather(results, *, conditions, probes, seeds):
    """Return path -> record (`records.describe`) of every table of a study in a folder of results, sorted.

    The folder may hold runs of other conditions and seeds than those of the study: these are left out. So
    are the file that is made here, and fingerprints of single modules: the record beside a table has them.
    """
    results = Path(results)
    found = {}
    for file in sorted(results.rglob(f"*{records.SUFFIX}")):
        table = file.with_name(file.name.removesuffix(records.SUFFIX))
        path = table.relative_to(results)
        hidden, itself = file.name.startswith("."), table == results / NAME
        if table.exists() and not hidden and not itself and _is_of(path.parts, conditions, probes, seeds):
            record = records.read(table)
            found[str(path)] = {k: v for k, v in record.items() if k != "modules"}
    return found


def _is_of(parts, conditions, probes, seeds):
    """Return whether a path is of these runs and probes, or of none."""
    match parts:
        case ("runs", condition, seed, *_):
            return condition in conditions and seed in {f"seed{n}" for n in seeds}
        case ("probes", probe, condition, file):
            return probe in probes and condition in conditions and file in {f"seed{n}.csv" for n in seeds}
    return True


def main(argv=None):
    """Gather the records from the command line."""
    parser = runtime.parser(__spec__.name, __doc__)
    parser.add_argument("--provenance", required=True, help="file to write (.json) about its folder")
    options = parser.parse_args(argv)
    found = gather(Path(options.provenance).parent, **options.settings)
    text = json.dumps(found, indent=1, ensure_ascii=False)
    artefacts.write_recorded(f"{text}\n", options.provenance, made_by=options)


if __name__ == "__main__":
    runtime.run(main)
