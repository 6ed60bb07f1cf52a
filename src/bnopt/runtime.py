"""The command line of a stage, the signals it receives, and how it ends."""

import argparse
import errno
import gc
import json
import os
import signal
import sys
from contextlib import contextmanager
from dataclasses import dataclass

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)


class StudyError(Exception):
    """An error that the user can fix: its text says where it is, what was expected and what was found."""


class Stopped(BaseException):
    """A signal stopped the job; the text says where its checkpoint is."""


@dataclass(frozen=True)
class Job:
    """One call of a stage: the name of its module, its settings, and the fingerprint of its code.

    The record beside every file that the job writes repeats all three (`records.describe`).
    """

    stage: str
    settings: dict
    code: str = ""


def parser(stage, description):
    """Return the options that every stage has: settings as one JSON object, and the fingerprint of the code.

    stage: name of the module, `__spec__.name`.
    """
    command_line = argparse.ArgumentParser(prog=f"python -m {stage}", description=description)
    command_line.set_defaults(stage=stage)
    command_line.add_argument("--settings", type=json.loads, required=True, help="a JSON object")
    command_line.add_argument("--code", default="", help="fingerprint of the code, for the record")
    return command_line


def job_of(options):
    """Return the Job described by parsed options (`parser`)."""
    return Job(stage=options.stage, settings=options.settings, code=options.code)


class Signals:
    """The last signal received that asks the process to stop, or None."""

    received = None

    def note(self, number, _frame):
        """Store a signal; a second Ctrl-C ends the process at once, without KeyboardInterrupt.

        SIGTERM may come several times, from a service manager and from the parent of the process.
        """
        self.received = number
        if number == signal.SIGINT:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def noticing_signals():
    """Yield `Signals`: inside the block, SIGTERM and Ctrl-C are stored there and do not end the process."""
    signals = Signals()
    before = {number: signal.signal(number, signals.note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(main):
    """Call `main()`; on errors that the user can fix, exit with one sentence instead of a traceback.

    Exit status 1: a StudyError, a full disk or missing permissions; 130: stopped by a signal; 141: the reader
    of the output, such as `head`, has ended.
    """
    # The collector skips what is imported by now. Else Python's own end goes through it all, for 0.3 s.
    gc.freeze()
    try:
        try:
            main()
        finally:
            print(end="", flush=True)  # here, because an error at Python's own end cannot be caught
    except BrokenPipeError:
        # Python writes the rest of the output at its end: to nowhere, so that this does not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except StudyError as error:
        sys.exit(f"error: {error}")
    except (Stopped, KeyboardInterrupt) as stop:
        about = str(stop) or "no checkpoint was written"
        print(f"stopped: {about}; call snakemake again to resume", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        sys.exit(
            f"error: {error.filename or 'an output file'}: could not be read or written "
            f"({error.strerror}); free disk space or grant access, then call snakemake again"
        )
