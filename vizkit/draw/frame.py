"""What all drawings share: title and note, numbers as people read them, axes, keys of colours."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from vizkit.draw.canvas import Canvas, Colour, Look
from vizkit.draw.lettering import fit, measure
from vizkit.views import ColourMap

Pixels = NDArray[np.uint8]
Pictures = Callable[[str], Pixels]
"""Gives the pixels, uint8 (h, w, 3), of an image reference."""
MARGIN = 24


def start(title: str, look: Look, width: int | None = None) -> tuple[Canvas, float]:
    """A page with its title, and the y where the drawing begins. `width` where it is not that of the look."""
    canvas = Canvas(look, width)
    if not look.titled:
        return canvas, 6
    y: float = MARGIN
    if title:
        y = canvas.paragraph(MARGIN, y, title, canvas.width - 2 * MARGIN, 18, bold=True) + 10
    return canvas, y


def finish(canvas: Canvas, y: float, note: str = "") -> Canvas:
    """The page closed below y, with its note where it carries one."""
    if note and canvas.look.titled:
        y = canvas.paragraph(side(canvas.look), y + 14, note, min(canvas.width - 2 * MARGIN, 640), 13, canvas.look.soft)
    canvas.height = y + (MARGIN if canvas.look.titled else 6)
    return canvas


def side(look: Look) -> int:
    """The margin left and right: a page without its title stands in a document that has its own."""
    return MARGIN if look.titled else 1


def nothing(title: str, look: Look, sentence: str, note: str = "") -> Canvas:
    """A page that says why it is empty."""
    canvas, y = start(title, look)
    x, width = side(look), look.width - 2 * side(look)
    canvas.rect(x, y, width, 64, edge=look.faint, radius=8)
    canvas.text(canvas.width / 2, y + 32, sentence, 13, look.soft, anchor="center", middle=True)
    return finish(canvas, y + 64, note)


def number(value: float | None, unit: str = "") -> str:
    """A number with three digits that count, in the words of the page: `0.812`, `1,280`, `−3.2e−7`, `–` for none."""
    if value is None or not math.isfinite(value):
        return "–" if value is None or math.isnan(value) else ("∞" if value > 0 else "−∞")
    if value == 0:
        text = "0"
    elif 1e-3 <= abs(value) < 1e6:
        text = f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    else:
        mantissa, exponent = f"{value:.2e}".split("e")
        text = f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    space = "" if unit in ("", "%", "°") else " "
    return text.replace("-", "−") + (f"{space}{unit}" if unit else "")


def alike(values: Sequence[float], unit: str = "") -> list[str]:
    """Numbers that stand under each other, with equally many decimals; what would round to nothing keeps its digits."""
    finite = [abs(v) for v in values if math.isfinite(v) and v]
    if not finite or not 1e-3 <= max(finite) < 1e6:
        return [number(v, unit) for v in values]
    decimals = max(0, 2 - math.floor(math.log10(max(finite)))) if any(v != round(v) for v in finite) else 0
    space = "" if unit in ("", "%", "°") else " "
    return [
        f"{v:,.{decimals}f}".replace("-", "−") + (f"{space}{unit}" if unit else "")
        if math.isfinite(v) and (v == 0 or abs(v) >= 0.5 * 10**-decimals)
        else number(v, unit)
        for v in values
    ]


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from low to high: steps of 1, 2 or 5, `about` as many as asked for."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [low]
    rough = (high - low) / max(about, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(k * power for k in (1, 2, 5, 10) if k * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


def extent(*arrays: NDArray[np.generic] | None) -> tuple[float, float]:
    """The smallest and the largest finite number; 0 and 1 where there is none, and never the same twice."""
    low, high = math.inf, -math.inf
    for array in arrays:
        if array is not None and array.size:
            finite = np.asarray(array, float)
            finite = finite[np.isfinite(finite)]
            if finite.size:
                low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    if low > high:
        return 0.0, 1.0
    if low == high:
        pad = abs(low) / 2 or 0.5
        return low - pad, high + pad
    return low, high


def scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """The straight map from numbers to places on the page."""
    return lambda value: start + (value - low) / (high - low) * (end - start)


def key(canvas: Canvas, y: float, names: Sequence[str], colours: Sequence[Colour], shapes: Sequence[str] = ()) -> float:
    """A row, or some, of coloured marks with their names. Returns the y below."""
    look = canvas.look
    left, right = side(look), canvas.width - side(look)
    x = float(left)
    for i, name in enumerate(names):
        label = fit(name, min(220, right - left - 20), 12)
        width = 16 + measure(label, 12) + 18
        if x > left and x + width - 18 > right:
            x, y = left, y + 21
        canvas.dots(np.array([[x + 5, y + 8]]), colours[i], 9, shapes[i] if shapes else "o")
        canvas.text(x + 16, y + 8, label, 12, look.soft, middle=True)
        x += width
    return y + 26 if len(names) else y


def colours(values: NDArray[np.generic], low: float, high: float, name: ColourMap | str) -> Pixels:
    """Numbers (h, w) as colours, uint8 (h, w, 3), of a perceptual colour map; NaN comes out as its lowest."""
    import matplotlib

    table = np.round(255 * matplotlib.colormaps[name](np.linspace(0, 1, 256))[:, :3]).astype(np.uint8)
    unit = np.clip((np.asarray(values, float) - low) / (high - low), 0, 1)
    picked: Pixels = table[np.round(np.nan_to_num(unit, nan=0) * 255).astype(int)]
    return picked


def colour_bar(
    canvas: Canvas, x: float, y: float, width: float, low: float, high: float, name: ColourMap | str, unit: str = ""
) -> float:
    """The legend of a colour map: a strip with its round numbers beneath. Returns the y below."""
    strip = colours(np.linspace(low, high, 512)[None], low, high, name)
    canvas.picture(x, y, width, 10, strip)
    at = scale(low, high, x, x + width)
    marks = [low, *(t for t in ticks(low, high, 4) if min(t - low, high - t) > 0.16 * (high - low)), high]
    for i, t in enumerate(marks):
        anchor = "left" if i == 0 else "right" if i == len(marks) - 1 else "center"
        canvas.path([(at(t), y + 10), (at(t), y + 14)], canvas.look.soft)
        canvas.text(at(t), y + 17, number(t, unit if i == len(marks) - 1 else ""), 11, canvas.look.soft, anchor=anchor)
    return y + 34
