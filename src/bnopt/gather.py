"""Side stage: one file that tells how every table of a scale came about."""

import json
from pathlib import Path

from bnopt import artefacts, records, runtime

NAME = "provenance.json"


def gather(results):
    """Return path -> record (`records.describe`) of every table in a folder of results but itself, sorted.

    Fingerprints of single modules are left out; the record beside the table has them.
    """
    results = Path(results)
    found = {}
    for file in sorted(results.rglob(f"*{records.SUFFIX}")):
        table = file.with_name(file.name.removesuffix(records.SUFFIX))
        hidden, itself = file.name.startswith("."), table == results / NAME
        if table.exists() and not hidden and not itself:
            record = records.read(table)
            found[str(table.relative_to(results))] = {k: v for k, v in record.items() if k != "modules"}
    return found


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
