"""Bars, lines and points."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vizkit.draw.canvas import Canvas, Look, placed
from vizkit.draw.frame import Pictures, alike, extent, finish, key, nothing, number, scale, side, start, ticks
from vizkit.draw.lettering import fit, measure
from vizkit.views import Bars, Lines, Scatter

_SHAPES = ("o", "s", "^", "D", "v", "P")
_ROWS = 48  # more bars than that are drawn upright, side by side, and only some are named
_NAMED = 18  # classes that the key of a scatter names


def bars(view: Bars, look: Look) -> Canvas:
    """A row for each bar: label, bar from zero with its interval, value. Very many become upright bars."""
    values = np.asarray(view.values, float).ravel()
    if not values.size:
        return nothing(view.title, look, "There is nothing to compare yet: no bars.", view.note)
    low, high = extent(values, view.low, view.high, np.zeros(1))
    if values.size > _ROWS:
        return _upright(view, look, values, low, high)
    canvas, y = start(view.title, look)
    left, right = side(look), look.width - side(look)
    room = min(0.4 * (right - left), max((measure(label, 13) for label in view.labels), default=0))
    texts = alike([float(v) for v in values], view.unit)
    tail = max(measure(t, 13) for t in texts)
    lead = tail if low < 0 else 0
    at = scale(low, high, left + room + 14 + (lead + 8 if lead else 0), right - tail - 10)
    y0 = y
    for i, value in enumerate(values):
        mid = y + 13
        canvas.text(left + room, mid, fit(_at(view.labels, i), room, 13), 13, anchor="right", middle=True)
        reach = [at(value)] if math.isfinite(value) else [at(0)]
        if math.isfinite(value):
            a, b = sorted((at(0), at(value)))
            canvas.rect(a, mid - 7, max(b - a, 1), 14, look.accent)
        if view.low is not None and view.high is not None:
            ends = float(view.low.ravel()[i]), float(view.high.ravel()[i])
            if all(map(math.isfinite, ends)):
                reach += [at(e) for e in ends]
                _whisker(canvas, at(ends[0]), at(ends[1]), mid)
        if value < 0:
            canvas.text(min(reach) - 8, mid, texts[i], 13, look.soft, anchor="right", middle=True)
        else:
            canvas.text(max(reach) + 8, mid, texts[i], 13, look.soft, middle=True)
        y += 27
    canvas.path([(at(0), y0), (at(0), y)], look.soft, 1)
    return finish(canvas, y, view.note)


def _whisker(canvas: Canvas, a: float, b: float, y: float) -> None:
    # a halo of paper keeps the line visible on the bar
    for colour, line in ((canvas.look.paper, 4.0), (canvas.look.ink, 1.5)):
        canvas.path([(a, y), (b, y)], colour, line, over=4)
        canvas.path([(a, y - 4), (a, y + 4)], colour, line, over=4)
        canvas.path([(b, y - 4), (b, y + 4)], colour, line, over=4)


def _upright(view: Bars, look: Look, values: NDArray[np.float64], low: float, high: float) -> Canvas:
    canvas, y = start(view.title, look)
    plot = _Plot(canvas, y, 260, (-0.5, len(values) - 0.5), (low, high), y_label=view.unit)
    step = plot.x(1) - plot.x(0)
    wide = step * (0.8 if step > 3 else 1)
    for i, value in enumerate(values):
        if math.isfinite(value):
            a, b = sorted((plot.y(0), plot.y(float(value))))
            canvas.rect(plot.x(i) - wide / 2, a, wide, b - a, look.accent)
        if view.low is not None and view.high is not None and step > 5:
            ends = plot.y(float(view.low.ravel()[i])), plot.y(float(view.high.ravel()[i]))
            if all(map(math.isfinite, ends)):
                canvas.path([(plot.x(i), ends[0]), (plot.x(i), ends[1])], look.ink, 1, over=4)
    canvas.path([(plot.left, plot.y(0)), (plot.right, plot.y(0))], look.soft)
    plot.names([_at(view.labels, i) for i in range(len(values))])
    best = np.argsort(np.where(np.isfinite(values), -values, np.inf), kind="stable")[:3]
    most = ", ".join(f"{_at(view.labels, int(i))} ({number(values[i], view.unit)})" for i in best)
    y = canvas.paragraph(
        side(look), plot.bottom, f"Highest of {len(values):,}: {most}.", look.width - 2 * side(look), 12, look.soft
    )
    return finish(canvas, y, view.note)


def lines(view: Lines, look: Look) -> Canvas:
    """Curves with their bands; each is named at its end where there is room, else in a key above."""
    values = np.atleast_2d(np.asarray(view.values, float))
    if not values.size or not np.isfinite(values).any():
        return nothing(view.title, look, "There is no curve to draw: it has no points.", view.note)
    worded = view.x.dtype.kind not in "iufb"
    x = np.arange(values.shape[1], dtype=float) if worded else np.asarray(view.x, float)
    canvas, y = start(view.title, look)
    colours = [look.series[i % len(look.series)] for i in range(len(values))]
    direct = 1 <= len(values) <= 8 and look.width >= 560
    named = [fit(_at(view.names, i), 170, 12, True) for i in range(len(values))]
    if not direct:
        shapes = ["o" if i < len(look.series) else "D" for i in range(len(values))]
        y = key(canvas, y, [_at(view.names, i) for i in range(len(values))], colours, shapes)
    room = max(measure(n, 12, True) for n in named) + 14 if direct else 8
    span = (x[0] - 0.5, x[0] + 0.5) if len(x) == 1 else (float(np.nanmin(x)), float(np.nanmax(x)))
    plot = _Plot(canvas, y, 300, span, extent(values, view.low, view.high), view.y_label, room, pad=True)
    for i, line in enumerate(values):
        for first, last in _runs(np.isfinite(line) & np.isfinite(x)):
            run = slice(first, last)
            curve = [(plot.x(a), plot.y(b)) for a, b in zip(x[run], line[run], strict=True)]
            if view.low is not None and view.high is not None:
                bands = [np.atleast_2d(np.asarray(b, float))[i, run] for b in (view.low, view.high)]
                if np.isfinite(bands).all():
                    down, up = ([(plot.x(a), plot.y(b)) for a, b in zip(x[run], band, strict=True)] for band in bands)
                    canvas.path([*down, *reversed(up)], colours[i], fill=True, alpha=0.16)
            if len(curve) > 1:
                canvas.path(curve, colours[i], 2.25, over=3, dashed=i >= len(look.series))
            if len(curve) <= 1 or len(x) <= 12:
                canvas.dots(np.array(curve), colours[i], 6, "o" if i < len(look.series) else "D")
    if direct:
        ends = [plot.y(float(v[np.isfinite(v)][-1])) if np.isfinite(v).any() else plot.bottom for v in values]
        for i, y_end in enumerate(_spread(ends, 16, plot.top, plot.top + plot.height)):
            canvas.text(plot.right + 10, y_end, named[i], 12, colours[i], bold=True, middle=True)
    if worded:
        plot.names([str(n) for n in view.x])
    else:
        plot.numbers()
    y = plot.bottom
    if view.x_label:
        canvas.text((plot.left + plot.right) / 2, y, view.x_label, 12, look.soft, anchor="center")
        y += 18
    return finish(canvas, y, view.note)


def scatter(view: Scatter, look: Look, picture: Pictures) -> Canvas:
    """Points coloured (and shaped) by label; frames side by side on one scale; a few points show their pictures."""
    points = np.asarray(view.points, float)
    frames = points if points.ndim == 3 else points[None]
    if not frames.size or not np.isfinite(frames).any():
        return nothing(view.title, look, "There are no points to show.", view.note)
    canvas, y = start(view.title, look)
    order = [name for name, _ in Counter(view.labels).most_common()]
    if len(order) > _NAMED:
        order, left_out = order[:_NAMED], len(order) - _NAMED
    else:
        left_out = 0
    hues = len(look.series) - 1
    style = {n: (look.series[i % hues], _SHAPES[i // hues % len(_SHAPES)]) for i, n in enumerate(order)}
    other = (look.series[-1], "o")
    names = [*order, f"{left_out} others"] if left_out else order
    styles = [style.get(n, other) for n in names]
    y = key(canvas, y, names, [c for c, _ in styles], [s for _, s in styles])
    shown = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), 12)).astype(int))
    most = max(2, min(len(shown), look.width // 190, 4))
    columns = 1 if len(shown) == 1 else math.ceil(len(shown) / math.ceil(len(shown) / most))
    gap, width = 16, look.width - 2 * side(look)
    panel = (width - gap * (columns - 1)) / columns
    tall = min(panel, 480) if columns == 1 else panel
    dot = 7 if frames.shape[1] <= 400 else 5 if frames.shape[1] <= 3000 else 3
    thumbs = len(shown) == 1 and len(view.ids) == frames.shape[1] <= 40
    for place, f in enumerate(shown):
        x0 = side(look) + (place % columns) * (panel + gap)
        y0 = y + (place // columns) * (tall + (30 if len(frames) > 1 else gap))
        canvas.rect(x0, y0, panel, tall, edge=look.faint, radius=6)
        xy = _inside(frames[f], frames, x0, y0, panel, tall, 30 if thumbs else 14)
        groups = [style.get(_at(view.labels, i), other) if view.labels else (look.accent, "o") for i in range(len(xy))]
        for one in dict.fromkeys([*styles, *groups]):
            mine = [i for i, g in enumerate(groups) if g == one and np.isfinite(xy[i]).all()]
            if thumbs:
                for i in mine:
                    _thumb(canvas, xy[i], picture(view.ids[i]), one[0])
            elif mine:
                canvas.dots(xy[mine], one[0], dot, one[1], alpha=0.8)
        if len(frames) > 1:
            name = fit(_at(view.frames, int(f)) or f"{f + 1}", panel, 12)
            canvas.text(x0 + panel / 2, y0 + tall + 6, name, 12, look.soft, anchor="center")
    y += math.ceil(len(shown) / columns) * (tall + (30 if len(frames) > 1 else gap)) - gap
    if len(shown) < len(frames):
        y = canvas.paragraph(
            side(look), y + 12, f"{len(shown)} of {len(frames)} frames, evenly chosen.", width, 12, look.soft
        )
    return finish(canvas, y, view.note)


def _thumb(canvas: Canvas, at: NDArray[np.float64], pixels: NDArray[np.uint8], colour: str) -> None:
    small, w, h = placed(pixels, 40, 40)
    left, top = round(at[0] - w / 2), round(at[1] - h / 2)
    canvas.picture(left, top, w, h, small, over=4)
    ring = [(left, top), (left + w, top), (left + w, top + h), (left, top + h), (left, top)]
    canvas.path(ring, colour, 2, over=5)


def _inside(
    frame: NDArray[np.float64], frames: NDArray[np.float64], x: float, y: float, w: float, h: float, pad: float
) -> NDArray[np.float64]:
    """Points on the page: one unit is as long across as up, and the same in every frame."""
    (x0, x1), (y0, y1) = extent(frames[..., 0]), extent(frames[..., 1])
    k = min((w - 2 * pad) / (x1 - x0), (h - 2 * pad) / (y1 - y0))
    across = x + w / 2 + (frame[:, 0] - (x0 + x1) / 2) * k
    return np.stack([across, y + h / 2 - (frame[:, 1] - (y0 + y1) / 2) * k], axis=1)


class _Plot:
    """The field of a chart: light lines at round values, a scale on each side."""

    def __init__(
        self,
        canvas: Canvas,
        y: float,
        height: float,
        across: tuple[float, float],
        up: tuple[float, float],
        y_label: str = "",
        room: float = 4,
        pad: bool = False,
    ) -> None:
        self.canvas, self.across, self.height = canvas, across, height
        look = canvas.look
        if y_label:
            canvas.text(side(look), y, fit(y_label, look.width - 2 * side(look), 12), 12, look.soft)
            y += 26
        low, high = up
        marks = ticks(low, high, 5)
        if pad and len(marks) > 1:  # the field ends at round values
            step = marks[1] - marks[0]
            low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
            marks = ticks(low, high, round((high - low) / step))
        self.left = side(look) + max(measure(number(m), 11) for m in marks) + 10
        self.right, self.top = look.width - side(look) - room, y + 4
        self.x = scale(*across, self.left, self.right)
        self.y = scale(low, high, self.top + height, self.top)
        for m in marks:
            canvas.path([(self.left, self.y(m)), (self.right, self.y(m))], look.faint, 1, over=1)
            canvas.text(self.left - 10, self.y(m), number(m), 11, look.soft, anchor="right", middle=True)
        self.bottom = self.top + height + 10

    def numbers(self) -> None:
        """Round numbers under the field."""
        for t in ticks(*self.across, max(2, int((self.right - self.left) / 90))):
            self._under(self.x(t), number(t))
        self.bottom += 22

    def names(self, names: Sequence[str]) -> None:
        """Words under the field, as many as there is room for."""
        width = (self.right - self.left) / max(1, len(names) - (self.across[0] == 0))
        most = min(110.0, max(measure(n, 11) for n in names))
        every = max(1, math.ceil((most + 10) / width))
        taken = -math.inf
        for i in range(0, len(names), every):
            text = fit(names[i], most, 11)
            if self._centre(self.x(i), text) - measure(text, 11) / 2 > taken + 8:
                self._under(self.x(i), text)
                taken = self._centre(self.x(i), text) + measure(text, 11) / 2
        self.bottom += 22

    def _under(self, x: float, text: str) -> None:
        at = self._centre(x, text)
        self.canvas.text(at, self.top + self.height + 9, text, 11, self.canvas.look.soft, anchor="center")

    def _centre(self, x: float, text: str) -> float:
        """Where a word under the field stands: at its place, but within the page."""
        look = self.canvas.look
        half = measure(text, 11) / 2
        return min(max(x, side(look) + half), look.width - side(look) - half)


def _runs(kept: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Where a curve has points in a row: half-open intervals."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], kept.astype(int), [0]])))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _spread(places: list[float], gap: float, top: float, bottom: float) -> list[float]:
    """Places moved apart so that no two are nearer than `gap`, in their order."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    out = list(places)
    for a, b in pairwise(order):
        out[b] = max(out[b], out[a] + gap)
    over = max(0.0, max(out) - bottom) if out else 0
    for i in reversed(order):
        limit = bottom - gap * (len(order) - 1 - order.index(i))
        out[i] = min(out[i], limit) if over else out[i]
    return [max(v, top - 8) for v in out]


def _at(texts: Sequence[str], i: int) -> str:
    return texts[i] if i < len(texts) else ""
