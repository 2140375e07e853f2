"""What belongs to one Dash app: its workspace, its runs, what it knows about models and datasets."""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from functools import cached_property
from typing import Any

from vizkit import Workspace
from vizkit.workspace import default_workspace
from vizkit_dash.facts import Facts
from vizkit_dash.jobs import Runs

_apps: weakref.WeakKeyDictionary[Any, Attached] = weakref.WeakKeyDictionary()
_lock = threading.Lock()
_numbers: weakref.WeakKeyDictionary[Workspace, int] = weakref.WeakKeyDictionary()
_count = itertools.count()


class Attached:
    """One app's own. Nothing is made before it is needed: an app without a panel of ours costs nothing."""

    def __init__(self) -> None:
        self.given: Workspace | None = None

    @cached_property
    def workspace(self) -> Workspace:
        """The one given, else the process's own."""
        return self.given or default_workspace()

    @cached_property
    def runs(self) -> Runs:
        """The runs that its panels watch."""
        return Runs(self.workspace)

    @cached_property
    def facts(self) -> Facts:
        """What its controls show."""
        return Facts(self.workspace)

    def close(self) -> None:
        """Cancel everything and wait for it to stop."""
        for name in ("facts", "runs"):
            if name in self.__dict__:
                getattr(self, name).close()


def token(workspace: Workspace) -> str:
    """What tells one workspace of this process from another; it says nothing about those of another process."""
    with _lock:
        return f"{os.getpid()}:{_numbers.setdefault(workspace, next(_count))}"


def foreign(made: str, workspace: Workspace) -> bool:
    """Whether a token of this process is of another workspace."""
    own = token(workspace)
    return made.partition(":")[0] == own.partition(":")[0] and made != own


def of(app: Any) -> tuple[Attached, bool]:
    """An app's own, and whether it is new."""
    with _lock:
        new = app not in _apps
        if new:
            _apps[app] = Attached()
        return _apps[app], new
