"""What a tree of components is made of: a shape, and parts with ids whose properties may change while the shape stays."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from dash.development.base_component import Component


def shape(tree: Any) -> tuple[str, list[tuple[dict[str, Any], dict[str, Any]]]]:
    """A digest of everything that has no id, and each (id, properties) of what has one.

    Two trees of one shape differ in those properties alone, so that the browser can keep the first and be told the new
    properties: what has the focus keeps it.
    """
    parts: list[tuple[dict[str, Any], dict[str, Any]]] = []

    def walk(node: Any) -> Any:
        if isinstance(node, list | tuple):
            return [walk(child) for child in node]
        if not isinstance(node, Component):
            return node
        plain = node.to_plotly_json()
        props = dict(plain["props"])
        id = props.pop("id", None)
        if isinstance(id, dict):
            parts.append((id, props))
            return [plain["type"], id]
        children = walk(props.pop("children", None))
        return [plain["type"], props, children]

    text = json.dumps(walk(tree), sort_keys=True, default=str)
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(), parts
