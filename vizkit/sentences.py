"""A parameter's JSON schema and a person's value, in the words of a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Schema = Mapping[str, Any]

_NOUNS = {
    "integer": ("a whole number", "whole numbers"),
    "number": ("a number", "numbers"),
    "boolean": ("true or false", "true or false"),
}
_LONGEST = 60  # characters of a value that a sentence repeats


def core(schema: Schema) -> Schema:
    """What is allowed apart from nothing at all, with what is said about the whole."""
    for inner in schema.get("anyOf", ()):
        if inner.get("type") != "null":
            return {**inner, **{k: v for k, v in schema.items() if k != "anyOf"}}
    return schema


def elements(schema: Schema) -> Sequence[Schema]:
    """The schemas of what an array holds: one for any length, several for a fixed one. Of anything else, itself."""
    inner = core(schema)
    if inner.get("type") != "array":
        return [inner]
    return [core(s) for s in inner.get("prefixItems") or [inner["items"]]]


def choices(schema: Schema) -> list[Any]:
    """The values that may be given, where there is a list of them; for an array those of its elements."""
    first = elements(schema)[0]
    return list(first.get("enum", [first["const"]] if "const" in first else []))


def allowed(schema: Schema, several: bool = False) -> str:
    """What may be given: `a whole number from 1 to 9`, `one of mean, max`, `2 numbers with a comma between`."""
    schema = core(schema)
    if schema.get("type") == "array":
        return _array(schema)
    if listed := choices(schema):
        return f"{'any' if several else 'one'} of {', '.join(map(str, listed))}"
    noun = _NOUNS.get(str(schema.get("type")), ("a text", "texts"))[several]
    return " ".join([noun, *([bounds] if (bounds := _bounds(schema)) else [])])


def shown(value: Any, numeric: bool = False) -> str:
    """A value as a sentence repeats it, the same whether it came as text or from Python, and not at any length."""
    try:
        if isinstance(value, Sequence) and not isinstance(value, str | bytes):
            value = ",".join(str(v) for v in value)
        text = str(value) if numeric and isinstance(value, str) and _is_number(value) else repr(value)
    except ValueError:  # Python itself refuses to write thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _array(schema: Schema) -> str:
    inner = elements(schema)
    if any(s != inner[0] for s in inner):
        return f"{' and '.join(allowed(s) for s in inner)}, with commas between"
    low, high = schema.get("minItems", 0), schema.get("maxItems")
    count = ""
    if low == high:
        count = f"{low} "
    elif low == 1 and high is None:
        count = "one or more "
    elif low or high:
        count = " and ".join([*([f"at least {low}"] if low else []), *([f"at most {high}"] if high else [])]) + " "
    return f"{count}{allowed(inner[0], several=high != 1)} with {'a comma' if high == 2 else 'commas'} between"


def _bounds(schema: Schema) -> str:
    low, high, step = schema.get("minimum"), schema.get("maximum"), schema.get("multipleOf")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if low is not None and high is not None:
        parts = [f"from {_number(low)} to {_number(high)}"]
    else:
        named = [("at least", low), ("at most", high), ("above", above), ("below", below)]
        parts = [" and ".join(f"{word} {_number(bound)}" for word, bound in named if bound is not None)]
    parts += [f"in steps of {_number(step)}"] if step is not None else []
    shortest, longest = schema.get("minLength"), schema.get("maxLength")
    parts += [f"of at least {shortest} character{'s' * (shortest > 1)}"] if shortest else []
    parts += [f"of at most {longest} characters"] if longest is not None else []
    parts += [f"that matches {schema['pattern']}"] if "pattern" in schema else []
    return " ".join(p for p in parts if p)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
