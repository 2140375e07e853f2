"""The ids of everything on a page: plain dicts, so that one callback serves every instance, and no dots anywhere."""

from __future__ import annotations

from typing import Any

from dash import ALL, MATCH

COMPONENT = "vizkit"


def make(part: str, group: Any, aio_id: Any, field: Any = "") -> dict[str, Any]:
    """The id of one part of one panel. `group` is shared by panels that choose together; `field` tells apart several of
    a part."""
    return {"component": COMPONENT, "part": part, "group": group, "aio_id": aio_id, "field": field}


def own(part: str) -> dict[str, Any]:
    """A part of whichever panel a callback is about."""
    return make(part, MATCH, MATCH)


def every(part: str) -> dict[str, Any]:
    """All of a panel's parts of one kind."""
    return make(part, MATCH, MATCH, ALL)


def anywhere(part: str, group: str) -> dict[str, Any]:
    """The part in every panel of one group."""
    return make(part, group, ALL)


def plain(text: str) -> str:
    """A person's id as a value that Dash can put into its own."""
    return text.replace(".", "-")
