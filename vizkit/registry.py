"""What is installed: plugins, what each adds, and what went wrong with it, without ever stopping the rest."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import inspect
import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import pluggy

from vizkit.datasets import Dataset, DatasetOpener
from vizkit.errors import NotFound, VizkitError, suggestion
from vizkit.hookspecs import Hooks
from vizkit.models import ModelAdapter
from vizkit.techniques import Technique

GROUP = "vizkit"
T = TypeVar("T")


@dataclass(frozen=True)
class Problem:
    """Something that a plugin got wrong; the rest of vizkit goes on without that piece."""

    plugin: str
    stage: str
    error: str

    def __str__(self) -> str:
        return f"plugin {self.plugin}: {self.stage}: {self.error}"


@dataclass
class Plugin:
    """One installed plugin and the ids of what it adds."""

    name: str
    version: str = ""
    source: str = ""
    models: list[str] = field(default_factory=list)
    datasets: list[str] = field(default_factory=list)
    techniques: list[str] = field(default_factory=list)


class Registry:
    """Models, datasets and techniques by id, each attributed to its plugin.

    `plugins` are modules or objects with hook methods, for tests; without them the entry-point group `vizkit` is read,
    limited by `VIZKIT_PLUGINS` (names with commas between) where that is set.
    """

    def __init__(self, plugins: Iterable[object] | None = None) -> None:
        self.models: dict[str, ModelAdapter] = {}
        self.datasets: dict[str, Dataset] = {}
        self.openers: dict[str, DatasetOpener] = {}
        self.techniques: dict[str, Technique[Any]] = {}
        self.plugins: dict[str, Plugin] = {}
        self.problems: list[Problem] = []
        self._owner: dict[tuple[str, str], str] = {}
        self._lock = threading.Lock()
        manager = pluggy.PluginManager(GROUP)
        manager.add_hookspecs(Hooks)
        for name, version, load in _given(plugins) if plugins is not None else _installed():
            self._add(manager, name, version, load)

    def model(self, name: str) -> ModelAdapter:
        """The model of that id. Raises NotFound with the nearest name."""
        return _find(self.models, name, "model", "vizkit list models")

    def technique(self, name: str) -> Technique[Any]:
        """The technique of that id. Raises NotFound with the nearest name."""
        return _find(self.techniques, name, "technique", "vizkit list techniques")

    def dataset(self, name: str) -> Dataset:
        """The dataset of that id or alias. Never opens anything: that is `open`'s, which no URL reaches."""
        return _find(self.datasets, name, "dataset", "vizkit list datasets")

    def open(self, spec: str, alias: str | None = None) -> Dataset:
        """The dataset of that id, or a person's own as `scheme:argument` (folder:PATH), from now on known by its alias."""
        scheme, colon, argument = spec.partition(":")
        if spec in self.datasets or not colon:
            return self.dataset(spec)
        if scheme not in self.openers:
            raise NotFound(f"Nothing opens {scheme!r}.{suggestion(scheme, self.openers)} For example: folder:PATH")
        dataset = self.openers[scheme].open(argument, alias) if alias else self.openers[scheme].open(argument)
        with self._lock:
            known = self.datasets.get(dataset.name)
            if known is not None and getattr(known, "origin", None) != getattr(dataset, "origin", spec):
                taken = f"The name {dataset.name!r} is taken by another dataset."
                raise VizkitError(f"{taken} Give this one its own: vizkit add {spec} --name NAME")
            self.datasets[dataset.name] = dataset
            self._owner["datasets", dataset.name] = self._owner["openers", scheme]
        return dataset

    def add_model(self, model: ModelAdapter) -> None:
        """Make a model of the person's own known by its name, for this registry only."""
        with self._lock:
            self.models[model.name] = model

    def source_of(self, kind: str, name: str) -> str:
        """The hash of the plugin's source that registered `name`; "" for what came from Python."""
        return self.plugins[owner].source if (owner := self._owner.get((kind, name))) else ""

    def _add(self, manager: pluggy.PluginManager, name: str, version: str, load: Any) -> None:
        stage = "import"
        try:
            plugin = load()
            stage = "register"
            manager.register(plugin, name)
            if name in self.plugins:
                raise VizkitError(f"the name {name!r} is taken by another plugin")
            info = self.plugins[name] = Plugin(name, version, source_hash(plugin))
        except Exception as error:
            self.problems.append(Problem(name, stage, _one_line(error)))
            return
        for caller in manager.get_hookcallers(plugin) or ():
            for hook in (impl for impl in caller.get_hookimpls() if impl.plugin is plugin):
                try:
                    added: list[Any] = list(hook.function())  # type: ignore[call-overload]
                except Exception as error:
                    self.problems.append(Problem(name, caller.name, _one_line(error)))
                    continue
                for thing in added:
                    self._take(info, caller.name.removeprefix("register_"), thing)

    def _take(self, plugin: Plugin, kind: str, thing: Any) -> None:
        stage, wanted = f"register_{kind}", _KINDS[kind]
        if kind == "datasets" and isinstance(thing, DatasetOpener):
            kind, table, name = "openers", self.openers, thing.scheme
        elif isinstance(thing, wanted):
            table, name = getattr(self, kind), thing.id if isinstance(thing, Technique) else thing.name
        else:
            error = f"returned {type(thing).__name__}, which is not a {wanted.__name__}"
            self.problems.append(Problem(plugin.name, stage, error))
            return
        if name in table:
            owner = self._owner[kind, name]
            self.problems.append(Problem(plugin.name, stage, f"the name {name!r} is taken by plugin {owner}"))
            return
        if "/" in name or not name:
            self.problems.append(Problem(plugin.name, stage, f"{name!r} is no name: use letters, digits, - and _"))
            return
        table[name] = thing
        self._owner[kind, name] = plugin.name
        if kind != "openers":
            getattr(plugin, kind).append(name)


