"""What is installed: plugins, what each adds, and what went wrong with it, without ever stopping the rest."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import inspect
import os
import re
import shlex
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, TypeVar

import pluggy
from typing_extensions import get_protocol_members, is_protocol

from vizkit.datasets import Dataset, DatasetOpener
from vizkit.errors import NotFound, VizkitError, in_a_line, suggestion
from vizkit.hookspecs import Hooks
from vizkit.models import ModelAdapter
from vizkit.techniques import Technique

GROUP = "vizkit"
T = TypeVar("T")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_REFERENCES = frozenset({"upload", "result", "array"})  # what stands before the / of images that belong to no dataset
_FAILURES = (Exception, SystemExit)  # a plugin that leaves must not take vizkit along; Ctrl-C still may


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
    distribution: str = ""
    version: str = ""
    source: str = ""
    models: list[str] = field(default_factory=list)
    datasets: list[str] = field(default_factory=list)
    openers: list[str] = field(default_factory=list)
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
        for found in _given(plugins) if plugins is not None else self._installed():
            self._add(manager, *found)

    def model(self, name: str) -> ModelAdapter:
        """The model of that id. Raises NotFound with the nearest name."""
        return _find(self.models, name, "model", "vizkit list models")

    def technique(self, name: str) -> Technique[Any]:
        """The technique of that id. Raises NotFound with the nearest name."""
        return _find(self.techniques, name, "technique", "vizkit list techniques")

    def dataset(self, name: str) -> Dataset:
        """The dataset of that id or alias. Never opens anything: that is `open`'s, which no URL reaches."""
        return _find(self.datasets, name, "dataset", "vizkit list datasets")

    def open(self, spec: str, alias: str | None = None, *, look: bool = True) -> Dataset:
        """The dataset of that id, or a person's own as `scheme:argument` (folder:PATH), from now on known by its alias.

        With `look` its pictures are listed at once, so that a missing folder is said now and not later.
        """
        scheme, colon, argument = spec.partition(":")
        if spec in self.datasets or not colon:
            return self.dataset(spec)
        if scheme not in self.openers:
            raise NotFound(f"Nothing opens {scheme!r}.{suggestion(scheme, self.openers)} For example: folder:PATH")
        dataset = self.openers[scheme].open(argument, alias) if alias else self.openers[scheme].open(argument)
        if look:
            dataset.ids()
        with self._lock:
            _check_name("datasets", dataset.name)
            known = self.datasets.get(dataset.name)
            if known is not None and getattr(known, "origin", None) != getattr(dataset, "origin", spec):
                taken = f"The name {dataset.name!r} is taken by another dataset."
                raise VizkitError(f"{taken} Give this one its own: vizkit add {shlex.quote(spec)} --name NAME")
            self.datasets[dataset.name] = dataset
            self._owner["datasets", dataset.name] = self._owner["openers", scheme]
        return dataset

    def add_model(self, model: ModelAdapter) -> None:
        """Make a model of the person's own known by its name, for this registry only."""
        with self._lock:
            self.models[model.name] = model

    def add_dataset(self, dataset: Dataset) -> None:
        """Make a dataset of the person's own known by its name, for this registry only."""
        with self._lock:
            self.datasets[dataset.name] = dataset

    def source_of(self, kind: str, name: str) -> str:
        """The hash of the plugin's source that registered `name`; "" for what came from Python."""
        return self.plugins[owner].source if (owner := self._owner.get((kind, name))) else ""

    def _installed(self) -> Iterator[_Found]:
        chosen = [n.strip() for n in os.environ.get("VIZKIT_PLUGINS", "").split(",") if n.strip()]
        points = sorted(importlib.metadata.entry_points(group=GROUP), key=lambda p: (p.name, *_distribution(p)))
        for name in chosen:
            if name not in (names := [p.name for p in points]):
                unknown = f"no installed plugin has this name.{suggestion(name, names)}"
                self.problems.append(Problem(name, "VIZKIT_PLUGINS", unknown))
        for point in points:
            if not chosen or point.name in chosen:
                yield Plugin(point.name, *_distribution(point)), point.load

    def _add(self, manager: pluggy.PluginManager, info: Plugin, load: Callable[[], object]) -> None:
        stage = "import"
        try:
            if other := self.plugins.get(info.name):
                raise VizkitError(
                    f"the name is taken by another plugin{f' ({other.distribution})' * bool(other.distribution)}"
                )
            plugin = load()
            stage = "register"
            manager.register(plugin, info.name)
            info.source = source_hash(plugin)
        except _FAILURES as error:
            self.problems.append(Problem(info.name, stage, in_a_line(error)))
            return
        self.plugins[info.name] = info
        for name in sorted(set(_HOOKS) & set(dir(plugin))):
            if manager.parse_hookimpl_opts(plugin, name) is None:
                self.problems.append(Problem(info.name, name, "it is not marked as a hook. Put @vizkit.hookimpl above it."))
        for caller in manager.get_hookcallers(plugin) or ():
            if not caller.has_spec():
                unknown = f"there is no such hook.{suggestion(caller.name, _HOOKS)}"
                self.problems.append(Problem(info.name, caller.name, unknown))
                continue
            for hook in (impl for impl in caller.get_hookimpls() if impl.plugin is plugin):
                self._call(info, caller.name, hook.function)

    def _call(self, plugin: Plugin, hook: str, function: Callable[..., object]) -> None:
        """Take what a hook gives, one after another; what comes before a failure counts."""
        try:
            added = function()
            if isinstance(added, str) or not isinstance(added, Iterable):
                raise VizkitError(f"it returned {type(added).__name__}; it has to return a list of {hook.split('_')[1]}.")
            for thing in added:
                try:
                    self._take(plugin, hook.removeprefix("register_"), thing)
                except _FAILURES as error:
                    self.problems.append(Problem(plugin.name, hook, in_a_line(error)))
        except _FAILURES as error:
            self.problems.append(Problem(plugin.name, hook, in_a_line(error)))

    def _take(self, plugin: Plugin, kind: str, thing: Any) -> None:
        wanted: type[Any] = _KINDS[kind]
        if kind == "datasets" and isinstance(thing, DatasetOpener):
            kind, name = "openers", thing.scheme
        elif isinstance(thing, wanted):
            name = thing.id if isinstance(thing, Technique) else thing.name
        else:
            missing = sorted(m for m in get_protocol_members(wanted) if not hasattr(thing, m)) if is_protocol(wanted) else ()
            lacks = f" It lacks {', '.join(missing)}." if missing and not isinstance(thing, type) else ""
            lacks = " Put @vizkit.technique(…) above it." if isinstance(thing, FunctionType) else lacks
            what = f"the class {thing.__name__}" if isinstance(thing, type) else _type_of(thing)
            raise VizkitError(f"it gave {what}, which is no {wanted.__name__}.{lacks}")
        _check_name(kind, name)
        table: dict[str, Any] = getattr(self, kind)
        if name in table:
            raise VizkitError(f"the name {name!r} is taken by plugin {self._owner[kind, name]}")
        table[name] = thing
        self._owner[kind, name] = plugin.name
        getattr(plugin, kind).append(name)


