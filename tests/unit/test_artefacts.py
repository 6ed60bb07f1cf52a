"""Files between the stages are complete or absent, and tables are read back exactly."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bnopt.files import artefacts, records
from bnopt.runtime import StudyError

SOURCE = str(Path(artefacts.__file__).parents[2])


def content(folder):
    """Return relative path -> bytes of all files in a folder, including hidden ones."""
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


class Interrupted(BaseException):
    """Like KeyboardInterrupt, not a subclass of Exception."""


# -- atomic ---------------------------------------------------------------------------------------


def test_a_file_appears_only_when_its_block_is_done(tmp_path):
    path = tmp_path / "new" / "folder" / "table.csv"
    with artefacts.atomic(path) as partial:
        partial.write_text("half")
        assert not path.exists()
        partial.write_text("whole")
    assert content(tmp_path) == {"new/folder/table.csv": b"whole"}


def test_a_partial_file_is_beside_its_target_and_has_its_suffix(tmp_path):
    # Beside: a rename is atomic only within one file system. Suffix: numpy and matplotlib use it.
    with artefacts.atomic(tmp_path / "images.npz") as partial:
        assert partial.parent == tmp_path
        assert partial.suffix == ".npz"
        partial.touch()


@pytest.mark.parametrize("error", [ValueError, OSError, Interrupted])
def test_nothing_is_left_when_writing_a_new_file_fails(tmp_path, error):
    with pytest.raises(error), artefacts.atomic(tmp_path / "table.csv") as partial:  # noqa: PT012
        partial.write_text("half")
        raise error
    assert content(tmp_path) == {}


@pytest.mark.parametrize("error", [ValueError, OSError, Interrupted])
def test_the_old_file_is_kept_when_writing_a_new_one_fails(tmp_path, error):
    (tmp_path / "table.csv").write_text("old")
    with pytest.raises(error), artefacts.atomic(tmp_path / "table.csv") as partial:  # noqa: PT012
        partial.write_text("half")
        raise error
    assert content(tmp_path) == {"table.csv": b"old"}


def test_a_new_file_replaces_the_old_one_whole(tmp_path):
    (tmp_path / "table.csv").write_text("old and longer")
    with artefacts.atomic(tmp_path / "table.csv") as partial:
        partial.write_text("new")
    assert content(tmp_path) == {"table.csv": b"new"}


def test_a_block_that_writes_nothing_is_an_error_and_keeps_the_old_file(tmp_path):
    (tmp_path / "table.csv").write_text("old")
    with pytest.raises(FileNotFoundError), artefacts.atomic(tmp_path / "table.csv"):
        pass
    assert content(tmp_path) == {"table.csv": b"old"}


# -- atomic_folder --------------------------------------------------------------------------------


def test_a_folder_appears_only_when_its_block_is_done(tmp_path):
    path = tmp_path / "new" / "snapshots"
    with artefacts.atomic_folder(path) as partial:
        (partial / "a").write_text("a")
        assert not path.exists()
        (partial / "b").write_text("b")
    assert content(tmp_path) == {"new/snapshots/a": b"a", "new/snapshots/b": b"b"}


def test_an_empty_folder_is_a_result_too(tmp_path):
    with artefacts.atomic_folder(tmp_path / "snapshots"):
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["snapshots"]


@pytest.mark.parametrize("error", [ValueError, OSError, Interrupted])
@pytest.mark.parametrize("old", [{}, {"snapshots/old": b"old"}], ids=["new", "replaced"])
def test_what_was_there_is_kept_when_filling_a_folder_fails(tmp_path, error, old):
    for name, text in old.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(text)
    with pytest.raises(error), artefacts.atomic_folder(tmp_path / "snapshots") as partial:  # noqa: PT012
        (partial / "half").write_text("half")
        raise error
    assert content(tmp_path) == old
    assert [entry.name for entry in tmp_path.iterdir()] == ["snapshots"] * len(old)


def test_a_new_folder_replaces_the_old_one_with_nothing_of_it_left(tmp_path):
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots" / "old").write_text("old")
    with artefacts.atomic_folder(tmp_path / "snapshots") as partial:
        assert list(partial.iterdir()) == []
        (partial / "new").write_text("new")
    assert content(tmp_path) == {"snapshots/new": b"new"}


def test_a_partial_folder_of_a_killed_process_with_the_same_number_is_replaced(tmp_path):
    # In a container every start gives the process the same number.
    with artefacts.atomic_folder(tmp_path / "snapshots") as partial:
        pass
    partial.mkdir()
    (partial / "half").write_text("half")
    with artefacts.atomic_folder(tmp_path / "snapshots") as again:
        assert again == partial
        (again / "new").write_text("new")
    assert content(tmp_path) == {"snapshots/new": b"new"}


# -- a disk without room --------------------------------------------------------------------------

FULL_DISK = """
import resource, sys
import numpy as np, pandas as pd
from bnopt.files import artefacts, images

