"""The thread that makes all texts: new ones are taken in between two steps, so that those in progress share each step."""

from collections import deque
from collections.abc import Mapping
from threading import Condition, Thread

from hypernetworks.serve.batch import Batch, Job
from hypernetworks.serve.stream import Reason


class FullError(Exception):
    """As many texts are being made and wait as may be."""


class Engine:
    """Makes the texts of one or more runs, in a thread of its own, which alone touches the models.

    Each turn every model reads at most one new prompt and then takes one step for all its texts. With no more than one new
    prompt a turn, the texts in progress go on while many come in.

    Args:
        batches: the models, by the names of their runs.
        rows: how many texts are made at once.
        queue: how many more may wait.
    """

    def __init__(self, batches: Mapping[str, Batch], rows: int, queue: int) -> None:
        self.batches = dict(batches)
        self._rows = rows
        self._queue = queue
        self._waiting: deque[Job] = deque()
        self._changed = Condition()
        self._stopping = False
        self._thread = Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self) -> None:
        """End all texts after the step that is under way; each is told that the server stops."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def join(self) -> None:
        """Wait until it has stopped."""
        self._thread.join()

    def submit(self, job: Job) -> None:
        """Have a text made.

        Raises:
            UsageError: the prompt has characters that the model does not know.
            FullError: too many wait already.
        """
        self.batches[job.run].prompt(job.prompt)
        with self._changed:
            if self._stopping:
                job.stream.end("shutdown")
                return
            self._waiting = deque(waiting for waiting in self._waiting if not waiting.stream.cancelled)
            if self.active + self.waiting >= self._rows + self._queue:
                raise FullError(f"{self.active} texts are being made and {self.waiting} wait: try again soon")
            self._waiting.append(job)
            self._changed.notify()

    @property
    def active(self) -> int:
        """How many texts are being made."""
        return sum(len(batch.texts) for batch in self.batches.values())

    @property
    def waiting(self) -> int:
        """How many texts wait for their turn."""
        return len(self._waiting)

    @property
    def alive(self) -> bool:
        """Whether texts can be made."""
        return self._thread.is_alive() and not self._stopping

    def _run(self) -> None:
        reason: Reason = "failed"  # should a model fail, nobody is left waiting
        try:
            while self._wait_for_work():
                self._turn()
            reason = "shutdown"
        finally:
            with self._changed:
                self._stopping = True
                for job in self._waiting:
                    job.stream.end(reason)
                self._waiting.clear()
            for batch in self.batches.values():
                batch.end(reason)

    def _wait_for_work(self) -> bool:
        """True when there is something to do, False when it is to stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._waiting or self.active)
            return not self._stopping

    def _turn(self) -> None:
        for name, batch in self.batches.items():
            batch.drop_stopped()
            self._admit_next(name, batch)
            if batch.texts:
                batch.step()

    def _admit_next(self, name: str, batch: Batch) -> None:
        """Take in the text of this run that has waited longest, where there is room for one."""
        with self._changed:
            self._waiting = deque(job for job in self._waiting if not job.should_stop())
            job = next((job for job in self._waiting if job.run == name), None)
            if job is None or self.active >= self._rows:
                return
            self._waiting.remove(job)
        batch.admit(job)
