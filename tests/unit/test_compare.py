"""How the verdicts of two studies differ, beside a slow second implementation on the csv module."""

import csv
import itertools
import json
import math
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from bnopt import compare, comparison, judged
from bnopt.files import artefacts, records
from bnopt.runtime import Job, StudyError

ROOT = Path(__file__).parents[2]
STORED = {folder.name: folder for folder in sorted((ROOT / "docs" / "results").iterdir())}
INF, NAN = math.inf, math.nan


def claim(name, verdict="supported", effect=1.0, *, half=0.5, **others):
    """Return the row of a judged claim whose interval reaches `half` to both sides of its effect."""
    numbers = {"effect": effect, "ci_low": effect - half, "ci_high": effect + half}
    return {
        **{"claim": name, "label": f"Claim {name}", "source": "Figure 1", "quantity": "beta"},
        **{"compare": "difference", "condition_a": "vgg_batch", "condition_b": "vgg_none"},
        **{"expected": "greater", "margin": 0.0, **numbers, "n": 3, "n_diverged": 0, "verdict": verdict},
        **{"flips_under": "", "paper_value": "", "reason": ""},
        **others,
    }


def write(folder, *claims, job=None, file="claims.csv"):
    """Write a folder of results with these claims and return it."""
    artefacts.write_table(pd.DataFrame(list(claims)), folder / file, job=job)
    return folder


def call(*words):
    """Call the command and return its exit status."""
    with pytest.raises(SystemExit) as stop:
        compare.main([str(word) for word in words])
    return stop.value.code


# -- a slow second implementation -------------------------------------------------------------------


def rows_of(file):
    """Return claim -> column -> text, as the file has it."""
    with open(file, newline="", encoding="utf-8") as lines:
        return {row["claim"]: row for row in csv.DictReader(lines)}


def value_of(text):
    return float(text) if text else NAN


def shown(text, row):
    """Return an effect as readers see it; a log ratio becomes a factor."""
    if row["compare"] != "log_ratio":
        return value_of(text)
    try:
        return math.exp(value_of(text))
    except OverflowError:
        return INF


def slowly(first, second):
    """Return claim -> (kind, overlap, verdicts, grades, effects with intervals) of two claims.csv."""
    tables = rows_of(first), rows_of(second)
    found = {}
    for name in [*tables[0], *(name for name in tables[1] if name not in tables[0])]:
        sides = [table.get(name) for table in tables]
        verdicts = tuple(row["verdict"] if row else None for row in sides)
        grades = tuple((row.get("grade") or None) if row else None for row in sides)
        effects = tuple(
            tuple(shown(row[key], row) for key in ("effect", "ci_low", "ci_high")) if row else (NAN,) * 3
            for row in sides
        )
        found[name] = (*slow_kind(sides, verdicts, grades), verdicts, grades, effects)
    return found


def slow_kind(sides, verdicts, grades):
    if None in sides:
        return ("only in A" if sides[1] is None else "only in B"), None
    a, b = sides
    for column in ("quantity", "compare", "condition_a", "condition_b", "expected"):
        if a[column] != b[column]:
            return "defined otherwise", None
    if abs(float(a["margin"]) - float(b["margin"])) > 1e-12 * abs(float(a["margin"])):
        return "defined otherwise", None
    overlap = None
    if a["effect"] and b["effect"]:
        # The largest of the lower ends is the first effect that both intervals may share.
        overlap = max(float(a["ci_low"]), float(b["ci_low"])) <= min(float(a["ci_high"]), float(b["ci_high"]))
    if set(verdicts) == {"supported", "contradicted"}:
        return "contradiction", overlap
    if verdicts[0] != verdicts[1] and "not run" in verdicts:
        return "not run on one side", overlap
    if verdicts[0] != verdicts[1]:
        return "decided on one side", overlap
    if overlap is False:
        return "disjoint intervals", overlap
    other = all(grades) and grades[0] != grades[1]
    return ("other grade" if other else "agreement"), overlap


