"""Semantic search: every number against an independent computation, on the real network and the real photographs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from vizkit_search import score, search
from vizkit_search.distance import Index, Metric, distances

import vizkit as vk
from vizkit.store import Home, Store

METRICS: tuple[Metric, ...] = get_args(Metric)
LAST = "head_relu"
Floats = NDArray[np.float32]


def independent(metric: str, u: NDArray[Any], v: NDArray[Any], p: float = 3.0) -> float:
    """One distance, by NumPy's own norms and correlation."""
    u, v = u.astype(np.float64), v.astype(np.float64)
    if metric == "cosine":
        return float(1 - u @ v / (np.linalg.norm(u) * np.linalg.norm(v)))
    if metric == "correlation":
        return float(1 - np.corrcoef(u, v)[0, 1])
    order = {"euclidean": 2, "sqeuclidean": 2, "manhattan": 1, "chebyshev": np.inf, "minkowski": p}[metric]
    d = float(np.linalg.norm(u - v, order))
    return d * d if metric == "sqeuclidean" else d


class Recorded:
    """A model whose activations were recorded before: by the content of an image, in batches of 32."""

    name, title, image_size, random_weights = "recorded", "Recorded", (224, 224), False
    offers = frozenset({"activations"})
    labels: tuple[str, ...] = ()
    curated = (LAST,)

    def __init__(self, values: Mapping[str, Floats]) -> None:
        self.values = values
        self.asked: list[int] = []

    def fingerprint(self) -> str:
        return "recorded"

    def layers(self) -> tuple[vk.LayerInfo, ...]:
        shape = next(iter(self.values.values())).shape
        return (vk.LayerInfo(LAST, "ReLU", shape, 0, shape[-1], 0, False),)

    def predict(self, images: vk.ImageBatch) -> Floats:
        raise NotImplementedError

    def backward(self, *args: Any, **kwargs: Any) -> Floats:
        raise NotImplementedError

    def activations(
        self,
        images: vk.ImageBatch,
        layers: Sequence[str],
        *,
        pool: str = "none",
        each: Callable[[Mapping[str, vk.Activations]], None] | None = None,
    ) -> dict[str, vk.Activations]:
        self.asked.append(len(images))
        values = np.stack([self.values[h] for h in images.hashes])
        if values.ndim == 4 and pool != "none":
            values = values.mean((1, 2)) if pool == "mean" else values.max((1, 2))

        def first(n: int) -> dict[str, vk.Activations]:
            return {LAST: vk.Activations(self.layers()[0], values[:n], images.refs[:n])}

        for n in range(32, len(images) + 32, 32):
            if each:
                each(first(n))
        return first(len(images))


class Shown(vk.Progress):
    """Keeps what a person would have been shown."""

    def __init__(self) -> None:
        super().__init__()
        self.results: list[vk.Result] = []
        self.texts: list[str] = []

    def partial(self, result: vk.Result) -> None:
        self.results.append(result)

    def report(self, step: int, total: int, **more: Any) -> None:
        self.texts.append(str(more.get("text", "")))


def batch(count: int, labels: Sequence[str | None] | None = None, names: Sequence[str] = ()) -> vk.ImageBatch:
    """Images with names and nothing to see."""
    ids = names or [f"{i:03d}" for i in range(count)]
    refs = [vk.ImageRef("made", id) for id in ids]
    return vk.ImageBatch(refs, (224, 224), lambda rows: np.zeros((len(rows), 224, 224, 3), np.uint8), list(ids), labels)


def recorded(values: Any, images: vk.ImageBatch) -> Recorded:
    return Recorded(dict(zip(images.hashes, np.asarray(values, np.float32), strict=True)))


def find(values: Any, images: vk.ImageBatch, query: int = 0, **params: Any) -> vk.Result:
    """A search among vectors."""
    return search(recorded(values, images), images, vk.Progress(), query=images[[query]], layer=LAST, **params)


def grid(result: vk.Result) -> vk.ImageGrid:
    return next(view for view in result.views if isinstance(view, vk.ImageGrid))


