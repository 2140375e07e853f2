"""The static picture of every view: as PNG, as SVG where it is made of lines, and its numbers as CSV.

Nothing heavy is imported before something is drawn. Drawing is safe in several threads at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from vizkit import views as v
from vizkit.draw import charts, maps, nets, sheets, words
from vizkit.draw.canvas import DARK, LIGHT, Canvas, Look
from vizkit.draw.frame import Pictures
from vizkit.draw.maps import similarity
from vizkit.draw.tables import csv, plain
from vizkit.draw.words import sentence

__all__ = ["DARK", "LIGHT", "Look", "Pictures", "csv", "plain", "png", "sentence", "similarity", "svg"]


def png(view: v.View, picture: Pictures, look: Look = LIGHT) -> bytes:
    """A view as a PNG, two pixels for each CSS pixel of `look.width`. Media keep exactly their own pixels.

    `picture` gives the pixels, uint8 (h, w, 3), of an image reference; what it raises is passed on.
    """
    return sheets.media(view, picture) if isinstance(view, v.Media) else _page(view, picture, look).png()


def svg(
    view: v.View, picture: Pictures, look: Look = LIGHT, encode: Callable[[NDArray[np.uint8]], str] | None = None
) -> str | None:
    """A view as SVG, letters as outlines; None for what is made of pictures: image grids, sprite sheets, media.

    Photographs inside are PNG, unless `encode` gives another data URI for their pixels.
    """
    if isinstance(view, v.ImageGrid | v.SpriteSheet | v.Media):
        return None
    return _page(view, picture, look).svg(encode)


def _page(view: v.View, picture: Pictures, look: Look) -> Canvas:
    match view:
        case v.ImageGrid():
            return sheets.image_grid(view, look, picture)
        case v.Heatmap():
            return maps.heatmap(view, look, picture)
        case v.SimilarityOverlay():
            return maps.overlay(view, look, picture)
        case v.CellMap():
            return maps.cell_map(view, look, picture)
        case v.Bars():
            return charts.bars(view, look)
        case v.Lines():
            return charts.lines(view, look)
        case v.Scatter():
            return charts.scatter(view, look, picture)
        case v.Tree():
            return nets.tree(view, look, picture)
        case v.Graph():
            return nets.graph(view, look)
        case v.Table():
            return words.table(view, look)
        case v.SpriteSheet():
            return sheets.sprite_sheet(view, look, picture)
        case v.Note():
            return words.note(view, look)
        case v.Figure():
            return words.figure(view, look)
        case v.Media():
            raise TypeError("media are pixels, not a page")
        case _:
            assert_never(view)