def text(path): artefacts.write_text("x" * 100_000, path)
def table(path): artefacts.write_table(pd.DataFrame({"x": np.arange(100_000.0)}), path)
def archive(path):
    few = np.zeros(3, np.uint8)
    images.write(images.Images(np.zeros(100_000, np.uint8), few, few, few, few, few, few, few), path)
def folder(path):
    with artefacts.atomic_folder(path) as partial:
        (partial / "first").write_bytes(b"fits")
        (partial / "second").write_bytes(bytes(100_000))

# From here on the kernel refuses to let a file grow beyond 4 KiB.
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    {"text": text, "table": table, "archive": archive, "folder": folder}[sys.argv[1]](sys.argv[2])
except OSError as error:
    print("refused:", error.strerror, error.filename)
"""


@pytest.mark.parametrize("kind", ["text", "table", "archive", "folder"])
@pytest.mark.parametrize("old", [False, True], ids=["new", "replaced"])
def test_on_a_full_disk_the_old_is_kept_and_nothing_half_written_is_left(tmp_path, kind, old):
    target = tmp_path / ("folder" if kind == "folder" else "file.npz")
    if old and kind == "folder":
        target.mkdir()
        (target / "first").write_bytes(b"old")
    elif old:
        target.write_bytes(b"old")
    before = content(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, kind, str(target)],
        env=os.environ | {"PYTHONPATH": SOURCE},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("refused:"), done.stderr
    # The error of the system names no file.
    named = [target, records.of(target)] if kind == "table" else [target]
    assert done.stdout.split()[-1] in map(str, named)
    assert content(tmp_path) == before
    assert [entry.name for entry in tmp_path.iterdir()] == [target.name] * old


KILLED = FULL_DISK.replace(
    "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))",
    "artefacts.os.replace = lambda *paths: artefacts.os.kill(artefacts.os.getpid(), 9)",
)


@pytest.mark.parametrize("kind", ["text", "table", "archive", "folder"])
@pytest.mark.parametrize("old", [False, True], ids=["new", "replaced"])
def test_killed_between_writing_and_renaming_a_writer_leaves_what_was_there(tmp_path, kind, old):
    """A folder that is to be replaced is complete or absent."""
    assert "os.kill" in KILLED
    target = tmp_path / ("folder" if kind == "folder" else "file.npz")
    if old:
        write_anything = {"folder": target.mkdir}.get(kind, lambda: target.write_bytes(b"old"))
        write_anything()
    before = content(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, kind, str(target)],
        env=os.environ | {"PYTHONPATH": SOURCE},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -9, done.stderr
    visible = [file for file in tmp_path.iterdir() if not file.name.startswith(".")]
    assert {str(f.relative_to(tmp_path)) for f in visible} <= {target.name}
    assert {name: data for name, data in content(tmp_path).items() if not name.startswith(".")} == before


def test_in_a_read_only_folder_the_old_is_kept(tmp_path):
    (tmp_path / "table.csv").write_text("old")
    program = f"""
import os
from bnopt.files import artefacts
os.geteuid() or os.setuid(65534)  # root may write anywhere
try:
    artefacts.write_text("new", {str(tmp_path / "table.csv")!r})
