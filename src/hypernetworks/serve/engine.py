"""The thread that generates all texts. New texts join between two steps, and all texts of a model share each step."""

from collections import deque
from collections.abc import Mapping
from threading import Condition, Thread

from hypernetworks.serve.batch import Batch
from hypernetworks.serve.job import Job
from hypernetworks.serve.stream import Reason


class FullError(Exception):
    """The queue is full."""


class Engine:
    """Generates the texts of one or more runs in its own thread, the only one that uses the models.

    In each turn every model reads at most one new prompt and then runs one step for all its texts. Because a turn reads only
    one prompt, texts in progress continue while many new ones arrive.

    Args:
        batches: the models by the names of their runs.
        rows: how many texts are generated at once.
        queue: how many more may wait.
    """

    def __init__(self, batches: Mapping[str, Batch], rows: int, queue: int) -> None:
        self.batches: dict[str, Batch] = dict(batches)
        self._rows = rows
        self._queue = queue
        self._waiting: deque[Job] = deque()
        self._changed = Condition()
        self._stopping = False
        self._thread = Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End all texts after the current step, with the reason "shutdown"."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def join(self) -> None:
        """Wait until the thread has stopped."""
        self._thread.join()

    def submit(self, job: Job) -> None:
        """Queue a text.

        Raises:
            UsageError: the prompt has characters that are not in the model's alphabet.
            FullError: the queue is full.
        """
        self.batches[job.run].prompt(job.prompt)
        with self._changed:
            if self._stopping:
                job.stream.end("shutdown")
                return
            self._waiting = deque(waiting for waiting in self._waiting if not waiting.stream.cancelled)
            if self.active + self.waiting >= self._rows + self._queue:
                raise FullError(
                    f"{self.active} texts are being generated and {self.waiting} are queued: try again soon"
                )
            self._waiting.append(job)
            self._changed.notify()

    @property
    def active(self) -> int:
        """How many texts are being read or generated."""
        return sum(batch.active for batch in self.batches.values())

    @property
    def waiting(self) -> int:
        """How many texts are queued."""
        return len(self._waiting)

    @property
    def alive(self) -> bool:
        """Whether texts can be generated."""
        return self._thread.is_alive() and not self._stopping

    def _run(self) -> None:
        reason: Reason = "failed"  # if a model fails, every stream is ended
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
        """Wait; return True if there is work to do, False if the engine should stop."""
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
        """Start the text of this run that has waited longest, if there is room."""
        with self._changed:
            self._waiting = deque(job for job in self._waiting if not job.should_stop())
            job = next((job for job in self._waiting if job.run == name), None)
            if job is None or self.active >= self._rows:
                return
            self._waiting.remove(job)
        batch.admit(job)
