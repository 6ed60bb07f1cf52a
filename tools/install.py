"""Create .venv with the exact versions of requirements.txt; `make` calls this with any Python 3.

An old Python, a missing venv module, a full disk or a missing network is reported in one sentence.
Packages installed before a failure stay installed: a second call continues from there.
"""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
LEAST_PYTHON = (3, 11)
NEEDED_GIB = 10
# The settings of pip that say where packages come from. All others are not used, neither from variables
# (PIP_TARGET, PIP_USER) nor from files (pip.conf): they would send packages elsewhere or change versions.
SOURCES = (
    *("index_url", "extra_index_url", "find_links", "no_index", "trusted_host", "cert", "client_cert"),
    *("proxy", "timeout", "default_timeout", "retries", "cache_dir", "no_cache_dir", "keyring_provider"),
)


def check_python(version):
    """Stop if this Python is older than the project needs."""
    if version < LEAST_PYTHON:
        found, least = ".".join(map(str, version)), ".".join(map(str, LEAST_PYTHON))
        stop(
            f"Python {least} or later is needed, this is Python {found} ({sys.executable}). "
            "Install a newer one and name it: make PYTHON=python3.12 ..."
        )


def check_disk(free):
    """Stop if fewer bytes are free than needed; an environment with torch takes about 7 GB."""
    if free < NEEDED_GIB * 2**30:
        stop(
            f"{NEEDED_GIB} GiB of free disk are needed in {ROOT}, {free / 2**30:.1f} are free. "
            "Free disk space and call make again."
        )


def create():
    """Create the environment; stop if this Python lacks the modules that this needs."""
    try:
        import venv

        # With links, like `python -m venv`: a copy of some builds of Python does not find its library.
        venv.create(ENVIRONMENT, symlinks=True, with_pip=True)
    except (ImportError, OSError, subprocess.CalledProcessError):
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        stop(
            f"{sys.executable} could not create a virtual environment in {ENVIRONMENT}. On Debian and "
            "Ubuntu install the package python3-venv; check that the folder can be written. "
            "Then call make again."
        )


def pip_environment(pip):
    """Return the variables with which to call pip, and the names of its settings that are not used."""
    # PIP_PYTHON would start another Python.
    given = {name: value for name, value in os.environ.items() if name != "PIP_PYTHON"}
    listed = subprocess.run([*pip, "config", "list"], stdout=subprocess.PIPE, text=True, env=given).stdout
    settings = dict(line.split("=", 1) for line in listed.splitlines() if "=" in line)
    environment = {name: value for name, value in given.items() if not name.startswith("PIP_")}
    unused = []
    # A setting for one command outweighs that for all, and a variable outweighs both.
    for name in sorted(settings, key=lambda name: (name.startswith(":env:"), not name.startswith("global."))):
        section, _, key = name.rpartition(".")
        key = key.replace("-", "_")
        if key in SOURCES and section in ("global", "install", ":env:"):
            environment[f"PIP_{key.upper()}"] = str(ast.literal_eval(settings[name]))
        elif section in ("global", "install", ":env:") and key != "config_file":
            unused.append(f"PIP_{key.upper()}" if section == ":env:" else name)
    return environment | {"PIP_CONFIG_FILE": os.devnull}, unused


def install():
    """Install all packages; if that fails, stop with the errors of pip."""
    print("Installing exact versions into .venv: about 7 GB, a few minutes, only once.", flush=True)
    requirements = str(ROOT / "requirements.txt")
    # Isolated: no module of the current folder, of PYTHONPATH or of the user counts as installed.
    pip = [str(ENVIRONMENT / "bin" / "python"), "-I", "-m", "pip", "--disable-pip-version-check"]
    environment, unused = pip_environment(pip)
    if unused:
        print(f"Settings of pip that are not used here: {', '.join(unused)}.", flush=True)
    command = [*pip, "install", "--quiet", "-r", requirements]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, env=environment)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        stop(
            "pip could not install requirements.txt. It needs a network connection: connect, or make a "
            "package index reachable (PIP_INDEX_URL), and call make again to continue.\n"
            + "\n".join(errors or done.stderr.splitlines()[-5:])
        )


def stop(message):
    """Exit with status 1 and a message."""
    sys.exit("error: " + message)


if __name__ == "__main__":
    check_python(sys.version_info[:2])
    if not (ENVIRONMENT / "bin" / "python").exists():
        check_disk(shutil.disk_usage(ROOT).free)
        create()
    install()
    (ENVIRONMENT / "installed").touch()