def assert_same(rows, expected):
    """Assert that rows of `comparison.compare` say what `slowly` found."""
    assert rows["claim"].tolist() == list(expected)
    for row in rows.to_dict("records"):
        kind, overlap, verdicts, grades, effects = expected[row["claim"]]
        assert (row["kind"], row["overlap"]) == (kind, overlap), row
        for side, verdict, grade, numbers in zip("ab", verdicts, grades, effects, strict=True):
            assert (row[f"verdict_{side}"], row[f"grade_{side}"]) == (verdict, grade), row
            found = [row[f"{key}_{side}"] for key in ("effect", "ci_low", "ci_high")]
            assert found == pytest.approx(numbers, rel=1e-12, nan_ok=True), row


def random_claims(seed, names="abcdefghij", *, grades=True):
    """Return judged claims at random: all verdicts, ratios and differences, infinite and touching ends."""
    draw = random.Random(seed)
    claims = []
    for name in draw.sample(names, draw.randint(len(names) // 2, len(names))):
        verdict = draw.choice(["supported", "contradicted", "inconclusive", "not run"])
        effect = NAN if verdict == "not run" else draw.choice([-1.0, 0.0, 2.0, 800.0, -INF, INF])
        row = claim(name, verdict, effect, half=draw.choice([0.0, 0.5, 1.0, 2.0]))
        if math.isinf(effect) or (draw.random() < 0.1 and verdict != "not run"):
            row |= {"ci_low": draw.choice([-INF, effect]), "ci_high": draw.choice([INF, effect])}
        if draw.random() < 0.2:
            row |= {draw.choice(["quantity", "condition_b"]): "other", "margin": draw.choice([0.0, 0.1])}
        row["compare"] = "difference" if name in "abcd" else "log_ratio"
        claims.append(row | ({"grade": draw.choice(["strong", "weak", ""])} if grades else {}))
    return claims


PAIRS = list(itertools.product(STORED, repeat=2))


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_stored_results_compare_as_in_the_slow_implementation(first, second):
    files = [STORED[name] / "claims.csv" for name in (first, second)]
    assert_same(comparison.compare(*map(judged.read_claims, files)), slowly(*files))


@pytest.mark.parametrize("seed", range(40))
def test_tables_at_random_compare_as_in_the_slow_implementation_and_mirror_each_other(tmp_path, seed):
    a = write(tmp_path / "a", *random_claims(seed)) / "claims.csv"
    b = write(tmp_path / "b", *random_claims(1000 + seed, grades=seed % 3 > 0)) / "claims.csv"
    one, other = (comparison.compare(*map(judged.read_claims, pair)) for pair in ((a, b), (b, a)))
    assert_same(one, slowly(a, b))
    assert_mirrored(one, other)


def test_the_random_tables_meet_every_kind(tmp_path):
    met = set()
    for seed in range(40):
        pair = [
            judged.read_claims(write(tmp_path / f"{seed + more}", *random_claims(seed + more)) / "claims.csv")
            for more in (0, 1000)
        ]
        met |= set(comparison.compare(*pair)["kind"])
    assert met == set(comparison.KINDS)
    assert set(compare.HEADINGS) == set(comparison.KINDS) - {"agreement"}


def assert_mirrored(one, other):
    """Assert that two comparisons say the same with A and B exchanged, whatever the order of the claims."""
    letters = {"only in A": "only in B", "only in B": "only in A"}
    ends = {"_a": "_b", "_b": "_a"}
    names = {column: column[:-2] + ends.get(column[-2:], column[-2:]) for column in other}
    other = other.rename(columns=names)[list(one)].assign(kind=other["kind"].replace(letters))
    pd.testing.assert_frame_equal(
        *(rows.sort_values("claim", ignore_index=True).astype(object) for rows in (one, other))
    )


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_stored_results_compare_the_same_in_both_orders(first, second):
    a, b = (judged.read_claims(STORED[name] / "claims.csv") for name in (first, second))
    a, b = (claims.assign(label=claims["claim"]) for claims in (a, b))  # the first side's is shown
    assert_mirrored(comparison.compare(a, b), comparison.compare(b, a))


# -- single rules -----------------------------------------------------------------------------------


def kind(a, b):
    (row,) = comparison.compare(pd.DataFrame([a]), pd.DataFrame([b])).to_dict("records")
    return row["kind"]


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (("supported", "contradicted"), "contradiction"),
        (("supported", "inconclusive"), "decided on one side"),
        (("contradicted", "inconclusive"), "decided on one side"),
        (("supported", "not run"), "not run on one side"),
        (("inconclusive", "not run"), "not run on one side"),
        (("contradicted", "contradicted"), "agreement"),
    ],
)
def test_verdicts_differ_by_kind_in_both_orders(verdicts, expected):
    a, b = (claim("x", verdict) for verdict in verdicts)
    assert kind(a, b) == kind(b, a) == expected


