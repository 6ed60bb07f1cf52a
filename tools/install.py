"""Create .venv with the exact versions of requirements.txt; `make` calls this, with any Python 3.

Says in a sentence what is in the way: an old Python, no venv module, no disk, no network. What was
installed before a failure is kept, so that a second call goes on from there.
"""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
LEAST_PYTHON = (3, 11)
NEEDED_GIB = 10


def check_python(version):
    """Stop if this Python is older than the project needs."""
    if version < LEAST_PYTHON:
        found, least = ".".join(map(str, version)), ".".join(map(str, LEAST_PYTHON))
        stop(
            f"Python {least} or later is needed, this is Python {found} ({sys.executable}). "
            f"Install a newer one and name it: make PYTHON=python3.12 ..."
        )


def check_disk(free):
    """Stop if fewer than the bytes needed are free; an environment with torch takes about 7 GB."""
    if free < NEEDED_GIB * 2**30:
        stop(
            f"{NEEDED_GIB} GiB of free disk are needed in {ROOT}, there are {free / 2**30:.1f}. "
            "Make room and call make again."
        )


def create():
    """Create the environment; stop if this Python comes without the parts it takes."""
    try:
        import venv

        # With links, as `python -m venv` does: a copy of some builds of Python does not find its library.
        venv.create(ENVIRONMENT, symlinks=True, with_pip=True)
    except (ImportError, OSError, subprocess.CalledProcessError):
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        stop(
            f"{sys.executable} could not create a virtual environment in {ENVIRONMENT}. On Debian and "
            "Ubuntu install the package python3-venv; check that the folder can be written. "
            "Then call make again."
        )


def install():
    """Install all packages; stop with pip's own words if that fails."""
    print("Installing exact versions into .venv: some 7 GB and, once, some minutes.", flush=True)
    requirements = str(ROOT / "requirements.txt")
    python = str(ENVIRONMENT / "bin" / "python")
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements]
    pip = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if pip.returncode:
        errors = [line for line in pip.stderr.splitlines() if line.startswith("ERROR")]
        stop(
            "pip could not install requirements.txt. Without a network connection it cannot: connect, or "
            "make a package index reachable (PIP_INDEX_URL), and call make again; it goes on from here.\n"
            + "\n".join(errors or pip.stderr.splitlines()[-5:])
        )


def stop(message):
    """Exit with 1 and a message."""
    sys.exit("error: " + message)


if __name__ == "__main__":
    check_python(sys.version_info[:2])
    if not (ENVIRONMENT / "bin" / "python").exists():
        check_disk(shutil.disk_usage(ROOT).free)
        create()
    install()
    (ENVIRONMENT / "installed").touch()
