"""The configuration, cut into the settings of each job.

Every function takes the whole configuration as read from config.yaml and returns plain values; the
rules pass these on as JSON, so that what a job is given is exactly what is tracked.
"""

import hashlib
import itertools
import json
from functools import cache
from pathlib import Path

from bnopt.formats import PARTS, SOURCE, SUFFIXES
from bnopt.runtime import StudyError

TRAINING = "training"
SPREAD = "rate_spread"
RANDOM_LAYERS = "random_layers"
CHANCE = "chance"
# What of a scale --config may replace.
REPLACEABLE = ("images", "seeds")


def scale_of(config, scale):
    """Return the sizes of a scale; `images` and `seeds` at the top level replace its own."""
    return config["scales"][scale] | {key: config[key] for key in REPLACEABLE if key in config}


def tasks_of(sizes):
    """Return the tasks that a scale has sizes for."""
    return [key for key, value in sizes.items() if isinstance(value, dict)]


def restricted(config, scale):
    """Return the study of the conditions that a scale has sizes for, and of what these allow.

    A scale may have sizes for some tasks alone. Claims stay if both of their conditions do, figures with the
    conditions that are left to them.
    """
    tasks = tasks_of(config["scales"][scale])
    left = {name: entry for name, entry in config["conditions"].items() if entry["task"] in tasks}
    if len(left) == len(config["conditions"]):
        return config
    probes = {
        name: {task: settings for task, settings in of_task.items() if task in tasks}
        for name, of_task in config["probes"].items()
    }
    probes = {name: of_task for name, of_task in probes.items() if of_task}
    spreads = {name: runs for name, runs in config["rate_spread"].items() if set(runs) <= set(left)}
    measured = {TRAINING, *probes, *([SPREAD] if spreads else [])}
    gone = set(config["conditions"]) - set(left)
    judged = {
        section: {
            name: _as_written(claim)
            for name, claim in claims(config, section).items()
            if not gone & {claim["condition_a"], claim["condition_b"]}
            and config["quantities"][claim["quantity"]]["table"] in measured
        }
        for section in ("claims", "alternatives")
    }
    figures = {name: _restricted_figure(entry, left, tasks) for name, entry in config["figures"].items()}
    return (
        config
        | judged
        | {
            "conditions": left,
            "probes": probes,
            "rate_spread": spreads,
            "figures": {name: entry for name, entry in figures.items() if any(entry["tables"].values())},
        }
    )


def _as_written(claim):
    """Return a claim as config.yaml would have it: placeholders are filled in again when it is read."""
    braces = str.maketrans({"{": "{{", "}": "}}"})
    return {key: value.translate(braces) if isinstance(value, str) else value for key, value in claim.items()}


def _restricted_figure(entry, conditions, tasks):
    """Return a figure with these conditions alone, and the layers of these tasks."""
    shown = {
        table: [name for name in names if name in conditions] for table, names in entry["tables"].items()
    }
    shown = {table: names for table, names in shown.items() if names or table == RANDOM_LAYERS}
    layers = {task: names for task, names in entry.get("layers", {}).items() if task in tasks}
    return entry | {"tables": shown} | ({"layers": layers} if "layers" in entry else {})


def images_settings(config, scale):
    """Return the settings of the job that prepares the images of a scale.

    For a folder, the job is told how large and how many the images must be; named data sets are checked
    beforehand.
    """
    sizes = scale_of(config, scale)
    source = sizes["images"]
    if source in ("digits", "cifar10"):
        return {"images": source}
    settings = {"images": str(Path(source).expanduser())}
    if "vgg" in sizes:
        settings["least_side"] = 2 ** sizes["vgg"]["net"]["convolutions"].count("M")
        settings["least_number"] = sizes["vgg"]["batch_size"]
    return settings


def images_content(config, scale):
    """Return a fingerprint of what is read of a folder of images, by names and sizes: a change is noticed."""
    source = images_settings(config, scale)["images"]
    return _listing(source) if source not in ("digits", "cifar10") else source


@cache
def _listing(folder):
    root = Path(folder)
    images = (file for part in PARTS for file in root.glob(f"{part}/*/*"))
    read = [root / SOURCE, *(file for file in images if file.suffix.lower() in SUFFIXES)]
    listing = sorted((str(file.relative_to(root)), file.stat().st_size) for file in read if file.is_file())
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()[:16]


def net_settings(config, scale, condition):
    """Return what makes a run: its task, norm, sizes and learning rate."""
    chosen = config["conditions"][condition]
    sizes = scale_of(config, scale)[chosen["task"]]
    return {key: chosen[key] for key in ("task", "norm", "lr")} | {
        key: sizes[key] for key in ("net", "batch_size")
    }


def train_settings(config, scale, condition):
    """Return the settings of a training job; it keeps snapshots only if some table needs them."""
    sizes = scale_of(config, scale)[config["conditions"][condition]["task"]]
    probed = any(condition in needs for t, needs in tables(config).items() if t in config["probes"])
    settings = net_settings(config, scale, condition) | {"tf32": sizes.get("tf32", False)}
    return settings | {
        "steps": sizes["steps"],
        "test_every": sizes["test_every"],
        "snapshot_every": sizes["snapshot_every"] if probed else 0,
    }


