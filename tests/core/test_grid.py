"""Cells and pixels: exact tables, and what must hold for every size."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import pytest

from vizkit import grid

SIZES = [
    (1, 1),
    (1, 7),
    (7, 1),
    (2, 3),
    (3, 10),
    (7, 28),
    (28, 7),
    (14, 224),
    (7, 224),
    (13, 100),
    (100, 13),
    (27, 220),
]


def test_the_last_cell_of_28_is_the_last_of_7() -> None:
    # rounding 27 · 7 / 28 = 6.75 gives 7, which does not exist
    assert grid.moved(27, 28, 7) == 6
    assert grid.synced((27, 27), (28, 28), (7, 7)) == (6, 6)


def test_28_to_7_takes_four_to_one_and_back_to_the_middle() -> None:
    assert [grid.moved(i, 28, 7) for i in range(28)] == [i // 4 for i in range(28)]
    assert [grid.moved(i, 7, 28) for i in range(7)] == [2, 6, 10, 14, 18, 22, 26]


def test_ten_pixels_under_three_cells() -> None:
    # edges at 0, 3.33, 6.67, 10; pixel centres at 0.5, 1.5, ...
    assert [grid.moved(p, 10, 3) for p in range(10)] == [0, 0, 0, 1, 1, 1, 1, 2, 2, 2]
    assert [grid.bounds(c, 3, 10) for c in range(3)] == [(0, 3), (3, 7), (7, 10)]


def test_a_centre_on_an_edge_belongs_to_the_later_cell() -> None:
    # 5 pixels, 2 cells: the edge at 2.5 is the centre of pixel 2
    assert [grid.moved(p, 5, 2) for p in range(5)] == [0, 0, 1, 1, 1]
    assert [grid.bounds(c, 2, 5) for c in range(2)] == [(0, 2), (2, 5)]


def test_boxes_and_centres_of_a_picture() -> None:
    assert grid.box((0, 0), (224, 224), (14, 14)) == (0, 0, 16, 16)
    assert grid.box((13, 6), (224, 224), (14, 14)) == (208, 96, 224, 112)
    assert grid.box((1, 0), (10, 4), (3, 2)) == (3, 0, 7, 2)
    assert grid.centre((0, 13), (224, 224), (14, 14)) == (8.0, 216.0)
    assert grid.cell((223, 0), (224, 112), (7, 14)) == (6, 0)


@pytest.mark.parametrize(("cells", "pixels"), SIZES)
def test_the_cells_share_out_the_pixels(cells: int, pixels: int) -> None:
    owners = [grid.moved(p, pixels, cells) for p in range(pixels)]
    for c in range(cells):
        first, last = grid.bounds(c, cells, pixels)
        assert [p for p in range(pixels) if owners[p] == c] == list(range(first, last))


@pytest.mark.parametrize(("source", "target"), SIZES)
def test_it_is_the_formula_in_exact_fractions(source: int, target: int) -> None:
    for i in range(source):
        assert grid.moved(i, source, target) == floor((i + Fraction(1, 2)) * target / source)


@pytest.mark.parametrize(("cells", "pixels"), [s for s in SIZES if s[0] <= s[1]])
def test_going_to_finer_cells_and_back_is_the_same_cell(cells: int, pixels: int) -> None:
    assert [grid.moved(grid.moved(c, cells, pixels), pixels, cells) for c in range(cells)] == list(range(cells))


@pytest.mark.parametrize(("source", "target"), SIZES)
def test_order_is_kept_and_mirroring_too_where_no_centre_is_on_an_edge(source: int, target: int) -> None:
    there = [grid.moved(i, source, target) for i in range(source)]
    assert there == sorted(there)
    for i in range(source):
        if Fraction((2 * i + 1) * target, 2 * source).denominator != 1:
            assert there[source - 1 - i] == target - 1 - there[i]


def test_the_centre_of_a_cell_lies_in_its_box() -> None:
    for cells, pixels in SIZES:
        if cells <= pixels:
            for c in range(cells):
                top, left, bottom, right = grid.box((c, c), (pixels, pixels), (cells, cells))
                y, x = grid.centre((c, c), (pixels, pixels), (cells, cells))
                assert top - 0.5 <= y <= bottom + 0.5
                assert left - 0.5 <= x <= right + 0.5


def test_spread_repeats_cells_and_smooths_nothing() -> None:
    values = np.array([[1, 2, 3], [4, 5, 6]])
    assert grid.spread(values, (3, 5)).tolist() == [[1, 1, 2, 3, 3], [4, 4, 5, 6, 6], [4, 4, 5, 6, 6]]
    assert grid.spread(values[..., None], (2, 3)).shape == (2, 3, 1)


@pytest.mark.parametrize("wrong", [-1, 7])
def test_an_index_outside_is_named(wrong: int) -> None:
    with pytest.raises(ValueError, match=f"{wrong} is outside a line of 7: 0 to 6"):
        grid.moved(wrong, 7, 14)
    with pytest.raises(ValueError, match="outside a line of 7"):
        grid.bounds(wrong, 7, 14)
