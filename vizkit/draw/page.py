"""A result as one page of HTML that needs nothing else: no script, no request, light and dark."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from html import escape
from importlib import resources
from typing import Any

import numpy as np

from vizkit import views as v
from vizkit.draw import csv, png, sheets, svg
from vizkit.draw.canvas import DARK, LIGHT, Look, data_uri, resized, rgb
from vizkit.draw.frame import Pictures, Pixels, alike
from vizkit.draw.words import cell, numbers, sentence, traces
from vizkit.results import Result
from vizkit.types import Provenance

_WIDE, _NARROW = 832, 350  # CSS pixels of the page's column on a desk and in a hand
_GRID, _MANY = 500, 60  # pictures of a grid on the page; from `_MANY` on they are small
_ROWS = 1_000
_DATA = 200_000  # bytes of CSV that the page carries along
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def to_html(result: Result, picture: Pictures, *, title: str = "", question: str = "", whole: bool = True) -> str:
    """A result as HTML: title, question, summary, its views with their notes, and how it was made.

    Every picture is inside, as a data URI; without `whole` it is a fragment for a page that has a head already. All texts
    are escaped, and the page forbids scripts and requests by its own policy.
    """
    technique = result.provenance.technique if result.provenance else ""
    title = title or (technique.replace("-", " ").replace("_", " ").capitalize() or "Result")
    parts = ["<article class='vizkit'><header>"]
    if technique:
        parts.append(f"<p class='vk-by'>vizkit · {escape(technique)}</p>")
    parts.append(f"<h1>{escape(title)}</h1>")
    parts += [f"<p class='vk-{k}'>{escape(t)}</p>" for k, t in (("question", question), ("summary", result.summary)) if t]
    if result.partial:
        parts.append("<p class='vk-partial'>A first part; the rest was still being computed.</p>")
    parts.append("</header>")
    n = 0
    for section in result.sections:
        level = 3 if section.title else 2
        parts.append("<section class='vk-section'>" + (f"<h2>{escape(section.title)}</h2>" if section.title else ""))
        for view in section.views:
            n += 1
            parts.append(_view(view, n, level, picture))
        parts.append("</section>")
    if result.provenance:
        parts.append(_how(result.provenance))
    style = resources.files("vizkit.draw").joinpath("page.css").read_text("utf-8")
    body = "\n".join([*parts, "</article>"])
    if not whole:
        return f"<style>{style}</style>\n{body}"
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(title)}</title><style>\n{style}"
        "html{background:#fff}@media(prefers-color-scheme:dark){html{background:#181b20}}body{margin:0}\n"
        f"</style></head><body>\n{body}\n</body></html>\n"
    )


def _view(view: v.View, n: int, level: int, picture: Pictures) -> str:
    head = f"<h{level}>{escape(view.title)}</h{level}>" if view.title else ""
    note = f"<p class='vk-note'>{escape(view.note)}</p>" if view.note else ""
    return f"<section class='vk-view vk-{view.kind}'>{head}{_body(view, picture)}{note}{_data(view, n)}</section>"


def _body(view: v.View, picture: Pictures) -> str:
    match view:
        case v.ImageGrid():
            return _grid(view, picture)
        case v.SpriteSheet():
            return _sheet(view, picture)
        case v.Media():
            return _media(view, picture)
        case v.Table() if view.columns and view.rows:
            return _table(view)
        case v.Note():
            warns = view.level == "warning"
            head = "<strong>Warning</strong>" if warns else ""
            return f"<div class='vk-card{' vk-warning' * warns}' role='note'>{head}<p>{escape(view.text)}</p></div>"
        case v.Figure():
            text = escape(traces(view)) + " Its JSON is below; plotly.io.from_json opens it."
            return f"<div class='vk-card' role='note'><strong>Interactive figure</strong><p>{text}</p></div>"
        case _:
            return _drawn(view, picture)


def _drawn(view: v.View, picture: Pictures) -> str:
    """The SVG of a view, once for each of light and dark, wide and narrow."""
    light, dark = (replace(look, width=_WIDE, titled=False) for look in (LIGHT, DARK))
    sources = []
    narrow = "(max-width:640px)"
    known: dict[bytes, str] = {}

    def encode(pixels: Pixels) -> str:  # light and dark hold the same photographs
        name = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()
        known[name] = known.get(name) or _photo(pixels)
        return known[name]

    for look, scheme in ((dark, "(prefers-color-scheme:dark)"), (light, "")):
        if not isinstance(view, v.Tree):  # a tree scrolls instead
            media = " and ".join(m for m in (narrow, scheme) if m)
            sources.append(f"<source media='{media}' {_vector(view, picture, replace(look, width=_NARROW), encode)}>")
        if scheme:
            sources.append(f"<source media='{scheme}' {_vector(view, picture, look, encode)}>")
    last = _vector(view, picture, light, encode).replace("srcset=", "src=", 1)
    text = f"<img {last} alt='{escape(sentence(view))}'>"
    scrolls = f" tabindex='0' role='group' aria-label='{escape(view.title)}'" if isinstance(view, v.Tree | v.Graph) else ""
    return f"<div class='vk-draw'{scrolls}><picture>{''.join(sources)}{text}</picture></div>"


def _vector(view: v.View, picture: Pictures, look: Look, encode: Callable[[Pixels], str]) -> str:
    drawn = svg(view, picture, look, encode) or ""
    size = re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', drawn)
    w, h = (round(float(x) / 0.75) for x in size.groups()) if size else (look.width, 100)
    return f"srcset='{_uri('image/svg+xml', drawn.encode())}' width='{w}' height='{h}'"


def _photo(pixels: Pixels) -> str:
    """Pixels as a data URI: exact where small, as WebP (or JPEG) otherwise."""
    from PIL import features

    if max(pixels.shape[:2]) <= 64:
        return data_uri(pixels)
    return data_uri(pixels, "webp" if features.check("webp") else "jpeg", quality=86)


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _shrunk(pixels: Pixels, longest: int) -> Pixels:
    h, w = pixels.shape[:2]
    k = min(1.0, longest / max(h, w))
    return resized(rgb(pixels), round(w * k), round(h * k))


def _grid(view: v.ImageGrid, picture: Pictures) -> str:
    count = len(view.items) if view.images is None else len(view.images)
    if not count:
        return "<p class='vk-empty'>No pictures to show.</p>"
    many = count > _MANY
    rows = []
    for i in range(min(count, _GRID)):
        item = view.items[i] if i < len(view.items) else v.GridItem(str(i))
        pixels = sheets.pixel_of(view, i, picture)
        small = " class='vk-small'" if max(pixels.shape[:2]) <= 64 else ""
        src = _photo(_shrunk(pixels, 160 if many else 320))
        alt = escape(item.label or item.id)
        rows.append(f"<li><div class='vk-pic'><img{small} src='{src}' alt='{alt}'></div>{_item(item)}</li>")
    more = f"<p class='vk-note'>The first {_GRID:,} of {count:,} pictures.</p>" if count > _GRID else ""
    return f"<ol class='vk-grid{' vk-many' * many}'>{''.join(rows)}</ol>{more}"


def _item(item: v.GridItem) -> str:
    out = ""
    if item.rank is not None or item.label or item.same_class is not None:
        rank = f"<b>{item.rank}</b>" if item.rank is not None else ""
        label = f"<span title='{escape(item.label or '')}'>{escape(item.label or '')}</span>"
        mark = ""
        if item.same_class is not None:
            kind, sign = ("same", "✓") if item.same_class else ("other", "✕")
            mark = f"<i class='vk-{kind}' role='img' aria-label='{kind} class' title='{kind} class'>{sign}</i>"
        out += f"<p class='vk-what'>{rank}{label}{mark}</p>"
    if item.similarity is not None:
        known = item.similarity == item.similarity
        share = min(max(item.similarity, 0.0), 100.0) if known else 0
        text = f"{item.similarity:.1f}%" if known else "–"
        out += f"<p class='vk-bar'><i aria-hidden='true'><i style='width:{share:.2f}%'></i></i>{text}</p>"
    if item.distance is not None:
        out += f"<p class='vk-far'>distance {alike([item.distance])[0]}</p>"
    return out


def _sheet(view: v.SpriteSheet, picture: Pictures) -> str:
    units = sheets.tiles(view, picture) if view.tile > 0 else []
    if not units:
        return "<p class='vk-empty'>The sheet has no tiles.</p>"
    shown, out = units[:_GRID], []
    for i, tile in enumerate(shown):
        name = escape(view.labels[i] if i < len(view.labels) else str(i))
        small = " vk-small" if view.tile <= 64 else ""
        src = _photo(_shrunk(tile, 192))
        out.append(f"<li><img class='vk-tile{small}' width='100%' src='{src}' alt='unit {name}'><br>{name}</li>")
    more = f"<p class='vk-note'>{len(shown):,} of {view.count:,} units.</p>" if len(shown) < view.count else ""
    return f"<ol class='vk-sheet{' vk-few' * (len(units) <= 64)}'>{''.join(out)}</ol>{more}"


def _media(view: v.Media, picture: Pictures) -> str:
    alt = escape(sentence(view))
    moving = isinstance(view.image, np.ndarray) and view.image.ndim == 4 and len(view.image) > 1
    src = _uri("image/png", png(view, picture))
    if not moving:
        return f"<img src='{src}' alt='{alt}'>"
    still = _photo(rgb(np.asarray(view.image)[-1]))
    stop = f"<source media='(prefers-reduced-motion:reduce)' srcset='{still}'>"
    return f"<picture>{stop}<img src='{src}' alt='{alt}'></picture>"


def _table(view: v.Table) -> str:
    to_right = [" class='vk-number'" if numbers(view, c) else "" for c in range(len(view.columns))]
    head = "".join(f"<th scope='col'{r}>{escape(c)}</th>" for c, r in zip(view.columns, to_right, strict=True))
    rows = "".join(
        "<tr>" + "".join(f"<td{r}>{escape(cell(c))}</td>" for c, r in zip(row, to_right, strict=False)) + "</tr>"
        for row in view.rows[:_ROWS]
    )
    name = escape(view.title or "Table")
    more = f"<p class='vk-note'>The first {_ROWS:,} of {len(view.rows):,} rows.</p>" if len(view.rows) > _ROWS else ""
    return (
        f"<div class='vk-scroll' role='region' tabindex='0' aria-label='{name}'>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{more}"
    )


def _data(view: v.View, n: int) -> str:
    if isinstance(view, v.Figure):
        kind, end, data = "application/json", "json", json.dumps(view.figure, default=str)
    else:
        kind, end, data = "text/csv", "csv", csv(view) or ""
    if len(data) > _DATA or (end == "csv" and data.count("\n") < 2):
        return ""
    href = _uri(f"{kind};charset=utf-8", data.encode())
    name = f"{n}-{view.kind}.{end}"
    return f"<p class='vk-data'><a download='{name}' href='{href}'>{end.upper()}</a></p>"


def _how(provenance: Provenance) -> str:
    rows = []
    for name, value in provenance.to_json().items():
        if value not in (None, "", [], {}, ()):
            rows.append(f"<dt>{escape(name)}</dt><dd>{_value(value)}</dd>")
    return f"<details class='vk-how'><summary>How this was made</summary><dl>{''.join(rows)}</dl></details>"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "<br>".join(f"{escape(str(k))}: {_value(x)}" for k, x in value.items())
    if isinstance(value, list | tuple) and value and isinstance(value[0], Mapping):
        more = f"<br>… {len(value) - 20:,} more" if len(value) > 20 else ""
        return "<br>".join(_value(x) for x in value[:20]) + more
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return f"<code>{escape(text)}</code>"
