"""Exact distances from one vector to many, and a quick way to the rows that are worth measuring exactly."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Metric: TypeAlias = Literal["cosine", "euclidean", "sqeuclidean", "minkowski", "manhattan", "correlation", "chebyshev"]

_CHUNK = 8_000_000  # numbers turned into float64 at a time
_ROUNDING = 2.0**-24  # the largest relative error of one float32 operation
_SMALL = 1e-12  # a norm below which squares come near the smallest float32, where errors have no such bound


def distances(
    features: NDArray[np.float32], query: NDArray[np.float32], metric: Metric, p: float = 3.0
) -> NDArray[np.float64]:
    """The distance of each row of `features` (n, d) to `query` (d,), in float64; memory-mapped features are read in pieces.

    Equal rows have equal distances, bit for bit, wherever they stand. Cosine and correlation are rounded to 12 decimals,
    which is as far as 1 − c can be trusted; where a vector has no direction (all zero, or all equal for correlation)
    they are 1 from any other and 0 from one that has none either. NaN where an activation is not a number.
    """
    rows = max(1, _CHUNK // max(1, features.shape[1]))
    one = query.astype(np.float64)
    out = np.empty(len(features))
    with np.errstate(all="ignore"):
        for start in range(0, len(features), rows):
            block = np.asarray(features[start : start + rows], np.float64)
            out[start : start + rows] = _measured(block, one, metric, p)
    return out


class Index:
    """Features (n, d) as float32, ready to be asked for the neighbours of many queries.

    Cosine and (squared) Euclidean distances come from one matrix product in float32, whose error has a bound: rows that
    may be among the answer within that bound are measured in float64, so that the answer is that of float64 throughout.
    The other metrics are measured in float64 from the beginning.
    """

    def __init__(self, features: NDArray[np.float32], metric: Metric, p: float = 3.0) -> None:
        self.features, self.metric, self.p = features, metric, p
        self._error = features.shape[1] * _ROUNDING / (1 - min(0.5, features.shape[1] * _ROUNDING))
        self._by_product = metric in ("cosine", "euclidean", "sqeuclidean") and self._error < 0.1
        if self._by_product:
            with np.errstate(all="ignore"):
                self._squares = np.einsum("ij,ij->i", features, features).astype(np.float64)
                self._norms = np.sqrt(self._squares)

    def ends(self, query: NDArray[np.float32], count: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """The nearest `count` rows with all that tie with the last, the farthest, and all that are NaN, with the exact
        distances: some rows more than asked for, in no order."""
        rows = self._possible(query, count) if self._by_product else np.arange(len(self.features))
        some = self.features if len(rows) == len(self.features) else self.features[rows]  # all may be more than memory holds
        return rows, distances(some, query, self.metric, self.p)

    def _possible(self, query: NDArray[np.float32], count: int) -> NDArray[np.intp]:
        """The rows that the product does not rule out. Where it is infinite, not a number or of no known error, it rules
        nothing out."""
        if count >= len(self.features):
            return np.arange(len(self.features))
        norm = float(np.linalg.norm(query.astype(np.float64)))
        with np.errstate(all="ignore"):
            product = (self.features @ query).astype(np.float64)
            if self.metric == "cosine":
                rough, error = -product / (self._norms * norm), np.float64(4 * self._error + 1e-9)
                scale = np.minimum(self._norms, norm)
            else:
                rough, error = self._squares - 2 * product, 2 * self._error * (self._norms + norm) ** 2
                scale = np.maximum(self._norms, norm)
            known = np.isfinite(rough) & np.isfinite(error) & (scale > _SMALL)
            lower, upper = np.where(known, rough - error, -np.inf), np.where(known, rough + error, np.inf)
        near = lower <= np.partition(upper, count - 1)[count - 1]
        far = upper >= lower.max()
        return np.flatnonzero(near | far)


def _measured(rows: NDArray[np.float64], one: NDArray[np.float64], metric: Metric, p: float) -> NDArray[np.float64]:
    if metric in ("cosine", "correlation"):
        return _angular(rows, one, centred=metric == "correlation")
    gaps = np.abs(rows - one)
    if metric == "manhattan":
        return np.asarray(gaps.sum(1))
    if metric == "chebyshev":
        return np.asarray(gaps.max(1))
    if metric == "minkowski":
        largest = gaps.max(1)  # taken out first: a large p would overflow
        scaled = gaps / np.where(largest > 0, largest, 1)[:, None]
        return np.asarray(largest * (scaled**p).sum(1) ** (1 / p))
    squares = (gaps * gaps).sum(1)
    return np.asarray(squares if metric == "sqeuclidean" else np.sqrt(squares))


def _angular(rows: NDArray[np.float64], one: NDArray[np.float64], centred: bool) -> NDArray[np.float64]:
    """1 − cosine of the angle between each row and the one, both less their mean where that is asked for."""

    def directionless(v: NDArray[np.float64]) -> NDArray[np.bool_]:
        return np.asarray(v.max(-1) == v.min(-1) if centred else ~v.any(-1))

    flat, other = directionless(rows), directionless(one)
    if centred:
        rows, one = rows - rows.mean(1, keepdims=True), one - one.mean()
    cosine = (rows * one).sum(1) / np.sqrt((rows * rows).sum(1) * (one * one).sum())
    out = np.ones(len(rows)) if other else np.maximum(np.round(1 - cosine, 12), 0)
    out[flat] = 0.0 if other else 1.0
    out[~(np.isfinite(rows).all(1) & np.isfinite(one).all())] = np.nan
    return out