def items(result: vk.Result) -> tuple[vk.GridItem, ...]:
    return grid(result).items


def rows(result: vk.Result) -> list[dict[str, Any]]:
    """The items as plain values, which compare."""
    return [asdict(item) for item in items(result)]


def ids(result: vk.Result) -> list[str]:
    return [item.id for item in items(result)]


def notes(result: vk.Result) -> list[str]:
    return [view.text for view in result.views if isinstance(view, vk.Note)]


def shown_score(result: vk.Result) -> float:
    (title,) = [view.title for view in result.views if isinstance(view, vk.Note) and view.title.startswith("Search")]
    found = re.fullmatch(r"Search score ([\d.]+) %", title)
    assert found, title
    return float(found[1])


@pytest.fixture(scope="module")
def crops(photo_crops: vk.Dataset) -> vk.ImageBatch:
    return photo_crops.images(photo_crops.ids(), (224, 224))


@pytest.fixture(scope="module")
def pooled(lite0: Any, crops: vk.ImageBatch) -> dict[str, Floats]:
    """The mean of each of the eight curated layers for all crops, in one pass of the real network."""
    return {path: a.values for path, a in lite0.activations(crops, lite0.curated, pool="mean").items()}


@pytest.fixture(scope="module")
def last(pooled: dict[str, Floats]) -> Floats:
    return pooled[LAST]


class TestDistances:
    @pytest.mark.parametrize("metric", METRICS)
    def test_equal_an_independent_computation(
        self, metric: Metric, workspace: vk.Workspace, crops: vk.ImageBatch, last: Floats
    ) -> None:
        names = [str(ref) for ref in crops.refs]
        for query in (0, 77, 201):
            result = workspace.run("search", dataset="photo-crops", query=names[query], metric=metric, top=201)
            expected = {n: independent(metric, f, last[query]) for n, f in zip(names, last, strict=True)}
            del expected[names[query]]
            shown = {item.id: item.distance for item in items(result)}
            assert shown.keys() == expected.keys()
            for name, d in expected.items():
                assert shown[name] == pytest.approx(d, rel=1e-5, abs=1e-6)
            in_order = [expected[name] for name in ids(result)]
            assert in_order == pytest.approx(sorted(in_order), rel=1e-5, abs=1e-6)
            assert [item.rank for item in items(result)] == list(range(1, 202))

    @pytest.mark.parametrize("metric", METRICS)
    def test_are_float64_to_the_last_digits(self, metric: Metric, last: Floats) -> None:
        expected = [independent(metric, row, last[5]) for row in last]
        np.testing.assert_allclose(distances(last, last[5], metric), expected, rtol=1e-9, atol=1e-11)

    def test_minkowski_is_manhattan_at_1_and_euclidean_at_2(self, last: Floats) -> None:
        for p, metric in ((1.0, "manhattan"), (2.0, "euclidean"), (20.0, None)):
            got = distances(last, last[0], "minkowski", p)
            want = distances(last, last[0], metric) if metric else [independent("minkowski", r, last[0], p) for r in last]  # type: ignore[arg-type]
            np.testing.assert_allclose(got, want, rtol=1e-9)

    def test_minkowski_s_exponent_changes_the_ranking(self, workspace: vk.Workspace) -> None:
        one, three, twenty = (
            ids(workspace.run("search", dataset="photo-crops", metric="minkowski", p=p)) for p in (1.0, 3.0, 20.0)
        )
        assert one != three != twenty != one

    def test_a_large_exponent_does_not_overflow(self) -> None:
        far = distances(np.array([[1e30, 1e30], [0, 1e-30]], np.float32), np.zeros(2, np.float32), "minkowski", 20)
        np.testing.assert_allclose(far, [1e30 * 2 ** (1 / 20), 1e-30], rtol=1e-6)

    def test_cosine_orders_as_euclidean_does_on_unit_vectors(self, last: Floats) -> None:
        unit = (last / np.linalg.norm(last.astype(np.float64), axis=1, keepdims=True)).astype(np.float32)
        for query in range(0, 202, 20):
            cosine, euclidean = (distances(unit, unit[query], m) for m in ("cosine", "sqeuclidean"))
            # d² = 2 (1 - c) up to the rounding of the unit vectors to float32; pairs closer than that are left out
            np.testing.assert_allclose(euclidean, 2 * cosine, atol=1e-6)
            order = np.argsort(cosine)
            assert (np.diff(euclidean[order]) > -1e-6).all()

    def test_sqeuclidean_ranks_as_euclidean(self, workspace: vk.Workspace) -> None:
        a, b = (workspace.run("search", dataset="photo-crops", metric=m, top=201) for m in ("sqeuclidean", "euclidean"))
        assert ids(a) == ids(b)
        np.testing.assert_allclose([i.distance for i in items(a)], [(i.distance or 0) ** 2 for i in items(b)], rtol=1e-9)

    def test_tiny_activations_are_ranked_too(self) -> None:
        images = batch(4)
        found = find(np.array([[0.0], [3e-7], [1e-7], [2e-7]]), images, metric="sqeuclidean")
        assert ids(found) == ["made/002", "made/003", "made/001"]  # squares near 1e-14

    def test_a_vector_without_direction_is_1_from_others_and_0_from_its_like(self) -> None:
        rows = np.array([[0, 0, 0], [1, 2, 3], [0, 0, 0], [4, 4, 4]], np.float32)
        np.testing.assert_allclose(distances(rows, rows[0], "cosine"), [0, 1, 0, 1])
        np.testing.assert_allclose(distances(rows, rows[1], "cosine"), [1, 0, 1, 1 - 24 / np.sqrt(14 * 48)])
        np.testing.assert_allclose(distances(rows, rows[3], "correlation"), [0, 1, 0, 0])
        np.testing.assert_allclose(distances(rows, rows[1], "correlation"), [1, 0, 1, 1])

    @pytest.mark.parametrize("metric", METRICS)
    def test_memory_mapped_pieces_give_the_same(self, metric: Metric, monkeypatch: pytest.MonkeyPatch, last: Floats) -> None:
        whole = distances(last, last[3], metric)
        monkeypatch.setattr("vizkit_search.distance._CHUNK", 7 * last.shape[1])
        np.testing.assert_array_equal(distances(last, last[3], metric), whole)


