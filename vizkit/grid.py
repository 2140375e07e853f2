"""Where the cells of a layer lie on a picture: the one geometry that Python and the browser share.

A grid of `n` cells is laid over `p` pixels edge to edge: cell i covers the stretch from i·p/n to (i+1)·p/n. A pixel belongs
to the cell that its centre lies in, so the cells share out the pixels without gap or overlap, also where p is no multiple
of n. Everything is whole-number arithmetic: no rounding can differ between languages.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vizkit.types import Position, Size


def moved(index: int, source: int, target: int) -> int:
    """The cell of a line of `target` cells that lies under the centre of cell `index` of a line of `source` cells.

    floor((index + 0.5) · target / source). Raises ValueError for an index outside the line.

    >>> moved(27, 28, 7)
    6
    """
    if not 0 <= index < source:
        raise ValueError(f"{index} is outside a line of {source}: 0 to {source - 1}")
    return (2 * index + 1) * target // (2 * source)


def bounds(index: int, cells: int, pixels: int) -> tuple[int, int]:
    """The pixels of one cell along one axis, as a half-open interval. Empty where cells are finer than pixels.

    >>> bounds(1, 3, 10)
    (3, 7)
    """
    if not 0 <= index < cells:
        raise ValueError(f"{index} is outside a line of {cells}: 0 to {cells - 1}")
    return _edge(index, cells, pixels), _edge(index + 1, cells, pixels)


def cell(pixel: Position, size: Size, grid: Size) -> Position:
    """The (row, column) of the cell that a pixel (row, column) of a picture of `size` lies in."""
    return moved(pixel[0], size[0], grid[0]), moved(pixel[1], size[1], grid[1])


def box(position: Position, size: Size, grid: Size) -> tuple[int, int, int, int]:
    """The pixels of a cell as (top, left, bottom, right), bottom and right not included."""
    top, bottom = bounds(position[0], grid[0], size[0])
    left, right = bounds(position[1], grid[1], size[1])
    return top, left, bottom, right


def centre(position: Position, size: Size, grid: Size) -> tuple[float, float]:
    """The middle of a cell as (y, x) in pixels from the top left corner; pixel 0 spans 0 to 1."""
    return (2 * position[0] + 1) * size[0] / (2 * grid[0]), (2 * position[1] + 1) * size[1] / (2 * grid[1])


def synced(position: Position, source: Size, target: Size) -> Position:
    """The same place in another layer of the same picture: a cell of grid `source` as a cell of grid `target`."""
    return cell(position, source, target)


def spread(values: NDArray[np.generic], size: Size) -> NDArray[np.generic]:
    """Cells (h, w, ...) as pixels (H, W, ...): every pixel has the value of its cell, nothing is smoothed."""
    rows = [moved(y, size[0], values.shape[0]) for y in range(size[0])]
    columns = [moved(x, size[1], values.shape[1]) for x in range(size[1])]
    return values[np.asarray(rows, np.intp)][:, np.asarray(columns, np.intp)]


def _edge(index: int, cells: int, pixels: int) -> int:
    """The first pixel whose centre is at or behind the left edge of a cell: ceil(index · pixels / cells − 1/2)."""
    return -((cells - 2 * index * pixels) // (2 * cells))
