"""Tables, notes and cards; and every view in one sentence, for those who do not see it."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, assert_never

import numpy as np

from vizkit import views as v
from vizkit.draw.canvas import TALLEST, Canvas, Look
from vizkit.draw.frame import extent, finish, nothing, number, side, start
from vizkit.draw.lettering import measure, wrap

_LINES = 4  # of one cell of a table


def table(view: v.Table, look: Look) -> Canvas:
    """Rows under their columns' names: numbers to the right, long texts in several lines."""
    if not view.columns or not view.rows:
        return nothing(view.title, look, "The table has no rows.", view.note)
    count = len(view.columns)
    texts = [[cell(row[c]) if c < len(row) else "" for c in range(count)] for row in view.rows]
    numeric = [numbers(view, c) for c in range(count)]
    shown = texts[:400]
    wish = [
        min(340.0, max(measure(t, 13, bold) for t, bold in [(name, True), *((row[c], False) for row in shown)]) + 1)
        for c, name in enumerate(view.columns)
    ]
    width, gap = look.width - 2 * side(look), 20
    room = width - gap * (count - 1)
    if sum(wish) > room:  # narrow columns keep their width, the wide ones share what is left
        wish = _shared(wish, max(room, 48.0 * count))
    canvas, y = start(view.title, look, max(look.width, round(sum(wish) + gap * (count - 1) + 2 * side(look))))
    right = side(look) + sum(wish) + gap * (count - 1)
    y = _line(canvas, y, list(view.columns), wish, gap, numeric, bold=True)
    canvas.path([(side(look), y), (right, y)], look.soft, 1.25)
    drawn = 0
    for row in shown:
        if y > TALLEST - 200:
            break
        y = _line(canvas, y + 2, row, wish, gap, numeric)
        canvas.path([(side(look), y), (right, y)], look.faint)
        drawn += 1
    if drawn < len(texts):
        y = canvas.paragraph(side(look), y + 12, f"The first {drawn:,} of {len(texts):,} rows.", width, 12, look.soft)
    return finish(canvas, y, view.note)


def _shared(wish: list[float], room: float) -> list[float]:
    low, high = 0.0, max(wish)
    for _ in range(40):
        most = (low + high) / 2
        low, high = (most, high) if sum(min(w, most) for w in wish) <= room else (low, most)
    return [min(w, low) for w in wish]


def _line(
    canvas: Canvas, y: float, row: list[str], widths: list[float], gap: float, right: list[bool], bold: bool = False
) -> float:
    colour = canvas.look.soft if bold else canvas.look.ink
    lines = [wrap(t, w, 13, bold, _LINES) for t, w in zip(row, widths, strict=True)]
    x = float(side(canvas.look))
    for cell_lines, w, to_right in zip(lines, widths, right, strict=True):
        for i, text in enumerate(cell_lines):
            at, anchor = (x + w, "right") if to_right else (x, "left")
            canvas.text(at, y + 7 + 18 * i, text, 13, colour, bold=bold, anchor=anchor)
        x += w + gap
    return y + 12 + 18 * max(len(c) for c in lines)


