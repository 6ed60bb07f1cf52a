"""How a stage is called and how it ends; never what it computes."""

import argparse
import errno
import json
import signal
import sys
from contextlib import contextmanager
from dataclasses import dataclass

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)


class StudyError(Exception):
    """Something a user can put right: the text names the place, what was expected, what was found."""


class Stopped(BaseException):
    """The job was told to stop; its text says what is kept."""


@dataclass(frozen=True)
class Job:
    """One call of a stage: the name of its module, its settings, and the fingerprint of its code.

    The record beside every file that the job writes repeats all three (`records.describe`).
    """

    stage: str
    settings: dict
    code: str = ""


def parser(stage, description):
    """Return the command line that every stage shares: settings as one JSON object, the code's fingerprint.

    stage: name of the module, `__spec__.name`.
    """
    command_line = argparse.ArgumentParser(prog=f"python -m {stage}", description=description)
    command_line.set_defaults(stage=stage)
    command_line.add_argument("--settings", type=json.loads, required=True, help="a JSON object")
    command_line.add_argument("--code", default="", help="fingerprint of the code, for the record")
    return command_line


def job_of(options):
    """Return the Job that a command line (`parser`) asks for."""
    return Job(stage=options.stage, settings=options.settings, code=options.code)


class Signals:
    """Which signal to stop has been received, if any."""

    received = None

    def note(self, number, _frame):
        """Note a signal; a second one of its kind ends the process at once, without KeyboardInterrupt."""
        self.received = number
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def noticing_signals():
    """Yield `Signals`: SIGTERM and Ctrl-C are noted within the block instead of ending the process."""
    signals = Signals()
    before = {number: signal.signal(number, signals.note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(main):
    """Call `main()`; exit with a sentence where a user can do something about what went wrong.

    1: a user's error, or no room or right to read or write; 130: stopped, with or without something kept.
    """
    try:
        main()
    except StudyError as error:
        sys.exit(f"error: {error}")
    except (Stopped, KeyboardInterrupt) as stop:
        print(f"stopped: {str(stop) or 'nothing was kept'}; call snakemake again to go on", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        sys.exit(
            f"error: {error.filename or 'an output file'}: could not be read or written "
            f"({error.strerror}); make room or grant access, then call snakemake again"
        )
