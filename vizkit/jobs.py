"""Runs in the background: who watches which, how far each is, and what it shows so far."""

from __future__ import annotations

import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vizkit.errors import Cancelled, VizkitError
from vizkit.progress import Progress
from vizkit.results import Result
from vizkit.runs import Request, perform
from vizkit.store import log
from vizkit.workspace import Workspace

State: TypeAlias = Literal["queued", "running", "done", "cancelled", "error"]
_KEPT = 64  # finished jobs that can still be asked about


@dataclass
class Status:
    """How far a run is. `seconds_left` is None until there is something to go by; `metrics` holds one curve a name."""

    state: State = "queued"
    step: int = 0
    total: int = 0
    text: str = ""
    seconds_left: float | None = None
    metrics: dict[str, list[float]] = field(default_factory=dict)
    preview: NDArray[np.uint8] | None = None
    result: Result | None = None
    error: str = ""


class Watched(Progress):
    """Progress that remembers what was reported, for somebody who looks from another thread."""

    def __init__(self) -> None:
        super().__init__()
        self.status = Status()
        self._first: tuple[float, int] | None = None

    def report(
        self,
        step: int,
        total: int,
        *,
        preview: NDArray[np.uint8] | None = None,
        metrics: Mapping[str, float] | None = None,
        text: str = "",
    ) -> None:
        self.check()
        status = self.status
        if self._first is None or step < status.step or total != status.total:
            self._first = time.monotonic(), step
        since, first = self._first
        done = step - first
        status.seconds_left = (time.monotonic() - since) / done * (total - step) if done > 0 else None
        status.step, status.total, status.text = step, total, text
        if preview is not None:
            status.preview = preview
        for name, value in (metrics or {}).items():
            status.metrics.setdefault(name, []).append(float(value))

    def partial(self, result: Result) -> None:
        self.check()
        self.status.result = result


@dataclass(eq=False)
class Job:
    """A run in the background. Its id is the key of its result, so that equal requests share it."""

    id: str
    progress: Watched = field(default_factory=Watched)
    viewers: set[str] = field(default_factory=set)
    finished: threading.Event = field(default_factory=threading.Event)

    @property
    def status(self) -> Status:
        """How far it is."""
        return self.progress.status


class Jobs:
    """The table of jobs. Cancelling is leaving: a run stops when nobody watches it any more."""

    def __init__(self, workspace: Workspace, threads: int = 4) -> None:
        self._workspace = workspace
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="vizkit-job")
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._lock = threading.Lock()

    def submit(self, request: Request, viewer: str = "") -> Job:
        """Start a run, or join the one that is under way. What failed or was cancelled starts anew."""
        with self._lock:
            job = self._jobs.get(request.key)
            if job is None or job.status.state in ("cancelled", "error") or job.progress.cancelled:
                job = self._jobs[request.key] = Job(request.key)
                self._pool.submit(self._work, job, request)
            job.viewers.add(viewer)
            self._jobs.move_to_end(request.key)
            done = [j for j in self._jobs.values() if j.finished.is_set()]
            for old in done[: max(0, len(done) - _KEPT)]:
                del self._jobs[old.id]
            return job

    def get(self, id: str) -> Job | None:
        """A job by its id, or None where it is unknown (or was long ago)."""
        with self._lock:
            return self._jobs.get(id)

    def leave(self, id: str, viewer: str = "") -> None:
        """This viewer is no longer interested; the run is cancelled if nobody else is."""
        with self._lock:
            job = self._jobs.get(id)
            if job is None:
                return
            job.viewers.discard(viewer)
            if not job.viewers:
                job.progress.cancel()

    def close(self) -> None:
        """Cancel everything and wait for it to stop."""
        with self._lock:
            for job in self._jobs.values():
                job.progress.cancel()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _work(self, job: Job, request: Request) -> None:
        status = job.status
        try:
            job.progress.check()
            status.state = "running"
            status.result = perform(self._workspace, request, job.progress, job=job)
            status.state = "done"
        except Cancelled:
            status.state = "cancelled"
        except VizkitError as error:
            status.error, status.state = str(error), "error"
        except (Exception, SystemExit) as error:
            log.debug("%s", traceback.format_exc())
            status.error, status.state = failure(request, error), "error"
        finally:
            job.finished.set()


def failure(request: Request, error: BaseException) -> str:
    """A sentence for what nobody foresaw."""
    text = " ".join(str(error).split())[:300]
    return f"{request.technique.id} failed: {type(error).__name__}: {text}. The log has the details (VIZKIT_LOG=debug)."


__all__ = ["Job", "Jobs", "Status", "Watched", "failure"]
