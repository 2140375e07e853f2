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
import re
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
    tree = ast.parse(Path(inspect.getfile(vk)).read_text("utf-8"))
    origin = {
        alias.asname or alias.name: node.module
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
    body = ast.parse(inspect.getsource(importlib.import_module(module))).body
    found = []
    for node, after in zip(body, [*body[1:], None], strict=True):
        target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0] if isinstance(node, ast.Assign) else None
        value = getattr(node, "value", None)
        if not isinstance(target, ast.Name) or value is None:
            continue
        text = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
        found.append(Alias(target.id, _written(value), _join(str(text))))
    return found


def fields(cls: type) -> list[Field]:
    """The fields of a dataclass, inherited ones too."""
    return [
        Field(f.name, _readable(str(f.type)), _default(f), f.init, bool(f.kw_only)) for f in dataclasses.fields(cls) if f
    ]


def call(function: Callable[..., Any], name: str) -> str:
    """`name(parameters) -> result`, without self, one parameter a line where it is long."""
    signature = inspect.signature(function)
    parts = _parameters(p for p in signature.parameters.values() if p.name not in ("self", "cls"))
    result = signature.return_annotation
    return _fitted(name, parts, "" if result is signature.empty else f" -> {_annotation(result)}")


def constructor(cls: type) -> str:
    """`class Name(Base)` for what is subclassed or raised, `Name(parameters)` for what is made."""
    bases = [b.__name__ for b in cls.__bases__ if b.__module__.startswith("vizkit") and b.__name__ in vk.__all__]
    head = f"class {cls.__name__}" + (f"({', '.join(bases)})" if bases else "")
    if dataclasses.is_dataclass(cls):
        shown = [f for f in fields(cls) if f.init]
        parts = [f"{f.name}: {f.annotation}" + (f" = {f.default}" if f.default is not None else "") for f in shown]
        first = next((i for i, f in enumerate(shown) if f.keyword), None)
        if first is not None:
            parts.insert(first, "*")
        return f"{head}\n{_fitted(cls.__name__, parts)}" if bases else _fitted(cls.__name__, parts)
    own = vars(cls).get("__init__")
    if own is None or getattr(cls, "_is_protocol", False):
        return head
    signature = inspect.signature(own)
    parts = _parameters(p for p in list(signature.parameters.values())[1:])
    return f"{head}\n{_fitted(cls.__name__, parts)}" if bases else _fitted(cls.__name__, parts)


def members(cls: type) -> Iterator[Member]:
    """What a class defines itself for others to read, call or override."""
    if not dataclasses.is_dataclass(cls):
        declared = {n: str(a) for n, a in vars(cls).get("__annotations__", {}).items()}
        plain = {n: v for n, v in vars(cls).items() if isinstance(v, str | int | tuple | frozenset)}
        for name in dict.fromkeys([*declared, *plain]):
            if not name.startswith("_"):
                annotation = f": {declared[name]}" if name in declared else ""
                yield Member(f"{name}{annotation}" + (f" = {_literal(plain[name])}" if name in plain else ""), "")
    for name, value in vars(cls).items():
        if name.startswith("_"):
            continue
        if isinstance(value, property | functools.cached_property):
            getter = value.fget if isinstance(value, property) else value.func
            result = _annotation(inspect.signature(getter).return_annotation) if getter else ""
            yield Member(f"{name}: {result}", first_line(getattr(cls, name, None) if value is None else value))
        elif isinstance(value, classmethod | staticmethod):
            yield Member(_flat(call(value.__func__, f"{cls.__name__}.{name}")), first_line(value.__func__))
        elif inspect.isfunction(value):
            yield Member(_flat(call(value, name)), first_line(getattr(cls, name)))


def docstring(thing: object) -> str:
    """The whole docstring as paragraphs of Markdown."""
    return inspect.getdoc(thing) or ""


def first_paragraph(thing: object) -> str:
    """The docstring up to its first empty line, on one line."""
    return _join(docstring(thing).partition("\n\n")[0])


def first_line(thing: object) -> str:
    """The docstring up to its first empty line."""
    return first_paragraph(thing)


def _parameters(given: Iterable[inspect.Parameter]) -> list[str]:
    parts: list[str] = []
    bare = True
    for p in given:
        stars = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        if p.kind is p.KEYWORD_ONLY and bare:
            parts.append("*")
        bare = bare and p.kind not in (p.KEYWORD_ONLY, p.VAR_POSITIONAL)
        annotation = "" if p.annotation is p.empty else f": {_annotation(p.annotation)}"
        default = "" if p.default is p.empty else f" = {_literal(p.default)}"
        parts.append(f"{stars}{p.name}{annotation}{default}")
    return parts


def _fitted(name: str, parts: list[str], result: str = "") -> str:
    line = f"{name}({', '.join(parts)}){result}"
    return line if len(line) <= _LINE else f"{name}(\n" + "".join(f"    {p},\n" for p in parts) + f"){result}"


def _flat(text: str) -> str:
    return re.sub(r",\n\)", ")", text).replace("(\n    ", "(").replace(",\n    ", ", ")


def _annotation(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _readable(annotation: str) -> str:
    """`Annotated[T, …]` as T."""
    tree = ast.parse(annotation, mode="eval").body
    if isinstance(tree, ast.Subscript) and isinstance(tree.value, ast.Name) and tree.value.id == "Annotated":
        inside = tree.slice
        assert isinstance(inside, ast.Tuple)
        return ast.unparse(inside.elts[0])
    return annotation


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


def _written(value: ast.expr) -> str:
    return re.sub(r"\s+", " ", ast.unparse(value))


def _join(text: str) -> str:
    return " ".join(text.split())
