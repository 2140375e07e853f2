"""A page to draw on: sizes in CSS pixels from the top left, text that fits, one look for every picture.

Matplotlib draws, but nothing of its state is used: no pyplot, no rcParams, no mathtext, so a person's own style sheet
changes nothing here and nothing here changes theirs.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vizkit.draw.lettering import drawable, faces, lock, measure, wrap

SCALE = 2
"""Pixels of a PNG for each CSS pixel."""
TALLEST = 12_000
"""CSS pixels: nothing is drawn taller than this, what is left out is said in a sentence."""

Colour = str | tuple[float, ...]


@dataclass(frozen=True)
class Look:
    """How wide a picture is, its inks, and whether it carries its own title and note (`titled`)."""

    width: int = 720
    titled: bool = True
    paper: str = "#ffffff"
    ink: str = "#1a1f27"
    soft: str = "#5b6573"
    faint: str = "#e4e8ed"
    accent: str = "#2a6fb0"
    good: str = "#0b7a5f"
    warn: str = "#9a5b00"
    mark: str = "#ffd60a"
    series: tuple[str, ...] = ("#0072b2", "#d55e00", "#009e73", "#b4559b", "#b8860b", "#38a3dc", "#6b7280")


LIGHT = Look()
DARK = Look(
    paper="#181b20",
    ink="#eceff3",
    soft="#a3acb9",
    faint="#333942",
    accent="#62aaea",
    good="#43c79f",
    warn="#e7b057",
    series=("#56b4e9", "#f0803c", "#2dbe94", "#e39bc4", "#e6b422", "#8ecbf0", "#9aa3af"),
)


class Canvas:
    """A page of `look.width` CSS pixels. Draw on it from the top, then ask for its `png()` or `svg()`."""

    def __init__(self, look: Look, width: int | None = None) -> None:
        self.look = look
        self.width = width or look.width
        self.height = 1.0
        self._marks: list[tuple[str, tuple[Any, ...]]] = []

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float = 13,
        colour: Colour = "",
        bold: bool = False,
        anchor: str = "left",
        middle: bool = False,
        halo: Colour = "",
    ) -> float:
        """One line of text with its top (or its middle) at y, on a `halo` where it must stand out. Returns its width."""
        if text:
            at = y + (0.36 * size if middle else 0.92 * size)
            self._add("text", x, at, text, size, colour or self.look.ink, bold, anchor, halo)
        return measure(text, size, bold)

    def paragraph(
        self, x: float, y: float, text: str, width: float, size: float = 13, colour: Colour = "", **style: Any
    ) -> float:
        """Text in as many lines as it needs. Returns the y below it."""
        for line in wrap(text, width, size, bool(style.get("bold"))):
            self.text(x, y, line, size, colour, **style)
            y += round(1.45 * size)
        return y

    def rect(
        self,
        x: float,
        y: float,
        w: float,
        h: float,
        fill: Colour | None = None,
        edge: Colour | None = None,
        line: float = 1,
        radius: float = 0,
        alpha: float = 1,
    ) -> None:
        """A rectangle, filled, outlined, or both."""
        self._add("rect", x, y, w, h, fill, edge, line, min(radius, w / 2, h / 2), alpha)

    def path(
        self,
        points: Sequence[tuple[float, float]] | NDArray[Any],
        colour: Colour,
        line: float = 1,
        fill: bool = False,
        alpha: float = 1,
        curve: bool = False,
        over: int = 2,
        dashed: bool = False,
    ) -> None:
        """A line through points, a filled shape, or with `curve` one cubic curve from four points."""
        self._add("path", np.asarray(points, float), colour, line, fill, alpha, curve, over, dashed)

    def dots(
        self, points: NDArray[Any], colour: Colour, size: float = 6, shape: str = "o", alpha: float = 1, over: int = 3
    ) -> None:
        """A marker at every point (n, 2), `size` across."""
        self._add("dots", np.asarray(points, float), colour, size, shape, alpha, over)

    def picture(self, x: float, y: float, w: float, h: float, pixels: NDArray[np.uint8], over: int = 1) -> None:
        """Pixels (h, w, 3) at a place. Give them at `SCALE` times w by h and a PNG holds them unchanged."""
        self._add("picture", x, y, w, h, pixels, over)

    def png(self) -> bytes:
        """The page as a PNG, `SCALE` pixels for each CSS pixel."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        with lock:
            buffer = io.BytesIO()
            FigureCanvasAgg(self._figure(SCALE)).print_png(buffer, metadata={"Software": None})
            return buffer.getvalue()

    def svg(self, encode: Callable[[NDArray[np.uint8]], str] | None = None) -> str:
        """The page as SVG; its letters are outlines, so it looks the same everywhere, and equal pages give equal text.

        `encode` turns pixels into the data URI that stands for them, a PNG where it is not given.
        """
        from matplotlib.backends.backend_svg import FigureCanvasSVG

        with lock:
            buffer = io.StringIO()
            nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
            FigureCanvasSVG(self._figure(1)).print_svg(buffer, metadata=nothing)
        text = buffer.getvalue()
        names: dict[str, str] = {}
        for name in re.findall(r'\bid="(\w*[0-9a-f]{10})"', text):
            names.setdefault(name, f"n{len(names)}")
        text = re.sub(r'(\bid="|#)(\w+)', lambda m: m[1] + names.get(m[2], m[2]), text)
        pictures = [values for what, values in self._marks if what == "picture"]

        def element(found: re.Match[str]) -> str:
            x, y, w, h, pixels, _ = pictures[int(found[1])]
            place = " ".join(f'{k}="{0.75 * v:g}"' for k, v in zip(("x", "y", "width", "height"), (x, y, w, h), strict=True))
            return f'<image {place} preserveAspectRatio="none" xlink:href="{(encode or data_uri)(pixels)}"/>'

        return re.sub(r'<g id="vk-picture-(\d+)">.*?</g>', element, text, flags=re.DOTALL)

    def _add(self, what: str, *values: Any) -> None:
        self._marks.append((what, values))

    def _figure(self, scale: int) -> Any:
        from matplotlib.figure import Figure

        height = max(1, round(self.height))
        figure = Figure(figsize=(self.width / 96, height / 96), dpi=96 * scale, facecolor=self.look.paper, edgecolor="none")
        axes = figure.add_axes((0, 0, 1, 1), facecolor="none")
        axes.set_axis_off()
        number = 0
        for what, values in self._marks:
            if what == "picture" and scale == 1:  # a place for it, which `svg` fills
                _Pen.place(axes, values, f"vk-picture-{number}")
                number += 1
            else:
                getattr(_Pen, what)(axes, *values)
        axes.set(xlim=(0, self.width), ylim=(height, 0), aspect="auto")
        return figure


