"""From what a person has chosen, shared by all panels of a page, to what one technique is given."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vizkit.datasets import Dataset
from vizkit.errors import NotFound, VizkitError
from vizkit.models import ModelAdapter
from vizkit.params import Signature
from vizkit.types import ImageBatch, ImageRef, Selection, Size


def bind(signature: Signature, selection: Selection) -> dict[str, Any]:
    """The parameters that a selection fills, by name: the first of a kind goes to the first parameter of that kind, the
    next ones to those that carry a role, in order; one that takes several gets all that are left.

    A second parameter of a kind without a role is not filled, and neither is one for which nothing is chosen.
    """
    filled: dict[str, Any] = {}
    taken: defaultdict[str, int] = defaultdict(int)
    for first in (True, False):  # the ones without a role first, wherever they stand
        for name, param in signature.params.items():
            marker = param.marker
            if marker is None or bool(marker.role) is first or (first and taken[marker.kind]):
                continue
            several = param.plural and marker.single
            start = 0 if first else max(1, taken[marker.kind])
            left = selection.of(marker.kind)[start:]
            taken[marker.kind] = start + (len(left) if several else 1)
            if left:
                filled[name] = tuple(left) if several else left[0]
    return filled


def repair(signature: Signature, params: Mapping[str, Any], model: ModelAdapter, dataset: Dataset | None) -> dict[str, Any]:
    """The same parameters without those that no longer fit: after another model a layer that it lacks, after another layer
    a channel that it lacks, after another dataset a picture of the old one. Their markers' defaults take their places."""
    kept: dict[str, Any] = {}
    context = _Now(model, dataset)
    for name, param in signature.params.items():
        if name in params:
            try:
                value = param.read(params[name])
                context.values[name] = param.marker.resolve(name, value, context) if param.marker else value
                kept[name] = params[name]
                continue
            except VizkitError:
                pass
        context.values[name] = param.undecided()
        if param.marker and not param.optional:
            try:
                context.values[name] = param.marker.resolve(name, param.undecided(), context)
            except VizkitError:
                del context.values[name]  # nothing of this model fits; what lies in it has no say
    return kept


@dataclass(eq=False)
class _Now:
    """What markers ask: only what is known without computing."""

    model: ModelAdapter
    dataset: Dataset | None
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> Size:
        return self.model.image_size

    def image(self, ref: str | None) -> ImageBatch:
        given = ImageRef.parse(ref) if ref is not None else None
        own = given is not None and self.dataset is not None and given.source == self.dataset.name
        if given is None or not (
            given.source in ("upload", "result") or (own and self.dataset and given.id in self.dataset.ids())
        ):
            raise NotFound(f"{ref} is no picture of the dataset.")
        return ImageBatch([given], self.size, _never, [""])


def _never(rows: object) -> Any:
    raise NotImplementedError("a repair looks at no pixels")
