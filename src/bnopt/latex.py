"""Turns numbers, names and tables into LaTeX."""

import itertools
import unicodedata

import numpy as np

from bnopt.judged import natural, supporting
from bnopt.study import names


def _table(text):
    """Return every other word -> the word that follows it."""
    words = text.split()
    return dict(zip(words[::2], words[1::2], strict=True))


# Texts become ASCII, so that every engine compiles them, with the fonts of Latin Modern.
SIGNS = _table(r"""
    \ \textbackslash{}  ~ \textasciitilde{}  ^ \textasciicircum{}  & \&  % \%  $ \$  # \#  _ \_  { \{  } \}
    ‐ -  ‑ \mbox{-}  – --  — ---  … \ldots{}  ⁄ /  ‘ `  ’ '  “ ``  ” ''  ‚ \quotesinglbase{}
    „ \quotedblbase{}  ‹ \guilsinglleft{}  › \guilsinglright{}  « \guillemotleft{}  » \guillemotright{}
    ¡ \textexclamdown{}  ¿ \textquestiondown{}  ß \ss{}  ẞ SS  æ \ae{}  Æ \AE{}  œ \oe{}  Œ \OE{}  ø \o{}
    Ø \O{}  ł \l{}  Ł \L{}  đ \dj{}  Đ \DJ{}  ð \dh{}  Ð \DH{}  þ \th{}  Þ \TH{}  ŋ \ng{}  Ŋ \NG{}  ı \i{}
    ȷ \j{}  § \S{}  ¶ \P{}  © \textcopyright{}  ® \textregistered{}  † \textdagger{}  ‡ \textdaggerdbl{}
    • \textbullet{}  ‰ \textperthousand{}  ° \textdegree{}  € \texteuro{}  £ \textsterling{}  ¥ \textyen{}
    ¢ \textcent{}
""")
SIGNS |= {"\N{NO-BREAK SPACE}": "~", "\N{NARROW NO-BREAK SPACE}": r"\,", "\N{THIN SPACE}": r"\,"}
SIGNS |= {"\N{SOFT HYPHEN}": r"\-"}
# Greek letters are formulas too. LaTeX has no command for those that look like Latin ones.
FORMULAS = _table(r"""
    α \alpha  β \beta  γ \gamma  δ \delta  ε \epsilon  ζ \zeta  η \eta  θ \theta  ι \iota  κ \kappa
    λ \lambda  μ \mu  ν \nu  ξ \xi  ο o  π \pi  ρ \rho  ς \varsigma  σ \sigma  τ \tau  υ \upsilon  φ \phi
    χ \chi  ψ \psi  ω \omega  Α A  Β B  Γ \Gamma  Δ \Delta  Ε E  Ζ Z  Η H  Θ \Theta  Ι I  Κ K  Λ \Lambda
    Μ M  Ν N  Ξ \Xi  Ο O  Π \Pi  Ρ P  Σ \Sigma  Τ T  Υ \Upsilon  Φ \Phi  Χ X  Ψ \Psi  Ω \Omega
    − -  ± \pm  ∓ \mp  × \times  ÷ \div  · \cdot  ⋅ \cdot  ∗ *  ∘ \circ  ¬ \neg  √ \surd  ∞ \infty
    ∂ \partial  ∇ \nabla  ∑ \sum  ∏ \prod  ∫ \int  ∀ \forall  ∃ \exists  ∅ \emptyset  ∈ \in  ∉ \notin
    ⊂ \subset  ⊆ \subseteq  ∪ \cup  ∩ \cap  ≤ \leq  ≥ \geq  ≠ \neq  ≈ \approx  ≡ \equiv  ∼ \sim  ≃ \simeq
    ≪ \ll  ≫ \gg  ∝ \propto  ∥ \parallel  ‖ \Vert  ⊥ \perp  ← \leftarrow  → \rightarrow  ↔ \leftrightarrow
    ↑ \uparrow  ↓ \downarrow  ⇐ \Leftarrow  ⇒ \Rightarrow  ⇔ \Leftrightarrow  ↦ \mapsto  ⟨ \langle
    ⟩ \rangle  ⌊ \lfloor  ⌋ \rfloor  ⌈ \lceil  ⌉ \rceil  ⊤ \top  ⊗ \otimes  ⊕ \oplus  ⊙ \odot  ℓ \ell
    ₀ _0  ₁ _1  ₂ _2  ℏ \hbar  ℝ \mathbb{R}  ℕ \mathbb{N}  ℤ \mathbb{Z}
""")
SIGNS |= {character: f"${formula}$" for character, formula in FORMULAS.items()}
# The accents of Unicode, which follow their letter.
ACCENTS = _table(r"""
    0300 \`  0301 \'  0302 \^  0303 \~  0304 \=  0306 \u  0307 \.  0308 \"  030A \r  030B \H  030C \v
    0323 \d  0327 \c  0328 \k  0331 \b
""")
# What stands before an effect and after it, by its unit.
SIGN, NAME = {"ratio": r"$\times$\,"}, {"points": "~points"}
# Width and height of the drawing of an interval, in points.
STRIP = (46, 8)
# So many rows at the end of a long table stay on one page.
LAST = 8
# Fonts join these pairs into another sign.
LIGATURES = {"--", "``", "''", ",,", "<<", ">>", "?`", "!`"}


