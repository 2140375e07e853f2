"""Many small pictures: grids, sprite sheets, frames."""

from __future__ import annotations

import io
import math

import numpy as np

from vizkit.draw.canvas import TALLEST, Canvas, Look, placed
from vizkit.draw.frame import Pictures, Pixels, alike, finish, nothing, side, start
from vizkit.draw.lettering import fit
from vizkit.draw.maps import pixels_of
from vizkit.views import GridItem, ImageGrid, Media, SpriteSheet

_GRID = 200  # pictures of a grid that are drawn
_GAP = 16


def image_grid(view: ImageGrid, look: Look, picture: Pictures) -> Canvas:
    """Pictures in reading order; under each its rank and label, its similarity as a bar, its distance."""
    count = _count(view)
    if not count:
        return nothing(view.title, look, "No pictures to show.", view.note)
    canvas, y = start(view.title, look)
    width = look.width - 2 * side(look)
    columns = max(1, min(count, (width + _GAP) // (124 + _GAP)))
    cell = min(160, (width - _GAP * (columns - 1)) // columns)
    caption = _caption(view)
    rows = math.ceil(min(count, _GRID) / columns)
    rows = min(rows, max(1, int((TALLEST - 300) // (cell + caption + 20))))
    shown = min(count, rows * columns, _GRID)
    for i in range(shown):
        x, top = side(look) + (i % columns) * (cell + _GAP), y + (i // columns) * (cell + caption + 20)
        pixels, w, h = placed(pixel_of(view, i, picture), cell, cell)
        canvas.picture(x + round((cell - w) / 2), top + round((cell - h) / 2), w, h, pixels)
        if i < len(view.items):
            _words(canvas, x, top + cell + 7, cell, view.items[i])
    y += rows * (cell + caption + 20) - 20
    if shown < count:
        text = f"The first {shown:,} of {count:,} pictures."
        y = canvas.paragraph(side(look), y + 14, text, width, 12, look.soft)
    return finish(canvas, y, view.note)


def pixel_of(view: ImageGrid, i: int, picture: Pictures) -> Pixels:
    """The pixels of the i-th picture of a grid."""
    return pixels_of(view.images[i] if view.images is not None else view.items[i].id, picture)


def _count(view: ImageGrid) -> int:
    return len(view.items) if view.images is None else len(view.images)


def _caption(view: ImageGrid) -> int:
    """The room under each picture: the same for all, as much as the fullest needs."""
    first = any(i.label is not None or i.rank is not None or i.same_class is not None for i in view.items)
    bar = any(i.similarity is not None for i in view.items)
    return 4 + 18 * first + 18 * bar + 16 * any(i.distance is not None for i in view.items)


def _words(canvas: Canvas, x: float, y: float, cell: int, item: GridItem) -> None:
    look = canvas.look
    left = x
    if item.rank is not None or item.label is not None or item.same_class is not None:
        if item.rank is not None:
            left += canvas.text(left, y, str(item.rank), 12, look.soft, bold=True) + 7
        room = x + cell - left - (16 if item.same_class is not None else 0)
        canvas.text(left, y, fit(item.label or "", room, 12), 12)
        if item.same_class is not None:
            _same(canvas, x + cell - 6, y + 7, item.same_class)
        y += 19
    if item.similarity is not None:
        text = f"{item.similarity:.1f}%" if math.isfinite(item.similarity) else "–"
        share = min(max(item.similarity, 0), 100) / 100 if math.isfinite(item.similarity) else 0
        room = cell - 44
        canvas.rect(x, y + 4, room, 6, look.faint)
        if share:
            canvas.rect(x, y + 4, room * share, 6, look.accent)
        canvas.text(x + cell, y + 7, text, 11, look.soft, anchor="right", middle=True)
        y += 17
    if item.distance is not None:
        canvas.text(x, y, fit(f"distance {alike([item.distance])[0]}", cell, 11), 11, look.soft)


def _same(canvas: Canvas, x: float, y: float, same: bool) -> None:
    """A tick on a full disc for the same class, a cross in an open one for another: told apart without colour."""
    look = canvas.look
    if same:
        canvas.dots(np.array([[x, y]]), look.good, 13, over=3)
        canvas.path([(x - 3, y), (x - 0.8, y + 2.4), (x + 3.2, y - 2.4)], look.paper, 1.6, over=5)
    else:
        canvas.dots(np.array([[x, y]]), look.soft, 13, over=3)
        canvas.dots(np.array([[x, y]]), look.paper, 10.5, over=4)
        for a in (-1, 1):
            canvas.path([(x - 2.4, y - 2.4 * a), (x + 2.4, y + 2.4 * a)], look.soft, 1.4, over=5)


def tiles(view: SpriteSheet, picture: Pictures) -> list[Pixels]:
    """The tiles of a sheet, one a unit; a last row that is not full gives no more than there are."""
    sheet = pixels_of(view.sheet, picture)
    across, down = sheet.shape[1] // view.tile, sheet.shape[0] // view.tile
    t = view.tile
    return [
        sheet[n // across * t : n // across * t + t, n % across * t : n % across * t + t]
        for n in range(min(view.count, across * down))
    ]


def sprite_sheet(view: SpriteSheet, look: Look, picture: Pictures) -> Canvas:
    """Every unit's tile with its number, as many in a row as the page holds."""
    if view.count < 1 or view.tile < 1:
        return nothing(view.title, look, "The sheet has no tiles.", view.note)
    units = tiles(view, picture)
    if not units:
        return nothing(view.title, look, "The sheet is smaller than one tile.", view.note)
    canvas, y = start(view.title, look)
    width, gap = look.width - 2 * side(look), 10
    tile = max(48, min(96, view.tile)) if len(units) <= 64 else 64
    columns = max(1, (width + gap) // (tile + gap))
    if len(units) >= columns:  # full rows end where the page does
        tile = (width - gap * (columns - 1)) // columns
    shown = min(len(units), columns * int((TALLEST - 300) // (tile + 26)))
    for n in range(shown):
        x, top = side(look) + n % columns * (tile + gap), y + n // columns * (tile + 26)
        pixels, w, h = placed(units[n], tile, tile)
        canvas.picture(x, top, w, h, pixels)
        label = view.labels[n] if n < len(view.labels) else str(n)
        canvas.text(x, top + tile + 4, fit(label, tile, 11), 11, look.soft)
    y += math.ceil(shown / columns) * (tile + 26) - 6
    if shown < view.count:
        y = canvas.paragraph(side(look), y + 10, f"{shown:,} of {view.count:,} units.", width, 12, look.soft)
    return finish(canvas, y, view.note)


def media(view: Media, picture: Pictures) -> bytes:
    """The picture as a PNG with exactly its pixels; frames as an animated PNG, which every browser plays."""
    from PIL import Image

    if isinstance(view.image, np.ndarray) and view.image.ndim == 4:
        pages = [Image.fromarray(pixels_of(frame, picture)) for frame in view.image]
    else:
        pages = [Image.fromarray(pixels_of(view.image, picture))]
    buffer = io.BytesIO()
    if len(pages) > 1:
        wait = max(20, round(1000 * view.seconds))
        pages[0].save(buffer, "PNG", save_all=True, append_images=pages[1:], duration=wait, loop=0, disposal=0, blend=0)
    else:
        pages[0].save(buffer, "PNG")
    return buffer.getvalue()