def test_intervals_that_touch_overlap():
    assert kind(claim("x", effect=1.0), claim("x", effect=2.0)) == "agreement"
    assert kind(claim("x", effect=1.0), claim("x", effect=2.0, half=0.499)) == "disjoint intervals"


def test_two_claims_that_were_not_run_agree_without_an_interval():
    row = claim("x", "not run", NAN)
    (found,) = comparison.compare(pd.DataFrame([row]), pd.DataFrame([row])).to_dict("records")
    assert (found["kind"], found["overlap"]) == ("agreement", None)


@pytest.mark.parametrize("column", judged.DEFINITION)
def test_a_claim_that_is_defined_otherwise_is_not_compared(column):
    other = claim("x", "contradicted", effect=9.0)
    other[column] = {"margin": 0.1, "compare": "log_ratio"}.get(column, "other")
    assert kind(claim("x"), other) == "defined otherwise"


def test_margins_that_differ_by_rounding_are_the_same():
    margin = math.log(2)
    assert kind(claim("x", margin=margin), claim("x", margin=math.nextafter(margin, 1))) == "agreement"
    assert kind(claim("x", margin=margin), claim("x", margin=margin + 1e-9)) == "defined otherwise"


def test_grades_count_where_both_sides_have_one():
    weak, strong = claim("x", grade="weak"), claim("x", grade="strong")
    assert kind(weak, strong) == "other grade"
    assert kind(weak, weak) == kind(weak, claim("x")) == kind(claim("x"), strong) == "agreement"
    assert kind(weak, claim("x", "inconclusive", grade="strong")) == "decided on one side"


# -- the command ------------------------------------------------------------------------------------


def test_identical_results_agree_with_status_0(capsys):
    for name, folder in STORED.items():
        assert call(folder, folder) == 0
        lines = capsys.readouterr().out.splitlines()
        count = len(rows_of(folder / "claims.csv"))
        assert lines[0].removeprefix("A: ") == lines[1].removeprefix("B: ")
        assert lines[0].startswith(f"A: {folder}: {count} claims: "), name
        assert lines[2:] == [
            "",
            f"Claims in both, defined alike: {count}. Other verdicts: 0, of these contradictions: 0.",
            f"The same verdict and grade, overlapping intervals: {count}.",
            "",
            "Why they may differ",
            "  Their records do not differ.",
        ]