def escape(text):
    """Return a plain text as LaTeX in ASCII; straight double quotes become opening and closing ones.

    A number such as 1e-7 becomes a power of ten. A letter that the fonts lack, such as one of Chinese,
    becomes its code: [U+753B].
    """
    # Every second straight quote closes.
    text = "".join(part + mark for part, mark in zip(str(text).split('"'), itertools.cycle("“”")))[:-1]
    text = unicodedata.normalize("NFC", names.with_powers(text))
    pairs = itertools.pairwise(f"{text} ")
    return "".join(_letter(one) + ("{}" if one + another in LIGATURES else "") for one, another in pairs)


def _letter(character):
    """Return a character as LaTeX."""
    if character in SIGNS:
        return SIGNS[character]
    if character.isspace():
        return " "
    if character.isascii() and character.isprintable():
        return character
    if unicodedata.category(character) == "Cf":  # invisible, such as a mark of the direction of writing
        return ""
    return _decomposed(character) or rf"[U+{ord(character):04X}]\allowbreak{{}}"


def _decomposed(character):
    """Return a character that Unicode composes of known ones, such as é, ², ½; nothing for any other."""
    first, *codes = unicodedata.decomposition(character).split() or [""]
    if first.startswith("<"):
        parts = [_known(chr(int(code, 16))) for code in codes]
        command = {"<super>": r"\textsuperscript{%s}", "<sub>": r"\textsubscript{%s}"}.get(first, "%s")
        return command % "".join(parts) if all(parts) else ""
    letter = _known(chr(int(first, 16))) if codes and codes[0] in ACCENTS else ""
    return f"{ACCENTS[codes[0]]}{{{letter}}}" if letter else ""


def _known(character):
    """Return a character as LaTeX, nothing if the fonts lack it."""
    if character in SIGNS or (character.isascii() and character.isprintable()):
        return SIGNS.get(character, character)
    return _decomposed(character)


def identifier(name):
    """Return a name from the configuration in typewriter type; lines may break after its underscores."""
    return r"\texttt{" + escape(name).replace(r"\_", r"\_\allowbreak ") + "}"


def number(value):
    """Return a number with three significant digits, for siunitx; a dash if it is missing."""
    if np.isnan(value):
        return "--"
    if np.isinf(value):
        return r"$\infty$" if value > 0 else r"$-\infty$"
    return rf"\num{{{value:.3g}}}"


def interval(claim):
    """Return the interval of a claim as [low, high], in its unit (`judged.with_units`)."""
    low, high = (number(natural(claim[bound], claim["unit"])) for bound in ("ci_low", "ci_high"))
    return f"[{low}, {high}]"


def expectation(claim):
    """Return the effects that support a claim, in its unit: > 0.1, < × 1, -5 to 5 points."""
    low, high = (
        None if bound is None else SIGN.get(claim["unit"], "") + number(bound)
        for bound in supporting(claim, claim["unit"])
    )
    name = NAME.get(claim["unit"], "")
    if low is None:
        return f"$<$ {high}{name}"
    return f"$>$ {low}{name}" if high is None else f"{low} to {high}{name}"


def verdict(claim):
    """Return a verdict, bold if it has a grade (`evidence.grade`), with its marks.

    A star: another summary changes it; a dagger: a run diverged.
    """
    marks = ("*" if claim["flips_under"] else "") + (r"\textdagger" if claim["n_diverged"] else "")
    return (rf"\textbf{{{claim['verdict']}}}" if claim["grade"] else claim["verdict"]) + marks


def estimate(claim):
    """Return effect and interval of a claim: × 2 [1, 3], 34.5 points [25, 44]; a dash if not run."""
    if np.isnan(claim["effect"]):
        return "--"
    sign, name = SIGN.get(claim["unit"], ""), NAME.get(claim["unit"], "")
    return f"{sign}{number(natural(claim['effect'], claim['unit']))}{name} {interval(claim)}"


def picture(marks):
    """Return the marks of a claim (`judged.strip`) as a drawing in a line of text.

    A line marks no effect, short dashes the margins, a bar the interval, and a dot the effect.
    """
    width, height = STRIP
    low, high, effect = (width * marks[key] for key in ("low", "high", "effect"))
    drawn = [rf"\put({width * marks['zero']:.1f},0){{\line(0,1){{{height}}}}}"]
    drawn += [
        rf"\multiput({width * x:.1f},0)(0,2){{{height // 2}}}{{\line(0,1){{1}}}}" for x in marks["margins"]
    ]
    drawn.append(rf"\put({low:.1f},{height / 2 - 0.5:.1f}){{\rule{{{high - low:.1f}pt}}{{1pt}}}}")
    drawn.append(rf"\put({effect:.1f},{height / 2:.1f}){{\circle*{{4}}}}")
    return rf"\begin{{picture}}({width},{height}){''.join(drawn)}\end{{picture}}"


def as_latex(table, columns, *, long):
    """Return a table of LaTeX texts with booktabs rules; a long one repeats its head on every page.

    Of a long table, no page has the first or the last rows alone: its first three stay together, and its
    last ones (`LAST`).
    """
    style = table.style.hide(axis="index")
    text = style.to_latex(hrules=True, column_format=columns, environment="longtable" if long else None)
    if not long:
        return text
    head, end, body = text.partition("\\endlastfoot\n")
    lines = body.splitlines(keepends=True)
    for number in {*range(min(2, len(table) - 1)), *range(max(0, len(table) - LAST), len(table) - 1)}:
        lines[number] = lines[number].replace("\\\\\n", "\\\\*\n")
    return head + end + "".join(lines)
