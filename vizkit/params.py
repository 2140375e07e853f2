"""A technique's signature, read once: its inputs, its parameters, what they allow, and the sentence for each mistake.

That one declaration gives the Python call, the command line's flags, the JSON schema, the messages and the cache key.
"""

from __future__ import annotations

import enum
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, Any, Literal, get_args, get_origin

import typing_extensions
from pydantic import ConfigDict, TypeAdapter, ValidationError

from vizkit.errors import InvalidParameter, VizkitError, suggestion
from vizkit.markers import ClassLabel, Extends, Image, Marker
from vizkit.types import ImageBatch, ImageRef

RESERVED = frozenset({"model", "dataset", "images", "json", "out", "help", "progress", "registry", "quiet"})
"""Names of the command line's own flags and of `run`'s own arguments."""


_ALLOWED = "bool, int, float, str, Literal, Enum, tuples of these, and | None; an ImageBatch with Image()"
_REQUIRED: Any = inspect.Parameter.empty


@dataclass(frozen=True)
class Param:
    """One keyword-only parameter of a technique."""

    name: str
    annotation: Any
    default: Any
    marker: Marker | None
    extends: bool
    schema: Mapping[str, Any] = field(default_factory=dict)

    @property
    def required(self) -> bool:
        """Whether a person has to give it: it has neither a default nor a marker that finds one."""
        return self.default is _REQUIRED and self.marker is None

    @property
    def description(self) -> str:
        """The sentence from its `Field`, else one from its marker."""
        fallback = (inspect.getdoc(type(self.marker)) or "").split(";")[0].split(". ")[0] if self.marker else ""
        return str(self.schema.get("description", fallback)).rstrip(".")

    @property
    def plural(self) -> bool:
        """Whether it takes several values, written with commas."""
        return self.schema.get("type") == "array" or any(s.get("type") == "array" for s in self.schema.get("anyOf", ()))

    def allowed(self) -> str:
        """What may be given, in words, from the bounds that the annotation declares."""
        schema = next((s for s in self.schema.get("anyOf", ()) if s.get("type") != "null"), self.schema)
        if choices := schema.get("enum", [schema["const"]] if "const" in schema else None):
            return f"one of {', '.join(map(str, choices))}"
        noun = {
            "integer": "a whole number",
            "number": "a number",
            "boolean": "true or false",
            "array": "values with commas between",
        }.get(str(schema.get("type")), "a text")
        low, high = schema.get("minimum"), schema.get("maximum")
        above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
        if low is not None and high is not None:
            return f"{noun} from {low:g} to {high:g}"
        bounds = [
            *([f"at least {low:g}"] if low is not None else []),
            *([f"at most {high:g}"] if high is not None else []),
            *([f"above {above:g}"] if above is not None else []),
            *([f"below {below:g}"] if below is not None else []),
        ]
        return " ".join([noun, *([" and ".join(bounds)] if bounds else [])])


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
        hints = typing.get_type_hints(function, include_extras=True)
        inputs: dict[str, str] = {}
        params: dict[str, Param] = {}
        for p in inspect.signature(function).parameters.values():
            where = f"technique {technique!r}, parameter {p.name!r}"
            hint = hints.get(p.name)
            if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
                raise VizkitError(f"{where}: *args and **kwargs cannot be shown to a person. Name each parameter.")
            if p.kind is not p.KEYWORD_ONLY:
                if hint not in kinds:
                    names = ", ".join(sorted(str(getattr(k, "__name__", k)) for k in kinds))
                    raise VizkitError(
                        f"{where}: an input is annotated with {_name(hint)}; allowed: {names}."
                        " Write the technique's own parameters after a bare *."
                    )
                inputs[p.name] = kinds[hint]
                continue
            if p.name in RESERVED or p.name.startswith("_"):
                raise VizkitError(f"{where}: the name is taken by vizkit itself. Choose another.")
            metadata = tuple(_markers(hint))
            marker = next((m for m in metadata if isinstance(m, Marker)), None)
            plain = _plain(hint, where, marker)
            params[p.name] = Param(p.name, plain, p.default, marker, any(isinstance(m, Extends) for m in metadata))
        signature = cls(technique, inputs, params)
        schema = signature.schema["properties"]
        return cls(technique, inputs, {n: replace(p, schema=schema[n]) for n, p in params.items()})

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        make: Any = typing_extensions.TypedDict
        fields = make("Params", {n: typing_extensions.NotRequired[p.annotation] for n, p in self.params.items()})
        fields.__pydantic_config__ = ConfigDict(extra="forbid")
        return TypeAdapter(fields)

    @cached_property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of the parameters, defaults included."""
        schema: dict[str, Any] = self._adapter.json_schema()
        definitions = schema.pop("$defs", {})
        schema["properties"] = {n: _inline(s, definitions) for n, s in schema.get("properties", {}).items()}
        for name, prop in schema["properties"].items():
            prop.pop("title", None)
            default = self.params[name].default
            if default is not _REQUIRED:
                prop["default"] = plain_value(default)
        return schema

    def validate(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Values of the declared types, defaults filled in; what only a marker can decide stays as given, or None.
        Texts, as they come from a command line or URL, are read. Raises InvalidParameter with one sentence a field."""
        wrong: dict[str, str] = {}
        for name in given:
            if name not in self.params:
                wrong[name] = f"{self.technique} has no parameter {name!r}.{suggestion(name, self.params)}{self._see}"
        texts = {n: self._read(self.params[n], v) for n, v in given.items() if n not in wrong}
        try:
            values = dict(self._adapter.validate_python(texts))
        except ValidationError as error:
            for e in error.errors():
                name = str(e["loc"][0])
                wrong.setdefault(name, self._sentence(self.params[name], given[name], e))
        if not wrong:
            for name, p in self.params.items():
                if name not in values and p.required:
                    wrong[name] = f"{self.technique} needs {name}: {p.allowed()}.{self._see}"
        if wrong:
            raise InvalidParameter(wrong)
        return {n: values.get(n, None if p.default is _REQUIRED else p.default) for n, p in self.params.items()}

    @property
    def _see(self) -> str:
        return f" See: vizkit run {self.technique} --help"

    def _read(self, p: Param, value: Any) -> Any:
        if isinstance(value, ImageRef):
            return str(value)
        if not isinstance(value, str):
            return value
        if p.plural:
            return [part.strip() for part in value.split(",") if part.strip()]
        if value == "" and any(s.get("type") == "null" for s in p.schema.get("anyOf", ())):
            return None
        return value

    def _sentence(self, p: Param, value: Any, error: Mapping[str, Any]) -> str:
        near = ""
        schema = next((s for s in p.schema.get("anyOf", ()) if "enum" in s), p.schema)
        if isinstance(value, str) and "enum" in schema:
            guess = suggestion(value, map(str, schema["enum"]))
            near = guess if guess.startswith(" Did") else ""
        return f"{p.name} is {value!r}; it must be {p.allowed()}.{near}{self._see}"


