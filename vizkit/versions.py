"""Which code and which libraries made a picture: the parts of a cache key that change when the software does."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
from collections.abc import Iterable
from pathlib import Path

_NUMERIC_CORE = (
    "graph.py",
    "nonlinear.py",
    "rules.py",
    "models.py",
    "given.py",
    "images.py",
    "datasets.py",
    "grid.py",
    "optvis",
)


@functools.cache
def core_hash() -> str:
    """A hash of the modules that compute: a fix in one of them makes old pictures stale."""
    digest = hashlib.sha256()
    root = Path(__file__).parent
    for name in _NUMERIC_CORE:
        for path in sorted((root / name).rglob("*.py")) if (root / name).is_dir() else [root / name]:
            if path.exists():
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@functools.cache
def version(package: str) -> str:
    """A distribution's version, or "" where it is not installed. Imports nothing."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def versions(more: Iterable[str] = ()) -> dict[str, str]:
    """The versions of what computes: TensorFlow, Keras, NumPy, Pillow, and those that a technique declares."""
    found = {name: version(name) for name in sorted({"keras", "numpy", "pillow", *more})}
    tensorflow = next((v for name in ("tensorflow", "tensorflow-cpu", "tf-nightly") if (v := version(name))), "")
    return {**found, "tensorflow": tensorflow}
