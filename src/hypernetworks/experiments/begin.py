"""How a run begins and goes on, in one process or several: the first writes the folder, the others read it.

All processes see the same folder; on several machines it lies on a file system that they share.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from hypernetworks.processes import first_before_others, highest, is_first, wait_for_all, was_restarted
from hypernetworks.runs.lock import only_writer
from hypernetworks.runs.run import Run


def goes_on(folder: Path, resume: bool) -> bool:
    """Whether to go on with the run in a folder: where that is asked for, or torchrun began anew after a process died.

    All processes answer alike, and before the first has made the folder.
    """
    return bool(highest(resume or (was_restarted() and (folder / "config.json").exists())))


@contextmanager
def begun(folder: Path, config: Mapping[str, Any]) -> Iterator[Run]:
    """A new run, held while this context is open; errors as Run.create has them, or that of its lock."""
    with _held(folder):
        with first_before_others():
            run = Run.create(folder, config) if is_first() else Run.open(folder)
        yield run


@contextmanager
def restored(run: Run) -> Iterator[dict[str, Any] | None]:
    """What a run committed last, the run being held while this context is open; errors as Run.restore, or that of its lock."""
    with _held(run.folder):
        with first_before_others():
            state = run.restore() if is_first() else run.committed()
        yield state


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """No other run is written here. When this context is left, all that the first process wrote is there for the others."""
    with only_writer(folder) if is_first() else nullcontext():
        yield
        wait_for_all()
