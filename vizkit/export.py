"""A result as a folder that a person can keep, send and open: pictures, numbers, and one page that needs no network."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from vizkit import draw
from vizkit.draw.frame import Pictures, Pixels
from vizkit.draw.page import to_html
from vizkit.errors import VizkitError
from vizkit.results import Result
from vizkit.views import Figure, View

__all__ = ["save", "stamped", "to_html"]

_OURS = re.compile(r"result\.json|index\.html|arrays|\d+-[a-z-]+\.(png|svg|csv|json)")
_PLAIN = 1_000_000  # bytes of provenance from which on a PNG carries it uncompressed, since readers bound what they inflate


def save(result: Result, directory: Path | str, picture: Pictures, *, title: str = "", question: str = "") -> Path:
    """Write a result into `directory` and return its path: `result.json` with its `arrays/*.npy`, one PNG a view (its
    provenance under the key `vizkit` of the PNG's text), SVG and CSV beside it where the view has them, and `index.html`.

    Files are named after their place and kind: `1-image-grid.png`. An earlier export there is replaced; a folder that holds
    anything else is refused. Everything appears at once or not at all. `picture` gives the pixels, uint8 (h, w, 3), of an
    image reference. Raises VizkitError where the folder cannot be written.
    """
    target = Path(os.path.abspath(directory))
    target = target.resolve() if target.is_symlink() else target
    check_target(target)

    def shown(ref: str) -> Pixels:
        try:
            return picture(ref)
        except OSError as error:  # not to be taken for a folder that cannot be written
            raise VizkitError(f"The picture {ref!r} could not be read: {_reason(error)}.") from error

    with _in_place(target) as folder:
        _write(result, folder, shown, title, question)
    return target


def _write(result: Result, folder: Path, picture: Pictures, title: str, question: str) -> None:
    data, arrays = result.pack()
    text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "result.json").write_text(text + "\n", "utf-8")
    if arrays:
        (folder / "arrays").mkdir()
        for name, array in arrays.items():
            np.save(folder / "arrays" / f"{name}.npy", array, allow_pickle=False)
    for n, view in enumerate(result.views, 1):
        for end, content in _files(view, picture, data["provenance"]):
            (folder / f"{n}-{view.kind}.{end}").write_bytes(content)
    page = to_html(result, picture, title=title, question=question)
    (folder / "index.html").write_text(page, "utf-8")


def _files(view: View, picture: Pictures, provenance: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    yield "png", stamped(draw.png(view, picture), provenance)
    for end, text in (("svg", draw.svg(view, picture)), ("csv", draw.csv(view))):
        if text is not None:
            yield end, text.encode()
    if isinstance(view, Figure):
        yield "json", json.dumps(view.figure, default=str).encode()


def stamped(png: bytes, provenance: dict[str, Any]) -> bytes:
    """The same PNG with its provenance as JSON in its text, key `vizkit`; its pixels are not touched."""
    text = json.dumps(provenance, allow_nan=False).encode("ascii")
    if 4_096 < len(text) < _PLAIN:
        kind, body = b"zTXt", b"vizkit\0\0" + zlib.compress(text)
    else:
        kind, body = b"tEXt", b"vizkit\0" + text
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    head = 8 + 25  # the signature and the IHDR chunk, which is always the first
    return png[:head] + chunk + png[head:]


def check_target(target: Path) -> None:
    """Raise where something is that an export must not take the place of."""
    try:
        if not target.exists():
            return
        if not target.is_dir():
            raise VizkitError(f"{target} is a file. Name a folder for the export.")
        names = sorted(p.name for p in target.iterdir())
    except OSError as error:
        raise _unwritable(target, error) from None
    others = [n for n in names if not _OURS.fullmatch(n)]
    if others or (names and "result.json" not in names):
        example = (others or names)[0]
        raise VizkitError(
            f"{target} holds other files, {example!r} among them, which an export would replace."
            " Name a new folder, or one of an earlier export."
        )


@contextmanager
def _in_place(target: Path) -> Iterator[Path]:
    """A new folder beside the target that takes its place when all went well, and is gone when not."""
    made: list[Path] = []
    fresh = target.with_name(f".{target.name}.{secrets.token_hex(4)}.new")
    old = fresh.with_suffix(".old")
    try:
        for parent in reversed([target.parent, *target.parent.parents]):
            if not parent.exists():
                parent.mkdir()
                made.append(parent)
        fresh.mkdir()
        yield fresh
        if target.exists():
            target.rename(old)
        try:
            fresh.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
        made.clear()
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        if target.exists():  # else the earlier export stays where it was put aside
            shutil.rmtree(old, ignore_errors=True)
        for parent in reversed(made):
            with suppress(OSError):
                parent.rmdir()


def _unwritable(target: Path, error: OSError) -> VizkitError:
    text = f"The export could not be written to {target}: {_reason(error)}. Name a folder elsewhere, or make room."
    return VizkitError(text)


def _reason(error: OSError) -> str:
    return " ".join((error.strerror or str(error)).lower().split())