def test_a_contradiction_is_status_1_and_comes_first(tmp_path, capsys):
    a = write(
        tmp_path / "a",
        claim("far"),
        claim("open"),
        claim("against", grade="strong"),
        claim("graded", grade="weak"),
        claim("idle", "not run", NAN),
        claim("moved"),
        claim("gone"),
        claim("same", grade="weak"),
    )
    b = write(
        tmp_path / "b",
        claim("new"),
        claim("same", grade="weak"),
        claim("moved", margin=0.2),
        claim("idle"),
        claim("graded", grade="strong"),
        claim("open", "inconclusive", 1.25),
        claim("far", effect=9.0),
        claim("against", "contradicted", -1.0, grade="weak"),
    )
    assert call(a, b) == 1
    said = capsys.readouterr().out
    assert said[: said.index("\nWhy")].splitlines() == [
        f"A: {a}: 8 claims: 7 supported, 1 not run; up to 3 seeds",
        f"B: {b}: 8 claims: 6 supported, 1 contradicted, 1 inconclusive; up to 3 seeds",
        "",
        "Claims in both, defined alike: 6. Other verdicts: 3, of these contradictions: 1.",
        "The same verdict and grade, overlapping intervals: 1.",
        "",
        "Contradictions: supported on one side, contradicted on the other (1)",
        "  Claim against (against)",
        "    A: supported (strong), 1 [0.5, 1.5]",
        "    B: contradicted (weak), -1 [-1.5, -0.5]",
        "    The intervals do not overlap.",
        "",
        "Decided on one side only, inconclusive on the other (1)",
        "  Claim open (open)",
        "    A: supported, 1 [0.5, 1.5]",
        "    B: inconclusive, 1.25 [0.75, 1.75]",
        "",
        "Not run on one side (1)",
        "  Claim idle (idle)",
        "    A: not run, –",
        "    B: supported, 1 [0.5, 1.5]",
        "",
        "The same verdict, but the intervals do not overlap (1)",
        "  Claim far (far)",
        "    A: supported, 1 [0.5, 1.5]",
        "    B: supported, 9 [8.5, 9.5]",
        "",
        "The same verdict with another grade (1)",
        "  Claim graded (graded)",
        "    A: supported (weak), 1 [0.5, 1.5]",
        "    B: supported (strong), 1 [0.5, 1.5]",
        "",
        "Defined otherwise, so not compared (1)",
        "  Claim moved (moved)",
        "",
        "Only in A (1)",
        "  Claim gone (gone)",
        "",
        "Only in B (1)",
        "  Claim new (new)",
    ]
    assert call(b, a) == 1


def test_a_contradiction_of_a_claim_that_is_defined_otherwise_is_none(tmp_path):
    a = write(tmp_path / "a", claim("x"))
    assert call(a, write(tmp_path / "b", claim("x", "contradicted", -1.0, margin=0.5))) == 0


def test_ratios_are_shown_as_factors(tmp_path, capsys):
    ratio = {"compare": "log_ratio", "ci_low": -INF, "ci_high": math.log(4)}
    a = write(tmp_path / "a", claim("x", effect=math.log(2), **ratio))
    b = write(tmp_path / "b", claim("x", "inconclusive", 800.0, compare="log_ratio"))
    assert call(a, b) == 0
    said = capsys.readouterr().out
    assert "A: supported, ×2 [0, 4]" in said
    assert "B: inconclusive, ×inf [inf, inf]" in said
    assert "The intervals do not overlap." in said


def test_the_table_has_a_row_for_each_claim(tmp_path, capsys):
    file = tmp_path / "new" / "differences.csv"
    pair = STORED["digits"], STORED["deep-linear"]
    # With L₁ the deep linear network is at the edge at one scale, and is not at the other.
    assert call(*pair, "--table", file) == 1
    capsys.readouterr()
    expected = comparison.compare(*(judged.read_claims(folder / "claims.csv") for folder in pair))
    found = rows_of(file)
    assert list(found) == expected["claim"].tolist()
    for row in expected.to_dict("records"):
        for column, value in row.items():
            text = found[row["claim"]][column]
            missing = value is None or value != value
            assert (text == "") if missing else text in (str(value), repr(value))


def test_a_study_a_stored_folder_and_a_file_are_read_alike(tmp_path, capsys):
    study = write(tmp_path / "study", claim("x"), file="statistics/claims.csv")
    stored = write(tmp_path / "stored", claim("x"))
    for side in (study, stored, stored / "claims.csv", study / "statistics" / "claims.csv"):
        assert call(study, side) == 0
        assert "overlapping intervals: 1." in capsys.readouterr().out


