"""The folder that a result becomes: what is in it, that it is true, and that nothing is ever half there."""

from __future__ import annotations

import csv
import errno
import io
import json
import math
import os
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.core.test_views import EVERY, HOSTILE, NAN, PROVENANCE
from vizkit import draw, export, grid
from vizkit import views as v
from vizkit.draw import canvas, frame, lettering, maps
from vizkit.errors import VizkitError
from vizkit.results import Result, Section

GREY = np.full((32, 32, 3), 120, np.uint8)
VECTOR = set(EVERY) - {"image-grid", "sprite-sheet", "media"}
TABULAR = set(EVERY) - {"media", "note", "figure"}


def picture(ref: str) -> NDArray[np.uint8]:
    return GREY


def opened(data: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def rows(view: v.View) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(draw.csv(view) or "")))


def runs(line: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], line.astype(int), [0]])))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    result = Result(Section("All", tuple(EVERY.values())), summary=f"Everything. {HOSTILE}", provenance=PROVENANCE)
    return export.save(result, tmp_path_factory.mktemp("x") / "new" / "out", picture, question="What is there?")


# what is in the folder


def test_every_kind_has_its_files_under_stable_names(saved: Path) -> None:
    names = {p.name for p in saved.iterdir()}
    expected = {"result.json", "index.html", "arrays", "14-figure.json"}
    for n, kind in enumerate(EVERY, 1):
        expected |= {f"{n}-{kind}.png"}
        expected |= {f"{n}-{kind}.svg"} if kind in VECTOR else set()
        expected |= {f"{n}-{kind}.csv"} if kind in TABULAR else set()
    assert names == expected


def test_the_json_and_its_arrays_give_the_result_back(saved: Path) -> None:
    data = json.loads((saved / "result.json").read_text("utf-8"))
    back = Result.unpack(data, lambda name: np.load(saved / "arrays" / f"{name}.npy", allow_pickle=False))
    assert [x.kind for x in back.views] == list(EVERY)
    assert back.provenance == PROVENANCE
    media = back.views[11]
    assert isinstance(media, v.Media)
    assert np.array_equal(media.image, EVERY["media"].image)  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", EVERY)
def test_every_png_carries_its_provenance(saved: Path, kind: str) -> None:
    n = list(EVERY).index(kind) + 1
    with Image.open(saved / f"{n}-{kind}.png") as image:
        image.load()
        assert json.loads(image.text["vizkit"]) == json.loads(json.dumps(PROVENANCE.to_json()))  # type: ignore[attr-defined]


def test_long_provenance_is_packed_and_can_be_read() -> None:
    long = {"images": [{"ref": f"photos/{i}", "hash": "e" * 64} for i in range(2_000)]}
    plain = draw.png(v.Note("n"), picture)
    packed = export.stamped(plain, long)
    assert len(packed) - len(plain) < 40_000
    for provenance, data in ((long, packed), ({"x": "y" * 1_500_000}, export.stamped(plain, {"x": "y" * 1_500_000}))):
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            assert json.loads(image.text["vizkit"]) == provenance  # type: ignore[attr-defined]
    assert np.array_equal(opened(plain), opened(packed))


# pictures at known places


