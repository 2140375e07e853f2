"""How a technique tells what it does and learns that it should stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vizkit.errors import Cancelled

if TYPE_CHECKING:
    from vizkit.results import Result

Arrays = Mapping[str, NDArray[Any]]


class Progress:
    """Handed to every technique that asks for it; this one keeps quiet, and is what a plain call may pass.

    Every call raises `Cancelled` once somebody asked to stop, so a technique that reports at each step stops within one.
    """

    def __init__(self) -> None:
        self._stop = threading.Event()

    def report(
        self,
        step: int,
        total: int,
        *,
        preview: NDArray[np.uint8] | None = None,
        metrics: Mapping[str, float] | None = None,
        text: str = "",
    ) -> None:
        """Step `step` of `total` is done. `preview` is a picture (h, w, 3), `metrics` the curves' next points."""
        self.check()

    def partial(self, result: Result) -> None:
        """Show what is ready; it is true as far as it goes."""
        self.check()

    def checkpoint(self, step: int, arrays: Arrays) -> None:
        """Keep the state after `step` steps, which a later run goes on from. Atomic: a kill leaves the one before."""
        self.check()

    def restore(self) -> dict[str, NDArray[Any]] | None:
        """The last checkpoint of this very run, apart from totals marked `Extends`, and not beyond them; or None."""
        return None

    def check(self) -> None:
        """Raise `Cancelled` if somebody asked to stop."""
        if self._stop.is_set():
            raise Cancelled("Cancelled.")

    def cancel(self) -> None:
        """Ask the run to stop. Safe from any thread."""
        self._stop.set()

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked to stop."""
        return self._stop.is_set()


class Checkpointed(Progress):
    """A run's progress: reports go to the `outer` one that a caller watches, checkpoints to the run's own place."""

    def __init__(
        self,
        outer: Progress,
        save: Callable[[int, Arrays], None],
        load: Callable[[], dict[str, NDArray[Any]] | None],
        finish: Callable[[Result], Result] = lambda result: result,
        shown: bool = True,
    ) -> None:
        super().__init__()
        self._outer, self._save, self._load, self._finish, self._shown = outer, save, load, finish, shown

    def report(self, step: int, total: int, **more: Any) -> None:
        self._outer.report(step, total, **more)

    def partial(self, result: Result) -> None:
        self.check()
        if self._shown:
            self._outer.partial(self._finish(result).replace(partial=True))

    def checkpoint(self, step: int, arrays: Arrays) -> None:
        self.check()
        self._save(step, arrays)

    def restore(self) -> dict[str, NDArray[Any]] | None:
        return self._load()

    def check(self) -> None:
        self._outer.check()

    def cancel(self) -> None:
        self._outer.cancel()

    @property
    def cancelled(self) -> bool:
        return self._outer.cancelled