def test_it_runs_as_a_module():
    """Run the command in a process of its own, from another folder."""
    done = subprocess.run(
        [sys.executable, "-m", "bnopt.compare", STORED["digits"], STORED["cifar10-small"]],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    kinds = {
        kind for kind, *_ in slowly(*(STORED[n] / "claims.csv" for n in ("digits", "cifar10-small"))).values()
    }
    assert done.returncode == int("contradiction" in kinds)
    assert done.stderr == ""
    for name, heading in compare.HEADINGS.items():
        assert (heading in done.stdout) == (name in kinds)


# -- why they may differ ----------------------------------------------------------------------------


def study_of(folder, *claims, runs, settings, **about):
    """Write results with a provenance.json: a record of each run with these settings, and of the claims."""
    judged_as = {"claims": about.pop("claims", {}), "quantities": {}}
    write(folder, *claims, job=Job("bnopt.claims", judged_as, "c"))
    about = {"commit": "1", "versions": {"numpy": "2"}, "hardware": {"processor": "X", "gpu": None}} | about
    code = about.pop("code", "f")
    modules = about.pop("modules", {"bnopt.train": "t"})
    record = {"stage": "bnopt.train", "settings": settings, "code": code, "modules": modules} | about
    text = json.dumps({f"runs/{run}/training.csv": record for run in runs})
    artefacts.write_recorded(text, folder / "provenance.json")
    file = folder / "claims.csv"
    of_claims = records.read(file) | about | {"code": "c", "modules": {}}
    artefacts.write_text(json.dumps(of_claims), records.of(file))
    return folder


def reasons(tmp_path, capsys, **changes):
    """Return the lines that say why two studies differ of which the second has these changes."""
    alike = {"runs": ["a/seed0", "a/seed1"], "settings": {"lr": 0.1, "net": {"depth": 3}}}
    folders = (
        study_of(tmp_path / "a", claim("x"), **alike),
        study_of(tmp_path / "b", claim("x"), **alike | changes),
    )
    assert call(*folders) == 0
    said = capsys.readouterr().out.splitlines()
    return said[said.index("Why they may differ") + 1 :]


def test_equal_records_give_no_reason(tmp_path, capsys):
    assert reasons(tmp_path, capsys) == ["  Their records do not differ."]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"commit": "2 + changes"}, "commit: A 1; B 2 + changes"),
        ({"versions": {"numpy": "3"}}, "numpy: A 2; B 3"),
        ({"versions": {}}, "numpy: A 2; B not recorded"),
        ({"hardware": {"processor": "Y", "gpu": None}}, "processor: A X; B Y"),
        ({"hardware": {"processor": "X", "gpu": "H"}}, "gpu: A not recorded; B H"),
        ({"runs": ["a/seed0"]}, "tables only in A: runs/a/seed1/training.csv"),
        (
            {"runs": [f"a/seed{seed}" for seed in range(6)]},
            "tables only in B: runs/a/seed2/training.csv, runs/a/seed3/training.csv, "
            "runs/a/seed4/training.csv and 1 more",
        ),
        ({"settings": {"lr": 0.2, "net": {"depth": 3}}}, "setting lr: A 0.1; B 0.2 (tables of train)"),
        ({"settings": {"lr": 0.1, "net": {"depth": 4}}}, "setting net.depth: A 3; B 4 (tables of train)"),
        ({"settings": {"net": {"depth": 3}}}, "setting lr: A 0.1; B none (tables of train)"),
        ({"code": "g"}, "code of these stages differs: train"),
        ({"modules": {"bnopt.train": "u"}}, "code of these modules differs: bnopt.train"),
    ],
)
def test_each_difference_between_records_is_a_reason(tmp_path, capsys, changes, expected):
    assert reasons(tmp_path, capsys, **changes) == [f"  {expected}"]


