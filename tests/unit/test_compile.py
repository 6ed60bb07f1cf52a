"""The report compiles with real LaTeX, whatever letters its texts have; a failure is a sentence."""

import copy
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from bnopt import compile as stage
from bnopt import latex, report
from bnopt.runtime import StudyError
from unit.test_report import HERE, STUDY, THERE, results, stored

ROOT = Path(__file__).parents[2]
TEXT = ROOT / "paper" / "main.tex"
# Letters of many scripts, signs, accents in pieces, marks that nobody sees, a byte that is no letter, and
# everything that LaTeX reads as a command.
LETTERS = (
    "β ≤ λ ο Ω 画像 é e\u0301 ế ř ½ m² x₁ “a” — a--b ``b'' «c» 𝛽 ℝ Ж 한국 🙂 \N{RIGHT-TO-LEFT MARK}עב "
    "\N{NO-BREAK SPACE}\N{ZERO WIDTH SPACE}\N{SOFT HYPHEN} \x00\x1b \udcfc "
    "a\n\nb\tc \\ ~ ^ & % $ # _ { } \" ' ` < >"
)
needs_latex = pytest.mark.skipif(not shutil.which("latexmk"), reason="needs latexmk, of the package latexmk")


@pytest.fixture
def bundle(tmp_path):
    """The report of a small study whose texts have all these letters."""
    figure = Figure()
    figure.subplots().plot([0, 1])
    files = [tmp_path / "fig1.pdf", tmp_path / "claims.pdf"]
    for file in files:
        figure.savefig(file)
    folder = tmp_path / "report"
    (folder / "generated").mkdir(parents=True)
    study = copy.deepcopy(STUDY) | {"captions": {"fig1": LETTERS}, "images": f"/{LETTERS}"}
    found = results(HERE.assign(label=LETTERS, statement=LETTERS, source=LETTERS, paper_value=LETTERS))
    for record in found.provenance.values():
        record |= {"commit": LETTERS, "hardware": {"cpu": LETTERS}}
    found.images["source"] = f"/{LETTERS}"
    others = {"there": stored(THERE, source=LETTERS)}
    report.write(folder / "generated", found, others, study=study, figures=files)
    return Path(shutil.copy(TEXT, folder / "report.tex"))


