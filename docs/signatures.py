"""What the reference shows of Python names: how they are called and what they say of themselves.

Everything is taken from annotations as they are written and from docstrings, so the text is the same on every Python.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import inspect
import json
import textwrap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import vizkit as vk

_LINE = 100


class Alias(NamedTuple):
    """A name that a module gives to a type or value, with the sentence below it."""

    name: str
    definition: str
    text: str


class Field(NamedTuple):
    """A field of a dataclass; `default` is None where it is required."""

    name: str
    annotation: str
    default: str | None
    init: bool
    keyword: bool


class Member(NamedTuple):
    """A public attribute or method of a class."""

    form: str
    text: str


def public_names() -> dict[str, list[str]]:
    """The names of `vizkit.__all__` by the module that each is imported from, in the order of the modules."""
    tree = ast.parse(Path(inspect.getfile(vk)).with_suffix(".pyi").read_text("utf-8"))
    origin = {
        alias.asname or alias.name: f"vizkit.{node.module}"
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    found: dict[str, list[str]] = {}
    for name in sorted(vk.__all__, key=str.lower):
        found.setdefault(origin[name], []).append(name)
    return dict(sorted(found.items()))


def aliases(module: str) -> list[Alias]:
    """The assignments at a module's top level, each with the docstring that follows it."""
    source = inspect.getsource(importlib.import_module(module))
    body = ast.parse(source).body
    found = []
    for node, after in zip(body, [*body[1:], None], strict=True):
        target = _target(node)
        value = getattr(node, "value", None)
        if not isinstance(target, ast.Name) or value is None:
            continue
        text = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
        written = _join(ast.get_source_segment(source, value) or "")
        found.append(Alias(target.id, written, _join(str(text))))
    return found


def fields(cls: type) -> list[Field]:
    """The fields of a dataclass, inherited ones too."""
    return [Field(f.name, plain(str(f.type)), _default(f), f.init, bool(f.kw_only)) for f in dataclasses.fields(cls)]


def plain(annotation: str) -> str:
    """An annotation without what `Annotated` adds to it."""
    tree = ast.parse(annotation, mode="eval").body
    if isinstance(tree, ast.Subscript) and isinstance(tree.value, ast.Name) and tree.value.id == "Annotated":
        inside = tree.slice
        assert isinstance(inside, ast.Tuple)
        return ast.unparse(inside.elts[0])
    return annotation


def call(function: Callable[..., Any], name: str, width: int = _LINE) -> str:
    """`name(parameters) -> result`, without self, one parameter a line where it is longer than the width; 0 is endless."""
    signature = inspect.signature(function)
    parts = _parameters(p for p in signature.parameters.values() if p.name not in ("self", "cls"))
    result = signature.return_annotation
    return _fitted(name, parts, "" if result is signature.empty else f" -> {_annotation(result)}", width)


def constructor(cls: type) -> str:
    """`class Name(Base)` for what is subclassed or raised, and how one is made."""
    bases = [b.__name__ for b in cls.__bases__ if b.__name__ in vk.__all__]
    head = f"class {cls.__name__}" + (f"({', '.join(bases)})" if bases else "")
    own = vars(cls).get("__init__")
    if getattr(cls, "_is_protocol", False):
        return head
    if own is not None and inspect.getfile(inspect.unwrap(own)) == inspect.getfile(cls):
        made = _fitted(cls.__name__, _parameters(list(inspect.signature(own).parameters.values())[1:]))
    elif dataclasses.is_dataclass(cls):
        made = _fitted(cls.__name__, _of_fields(f for f in fields(cls) if f.init))
    else:
        return head
    return f"{head}\n{made}" if bases else made