@pytest.mark.parametrize(
    ("inside", "path"),
    [
        ("a/statistics", "claims.csv"),
        ("a/statistics", "."),
        ("a/statistics", "./claims.csv"),
        ("a/runs", "../statistics/claims.csv"),
        ("a", "statistics"),
        ("a", "."),
        ("", "a"),
    ],
)
def test_the_records_are_found_from_any_folder(tmp_path, capsys, monkeypatch, inside, path):
    for side, rate in (("a", 0.1), ("b", 0.2)):
        folder = study_of(tmp_path / side, claim("x"), runs=["r/seed0"], settings={"lr": rate})
        (folder / "statistics").mkdir()
        (folder / "runs").mkdir()
        for name in ("claims.csv", "claims.csv.provenance.json"):
            (folder / name).rename(folder / "statistics" / name)
    monkeypatch.chdir(tmp_path / inside)
    assert call(path, tmp_path / "b") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"A: {path}: 1 claims")
    assert said[-1] == "  setting lr: A 0.1; B 0.2 (tables of train)"


def test_the_layers_of_a_claim_are_a_reason_only_if_both_sides_have_the_claim(tmp_path, capsys):
    judged_as = {"both": {"layers": ["#5"], "margin": 0}, "only one": {"layers": [], "margin": 0}}
    a, b = (
        study_of(tmp_path / side, claim("x"), runs=[], settings={}, claims=claims)
        for side, claims in (("a", judged_as), ("b", {"both": {"layers": ["#9"], "margin": 1}}))
    )
    for pair, line in (((a, b), "A ['#5']; B ['#9']"), ((b, a), "A ['#9']; B ['#5']")):
        assert call(*pair) == 0
        said = capsys.readouterr().out.splitlines()
        assert said[said.index("Why they may differ") + 1 :] == [
            f"  setting claims.both.layers: {line} (tables of claims)"
        ]


def test_the_stored_results_differ_in_what_their_records_say(capsys):
    call(STORED["digits"], STORED["cifar10-small"])
    said = capsys.readouterr().out
    known = [
        json.loads((STORED[n] / "provenance.json").read_text("utf-8")) for n in ("digits", "cifar10-small")
    ]
    for part, key in (("hardware", "processor"), (None, "commit")):
        values = [sorted({(record[part] if part else record)[key] for record in of.values()}) for of in known]
        line = f"  {key}: A {', '.join(values[0])}; B {', '.join(values[1])}"
        assert (line in said.splitlines()) == (values[0] != values[1])
    assert "setting steps: A 500; B 1500 (tables of train)" in said
    assert "setting images: A digits; B the folder cifar10-jpeg (tables of data)" in said
    # The texts of claims changed their names since; that is no reason.
    assert ".place" not in said


def test_many_settings_are_counted(tmp_path, capsys):
    settings = {f"s{number}": 0 for number in range(compare.MOST_LINES + 3)}
    lines = reasons(tmp_path, capsys, settings={"lr": 0.1, "net": {"depth": 3}} | settings)
    assert len(lines) == compare.MOST_LINES + 1
    assert lines[-1] == "  and 3 more settings"


# -- bad input --------------------------------------------------------------------------------------


def _empty(file):
    artefacts.write_recorded("", file)


def _binary(file):
    file.write_bytes(b"\x89PNG\r\n\xff\xfe\x00")
    artefacts.write_record(file, file.read_bytes(), job=None)


def _no_table(file):
    artefacts.write_recorded('{"a": 1}\n1,2,3\n4,5,6,7\n', file)


def _no_claims(file):
    artefacts.write_recorded("x,y\n1,2\n", file)


def _altered(file):
    file.write_text(file.read_text("utf-8").replace("supported", "contradicted"), encoding="utf-8")


def _rows(*claims):
    return lambda file: artefacts.write_table(pd.DataFrame(list(claims)), file)


def _without(column):
    return _rows({key: value for key, value in claim("x").items() if key != column})


