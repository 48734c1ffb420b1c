"""Opening a run for training, in one process or several: the first process writes the folder, the others read it.

All processes use the same folder. On several machines it must be on a shared file system.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from hypernetworks.processes import first_before_others, highest, is_first, wait_for_all, was_restarted
from hypernetworks.runs.lock import only_writer
from hypernetworks.runs.run import Run

__all__ = ["open_run", "should_resume"]


def should_resume(folder: Path, resume: bool) -> bool:
    """Whether to resume the run in `folder`: if requested, or if torchrun restarted this process after one died.

    Every process returns the same answer, decided before the first process creates the folder.
    """
    return bool(highest(resume or (was_restarted() and (folder / "config.json").exists())))


@contextmanager
def open_run(folder: Path, config: Mapping[str, Any] | None = None) -> Iterator[tuple[Run, dict[str, Any] | None]]:
    """Open a run for training and hold its lock while the context is open.

    Args:
        folder: the run's folder.
        config: what a new run writes to `config.json`. None resumes the existing run.

    Yields:
        The run, and its last committed state; the state is None if nothing was committed.

    Raises:
        UsageError: the folder cannot be used (see `Run.create` and `Run.restore`), or another process writes to it.
        FaultError: the system could not read or write a file.
    """
    # When the context closes, everything that the first process wrote is visible to the others.
    with only_writer(folder) if is_first() else nullcontext():
        with first_before_others():
            if config is None:
                run = Run.open(folder)
                state = run.restore() if is_first() else run.committed()
            else:
                run = Run.create(folder, config) if is_first() else Run.open(folder)
                state = None
        yield run, state
        wait_for_all()