def members(cls: type) -> Iterator[Member]:
    """What a class itself defines, with words of its own, for others to read, call or override."""
    for name, form in ({} if dataclasses.is_dataclass(cls) else _attributes(cls)).items():
        if not name.startswith("_"):
            yield Member(form, "")
    for name, value in vars(cls).items():
        if name.startswith("_") and name != "__call__":
            continue
        if isinstance(value, property | functools.cached_property):
            getter = value.fget if isinstance(value, property) else value.func
            result = inspect.signature(getter).return_annotation if getter else ""
            yield Member(f"{name}: {_annotation(result)}", first_paragraph(value))
        elif isinstance(value, classmethod | staticmethod):
            yield Member(call(value.__func__, f"{cls.__name__}.{name}", 0), first_paragraph(value.__func__))
        elif inspect.isfunction(value) and (value.__doc__ or name == "__call__"):
            yield Member(call(value, name, 0), first_paragraph(value) if value.__doc__ else "")


def _attributes(cls: type) -> dict[str, str]:
    """What the class assigns, and what its `__init__` declares: name -> `name: type = value`."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(tree, ast.ClassDef)
    made = next((n.body for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), [])
    found = {}
    for node in [*tree.body, *(n for n in made if isinstance(n, ast.AnnAssign))]:
        target = _target(node)
        own = isinstance(target, ast.Name)
        if target is None or own != (node in tree.body):
            continue
        name = target.id if isinstance(target, ast.Name) else target.attr
        annotation = f": {ast.unparse(node.annotation)}" if isinstance(node, ast.AnnAssign) else ""
        value = vars(cls).get(name) if own else None
        shown = isinstance(value, str | int | tuple | frozenset)
        found[name] = f"{name}{annotation}" + (f" = {_literal(value)}" if shown else "")
    return found


def _target(node: ast.stmt) -> ast.Name | ast.Attribute | None:
    """The one name or attribute that a statement assigns to."""
    targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets if isinstance(node, ast.Assign) else []
    return targets[0] if len(targets) == 1 and isinstance(targets[0], ast.Name | ast.Attribute) else None


def wrapped(union: str) -> str:
    """A long union with one member a line."""
    return union if len(union) <= _LINE else "(\n    " + union.replace(" | ", "\n    | ") + "\n)"


def docstring(thing: object) -> str:
    """The whole docstring as paragraphs of Markdown."""
    return inspect.getdoc(thing) or ""


def first_paragraph(thing: object) -> str:
    """The docstring up to its first empty line, on one line."""
    return _join(docstring(thing).partition("\n\n")[0])


def _parameters(given: Iterable[inspect.Parameter]) -> list[str]:
    parts: list[str] = []
    bare = True
    for p in given:
        stars = "*" if p.kind is p.VAR_POSITIONAL else "**" if p.kind is p.VAR_KEYWORD else ""
        if p.kind is p.KEYWORD_ONLY and bare:
            parts.append("*")
        bare = bare and p.kind not in (p.KEYWORD_ONLY, p.VAR_POSITIONAL)
        annotation = "" if p.annotation is p.empty else f": {_annotation(p.annotation)}"
        default = "" if p.default is p.empty else f" = {_literal(p.default)}"
        parts.append(f"{stars}{p.name}{annotation}{default}")
    return parts


def _of_fields(shown: Iterable[Field]) -> list[str]:
    parts: list[str] = []
    for f in shown:
        if f.keyword and "*" not in parts:
            parts.append("*")
        parts.append(f"{f.name}: {f.annotation}" + (f" = {f.default}" if f.default is not None else ""))
    return parts


def _fitted(name: str, parts: list[str], result: str = "", width: int = _LINE) -> str:
    line = f"{name}({', '.join(parts)}){result}"
    return line if not width or len(line) <= width else f"{name}(\n" + "".join(f"    {p},\n" for p in parts) + f"){result}"


def _annotation(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _default(field: Any) -> str | None:
    given = field.default
    factory = field.default_factory
    if hasattr(given, "default_factory"):  # pydantic's Field
        given, factory = given.default, given.default_factory or dataclasses.MISSING
    if factory is not dataclasses.MISSING:
        return f"{factory.__name__}()"
    return None if given is dataclasses.MISSING else _literal(given)


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, frozenset):
        return "{" + ", ".join(sorted(map(_literal, value))) + "}"
    return value.__name__ if inspect.isroutine(value) else repr(value)


def _join(text: str) -> str:
    return " ".join(text.split())
