"""The registration: hashes of everything that decides a verdict, fixed before the scale `paper` has run.

Each part of the study (paper, mechanism, norms) has a hash of its own, which does not depend on the other
parts. docs/registration.md holds them; tools/register.py writes that page. Labels, sources, statements, the
paper's values and the origins of margins do not enter: they are prose.
"""

import hashlib
import itertools

from bnopt import plugins
from bnopt.files import fingerprints
from bnopt.study import image_sources
from bnopt.study.study import RATE_SPREAD, TAU, TRAINING, as_json, tables_of

SCALE = "paper"
PAGE = fingerprints.SOURCE.parent / "docs" / "registration.md"
STOPPING_RULE = "all of these seeds are run; verdicts of fewer seeds are interim and change nothing"
OF_CLAIM = ("condition_a", "condition_b", "expected", "family", "layers", "margin", "quantity")
# What turns tables into one number per seed and judges it; not how files are read and written.
CODE = tuple(
    f"bnopt.{name}" for name in ("claims", "effects", "evidence", "statistics", "summaries", "verdicts")
)
QUANTITIES = "bnopt.quantities."
# The row of the page with the hash of all items together.
ALL = "all"


def content(study, part):
    """Return item -> what decides the verdicts of a part of a study (`study.written_out`).

    claims          name -> quantity, layers, conditions, direction, margin, family
    quantities      those that a claim names
    conditions      those that a claim names, or whose runs `tau` or `rate_spread` need for one
    sizes           of the tasks of these conditions
    probes          table -> settings of the probe of each of these tasks, for the tables that a claim needs;
                    and what `rate_spread` and `tau` are made of
    images          name of the data set, or of the folder; empty if no task needs images
    seeds, stopping rule
    code            module -> fingerprint, without comments and docstrings
    """
    claims = _chosen(study["claims"], {name for name, of in study["part_of"].items() if of == part})
    named = {claim[key] for claim in claims.values() for key in ("condition_a", "condition_b")}
    quantities = _chosen(study["quantities"], {claim["quantity"] for claim in claims.values()})
    tables = {table for quantity in quantities.values() for table in tables_of(quantity)}
    spread = _chosen(study[RATE_SPREAD], named) if RATE_SPREAD in tables else {}
    ranked = study[TAU] if TAU in tables else {}
    # Both are made of runs of conditions that no claim names, and `tau` is made of other tables.
    named |= {*itertools.chain(*spread.values()), *ranked.get("conditions", [])}
    tables |= set(ranked.get("measures", []))
    conditions = _chosen(study["conditions"], named)
    tasks = {condition["task"] for condition in conditions.values()}
    sizes = _chosen(study["sizes"], tasks)
    probes = {table: _chosen(of_task, tasks) for table, of_task in _chosen(study["probes"], tables).items()}
    probes |= _chosen({RATE_SPREAD: spread, TAU: ranked}, tables)
    # A table without a module of its own is summarised as it is. Modules of several tables share helpers.
    own = {f"{QUANTITIES}{table}" for table in {TRAINING, *tables} & set(plugins.names("quantities"))}
    modules = {
        *CODE,
        *(module for module in fingerprints.reached(*own) if module.startswith(QUANTITIES)),
        *(f"bnopt.{table}" for table in tables & {RATE_SPREAD, TAU}),
    }
    return {
        "claims": {name: _chosen(claim, OF_CLAIM) for name, claim in claims.items()},
        "quantities": quantities,
        "conditions": conditions,
        "sizes": sizes,
        "probes": probes,
        "images": image_sources.name(study["images"]) if image_sources.needs(sizes) else "",
        "seeds": study["seeds"],
        "stopping rule": STOPPING_RULE,
        "code": {module: fingerprints.module_hash(module) for module in sorted(modules)},
    }


def _chosen(entries, names):
    return {name: entry for name, entry in entries.items() if name in names}