def compiled(file, *, cwd=None, **environment):
    """Compile as the rule does; return the finished process."""
    return subprocess.run(
        [sys.executable, "-m", "bnopt.compile", "--settings", "{}", "--report", str(file)],
        cwd=cwd or file.parent,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")} | environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@needs_latex
def test_a_report_with_any_letters_compiles_in_any_folder_to_the_same_bytes(bundle, tmp_path):
    done = compiled(bundle)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert "Missing character" not in bundle.with_suffix(".log").read_text(errors="replace")
    first = bundle.with_suffix(".pdf").read_bytes()
    elsewhere = tmp_path / 'it\'s a "new" folder; $(touch pwned) ü 日本 {x} #1'
    shutil.copytree(bundle.parent, elsewhere, ignore=shutil.ignore_patterns("report.[!t]*"))
    assert compiled(elsewhere / "report.tex", cwd=tmp_path).returncode == 0
    assert (elsewhere / "report.pdf").read_bytes() == first


@needs_latex
def test_every_letter_that_is_not_shown_as_its_code_is_known_to_latex(tmp_path):
    found = [text for code in range(sys.maxunicode + 1) if (text := latex.escape(chr(code))).strip()]
    assert all(text.isascii() for text in found)
    known = [text for text in found if not text.startswith("[U+")]
    assert len(known) > 2000
    preamble = re.search(r"\\documentclass.*?(?=\\sisetup)", TEXT.read_text(encoding="utf-8"), re.DOTALL)[0]
    lines = [rf"\x{{{text}}}\x{{\texttt{{{text}}}}}" for text in known]
    body = "\n".join([preamble, r"\newcommand{\x}[1]{#1\par}\begin{document}", *lines, r"\end{document}"])
    (tmp_path / "all.tex").write_text(body, encoding="ascii")
    stage.compile_report(str(tmp_path / "all.tex"))
    assert "Missing character" not in (tmp_path / "all.log").read_text(errors="replace")


@needs_latex
@pytest.mark.parametrize("name", [".latexmkrc", "latexmkrc", ".config/latexmk/latexmkrc"])
def test_the_users_settings_of_latexmk_do_not_matter(bundle, tmp_path, name):
    for folder in (tmp_path / "home", bundle.parent):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text('$out_dir = "build"; $pdf_mode = 0; $pdflatex = "false";\n')
    done = compiled(bundle, HOME=str(tmp_path / "home"), XDG_CONFIG_HOME=str(tmp_path / "home/.config"))
    assert done.returncode == 0, done.stdout[-3000:]
    assert bundle.with_suffix(".pdf").exists()


@needs_latex
def test_the_variables_of_tex_do_not_matter(bundle, tmp_path):
    """TEXINPUTS without an empty entry hides the usual folders; TEXMFOUTPUT moves files."""
    (tmp_path / "siunitx.sty").write_text(r"\errmessage{of the user}")
    variables = {name: str(tmp_path) for name in ("TEXINPUTS", "TEXMFOUTPUT", "TEXMF_OUTPUT_DIRECTORY")}
    done = compiled(bundle, max_print_line="50", SOURCE_DATE_EPOCH="99", **variables)
    assert done.returncode == 0, done.stdout[-3000:]
    assert bundle.with_suffix(".pdf").exists()


def tex_without(package, folder):
    """Return a search path of LaTeX with everything that is installed except one package."""
    folder.mkdir()
    for file in ("article.cls", "lmodern.sty", "iftex.sty"):
        found = subprocess.run(["kpsewhich", file], capture_output=True, text=True, check=True).stdout.strip()
        of_tex = Path(found).parents[1]
        for entry in of_tex.iterdir():
            if entry.name != package and not (folder / entry.name).exists():
                (folder / entry.name).symlink_to(entry)
    return f".:{folder}//"


@needs_latex
@pytest.mark.parametrize(
    ("package", "words"),
    [
        (
            "siunitx",
            "expected siunitx.sty, found none; install texlive-science (Debian, Ubuntu) or siunitx (tlmgr)",
        ),
        ("lm", "expected lmodern.sty, found none; install lmodern (Debian, Ubuntu) or lm (tlmgr)"),
        ("url", "found none; install the package that `apt-file search /url.sty` (Debian, Ubuntu) or"),
    ],
)
def test_a_missing_package_is_a_sentence_that_names_what_to_install(bundle, tmp_path, package, words):
    done = compiled(bundle, TEXINPUTS_pdflatex=tex_without(package, tmp_path / "tree"))
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


@needs_latex
def test_another_error_of_latex_is_its_first_line(bundle):
    (bundle.parent / "generated" / "numbers.tex").write_text(r"\nosuchcommand")
    done = compiled(bundle)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "error: LaTeX: expected a report that compiles, found: Undefined control sequence"
    )
    assert done.stderr.count("\n") == 1


def test_every_package_of_the_report_is_known_by_the_names_to_install(tmp_path):
    names = re.findall(r"^\\usepackage(?:\[.*?\])?\{(.*?)\}", TEXT.read_text(encoding="utf-8"), re.MULTILINE)
    used = [name for group in names for name in group.split(",")]
    assert len(used) > 10
    assert [name for name in used if stage.packages_of(f"{name}.sty") is None] == []
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    brought = {"texlive-base", "texlive-latex-base", "texlive-latex-recommended"}  # by texlive-latex-extra
    for name in used:
        assert stage.packages_of(f"{name}.sty")[0] in brought or stage.packages_of(f"{name}.sty")[0] in readme


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (
            "! Font T1/lmr/m/n/10=ec-lmr10 at 10.0pt not loadable: Metric (TFM) file",
            "the fonts of Latin Modern",
        ),
        ("sh: 1: pdflatex: not found", "the program pdflatex, found none; install texlive-latex-base"),
        ("lmr8.pfb>File size limit exceeded", "could not write a file (File size limit exceeded); free disk"),
        ("Latexmk: something", "see the lines above"),
    ],
)
def test_other_failures_are_sentences_too(output, words):
    assert words in stage.reason(output)


def test_without_latexmk_the_sentence_names_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StudyError, match="install latexmk"):
        stage.compile_report("report.tex")


def test_the_text_of_the_report_is_ascii():
    """The engine need not know Unicode."""
    TEXT.read_text(encoding="ascii")
