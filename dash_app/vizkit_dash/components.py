"""The pieces that run in the browser: Dash components written by hand in plain JavaScript, with no build step.

Each is a class here and a function of the same name in `assets/`. They work in anybody's Dash app.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from dash.development.base_component import Component

NAMESPACE = "vizkit_dash"


class _Written(Component):  # type: ignore[misc]
    """A component whose props are named once, in `names`."""

    _namespace = NAMESPACE
    _children_props: ClassVar[list[str]] = []
    _base_nodes: ClassVar[list[str]] = []
    names: ClassVar[tuple[str, ...]] = ()

    def __init__(self, **props: Any) -> None:
        self._type = type(self).__name__
        self._prop_names = ["id", *self.names]
        self._valid_wildcard_attributes: list[str] = []
        self.available_properties = self._prop_names
        self.available_wildcard_properties: list[str] = []
        super().__init__(**{k: v for k, v in props.items() if v is not None})


class ImageGrid(_Written):
    """Pictures in reading order, each with what is known of it: rank, label, similarity as bar and percentage, distance,
    and whether it is of the same class.

    `items` are dicts with `id`, and any of `label`, `rank`, `similarity` (0 to 100), `distance`, `same` (bool) and `src`;
    without a `src` the id is the reference of a picture that vizkit knows. A click, or Enter, sets `selected` to the id
    and counts `n_selected` up. `current` marks one, `compact` shows pictures alone, `label` is read to those who do not see.
    """

    names = ("items", "current", "compact", "label", "link", "selected", "n_selected", "side")

    def __init__(
        self,
        items: Sequence[Mapping[str, Any]] = (),
        *,
        id: Any = None,
        current: str | None = None,
        compact: bool = False,
        label: str = "Pictures",
        link: Mapping[str, Any] | None = None,
        side: int = 224,
    ) -> None:
        super().__init__(id=id, items=list(items), current=current, compact=compact, label=label, link=link, side=side)


class Controls(_Written):
    """Fields as `vizkit_dash.controls.fields` describes them. A choice sets `changed` to {name, value, n}."""

    names = ("fields", "values", "errors", "changed", "label")

    def __init__(self, *, id: Any = None, label: str = "Settings", **props: Any) -> None:
        super().__init__(id=id, label=label, **{"fields": [], "values": {}, "errors": {}} | props)


class Drawing(_Written):
    """A picture from the server, `src`, with the words for it; `dark` is its like for dark pages. One of them is fetched."""

    names = ("src", "dark", "alt")

    def __init__(self, *, src: str, alt: str, dark: str | None = None, id: Any = None) -> None:
        super().__init__(id=id, src=src, dark=dark, alt=alt)


class Pulse(_Written):
    """Asks again `wait` milliseconds after each answer, by counting `beat` up; 0 stops it. Unlike an interval it never
    asks while an answer is under way, since Dash drops an answer that a newer question has overtaken."""

    names = ("wait", "heard", "beat")

    def __init__(self, *, id: Any = None, wait: int = 0) -> None:
        super().__init__(id=id, wait=wait)


class Address(_Written):
    """The browser's address. `visited` ({href, n}) is path and query where a person went: when the page opens, on back
    and forward, and on a click on a link marked `data-vk-link`. Setting `to` ({href, replace, n}) writes the address."""

    names = ("visited", "to", "title")

    def __init__(self, *, id: Any = None) -> None:
        super().__init__(id=id)
