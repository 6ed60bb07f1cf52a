"""How a stage is called and how it fails: one sentence for an error of the user, a traceback for a bug."""

import errno
import os
import signal
import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from bnopt import runtime
from bnopt.runtime import StudyError

SOURCE = str(Path(runtime.__file__).parents[1])


def run_in_a_process(body, *arguments, **surroundings):
    """Run a `main` with this body as a stage is run."""
    program = f"import sys\nfrom bnopt import runtime\ndef main():\n    {body}\nruntime.run(main)"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=os.environ | {"PYTHONPATH": SOURCE},
        text=True,
        check=False,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | surroundings,
    )


def run_without_rights(body, folder, mode):
    """Run it in a folder with this mode, as a user without the rights of root."""
    folder.chmod(mode)
    # Root gives up its rights only inside the process, after the imports: another user may not be allowed to
    # read the package or to enter the folder.
    body = f"import os; os.geteuid() or os.setuid(65534); {body}"
    try:
        return run_in_a_process(body, cwd=folder)
    finally:
        folder.chmod(0o755)


def test_a_users_error_is_one_line_and_exit_status_1():
    done = run_in_a_process("raise runtime.StudyError('config.yaml: lr: expected a number, found ü')")
    assert done.returncode == 1
    assert done.stderr == "error: config.yaml: lr: expected a number, found ü\n"
    assert done.stdout == ""


def test_the_cause_of_a_users_error_is_not_shown():
    body = "\n    ".join(
        ["try: int('x')", "except ValueError as error: raise runtime.StudyError('a sentence') from error"]
    )
    assert run_in_a_process(body).stderr == "error: a sentence\n"


@pytest.mark.parametrize(
    ("body", "last"),
    [
        ("raise ValueError('a bug')", "ValueError: a bug"),
        ("raise RuntimeError('a bug')", "RuntimeError: a bug"),
        ("{}['key']", "KeyError: 'key'"),
        ("open('no such file')", "FileNotFoundError: [Errno 2] No such file or directory: 'no such file'"),
    ],
)
def test_any_other_error_keeps_its_traceback(body, last):
    done = run_in_a_process(body)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):")
    assert done.stderr.splitlines()[-1] == last


def test_success_is_silent_and_exit_status_0():
    done = run_in_a_process("pass")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a device without room")
def test_a_full_disk_is_one_sentence():
    done = run_in_a_process("open('/dev/full', 'wb', buffering=0).write(b'x')")
    assert done.returncode == 1
    assert done.stderr == (
        "error: an output file: could not be read or written (No space left on device); "
        "free disk space or grant access, then call snakemake again\n"
    )


def test_a_read_only_folder_is_one_sentence(tmp_path):
    write = "open('table.csv', 'w')"
    done = run_without_rights(write, tmp_path, 0o555)
    assert done.returncode == 1
    assert done.stderr.startswith("error: table.csv: could not be read or written (Permission denied)")
    assert done.stderr.count("\n") == 1
    assert run_without_rights(write, tmp_path, 0o777).returncode == 0  # only the mode prevented it


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG])
def test_every_way_of_not_being_able_to_write_names_the_file_and_what_to_do(number):
    def main():
        raise OSError(number, os.strerror(number), "results/table.csv")

    with pytest.raises(SystemExit) as caught:
        runtime.run(main)
    message = caught.value.code
    assert message.startswith("error: results/table.csv: could not be read or written")
    assert os.strerror(number) in message
    assert "free disk space or grant access, then call snakemake again" in message


@pytest.mark.parametrize("lines", [1, 100_000], ids=["at the end", "while it writes"])
@pytest.mark.parametrize("end", ["pass", "sys.exit(1)"])
def test_output_whose_reader_has_ended_is_a_status_of_its_own(lines, end):
    reader, writer = os.pipe()
    os.close(reader)
    done = run_in_a_process(f"print('a line\\n' * {lines}); {end}", stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_an_interruption_is_one_sentence(capsys):
    def main():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as caught:
        runtime.run(main)
    assert caught.value.code == 130
    assert capsys.readouterr().err == "stopped: no checkpoint was written; call snakemake again to resume\n"


def test_a_stopped_job_names_its_checkpoint(capsys):
    def main():
        raise runtime.Stopped("its state is in results/unfinished")

    with pytest.raises(SystemExit) as caught:
        runtime.run(main)
    assert caught.value.code == 130
    expected = "stopped: its state is in results/unfinished; call snakemake again to resume\n"
    assert capsys.readouterr().err == expected


def test_signals_are_stored_inside_the_block_alone():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    with runtime.noticing_signals() as signals:
        assert signals.received is None
        signal.raise_signal(signal.SIGTERM)
        assert signals.received == signal.SIGTERM
        signal.raise_signal(signal.SIGINT)
        assert signals.received == signal.SIGINT
    assert {number: signal.getsignal(number) for number in before} == before


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, -signal.SIGINT)], ids=["SIGTERM", "SIGINT"]
)
def test_only_a_second_ctrl_c_ends_a_job_before_its_checkpoint(number, status):
    lines = [
        "import signal",
        "with runtime.noticing_signals() as signals:",
        f"    for _ in range(3): signal.raise_signal({int(number)})",
        "    print('checkpoint', signals.received)",
    ]
    done = run_in_a_process("\n    ".join(lines))
    assert done.returncode == status, done.stderr
    assert done.stdout == ("" if status else f"checkpoint {int(number)}\n")


def test_a_job_is_made_of_the_command_line():
    words = ["--settings", '{"lr": 0.1}', "--code", "abc", "--table", "table.csv"]
    parser = runtime.parser("bnopt.train", "About")
    parser.add_argument("--table")
    job = runtime.job_of(parser.parse_args(words))
    assert job == runtime.Job(stage="bnopt.train", settings={"lr": 0.1}, code="abc")
    assert runtime.job_of(runtime.parser("bnopt.train", "About").parse_args(words[:2])).code == ""
    with pytest.raises(FrozenInstanceError):
        job.code = "other"


def test_the_command_line_gives_settings_as_an_object():
    options = runtime.parser("bnopt.train", "About").parse_args(
        ["--settings", '{"lr": 0.1, "norm": "ü", "net": {"a": [1]}}']
    )
    assert options.settings == {"lr": 0.1, "norm": "ü", "net": {"a": [1]}}


@pytest.mark.parametrize("arguments", [[], ["--settings", "{not json"], ["--settings"]])
def test_a_command_line_without_good_settings_is_refused(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        runtime.parser("bnopt.train", "About").parse_args(arguments)
    assert caught.value.code == 2
    assert "--settings" in capsys.readouterr().err


def test_a_users_error_is_an_error_of_its_own():
    # Not a subclass of an error that Python raises: a bug is never reported as an error of the user.
    assert StudyError.__mro__[1] is Exception
