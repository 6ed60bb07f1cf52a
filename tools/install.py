"""Create .venv with the exact versions of requirements.txt; `make` calls this with any Python 3.

An old Python, a missing venv module, a full disk or a missing network is reported in one sentence.
Packages installed before a failure stay installed: a second call continues from there. An environment
that was moved or copied is repaired; one whose Python was removed or replaced is made again.
"""

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
# Holds the folder of the checkout; `make` compares it with the folder where it is called.
INSTALLED = ENVIRONMENT / "installed"
INTERRUPTS = (
    "import sys; sys.excepthook = lambda kind, *rest, before=sys.excepthook: "
    "print('stopped', file=sys.stderr) if kind is KeyboardInterrupt else before(kind, *rest)\n"
)
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


def check_place(path):
    """Stop if the path of the checkout has letters that PYTHONPATH, venv or Snakemake read as their own."""
    if found := [letter for letter in ":{}" if letter in str(path)]:
        stop(
            f"{path}: expected a path of the checkout without colons and braces, found {' '.join(found)}; "
            "move the checkout or rename its folder, and call make again."
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


def works():
    """Return whether the environment's Python is there and finds the packages of the environment."""
    program = "import os, sysconfig, sys; sys.exit(not os.path.isdir(sysconfig.get_path('purelib')))"
    try:
        return not subprocess.run([ENVIRONMENT / "bin" / "python", "-c", program]).returncode
    except OSError:
        return False


def repair():
    """Write the present path of the environment into its programs, which name it: it was moved or copied."""
    print(f"{ENVIRONMENT} was moved or copied: its programs get its new path.", flush=True)
    python = str(ENVIRONMENT / "bin" / "python")
    # Called on itself, venv writes its scripts to activate the environment again, and its configuration.
    subprocess.run([python, "-m", "venv", "--without-pip", str(ENVIRONMENT)], check=True)
    # A line of `#!` holds no spaces and about 120 characters; then pip writes one for the shell.
    plain = " " not in python and len(python) < 120
    first = f"#!{python}" if plain else f"#!/bin/sh\n'''exec' \"{python}\" \"$0\" \"$@\"\n' '''"
    written_by_pip = re.compile(
        rb"""#!(/bin/sh\n'''exec' )?"?/[^\n]*/bin/python[\w.]*("[^\n]*\n' ''')?(?=\n)"""
    )
    for program in (ENVIRONMENT / "bin").iterdir():
        if program.is_file() and not program.is_symlink():
            content = program.read_bytes()
            if begins := written_by_pip.match(content):
                program.write_bytes(first.encode() + content[begins.end() :])


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


def explain_interrupts():
    """Let every Python of the environment end in a sentence when Ctrl-C meets it in its first imports.

    Later Snakefile and jobs do so themselves. Python runs such a line of a `.pth` file when it starts.
    """
    (library,) = (ENVIRONMENT / "lib").glob("python3*/site-packages")
    (library / "interrupts.pth").write_text(INTERRUPTS, encoding="utf-8")


def stop(message):
    """Exit with status 1 and a message."""
    sys.exit("error: " + message)


def main():
    """Create the environment, or repair it, and install what it lacks."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    check_python(sys.version_info[:2])
    check_place(ROOT)
    if (ENVIRONMENT / "pyvenv.cfg").exists() and not works():
        print(
            f"{ENVIRONMENT} does not work: its Python was removed or replaced. It is made again.", flush=True
        )
        shutil.rmtree(ENVIRONMENT)
    if not (ENVIRONMENT / "bin" / "python").exists():
        check_disk(shutil.disk_usage(ROOT).free)
        create()
    elif INSTALLED.exists() and INSTALLED.read_text(encoding="utf-8") not in ("", f"{ROOT}\n"):
        repair()
    install()
    explain_interrupts()
    INSTALLED.write_text(f"{ROOT}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
