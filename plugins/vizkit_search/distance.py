"""Exact distances from one vector to many."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Metric: TypeAlias = Literal["cosine", "euclidean", "sqeuclidean", "minkowski", "manhattan", "correlation", "chebyshev"]

_SCIPY = {"manhattan": "cityblock"}
_CHUNK = 8_000_000  # numbers turned into float64 at a time


def distances(
    features: NDArray[np.float32], query: NDArray[np.float32], metric: Metric, p: float = 3.0
) -> NDArray[np.float64]:
    """The distance of each row of `features` (n, d) to `query` (d,), in float64; memory-mapped features are read in pieces.

    Where a vector has no direction (all zero, or all equal for correlation), cosine and correlation are 1 from any other
    and 0 from one that has none either.
    """
    from scipy.spatial import distance

    rows = max(1, _CHUNK // max(1, features.shape[1]))
    more: dict[str, Any] = {"p": p} if metric == "minkowski" else {}
    name: Any = _SCIPY.get(metric, metric)
    one = query[None].astype(np.float64)
    out = np.empty(len(features))
    for start in range(0, len(features), rows):
        block = np.asarray(features[start : start + rows], np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            out[start : start + rows] = distance.cdist(block, one, name, **more)[:, 0]
        if metric in ("cosine", "correlation"):
            flat = _directionless(block, metric)
            other = _directionless(one, metric)[0]
            out[start : start + rows][flat] = 0.0 if other else 1.0
            if other:
                out[start : start + rows][~flat] = 1.0
    return np.maximum(out, 0.0)


def _directionless(rows: NDArray[np.float64], metric: str) -> NDArray[np.bool_]:
    flat = np.ptp(rows, axis=1) == 0 if metric == "correlation" else ~rows.any(axis=1)
    return np.asarray(flat)