except PermissionError as error:
    print(error.filename)
"""
    tmp_path.chmod(0o555)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": SOURCE},
        capture_output=True,
        text=True,
        check=True,
    )
    tmp_path.chmod(0o755)
    assert done.stdout.startswith(str(tmp_path))
    assert content(tmp_path) == {"table.csv": b"old"}


# -- tables ---------------------------------------------------------------------------------------


def test_floats_come_back_bit_for_bit(tmp_path):
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**64, 10_000, dtype=np.uint64).view(np.float64)
    special = [0.0, -0.0, np.inf, -np.inf, 5e-324, np.finfo(float).max, 0.1, 1 / 3, 1e22, 2**53 + 1.0]
    values = np.concatenate([bits[~np.isnan(bits)], special])
    artefacts.write_table(pd.DataFrame({"x": values}), tmp_path / "table.csv")
    found = artefacts.read_table(tmp_path / "table.csv")["x"].to_numpy()
    np.testing.assert_array_equal(found.view(np.uint64), values.view(np.uint64))


def test_single_precision_comes_back_as_the_same_numbers(tmp_path):
    values = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    artefacts.write_table(pd.DataFrame({"x": values}), tmp_path / "table.csv")
    found = artefacts.read_table(tmp_path / "table.csv")["x"].to_numpy()
    np.testing.assert_array_equal(found.astype(np.float32), values)


def test_missing_values_infinities_whole_numbers_and_text_come_back_as_such(tmp_path):
    table = pd.DataFrame(
        {
            "condition": ["vgg_none", "a,b", 'say "ü"'],
            "seed": [0, 1, 2**40],
            "loss": [np.inf, np.nan, -np.inf],
        }
    )
    artefacts.write_table(table, tmp_path / "table.csv")
    pd.testing.assert_frame_equal(artefacts.read_table(tmp_path / "table.csv"), table)


@pytest.mark.parametrize("layers", [["", "", ""], ["#2", "", "#13"], ["1", "2", ""]])
def test_a_missing_layer_is_empty_text(tmp_path, layers):
    artefacts.write_table(pd.DataFrame({"layer": layers, "x": [1, 2, 3]}), tmp_path / "table.csv")
    assert artefacts.read_table(tmp_path / "table.csv")["layer"].tolist() == layers


@pytest.mark.parametrize("column", ["condition", "condition_a", "condition_b"])
@pytest.mark.parametrize(
    "names",
    [["null", "NA", "nan", "None", "none"], ["true", "True"], ["inf", "Infinity"], ["1", "1e5", "01"]],
    ids=["missing", "true", "infinite", "numbers"],
)
def test_names_that_look_like_other_values_stay_names(tmp_path, column, names):
    # The configuration allows these names of conditions, and numbers as `condition_b`.
    artefacts.write_table(pd.DataFrame({column: names}), tmp_path / "table.csv")
    assert artefacts.read_table(tmp_path / "table.csv")[column].tolist() == names


def test_equal_tables_are_equal_bytes_whatever_their_index(tmp_path):
    table = pd.DataFrame({"step": [0, 1], "x": [0.1, np.inf]})
    artefacts.write_table(table, tmp_path / "a.csv")
    artefacts.write_table(table.set_axis([7, 3]), tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert (tmp_path / "a.csv").read_bytes() == b"step,x\n0,0.1\n1,inf\n"


# -- damage ---------------------------------------------------------------------------------------

TABLE = pd.DataFrame({"condition": "vgg_none", "seed": 0, "step": [0, 1], "loss": [2.5, 2.25]})


@pytest.fixture
def table(tmp_path):
    """The path of an intact table with its record."""
    path = tmp_path / "table.csv"
    artefacts.write_table(TABLE, path)
    return path


def assert_refused(path):
    with pytest.raises(StudyError) as caught:
        artefacts.read_table(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: expected ")
    assert message.endswith(f"; to make it again: snakemake --force {path}")
    assert "\n" not in message


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: b"\xff\xfe\x00" * 40,
        lambda whole: whole[:-1],
        lambda whole: whole[: whole.rindex(b"vgg_none")],
        lambda whole: whole.replace(b"2.25", b"2.26"),
        lambda whole: whole + b"vgg_none,0,2,2.0\n",
        lambda whole: whole.replace(b"\n", b"\r\n"),
    ],
    ids=["empty", "binary", "no end", "a row less", "a digit", "a row more", "other line ends"],
)
def test_an_altered_table_is_refused_with_its_path(table, damage):
    table.write_bytes(damage(table.read_bytes()))
    assert_refused(table)


def test_every_flipped_byte_of_a_table_is_noticed(table):
    whole = table.read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        table.write_bytes(damaged)
        assert_refused(table)


@pytest.mark.parametrize("damage", [None, "", "{", "[]", "{}", '{"sha256": null}', '{"sha256": "0"}'])
def test_a_table_without_its_record_is_refused(table, damage):
    record = records.of(table)
    record.unlink() if damage is None else record.write_text(damage)
    assert_refused(table)


@pytest.mark.parametrize(
    ("key", "value"),
    [("settings", [1]), ("settings", None), ("accepted", 5), ("code", {}), ("modules", []), ("seconds", "1")],
)
def test_a_table_whose_record_has_another_form_is_refused(table, key, value):
    record = json.loads(records.of(table).read_text())
    records.of(table).write_text(json.dumps(record | {key: value}))
    assert_refused(table)


def test_a_table_is_never_without_its_record(table):
    """A writer killed between the two leaves only the record, which does not count as a result."""
    program = f"""