_KINDS: dict[str, type[Any]] = {"models": ModelAdapter, "datasets": Dataset, "techniques": Technique}
_HOOKS = tuple(f"register_{kind}" for kind in _KINDS)
_Found = tuple[Plugin, Callable[[], object]]


def source_hash(plugin: object) -> str:
    """A hash of Python source: all modules of a package, one file, a class, or a function with the module around it."""
    digest = hashlib.sha256()
    if not isinstance(plugin, ModuleType):
        digest.update(_definition(plugin if isinstance(plugin, type | FunctionType) else type(plugin)))
    if isinstance(plugin, FunctionType):
        plugin = sys.modules.get(plugin.__module__)  # its helpers count too
    if isinstance(plugin, ModuleType):
        file = Path(getattr(plugin, "__file__", None) or "")
        files = sorted(file.parent.rglob("*.py")) if file.name == "__init__.py" else [file]
        for path in files:
            if path.is_file():
                digest.update(f"{path.relative_to(file.parent)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _definition(thing: type | FunctionType) -> bytes:
    """The source of a class or function; where it was typed at a prompt, what Python made of it."""
    try:
        return inspect.getsource(thing).encode()
    except (OSError, TypeError):
        return _compiled(thing.__code__) if isinstance(thing, FunctionType) else repr(thing).encode()


def _compiled(code: CodeType) -> bytes:
    constants = (_compiled(c) if isinstance(c, CodeType) else repr(c).encode() for c in code.co_consts)
    return b"\0".join([code.co_code, repr(code.co_names).encode(), *constants])


def _given(plugins: Iterable[object]) -> Iterator[_Found]:
    for plugin in plugins:
        name = getattr(plugin, "__name__", None) or type(plugin).__name__
        yield Plugin(str(name)), functools.partial(_itself, plugin)


def _itself(plugin: object) -> object:
    return plugin


def _distribution(point: importlib.metadata.EntryPoint) -> tuple[str, str]:
    """Name and version of what a plugin was installed with; empty where its metadata are damaged."""
    try:
        return (point.dist.name or "", point.dist.version or "") if point.dist else ("", "")
    except Exception:
        return "", ""


def _check_name(kind: str, name: object) -> None:
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise VizkitError(f"{name!r} is no name: use letters, digits, - and _, with a letter or digit first.")
    if kind == "datasets" and name in _REFERENCES:
        raise VizkitError(f"the name {name!r} stands for pictures that belong to no dataset. Choose another.")


def _find(table: dict[str, T], name: str, noun: str, command: str) -> T:
    if name not in table:
        raise NotFound(f"There is no {noun} {name!r}.{suggestion(name, table)} See: {command}")
    return table[name]


def _type_of(thing: object) -> str:
    return f"the function {thing.__name__}" if isinstance(thing, FunctionType) else type(thing).__name__


__all__: Sequence[str] = ["GROUP", "Plugin", "Problem", "Registry", "source_hash"]
