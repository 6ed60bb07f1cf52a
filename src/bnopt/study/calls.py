"""The present call of Snakemake: what another call needs to be about the same study."""

import json
import os
import re
from pathlib import Path

import yaml

# The study's own files.
STUDY = ("config.yaml", "claims.yaml")
# The option whose value is taken as it is written: YAML reads no folder's name as something else.
PATH = "images"
NUMBER = re.compile(r"-?\d+", re.ASCII)


def options(settings, config):
    """Return the words that another call of Snakemake in this folder needs: --configfile and --config.

    settings: Snakemake's own about the configuration; config: the configuration of this call.
    """
    files = [_shown(file) for file in settings.configfiles]
    values = {key: config.get(key, value) for key, value in settings.config.items()}
    pairs = [f"{key}={value if key == PATH else _as_word(value)}" for key, value in values.items()]
    return [
        *(["--configfile", *files] if files else []),
        *(["--replace-workflow-config"] if settings.replace_workflow_config else []),
        *(["--config", *pairs] if pairs else []),
    ]


def restore_words(config, settings):
    """Restore what Snakemake changed in the words after --config: a path is a text, seeds are numbers.

    Snakemake reads images=2018 as a number and drops what follows " #". It reads seeds=[0,1] as texts.
    """
    written = dict(entry.split("=", 1) for entry in settings.config_args or [])
    if PATH in written:
        config[PATH] = written[PATH]
    if isinstance(config.get("seeds"), list):
        config["seeds"] = [int(seed) if NUMBER.fullmatch(str(seed)) else seed for seed in config["seeds"]]


def _shown(file):
    """Return a path relative to this folder, if the file lies in it."""
    file = Path(file).resolve()
    return str(file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file)


def _as_word(value):
    """Return a value as `--config` reads it; a text that YAML takes for a number needs quotes."""
    return (
        value if isinstance(value, str) and _reads_as_text(value) else json.dumps(value, ensure_ascii=False)
    )


def _reads_as_text(value):
    try:
        return yaml.safe_load(value) == value
    except yaml.YAMLError:
        return True


def naming(text, settings):
    """Return the text of an error about the configuration, with the file or option that holds the key.

    text: as `schema.refuse` gives it, which knows the study's own two files only.
    """
    file, _, rest = text.partition(": ")
    key = rest.split(": ")[0].split(" (")[0]
    if file not in STUDY:
        return text
    if key.split(".")[0] in settings.config:
        return f"--config: {rest}"
    own = [] if settings.replace_workflow_config else list(filter(os.path.exists, STUDY))
    held = {given: _held(given, key) for given in [*own, *settings.configfiles]}
    # Of several, the last one counts; the study's own file only if it alone holds most of the key.
    holding = max(reversed(held), key=held.get, default=file)
    return f"{_shown(holding)}: {rest}" if held.get(holding) else text


def _held(file, key):
    """Return how many letters of a key a YAML file holds: names joined by dots, which names may have too."""
    entry, rest = yaml.safe_load(Path(file).read_text(encoding="utf-8")), key
    while isinstance(entry, dict):
        names = [name for name in entry if f"{rest}.".startswith(f"{name}.")]
        if not names:
            break
        longest = max(names, key=lambda name: len(str(name)))
        entry, rest = entry[longest], rest[len(f"{longest}.") :]
    return len(key) - len(rest)
