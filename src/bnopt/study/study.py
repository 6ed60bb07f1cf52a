"""The study of one scale, written out in full, and the settings of each job.

Everything here is plain values. The rules pass settings on as JSON, so Snakemake tracks exactly what
a job receives.
"""

import itertools
import json

from bnopt.study import image_sources, names, schema

# The part that every study has: what the paper lists.
PAPER = "paper"
TRAINING = "training"
RATE_SPREAD = "rate_spread"
RANDOM_LAYERS = "random_layers"
TAU = "tau"
# Stands for all conditions that the table `tau` ranks.
ALL_NORMS = "all_norms"
CHANCE = "chance"
# Columns of the training table that are shares of samples.
ACCURACIES = ("accuracy", "test_accuracy")
# The tables with a row per step size.
STEP_SIZES = ("along_gradient", "random_directions")
# The sections whose entries belong to a part; the entries of `claims` are one level deeper.
OF_A_PART = ("conditions", "figures", "alternatives")
# The texts of a claim in which values are in words.
FOR_READERS = ("label", "statement")
ABOUT_CURVES = (
    "its effect under every combination of summary, steps and step sizes, in order. Shaded: the effects that "
    "support it. Ring: the combination by which it is judged. Hollow squares: others with the same effects."
)
# The keys of a scale that --config may replace.
REPLACEABLE = ("images", "seeds")


def written_out(config):
    """Return the study of the chosen scale in full, given a whole, valid configuration.

    scale, images, seeds, keep_snapshots    of the chosen scale
    parts                                   the chosen parts; what belongs to another part is left out
    sizes                                   task -> its sizes, for the tasks of the scale
    conditions, probes, rate_spread,        as configured, with defaults filled in; entries that need
    random_layers, figures, quantities      a task without sizes at this scale are left out
    claims, alternatives                    name -> claim; placeholders are filled in
    headline                                claim with a specification curve -> step of the argument
    part_of                                 name of a claim -> its part; no claim has it as a setting
    tau                                     what the table `tau` ranks, or empty
    tables                                  name -> the conditions for which the table is needed
    """
    config = schema.with_defaults(config)
    every_condition = set(config["conditions"])
    part_of = {name: claim["part"] for name, claim in claims(config, "claims").items()}
    config = _of_parts(config)
    scale = config["scales"][config["scale"]]
    sizes = {task: scale[task] for task in tasks_of(scale)}
    conditions = {name: c for name, c in config["conditions"].items() if c["task"] in sizes}
    probes = {name: _of_tasks(settings, sizes) for name, settings in config["probes"].items()}
    figures = {name: _of_conditions(entry, conditions, sizes) for name, entry in config["figures"].items()}
    spreads = {name: runs for name, runs in config["rate_spread"].items() if set(runs) <= set(conditions)}
    study = {
        "scale": config["scale"],
        "parts": config["parts"],
        **{key: config.get(key, scale[key]) for key in REPLACEABLE},
        "keep_snapshots": scale["keep_snapshots"],
        "sizes": sizes,
        "conditions": conditions,
        "probes": {name: of_task for name, of_task in probes.items() if of_task},
        "rate_spread": spreads,
        "random_layers": config["random_layers"],
        "tau": _ranked(config, conditions),
        "figures": {
            name: entry for name, entry in figures.items() if _has_tables(entry, config["figures"][name])
        },
        "quantities": {name: dict(sorted(of.items())) for name, of in config["quantities"].items()},
    }
    gone = every_condition - set(conditions)
    measured = {TRAINING, *study["probes"], *([RATE_SPREAD] if spreads else [])}
    measured |= {TAU} if study["tau"] else set()
    for section in ("claims", "alternatives"):
        study[section] = {
            name: claim
            for name, claim in claims(config, section).items()
            if not gone & {claim["condition_a"], claim["condition_b"]}
            and measured.issuperset(tables_of(config["quantities"][claim["quantity"]]))
        }
    steps = {name: claim.pop("headline") for name, claim in study["claims"].items()}
    headline = {name: step for name, step in steps.items() if step}
    part_of = {name: part_of[name] for name in study["claims"]}
    return study | {"tables": _tables(study), "headline": headline, "part_of": part_of}


def parts_of(config):
    """Return the chosen parts of a configuration in the schema's order; `all` stands for all of them."""
    return [part for part in schema.parts() if config["parts"] == "all" or part in config["parts"]]


