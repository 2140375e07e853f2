"""One job at a time computes with TensorFlow: side by side on one machine they are slower than one after another."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


class Lane:
    """A lock that belongs to a job, not to a thread: a job that holds it may enter again, from any of its threads."""

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._holder: object = None
        self._depth = 0

    def is_held_by(self, job: object) -> bool:
        """Whether this job holds the lane now."""
        with self._free:
            return bool(self._depth) and self._holder is job

    @contextlib.contextmanager
    def held_by(self, job: object, check: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Hold the lane for a job. While waiting, `check` is called every tenth of a second and may raise."""
        with self._free:
            while self._depth and self._holder is not job:
                self._free.wait(0.1)
                check()
            self._holder, self._depth = job, self._depth + 1
        try:
            yield
        finally:
            with self._free:
                self._depth -= 1
                if not self._depth:
                    self._holder = None
                    self._free.notify_all()


class Flights:
    """One flight a key: whoever comes second waits for the first and then finds its result."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flying: dict[str, tuple[threading.Lock, int]] = {}

    @contextlib.contextmanager
    def of(self, key: str, check: Callable[[], None]) -> Iterator[None]:
        """Be the only one in this process that works on a key. `check` may raise while waiting."""
        with self._lock:
            lock, waiting = self._flying.get(key, (threading.Lock(), 0))
            self._flying[key] = lock, waiting + 1
        try:
            while not lock.acquire(timeout=0.1):
                check()
            try:
                yield
            finally:
                lock.release()
        finally:
            with self._lock:
                lock, waiting = self._flying[key]
                if waiting == 1:
                    del self._flying[key]
                else:
                    self._flying[key] = lock, waiting - 1
