"""Tables as HTML."""

from __future__ import annotations

from typing import Any

from dash import html

from vizkit.draw.words import cell, numbers
from vizkit.views import Table

_ROWS = 500


def table(view: Table) -> Any:
    """Rows under their columns' names, numbers to the right; the first 500 where there are more."""
    right = ["vk-number" if numbers(view, c) else "" for c in range(len(view.columns))]
    head = html.Tr([html.Th(name, scope="col", className=r) for name, r in zip(view.columns, right, strict=True)])
    rows = [
        html.Tr([html.Td(cell(value), className=r) for value, r in zip(row, right, strict=False)])
        for row in view.rows[:_ROWS]
    ]
    more = []
    if len(view.rows) > _ROWS:
        more = [html.P(f"The first {_ROWS} of {len(view.rows):,} rows.", className="vk-note")]
    inner = html.Table([html.Thead(head), html.Tbody(rows)])
    return html.Div([html.Div(inner, className="vk-scroll", role="region", tabIndex=0, **{"aria-label": view.title}), *more])