def _of_parts(config):
    """Return a configuration reduced to its chosen parts, without the key `part`: no job is told its part."""
    chosen = parts_of(config)

    def kept(entries):
        return {
            name: {key: value for key, value in entry.items() if key != "part"}
            for name, entry in entries.items()
            if entry["part"] in chosen
        }

    reduced = {key: kept(config[key]) for key in OF_A_PART}
    families = {family: kept(entries) for family, entries in config["claims"].items()}
    return config | reduced | {"parts": chosen, "claims": families}


def _ranked(config, conditions):
    """Return the entry `tau` if its part is chosen and the study has its conditions, else nothing."""
    entry = config.get(TAU, {})
    if not entry or entry["part"] not in config["parts"] or not set(entry["conditions"]) <= set(conditions):
        return {}
    return {key: value for key, value in entry.items() if key != "part"}


def tasks_of(scale):
    """Return the tasks that a scale has sizes for."""
    return [key for key, value in scale.items() if isinstance(value, dict)]


def tables_of(quantity):
    """Return the tables of which a quantity is computed: its own, and the one by which it is multiplied."""
    return [quantity["table"], *([quantity["times"]["table"]] if "times" in quantity else [])]


def _of_tasks(of_task, tasks):
    return {task: settings for task, settings in of_task.items() if task in tasks}


def _of_conditions(figure, conditions, tasks):
    """Return a figure reduced to these conditions and to the layers of these tasks."""
    shown = {
        table: [name for name in names if name in conditions] for table, names in figure["tables"].items()
    }
    figure = figure | {"tables": {t: names for t, names in shown.items() if names or t == RANDOM_LAYERS}}
    return figure | ({"layers": _of_tasks(figure["layers"], tasks)} if "layers" in figure else {})


def _has_tables(figure, whole):
    """Return whether a figure has something to show; of one about random layers alone nothing is left out."""
    return any(figure["tables"].values()) or figure["tables"] == whole["tables"]


def _tables(study):
    """Return table -> conditions: for `training` all, for other tables those that figures or claims name."""
    needed = {TRAINING: list(study["conditions"])}
    for figure in study["figures"].values():
        for table, conditions in figure["tables"].items():
            if table != RANDOM_LAYERS:
                needed.setdefault(table, []).extend(conditions)
    for claim in [*study["claims"].values(), *study["alternatives"].values()]:
        pair = [c for c in (claim["condition_a"], claim["condition_b"]) if c in study["conditions"]]
        for table in tables_of(study["quantities"][claim["quantity"]]):
            needed.setdefault(table, []).extend(pair)
    if TAU in needed:
        for table in study["tau"]["measures"]:
            needed.setdefault(table, []).extend(study["tau"]["conditions"])
        needed[TAU] = [ALL_NORMS]
    order = [*study["conditions"], ALL_NORMS]
    return {table: sorted(set(names), key=order.index) for table, names in needed.items()}


# -- claims ---------------------------------------------------------------------------------------


def claims(config, section):
    """Return name -> claim of `claims` or `alternatives`, from a configuration with its defaults.

    An entry with `for` gives one claim per combination of values. Every claim gets its family (the
    alternatives form one) and a margin: by default 0, or the factor 1 for a log ratio. In texts for readers
    the values are in words (`names`), and {lr}, {condition_a} and {condition_b} describe the conditions.
    """
    families = config["claims"] if section == "claims" else {section: config["alternatives"]}
    rows = {}
    for family, entries in families.items():
        for name, entry in entries.items():
            key = f"{section}.{family}.{name}" if section == "claims" else f"{section}.{name}"
            for row_name, row in _expanded(name, entry, key, config.get("conditions", {})):
                if row_name in rows:
                    wanted = " and ".join(f"{{{word}}}" for word in entry["for"]) or "no other claim's name"
                    expected = f"a name of its own for every claim, here with {wanted}"
                    schema.refuse(key, expected, f"{row_name} twice")
                row = _with_margin(row | {"family": family}, config["quantities"])
                # Sorted: the order in which someone wrote the keys is no reason to judge again.
                rows[row_name] = dict(sorted(row.items()))
    return rows


def _expanded(name, entry, key, conditions):
    """Yield name and body of each claim that an entry gives."""
    choices = entry["for"]
    body = {k: value for k, value in entry.items() if k not in ("for", *FOR_READERS)}
    texts = {k: entry[k] for k in FOR_READERS if k in entry}
    for values in itertools.product(*choices.values()):
        placeholders = dict(zip(choices, values, strict=True))
        claim = _fill(body, placeholders, key)
        in_words = {k: names.words(value) for k, value in placeholders.items()}
        in_words |= described(claim, conditions)
        yield _fill(name, placeholders, key), claim | _fill(texts, in_words, key)


