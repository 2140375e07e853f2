"""The JSON schema of a result: what `vizkit run --json` prints and `result.json` of an export holds."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

import vizkit as vk
from vizkit import views
from vizkit.results import SCHEMA

_NUMBER = {"type": ["number", "string", "boolean", "null"]}
_ARRAY = TypeAdapter(views.Array).json_schema()
_TEXT = {"type": "string"}
_REFERENCE = {"$ref": "#/$defs/NamedArray"}


def result_schema() -> dict[str, Any]:
    """The whole schema, draft 2020-12."""
    view = views.json_schema()
    kinds = {ref["$ref"].rpartition("/")[2] for ref in view["oneOf"]}
    parts = {name: _view(part) if name in kinds else _part(part) for name, part in view["$defs"].items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A vizkit result",
        "description": "Printed by `vizkit run TECHNIQUE --json`, and result.json in what `--out` writes.",
        "type": "object",
        "properties": {
            "schema": {"const": SCHEMA, "description": "version of this form"},
            "technique": {
                "type": "string",
                "description": "its id; empty where its function was called itself",
            },
            "summary": {"type": "string", "description": "the answer in one sentence"},
            "views": {"type": "array", "items": {"$ref": "#/$defs/View"}},
            "partial": {"const": True, "description": "more is coming; absent from a finished result"},
            "provenance": {
                "description": "how it was made; empty where the function was called itself",
                "anyOf": [{"$ref": "#/$defs/Provenance"}, {"type": "object", "maxProperties": 0}],
            },
        },
        "required": ["schema", "technique", "summary", "views", "provenance"],
        "additionalProperties": False,
        "$defs": {
            "View": {"oneOf": view["oneOf"], "discriminator": view["discriminator"]},
            **parts,
            "Provenance": _provenance(),
            "Text": {"description": "a text: inline, or by name", "anyOf": [_TEXT, _REFERENCE]},
            "Array": {
                "description": "numbers or strings: inline, null for NaN, or by name",
                "anyOf": [{"type": "array", "items": {"anyOf": [_NUMBER, {"type": "array", "items": _NUMBER}]}}, _REFERENCE],
            },
            "NamedArray": {
                "description": "stands for what is too large for a text; an export has it as arrays/NAME.npy. Of dtype json"
                " it is a text, list or object in UTF-8 JSON, one byte a number.",
                "type": "object",
                "properties": {
                    "$array": {"type": "string", "minLength": 1},
                    "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
                    "dtype": {"type": "string", "minLength": 1},
                    "scale": {"type": "number"},
                },
                "required": ["$array", "shape", "dtype", "scale"],
                "additionalProperties": False,
            },
        },
    }


def _view(schema: dict[str, Any]) -> dict[str, Any]:
    """A view as it is packed: with its kind, perhaps under a heading, its longest fields by name."""
    schema = _part(schema)
    fields = {name: _nameable(field) for name, field in schema["properties"].items()}
    section = {"type": "string", "description": "the heading over this view and its neighbours with the same"}
    return schema | {"properties": fields | {"section": section}, "required": ["kind", *schema["required"]]}


def _part(schema: dict[str, Any]) -> dict[str, Any]:
    fields = {}
    for name, field in schema["properties"].items():
        fields[name] = {k: v for k, v in _with_arrays(field).items() if k != "title"}
    return schema | {"properties": fields}


def _with_arrays(schema: Any) -> Any:
    """The same with each array's own schema as a reference."""
    if isinstance(schema, list):
        return [_with_arrays(s) for s in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("anyOf") == _ARRAY["anyOf"]:
        return {"$ref": "#/$defs/Array"}
    return {k: _with_arrays(v) for k, v in schema.items()}


def _nameable(field: dict[str, Any]) -> dict[str, Any]:
    """A field that may be a text, a list or an object may also be named."""
    choices = field.get("anyOf", [field])
    if {"$ref": "#/$defs/Array"} in choices or not any(map(_long, choices)):
        return field
    default = {"default": field["default"]} if "default" in field else {}
    bare = [{k: v for k, v in c.items() if k != "default"} for c in choices]
    return {"$ref": "#/$defs/Text", **default} if bare == [_TEXT] else {"anyOf": [*bare, _REFERENCE], **default}


def _long(schema: dict[str, Any]) -> bool:
    """Whether a value may grow without end."""
    kind = schema.get("type", "object" if "$ref" in schema else None)
    return kind in ("string", "array", "object") and not {"const", "enum"} & set(schema)


def _provenance() -> dict[str, Any]:
    schema = TypeAdapter(vk.Provenance).json_schema(mode="serialization")
    fields = {n: {k: v for k, v in f.items() if k not in ("title", "default")} for n, f in schema["properties"].items()}
    return schema | {"properties": fields, "required": list(fields), "additionalProperties": False}