def plain_value(value: Any) -> Any:
    """A parameter's value as JSON: an Enum's value, a tuple as a list."""
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, tuple | list):
        return [plain_value(v) for v in value]
    return value


def _markers(hint: Any) -> typing.Iterator[Any]:
    if get_origin(hint) is Annotated:
        yield from hint.__metadata__
    for inner in get_args(hint):
        if not isinstance(inner, Marker | Extends | str | int):
            yield from _markers(inner)


def _plain(hint: Any, where: str, marker: Marker | None) -> Any:
    """The annotation that pydantic sees: an ImageBatch is given as text, and a class by name or index."""
    if get_origin(hint) is Annotated:
        inner = _plain(hint.__origin__, where, marker)
        rest = tuple(m for m in hint.__metadata__ if not isinstance(m, Marker | Extends))
        return Annotated[(inner, *rest)] if rest else inner
    if get_origin(hint) in (typing.Union, types.UnionType):
        return typing.Union[tuple(_plain(a, where, marker) for a in get_args(hint))]  # noqa: UP007
    if get_origin(hint) is tuple:
        return tuple[tuple(a if a is ... else _plain(a, where, marker) for a in get_args(hint))]  # type: ignore[misc]
    if isinstance(marker, Image) and hint is ImageBatch:
        return str
    if isinstance(marker, ClassLabel) and hint is int:
        return str | int
    if hint in (bool, int, float, str, type(None)) or get_origin(hint) is Literal:
        return hint
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return hint
    raise VizkitError(f"{where}: the type is {_name(hint)}; allowed: {_ALLOWED}.")


def _inline(schema: dict[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        schema = {**definitions[schema["$ref"].rsplit("/", 1)[1]], **{k: v for k, v in schema.items() if k != "$ref"}}
    return {k: [_inline(s, definitions) for s in v] if k == "anyOf" else v for k, v in schema.items()}


def _name(hint: Any) -> str:
    return "nothing" if hint is None else str(getattr(hint, "__name__", hint)) if isinstance(hint, type) else str(hint)


def first_of_kind(params: Sequence[Param], kind: str) -> Param | None:
    """The parameter that a Selection's first value of a kind binds to."""
    return next((p for p in params if p.marker and p.marker.kind == kind and not p.marker.role), None)
