"""The runs that panels watch: checked and started in threads, so that no request of a browser ever waits for a model."""

from __future__ import annotations

import re
import threading
import time
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

from vizkit import InvalidParameter, Result, VizkitError, Workspace
from vizkit.jobs import Job, Jobs, Status
from vizkit.runs import Request
from vizkit_dash.choice import Choice, request

Phase = Literal["checking", "queued", "running", "done", "cancelled", "error"]
_SEE = re.compile(r" See: vizkit run \S+ --help\.?")  # a hint for the command line
_FORGOTTEN = 90.0  # seconds without a look after which a viewer has gone; a browser's hidden tab still looks each minute
_SWEEP = 30.0  # seconds between two searches for such viewers


@dataclass(frozen=True)
class Look:
    """What a panel sees of its run now. `errors` has a sentence for each field; `error` is about no field."""

    phase: Phase
    request: Request | None = None
    status: Status | None = None
    errors: dict[str, str] = field(default_factory=dict)
    error: str = ""

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self.phase in ("done", "cancelled", "error")

    @property
    def result(self) -> Result | None:
        """What there is to show so far."""
        return self.status.result if self.status else None


@dataclass(eq=False)
class _Run:
    choice: Choice
    checked: Future[Request]
    seen: float
    job: Job | None = None
    left: bool = False

    @property
    def over(self) -> bool:
        """Whether nothing of it is still computed for its panel."""
        if self.left or not self.checked.done():
            return self.left
        failed = self.checked.cancelled() or self.checked.exception() is not None
        return failed or (self.job is not None and self.job.finished.is_set())


class Runs:
    """The runs of every panel of one app, by ticket. Equal runs share one job; a panel leaves what it has superseded."""

    def __init__(self, workspace: Workspace, *, sweep: float = _SWEEP, forgotten: float = _FORGOTTEN) -> None:
        self._workspace = workspace
        self._seconds, self._forgotten = sweep, forgotten
        self._closed = threading.Event()
        self._sweeper: threading.Thread | None = None
        self.jobs = Jobs(workspace)
        self._checkers = ThreadPoolExecutor(8, thread_name_prefix="vizkit-check")
        self._runs: dict[str, _Run] = {}
        self._lock = threading.Lock()

    def start(self, choice: Choice, before: str | None = None) -> str:
        """Begin the run that a choice asks for and leave the one before; its ticket."""
        ticket = uuid.uuid4().hex
        self._begin(ticket, choice)
        if before:
            self.leave(before)
        self._sweep()
        return ticket

    def again(self, ticket: str) -> bool:
        """Begin a run anew that its panel has left, under the same ticket; whether there was one. What the core computed
        for it is kept there, so that it goes on rather than starts over."""
        run = self._runs.get(ticket)
        if run is None or not run.left:
            return False
        self._begin(ticket, run.choice)
        return True

    def wait(self, ticket: str, seconds: float) -> None:
        """Give a run a moment, for what is in the cache or quickly refused."""
        run = self._runs.get(ticket)
        end = time.monotonic() + seconds
        while run and time.monotonic() < end and not self._look(run).over:
            time.sleep(0.005)

    def look(self, ticket: str) -> Look | None:
        """How far a run is; None for a ticket of another server."""
        run = self._runs.get(ticket)
        if run is None:
            return None
        run.seen = time.monotonic()
        return self._look(run)

    def leave(self, ticket: str) -> None:
        """The panel no longer wants this run."""
        with self._lock:
            run = self._runs.get(ticket)
            if run is None or run.left:
                return
            run.left = True
            if run.job and not run.job.finished.is_set():
                self.jobs.leave(run.job.id, ticket)

    def result(self, key: str) -> Result | None:
        """A result by its key: the finished one, else what its run shows so far."""
        found = self._workspace.result(key)
        if found is None and (job := self.jobs.get(key)):
            found = job.status.result
        return found

    def close(self) -> None:
        """Cancel everything and wait for it to stop."""
        self._closed.set()
        self._checkers.shutdown(wait=False, cancel_futures=True)
        self.jobs.close()

    def _begin(self, ticket: str, choice: Choice) -> None:
        run = _Run(choice, self._checkers.submit(request, self._workspace, choice), time.monotonic())
        with self._lock:
            self._runs[ticket] = run
            if self._sweeper is None:
                self._sweeper = threading.Thread(target=self._watch, name="vizkit-sweep", daemon=True)
                self._sweeper.start()
        run.checked.add_done_callback(lambda checked: self._submit(ticket, run))

    def _submit(self, ticket: str, run: _Run) -> None:
        if run.checked.cancelled() or run.checked.exception() is not None:
            return
        with self._lock:
            if not run.left:
                run.job = self.jobs.submit(run.checked.result(), ticket)

    def _look(self, run: _Run) -> Look:
        if run.left:
            if run.job is None:
                return Look("cancelled")
            done = run.job.status.state == "done"
            return Look("done" if done else "cancelled", run.checked.result(), run.job.status)
        if not run.checked.done():
            return Look("checking")
        error = run.checked.exception()
        if isinstance(error, InvalidParameter):
            return Look("error", errors={name: _SEE.sub("", text) for name, text in error.fields.items()})
        if error is not None:
            return Look("error", error=sentence(error))
        if run.job is None:
            return Look("checking", run.checked.result())
        status = run.job.status
        return Look(status.state, run.checked.result(), status, error=status.error)

    def _watch(self) -> None:
        """Sweep from time to time while any run goes on: a closed tab asks for nothing, and nothing else would tell."""
        while not self._closed.wait(self._seconds):
            self._sweep()
            with self._lock:
                if all(run.over for run in self._runs.values()):
                    self._sweeper = None
                    return

    def _sweep(self) -> None:
        """Leave what nobody has looked at for long, and forget what is over."""
        now = time.monotonic()
        for ticket, run in list(self._runs.items()):
            if now - run.seen > self._forgotten:
                self.leave(ticket)
                with self._lock:
                    self._runs.pop(ticket, None)


def sentence(error: BaseException) -> str:
    """A person's sentence for whatever went wrong."""
    if isinstance(error, VizkitError):
        return str(error)
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}. The log has the details (VIZKIT_LOG=debug)."
