"""How a result came about: a record beside it, with the checksum against which it is read.

The record of training.csv is training.csv.provenance.json.
"""

import datetime
import hashlib
import json
import os
import platform
import shlex
import sys
import time
from dataclasses import asdict
from pathlib import Path

from bnopt import plugins
from bnopt.files import fingerprints
from bnopt.runtime import StudyError

SUFFIX = ".provenance.json"
STARTED = time.time()
PACKAGES = ("numpy", "pandas", "scipy", "sklearn", "torch", "torchvision")


def of(path):
    """Return the path of the record of a file."""
    return Path(f"{path}{SUFFIX}")


def describe(content, job):
    """Return the record of a file with this content.

    job: the `runtime.Job` that writes it, or None outside of a stage.
    sha256               of the file
    stage, settings      what made it, and the settings it was given
    code, modules        the fingerprint Snakemake compares, and of each module that it covers
    commit               of the working copy, "+ changes" if it had any; "unknown" without git
    versions, hardware   of the packages that were loaded, and of the machine
    started, seconds     when this module was imported (UTC), and how many seconds later the record
                         was written
    """
    record = {"sha256": hashlib.sha256(content).hexdigest()}
    if job is not None:
        record |= {**asdict(job), "modules": modules(job.stage)}
    return record | {
        "commit": os.environ.get("BNOPT_COMMIT", "unknown"),
        "versions": {"python": platform.python_version()}
        | {name: sys.modules[name].__version__ for name in PACKAGES if name in sys.modules},
        "hardware": hardware(),
        "started": datetime.datetime.fromtimestamp(STARTED, datetime.UTC).isoformat(timespec="seconds"),
        "seconds": round(time.time() - STARTED, 3),
    }


def modules(stage):
    """Return name -> fingerprint of the modules of a stage and of the plug-ins it has loaded."""
    reached = fingerprints.reached(stage, *plugins.loaded())
    return {module: fingerprints.module_hash(module) for module in reached}


def hardware():
    """Return what the results and their seconds can depend on: processor, cores, GPU."""
    torch = sys.modules.get("torch")
    on_gpu = torch is not None and torch.cuda.is_initialized()
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if on_gpu else None,
    }


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def read(path):
    """Return the record of a file; raise StudyError if it is missing or damaged."""
    try:
        record = json.loads(of(path).read_text(encoding="utf-8"))
        if not isinstance(record["sha256"], str):
            raise TypeError
    except FileNotFoundError as error:
        raise damaged(path, f"expected its record {of(path).name} beside it, found none") from error
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(path, f"expected its record {of(path).name} whole, found it damaged") from error
    return record


def verify(path, content):
    """Raise StudyError unless `content` is what the record of the file `path` tells of."""
    if hashlib.sha256(content).hexdigest() != read(path)["sha256"]:
        raise damaged(path, "expected the content its record tells of, found it altered or truncated")


def damaged(path, what, *, output=None):
    """Return the error for a result that cannot be used, with the command that makes it anew.

    output: what a rule declares, if it is not the file itself but a folder.
    """
    # Deleted alone it might not be: Snakemake makes no file that nothing newer waits for.
    command = f"snakemake --force {shlex.quote(str(output or path))}"
    if overrides := os.environ.get("BNOPT_CONFIG"):
        command += f" --config {overrides}"
    return StudyError(f"{path}: {what}; to make it anew: {command}")
