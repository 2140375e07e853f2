"""The numbers behind the pictures, as CSV."""

from __future__ import annotations

import csv as _csv
import math
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import assert_never

import numpy as np

from vizkit import views as v
from vizkit.draw.maps import chosen

_ITEM = ("id", "label", "rank", "distance", "similarity", "same_class")
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")


def csv(view: v.View) -> str | None:
    """The numbers of a view as CSV with one header row, or None for one that has none: media, notes, figures.

    Maps are told one cell a row: row, column, value. No number is an empty cell. A text that a spreadsheet would take for a
    formula gets an apostrophe in front, as spreadsheets themselves write it; `plain` takes it off.
    """
    match view:
        case v.ImageGrid():
            return _write(_ITEM, ([getattr(item, n) for n in _ITEM] for item in view.items)) if view.items else None
        case v.Heatmap():
            return _cells(("row", "column", "value"), np.asarray(view.values))
        case v.SimilarityOverlay():
            return _cells(("image", "row", "column", "similarity"), chosen(view)[1])
        case v.CellMap():
            channels, values = np.asarray(view.channels), np.asarray(view.values)
            rows = ([*at, int(channels[at]), values[at]] for at in np.ndindex(channels.shape))
            return _write(("row", "column", "rank", "channel", "value"), rows)
        case v.Bars():
            ends = {n: np.ravel(a) for n, a in (("low", view.low), ("high", view.high)) if a is not None}
            columns = [view.labels, np.ravel(view.values), *ends.values()]
            return _write(("label", "value", *ends), zip_longest(*columns))
        case v.Lines():
            sets = [("", view.values), (" (low)", view.low), (" (high)", view.high)]
            names = [*view.names, *(f"curve {i}" for i in range(len(view.names), len(np.atleast_2d(view.values))))]
            curves = {
                f"{name}{suffix}": np.atleast_2d(a)[i] for i, name in enumerate(names) for suffix, a in sets if a is not None
            }
            return _write((view.x_label or "x", *curves), zip(view.x, *curves.values(), strict=True))
        case v.Scatter():
            return _points(view)
        case v.Tree():
            tree = ([n.id, n.parent, n.label, n.weight, n.children] for n in view.nodes)
            return _write(("id", "parent", "label", "weight", "children"), tree)
        case v.Graph():
            nodes = (["node", n.id, n.label, n.row, n.column, None, None, None] for n in view.nodes)
            edges = (["edge", None, None, None, None, e.source, e.target, e.weight] for e in view.edges)
            return _write(("what", "id", "label", "row", "column", "source", "target", "weight"), [*nodes, *edges])
        case v.Table():
            return _write(view.columns, view.rows)
        case v.SpriteSheet():
            return _write(("unit", "label"), enumerate(view.labels)) if view.labels else None
        case v.Media() | v.Note() | v.Figure():
            return None
        case _:
            assert_never(view)


def plain(text: str) -> str:
    """A text of a CSV made here as it was before it was made safe for spreadsheets."""
    return text[1:] if text.startswith("'") and _dangerous(text.lstrip("'")) else text


def _points(view: v.Scatter) -> str:
    points = np.asarray(view.points)
    frames = points if points.ndim == 3 else points[None]
    names = [n for n, there in (("frame", points.ndim == 3), ("id", view.ids), ("label", view.labels)) if there]
    rows: list[list[object]] = []
    for f, frame in enumerate(frames):
        for i, point in enumerate(frame):
            said = {
                "frame": view.frames[f] if f < len(view.frames) else f,
                "id": view.ids[i] if i < len(view.ids) else None,
                "label": view.labels[i] if i < len(view.labels) else None,
            }
            rows.append([*(said[n] for n in names), *point[:2]])
    return _write((*names, "x", "y"), rows)


def _cells(names: Sequence[str], values: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> str:
    return _write(names, ([*at, values[at]] for at in np.ndindex(values.shape)))


def _write(names: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    out = _Lines()
    writer = _csv.writer(out, lineterminator="\r\n")  # with it, both signs are quoted within a cell
    writer.writerow([_text(n) for n in names])
    writer.writerows([_cell(c) for c in row] for row in rows)
    return "".join(out)


class _Lines(list[str]):
    """Takes the rows of a CSV writer, and ends each with one plain line feed."""

    def write(self, row: str) -> None:
        self.append(row.removesuffix("\r\n") + "\n")


def _cell(value: object) -> str:
    if isinstance(value, np.generic):
        shown = str(value) if isinstance(value, np.floating) else ""  # the digits of its own precision
        if shown and math.isfinite(float(shown)):
            return shown
        value = value.item()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return _text(value) if isinstance(value, str) else repr(value)


def _text(text: str) -> str:
    return f"'{text}" if _dangerous(text.lstrip("'")) else text


def _dangerous(text: str) -> bool:
    return text[:1] in ("\t", "\r", "\n") or text.lstrip().startswith(_FORMULA)
