"""Records: how a result was made, in a file beside it. Its checksum is verified when the result is read.

The record of training.csv is training.csv.provenance.json.
"""

import datetime
import hashlib
import json
import os
import platform
import re
import resource
import shlex
import sys
import time
from dataclasses import asdict
from functools import cache
from pathlib import Path

from bnopt import STARTED, plugins
from bnopt.files import fingerprints
from bnopt.runtime import StudyError

SUFFIX = ".provenance.json"
# The types of what a record holds; "accepted" is added by --touch.
TYPES = (
    dict.fromkeys(("sha256", "stage", "code", "commit", "started"), str)
    | dict.fromkeys(("settings", "modules", "versions", "hardware"), dict)
    | dict.fromkeys(("seconds", "cpu_seconds", "memory_mib"), int | float)
    | {"accepted": list}
)
PACKAGES = ("numpy", "pandas", "scipy", "sklearn", "torch", "torchvision")


def of(path):
    """Return the path of the record of a file."""
    return Path(f"{path}{SUFFIX}")


def describe(content, job):
    """Return the record of a file with this content.

    job: the `runtime.Job` that writes the file, or None outside a stage.
    sha256               checksum of the file
    stage, settings      name of the module that made it, and the settings of the job
    code, modules        the fingerprint that Snakemake compares, and one for each module it covers
    commit               of the working copy; "+ changes" is added if there are any; "unknown" and why
    versions, hardware   of the imported packages; processor, cores and GPU of the machine
    started              when the process began (UTC); no two jobs of a stage have the same microsecond
    seconds, cpu_seconds, memory_mib     see `used`
    """
    record = {"sha256": hashlib.sha256(content).hexdigest()}
    if job is not None:
        record |= {**asdict(job), "modules": modules(job.stage)}
    return record | {
        "commit": os.environ.get("BNOPT_COMMIT", "unknown"),
        "versions": {"python": platform.python_version()}
        | {name: sys.modules[name].__version__ for name in PACKAGES if name in sys.modules},
        "hardware": hardware(),
        "started": datetime.datetime.fromtimestamp(STARTED, datetime.UTC).isoformat(timespec="microseconds"),
        **used(),
    }


def used():
    """Return the time and memory that this process has used so far, its imports included.

    seconds        wall time
    cpu_seconds    processor time of all its threads, in user and system mode
    memory_mib     the largest resident memory in MiB
    """
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": round(time.time() - STARTED, 3),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3),
        "memory_mib": round(_largest_memory(usage)),
    }


def _largest_memory(usage):
    # On Linux, `ru_maxrss` is at least the memory of the process that started this one: snakemake's.
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        status = ""
    if peak := re.search(r"^VmHWM:\s+(\d+) kB", status, flags=re.MULTILINE):
        return int(peak[1]) / 2**10
    # macOS counts in bytes, other systems in KiB.
    return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def modules(stage):
    """Return name -> fingerprint of each module of a stage and of the plug-ins loaded so far."""
    reached = fingerprints.reached(stage, *plugins.loaded())
    return {module: fingerprints.module_hash(module) for module in reached}


def hardware():
    """Return the hardware that results and running times can depend on: processor, cores, GPU."""
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
        if not _intact(record):
            raise ValueError
    except FileNotFoundError as error:
        raise damaged(path, f"expected its record {of(path).name} beside it, found none") from error
    except ValueError as error:
        raise damaged(path, f"expected its record {of(path).name} intact, found it damaged") from error
    return record


def _intact(record):
    """Return whether a record is an object with a checksum and values of the types that readers expect."""
    if not (isinstance(record, dict) and "sha256" in record):
        return False
    return all(isinstance(value, TYPES.get(key, object)) for key, value in record.items())


def verify(path, content):
    """Raise StudyError unless `content` is the file `path` of its record, made as the study says now."""
    record = read(path)
    if hashlib.sha256(content).hexdigest() != record["sha256"]:
        raise damaged(path, "expected the content described in its record, found it altered or truncated")
    expected = _expected(os.environ.get("BNOPT_EXPECTED")).get(str(path))
    if expected and (what := differs(record, expected)):
        raise damaged(path, f"expected a result of the present settings and code, found one of other {what}")


@cache
def _expected(file):
    """Return path -> [digest of the settings, code] as the study says now; {} if no file is named."""
    return json.loads(Path(file).read_text(encoding="utf-8")) if file else {}


def differs(record, expected):
    """Return whether "settings" or "code" of a record differ from the expected ones; "" if neither does.

    expected: the digest of the settings, and the code. Code that the user accepted counts as the present.
    """
    settings, code = expected
    if digest(record.get("settings")) != settings:
        return "settings"
    return "" if code in (record.get("code"), *record.get("accepted", [])) else "code"


def digest(settings):
    """Return a short hash of the settings of a job; their order counts, as it does in figures."""
    return hashlib.sha256(json.dumps(settings, ensure_ascii=False).encode()).hexdigest()[:16]


def flat(nested, *, prefix=""):
    """Return nested dictionaries as a flat one, with keys such as net.hidden."""
    found = {}
    for key, value in nested.items():
        if isinstance(value, dict) and value:
            found |= flat(value, prefix=f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def damaged(path, what, *, output=None):
    """Return the error for a result that cannot be used, with the command that makes it again.

    what: what was expected and found; output: the folder that a rule declares, if not the file itself.
    """
    # Deleting the file may not suffice: Snakemake makes it again only if a result to be made needs it.
    command = f"snakemake --force {shlex.quote(str(output or path))}"
    if options := os.environ.get("BNOPT_OPTIONS"):
        command += f" {options}"
    return StudyError(f"{path}: {what}; to make it again: {command}")