_KINDS: dict[str, type[Any]] = {"models": ModelAdapter, "datasets": Dataset, "techniques": Technique}


def source_hash(plugin: object) -> str:
    """A hash of a plugin's Python source: all modules of a package, one file, or the class of an object."""
    digest = hashlib.sha256()
    if isinstance(plugin, ModuleType) and plugin.__file__:
        file = Path(plugin.__file__)
        files = sorted(file.parent.rglob("*.py")) if file.name == "__init__.py" else [file]
        for path in files:
            digest.update(f"{path.relative_to(file.parent)}\0".encode() + path.read_bytes())
    else:
        try:
            text = inspect.getsource(type(plugin) if not isinstance(plugin, type) else plugin)
        except (OSError, TypeError):
            text = repr(type(plugin))
        digest.update(text.encode())
    return digest.hexdigest()[:16]


def _installed() -> Iterable[tuple[str, str, Any]]:
    chosen = os.environ.get("VIZKIT_PLUGINS")
    wanted = {n.strip() for n in chosen.split(",")} if chosen else None
    points = sorted(importlib.metadata.entry_points(group=GROUP), key=lambda p: p.name)
    for point in points:
        if wanted is None or point.name in wanted:
            yield point.name, point.dist.version if point.dist else "", point.load


def _given(plugins: Iterable[object]) -> Iterable[tuple[str, str, Any]]:
    for plugin in plugins:
        name = getattr(plugin, "__name__", None) or type(plugin).__name__
        yield str(name), "", lambda plugin=plugin: plugin


def _find(table: dict[str, T], name: str, noun: str, command: str) -> T:
    if name not in table:
        raise NotFound(f"There is no {noun} {name!r}.{suggestion(name, table)} See: {command}")
    return table[name]


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or "no message"
    return text if isinstance(error, VizkitError) else f"{type(error).__name__}: {text}"


__all__: Sequence[str] = ["GROUP", "Plugin", "Problem", "Registry", "source_hash"]
