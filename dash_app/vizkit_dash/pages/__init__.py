"""The pages of the app, as data: every `*.toml` here is one, and a technique that is on none has a page of its own."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Any

from vizkit import Registry


@dataclass(frozen=True)
class Page:
    """A page's name in addresses, its title in the bar, and the technique on it."""

    name: str
    title: str
    technique: str
    place: int = 100


def pages(registry: Registry) -> list[Page]:
    """All pages, in the order of the bar. The first whose technique is installed is the one that opens."""
    written = [_read(file) for file in resources.files(__name__).iterdir() if file.name.endswith(".toml")]
    taken = {page.technique for page in written}
    made = [Page(t.id, t.title, t.id) for t in registry.techniques.values() if t.id not in taken]
    return sorted([*written, *made], key=lambda page: (page.technique not in registry.techniques, page.place, page.title))


def _read(file: Any) -> Page:
    data = tomllib.loads(file.read_text("utf-8"))
    return Page(file.name.removesuffix(".toml"), data["title"], data["technique"], data.get("place", 100))