def cell(value: object) -> str:
    """A cell of a table as a person reads it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace("-", "−")
    return number(value) if isinstance(value, float) else "" if value is None else str(value)


def numbers(view: v.Table, column: int) -> bool:
    """Whether a column holds numbers only, and so stands to the right."""
    values = [row[column] for row in view.rows if column < len(row) and row[column] is not None]
    return bool(values) and all(isinstance(x, int | float) and not isinstance(x, bool) for x in values)


def note(view: v.Note, look: Look) -> Canvas:
    """A sentence or two beside a coloured bar; a warning says that it is one."""
    colour = look.warn if view.level == "warning" else look.accent
    return _card(view.title, view.text or "–", "Warning" if view.level == "warning" else "", colour, look, view.note)


def figure(view: v.Figure, look: Look) -> Canvas:
    """A card: the figure is interactive, and these are its traces."""
    return _card(
        view.title,
        traces(view) + " Its JSON lies beside this file; plotly.io.from_json opens it.",
        "Interactive figure",
        look.accent,
        look,
        view.note,
    )


def traces(view: v.Figure) -> str:
    """What a plotly figure holds, in a sentence."""
    data = view.figure.get("data")
    kinds = Counter(str(t.get("type", "scatter")) for t in data if isinstance(t, dict)) if isinstance(data, list) else {}
    said = ", ".join(f"{n} {kind}" for kind, n in kinds.items())
    total = sum(kinds.values())
    return f"An interactive plotly figure of {total} trace{'s' * (total != 1)}{f' ({said})' if said else ''}."


def _card(title: str, text: str, head: str, colour: str, look: Look, below: str) -> Canvas:
    canvas, y = start(title, look)
    x, width = side(look), look.width - 2 * side(look)
    body = min(width - 44, 600)
    lines = wrap(text, body, 14)
    tall = 36 + 20 * len(lines) + (24 if head else 0)
    canvas.rect(x, y, width, tall, colour, alpha=0.08)
    canvas.rect(x, y, 4, tall, colour)
    at = y + 18
    if head:
        canvas.text(x + 24, at, head, 13, colour, bold=True)
        at += 24
    for line in lines:
        canvas.text(x + 24, at, line, 14)
        at += 20
    return finish(canvas, y + tall, below)


def sentence(view: v.View) -> str:
    """A view in a sentence: what a screen reader says in place of the picture."""
    match view:
        case v.ImageGrid():
            count = len(view.items) if view.images is None else len(view.images)
            first = ", ".join(i.label or i.id for i in view.items[:5])
            return f"{_many(count, 'picture')}{f': {first}' if first else ''}{', …' if count > 5 and first else '.'}"
        case v.Heatmap():
            values = np.asarray(view.values, float)
            if values.ndim != 2 or not np.isfinite(values).any():
                return "Heat map without numbers."
            low, high = extent(values)
            r, c = np.unravel_index(np.nanargmax(np.where(np.isfinite(values), values, np.nan)), values.shape)
            return (
                f"Heat map of {values.shape[0]} by {values.shape[1]} cells from {number(low, view.unit)} to"
                f" {number(high, view.unit)}, highest in row {r}, column {c}."
            )
        case v.SimilarityOverlay():
            return (
                f"Similarity of every patch of {len(view.images)} picture{'s' * (len(view.images) != 1)} to the patch in"
                f" row {view.at[1]}, column {view.at[2]} of picture {view.at[0]}."
            )
        case v.CellMap():
            return f"Strongest channels in each of {view.channels.shape[0]} by {view.channels.shape[1]} cells."
        case v.Bars():
            values = np.asarray(view.values, float).ravel()
            some = ", ".join(
                f"{label} {number(x, view.unit)}" for label, x in zip(view.labels[:6], values[:6], strict=False)
            )
            if not len(values):
                return "No bars."
            return f"{_many(len(values), 'bar')}: {some}{', …' if len(values) > 6 else '.'}"
        case v.Lines():
            return f"{_many(len(view.names), 'curve')}: {', '.join(view.names[:8])}{_ranged(view.values)}."
        case v.Scatter():
            points, groups = np.asarray(view.points), len(set(view.labels))
            frames = f" in {len(points)} frames" if points.ndim == 3 else ""
            classes = f" of {groups} classes" if groups else ""
            return f"{_many(points.shape[-2] if points.ndim > 1 else 0, 'point')}{frames}{classes}."
        case v.Tree():
            return (
                f"Tree of {len(view.nodes):,} nodes, its root {view.nodes[0].label or view.nodes[0].id}."
                if view.nodes
                else "Empty tree."
            )
        case v.Graph():
            return f"Graph of {len(view.nodes):,} nodes and {len(view.edges):,} arrows."
        case v.Table():
            return f"Table of {len(view.rows):,} rows: {', '.join(view.columns)}."
        case v.SpriteSheet():
            return f"{view.count:,} tiles, one a unit."
        case v.Media():
            return view.alt or view.title or "Picture."
        case v.Note():
            return view.text
        case v.Figure():
            return traces(view)
        case _:
            assert_never(view)


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"


def _ranged(values: Any) -> str:
    array = np.asarray(values, float)
    if not np.isfinite(array).any():
        return ""
    low, high = extent(array)
    return f", between {number(low)} and {number(high)}" if math.isfinite(low) else ""