def test_a_map_has_the_colours_of_its_scale_cell_by_cell() -> None:
    values = np.array([[0.0, 0.25], [1.0, NAN]])
    pixels = opened(draw.png(v.Heatmap("", values, range=(0, 1)), picture))
    left, top, side = 2 * 24, 2 * 24, 2 * 512

    def at(r: int, c: int) -> list[int]:
        y, x = grid.centre((r, c), (side, side), (2, 2))
        return pixels[top + int(y), left + int(x)].tolist()  # type: ignore[no-any-return]

    assert at(0, 0) == [68, 1, 84]  # the published ends and quarter of viridis
    assert at(1, 0) == [253, 231, 37]
    assert at(0, 1) == [59, 82, 139]
    assert at(1, 1) == [0xE4, 0xE8, 0xED]  # no number, no colour
    edge = pixels[top + side // 4, left : left + side]
    assert runs((edge == [68, 1, 84]).all(axis=1)) == [(0, side // 2)]  # cells are sharp and half each


def test_a_map_is_laid_over_its_picture_with_its_opacity() -> None:
    half = opened(draw.png(v.Heatmap("", np.array([[1.0, 1.0], [1.0, NAN]]), "photos/a", (0, 1), opacity=0.5), picture))
    assert half[48 + 100, 48 + 100].tolist() == [round((120 + c) / 2) for c in (253, 231, 37)]
    assert half[48 + 900, 48 + 900].tolist() == [120, 120, 120]  # the picture itself where a number lacks


def test_signed_colours_have_their_middle_at_zero() -> None:
    pixels = opened(draw.png(v.Heatmap("", np.array([[-1.0, 0.0], [4.0, 0.0]]), colours="coolwarm"), picture))
    r, g, b = (int(c) for c in pixels[48 + 100, 48 + 900])
    assert abs(r - b) < 12
    assert g > 200


def test_the_bar_of_fifty_is_half_as_long_as_that_of_a_hundred() -> None:
    view = v.Bars("", np.array([100.0, 50.0, 0.0]), ("a", "b", "c"), unit="%")
    pixels = opened(draw.png(view, picture))
    blue = (pixels == [0x2A, 0x6F, 0xB0]).all(axis=2)
    full, half = (runs(blue[2 * (24 + 27 * i + 13)]) for i in range(2))
    assert len(full) == len(half) == 1
    assert full[0][0] == half[0][0]
    assert full[0][1] - full[0][0] == pytest.approx(2 * (half[0][1] - half[0][0]), abs=2)
    assert full[0][1] - full[0][0] > 600


def test_bars_go_both_ways_from_zero_and_a_gap_has_no_bar() -> None:
    view = v.Bars("", np.array([1.0, -1.0, NAN]), ("a", "b", "c"))
    blue = (opened(draw.png(view, picture)) == [0x2A, 0x6F, 0xB0]).all(axis=2)
    up, down, gap = (runs(blue[2 * (24 + 27 * i + 13)]) for i in range(3))
    assert up[0][1] - up[0][0] == pytest.approx(down[0][1] - down[0][0], abs=2)
    assert down[0][1] == pytest.approx(up[0][0], abs=3)
    assert gap == []


def test_the_similarity_bar_under_a_picture_is_its_share() -> None:
    items = tuple(v.GridItem(f"photos/{i}", similarity=s) for i, s in enumerate((100.0, 50.0, 0.0, NAN)))
    pixels = opened(draw.png(v.ImageGrid("", items), picture))
    blue = (pixels == [0x2A, 0x6F, 0xB0]).all(axis=2)
    y = int(np.flatnonzero(blue.any(axis=1)).mean())
    lengths = [b - a for a, b in runs(blue[y])]
    assert len(lengths) == 2
    assert lengths[0] == pytest.approx(2 * lengths[1], abs=2)


def test_a_picture_of_a_grid_stands_there_with_its_own_pixels() -> None:
    images = np.zeros((2, 8, 8, 3), np.uint8)
    images[0, :, :, 0] = images[1, :, :, 2] = 255
    pixels = opened(draw.png(v.ImageGrid("", (), images), picture))
    red, blue = ((pixels == c).all(axis=2).sum() for c in ([255, 0, 0], [0, 0, 255]))
    assert red == blue == (2 * 160) ** 2


def test_the_similarity_of_a_constant_map_is_one_everywhere() -> None:
    assert np.allclose(draw.similarity(np.full((2, 3, 3, 5), 0.7, np.float32), (1, 2, 0)), 1, atol=1e-12)


def test_similarity_is_the_cosine_with_its_properties() -> None:
    features = np.random.default_rng(1).normal(size=(2, 3, 4, 6))
    features[1, 0, 0] = 0
    at, other = (0, 2, 1), (1, 1, 3)
    cosines = draw.similarity(features, at)
    a, b = features[at], features[other]
    assert cosines[other] == pytest.approx(a @ b / math.sqrt((a @ a) * (b @ b)))
    assert cosines[at] == pytest.approx(1)
    assert draw.similarity(features, other)[at] == pytest.approx(cosines[other])
    assert np.allclose(draw.similarity(features * 1e-6, at), cosines)
    assert (cosines[1, 0, 0], draw.similarity(features, (1, 0, 0)).any()) == (0, False)


def test_an_overlay_is_white_where_alike_black_where_not_and_yellow_where_chosen() -> None:
    features = np.zeros((2, 2, 2, 2))
    features[0, :, :, 0] = 1  # all of the first picture alike
    features[1, :, :, 1] = 1  # nothing of the second
    black = np.zeros((2, 16, 16, 3), np.uint8)
    view = v.SimilarityOverlay("", features, black, signed=False, at=(0, 1, 0), opacity=1)
    pixels = opened(draw.png(view, picture))
    panel = (672 - 12) // 2 * 2
    first, second = pixels[48 : 48 + panel, 48 : 48 + panel], pixels[48 : 48 + panel, 48 + panel + 24 : 48 + 2 * panel + 24]
    yellow = (first == [255, 214, 10]).all(axis=2)
    top, left, bottom, right = grid.box((1, 0), (panel, panel), (2, 2))
    assert yellow[top:bottom, left:right].all()
    assert yellow.sum() == (bottom - top) * (right - left)
    assert (first[~yellow] == 255).all()
    assert (second == 0).all()


def test_the_scale_of_an_overlay_starts_at_minus_one_for_signed_features() -> None:
    features = np.array([[[[1.0], [-1.0]]]])
    for signed, least in ((True, 0), (False, 0)):
        view = v.SimilarityOverlay("", features, np.zeros((1, 8, 16, 3), np.uint8), signed=signed, opacity=1)
        assert opened(draw.png(view, picture))[48 + 100, 48 + 900].tolist() == [least] * 3
    middle = v.SimilarityOverlay("", np.array([[[[1.0, 0.0], [0.0, 1.0]]]]), np.zeros((1, 8, 16, 3), np.uint8), opacity=1)
    assert opened(draw.png(middle, picture))[48 + 100, 48 + 900].tolist() == [128] * 3


def test_a_curve_breaks_at_a_gap_and_a_single_point_is_still_seen() -> None:
    view = v.Lines("", np.arange(5.0), np.array([[1.0, 1.0, NAN, 1.0, NAN]]), ("a",))
    blue = (opened(draw.png(view, picture)) == [0x00, 0x72, 0xB2]).all(axis=2)
    y = int(np.argmax(blue[:, : blue.shape[1] * 3 // 4].sum(axis=1)))
    assert len(runs(blue[y, : blue.shape[1] * 5 // 6])) == 2


def test_a_tile_is_cut_from_its_place_and_a_ragged_row_ends_early() -> None:
    sheet = np.zeros((4, 6, 3), np.uint8)
    for n in range(5):
        sheet[n // 3 * 2 : n // 3 * 2 + 2, n % 3 * 2 : n % 3 * 2 + 2] = 50 * n + 5
    view = v.SpriteSheet("", sheet, 2, 5)
    assert [int(t[0, 0, 0]) for t in draw.sheets.tiles(view, picture)] == [5, 55, 105, 155, 205]
    pixels = opened(draw.png(view, picture))
    for n in range(5):
        assert (pixels == [50 * n + 5] * 3).all(axis=2).sum() >= (2 * 48) ** 2


def test_media_keep_exactly_their_pixels_and_frames_follow_each_other() -> None:
    still = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    assert np.array_equal(opened(draw.png(v.Media("", still), picture)), still)
    frames = np.stack([still, 255 - still, still // 2])
    with Image.open(io.BytesIO(draw.png(v.Media("", frames, 0.25), picture))) as image:
        assert (image.n_frames, image.info["duration"]) == (3, 250)  # type: ignore[attr-defined]
        image.seek(1)
        assert np.array_equal(np.asarray(image.convert("RGB")), 255 - still)


def test_a_tree_with_strangers_and_rings_shows_every_node_once() -> None:
    nodes = [("a", "b"), ("b", "a"), ("c", "nobody"), ("d", "c"), ("d", "a"), ("e", "e")]
    children, roots = draw.nets.branches(v.Tree("", tuple(v.TreeNode(i, p) for i, p in nodes)))
    assert {k: c for k, c in children.items() if c} == {"b": ["a"], "c": ["d"]}
    assert roots == ["b", "c", "e"]
    draw.png(v.Tree("", tuple(v.TreeNode(i, p) for i, p in nodes)), picture)


EMPTY: dict[str, v.View] = {
    "image-grid": v.ImageGrid("", ()),
    "heatmap": v.Heatmap("", np.full((2, 2), NAN)),
    "similarity-overlay": v.SimilarityOverlay("", np.zeros((0, 2, 2, 3)), np.zeros((0, 4, 4, 3), np.uint8)),
    "cell-map": v.CellMap("", "photos/a", np.zeros((0, 0, 1), int), np.zeros((0, 0, 1))),
    "bars": v.Bars("", np.zeros(0), ()),
    "lines": v.Lines("", np.zeros(0), np.zeros((1, 0)), ("a",)),
    "scatter": v.Scatter("", np.zeros((0, 2))),
    "tree": v.Tree("", ()),
    "graph": v.Graph("", ()),
    "table": v.Table("", ("a",), ()),
    "sprite-sheet": v.SpriteSheet("", GREY, 64, 3),
    "figure": v.Figure("", {}),
    "note": v.Note(""),
}


@pytest.mark.parametrize("kind", EMPTY)
def test_what_is_empty_says_so_everywhere(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    write = canvas.Canvas.text
    monkeypatch.setattr(
        canvas.Canvas, "text", lambda self, x, y, text, *a, **k: (said.append(text), write(self, x, y, text, *a, **k))[1]
    )
    assert opened(draw.png(EMPTY[kind], picture)).shape[1] == 1440
    assert len(" ".join(said)) > 15 or kind == "note"
    assert "<section class='vk-view" in export.to_html(Result(EMPTY[kind]), picture)
    draw.csv(EMPTY[kind])
    draw.sentence(EMPTY[kind])


@pytest.mark.parametrize("kind", sorted(VECTOR))
def test_vectors_are_well_formed_and_equal_each_time(kind: str) -> None:
    from xml.etree import ElementTree

    text = draw.svg(EVERY[kind], picture)
    assert text is not None
    assert ElementTree.fromstring(text).tag.endswith("svg")
    assert text == draw.svg(EVERY[kind], picture)
    assert "vk-picture" not in text


def test_no_state_of_matplotlib_is_used_or_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib

    plain = draw.png(EVERY["bars"], picture)
    with matplotlib.rc_context({"savefig.bbox": "tight", "axes.grid": True, "figure.dpi": 31, "axes.facecolor": "red"}):
        before = dict(matplotlib.rcParams)
        assert draw.png(EVERY["bars"], picture) == plain
        assert dict(matplotlib.rcParams) == before


def test_four_threads_draw_the_same_as_one() -> None:
    kinds = ["bars", "lines", "heatmap", "table"] * 2
    alone = {k: draw.png(EVERY[k], picture) for k in kinds}
    out: list[bool] = []
    workers = [threading.Thread(target=lambda k=k: out.append(draw.png(EVERY[k], picture) == alone[k])) for k in kinds]  # type: ignore[misc]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert out == [True] * len(kinds)


# letters and numbers


def test_numbers_are_written_as_people_read_them() -> None:
    said = [frame.number(x) for x in (0, 0.8123, -0.5, 1280, 12.0, 3.2e-7, NAN, math.inf, None)]
    assert said == ["0", "0.812", "−0.5", "1,280", "12", "3.2e−7", "–", "∞", "–"]
    assert frame.number(98, "%") == "98%"
    assert frame.number(1.5, "logit") == "1.5 logit"
    assert frame.alike([0.62, 0.1, 0.00001, NAN]) == ["0.620", "0.100", "1e−5", "–"]


def test_ticks_are_round_numbers_within_their_ends() -> None:
    assert frame.ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert frame.ticks(-3, 17) == [0, 5, 10, 15]
    assert frame.ticks(1, 1) == [1]


def test_text_fits_where_it_is_put() -> None:
    name = "a_very_long_layer_path/inside/another/" * 4
    cut = lettering.fit(name, 120, 13)
    assert lettering.measure(cut, 13) <= 120
    assert (cut[:4], "…" in cut, cut[-4:]) == (name[:4], True, name[-4:])
    lines = lettering.wrap(name + " and words", 150, 13)
    assert all(lettering.measure(line, 13) <= 150 for line in lines)
    assert "".join(lines).replace(" ", "") == (name + "andwords").replace(" ", "")
    assert lettering.wrap("one\ntwo", 500) == ["one", "two"]


# numbers as CSV


def test_a_table_comes_back_from_csv() -> None:
    view = v.Table("", ("name", "n"), (('a, "b"\nc', 1), (None, 0.1), ("猫", -2), ("x", True)))
    assert [list(r.values()) for r in rows(view)] == [['a, "b"\nc', "1"], ["", "0.1"], ["猫", "-2"], ["x", "true"]]


def test_numbers_come_back_from_csv_to_the_last_digit() -> None:
    values = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    values[1, 2] = NAN
    back = np.full((3, 4), NAN, np.float32)
    for row in rows(v.Heatmap("", values)):
        back[int(row["row"]), int(row["column"])] = np.float32(row["value"] or "nan")
    assert np.array_equal(values, back, equal_nan=True)


def test_each_kind_tells_its_numbers() -> None:
    assert rows(EVERY["bars"])[0] == {"label": "a", "value": "0.5", "low": "0.4", "high": "0.6"}
    assert rows(EVERY["lines"])[1] == {"x": "1.0", "_a": "", HOSTILE: "2.0"}
    assert rows(EVERY["scatter"])[0] == {"frame": "f", "id": "photos/a", "label": "x", "x": "0.0", "y": "1.0"}
    assert rows(EVERY["cell-map"])[0] == {"row": "0", "column": "0", "rank": "0", "channel": "3", "value": "0.9"}
    assert rows(EVERY["tree"])[1] == {"id": "c", "parent": "r", "label": "", "weight": "-0.5", "children": "true"}
    assert rows(EVERY["graph"])[2]["weight"] == "2.5"
    assert rows(EVERY["image-grid"])[0]["similarity"] == "75.0"
    assert [r["similarity"] for r in rows(EVERY["similarity-overlay"])] == ["1.0", "0.0", "0.0", "0.0"]
    assert draw.csv(EVERY["note"]) is draw.csv(EVERY["media"]) is draw.csv(EVERY["figure"]) is None


def test_rows_end_in_one_sign() -> None:
    assert draw.csv(v.Bars("", np.array([1.0, 2.0]), ("a", "b"))) == "label,value\na,1.0\nb,2.0\n"
    assert draw.csv(v.Lines("", np.array([7]), np.array([[1], [2]]), ("a", "b"))) == "x,a,b\n7,1,2\n"


def test_a_value_without_its_label_is_refused_when_the_view_is_made() -> None:
    with pytest.raises(ValueError, match="one entry each is needed, but there are 1 labels, 2 values"):
        v.Bars("", np.array([1.0, 2.0]), ("a",))
    with pytest.raises(ValueError, match="1 names, 2 values"):
        v.Lines("", np.array([7]), np.array([[1], [2]]), ("a",))


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "  =1", "＝1", "'=1", "''-x", "\r=1"])
def test_a_text_is_never_a_formula_and_can_be_had_back(text: str) -> None:
    read = rows(v.Table("", ("a",), ((text,),)))[0]["a"]
    assert read.startswith("'")
    assert draw.plain(read) == text


@pytest.mark.parametrize("text", ["a=1", "it's", "'quoted'", "", "猫"])
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert rows(v.Table("", ("a", "b"), ((text, "x"),)))[0]["a"] == text
    assert draw.plain(text) == text


# the page


def test_the_page_asks_for_nothing_and_runs_nothing(saved: Path) -> None:
    page = (saved / "index.html").read_text("utf-8")
    assert re.findall(r"\b(?:src|srcset|href)=(?!'data:)", page) == re.findall(r"url\(|@import|<link|<iframe", page) == []
    assert "http://" not in page
    assert "https://" not in page
    assert "<script" not in page
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;" in page
    assert "default-src 'none'" in page


def test_the_page_has_headings_alternatives_notes_and_how_it_was_made(saved: Path) -> None:
    page = (saved / "index.html").read_text("utf-8")
    assert re.findall(r"<h[12]>.*?</h", page) == ["<h1>Search</h", "<h2>All</h"]
    assert page.count("<h3>") == len(EVERY)
    assert "What is there?" in page
    assert "prefers-color-scheme: dark" in page.replace("scheme:dark", "scheme: dark")
    images = re.findall(r"<img[^>]*?>", re.sub(r"data:[^']*", "", page))
    assert len(images) > 12
    assert all(re.search(r"alt='[^']+'", i) for i in images)
    how = page[page.index("<details") :]
    assert "ab" * 32 in how
    assert "top: <code>15</code>" in how


def test_a_label_cannot_leave_its_attribute() -> None:
    page = export.to_html(Result(v.ImageGrid("", (v.GridItem("photos/a", "x' onerror='alert(1)"),))), picture)
    assert "onerror='" not in page


def test_a_fragment_brings_its_style_and_no_head() -> None:
    part = export.to_html(Result(v.Note("n"), summary="Yes."), picture, whole=False)
    assert part.startswith("<style>")
    assert "<html" not in part
    rules = re.sub(r"@media[^{]*\{|/\*.*?\*/", "", part[7 : part.index("</style>")])
    selectors = re.findall(r"([^{}]+)\{", rules)
    assert all(s.strip().startswith((".vizkit", ".vk-", ":where(.vizkit)")) for group in selectors for s in group.split(","))


def test_a_grid_of_ten_thousand_is_shown_in_part_and_in_small() -> None:
    asked: list[str] = []

    def counted(ref: str) -> NDArray[np.uint8]:
        asked.append(ref)
        return np.zeros((120, 160, 3), np.uint8)

    view = v.ImageGrid("", tuple(v.GridItem(f"photos/{i}", f"{i}") for i in range(10_000)))
    page = export.to_html(Result(view), counted)
    assert "The first 500 of 10,000 pictures." in page
    assert page.count("<li>") == len(asked) == 500
    assert len(page) < 1_000_000
    assert opened(draw.png(view, counted)).shape[0] < 2 * canvas.TALLEST
    assert len(asked) == 700


# all or nothing


def listed(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


NOTE = Result(v.Note("n"))


def test_a_picture_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def broken(ref: str) -> NDArray[np.uint8]:
        raise RuntimeError("no such picture")

    with pytest.raises(RuntimeError, match="no such picture"):
        export.save(Result(v.Note("n"), EVERY["heatmap"]), tmp_path / "a" / "b", broken)
    assert listed(tmp_path) == []


def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    def broken(ref: str) -> NDArray[np.uint8]:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "x.jpg")

    with pytest.raises(VizkitError, match=r"^The picture 'photos/a' could not be read: no such file or directory\.$"):
        export.save(Result(EVERY["heatmap"]), tmp_path / "out", broken)
    assert listed(tmp_path) == []


def test_an_earlier_export_is_replaced_whole(tmp_path: Path) -> None:
    export.save(Result(v.Heatmap("t", np.ones((40, 40))), v.Note("old")), tmp_path / "out", picture)
    export.save(NOTE, tmp_path / "out", picture)
    assert listed(tmp_path) == ["out"]
    assert listed(tmp_path / "out") == ["1-note.png", "1-note.svg", "index.html", "result.json"]


def test_a_failure_keeps_the_earlier_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export.save(NOTE, tmp_path / "out", picture)
    before = (tmp_path / "out" / "index.html").read_bytes()
    monkeypatch.setattr(export, "to_html", lambda *a, **k: (_ for _ in ()).throw(ValueError("late")))
    with pytest.raises(ValueError, match="late"):
        export.save(Result(v.Note("new")), tmp_path / "out", picture)
    assert listed(tmp_path) == ["out"]
    assert (tmp_path / "out" / "index.html").read_bytes() == before


@pytest.mark.parametrize("name", ["holiday.jpg", ".git", "notes.txt"])
def test_a_folder_with_other_things_is_refused(tmp_path: Path, name: str) -> None:
    export.save(NOTE, tmp_path / "out", picture)
    (tmp_path / "out" / name).write_text("mine")
    with pytest.raises(VizkitError, match=f"holds other files, '{name}' among them") as caught:
        export.save(NOTE, tmp_path / "out", picture)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "out" / name).read_text() == "mine"


def test_a_folder_that_only_looks_alike_is_refused_and_an_empty_one_taken(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<p>my own page")
    with pytest.raises(VizkitError, match=r"'index\.html' among them"):
        export.save(NOTE, tmp_path, picture)
    (tmp_path / "empty").mkdir()
    assert "index.html" in listed(export.save(NOTE, tmp_path / "empty", picture))


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x")
    with pytest.raises(VizkitError, match=r"out is a file\. Name a folder for the export\."):
        export.save(NOTE, tmp_path / "out", picture)
    with pytest.raises(VizkitError, match=r"could not be written to .*: not a directory"):
        export.save(NOTE, tmp_path / "out" / "deeper" / "still", picture)
    assert listed(tmp_path) == ["out"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_full_or_locked_disk_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(code, os.strerror(code), str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(VizkitError, match=os.strerror(code).lower()) as caught:
        export.save(Result(v.Heatmap("t", np.ones((40, 40)))), tmp_path / "new" / "out", picture)
    assert "\n" not in str(caught.value)
    assert listed(tmp_path) == []


def test_a_rename_that_fails_brings_the_earlier_export_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export.save(NOTE, tmp_path / "out", picture)
    rename = Path.rename

    def once(self: Path, target: Path) -> Path:
        if self.suffix == ".new":
            raise OSError(errno.EBUSY, "Device or resource busy")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", once)
    with pytest.raises(VizkitError, match="resource busy"):
        export.save(Result(v.Note("new")), tmp_path / "out", picture)
    assert listed(tmp_path) == ["out"]
    assert "index.html" in listed(tmp_path / "out")


def test_the_folder_is_as_open_as_others_that_a_person_makes(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    export.save(NOTE, tmp_path / "out", picture)
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "mine").stat().st_mode


def test_an_export_in_the_working_folder_by_a_relative_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert export.save(NOTE, "out", picture) == tmp_path / "out"


# in a browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_the_page_stands_alone_in_a_browser(saved: Path, chromium: Any, width: int, scheme: str) -> None:
    page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda request: asked.append(request.url))
    page.goto((saved / "index.html").as_uri())
    assert page.evaluate("[...document.images].filter(i => !i.naturalWidth).length") == 0
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert [u for u in asked if not u.startswith("data:")] == [(saved / "index.html").as_uri()]
    paper = page.evaluate("getComputedStyle(document.querySelector('.vizkit')).backgroundColor")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(24, 27, 32)"}[scheme]
    first = page.evaluate("(i => i.currentSrc === i.src)(document.querySelector('.vk-bars img'))")
    assert first == (width == 1440 and scheme == "light")
    assert said == []
    page.close()


def test_fitting_keeps_the_shape_of_a_picture() -> None:
    assert maps.pixels_of(np.zeros((4, 4), np.uint8), picture).shape == (4, 4, 3)
    _, w, h = canvas.placed(np.zeros((100, 50, 3), np.uint8), 64, 64)
    assert (w, h) == (32, 64)
