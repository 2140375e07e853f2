"""A technique's signature, read once: its inputs, its parameters, what they allow, and the sentence for each mistake.

That one declaration gives the Python call, the command line's flags, the JSON schema, the messages and the cache key.
"""

from __future__ import annotations

import enum
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePath
from typing import Annotated, Any, Literal, get_args, get_origin

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from vizkit import sentences
from vizkit.errors import InvalidParameter, VizkitError, suggestion
from vizkit.markers import ClassLabel, Extends, Image, Marker, OfLayer
from vizkit.types import ImageBatch, ImageRef

RESERVED = frozenset({
    "model", "dataset", "images", "technique", "progress", "workspace", "registry", "params",
    "json", "as_json", "out", "help", "quiet",
})  # fmt: skip
"""Names of the command line's own flags and of `run`'s own arguments."""

_ALLOWED = "bool, int, float, str, Literal, Enum, tuples of these, and | None; an ImageBatch with Image()"
_REQUIRED: Any = inspect.Parameter.empty
_CONFIG = ConfigDict(allow_inf_nan=False)  # neither JSON nor a cache key can hold them
_BITS = 63


@dataclass(frozen=True)
class Param:
    """One keyword-only parameter of a technique."""

    name: str
    annotation: Any
    default: Any
    marker: Marker | None
    extends: bool
    schema: Mapping[str, Any]
    adapter: TypeAdapter[Any] = field(repr=False, compare=False)

    @classmethod
    def of(cls, name: str, hint: Any, default: Any) -> Param:
        """Read an annotation and check that the default fits it. Raises VizkitError with the rest of a sentence."""
        metadata = tuple(_metadata(hint))
        markers = [m for m in metadata if isinstance(m, Marker)]
        if len(markers) > 1:
            raise VizkitError(f"it carries {len(markers)} markers, and one is allowed.")
        marker = markers[0] if markers else None
        if any(isinstance(m, FieldInfo) and not m.is_required() for m in metadata):
            raise VizkitError("its default is in Field(). Write it after =, as for any function.")
        extends = any(isinstance(m, Extends) for m in metadata)
        if marker and (bare := _bare(hint, marker.single)) != marker.annotates:
            raise VizkitError(f"{type(marker).__name__}() goes on {_name(marker.annotates)}; the type is {_name(bare)}.")
        if extends and (bare := _bare(hint)) is not int:
            raise VizkitError(f"Extends() goes on int; the type is {_name(bare)}.")
        annotation = _plain(hint, marker)
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(annotation, config=_CONFIG)
            schema = adapter.json_schema()
            schema = _inline(schema, schema.pop("$defs", {}))
            param = cls(name, annotation, default, marker, extends, schema, adapter)
            if default is _REQUIRED:
                return param
            fitting = adapter.validate_python(default, strict=True)
        except ValidationError:
            raise VizkitError(f"the default is {default!r}; it must be {param.allowed()}.") from None
        except Exception as error:
            raise VizkitError(f"pydantic cannot check the type {_name(hint)}: {' '.join(str(error).split())}") from error
        return cls(name, annotation, fitting, marker, extends, {**schema, "default": plain_value(fitting)}, adapter)

    @property
    def required(self) -> bool:
        """Whether a person has to give it: it has neither a default nor a marker that finds one."""
        return self.default is _REQUIRED and self.marker is None

    @property
    def optional(self) -> bool:
        """Whether it may be None."""
        return any(s.get("type") == "null" for s in self.schema.get("anyOf", ()))

    @property
    def plural(self) -> bool:
        """Whether it takes several values, written with commas."""
        return sentences.core(self.schema).get("type") == "array"

    @property
    def choices(self) -> list[Any]:
        """The values that it may have (or hold, if plural), where the declaration lists them."""
        return sentences.choices(self.schema)

    @property
    def description(self) -> str:
        """The sentence from its `Field`, else one from its marker."""
        fallback = (inspect.getdoc(type(self.marker)) or "").split(";")[0].split(". ")[0] if self.marker else ""
        return str(sentences.core(self.schema).get("description", fallback)).rstrip(".")

    def allowed(self) -> str:
        """What may be given, in words, from the marker or the bounds that the annotation declares."""
        if self.marker is None:
            return sentences.allowed(self.schema)
        return self.marker.wants + ("; several with commas between" if self.plural and self.marker.single else "")

    def undecided(self) -> Any:
        """What stands for a value that was not given: the default, or None for the marker to decide."""
        if self.default is not _REQUIRED:
            return self.default
        return (None,) if self.plural and self.marker and self.marker.single and not self.optional else None

    def read(self, value: Any) -> Any:
        """A value of the declared type, from Python's or from a text as a command line or URL has it. Raises VizkitError
        with what was wrong and what is allowed."""
        if isinstance(self.marker, Image) and isinstance(value, ImageBatch) and len(value) == 1:
            return value
        if value is None and self.marker and not self.optional:
            return self.undecided()
        plain = self._parsed(value)
        try:
            if self._misplaced_bool(plain):
                raise VizkitError(self._sentence(value))
            found = self.adapter.validate_python(plain)
        except ValidationError as error:
            finite = any(e["type"] == "finite_number" for e in error.errors())
            raise VizkitError(self._sentence(value, "finite " * finite)) from None
        numbers = found if isinstance(found, tuple) else (found,)
        if any(isinstance(n, int) and n.bit_length() > _BITS for n in numbers):
            raise VizkitError(self._sentence(value, more=f" of at most {_BITS} bits"))
        return found

    def _parsed(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            value = value.tolist()
        if isinstance(value, str):
            if value == "" and self.optional:
                return None
            if self.plural:
                value = value.split(",") if value.strip() else ()
        if self.plural and isinstance(value, list | tuple):
            return [self._one(v) for v in value]
        return self._one(value)

    def _one(self, value: Any) -> Any:
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, ImageRef | PurePath):
            return str(value)
        if isinstance(value, str):
            value = value.strip() if self.plural else value
            return {str(c): c for c in self.choices}.get(value, value)
        return value

    def _misplaced_bool(self, value: Any) -> bool:
        """Whether there is a True where a number is wanted: Python takes it for 1, and a person did not mean that."""
        wants = [s.get("type") == "boolean" or any(isinstance(c, bool) for c in self.choices)
                 for s in sentences.elements(self.schema)]  # fmt: skip
        return not any(wants) and any(isinstance(v, bool) for v in (value if isinstance(value, list) else [value]))

    def _sentence(self, value: Any, kind: str = "", more: str = "") -> str:
        near = ""
        wrong = value.split(",") if self.plural and isinstance(value, str) else value if self.plural else [value]
        for part in wrong if self.choices and isinstance(wrong, list | tuple) else ():
            if isinstance(part, str) and not near and part.strip() not in map(str, self.choices):
                guess = suggestion(part.strip(), map(str, self.choices))
                near = guess if guess.startswith(" Did") else ""
        numeric = any(s.get("type") in ("integer", "number") for s in sentences.elements(self.schema)) and not self.plural
        allowed = self.allowed().replace("number", f"{kind}number", 1)
        return f"{self.name} is {sentences.shown(value, numeric)}; it must be {allowed}{more}.{near}"


