"""The generator of the reference, as a module, and the documents of the repository."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def docs() -> Path:
    """The folder docs/."""
    return ROOT / "docs"


@pytest.fixture(scope="session")
def make(docs: Path) -> ModuleType:
    """docs/make.py; its neighbours are found as they are when it is run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(docs)
        return importlib.import_module("make")


@pytest.fixture(scope="session")
def documents() -> tuple[Path, ...]:
    """Every Markdown file that people read."""
    return tuple(sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]))
