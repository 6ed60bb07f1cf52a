"""Side stage: compile the LaTeX report. If a package is missing, a sentence says how to install it."""

import os
import re
import subprocess

from bnopt import runtime
from bnopt.runtime import StudyError

# No file of the user's (latexmkrc) counts, and the PDF is written beside the text.
LATEXMK = (
    *("latexmk", "-norc", "-pdf", "-outdir=", "-auxdir="),
    *("-halt-on-error", "-interaction=nonstopmode"),
)
# Long lines are not broken, and equal texts give equal bytes.
VARIABLES = {"max_print_line": "10000", "SOURCE_DATE_EPOCH": "0", "FORCE_SOURCE_DATE": "1"}
# These move the output of LaTeX to another folder.
MOVING = ("TEXMFOUTPUT", "TEXMF_OUTPUT_DIRECTORY")
# Package of Debian -> package of TeX Live -> files of the report in it.
PACKAGES = {
    "lmodern": {"lm": ("lmodern",)},
    "texlive-base": {"amsfonts": ("amssymb",)},
    "texlive-latex-base": {
        "latex": ("inputenc", "fontenc", "textcomp"),
        "tools": ("longtable", "array"),
        **{name: (name,) for name in ("geometry", "amsmath", "hyperref")},
        "graphics": ("graphicx",),
    },
    "texlive-latex-recommended": {name: (name,) for name in ("booktabs", "microtype", "pdflscape")},
    "texlive-latex-extra": {name: (name,) for name in ("placeins", "needspace", "translations")},
    "texlive-science": {"siunitx": ("siunitx",)},
}
OTHERS = "Everything that does not need LaTeX is made. Then call snakemake again."


def packages_of(file):
    """Return the packages of Debian and of TeX Live that hold a file of LaTeX; None if they are not known."""
    for debian, of_debian in PACKAGES.items():
        for texlive, names in of_debian.items():
            if file.removesuffix(".sty") in names:
                return debian, texlive
    return None


def reason(output):
    """Return in a sentence why LaTeX failed, from its output."""
    missing = re.search(r"^! LaTeX Error: File `(.+?)' not found", output, re.MULTILINE)
    font = re.search(r"^! ?.*(?:Font .*=(\S+).* not loadable|font file not found)", output, re.MULTILINE)
    if missing or font:
        file = missing[1] if missing else "lmodern.sty"
        found = packages_of(file)
        needed = file if missing else "the fonts of Latin Modern"
        if found:
            names = f"{found[0]} (Debian, Ubuntu) or {found[1]} (tlmgr)"
        else:
            names = f"the package that `apt-file search /{file}` (Debian, Ubuntu) or "
            names += f"`tlmgr search --global --file /{file}` names"
        return f"LaTeX: expected {needed}, found none; install {names}"
    if re.search(r"pdflatex: (?:command )?not found", output):
        return "LaTeX: expected the program pdflatex, found none; install texlive-latex-base (Debian, Ubuntu)"
    full = re.search("No space left on device|File size limit exceeded|can't write on file", output)
    if full:
        return f"LaTeX: could not write a file ({full[0]}); free disk space or grant access"
    error = re.search(r"^! *(.+)$", output, re.MULTILINE)
    return f"LaTeX: expected a report that compiles, found: {error[1] if error else 'see the lines above'}"


def compile_report(report):
    """Compile a LaTeX file with latexmk; print its output, and raise StudyError if it fails."""
    environment = {name: value for name, value in os.environ.items() if name not in MOVING} | VARIABLES
    if "TEXINPUTS" in environment:
        # An empty entry stands for the usual folders. They come first.
        environment["TEXINPUTS"] = f":{environment['TEXINPUTS']}"
    # In the folder of the report, whose own path may have letters that TeX misreads.
    folder, name = os.path.split(os.path.abspath(report))
    captured = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "check": False}
    try:
        done = subprocess.run([*LATEXMK, name], cwd=folder, env=environment, **captured)
    except FileNotFoundError as error:
        raise StudyError(
            f"LaTeX: expected the program latexmk, found none; install latexmk. {OTHERS}"
        ) from error
    output = done.stdout.decode("utf-8", errors="replace")
    print(output, flush=True)
    if done.returncode:
        raise StudyError(f"{reason(output)}. {OTHERS}")


def main(argv=None):
    """Compile the report from the command line; the PDF lies beside it."""
    parser = runtime.parser(__spec__.name, __doc__)
    parser.add_argument("--report", required=True, help="file to compile (.tex)")
    compile_report(parser.parse_args(argv).report)


if __name__ == "__main__":
    runtime.run(main)