import os, signal
import pandas as pd
from bnopt.files import artefacts
replace, done = os.replace, []
def once(*paths):
    if done:
        os.kill(os.getpid(), signal.SIGKILL)
    done.append(replace(*paths))
os.replace = once
artefacts.write_table(pd.DataFrame({{"x": [1]}}), {str(table.with_name("new.csv"))!r})
"""
    subprocess.run([sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": SOURCE}, check=False)
    found = {file.name for file in table.parent.iterdir() if not file.name.startswith(".")}
    assert found == {"table.csv", "table.csv.provenance.json", "new.csv.provenance.json"}
    artefacts.write_table(TABLE, table.with_name("new.csv"))
    pd.testing.assert_frame_equal(artefacts.read_table(table.with_name("new.csv")), TABLE)


def test_what_killed_writers_left_is_removed_once_it_is_old(tmp_path):
    old, young = (tmp_path / f".table.csv.{number}.partial.csv" for number in (1, 2))
    other = tmp_path / ".other.csv.1.partial.csv"
    for file in (old, young, other):
        file.write_text("half")
    for file in (old, other):
        os.utime(file, (0, 0))
    artefacts.write_text("whole", tmp_path / "table.csv")
    assert {f.name for f in tmp_path.iterdir()} == {"table.csv", young.name, other.name}


def test_text_is_written_as_utf8_on_every_machine(tmp_path):
    artefacts.write_text("θ − ü\n", tmp_path / "text.txt")
    assert (tmp_path / "text.txt").read_bytes() == "θ − ü\n".encode()


# -- tables of runs -------------------------------------------------------------------------------


def test_the_table_of_another_run_is_refused(tmp_path):
    """Its record is intact and its settings are those of the present study, if only the seed differs."""
    for seed in (0, 1):
        table = pd.DataFrame({"condition": ["vgg_none"], "seed": [0], "step": [0]})
        artefacts.write_table(table, tmp_path / "vgg_none" / f"seed{seed}.csv")
    pattern = str(tmp_path / "{condition}" / "seed{seed}.csv")
    assert len(artefacts.read_runs(pattern, conditions=["vgg_none"], seeds=[0])) == 1
    with pytest.raises(StudyError, match=r"expected the run vgg_none at seed 1, found vgg_none at seed 0"):
        artefacts.read_runs(pattern, conditions=["vgg_none"], seeds=[0, 1])