def described(claim, conditions):
    """Return what texts may say in braces of a claim's conditions: each in words, and the rate of the first.

    A condition that the configuration does not have, chance, or a number, stays as it is.
    """
    known = {key: conditions.get(claim[key]) for key in ("condition_a", "condition_b") if key in claim}
    found = {key: names.condition(of) if of else str(claim[key]) for key, of in known.items()}
    return found | ({"lr": names.number(known["condition_a"]["lr"])} if known.get("condition_a") else {})


def _with_margin(claim, quantities):
    """Return a claim with a margin and a source; the source of an alternative is the claim it varies."""
    of_claim = quantities.get(claim["quantity"], {"compare": "difference"})
    none = 1 if of_claim["compare"] == "log_ratio" else 0
    margin = {"margin": claim.get("margin", none)}
    origin = {"margin_from": claim["margin_from"] if "margin" in claim else ""}
    return {"source": claim.get("varies")} | claim | margin | origin


def _fill(value, words, key):
    """Replace {placeholders} in every text of a nested value."""
    if isinstance(value, str):
        try:
            return value.format(**words)
        except (KeyError, ValueError, IndexError, AttributeError, TypeError):
            placeholders = ", ".join(words) or "nothing"
            expected = f"in braces only {placeholders}, the placeholders there"
            schema.refuse(key, expected, repr(value))
    if isinstance(value, list):
        return [_fill(item, words, key) for item in value]
    if isinstance(value, dict):
        return {name: _fill(item, words, f"{key}.{name}") for name, item in value.items()}
    return value


# -- settings of a job, from a study written out --------------------------------------------------


def net_settings(study, condition):
    """Return the settings that define a run: task, norm, learning rate, net and batch size.

    `initial_scale` becomes a part of the net if it is not 1, so conditions without it keep their settings.
    """
    chosen = study["conditions"][condition]
    sizes = study["sizes"][chosen["task"]]
    settings = {key: chosen[key] for key in ("task", "norm", "lr")} | {
        key: sizes[key] for key in ("net", "batch_size")
    }
    if (scale := chosen.get("initial_scale", 1)) != 1:
        settings["net"] = sizes["net"] | {"initial_scale": scale}
    return settings


def train_settings(study, condition):
    """Return the settings of a training job; it writes snapshots only if a probe needs them.

    `warmup` is one of them only where the condition has it: others keep their settings.
    """
    chosen = study["conditions"][condition]
    sizes = study["sizes"][chosen["task"]]
    probed = any(condition in needs for table, needs in study["tables"].items() if table in study["probes"])
    return net_settings(study, condition) | {
        "tf32": sizes["tf32"],
        "steps": sizes["steps"],
        "test_every": sizes["test_every"],
        "snapshot_every": sizes["snapshot_every"] if probed else 0,
        **({"warmup": chosen["warmup"]} if "warmup" in chosen else {}),
    }


def probe_settings(study, condition, probe):
    """Return the settings of a probing job.

    The paper's names of layers are mapped to their numbers in the net. `every` is converted from
    snapshots to steps.
    """
    task = study["conditions"][condition]["task"]
    sizes = study["sizes"][task]
    settings = dict(study["probes"][probe][task])
    if "layers" in settings:
        settings["layers"] = {name: sizes["layers"][name] for name in settings["layers"]}
    if "every" in settings:
        settings["every"] *= sizes["snapshot_every"]
    return net_settings(study, condition) | {"probe": probe, "settings": settings}


def figure_settings(study, figure):
    """Return the settings of a drawing job: its tables, the entries of their conditions, and the seeds."""
    entry = study["figures"][figure]
    shown = dict.fromkeys(c for names in entry["tables"].values() for c in names)
    settings = {
        "tables": entry["tables"],
        "seeds": study["seeds"],
        "conditions": {name: study["conditions"][name] for name in shown},
    }
    if "layers" in entry:
        settings["layers"] = {
            task: {name: study["sizes"][task]["layers"][name] for name in names}
            for task, names in entry["layers"].items()
        }
    return settings


def runs_settings(study, table):
    """Return the conditions and seeds of the runs for which a table is needed."""
    return {"conditions": study["tables"].get(table, []), "seeds": study["seeds"]}


def claims_settings(study, section):
    """Return the settings of a judging job: all tables, the claims of a section, and their quantities."""
    used = {claim["quantity"] for claim in study[section].values()}
    return {
        "tables": list(study["tables"]),
        "claims": study[section],
        "quantities": {name: quantity for name, quantity in study["quantities"].items() if name in used},
    }


