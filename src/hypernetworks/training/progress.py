"""Training progress on stderr: a live line on a terminal, a plain line every 10 seconds otherwise."""

import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as RichProgress
from rich.table import Column

__all__ = ["Progress"]

_PLAIN_SECONDS = 10.0  # between two plain lines
_SPEED_SECONDS = 60.0  # that the speed is measured over


class Progress:
    """A progress line, used as a context: `with Progress(1000, label="HyperLSTM", unit="characters") as bar`.

    The line shows the steps done, the given fields, units per second over the last minute, and the time left. A narrow terminal
    shows its beginning. If stderr is not a terminal, or one that cannot change a line (TERM=dumb), a plain line is printed at
    the first update, then at most every 10 seconds, and at the end.

    Args:
        total_steps: the number of steps of the training.
        label: what is trained.
        unit: what the speed counts.
        start: the steps done before the run was resumed; they do not count for speed and time left.
        shown: False if another process shows the progress.
    """

    def __init__(self, total_steps: int, *, label: str, unit: str, start: int = 0, shown: bool = True) -> None:
        self._label, self._unit, self._total, self._step = label, unit, total_steps, start
        self._fields: Mapping[str, str] = {}
        self._printed_at: float | None = None
        self._printed_step = start
        console = Console(stderr=True)
        self._shown, self._live = shown, shown and sys.stderr.isatty() and not console.is_dumb_terminal
        self._bar = RichProgress(
            BarColumn(bar_width=20),  # the first to give way in a narrow terminal
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
            console=console,
            get_time=time.monotonic,
            speed_estimate_period=_SPEED_SECONDS,
            redirect_stdout=sys.stdout.isatty(),  # output to a file or a pipe is not redirected
            disable=not self._live,
        )
        self._steps = self._bar.add_task(label, total=total_steps, completed=start)
        self._units = self._bar.add_task(unit, total=None, visible=False)

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()
        if not self._live and self._printed_step != self._step:
            self._print(time.monotonic())

    def update(self, step: int, *, units: int, fields: Mapping[str, str]) -> None:
        """Show that `step` steps are done.

        Args:
            step: the steps done, including those before a resume.
            units: the units done since this `Progress` was made.
            fields: what to show, in this order, each as "name text", for example `{"loss": "1.386", "bpc": "2.000"}`.
        """
        self._step, self._fields = step, fields
        self._bar.update(self._units, completed=units)
        self._bar.update(self._steps, completed=step)
        self._bar.update(self._steps, description=self._line())
        now = time.monotonic()
        if not self._live and (self._printed_at is None or now - self._printed_at >= _PLAIN_SECONDS):
            self._print(now)

    def note(self, text: str) -> None:
        """Print a line that stays, above the live one if there is one."""
        if self._live:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        elif self._shown:
            print(text, file=sys.stderr, flush=True)

    def _line(self) -> str:
        steps, units = (self._bar.tasks[task] for task in (self._steps, self._units))
        parts = [self._label, f"{self._step}/{self._total}", *(f"{name} {text}" for name, text in self._fields.items())]
        if units.speed is not None:
            parts.append(f"{units.speed:,.0f} {self._unit}/s")
        if steps.time_remaining:  # None before two updates, 0 after the last
            parts.append(f"{timedelta(seconds=round(steps.time_remaining))} left")
        return "  ".join(parts)

    def _print(self, now: float) -> None:
        if self._shown:
            print(self._line(), file=sys.stderr, flush=True)
        self._printed_at, self._printed_step = now, self._step