@dataclass(frozen=True)
class Signature:
    """The inputs of a technique (name -> kind) and its parameters, in the order of its definition."""

    technique: str
    inputs: Mapping[str, str]
    params: Mapping[str, Param]

    @classmethod
    def of(cls, technique: str, function: Callable[..., Any], kinds: Mapping[Any, str]) -> Signature:
        """Read a function. `kinds` maps an input's annotation to what fills it. Raises VizkitError for a parameter that
        no command line or control could show."""
        try:
            hints = typing.get_type_hints(function, include_extras=True)
        except NameError as error:
            raise VizkitError(
                f"technique {technique!r}: an annotation says {error.name!r}, which its module does not define when it runs."
                " Import it at the top of the module, not under `if TYPE_CHECKING`."
            ) from error
        inputs: dict[str, str] = {}
        params: dict[str, Param] = {}
        for p in inspect.signature(function).parameters.values():
            try:
                hint = hints.get(p.name, _REQUIRED)
                if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
                    raise VizkitError("*args and **kwargs cannot be shown to a person. Name each parameter.")
                if p.kind is not p.KEYWORD_ONLY:
                    inputs[p.name] = _input(hint, kinds)
                    continue
                if p.name in RESERVED or p.name.startswith("_"):
                    raise VizkitError("the name is taken by vizkit itself. Choose another.")
                params[p.name] = Param.of(p.name, hint, p.default)
                _check_layer(params[p.name], params)
            except VizkitError as error:
                raise VizkitError(f"technique {technique!r}, parameter {p.name!r}: {error}") from error.__cause__
        return cls(technique, inputs, params)

    @cached_property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of the parameters, defaults included."""
        return {
            "type": "object",
            "properties": {n: dict(p.schema) for n, p in self.params.items()},
            "required": [n for n, p in self.params.items() if p.required],
            "additionalProperties": False,
        }

    def validate(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Values of the declared types, defaults filled in; what only a marker can decide stays as given, or None.
        Texts, as they come from a command line or URL, are read. Raises InvalidParameter with one sentence a field."""
        see = f" See: vizkit run {self.technique} --help"
        wrong = {
            name: f"{self.technique} has no parameter {name!r}.{suggestion(name, self.params)}{see}"
            for name in given
            if name not in self.params
        }
        values = {}
        for name, param in self.params.items():
            try:
                if name not in given and param.required:
                    raise VizkitError(f"{self.technique} needs {name}: {param.allowed()}.")
                values[name] = param.read(given[name]) if name in given else param.undecided()
            except VizkitError as error:
                wrong[name] = f"{error}{see}"
        if wrong:
            raise InvalidParameter(wrong)
        return values


