"""The snapshots of a run: the weights and buffers θ_t before the update of step t, a file per step."""

from pathlib import Path

from bnopt.files import records
from bnopt.files.artefacts import atomic
from bnopt.run import tensors


def write(state, folder, step):
    """Write a state dict as the snapshot of `step`."""
    with atomic(_file(folder, step)) as partial:
        partial.write_bytes(tensors.dump(state))


def remove(folder, step):
    """Remove the snapshot of `step` if there is one."""
    _file(folder, step).unlink(missing_ok=True)


def steps(folder):
    """Return the steps that have a snapshot, in order."""
    return sorted(int(file.stem.removeprefix("step")) for file in Path(folder).glob("step*.pt"))


def read(folder, step, device):
    """Read the state dict of `step`; raise StudyError if the file is damaged. Runs no code from the file."""
    file = _file(folder, step)
    content = file.read_bytes()
    try:
        return tensors.parse(content, device)
    except Exception as error:  # whatever torch makes of bytes that no run has written
        raise records.damaged(
            file, "expected the weights of a run, found a damaged file", output=folder
        ) from error


def _file(folder, step):
    return Path(folder) / f"step{step:06d}.pt"