def probe_settings(config, scale, condition, probe):
    """Return the settings of a probing job.

    Layers named as in the paper become those of the net, and `every`, in snapshots, becomes steps.
    """
    task = config["conditions"][condition]["task"]
    settings = dict(config["probes"][probe][task])
    if "layers" in settings:
        numbers = scale_of(config, scale)[task]["layers"]
        settings["layers"] = {name: numbers[name] for name in settings["layers"]}
    if "every" in settings:
        settings["every"] *= scale_of(config, scale)[task]["snapshot_every"]
    return net_settings(config, scale, condition) | {"probe": probe, "settings": settings}


def figure_settings(config, scale, figure):
    """Return the settings of a drawing job: per table its conditions, what they are, and the seeds."""
    entry = config["figures"][figure]
    shown = dict.fromkeys(c for names in entry["tables"].values() for c in names)
    settings = {
        "tables": entry["tables"],
        "seeds": scale_of(config, scale)["seeds"],
        "conditions": {name: config["conditions"][name] for name in shown},
    }
    if "layers" in entry:
        sizes = scale_of(config, scale)
        settings["layers"] = {
            task: {name: sizes[task]["layers"][name] for name in names}
            for task, names in entry["layers"].items()
        }
    return settings


def runs_settings(config, scale, table):
    """Return the runs of which a table is needed: conditions and seeds."""
    return {"conditions": tables(config).get(table, []), "seeds": scale_of(config, scale)["seeds"]}


def claims_settings(config, section):
    """Return the settings of a judging job: tables, all claims of a section, all quantities with defaults."""
    quantities = {
        name: {"floor": 0.0, "until_accuracy": None, "sensitivity": []} | quantity
        for name, quantity in config["quantities"].items()
    }
    return {"tables": list(tables(config)), "claims": claims(config, section), "quantities": quantities}


def gather_settings(config, scale):
    """Return what tells the tables of a study from others in its folder: conditions, probes and seeds."""
    seeds = scale_of(config, scale)["seeds"]
    return {"conditions": list(config["conditions"]), "probes": list(config["probes"]), "seeds": seeds}


def report_settings(config, scale):
    """Return what the report says of the study: scale, sizes, conditions and captions."""
    sizes = scale_of(config, scale)
    return {
        "scale": scale,
        "images": sizes["images"],
        "seeds": sizes["seeds"],
        "tasks": {task: sizes[task] for task in tasks_of(sizes)},
        "conditions": config["conditions"],
        "captions": {name: figure["caption"] for name, figure in config["figures"].items()},
    }


def claims(config, section):
    """Return the entries of `claims` or `alternatives` by name.

    An entry with `for` stands for one claim per combination of values.
    """
    rows = {}
    for name, entry in config[section].items():
        choices = entry.get("for", {})
        body = {key: value for key, value in entry.items() if key != "for"}
        for values in itertools.product(*choices.values()):
            names = dict(zip(choices, values, strict=True))
            row_name = _fill(name, names, f"{section}.{name}")
            if row_name in rows:
                wanted = " and ".join(f"{{{choice}}}" for choice in choices) or "no other claim's name"
                raise StudyError(
                    f"config.yaml: {section}.{name}: expected a name of its own for every claim, here with "
                    f"{wanted}; found {row_name} twice"
                )
            rows[row_name] = {"layers": [], "paper_value": ""} | _fill(body, names, f"{section}.{name}")
    return rows


def _fill(value, names, place):
    """Replace {placeholders} in every text of a nested value."""
    if isinstance(value, str):
        try:
            return value.format(**names)
        except (KeyError, ValueError, IndexError) as error:
            raise StudyError(
                f"config.yaml: {place}: expected in braces only {', '.join(names) or 'nothing'}, the "
                f"placeholders under `for`; found {value!r}"
            ) from error
    if isinstance(value, list):
        return [_fill(item, names, place) for item in value]
    if isinstance(value, dict):
        return {key: _fill(item, names, f"{place}.{key}") for key, item in value.items()}
    return value


def tables(config):
    """Return table -> conditions needed: of `training` all, of a probe those that figures and claims name."""
    needed = {TRAINING: list(config["conditions"])}
    for figure in config["figures"].values():
        for table, conditions in figure["tables"].items():
            if table != RANDOM_LAYERS:
                needed.setdefault(table, []).extend(conditions)
    for claim in [*claims(config, "claims").values(), *claims(config, "alternatives").values()]:
        table = config["quantities"][claim["quantity"]]["table"]
        pair = (claim["condition_a"], claim["condition_b"])
        needed.setdefault(table, []).extend(c for c in pair if c in config["conditions"])
    order = list(config["conditions"])
    return {table: sorted(set(names), key=order.index) for table, names in needed.items()}


def as_json(settings, *, ordered):
    """Return settings as one canonical JSON text: equal settings are equal texts.

    ordered: whether the order of the keys has a meaning, as that of the conditions in a figure has.
    """
    return json.dumps(settings, sort_keys=not ordered, ensure_ascii=False, allow_nan=False)
