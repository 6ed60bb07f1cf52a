"""How many GPUs PyTorch would see here, found without importing it: that takes seconds at every call."""

import importlib.util
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

# No limit: without a GPU only the number of cores limits the jobs.
UNLIMITED = 9999
SECONDS = 60
# Asks the driver, as PyTorch does, so the variables that hide GPUs, MIG and containers count alike. In a
# process of its own, because a process that has asked the driver cannot be forked any more.
ASK = """
import ctypes, sys
library, start, count, version, least = sys.argv[1:]
try:
    driver = ctypes.CDLL(library)
    found = ctypes.c_int()
    if start and getattr(driver, start)(0):
        raise OSError("no GPU")
    if getattr(driver, version)(ctypes.byref(found)) or found.value // 1000 < int(least):
        raise OSError("the driver is too old for this PyTorch")
    print(0 if getattr(driver, count)(ctypes.byref(found)) else found.value)
except (OSError, AttributeError):
    print(0)
"""
CUDA = ("libcuda.so.1", "cuInit", "cuDeviceGetCount", "cuDriverGetVersion")
HIP = ("libamdhip64.so", "", "hipGetDeviceCount", "hipDriverGetVersion")


def places():
    """Return how many jobs that use a GPU may run at once: one per GPU, any number without one."""
    return visible() or UNLIMITED


@cache
def visible():
    """Return the number of GPUs that PyTorch would see."""
    built = _built_for()
    if built is None:
        return 0
    functions, least = built
    command = [sys.executable, "-I", "-S", "-c", ASK, *functions, least]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS)
        return int(done.stdout)
    except (subprocess.SubprocessError, OSError, ValueError):
        return 0


def _built_for():
    """Return the driver that the installed PyTorch was built for, and its least version; None for none."""
    spec = importlib.util.find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0])
    try:
        text = (folder / "version.py").read_text(encoding="utf-8")
    except OSError:
        return None
    found = dict(re.findall(r"^(cuda|hip)\b[^=\n]*= *'([\d.]+)", text, flags=re.MULTILINE))
    if "cuda" in found:
        return CUDA, found["cuda"].split(".")[0]
    if "hip" in found:
        own = folder / "lib" / HIP[0]
        return (str(own) if own.exists() else HIP[0], *HIP[1:]), "0"
    return None
