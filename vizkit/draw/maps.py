"""Numbers and units laid over pictures, cell by cell."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from vizkit import grid
from vizkit.draw.canvas import SCALE, Canvas, Look, resized, rgb
from vizkit.draw.frame import Pictures, Pixels, colour_bar, colours, extent, finish, key, nothing, number, side, start
from vizkit.draw.lettering import fit
from vizkit.views import CellMap, Heatmap, Picture, SimilarityOverlay

_SIDE = 512  # CSS pixels of one map's longer side
_PANELS = 24  # pictures of an overlay that are drawn


def heatmap(view: Heatmap, look: Look, picture: Pictures) -> Canvas:
    """Numbers as colours over the picture, each cell sharp; no number, no colour. The legend names the ends."""
    values = np.asarray(view.values, float)
    if values.ndim != 2 or not values.size or not np.isfinite(values).any():
        return nothing(view.title, look, "There is no map to show: it holds no numbers.", view.note)
    low, high = view.range or extent(values)
    if view.range is None and view.colours == "coolwarm":
        high = max(abs(low), abs(high))
        low = -high
    if high <= low:
        high = low + 1
    below = None if view.image is None else pixels_of(view.image, picture)
    size = below.shape[:2] if below is not None else values.shape
    w, h = _fitted(size, min(_SIDE, look.width - 2 * side(look)))
    canvas, y = start(view.title, look, _snug(look, w))
    shown = _over(values, colours(values, low, high, view.colours), below, view.opacity, w, h, look)
    x = side(look)
    canvas.picture(x, y, w, h, shown)
    for area in view.boxes:
        a, b = x + area.left * w, y + area.top * h
        c, d = x + area.right * w, y + area.bottom * h
        for colour, line in (("#000000", 4.0), ("#ffffff", 2.0)):
            canvas.path([(a, b), (c, b), (c, d), (a, d), (a, b)], colour, line, over=4)
        if area.label:
            text = fit(area.label, max(60, x + w - a - 12), 12, True)
            wide = canvas.text(a + 6, min(b + 4, y + h - 20), text, 12, "#ffffff", bold=True)
            top = min(b + 2, y + h - 22)
            canvas.path(
                [(a, top), (a + wide + 12, top), (a + wide + 12, top + 19), (a, top + 19)],
                "#000000",
                fill=True,
                alpha=0.75,
                over=4,
            )
    y = colour_bar(canvas, x, y + h + 12, min(w, 360) if w >= 160 else 160, low, high, view.colours, view.unit)
    if not np.isfinite(values).all():
        y = _row(canvas, x, y + 2, "no value")
    return finish(canvas, y, view.note)


def similarity(features: NDArray[np.generic], at: tuple[int, int, int]) -> NDArray[np.float64]:
    """The cosine of every patch of features (n, h, w, c) to the patch `at`, as (n, h, w), -1 to 1.

    A patch without any feature is like nothing: its cosine is 0, to itself too.
    """
    vectors = np.asarray(features, np.float64)
    length = np.sqrt((vectors**2).sum(axis=-1, keepdims=True))
    unit = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
    cosines: NDArray[np.float64] = np.clip(unit @ unit[at], -1, 1)
    return cosines


def chosen(view: SimilarityOverlay) -> tuple[tuple[int, int, int], NDArray[np.float64]]:
    """The patch (picture, row, column) that an overlay starts from, kept within it, and every patch's cosine to it."""
    features = np.asarray(view.features)
    if not features.size:
        return (0, 0, 0), np.zeros((0, 0, 0))
    n, row, column = (min(max(a, 0), size - 1) for a, size in zip(view.at, features.shape[:3], strict=True))
    return (n, row, column), similarity(features, (n, row, column))


