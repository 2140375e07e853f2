"""What can go wrong, in the words that a person reads: what was wrong, what is allowed, and the next step."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class VizkitError(Exception):
    """A mistake with a known way out. Its text is one line and is shown as it is, by Python, the CLI and the app."""


class NotFound(VizkitError):
    """A name that nothing answers to: a model, layer, dataset, technique, class, image or parameter."""


class InvalidParameter(VizkitError):
    """Values that do not fit their declaration. `fields` maps each parameter's name to its own sentence."""

    def __init__(self, fields: dict[str, str]) -> None:
        self.fields = dict(fields)
        parts = [sentence.partition(" See: ") for sentence in fields.values()]
        commands = dict.fromkeys(command for _, _, command in parts if command)
        super().__init__(" ".join(said for said, _, _ in parts) + (f" See: {'; '.join(commands)}" if commands else ""))


class BadImage(VizkitError):
    """A file or upload that is not a picture vizkit is willing to open."""


class NotSupported(VizkitError):
    """A technique and a model (or layer) that do not go together; the text says why."""


class TooLarge(VizkitError):
    """A request above a bound of memory or disk, refused before any work with its size."""


class Cancelled(VizkitError):
    """The person asked to stop. Raised inside a technique at its next report."""


def in_a_line(error: BaseException) -> str:
    """A failure in one line: our own sentence as it is, anything else with its type."""
    text = " ".join(str(error).split())
    return text if isinstance(error, VizkitError) else f"{type(error).__name__}{f': {text[:300]}' if text else ''}"


def suggestion(wrong: str, allowed: Iterable[str]) -> str:
    """The middle of a NotFound sentence: the nearest allowed name, or a few of them when none is near. May be empty.

    >>> suggestion("serch", ["search", "saliency"])
    " Did you mean 'search'?"
    """
    names = list(dict.fromkeys(allowed))
    near = difflib.get_close_matches(wrong, names, n=1, cutoff=0.6) or difflib.get_close_matches(
        wrong.lower(), [n for n in names if n.lower().startswith(wrong.lower()[:3])], n=1, cutoff=0.4
    )
    if near:
        return f" Did you mean {near[0]!r}?"
    if not names:
        return ""
    shown = ", ".join(names[:8])
    return f" There are: {shown}{', …' if len(names) > 8 else ''}."


def gigabytes(size: int) -> str:
    """A number of bytes as a person reads it."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
