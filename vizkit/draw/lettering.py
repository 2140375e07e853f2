"""Text that fits: its width, its lines, and what to draw where a font lacks a letter."""

from __future__ import annotations

import re
import threading
from functools import lru_cache
from typing import Any

_FONTS = ("Inter", "Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans")
_MORE = ("Noto Sans CJK JP", "Noto Sans CJK SC", "WenQuanYi Zen Hei", "PingFang SC", "Microsoft YaHei", "DejaVu Sans")
lock = threading.RLock()
"""Held while fonts are read or a page is drawn: neither Matplotlib nor FreeType is safe in two threads at once."""


@lru_cache(maxsize=4096)
def measure(text: str, size: float, bold: bool = False) -> float:
    """The width of one line of text in CSS pixels."""
    _, files = faces()
    with lock:
        widths = [_font(f, bold).getlength(run) for f, run in _runs(drawable(text), files)]
    return float(sum(widths)) * size / 100


def wrap(text: str, width: float, size: float = 13, bold: bool = False, lines: int = 0) -> list[str]:
    """Text in lines no wider than `width`; a word that is too long is broken. With `lines`, at most so many, then …"""
    out: list[str] = []
    for part in text.split("\n"):
        line = ""
        for word in re.findall(r"[^\s/]*/+\s*|[^\s/]+\s*|\s+", part):
            if line and measure(line + word.rstrip(), size, bold) > width:
                out.append(line.rstrip())
                line = ""
            while measure(word.rstrip(), size, bold) > width and len(word) > 1:
                keep = _fitting(word, width, size, bold)
                out.append(word[:keep])
                word = word[keep:]
            line += word
        out.append(line.rstrip())
    while len(out) > 1 and not out[-1]:
        out.pop()
    if lines and len(out) > lines:
        out = [*out[: lines - 1], fit(" ".join(out[lines - 1 :]), width, size, bold)]
    return out


def fit(text: str, width: float, size: float = 13, bold: bool = False) -> str:
    """One line of text cut in its middle where it is too wide, so that `…/cat_0012.jpg` keeps what tells it apart."""
    text = " ".join(text.split())
    if measure(text, size, bold) <= width:
        return text
    low, high = 0, len(text)
    while low < high:
        keep = (low + high + 1) // 2
        low, high = (keep, high) if measure(_cut(text, keep), size, bold) <= width else (low, keep - 1)
    return _cut(text, low)


def _cut(text: str, keep: int) -> str:
    tail = keep * 2 // 5
    return f"{text[: keep - tail].rstrip()}…{text[len(text) - tail :].lstrip() if tail else ''}"


def _fitting(word: str, width: float, size: float, bold: bool) -> int:
    keep = 1
    while keep < len(word) and measure(word[: keep + 1], size, bold) <= width:
        keep += 1
    return keep


@lru_cache(maxsize=1)
def faces() -> tuple[list[str], list[str]]:
    """The font families that exist here, best first, and their files; the last ones stand in for letters that lack."""
    from matplotlib import font_manager as fonts

    with lock:
        known = set(fonts.fontManager.get_font_names())
        first = next(f for f in _FONTS if f in known)
        families = list(dict.fromkeys([first, *(f for f in _MORE if f in known)]))
        return families, [fonts.findfont(f) for f in families]


@lru_cache(maxsize=32)
def _font(file: str, bold: bool) -> Any:
    from matplotlib import font_manager as fonts
    from PIL import ImageFont

    if bold:
        name = fonts.get_font(file).family_name
        file = fonts.findfont(fonts.FontProperties(family=name, weight="bold"))
    return ImageFont.truetype(file, 100)


@lru_cache(maxsize=32)
def _letters(file: str) -> frozenset[int]:
    from matplotlib import font_manager as fonts

    return frozenset(fonts.get_font(file).get_charmap())


def drawable(text: str) -> str:
    """Text with a sign in place of every letter that no font here can draw, so that drawing never warns."""
    _, files = faces()
    with lock:
        plain = (" " if c.isspace() else c for c in text)
        return "".join(c if any(ord(c) in _letters(f) for f in files) else "\ufffd" for c in plain if c.isprintable())


def _runs(text: str, files: list[str]) -> list[tuple[str, str]]:
    out: list[tuple[str, str]] = []
    for c in text:
        file = next((f for f in files if ord(c) in _letters(f)), files[-1])
        if out and out[-1][0] == file:
            out[-1] = (file, out[-1][1] + c)
        else:
            out.append((file, c))
    return out
