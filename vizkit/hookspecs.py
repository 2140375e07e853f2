"""The three hooks of a plugin. Each returns what it adds, so that a plugin is tested by calling its functions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from vizkit.datasets import Dataset, DatasetOpener
    from vizkit.models import ModelAdapter
    from vizkit.techniques import Technique

hookspec = pluggy.HookspecMarker("vizkit")
hookimpl = pluggy.HookimplMarker("vizkit")


class Hooks:
    """Implement any of these, marked with `@vizkit.hookimpl`, in a module named in the entry-point group `vizkit`."""

    @hookspec
    def register_models(self) -> Iterable[ModelAdapter]:
        """Return the models this plugin adds. Cheap: no weights are read here."""
        raise NotImplementedError

    @hookspec
    def register_datasets(self) -> Iterable[Dataset | DatasetOpener]:
        """Return the datasets this plugin adds, and openers for `scheme:argument`. Cheap: no files are read here."""
        raise NotImplementedError

    @hookspec
    def register_techniques(self) -> Iterable[Technique[Any]]:
        """Return the techniques this plugin adds."""
        raise NotImplementedError