BAD = {
    "missing": (lambda file: file.unlink(), "expected a table of claims, found no such file"),
    "empty": (_empty, "expected a table of claims (.csv), found a file that is none (No columns"),
    "binary": (_binary, "expected a table of claims (.csv), found a file that is none ('utf-8'"),
    "no table": (_no_table, "expected a table of claims (.csv), found a file that is none (Error tokenizing"),
    "another table": (_no_claims, "expected the column claim, found x, y"),
    "duplicates": (
        _rows(claim("x"), claim("y"), claim("x")),
        "expected one row for each claim, found several",
    ),
    "no name": (
        _rows(claim("x"), claim("")),
        "expected the name of a claim in each row, found a row without",
    ),
    "a text": (
        _rows(claim("x", effect=1) | {"effect": "much"}),
        "expected numbers in the column effect, found",
    ),
    "a verdict": (
        _rows(claim("x", "true")),
        "expected in the column verdict one of supported, contradicted,",
    ),
    "no verdict": (_rows(claim("x", None), claim("y")), "in the column verdict one of supported"),
    "a kind": (
        _rows(claim("x", compare="factor")),
        "in the column compare one of difference, log_ratio, found",
    ),
    "altered": (_altered, "found it altered or truncated; copy it again with its record, or make"),
    "no record": (
        lambda file: records.of(file).unlink(),
        "found none; copy it again with its record, or make",
    ),
    "bad record": (
        lambda file: records.of(file).write_text("[]", encoding="utf-8"),
        "found it damaged; copy it again with its record, or make",
    ),
    **{
        f"without {column}": (_without(column), f"expected the column {column}, found ")
        for column in judged.NEEDED
    },
}


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_one_sentence_with_status_2(tmp_path, capsys, case, side):
    folders = [write(tmp_path / name, claim("x"), claim("y")) for name in "ab"]
    file = folders[side] / "claims.csv"
    spoil, expected = BAD[case]
    spoil(file)
    paths = [folder / "claims.csv" for folder in folders]
    assert call(*paths) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"error: {file}: expected ")
    assert expected in said.err
    # The remedy is one that the user can follow: no rule makes a file of this name.
    assert "snakemake" not in said.err
    assert said.err.count("\n") == 1
    assert "; " in said.err.removeprefix(f"error: {file}")


def test_a_folder_without_claims_is_refused(tmp_path, capsys):
    assert call(STORED["digits"], tmp_path) == 2
    assert capsys.readouterr().err == (
        f"error: {tmp_path}: expected claims.csv or statistics/claims.csv in it, found neither; name the "
        "results of a scale, such as results/digits\n"
    )


def test_a_damaged_provenance_is_refused(tmp_path, capsys):
    shutil.copytree(STORED["digits"], tmp_path / "digits")
    with open(tmp_path / "digits" / "provenance.json", "a", encoding="utf-8") as file:
        file.write(" ")
    assert call(tmp_path / "digits", STORED["digits"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(
        f"error: {tmp_path / 'digits' / 'provenance.json'}: expected the content described"
    )
    assert said.endswith("; copy it again with its record, or make the results again\n")


def test_a_table_that_cannot_be_written_is_status_2(tmp_path, capsys):
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert call(STORED["digits"], STORED["digits"], "--table", tmp_path / "file" / "table.csv") == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"error: {tmp_path / 'file'}")
    assert said.out == ""


@pytest.mark.parametrize("words", [[], ["a"], ["a", "b", "c"], ["a", "b", "--unknown"]])
def test_a_call_with_other_arguments_is_status_2(words, capsys):
    assert call(*words) == 2
    assert "usage: python -m bnopt.compare" in capsys.readouterr().err


def test_tables_without_claims_have_nothing_to_compare(tmp_path, capsys):
    empty = tmp_path / "empty"
    artefacts.write_table(pd.DataFrame(columns=list(claim("x"))), empty / "claims.csv")
    full = write(tmp_path / "full", claim("x"))
    assert call(empty, full) == call(full, empty) == call(empty, empty) == 0
    assert f"A: {empty}: 0 claims: no verdict\n" in capsys.readouterr().out


def test_the_report_reads_claims_with_the_same_checks(tmp_path):
    write(tmp_path, claim("x"), claim("x"))
    with pytest.raises(StudyError, match="expected one row for each claim, found several for x"):
        judged.read_claims(tmp_path / "claims.csv")
