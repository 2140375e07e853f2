"""Every kind of view as something that a browser shows. A plugin writes none of this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, assert_never

from dash import html

from vizkit import Result, views
from vizkit.draw import sentence
from vizkit.views import View, pictures
from vizkit_dash import ids
from vizkit_dash.components import Drawing, ImageGrid
from vizkit_dash.facts import Facts
from vizkit_dash.views.tables import table


@dataclass(frozen=True)
class Place:
    """Where a result is shown: whose panel, under which address, and which pictures stand there already."""

    group: str
    aio_id: str
    prefix: str
    facts: Facts
    shown: frozenset[str] = frozenset()
    step: int = -1  # how far a partial result is: its pictures have other addresses at each step


def render(result: Result, place: Place) -> list[Any]:
    """A result as components: headlines first (short notes with a title), then its sections."""
    out: list[Any] = []
    numbered = [(n, view) for n, view in enumerate(result.views)]
    first = {n for n, view in numbered if isinstance(view, views.Note) and view.title}
    if first:
        out.append(html.Div([_note(result.views[n], n, place) for n in sorted(first)], className="vk-headlines"))
    n = 0
    for section in result.sections:
        inside: list[Any] = []
        for view in section.views:
            if n not in first and not _shown(view, place):
                inside.append(_view(result, view, n, place))
            n += 1
        if inside:
            head = [html.H3(section.title)] if section.title else []
            out.append(html.Section([*head, *inside], className="vk-section"))
    return out


def _shown(view: View, place: Place) -> bool:
    """Whether the panel shows this very picture already, as the one that was chosen."""
    return isinstance(view, views.Media) and isinstance(view.image, str) and view.image in place.shown


def _view(result: Result, view: View, n: int, place: Place) -> Any:
    head = []
    if view.title:
        head.append(html.H4(view.title, id=_part(place, "title", n)))
    if result.key and not isinstance(view, views.Note):
        name = f"{n}-{view.kind}.png"
        link = html.A("PNG", href=address(place, result, n, "png"), download=name, id=_part(place, "png", n))
        link.className = "vk-download"
        link.hidden = result.partial
        head.append(link)
    note = [html.P(view.note, className="vk-note", id=_part(place, "note", n))] if view.note else []
    top = [html.Div(head, className="vk-view-head")] if head else []
    return html.Div([*top, _body(result, view, n, place), *note], className=f"vk-view vk-view-{view.kind}")


def _body(result: Result, view: View, n: int, place: Place) -> Any:
    match view:
        case views.ImageGrid():
            return _grid(result, view, n, place)
        case views.Note():
            return _note(view, n, place)
        case views.Table():
            return table(view)
        case (
            views.Heatmap()
            | views.SimilarityOverlay()
            | views.CellMap()
            | views.Bars()
            | views.Lines()
            | views.Scatter()
            | views.Tree()
            | views.Graph()
            | views.SpriteSheet()
            | views.Media()
            | views.Figure()
        ):
            return _drawn(result, view, n, place)
        case _:
            assert_never(view)


def _grid(result: Result, view: views.ImageGrid, n: int, place: Place) -> Any:
    first = sum(len(pictures(v)) for v in result.views[:n])
    own = view.images is not None
    items = [
        item(view_item, place, f"result/{result.key}/{first + i}" if own else None) for i, view_item in enumerate(view.items)
    ]
    link = None
    if view.link is not None:
        link = {"technique": view.link.technique, "params": dict(view.link.params), "bind": view.link.bind}
    return ImageGrid(items, id=ids.make("link", place.group, place.aio_id, f"view{n}"), label=view.title, link=link)


def item(given: views.GridItem, place: Place, picture: str | None = None) -> dict[str, Any]:
    """One cell as the browser draws it. `picture` names its picture where that is not the item's own id."""
    known = place.facts.picture(picture or given.id)
    fields: Mapping[str, Any] = {
        "id": given.id,
        "label": given.label or given.id.partition("/")[2] or given.id,
        "rank": given.rank,
        "distance": given.distance,
        "similarity": given.similarity,
        "same": given.same_class,
        "version": known.version if known else None,
        "src": f"{place.prefix}_vizkit/thumb/224/{picture}{_step(place)}" if picture else None,
    }
    return {k: v for k, v in fields.items() if v is not None}


def _note(view: View, n: int, place: Place) -> Any:
    assert isinstance(view, views.Note)
    title = [html.H4(view.title, id=_part(place, "title", n))] if view.title else []
    warns = " vk-warning" if view.level == "warning" else ""
    return html.Div([*title, html.P(view.text, id=_part(place, "text", n))], className=f"vk-card{warns}", role="note")


def _drawn(result: Result, view: View, n: int, place: Place) -> Any:
    """The picture that an export would hold."""
    kind = "png" if isinstance(view, views.SpriteSheet | views.Media) else "svg"
    src = address(place, result, n, kind)
    dark = None if isinstance(view, views.Media) else f"{src}{'&' if '?' in src else '?'}dark=1"
    return Drawing(src=src, dark=dark, alt=sentence(view), id=_part(place, "drawing", n))


def address(place: Place, result: Result, n: int, kind: str) -> str:
    """Where the static picture of a result's n-th view is served."""
    return f"{place.prefix}_vizkit/view/{result.key}/{n}.{kind}{_step(place)}"


def _step(place: Place) -> str:
    return f"?step={place.step}" if place.step >= 0 else ""


def _part(place: Place, part: str, n: int) -> dict[str, Any]:
    return ids.make(part, place.group, place.aio_id, f"view{n}")
