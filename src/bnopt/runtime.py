"""How a stage is called and how it fails; never what it computes."""

import argparse
import errno
import json
import sys


class StudyError(Exception):
    """Something a user can put right: the text names the place, what was expected, what was found."""


def parser(description):
    """Return the command line every stage shares: `--settings`, one JSON object of keyword arguments."""
    command_line = argparse.ArgumentParser(description=description)
    command_line.add_argument("--settings", type=json.loads, required=True, help="a JSON object")
    return command_line


def run(main):
    """Call `main()`; on a user's error or a full disk print a sentence, not a traceback, and exit with 1."""
    try:
        main()
    except StudyError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES):
            raise
        sys.exit(
            f"error: {error.filename or 'an output file'}: could not be written "
            f"({error.strerror}); make room or grant access, then call snakemake again"
        )