def plain_value(value: Any) -> Any:
    """A parameter's value as JSON: an Enum's value, a tuple as a list."""
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, tuple | list):
        return [plain_value(v) for v in value]
    return value


def _input(hint: Any, kinds: Mapping[Any, str]) -> str:
    for kind, name in kinds.items():
        if hint == kind:
            return name
    allowed = ", ".join(sorted(map(_name, kinds)))
    raise VizkitError(
        f"an input is annotated with {_name(hint)}; allowed: {allowed}. Write the technique's own parameters after a bare *."
    )


def _check_layer(param: Param, before: Mapping[str, Param]) -> None:
    """What lies in a layer is read after the layer that it lies in."""
    if not isinstance(param.marker, OfLayer):
        return
    of = before.get(param.marker.of)
    if of is None or of.marker is None or of.marker.kind != "layer" or of.plural:
        raise VizkitError(
            f"{type(param.marker).__name__}() lies in the layer that the parameter {param.marker.of!r} holds, and no single"
            " layer of that name comes before it. Put the layer first, or name it: of=."
        )


def _metadata(hint: Any) -> typing.Iterator[Any]:
    """Everything that `Annotated` adds, at any depth."""
    if get_origin(hint) is Annotated:
        yield from hint.__metadata__
        yield from _metadata(hint.__origin__)
    elif get_origin(hint) is not Literal:
        for inner in get_args(hint):
            yield from _metadata(inner)


def _bare(hint: Any, elements: bool = False) -> Any:
    """A type without what `Annotated` adds and without None; the type of its elements, if they are asked for."""
    if get_origin(hint) is Annotated:
        return _bare(hint.__origin__, elements)
    if get_origin(hint) in (typing.Union, types.UnionType):
        inner = [a for a in get_args(hint) if a is not type(None)]
        return _bare(inner[0], elements) if len(inner) == 1 else hint
    if elements and get_origin(hint) is tuple:
        kinds = {_bare(a) for a in get_args(hint) if a is not ...}
        return kinds.pop() if len(kinds) == 1 else hint
    return hint


def _plain(hint: Any, marker: Marker | None, inside: bool = False) -> Any:
    """The annotation that pydantic sees: an ImageBatch is given as text, and a class by name or index."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        inner = _plain(hint.__origin__, marker, inside)
        rest = tuple(m for m in hint.__metadata__ if not isinstance(m, Marker | Extends))
        return Annotated[(inner, *rest)] if rest else inner
    if origin in (typing.Union, types.UnionType) and not inside and len(arguments) == 2 and type(None) in arguments:
        return _plain(next(a for a in arguments if a is not type(None)), marker) | None
    if origin is tuple and not inside and arguments:
        return tuple[tuple(a if a is ... else _plain(a, marker, True) for a in arguments)]  # type: ignore[misc]
    if isinstance(marker, Image) and hint is ImageBatch and not inside:
        return str
    if isinstance(marker, ClassLabel) and hint is int:
        return str | int
    listed = arguments if origin is Literal else ()
    if isinstance(hint, enum.EnumMeta):
        listed = tuple(m.value for m in typing.cast(type[enum.Enum], hint))
    if hint in (bool, int, float, str) or (listed and all(isinstance(c, bool | int | float | str) for c in listed)):
        return hint
    raise VizkitError(f"the type is {_name(hint)}; allowed: {_ALLOWED}.")


def _inline(schema: dict[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """A schema that stands alone: definitions in their places, no titles that repeat a Python name."""
    if "$ref" in schema:
        schema = {**definitions[schema["$ref"].rsplit("/", 1)[1]], **{k: v for k, v in schema.items() if k != "$ref"}}
    inlined: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("anyOf", "prefixItems"):
            inlined[key] = [_inline(s, definitions) for s in value]
        elif key != "title":
            inlined[key] = _inline(value, definitions) if key == "items" else value
    return inlined


def _name(hint: Any) -> str:
    """A type as its author wrote it."""
    if hint is _REQUIRED or hint is None:
        return "nothing"
    if get_origin(hint) is None and isinstance(hint, type):
        return hint.__name__
    return str(hint).replace("typing.", "").replace("collections.abc.", "").replace("vizkit.models.", "")