class _Pen:
    """The strokes of a `Canvas` in Matplotlib's terms. A CSS pixel is 0.75 points."""

    @staticmethod
    def text(
        axes: Any, x: float, y: float, text: str, size: float, colour: Colour, bold: bool, anchor: str, halo: Colour
    ) -> None:
        from matplotlib.patheffects import withStroke

        families, _ = faces()
        axes.text(
            x,
            y,
            drawable(text),
            fontfamily=families,
            fontsize=0.75 * size,
            fontweight="bold" if bold else "normal",
            fontstyle="normal",
            fontstretch="normal",
            fontvariant="normal",
            color=colour,
            ha=anchor,
            va="baseline",
            usetex=False,
            parse_math=False,
            path_effects=[withStroke(linewidth=2, foreground=halo)] if halo else None,
            zorder=6,
        )

    @staticmethod
    def rect(
        axes: Any,
        x: float,
        y: float,
        w: float,
        h: float,
        fill: Colour | None,
        edge: Colour | None,
        line: float,
        radius: float,
        alpha: float,
    ) -> None:
        from matplotlib.patches import FancyBboxPatch, Rectangle

        style: dict[str, Any] = {
            "facecolor": fill or "none",
            "edgecolor": edge or "none",
            "linewidth": 0.75 * line,
            "alpha": alpha,
            "zorder": 2,
        }
        if radius:
            shape = f"round,pad=0,rounding_size={radius}"
            axes.add_patch(FancyBboxPatch((x, y), w, h, boxstyle=shape, mutation_scale=1, **style))
        else:
            axes.add_patch(Rectangle((x, y), w, h, joinstyle="miter", **style))

    @staticmethod
    def path(
        axes: Any,
        points: NDArray[Any],
        colour: Colour,
        line: float,
        fill: bool,
        alpha: float,
        curve: bool,
        over: int,
        dashed: bool,
    ) -> None:
        from matplotlib.patches import PathPatch
        from matplotlib.path import Path

        codes = [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4] if curve else None
        axes.add_patch(
            PathPatch(
                Path(points, codes),
                facecolor=colour if fill else "none",
                edgecolor="none" if fill else colour,
                linewidth=0 if fill else 0.75 * line,
                alpha=alpha,
                capstyle="round",
                joinstyle="round",
                linestyle=(0, (4, 2.5)) if dashed else "solid",
                zorder=over,
            )
        )

    @staticmethod
    def dots(axes: Any, points: NDArray[Any], colour: Colour, size: float, shape: str, alpha: float, over: int) -> None:
        axes.plot(
            points[:, 0],
            points[:, 1],
            linestyle="none",
            marker=shape,
            markersize=0.75 * size,
            markerfacecolor=colour,
            markeredgecolor="none",
            alpha=alpha,
            zorder=over,
            rasterized=len(points) > 2000,
        )

    @staticmethod
    def place(axes: Any, values: tuple[Any, ...], name: str) -> None:
        from matplotlib.patches import Rectangle

        x, y, w, h, _, over = values
        axes.add_patch(Rectangle((x, y), w, h, zorder=over, gid=name))

    @staticmethod
    def picture(axes: Any, x: float, y: float, w: float, h: float, pixels: NDArray[np.uint8], over: int) -> None:
        axes.imshow(pixels, extent=(x, x + w, y + h, y), interpolation="none", origin="upper", resample=False, zorder=over)


def data_uri(pixels: NDArray[np.uint8], kind: str = "png", **options: Any) -> str:
    """Pixels (h, w, 3) as the address of a picture that needs no file."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def resized(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Pixels (h, w, 3) at another size: whole steps of the same pixel when small ones grow, smoothed otherwise."""
    from PIL import Image

    if pixels.shape[:2] == (height, width):
        return pixels
    small = max(pixels.shape[:2]) <= 64 and width >= pixels.shape[1]
    how = Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(pixels).resize((max(1, width), max(1, height)), how))


def rgb(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Pixels as uint8 (h, w, 3), also from grey or with transparency."""
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        pixels = np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2)
    return np.ascontiguousarray(pixels[..., :3], dtype=np.uint8)


def placed(pixels: NDArray[np.uint8], width: float, height: float) -> tuple[NDArray[np.uint8], float, float]:
    """Pixels made to fit into a box of CSS pixels, sharp in a PNG, with the width and height they take there."""
    pixels = rgb(pixels)
    h, w = pixels.shape[:2]
    k = min(width / max(w, 1), height / max(h, 1))
    w, h = max(1, round(w * k)), max(1, round(h * k))
    return resized(pixels, w * SCALE, h * SCALE), w, h