def hashes(study):
    """Return part -> item -> hash of its content, for the parts with claims; `all` is the hash of the others.

    The order of keys does not matter, that of seeds does.
    """
    judged = [part for part in study["parts"] if part in study["part_of"].values()]
    items = {part: {item: _hash(found) for item, found in content(study, part).items()} for part in judged}
    return {part: _with_all(of_items) for part, of_items in items.items()}


def _with_all(items):
    return items | {ALL: _hash({item: found for item, found in items.items() if item != ALL})}


def _hash(found):
    return hashlib.sha256(as_json(found, ordered=False).encode()).hexdigest()[:16]


def of_families(study):
    """Return family -> hash of the part to which its claims belong."""
    of_parts = hashes(study)
    return {claim["family"]: of_parts[study["part_of"][name]][ALL] for name, claim in study["claims"].items()}


def registered(page=PAGE):
    """Return part -> item -> registered hash, as the table of the page says; {} without a page.

    That of all items follows from the others, so that a change of any cell is a change of it.
    """
    lines = page.read_text(encoding="utf-8").splitlines() if page.exists() else []
    rows = [[cell.strip("` ") for cell in line.strip("|").split("|")] for line in lines if line[:2] == "| "]
    (_, *items), *columns = zip(*rows, strict=False) if rows else [("item",)]
    return {part: _with_all(dict(zip(items, of_items, strict=False))) for part, *of_items in columns}


def compared(study, page=PAGE):
    """Return part -> what the report says: its hash, the registered one, and the items that differ."""
    there = registered(page)
    found = {}
    for part, here in hashes(study).items():
        of_page = there.get(part, {})
        differs = [item for item in here if item != ALL and here[item] != of_page.get(item)]
        found[part] = {"hash": here[ALL], "registered": of_page.get(ALL, ""), "differs": differs}
    return found


def page_of(study):
    """Return the text of the page for the study that is registered, with all its parts."""
    of_parts = hashes(study)
    counts = [f"{list(study['part_of'].values()).count(part)} of `{part}`" for part in of_parts]
    seeds = ", ".join(map(str, study["seeds"]))
    items = next(iter(of_parts.values()))
    rows = [[item, *(f"`{of[item]}`" for of in of_parts.values())] for item in items]
    lines = ["| " + " | ".join(map("{:18}".format, row)) + " |" for row in [["item", *of_parts], *rows]]
    lines.insert(1, "|---" * (1 + len(of_parts)) + "|")
    return HEAD.format(claims=", ".join(counts), seeds=seeds, rule=STOPPING_RULE) + "\n".join(lines) + "\n"


HEAD = """\
# Registration of the scale `paper`

Written by `python tools/register.py`; do not edit. `git log docs/registration.md` shows its changes.

The scale `paper` has not been run. What will decide its verdicts is fixed here, as a hash for each
part of the study. A change of an item changes the hash of every part whose claims use it, and of no
other part. A change of a label, a statement or a comment changes no hash.

- Claims: {claims}; all are in `claims.yaml`
- Seeds: {seeds}
- Stopping rule: {rule}

The last row of the table has the hash of each part, made of the items above it. It does not depend on
which other parts are chosen.

Results with fewer seeds have other hashes. They are interim results, not the registered verdicts,
and nothing may be changed because of them.

Not blind: the deep linear networks of this scale are also those of the scale `deep-linear`, whose
results were known before. Some margins were chosen after prototypes (`margin_from: prototype`). The
claims of the parts `mechanism` and `norms` were written after prototypes: [mechanism.md](mechanism.md)
says which ones, and what they leave open.

In `claims.csv`, the column `registration` has the hash of the part to which the claim belongs, as it
was when the claim was judged. The report says of each part which items differ from the registered
ones. `src/bnopt/study/registration.py` defines the items. The item `claims` has quantities, layers,
conditions, directions, margins and families. The item `code` has the code of summaries, statistics and
verdicts. The code that trains and measures is not an item, nor are the alternatives, which are no
claims; `provenance.json` records the code of every table.

"""