def specifications_settings(study):
    """Return the settings of the job that judges the headline claims under every combination of choices.

    grids: table with a row per step size -> the conditions whose runs are read
    """
    claims = {name: study["claims"][name] for name in study["headline"]}
    quantities = {claim["quantity"]: study["quantities"][claim["quantity"]] for claim in claims.values()}
    grids = {}
    for claim in claims.values():
        table, pair = quantities[claim["quantity"]]["table"], (claim["condition_a"], claim["condition_b"])
        if table in STEP_SIZES:
            grids.setdefault(table, {}).update({c: None for c in pair if c in study["conditions"]})
    tables = itertools.chain(*map(tables_of, quantities.values()))
    return {
        "tables": list(dict.fromkeys([TRAINING, *tables])),
        "grids": {table: list(conditions) for table, conditions in grids.items()},
        "seeds": study["seeds"],
        "claims": claims,
        "quantities": quantities,
        "choices": {name: choices(quantity) for name, quantity in quantities.items()},
    }


def choices(quantity):
    """Return the choices of a specification: summary, steps and grid -> names, the registered one first.

    A geometric mean needs positive numbers, so a quantity compared by differences has none. Training
    curves are not compared at equal loss, which would fix what they show. Only tables with a row per step
    size have a choice of the grid.
    """
    summaries = ["mean", "median"]
    summaries += ["geometric_mean"] if quantity["compare"] == "log_ratio" else []
    summaries += ["equal_loss"] if quantity["table"] != TRAINING else []
    steps = ["all", "until_converged", "first_half", "second_half"]
    registered = (quantity["summary"], "until_converged" if quantity["until_accuracy"] else "all")
    return {
        "summary": sorted(summaries, key=lambda name: name != registered[0]),
        "steps": sorted(steps, key=lambda name: name != registered[1]),
        "grid": ["all", "up_to_lr", "lr"] if quantity["table"] in STEP_SIZES else ["all"],
    }


def unit(quantity):
    """Return the unit of effects as readers see it: ratio, points (of a per cent) or difference."""
    if quantity["compare"] == "log_ratio":
        return "ratio"
    return "points" if quantity["column"] in ACCURACIES else "difference"


def units(study):
    """Return claim -> the unit of its effect."""
    return {name: unit(study["quantities"][claim["quantity"]]) for name, claim in study["claims"].items()}


def accuracies(study):
    """Return the quantities whose differences readers see as percentage points."""
    return [name for name, quantity in study["quantities"].items() if unit(quantity) == "points"]


def gather_settings(study):
    """Return the settings of the gathering job: table -> conditions, and the seeds."""
    return {"tables": study["tables"], "seeds": study["seeds"]}


def report_settings(study):
    """Return the facts about the study that the report prints; `images` is empty if no task needs images.

    accuracies: the quantities whose differences are shown as percentage points
    """
    return {
        "scale": study["scale"],
        "images": image_sources.name(study["images"]) if image_sources.needs(study["sizes"]) else "",
        "seeds": study["seeds"],
        "tasks": study["sizes"],
        "conditions": study["conditions"],
        "captions": {name: figure["caption"] for name, figure in study["figures"].items()},
        "headline": list(study["headline"]),
        "accuracies": accuracies(study),
    }


def page_settings(study):
    """Return what the page of claims shows of the study, with the task and the words of each condition.

    headline: claim with a specification curve -> step of the paper's argument
    accuracies: the quantities whose differences are shown as percentage points
    parts: claim -> the part of the study to which it belongs, if the study has parts beyond the paper
    """
    about = report_settings(study)
    return {
        **{key: about[key] for key in ("scale", "images", "seeds", "accuracies")},
        "headline": study["headline"],
        "captions": about["captions"] | _captions_of_curves(study),
        "conditions": {name: names.run(condition) for name, condition in study["conditions"].items()},
        "tasks": {name: condition["task"] for name, condition in study["conditions"].items()}
        | _of_all_norms(study),
        "parts": study["part_of"] if set(study["parts"]) - {PAPER} else {},
    }


def _of_all_norms(study):
    """Return the task of the pseudo-condition of the rank correlations, if the study has it."""
    ranked = study["tau"]
    return {ALL_NORMS: study["conditions"][ranked["reference"]]["task"]} if ranked else {}


def _captions_of_curves(study):
    """Return the name of the figure with each specification curve -> its caption."""
    return {
        f"specification_{name}": f"{study['claims'][name]['label']}: {ABOUT_CURVES}"
        for name in study["headline"]
    }


def as_json(settings, *, ordered):
    """Return settings as canonical JSON: equal settings give equal texts.

    ordered: whether the order of keys matters, as it does for the conditions of a figure.
    """
    return json.dumps(settings, sort_keys=not ordered, ensure_ascii=False, allow_nan=False)
