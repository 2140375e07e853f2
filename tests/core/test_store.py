"""The two places on disk: atomic, bounded, safe under several processes, and one of them never evicted."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pytest

import vizkit as vk
from vizkit.store import Home, Memory, Store, canonical, content_key


def put(store: Store, name: str, size: int = 1000, used: float | None = None) -> str:
    key = content_key(name)
    entry = store.put("results", key, {"name": name}, {"a": np.arange(size, dtype=np.uint8)})
    if used is not None:
        os.utime(entry.path / "entry.json", (used, used))
    return key


def test_what_was_put_comes_back_and_is_mapped(tmp_path: Path) -> None:
    store = Store(tmp_path)
    key = put(store, "x")
    entry = store.get("results", key)
    assert entry is not None
    assert entry.json()["name"] == "x"
    array = entry.array("a")
    assert isinstance(array, np.memmap)
    assert array.tolist() == [i % 256 for i in range(1000)]
    assert store.get("results", content_key("y")) is None


def test_a_block_that_raises_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def half_written() -> None:
        with store.writing("results", content_key("x"), {}) as folder:
            (folder / "a.npy").write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half_written()
    assert store.get("results", content_key("x")) is None
    assert list((tmp_path / "tmp").iterdir()) == []


def test_the_faster_writer_wins_and_the_other_is_discarded(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.writing("results", content_key("x"), {"who": "slow"}) as folder:
        store.put("results", content_key("x"), {"who": "fast"}, {})
        (folder / "b.npy").write_bytes(b"b")
    entry = store.get("results", content_key("x"))
    assert entry is not None
    assert entry.json()["who"] == "fast"
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("damage", ["cut", "gone", "no json", "no name"])
def test_a_damaged_entry_is_dropped_and_made_again(tmp_path: Path, damage: str) -> None:
    store = Store(tmp_path)
    key = put(store, "x")
    path = tmp_path / "results" / key[:2] / key
    if damage == "cut":
        (path / "a.npy").write_bytes((path / "a.npy").read_bytes()[:-1])
    elif damage == "gone":
        (path / "a.npy").unlink()
    elif damage == "no json":
        (path / "entry.json").write_text("{half")
    else:
        (path / "entry.json").unlink()
    assert store.get("results", key) is None
    assert not path.exists()
    put(store, "x")
    assert store.get("results", key) is not None


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    store = Store(tmp_path)
    now = time.time()
    keys = [put(store, str(i), used=now - 100 + i) for i in range(3)]
    assert store.get("results", keys[0]) is not None, "used now"
    put(store, "3", used=now)
    Store(tmp_path, limit=2_600).trim()
    kept = {k for k in [*keys, content_key("3")] if store.get("results", k)}
    assert kept == {keys[0], content_key("3")}
    assert store.info()["bytes"] <= 2_600


def test_writing_alone_keeps_the_cache_within_its_bound(tmp_path: Path) -> None:
    store = Store(tmp_path, limit=100_000)
    for i in range(60):
        put(store, str(i), size=10_000)
    assert store.info()["bytes"] <= 110_000
    assert store.get("results", content_key("59")) is not None


def test_an_array_in_use_survives_its_eviction(tmp_path: Path) -> None:
    store = Store(tmp_path)
    key = put(store, "x")
    entry = store.get("results", key)
    assert entry is not None
    array = entry.array("a")
    store.drop("results", key)
    assert int(array.sum()) == sum(i % 256 for i in range(1000))


def test_what_a_killed_writer_left_is_swept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    left = tmp_path / "tmp" / "999999999-dead"
    left.mkdir()
    (left / "a.npy").write_bytes(b"x" * 100)
    for path in (left / "a.npy", left):
        os.utime(path, (time.time() - 7200,) * 2)
    fresh = tmp_path / "tmp" / "999999998-of-another-machine"
    fresh.mkdir()
    mine = tmp_path / "tmp" / f"{os.getpid()}-alive"
    mine.mkdir()
    store.trim()
    assert not left.exists()
    assert mine.exists()
    assert fresh.exists(), "its writer may be on another machine that shares the folder"


def _hammer(root: str, seed: int) -> int:
    store = Store(Path(root), limit=200_000)
    rng = np.random.default_rng(seed)
    bad = 0
    for _ in range(60):
        n = int(rng.integers(0, 12))
        entry = store.get("results", content_key(n))
        if entry is None:
            store.put("results", content_key(n), {"n": n}, {"a": np.full(5_000, n, np.int32)})
        else:
            with contextlib.suppress(FileNotFoundError):  # evicted between the two calls
                bad += int(entry.json()["n"] != n or (entry.array("a") != n).any())
        store.trim()
    return bad


def test_several_processes_share_it(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        assert pool.starmap(_hammer, [(str(tmp_path), s) for s in range(3)]) == [0, 0, 0]
    assert list((tmp_path / "tmp").iterdir()) == []


def test_clear_frees_everything_and_says_how_much(tmp_path: Path) -> None:
    store = Store(tmp_path)
    put(store, "x")
    store.write_blob("thumbnails", content_key("t"), b"12345")
    before = store.info()["bytes"]
    assert store.clear() == before > 1000
    assert store.info()["bytes"] == 0


def test_blobs_are_replaced_whole(tmp_path: Path) -> None:
    store = Store(tmp_path)
    key = content_key("c")
    assert store.read_blob("checkpoints", key) is None
    store.write_blob("checkpoints", key, b"one")
    store.write_blob("checkpoints", key, b"two")
    assert store.read_blob("checkpoints", key) == b"two"


def test_a_place_that_cannot_be_written_costs_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with caplog.at_level("WARNING", "vizkit"):
        store = Store(blocked / "cache")
    assert len(caplog.records) == 1
    assert "cannot be written" in caplog.text
    assert "VIZKIT_CACHE" in caplog.text
    put(store, "x")
    assert store.get("results", content_key("x")) is not None


def test_canonical_json_has_one_form_and_no_nan() -> None:
    assert canonical({"b": 1, "a": [1.0, "é"]}) == '{"a":[1.0,"é"],"b":1}'
    with pytest.raises(ValueError, match="Out of range float"):
        canonical(float("nan"))


def test_a_file_is_hashed_once_for_each_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    reads: list[str] = []
    real = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda f, a: reads.append(f.name) or real(f, a))  # type: ignore[func-returns-value]
    file = tmp_path / "w.bin"
    file.write_bytes(b"abc")
    os.utime(file, (1_000_000_000, 1_000_000_000))
    expected = hashlib.sha256(b"abc").hexdigest()
    assert Memory(tmp_path / "m.sqlite").digest(file) == expected
    assert Memory(tmp_path / "m.sqlite").digest(file) == expected, "another process remembers"
    assert len(reads) == 1
    file.write_bytes(b"abd")
    assert Memory(tmp_path / "m.sqlite").digest(file) == hashlib.sha256(b"abd").hexdigest()


def test_uploads_are_known_by_content_and_survive_a_cleared_cache(tmp_path: Path) -> None:
    home, store = Home(tmp_path / "home"), Store(tmp_path / "cache")
    sha = home.save_upload(b"picture")
    assert home.save_upload(b"picture") == sha
    store.clear()
    path = home.upload(sha)
    assert path is not None
    assert path.read_bytes() == b"picture"
    assert home.upload("../sources.json") is None
    assert home.upload("0" * 40) is None


def test_sources_are_remembered_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path)
    home.add_source("cats", "folder:/cats")
    home.add_source("dogs", "folder:/dogs")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(vk.VizkitError, match=r"sources\.json cannot be written: No space left on device\. Free some space"):
        home.add_source("cows", "folder:/cows")
    assert Home(tmp_path).sources() == {"cats": "folder:/cats", "dogs": "folder:/dogs"}
    assert [p.name for p in tmp_path.iterdir()] == ["sources.json"]
