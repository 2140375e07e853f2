"""A technique is a typed function: positional parameters are inputs, keyword-only ones are its parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec

from vizkit.datasets import Dataset
from vizkit.errors import VizkitError
from vizkit.models import ModelAdapter
from vizkit.params import Signature
from vizkit.progress import Progress
from vizkit.results import Result
from vizkit.types import ImageBatch

P = ParamSpec("P")


class Runner:
    """What a technique that `uses` others gets: `runner("search", top=5)` runs one, through the same validation, cache,
    progress and cancel as a person's run. Model, dataset and images are the outer run's unless given."""

    def __call__(self, technique: str, **arguments: Any) -> Result:
        raise NotImplementedError


INPUTS: dict[Any, str] = {
    ModelAdapter: "model",
    Sequence[ModelAdapter]: "models",
    Dataset: "dataset",
    ImageBatch: "images",
    Progress: "progress",
    Runner: "runner",
}
"""What the annotation of a positional parameter is filled with."""


@dataclass(frozen=True, eq=False)
class Technique(Generic[P]):
    """A registered technique. Calling it is calling the plain function; `vizkit.run` validates and caches."""

    id: str
    title: str
    question: str
    function: Callable[P, Result]
    signature: Signature
    needs: frozenset[str]
    uses: frozenset[str]
    packages: tuple[str, ...]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Result:
        return self.function(*args, **kwargs)

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    @property
    def explanation(self) -> str:
        """The docstring after its first line: how it works and where it comes from."""
        return (inspect.getdoc(self.function) or "").partition("\n")[2].strip()

    def takes(self, kind: str) -> bool:
        """Whether it has an input of a kind: model, models, dataset, images, progress or runner."""
        return kind in self.signature.inputs.values()

    def refusal(self, model: ModelAdapter) -> str | None:
        """Why this technique cannot work on a model, in a sentence, or None."""
        lacking = sorted(self.needs - model.offers)
        if not lacking:
            return None
        return f"{self.title} needs {' and '.join(lacking)}, which {model.name} does not offer."


def technique(
    id: str,
    *,
    title: str,
    question: str,
    needs: Iterable[str] = (),
    uses: Iterable[str] = (),
    packages: Iterable[str] = (),
) -> Callable[[Callable[P, Result]], Technique[P]]:
    """Make a technique of a function.

    `question` is what a person asks it. `needs` names what the model must offer (`gradients`), `uses` other techniques by
    id, `packages` the distributions whose version changes the result.
    """

    def make(function: Callable[P, Result]) -> Technique[P]:
        signature = Signature.of(id, function, INPUTS)
        if uses and "runner" not in signature.inputs.values():
            raise VizkitError(f"technique {id!r} uses others but takes no Runner. Add a parameter `runner: vk.Runner`.")
        return Technique(id, title, question, function, signature, frozenset(needs), frozenset(uses), tuple(packages))

    return make
