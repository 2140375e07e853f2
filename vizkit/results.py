"""What a technique returns: views in sections, with the arrays they refer to and how it was all made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vizkit import views as v
from vizkit.types import Provenance

SCHEMA = 1
"""Version of the JSON form; it is part of every cache key."""


@dataclass(frozen=True, eq=False)
class Section:
    """A heading over some views."""

    title: str
    views: tuple[v.View, ...]


@dataclass(frozen=True, eq=False)
class Result:
    """Views, in sections where that helps. `partial` says that more is coming; `provenance` is filled in by `run()`.

    `summary` is the answer in one sentence, for a screen reader and a terminal.
    """

    sections: tuple[Section, ...]
    summary: str = ""
    partial: bool = False
    provenance: Provenance | None = None

    def __init__(
        self,
        *views: v.View | Section,
        summary: str = "",
        partial: bool = False,
        provenance: Provenance | None = None,
    ) -> None:
        for view in views:
            if not isinstance(view, (*v.VIEWS, Section)):
                raise TypeError(f"a Result holds views and Sections, not {type(view).__name__}; see vizkit.views")
        sections = tuple(x if isinstance(x, Section) else Section("", (x,)) for x in views)
        for name, value in (
            ("sections", sections),
            ("summary", summary),
            ("partial", partial),
            ("provenance", provenance),
        ):
            object.__setattr__(self, name, value)

    @property
    def views(self) -> tuple[v.View, ...]:
        """All views, in order."""
        return tuple(view for section in self.sections for view in section.views)

    @property
    def pictures(self) -> tuple[NDArray[np.uint8], ...]:
        """The pictures made here, uint8 (h, w, 3) each: `result/KEY/N` names the N-th."""
        return tuple(p for view in self.views for p in v.pictures(view))

    @property
    def key(self) -> str:
        """The cache key, or "" for a result that did not come from `run()`."""
        return self.provenance.key if self.provenance else ""

    def replace(self, **changes: Any) -> Result:
        """The same views with another summary, state or provenance."""
        kept: dict[str, Any] = {"summary": self.summary, "partial": self.partial, "provenance": self.provenance}
        return Result(*self.sections, **(kept | changes))

    def pack(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """The JSON form, and the arrays that it names."""
        arrays: dict[str, NDArray[Any]] = {}
        packed: list[dict[str, Any]] = []
        for section in self.sections:
            for view in section.views:
                data = v.pack(view, f"v{len(packed)}", arrays)
                packed.append(data | ({"section": section.title} if section.title else {}))
        return {
            "schema": SCHEMA,
            "technique": self.provenance.technique if self.provenance else "",
            "summary": self.summary,
            "views": packed,
            **({"partial": True} if self.partial else {}),
            "provenance": self.provenance.to_json() if self.provenance else {},
        }, arrays

    @classmethod
    def unpack(cls, data: Mapping[str, Any], load: Callable[[str], NDArray[Any]]) -> Result:
        """The reverse of `pack`. Sections are put together again from neighbouring views of one heading."""
        sections: list[Section] = []
        for packed in data["views"]:
            title = packed.get("section", "")
            view = v.unpack({k: x for k, x in packed.items() if k != "section"}, load)
            if title and sections and sections[-1].title == title:
                sections[-1] = Section(title, (*sections[-1].views, view))
            else:
                sections.append(Section(title, (view,)))
        provenance = Provenance.from_json(data["provenance"]) if data.get("provenance") else None
        return cls(*sections, summary=data["summary"], partial=bool(data.get("partial", False)), provenance=provenance)

    def to_json(self) -> dict[str, Any]:
        """The JSON form alone; large arrays are named, not contained (`vizkit.export.save` writes them beside it)."""
        return self.pack()[0]

    def __repr__(self) -> str:
        kinds = ", ".join(view.kind for view in self.views)
        return f"<Result {self.provenance.technique if self.provenance else ''} [{kinds}]{' partial' * self.partial}>"
