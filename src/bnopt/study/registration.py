"""The registration: a hash of everything that decides a verdict, fixed before the scale `paper` has run.

docs/registration.md holds it; tools/register.py writes that page. Labels, sources, statements, the paper's
values and the origins of margins do not enter: they are prose.
"""

import hashlib
import re

from bnopt import plugins
from bnopt.files import fingerprints
from bnopt.study import image_sources
from bnopt.study.study import RATE_SPREAD, TAU, TRAINING, as_json, tables_of

SCALE = "paper"
PAGE = fingerprints.SOURCE.parent / "docs" / "registration.md"
STOPPING_RULE = "all of these seeds are run and judged once; no claim is judged before"
OF_CLAIM = ("condition_a", "condition_b", "expected", "family", "layers", "margin", "quantity")
# What turns tables into one number per seed and judges it; not how files are read and written.
CODE = tuple(
    f"bnopt.{name}" for name in ("claims", "effects", "evidence", "statistics", "summaries", "verdicts")
)


def content(study):
    """Return part -> what decides the verdicts of a study that is written out (`study.written_out`).

    claims          name -> quantity, layers, conditions, direction, margin, family
    quantities      those that a claim names
    conditions      those that a claim names or that `tau` ranks for one
    sizes           of the tasks of these conditions
    probes          table -> settings of the probe of each of these tasks, for the tables that a claim needs;
                    and what `rate_spread` and `tau` are made of
    images          name of the data set, or of the folder; empty if no task needs images
    seeds, stopping rule
    code            module -> fingerprint, without comments and docstrings
    """
    claims = study["claims"].values()
    named = {claim[key] for claim in claims for key in ("condition_a", "condition_b")}
    quantities = {claim["quantity"] for claim in claims}
    tables = {table for name in quantities for table in tables_of(study["quantities"][name])}
    conditions = _chosen(study["conditions"], named)
    # `tau` is made of other tables and ranks conditions that no claim names.
    ranked = {TAU: study[TAU]} if TAU in tables else {}
    for entry in ranked.values():
        conditions |= _chosen(study["conditions"], entry["conditions"])
        tables |= set(entry["measures"])
    tasks = {condition["task"] for condition in conditions.values()}
    sizes = _chosen(study["sizes"], tasks)
    spread = {RATE_SPREAD: study["rate_spread"]} if RATE_SPREAD in tables else {}
    probes = {table: _chosen(of_task, tasks) for table, of_task in _chosen(study["probes"], tables).items()}
    # A table without a module of its own is summarised as it is.
    own = {TRAINING, *tables} & set(plugins.names("quantities"))
    modules = {
        *CODE,
        *(f"bnopt.quantities.{table}" for table in own),
        *({"bnopt.tau"} if TAU in tables else ()),
    }
    return {
        "claims": {name: _chosen(claim, OF_CLAIM) for name, claim in study["claims"].items()},
        "quantities": _chosen(study["quantities"], quantities),
        "conditions": conditions,
        "sizes": sizes,
        "probes": probes | spread | ranked,
        "images": image_sources.name(study["images"]) if image_sources.needs(sizes) else "",
        "seeds": study["seeds"],
        "stopping rule": STOPPING_RULE,
        "code": {module: fingerprints.module_hash(module) for module in sorted(modules)},
    }


def _chosen(entries, names):
    return {name: entry for name, entry in entries.items() if name in names}


def parts(study):
    """Return part -> hash of its content. The order of keys does not matter, that of seeds does."""
    return {part: _hash(as_json(found, ordered=False)) for part, found in content(study).items()}


def of_parts(hashes):
    """Return the one hash of a study, from those of its parts."""
    return _hash(as_json(hashes, ordered=False))


def _hash(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def registered(page=PAGE):
    """Return part -> registered hash, as the table of the page says; {} without a page."""
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    return dict(re.findall(r"^\| ([a-z ]+?) +\| `([0-9a-f]{16})` \|$", text, flags=re.MULTILINE))


def compared(study, page=PAGE):
    """Return what the report says: the hash of the study, the registered one, and the parts that differ."""
    here, there = parts(study), registered(page)
    return {
        "hash": of_parts(here),
        "registered": of_parts(there) if there else "",
        "differs": [part for part in here if here[part] != there.get(part)],
    }


def page_of(study):
    """Return the text of the page for the study that is registered."""
    hashes = parts(study)
    rows = "".join(f"| {part:13} | `{found}` |\n" for part, found in hashes.items())
    seeds = ", ".join(map(str, study["seeds"]))
    text = HEAD.format(claims=len(study["claims"]), seeds=seeds, rule=STOPPING_RULE, hash=of_parts(hashes))
    return text + rows


HEAD = """\
# Registration of the scale `paper`

Written by `python tools/register.py`; do not edit. `git log docs/registration.md` shows its changes.

The scale `paper` has not been run. What will decide its verdicts is fixed here, as a hash. A change
of any part below changes the hash; a change of a label, a statement or a comment does not.

- Hash: `{hash}`
- Claims: {claims}, in `claims.yaml`
- Seeds: {seeds}
- Stopping rule: {rule}

Results with fewer seeds have another hash. They are interim results, not the registered verdicts,
and nothing may be changed because of them.

Not blind: the deep linear networks of this scale are also those of the scale `deep-linear`, whose
results were known before. Some margins were chosen after prototypes (`margin_from: prototype`).

Every `claims.csv` has the hash by which it was judged, in the column `registration`. The report says
which parts differ from the registered ones. `src/bnopt/study/registration.py` defines the parts. The
part `claims` has quantities, layers, conditions, directions, margins and families. The part `code` has
the code of summaries, statistics and verdicts. The code that trains and measures is not part of it,
nor are the alternatives, which are no claims; `provenance.json` records the code of every table.

| part          | hash               |
|---------------|--------------------|
"""
