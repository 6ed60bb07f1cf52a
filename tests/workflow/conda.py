"""A stand-in for conda: it records what it is asked, and installs the packages of an environment with pip.

    python conda.py FOLDER ARGUMENTS

FOLDER holds `bin/activate`, as the folder of conda does, and `asked.txt`. Packages that the tests run with
count as installed: nothing is downloaded, and pip fails if an exact version is another one.
"""

import itertools
import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import yaml

ANSWERS = {
    "info --json": lambda folder: json.dumps({"conda_prefix": folder, "platform": "linux-64"}),
    "clean -y --tarballs": lambda _: "",
    "--version": lambda _: "conda 24.9.1",
    "config --get channel_priority --json": lambda _: json.dumps({"get": {"channel_priority": "strict"}}),
}
ACTIVATE = 'export CONDA_PREFIX="$1"\nexport PATH="$1/bin:$PATH"\n'
# The Python of an environment records that it was called.
PYTHON = '#!/bin/sh\necho "$@" >>"{folder}/called.txt"\nexec "{python}" "$@"\n'


def create(folder, file, prefix):
    """Create an environment from a file."""
    listed = yaml.safe_load(Path(file).read_text(encoding="utf-8"))["dependencies"]
    [requirements] = [entry["pip"] for entry in listed if isinstance(entry, dict)]
    # Conda writes them beside the file.
    text = Path(file).with_suffix(".requirements.txt")
    text.write_text("\n".join(requirements), encoding="utf-8")
    venv.create(prefix, symlinks=True)
    python = Path(prefix, "bin", "python3")
    packages = Path(sysconfig.get_path("purelib", vars={"base": prefix, "platbase": prefix}))
    (packages / "installed.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--no-index",
        "-U",
        "-r",
        str(text),
    ]
    subprocess.run(pip, check=True, cwd=text.parent)
    plain = Path(prefix, "bin", "python")
    plain.unlink()
    plain.write_text(PYTHON.format(folder=folder, python=python), encoding="utf-8")
    plain.chmod(0o755)


def install(folder):
    """Write the programs of a stand-in into a folder; return the folder to put first in PATH."""
    programs = Path(folder, "bin")
    programs.mkdir(parents=True)
    (programs / "activate").write_text(ACTIVATE, encoding="utf-8")
    conda = programs / "conda"
    conda.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -P "{__file__}" "{folder}" "$@"\n', encoding="utf-8"
    )
    conda.chmod(0o755)
    return programs


def main():
    """Answer a call."""
    folder, *asked = sys.argv[1:]
    with Path(folder, "asked.txt").open("a", encoding="utf-8") as record:
        print(*asked, file=record)
    if asked[:2] == ["env", "create"]:
        options = dict(itertools.pairwise(asked))
        create(folder, options["--file"], options["--prefix"])
    else:
        print(ANSWERS[" ".join(asked)](folder))


if __name__ == "__main__":
    main()