class TestIndex:
    """The quick way gives what measuring every row in float64 gives."""

    @pytest.mark.parametrize("metric", METRICS)
    @pytest.mark.parametrize("kind", ["real", "noise", "offset", "ties", "tiny", "huge", "ragged"])
    def test_equals_the_full_ranking_in_float64(self, metric: Metric, kind: str, last: Floats) -> None:
        rng = np.random.default_rng(0)
        features = {
            "real": last,
            "noise": rng.normal(size=(3000, 64)),
            "offset": 1000 + 1e-3 * rng.normal(size=(2000, 32)),  # float32 products cannot tell these apart
            "ties": rng.integers(0, 3, size=(2000, 4)),
            "tiny": 1e-22 * rng.normal(size=(500, 16)),  # squares below float32's smallest
            "huge": 1e25 * rng.normal(size=(500, 16)),  # squares above its largest
            "ragged": rng.normal(size=(500, 16)) * np.where(rng.random((500, 1)) < 0.2, [[0.0]], [[1.0]]),
        }[kind].astype(np.float32)
        index = Index(features, metric)
        for query in (0, len(features) // 2):
            exact = distances(features, features[query], metric)
            for count in (1, 15, 50):
                rows, found = index.ends(features[query], count)
                np.testing.assert_array_equal(found, exact[rows])
                every, some = ([*zip(d, r, strict=True)] for d, r in ((exact, range(len(exact))), (found, rows)))
                assert sorted(some)[:count] == sorted(every)[:count]
                assert found.max() == exact.max()

    def test_measures_few_rows(self) -> None:
        features = np.random.default_rng(0).normal(size=(20_000, 64)).astype(np.float32)
        for metric in ("cosine", "euclidean", "sqeuclidean"):
            rows, _ = Index(features, metric).ends(features[0], 15)  # type: ignore[arg-type]
            assert 16 <= len(rows) < 30


class TestRanking:
    def test_the_query_is_left_out(self, workspace: vk.Workspace) -> None:
        result = workspace.run("search", dataset="photo-crops", query="photo-crops/coffee-s1-02", top=1000)
        assert len(ids(result)) == len(set(ids(result))) == 201
        assert "photo-crops/coffee-s1-02" not in ids(result)

    @pytest.mark.parametrize("metric", METRICS)
    def test_ties_go_by_name(self, metric: Metric) -> None:
        images = batch(5, names=["q", "z", "b", "a", "far"])
        result = find([[1, 0, 0], [1, 2, 0], [1, 2, 0], [1, 2, 0], [-5, 0, 3]], images, metric=metric, top=2)
        assert ids(result) == ["made/a", "made/b"]

    def test_top_changes_neither_ranking_nor_percentage(self, workspace: vk.Workspace) -> None:
        few, many = (workspace.run("search", dataset="photo-crops", metric="manhattan", top=n) for n in (3, 50))
        assert rows(few) == rows(many)[:3]

    @pytest.mark.parametrize("metric", METRICS)
    def test_the_percentage_says_the_same_for_every_metric(self, metric: Metric, workspace: vk.Workspace) -> None:
        found = items(workspace.run("search", dataset="photo-crops", metric=metric, top=201))
        far = np.array([item.distance for item in found])
        percent = np.array([item.similarity for item in found])
        np.testing.assert_allclose(percent, 100 * (1 - far / far[-1]), atol=1e-9)
        assert percent[-1] == 0
        assert (np.diff(percent) <= 0).all()
        assert 20 < percent[0] < 100  # neither empty nor full, as bars of 1 - d are

    def test_the_percentage_is_100_at_distance_0(self) -> None:
        found = items(find([[1, 0], [1, 0], [0, 1]], batch(3)))
        assert [(i.distance, i.similarity) for i in found] == [(0, 100), (1, 0)]
        assert [i.similarity for i in items(find([[1, 0], [1, 0]], batch(2)))] == [100]

    @pytest.mark.parametrize("metric", METRICS)
    def test_the_order_of_the_dataset_does_not_matter(self, metric: Metric, crops: vk.ImageBatch, last: Floats) -> None:
        shuffled = np.random.default_rng(1).permutation(len(crops))
        a = find(last, crops, 10, metric=metric, top=50)
        b = find(last[shuffled], crops[list(shuffled)], int(np.flatnonzero(shuffled == 10)[0]), metric=metric, top=50)
        assert rows(a) == rows(b)

    def test_an_upload_and_an_image_of_another_dataset_can_be_the_query(
        self, workspace: vk.Workspace, tmp_path: Path
    ) -> None:
        from PIL import Image

        far = workspace.run("search", dataset="photo-crops", query="photos/coffee", top=5)
        assert {item.label for item in items(far)} == {"espresso"}
        pixels = workspace.registry.dataset("photos").images(["coffee"], (400, 400)).pixels[0]
        Image.fromarray(pixels).save(tmp_path / "cup.png")
        own = workspace.run("search", dataset="photo-crops", query=workspace.reference(tmp_path / "cup.png"), top=5)
        assert {item.label for item in items(own)} == {"espresso"}
        assert [item.same_class for item in items(own)] == [None] * 5
        assert "The query has no class, so there is nothing to score." in notes(own)

    def test_pictures_of_one_photograph_come_first(self, workspace: vk.Workspace) -> None:
        found = items(workspace.run("search", dataset="photo-crops", top=10))
        assert [(i.label, i.same_class) for i in found] == [("cat", True)] * 10


class TestPooling:
    def test_equals_an_independent_computation(self, lite0: Any, crops: vk.ImageBatch) -> None:
        some = crops[::9]
        raw = lite0.activations(some, ["block14_add"])["block14_add"].values
        ways = {"mean": raw.mean((1, 2)), "max": raw.max((1, 2)), "none": raw.reshape(len(raw), -1)}
        rankings = set()
        for pooling, features in ways.items():
            result = search(
                lite0, some, vk.Progress(), query=some[[2]], layer="block14_add", metric="euclidean", pooling=pooling
            )  # type: ignore[call-arg]
            far = {str(r): independent("euclidean", f, features[2]) for r, f in zip(some.refs, features, strict=True)}
            assert [i.distance for i in items(result)] == pytest.approx([far[n] for n in ids(result)], rel=1e-4)
            rankings.add(tuple(ids(result)))
        assert len(rankings) == 3

    def test_flattened_says_its_size_first(self, crops: vk.ImageBatch) -> None:
        shown, images = Shown(), crops[:3]
        model = recorded(np.ones((3, 7, 7, 1280)), images)
        result = search(model, images, shown, query=images[[0]], layer=LAST, pooling="none")
        size = "7 × 7 × 1,280 = 62,720 numbers an image are compared, 0.8 MB for 3 images."
        assert shown.texts[0] == size
        assert grid(result).note.endswith(size)

    def test_flattened_is_refused_above_the_bound_with_its_size(
        self, registry: vk.Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        small = vk.Workspace(registry, Store(tmp_path / "c", limit=50_000_000), Home(tmp_path / "h"))
        monkeypatch.setattr(small.registry.model("efficientnet-lite0"), "_load", lambda: pytest.fail("computed"))
        wanted = (
            r"The activations of head_relu for 202 images take 50\.7 MB, more than the 50\.0 MB .* Use pooling mean or max"
        )
        with pytest.raises(vk.TooLarge, match=wanted):
            small.run("search", model="efficientnet-lite0", dataset="photo-crops", pooling="none")


class TestScore:
    def test_known_values(self) -> None:
        assert score([True] * 15) == 100
        assert score([False] * 15) == 0
        assert score([False] * 14 + [True]) == pytest.approx(100 / 120)  # the quantum of K = 15
        assert score([True] + [False] * 14) == pytest.approx(100 * 15 / 120)
        assert score([True, False, True, None]) == pytest.approx(100 * (4 + 2) / 10)

    def test_is_shown_with_what_it_means(self) -> None:
        labels = ["cat", "cat", "dog", None, "cat"]
        result = find([[0], [1], [2], [3], [4]], batch(5, labels), metric="euclidean", top=4)
        assert [i.same_class for i in items(result)] == [True, False, None, True]
        assert shown_score(result) == 50  # (4 + 1) / (4 + 3 + 2 + 1)
        assert "2 of 4 results are in the same category (cat). The first result counts 4 times as much as the last:" in (
            " ".join(notes(result))
        )

    def test_without_classes_there_is_none(self) -> None:
        result = find([[0], [1]], batch(2))
        assert [i.same_class for i in items(result)] == [None]
        assert notes(result)[0] == "The query has no class, so there is nothing to score."

    def test_the_last_layer_finds_more_alike_than_the_first(
        self, lite0: Any, pooled: dict[str, Floats], crops: vk.ImageBatch
    ) -> None:
        means = {
            path: np.mean([shown_score(find(values, crops, q)) for q in range(len(crops))])
            for path, values in pooled.items()
        }
        print({path: round(float(m), 1) for path, m in means.items()})
        first, best = means[lite0.curated[0]], max(means.values())
        assert best - first > 10


class TestPartial:
    def test_is_a_search_over_the_first_images(self, crops: vk.ImageBatch, last: Floats) -> None:
        shown = Shown()
        whole = search(recorded(last, crops), crops, shown, query=crops[[0]], layer=LAST)
        assert len(shown.results) == 7
        for n, partial in zip(range(32, 225, 32), shown.results, strict=True):
            alone = find(last[:n], crops[:n])
            assert rows(partial) == rows(alone)
            assert notes(partial) == notes(alone)
        assert rows(shown.results[-1]) == rows(whole)

    def test_is_true_before_the_query_s_own_turn(self, crops: vk.ImageBatch, last: Floats) -> None:
        shown, model = Shown(), recorded(last, crops)
        whole = search(model, crops, shown, query=crops[[150]], layer=LAST)
        assert model.asked == [202, 1]
        first = [0.0 if i == 150 else independent("cosine", f, last[150]) for i, f in enumerate(last[:32])]
        order = sorted(range(32), key=lambda i: (first[i], str(crops.refs[i])))[:15]
        assert ids(shown.results[0]) == [str(crops.refs[i]) for i in order]
        assert rows(whole) == rows(find(last, crops, 150))

    def test_a_query_of_the_dataset_is_not_computed_again(self, crops: vk.ImageBatch, last: Floats) -> None:
        model = recorded(last, crops)
        search(model, crops, vk.Progress(), query=crops[[3]], layer=LAST)
        assert model.asked == [202]

    def test_batch_and_loop_differ_by_rounding_alone(self, lite0: Any, crops: vk.ImageBatch, last: Floats) -> None:
        for i in (0, 40, 201):
            (alone,) = lite0.activations(crops[[i]], [LAST], pool="mean")[LAST].values
            np.testing.assert_allclose(alone, last[i], atol=1e-4 * np.abs(last[i]).max(), rtol=0)


class TestOddCases:
    def test_one_image(self) -> None:
        result = find([[1, 2]], batch(1))
        assert notes(result) == ["There is no other image to compare made/000 with."]
        assert result.summary == "made/000 is the only image."

    def test_more_results_than_images(self) -> None:
        result = find([[0], [1], [2]], batch(3), metric="euclidean", top=50)
        assert len(items(result)) == 2
        assert notes(result)[-1] == "50 results were asked for; there are 2 other images, and all are shown."

    @pytest.mark.parametrize("metric", METRICS)
    @pytest.mark.parametrize("broken", [np.nan, np.inf])
    def test_activations_that_are_no_numbers_are_left_out_with_a_sentence(self, metric: Metric, broken: float) -> None:
        values = [[1, 2, 4], [1, broken, 2], [3, 1, 2], [2, 2, 4], [broken] * 3, [0, 0, 0]]
        result = find(values, batch(6), metric=metric)
        clean = find([values[i] for i in (0, 2, 3, 5)], batch(4, names=["000", "002", "003", "005"]), metric=metric)
        assert rows(result) == rows(clean)
        assert "Left out: 2 of the images, whose activations in head_relu are not all finite numbers." in notes(result)
        assert all(np.isfinite([i.distance or 0, i.similarity or 0]).all() for i in items(result))

    def test_a_query_that_is_no_number_finds_nothing(self) -> None:
        for values in ([[np.nan, 1], [1, 2]], [[1, 2], [np.inf, 2]]):
            assert "not all finite numbers" in notes(find(values, batch(2)))[0]

    def test_an_image_given_twice_is_left_out_twice(self) -> None:
        images = batch(3, names=["a", "b", "a"])
        assert ids(find([[0.0], [1.0], [0.0]], images, metric="euclidean")) == ["made/b"]

    def test_twice_the_same_bytes(self, workspace: vk.Workspace) -> None:
        def text() -> str:
            data = workspace.run("search", dataset="photo-crops", metric="correlation").to_json()
            del data["provenance"]["created"], data["provenance"]["seconds"]
            return json.dumps(data)

        first = text()
        shutil.rmtree(workspace.store.root / "results")
        assert text() == first

    def test_a_new_query_on_known_features_loads_no_tensorflow(
        self, warm_cache: Path, tmp_path: Path, clean_env: Any
    ) -> None:
        shutil.copytree(warm_cache, tmp_path / "own-cache")
        code = (
            "import sys, vizkit as vk\n"
            "for q, m in (('chelsea-s1-01', 'cosine'), ('coffee-s2-03', 'euclidean'), ('grass-s1-01', 'minkowski')):\n"
            "    r = vk.run('search', dataset='photo-crops', query=f'photo-crops/{q}', metric=m)\n"
            "    assert len(r.views[0].items) == 15\n"
            "print({'tensorflow', 'keras', 'scipy', 'sklearn'} & set(sys.modules))"
        )
        done = subprocess.run([sys.executable, "-c", code], env=clean_env, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "set()"