def overlay(view: SimilarityOverlay, look: Look, picture: Pictures) -> Canvas:
    """Every picture under the similarity of its patches to the chosen one: the lighter, the more alike; that one yellow."""
    features = np.asarray(view.features)
    if features.ndim != 4 or not features.size:
        return nothing(view.title, look, "There is nothing to compare: no features.", view.note)
    n, rows, columns = features.shape[:3]
    at, cosines = chosen(view)
    low, high = (-1.0, 1.0) if view.signed else (0.0, 1.0)
    canvas, y = start(view.title, look)
    shown = list(range(min(n, _PANELS)))
    if at[0] not in shown:
        shown[-1] = at[0]
    width, gap = look.width - 2 * side(look), 12
    most = min(len(shown), max(2, width // 200))
    across = math.ceil(len(shown) / math.ceil(len(shown) / most))
    panel = min(_SIDE, (width - gap * (across - 1)) // across)
    top, below_y = y, y
    for place, i in enumerate(shown):
        if place and place % across == 0:
            top = below_y + gap
        below = pixels_of(view.images[i], picture)
        w, h = _fitted(below.shape[:2], panel)
        x = side(look) + (place % across) * (panel + gap)
        tones = colours(cosines[i], low, high, "gray")
        if i == at[0]:
            tones[at[1], at[2]] = _hex(look.mark)
        pixels = _over(cosines[i], tones, below, view.opacity, w, h, look)
        if i == at[0]:  # the chosen patch is solid, to be found at once
            up, left, down, right = grid.box(at[1:], pixels.shape[:2], (rows, columns))
            pixels[up:down, left:right] = _hex(look.mark)
        canvas.picture(x, top, w, h, pixels)
        below_y = max(below_y, top + h)
    bar = colour_bar(canvas, side(look), below_y + 14, min(320, width), low, high, "gray")
    y = _row(canvas, side(look), bar + 2, "the chosen patch", look.mark)
    if len(shown) < n:
        y = canvas.paragraph(side(look), y + 4, f"{len(shown)} of {n:,} pictures.", width, 12, look.soft)
    return finish(canvas, y, view.note)


def cell_map(view: CellMap, look: Look, picture: Pictures) -> Canvas:
    """Each cell in the colour of its strongest channel, the stronger the denser; the channel's number where it fits."""
    channels, values = np.asarray(view.channels), np.asarray(view.values, float)
    if channels.ndim != 3 or not channels.size:
        return nothing(view.title, look, "There are no cells to show.", view.note)
    below = pixels_of(view.image, picture)
    w, h = _fitted(below.shape[:2], min(_SIDE, look.width - 2 * side(look)))
    canvas, y = start(view.title, look, _snug(look, w))
    first, strength = channels[..., 0].astype(int), values[..., 0]
    counts = Counter(int(c) for c, v in zip(first.flat, strength.flat, strict=True) if math.isfinite(v))
    order = [c for c, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    hues = {c: look.series[i] for i, c in enumerate(order[: len(look.series) - 1])}
    tones = np.array([[_hex(hues.get(int(c), look.series[-1])) for c in row] for row in first], np.uint8)
    top = float(np.nanmax(strength)) if np.isfinite(strength).any() else 0.0
    dense = 0.15 + 0.6 * np.clip(strength / top, 0, 1) if top > 0 else np.full(strength.shape, 0.5)
    x = side(look)
    canvas.picture(x, y, w, h, _over(strength, tones, below, dense, w, h, look))
    rows, columns = first.shape
    for r in range(rows):
        for c in range(columns):
            cy, cx = grid.centre((r, c), (h, w), (rows, columns))
            if math.isfinite(strength[r, c]) and min(w / columns, h / rows) >= 26:
                canvas.text(x + cx, y + cy, str(first[r, c]), 11, "#ffffff", True, "center", True, "#20242b")
    named = list(hues)
    names = [f"channel {c}: {counts[c]} cell{'s' * (counts[c] != 1)}" for c in named]
    if len(order) > len(named):
        names.append(f"{len(order) - len(named)} other channels")
    y = key(canvas, y + h + 12, names, [*hues.values(), look.series[-1]], "s" * len(names))
    y = canvas.paragraph(x, y, f"Denser is stronger; the strongest is {number(top)}.", canvas.width - 2 * x, 12, look.soft)
    return finish(canvas, y, view.note)


def pixels_of(image: Picture | np.generic, picture: Pictures) -> Pixels:
    """The pixels of a reference, or the pixels themselves, as uint8 (h, w, 3)."""
    return rgb(image if isinstance(image, np.ndarray) and image.ndim else picture(str(image)))


def _over(
    values: NDArray[np.float64],
    tones: Pixels,
    below: Pixels | None,
    opacity: float | NDArray[np.float64],
    w: int,
    h: int,
    look: Look,
) -> Pixels:
    """Cells' colours over a picture of w by h CSS pixels, at the pixels of a PNG. Where a value lacks the picture shows."""
    size = (h * SCALE, w * SCALE)
    top = grid.spread(tones, size).astype(np.float32)
    if below is None:
        opacity, base = 1.0, np.broadcast_to(np.array(_hex(look.faint), np.float32), top.shape)
    else:
        base = resized(below, size[1], size[0]).astype(np.float32)
    alpha = np.where(np.isfinite(values), opacity, 0.0)
    mixed = grid.spread(alpha, size)[..., None].astype(np.float32)
    pixels: Pixels = np.round(base * (1 - mixed) + top * mixed).astype(np.uint8)
    return pixels


def _row(canvas: Canvas, x: float, y: float, text: str, colour: str = "") -> float:
    canvas.rect(x, y, 12, 12, colour or canvas.look.faint, edge=canvas.look.soft, line=0.75)
    canvas.text(x + 20, y + 6, text, 12, canvas.look.soft, middle=True)
    return y + 22


def _snug(look: Look, width: int) -> int:
    """A page no wider than its map, but with room for a title."""
    return min(look.width, max(width, 380) + 2 * side(look))


def _fitted(size: tuple[int, ...], longest: int) -> tuple[int, int]:
    k = longest / max(size)
    return max(1, round(size[1] * k)), max(1, round(size[0] * k))


def _hex(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
